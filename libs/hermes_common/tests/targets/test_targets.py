"""The document of the targets: old ones load, secrets never leave in plain, templates give safe names."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, TypeAdapter, ValidationError

from hermes_common.config import DicomTarget, S3Target, StowTarget, Target, Targets
from hermes_common.ids import check_uid
from hermes_common.runtime.errors import UnusableSettingsError
from hermes_common.runtime.sealing import (
    CannotOpenError,
    KeyMissingError,
    Sealer,
    SecretRefusedError,
    opened,
    sealed_targets,
)
from hermes_common.secrets import mark_of, shown
from hermes_common.targets import AnyTarget, Pause, secrets_of
from hermes_common.templates import FIELDS, check_template, render

TARGET: TypeAdapter[AnyTarget] = TypeAdapter(Target)
KEY = SecretStr("k" * 40)
S3 = {
    "kind": "s3", "slug": "store", "name": "Store", "endpoint": "127.0.0.1:9000", "bucket": "images",
    "access_key": "AK", "secret_key": "planted-secret",
}  # fmt: skip
NONE = Targets()


def one(**changes: object) -> Targets:
    return Targets(targets=(TARGET.validate_python({**S3, **changes}),))


def test_documents_of_the_first_release_still_load() -> None:
    document = {
        "targets": [
            {
                "kind": "dicom", "slug": "pacs", "name": "PACS", "enabled": False, "concurrency": 3, "host": "h",
                "port": 104, "called_aet": "PACS", "calling_aet": "HERMES", "connect_timeout": "0.5s",
                "response_timeout": "2h", "contact": "", "comment": "",
                "retry": {"max_attempts": 3, "delay": "10s", "factor": 2.0, "max_delay": "1h"},
            },
            {"kind": "folder", "slug": "box", "name": "Box", "path": "/data"},
        ]
    }  # fmt: skip
    loaded = Targets.model_validate(document)
    assert [target.kind for target in loaded.targets] == ["dicom", "folder"]
    assert loaded.targets[0].is_paused(datetime.now(UTC))
    assert Targets.model_validate(loaded.model_dump(mode="json")) == loaded


def test_a_document_with_a_secret_in_plain_cannot_be_written_anywhere() -> None:
    with pytest.raises(ValueError, match="sealed"):
        one().model_dump(mode="json")
    with pytest.raises(ValueError, match="sealed"):
        one().model_dump_json()
    assert "planted-secret" not in repr(one()) + str(one())


def test_a_secret_is_sealed_shown_as_a_mark_and_kept_by_the_mark() -> None:
    sealer = Sealer(KEY)
    first = sealed_targets(one(), NONE, sealer)
    stored = first.model_dump(mode="json")
    assert "planted-secret" not in str(stored)
    mark = shown(stored)["targets"][0]["secret_key"]
    assert mark == mark_of(stored["targets"][0]["secret_key"])
    second = sealed_targets(one(secret_key=mark, comment="changed"), first, sealer)
    assert secrets_of(second.targets[0]) == secrets_of(first.targets[0])
    plain = opened(second.targets[0], sealer)
    assert isinstance(plain, S3Target)
    assert plain.secret_key.get_secret_value() == "planted-secret"


@pytest.mark.parametrize("change", [{"endpoint": "evil.example:9000"}, {"secure": False}, {"slug": "other"}])
def test_a_kept_secret_does_not_follow_its_target_to_another_address(change: dict[str, object]) -> None:
    sealer = Sealer(KEY)
    first = sealed_targets(one(), NONE, sealer)
    [secret] = secrets_of(first.targets[0]).values()
    mark = mark_of(secret.get_secret_value())
    for text in (mark, secret.get_secret_value()):
        with pytest.raises(SecretRefusedError) as refused:
            sealed_targets(one(secret_key=text, **change), first, sealer)
        assert refused.value.field == "secret_key"
    moved = first.targets[0].model_copy(update=change)
    with pytest.raises(CannotOpenError, match="type it again"):
        opened(moved, sealer)


def test_a_sealed_secret_of_an_old_revision_can_be_restored() -> None:
    sealer = Sealer(KEY)
    old = sealed_targets(one(), NONE, sealer)
    new = sealed_targets(one(secret_key="another"), old, sealer)
    again = sealed_targets(Targets.model_validate(old.model_dump(mode="json")), new, sealer)
    assert again == old


def test_another_key_opens_nothing_and_says_so() -> None:
    first = sealed_targets(one(), NONE, Sealer(KEY))
    with pytest.raises(CannotOpenError, match="another HERMES_SECRET_KEY"):
        opened(first.targets[0], Sealer(SecretStr("x" * 40)))
    with pytest.raises(KeyMissingError, match="HERMES_SECRET_KEY is not set"):
        sealed_targets(one(), NONE, Sealer(SecretStr("")))
    with pytest.raises(UnusableSettingsError, match="openssl"):
        Sealer(SecretStr("short"))


def test_secrets_of_every_kind_are_found_also_in_its_parts() -> None:
    pem = {"certificate": "CERT", "key": "KEY"}
    documents = [
        {"kind": "dicom", "host": "h", "port": 1, "called_aet": "A", "tls": pem},
        {"kind": "stow", "url": "https://h/dw", "auth": {"mode": "basic", "user": "u", "password": "P"}, "tls": pem},
        {"kind": "stow", "url": "https://h", "auth": {"mode": "bearer", "token": "T"}},
        {"kind": "stow", "url": "https://h", "auth": {
            "mode": "oauth2", "token_url": "https://t", "client_id": "c", "client_secret": "S"}},
        {"kind": "sftp", "host": "h", "host_key": "ssh-ed25519 AAAAx", "user": "u", "password": "p",
         "private_key": "k"},
        S3,
    ]  # fmt: skip
    found = [set(secrets_of(TARGET.validate_python({"slug": "t", "name": "t"} | document))) for document in documents]
    assert found == [
        {"tls.key"}, {"auth.password", "tls.key"}, {"auth.token"}, {"auth.client_secret"},
        {"password", "private_key"}, {"secret_key"},
    ]  # fmt: skip
    whole = Targets(
        targets=tuple(
            TARGET.validate_python({"slug": f"t{n}", "name": "t"} | {k: v for k, v in d.items() if k != "slug"})
            for n, d in enumerate(documents)
        )
    )
    sealer = Sealer(KEY)
    stored = sealed_targets(whole, NONE, sealer)
    assert all(opened(target, sealer) == plain for target, plain in zip(stored.targets, whole.targets, strict=True))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"kind": "stow", "url": "https://u:p@h/x"}, "own fields"),
        ({"kind": "stow", "url": "ftp://h"}, "https://"),
        ({"kind": "sftp", "host": "h", "user": "u", "password": "p", "host_key": "AAAA"}, "ssh-keyscan"),
        ({"kind": "sftp", "host": "h", "user": "u", "host_key": "ssh-ed25519 AAAAx"}, "password or a private key"),
        ({"kind": "folder", "path": "/a", "path_template": "{patient_name}/{sop_instance_uid}"}, "no field"),
        ({"kind": "dicom", "host": "h", "port": 1, "called_aet": "A", "tls": {"certificate": "C"}}, "together"),
        ({"kind": "telex"}, "telex"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_with_words(document: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TARGET.validate_python({"slug": "t", "name": "t"} | document)
    assert words in str(refused.value.errors(include_input=False))


BAD_TEMPLATES = ["", "a", "/{sop_instance_uid}", "../{sop_instance_uid}", "{sop_instance_uid}/"]
BAD_TEMPLATES += ["a//{sop_instance_uid}", "{sop_instance_uid", "{sop_instance_uid} x", "x}"]


@pytest.mark.parametrize("template", BAD_TEMPLATES)
def test_templates_that_are_unsafe_or_mix_instances_up_are_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"template|cannot be used"):
        check_template(template)


@given(st.fixed_dictionaries({name: st.text(max_size=80) for name in FIELDS}))
def test_whatever_the_values_are_a_name_stays_below_its_folder(values: dict[str, str]) -> None:
    name = render("{sender}/{study_uid}/{series_uid}-{digest}/{sop_instance_uid}.dcm", values)
    parts = name.split("/")
    assert len(parts) == 4
    assert all(part not in ("", ".", "..") and part.isascii() and part.isprintable() for part in parts)


def test_a_template_is_filled_in_with_uids_as_they_are() -> None:
    values = dict.fromkeys(FIELDS, "1.2.3") | {"sender": "CT 1/../x", "sop_instance_uid": check_uid("1.2.840.3")}
    assert render("{sender}/{sop_instance_uid}.dcm", values) == "CT_1____x/1.2.840.3.dcm"


def test_a_pause_ends_by_itself() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    target = DicomTarget(slug="p", name="p", host="h", port=1, called_aet="A")
    paused = target.model_copy(update={"pause": Pause(since=start, until=start + timedelta(hours=1))})
    assert not target.is_paused(start)
    assert paused.is_paused(start + timedelta(minutes=59))
    assert not paused.is_paused(start + timedelta(hours=1))
    assert target.model_copy(update={"pause": Pause(since=start)}).is_paused(start + timedelta(days=9000))


def test_a_base_address_is_kept_without_its_last_slash() -> None:
    assert StowTarget(slug="s", name="s", url="https://h:8443/dicom-web/").url == "https://h:8443/dicom-web"
