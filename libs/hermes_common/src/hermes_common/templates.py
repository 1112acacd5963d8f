"""Names of files and objects, made of a template with safe fields: identifiers only, nothing that a person typed.

``{study_uid}/{series_uid}/{sop_instance_uid}.dcm``: literal letters, digits, ``. _ -`` and ``/``, and fields in braces.
"""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

FIELDS = ("study_uid", "series_uid", "sop_instance_uid", "sop_class_uid", "transfer_syntax_uid", "sender", "digest")
"""``sender``: AE title that sent the instance, with other characters than letters and digits as ``_``; ``digest``: the
first 16 digits of the SHA-256 of the data set."""

DEFAULT = "{study_uid}/{series_uid}/{sop_instance_uid}.dcm"

_TOKEN = re.compile(r"\{([a-z_]+)\}|([A-Za-z0-9._/-]+)")
_UNSAFE = re.compile(r"[^A-Za-z0-9-]")


def check_template(template: str) -> str:
    """Return ``template`` if every name made of it is safe and tells instances apart; raise ValueError otherwise."""
    if not 1 <= len(template) <= 512:
        raise ValueError("a template has 1 to 512 characters")
    position = 0
    for match in _TOKEN.finditer(template):
        if match.start() != position:
            break
        if match[1] is not None and match[1] not in FIELDS:
            raise ValueError(f"there is no field {{{match[1]}}}; there are {', '.join(FIELDS)}")
        position = match.end()
    if position != len(template):
        raise ValueError(f"{template[position]!r} cannot be used here: letters, digits, . _ - / and {{fields}} can")
    if "{sop_instance_uid}" not in template:
        raise ValueError("the template must have {sop_instance_uid}: instances would overwrite each other")
    if any(part in ("", ".", "..") for part in template.split("/")):
        raise ValueError("the template must be a relative path without empty parts, '.' and '..'")
    return template


def render(template: str, fields: Mapping[str, str]) -> str:
    """Return the name for one instance; every value is made safe, whatever it is."""
    safe = {name: _UNSAFE.sub("_", fields[name]) if name == "sender" else fields[name] for name in FIELDS}
    safe = {name: re.sub(r"[^A-Za-z0-9._-]", "_", value).strip(".")[:64] or "none" for name, value in safe.items()}
    return _TOKEN.sub(lambda match: match[0] if match[1] is None else safe[match[1]], template)


PathTemplate = Annotated[str, AfterValidator(check_template)]
