"""The part of a target's form that says what is changed on the way: fields, values, and the document they make."""

from typing import Any, Final

from hermes_common.changes import WRITABLE, BurnedIn, Changes, Dates, Deidentification, Transcode
from hermes_web.features.targets.fields import Field, Group

_PART: Final = "deidentify"
_LISTS: Final = ("transfer_syntaxes", "edits")
_UIDS: Final = {name.lower(): uid for uid, name in WRITABLE.items()}
_NEGOTIATED: Final = "dicom"


def groups(kind: str) -> tuple[Group, ...]:
    """Return the groups of fields for a kind of target."""
    modes = [mode.value for mode in Transcode if kind == _NEGOTIATED or mode is not Transcode.IF_NEEDED]
    return (
        Group(
            "Transfer syntax",
            "Without transcoding instances are sent as they were received, byte for byte.",
            (
                Field("changes.transcode", "Transcode", "If needed: only what the target does not take.", "select",
                      choices=tuple(modes)),
                Field("changes.transfer_syntaxes", "Transfer syntaxes", _syntaxes_hint(), "area"),
                Field("changes.lossy_ratio", "Lossy ratio",
                      "Only for JPEG 2000 (lossy), such as 10: without it nothing is compressed with a loss."),
            ),
        ),
        Group(
            "Changes on the way",
            "What is stored stays as it is. An instance that cannot be changed as asked is not sent.",
            (
                Field("changes.edits", "Edits",
                      "One a line: set PatientComments to for research; remove (0019,100C); copy AccessionNumber to "
                      "StudyID; prefix PatientID with R-; suffix PatientID with -B.", "area"),
                Field("changes.new_uids", "New UIDs for studies, series and instances, always the same", type="check"),
                Field("changes.key", "Key for pseudonyms",
                      "At least 16 characters, for new UIDs and de-identification. Keep it safe: with it the "
                      "same pseudonyms are made again.", "secret"),
            ),
        ),
        Group(
            "De-identification",
            "Basic profile of PS3.15 with its options. Pixels are never changed.",
            (
                Field("changes.deidentify", "De-identify", type="check"),
                Field("changes.deidentify.dates", "Dates", "Shifted: back by days, the same for all of a patient.",
                      "select", choices=tuple(item.value for item in Dates)),
                Field("changes.deidentify.shift_days", "Shift by up to", "Days.", "number"),
                Field("changes.deidentify.burned_in", "Burned-in annotation",
                      "Refuse: not sent if it says YES. Require no: not sent unless it says NO.", "select",
                      choices=tuple(item.value for item in BurnedIn)),
                Field("changes.deidentify.retain_uids", "Retain UIDs", type="check"),
                Field("changes.deidentify.retain_device", "Retain device identity", type="check"),
                Field("changes.deidentify.retain_institution", "Retain institution identity", type="check"),
                Field("changes.deidentify.retain_patient_characteristics", "Retain patient characteristics",
                      type="check"),
                Field("changes.deidentify.retain_safe_private", "Retain safe private attributes", type="check"),
                Field("changes.deidentify.clean_descriptors",
                      "Clean descriptions: known harmless words stay, instead of removing all", type="check"),
                Field("changes.deidentify.words", "More words that may stay", "For cleaned descriptions.", "area"),
            ),
        ),
    )  # fmt: skip


def _syntaxes_hint() -> str:
    names = ", ".join(f"{name} ({uid})" for uid, name in WRITABLE.items())
    return f"Names or UIDs, one a line, the most wanted first; exactly one for always. {names}."


def shown_document(document: dict[str, Any]) -> dict[str, Any]:
    """Return the ``changes`` of a target's document as the form shows them: defaults where there are none."""
    found = {**Changes().model_dump(mode="json"), **(document.get("changes") or {})}
    part = found[_PART]
    options = {**Deidentification().model_dump(mode="json"), **(part or {})}
    values: dict[str, Any] = {f"changes.{name}": value for name, value in found.items() if name not in (_PART, *_LISTS)}
    values |= {f"changes.{_PART}.{name}": value for name, value in options.items() if name != "words"}
    values |= {f"changes.{name}": "\n".join(found[name]) for name in _LISTS}
    values[f"changes.{_PART}.words"] = " ".join(options["words"])
    values[f"changes.{_PART}"] = part is not None
    values["changes.lossy_ratio"] = "" if found["lossy_ratio"] is None else f"{found['lossy_ratio']:g}"
    return values


def made_document(typed: dict[str, Any]) -> dict[str, Any] | None:
    """Return the ``changes`` that typed values make (by path below ``changes``); None if nothing is asked for."""
    document = {name: value for name, value in typed.items() if "." not in name and name != _PART}
    document |= {name: [line.strip() for line in typed[name].splitlines() if line.strip()] for name in _LISTS}
    document["transfer_syntaxes"] = [_UIDS.get(text.lower(), text) for text in document["transfer_syntaxes"]]
    document["lossy_ratio"] = typed["lossy_ratio"] or None
    document["transcode"] = typed["transcode"] or Transcode.NEVER
    if typed[_PART]:
        part = {name.partition(".")[2]: value for name, value in typed.items() if name.startswith(f"{_PART}.")}
        document[_PART] = {**part, "words": part["words"].split()}
    is_empty = document["transcode"] == Transcode.NEVER and not any(
        document.get(name) for name in (*_LISTS, "lossy_ratio", "new_uids", "key", _PART)
    )
    return None if is_empty else document
