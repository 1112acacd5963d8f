"""A target of the old file to one of ours, if there is a kind for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hermes_common.config import DicomTarget, Target
from hermes_common.mercure.report import Outcome, Report, shown
from hermes_common.mercure.values import cut, flag, is_set, text

_TARGET: TypeAdapter[Any] = TypeAdapter(Target)
_GUESSES = (("aet_target", "dicom"), ("url", "dicomweb"), ("bucket", "s3"), ("project_id", "xnat"))
"""Fields that only one kind has, for files from before a target said its kind."""


@dataclass(slots=True)
class _Old:
    """One old target, and where its notes go; ``used`` are the fields that were looked at."""

    fields: Mapping[str, Any]
    report: Report

    def get(self, key: str) -> str:
        return text(self.fields.get(key))

    def differs(self, key: str, message: str) -> None:
        self.report.note(Outcome.DIFFERS, key, message)

    def by_hand(self, key: str, message: str) -> None:
        self.report.note(Outcome.BY_HAND, key, message)


def translate_target(name: str, slug: str, fields: Any, report: Report) -> dict[str, Any] | None:
    """Return the document of a target, None if there can be none; the reason is in the report."""
    if not isinstance(fields, Mapping):
        report.note(Outcome.LOST, "", "it is not an object, so it says nothing")
        return None
    old = _Old(fields, report)
    kind = text(fields.get("target_type")).lower() or next((k for key, k in _GUESSES if key in fields), "")
    if text(fields.get("direction")) == "pull":
        report.note(Outcome.LOST, "direction", "images are only fetched from it, and nothing is fetched here")
        return None
    make = _KINDS.get(kind)
    if make is None:
        report.note(
            Outcome.LOST, "target_type", f"there is no target of the kind {shown(kind) or 'that it leaves out'}"
        )
        return None
    made = make(old)
    if made is None:
        return None
    contact, comment = cut(old.get("contact"), 200), cut(old.get("comment"), 2000)
    document = {"slug": slug, "name": cut(name, 120), "contact": contact, "comment": comment, **made}
    document = {key: value for key, value in document.items() if value != ""}
    try:
        _TARGET.validate_python(document)
    except ValidationError as error:
        report.note(Outcome.LOST, "", f"it cannot be used: {_reason(error)}")
        return None
    if text(fields.get("direction")) == "both":
        old.differs("direction", "images are sent to it; nothing is fetched from it here")
    report.note(Outcome.TRANSLATED, "", f"target {slug}")
    return document


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"][1:])
    return shown(f"{place}: {first['msg']}" if place else first["msg"])


def _dicom(old: _Old) -> dict[str, Any] | None:
    if old.get("ip").lower() == "sender":
        old.report.note(Outcome.LOST, "ip", "images cannot be sent back to whoever sent them")
        return None
    made: dict[str, Any] = {
        "kind": "dicom",
        "host": old.get("ip"),
        "port": _number(old.get("port")),
        "called_aet": old.get("aet_target"),
    }
    if old.get("aet_source"):
        made["calling_aet"] = old.get("aet_source")
    if flag(old.fields.get("pass_sender_aet")):
        if "pass_calling_aet" in DicomTarget.model_fields:
            made["pass_calling_aet"] = True
        else:
            old.differs("pass_sender_aet", "the target is shown the AE title of this router, not that of the sender")
    if flag(old.fields.get("pass_receiver_aet")):
        old.differs("pass_receiver_aet", "the target is called by its own AE title, not by the one the sender called")
    return made


def _dicom_tls(old: _Old) -> dict[str, Any] | None:
    if "tls" not in DicomTarget.model_fields:
        old.report.note(Outcome.LOST, "target_type", "there is no target that speaks DICOM over TLS")
        return None
    made = _dicom(old)
    if made is not None:
        made |= {"tls": {}, "enabled": False}
        paths = ", ".join(filter(None, (old.get(key) for key in ("ca_cert", "tls_cert", "tls_key"))))
        old.by_hand("tls_key", f"paste the contents of these files into the target, then enable it: {shown(paths)}")
    return made


def _stow(old: _Old) -> dict[str, Any] | None:
    prefix = old.get("stow_url_prefix").strip("/")
    made: dict[str, Any] = {"kind": "stow", "url": "/".join(filter(None, (old.get("url").rstrip("/"), prefix)))}
    if old.get("access_token"):
        made["auth"] = {"mode": "bearer", "token": old.get("access_token")}
    elif old.get("http_user"):
        made["auth"] = {"mode": "basic", "user": old.get("http_user"), "password": old.get("http_password")}
    return made


def _s3(old: _Old) -> dict[str, Any] | None:
    region = old.get("region")
    made = {"kind": "s3", "endpoint": f"s3.{region}.amazonaws.com", "region": region, "bucket": old.get("bucket")}
    made |= {"access_key": old.get("access_key_id"), "secret_key": old.get("secret_access_key")}
    if prefix := old.get("prefix").strip("/"):
        old.by_hand("prefix", f"put {shown(prefix)}/ in front of the template of the keys")
    old.differs("", "objects are named by UIDs, one for each instance")
    return made


def _folder(old: _Old) -> dict[str, Any] | None:
    if old.get("file_filter"):
        old.differs("file_filter", "every instance is written: there is no filter")
    message = "files lie below the UIDs of study and series, each complete as soon as it has its name"
    old.differs("folder", f"{message}; there is no new folder for each series and no .complete file")
    return {"kind": "folder", "path": old.get("folder")}


def _sftp(old: _Old) -> dict[str, Any] | None:
    host = shown(old.get("host"))
    old.report.note(
        Outcome.BY_HAND,
        "host",
        f"make this target again: it needs the server's key, which the old file does not have (ssh-keyscan {host} "
        f"prints it; compare it with the server's own)",
    )
    return None


def _number(value: str) -> int | str:
    return int(value) if value.isascii() and value.isdigit() and len(value) < 9 else value


_KINDS: dict[str, Callable[[_Old], dict[str, Any] | None]] = {
    "dicom": _dicom,
    "dicomtls": _dicom_tls,
    "dicomweb": _stow,
    "s3": _s3,
    "folder": _folder,
    "sftp": _sftp,
}


def has_secrets(target: Mapping[str, Any]) -> bool:
    """Return whether the document of a target has a password, a key or a token in it."""
    return is_set(target.get("auth")) or "secret_key" in target
