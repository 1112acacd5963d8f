"""The forms of targets: which fields each kind has, what is typed into them, and the target that this makes.

The name of a field is its path in the document (``tls.ca``). A secret is never put into a page: an empty field keeps
what is there.
"""

import re
from collections.abc import Sequence
from typing import Any, assert_never

from pydantic import TypeAdapter, ValidationError

from hermes_common.config import (
    AnyTarget,
    DicomTarget,
    FolderTarget,
    S3Target,
    SftpTarget,
    StowTarget,
    Target,
)
from hermes_common.endpoints import Strategy
from hermes_common.secrets import mark_of, shown
from hermes_common.targets import KINDS, secrets_of
from hermes_web.core.configuration import problems_of
from hermes_web.errors import FieldProblem, InvalidError
from hermes_web.features.rules.forms import slug_of
from hermes_web.features.targets import changes_form
from hermes_web.features.targets.endpoints import lines_of, read_lines
from hermes_web.features.targets.fields import Field, Group
from hermes_web.http.forms import Form

_TARGET: TypeAdapter[AnyTarget] = TypeAdapter(Target)

NAMES = {
    "dicom": "DICOM target",
    "stow": "DICOMweb target",
    "s3": "S3 bucket",
    "sftp": "SFTP server",
    "folder": "folder",
}

_LIMITS = (
    Field("connect_timeout", "Time limit to connect", "Such as 10s."),
    Field("response_timeout", "Time limit for an answer", "Such as 60s; archives answer after storing."),
)
_FIELDS = "Fields: {study_uid}, {series_uid}, {sop_instance_uid}, {sop_class_uid}, {sender}, {digest}."


def _tls(label: str, hint: str) -> Group:
    return Group(
        "TLS",
        hint,
        (
            Field("tls", label, type="check"),
            Field("tls.check_name", "The certificate has to name the host that is called", type="check"),
            Field("tls.ca", "Trusted authorities", "PEM; empty trusts those of the system.", "area"),
            Field("tls.certificate", "Our certificate", "PEM with its chain; if the target asks for one.", "area"),
            Field("tls.key", "Its private key", "PEM, not encrypted.", "secret_area"),
        ),
    )


_AUTH = Group(
    "Sign in",
    "Fill in what the chosen way needs.",
    (
        Field("auth.mode", "Way", "", "select", choices=("none", "basic", "bearer", "oauth2")),
        Field("auth.user", "User", "For basic."),
        Field("auth.password", "Password", "For basic.", "secret"),
        Field("auth.token", "Token", "For bearer.", "secret"),
        Field("auth.token_url", "Address of the token service", "For oauth2: it gets the client id and the secret."),
        Field("auth.client_id", "Client id", "For oauth2."),
        Field("auth.client_secret", "Client secret", "For oauth2.", "secret"),
        Field("auth.scope", "Scope", "For oauth2, if the service wants one."),
    ),
)
_AUTH_FIELDS = {
    "none": (),
    "basic": ("user", "password"),
    "bearer": ("token",),
    "oauth2": ("token_url", "client_id", "client_secret", "scope"),
}


def _endpoints(example: str) -> Group:
    return Group(
        "Further addresses of the same archive",
        "The first address is the one above. An address that does not answer is left out until it does.",
        (
            Field(
                "endpoints",
                "Further endpoints",
                f"One a line, such as {example}; behind it weight=2 or at_once=4 if wanted.",
                "area",
            ),
            Field(
                "strategy",
                "Which one is used",
                "failover: the first that is up. study affinity: a study stays at one.",
                "select",
                choices=tuple(strategy.value for strategy in Strategy),
            ),
            Field("weight", "Weight of the first", "1 to 100.", "number"),
        ),
    )


GROUPS: dict[str, tuple[Group, ...]] = {
    "dicom": (
        Group(
            "",
            "",
            (
                Field("host", "Host", required=True),
                Field("port", "Port", type="number", required=True),
                Field("called_aet", "Called AE title", "What the target calls itself.", required=True),
                Field("calling_aet", "Calling AE title", "What we call ourselves; the target may have to know it."),
                Field("pass_calling_aet", "Show the sender's AE title instead of ours", type="check"),
                Field("max_pdu", "Largest PDU", "4096 to 131072 octets; empty sends what the target takes.", "number"),
                *_LIMITS,
            ),
        ),
        Group(
            "Storage commitment",
            "The target is asked to say that it keeps what arrived. It has to know our AE title and the receiver.",
            (
                Field("commitment", "Ask for storage commitment", type="check"),
                Field("commitment.max_wait", "Longest wait for the result", "Such as 1h; then an alert is raised."),
                Field("commitment.stay", "Wait on the association of the request", "0s to 1m, such as 2s."),
            ),
        ),
        _endpoints("PACS2@pacs2.example.org:104"),
        _tls("Speak TLS", "Without it images travel in the clear."),
    ),
    "stow": (
        Group(
            "",
            "",
            (
                Field(
                    "url", "Address", "Such as https://pacs.example.org/dicom-web; /studies is added.", required=True
                ),
                Field("batch", "Instances in a request", "At most.", "number"),
                *_LIMITS,
            ),
        ),
        _endpoints("https://pacs2.example.org/dicom-web"),
        _AUTH,
        _tls("Use the settings below", "For https; without them the system's authorities are trusted."),
    ),
    "s3": (
        Group(
            "",
            "",
            (
                Field("endpoint", "Server", "host or host:port, without https://.", required=True),
                Field("bucket", "Bucket", "It has to exist.", required=True),
                Field("region", "Region"),
                Field("secure", "Speak TLS (https)", type="check"),
                Field("access_key", "Access key", required=True),
                Field("secret_key", "Secret key", "", "secret"),
                Field("key_template", "Key of an object", _FIELDS),
                *_LIMITS,
            ),
        ),
        _tls("Use the settings below", "For https; without them the system's authorities are trusted."),
    ),
    "sftp": (
        Group(
            "",
            "",
            (
                Field("host", "Host", required=True),
                Field("port", "Port", type="number", required=True),
                Field(
                    "host_key",
                    "Host key",
                    "As ssh-keyscan prints it, without the name: ssh-ed25519 AAAA…",
                    "area",
                    True,
                ),
                Field("user", "User", required=True),
                Field("password", "Password", "This, or a private key.", "secret"),
                Field("private_key", "Private key", "OpenSSH or PEM, not encrypted.", "secret_area"),
                Field("folder", "Folder", "It has to exist; . is where the server lets us in.", required=True),
                Field("path_template", "Name of a file", _FIELDS),
                *_LIMITS,
            ),
        ),
    ),
    "folder": (
        Group(
            "",
            "",
            (
                Field("path", "Folder", "Absolute path on the dispatcher's machine.", required=True),
                Field("path_template", "Name of a file", _FIELDS),
            ),
        ),
    ),
}

_FIRST = (
    Field("name", "Name", required=True),
    Field("slug", "Short name", "Lower-case letters, digits, hyphens; made of the name if left empty. It stays."),
)
_LAST = (
    Group(
        "How much at once",
        "",
        (
            Field("concurrency", "Deliveries at once", "To each endpoint, over all dispatchers.", "number"),
            Field(
                "bandwidth", "Octets a second", "At most, over everything; 65536 or more. Empty is no limit.", "number"
            ),
            Field("enabled", "Deliveries are made; otherwise they wait", type="check"),
        ),
    ),
    Group(
        "When a delivery fails",
        "A target that is down costs no attempts: deliveries wait for it.",
        (
            Field("retry.max_attempts", "Attempts", type="number"),
            Field("retry.delay", "First wait", "Such as 60s."),
            Field("retry.factor", "Each wait longer by", "A factor from 1 to 10."),
            Field("retry.max_delay", "Longest wait", "Such as 1h."),
            Field(
                "retry.max_age", "Given up after", "Such as 7d, also with the target down all the time; 0s is never."
            ),
        ),
    ),
    Group(
        "For people",
        "",
        (Field("contact", "Contact", "Whom to call when it is down."), Field("comment", "Notes")),
    ),
)

_SAMPLES: dict[str, dict[str, Any]] = {
    "dicom": {"host": "h", "port": 104, "called_aet": "A"},
    "stow": {"url": "https://h"},
    "s3": {"endpoint": "h", "bucket": "bucket", "access_key": "a", "secret_key": ""},
    "sftp": {"host": "h", "host_key": "ssh-ed25519 AAAA", "user": "u", "password": "sealed:"},
    "folder": {"path": "/p"},
}


def address_of(target: AnyTarget) -> str:
    """Return where a target is, in one line."""
    match target:
        case DicomTarget():
            return f"{target.called_aet}@{target.host}:{target.port}{_more(target)}"
        case StowTarget():
            return f"{target.url}{_more(target)}"
        case S3Target():
            return f"{target.bucket} at {target.endpoint}"
        case SftpTarget():
            return f"{target.user}@{target.host}:{target.port} {target.folder}"
        case FolderTarget():
            return target.path
        case _:
            assert_never(target)


def _more(target: DicomTarget | StowTarget) -> str:
    count = len(target.endpoints)
    return f" and {count} more" if count else ""


def groups_of(kind: str) -> tuple[Group, ...]:
    """Return the groups of the form of a kind, in their order."""
    own = GROUPS[kind]
    return (Group("", "", (*_FIRST, *own[0].fields)), *own[1:], *changes_form.groups(kind), *_LAST)


def fields_of(kind: str) -> list[Field]:
    """Return every field of the form of a kind."""
    return [field for group in groups_of(kind) for field in group.fields]


def _is_secret(field: Field) -> bool:
    return field.type in ("secret", "secret_area")


def values_of(target: AnyTarget) -> dict[str, Any]:
    """Return the form's values for a target; of a secret, whether there is one."""
    document = shown(target.model_dump(mode="json"))
    values: dict[str, Any] = {"kind": target.kind}
    changes = changes_form.shown_document(document)
    for field in fields_of(target.kind):
        found = changes[field.path] if field.path in changes else _at(document, field.path.split("."))
        values[field.path] = bool(found) if field.type == "check" or _is_secret(field) else found
    if "endpoints" in values:
        values["endpoints"] = lines_of(document["endpoints"])
    if "tls.check_name" in values and document.get("tls") is None:
        values["tls.check_name"] = True
    return values


def _at(document: Any, path: Sequence[str]) -> Any:
    for part in path:
        document = document.get(part) if isinstance(document, dict) else None
    return "" if document is None else document


def new_values(kind: str) -> dict[str, Any]:
    """Return the form's values for a new target: empty, or the defaults."""
    sample = _TARGET.validate_python({"kind": kind, "slug": "new", "name": "new", **_SAMPLES[kind]})
    empty = {name: "" for name in ("slug", "name", *_SAMPLES[kind]) if name != "port"}
    secret = {field.path: False for field in fields_of(kind) if _is_secret(field)}
    return {**values_of(sample), **empty, **secret}


def typed_values(form: Form, kind: str, known: AnyTarget | None) -> dict[str, Any]:
    """Return the form's values as they were typed, to show them again; no secret is among them."""
    secrets = {} if known is None else secrets_of(known)
    values: dict[str, Any] = {"kind": kind}
    for field in fields_of(kind):
        match field.type:
            case "check":
                values[field.path] = form.checked(field.path)
            case "secret" | "secret_area":
                values[field.path] = field.path in secrets
            case "area":
                values[field.path] = form.lines(field.path)
            case _:
                values[field.path] = form.text(field.path)
    values["slug"] = form.text("slug") or slug_of(form.text("name"))
    return values


def made_of(form: Form, values: dict[str, Any], known: AnyTarget | None) -> AnyTarget:
    """Return the target that a form describes; raise :class:`InvalidError` that names the form's fields."""
    kind = str(values["kind"])
    kept = (
        {} if known is None else {path: mark_of(value.get_secret_value()) for path, value in secrets_of(known).items()}
    )
    flat: dict[str, Any] = {}
    for field in fields_of(kind):
        if _is_secret(field):
            typed = form.lines(field.path) if field.type == "secret_area" else form.raw(field.path)
            flat[field.path] = "" if form.checked(f"{field.path}.remove") else typed or kept.get(field.path, "")
        else:
            flat[field.path] = values[field.path]
    for name in ("max_pdu", "bandwidth"):
        if flat.get(name) == "":
            flat[name] = None
    for name in ("retry.max_age", "weight", "strategy", "commitment.max_wait", "commitment.stay"):
        if flat.get(name) == "":
            del flat[name]  # as it is by default
    if "endpoints" in flat:
        flat["endpoints"] = read_lines(flat["endpoints"], kind)
    document = _nested(flat, values)
    document["pause"] = None if known is None or known.pause is None else known.pause.model_dump()
    try:
        return _TARGET.validate_python({**document, "kind": kind})
    except ValidationError as error:
        problems = [FieldProblem(_field_of(item.field), item.message) for item in problems_of(error)]
        raise InvalidError(problems=problems) from error


def _field_of(path: str) -> str:
    """Return the field of the form in which a place of the document is typed."""
    return re.sub(r"^(changes\.[a-z_.]+)\[\d+\]$", r"\1", path.replace("document", "slug"))


def _nested(flat: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for path, value in flat.items():
        head, _, rest = path.partition(".")
        if rest:
            document.setdefault(head, {})[rest] = value
        elif path not in ("tls", "commitment"):
            document[path] = value
    if "commitment" in flat:
        document.setdefault("commitment", {})
    if "tls" in document and not values["tls"]:
        document["tls"] = None
    if "commitment" in document and not values["commitment"]:
        document["commitment"] = None
    document["changes"] = changes_form.made_document(document["changes"])
    if "auth" in document:
        mode = document["auth"]["mode"]
        document["auth"] = {"mode": mode} | {name: document["auth"][name] for name in _AUTH_FIELDS.get(mode, ())}
    return document


def is_kind(text: str) -> bool:
    """Return whether there is a form for such a kind."""
    return text in KINDS and text in GROUPS
