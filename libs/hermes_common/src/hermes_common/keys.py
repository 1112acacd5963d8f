"""Keys in the object store. They are generated here and nowhere else, from checked parts only.

An object is written once and belongs to one reception (ADR-0002), so that removing an old object can never
take a newer one with it.
"""

import re

from hermes_common.ids import check_uid

MANIFESTS = "manifests"
QUARANTINE = "quarantine"
STUDIES = "studies"
SWEEPS = "sweeps"

_RECEPTION = re.compile(r"[0-9a-f]{32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def _reception(reception_id: str) -> str:
    if not _RECEPTION.fullmatch(reception_id):
        raise ValueError(f"not a reception id (32 hexadecimal digits): {reception_id!r}")
    return reception_id


def instance_key(series_uid: str, sop_instance_uid: str, digest: str, reception_id: str) -> str:
    """Return the key of one received instance: ``<series>/<sop>-<first 16 digits of the digest>-<reception>.dcm``.

    ``digest`` is the hexadecimal SHA-256 of the data set, ``reception_id`` the 32 hexadecimal digits of its id.
    """
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"not a SHA-256 digest: {digest!r}")
    return f"{check_uid(series_uid)}/{check_uid(sop_instance_uid)}-{digest[:16]}-{_reception(reception_id)}.dcm"


def manifest_key(series_uid: str, batch_id: str) -> str:
    """Return the key of the list of instances of one batch of a series."""
    return f"{MANIFESTS}/{check_uid(series_uid)}/{batch_id}.json"


def decision_key(series_uid: str, batch_id: str) -> str:
    """Return the key of the decision that was taken for one batch of a series."""
    return f"{MANIFESTS}/{check_uid(series_uid)}/{batch_id}.decision.json"


def study_key(study_uid: str, decision_id: str) -> str:
    """Return the key of what was decided when a study was complete."""
    return f"{STUDIES}/{check_uid(study_uid)}/{decision_id}.json"


def documents_folder(series_uid: str) -> str:
    """Return what the keys of the manifests and decisions of a series have before the last slash."""
    return f"{MANIFESTS}/{check_uid(series_uid)}"


def study_folder(study_uid: str) -> str:
    """Return what the keys of what was decided on a study have before the last slash."""
    return f"{STUDIES}/{check_uid(study_uid)}"


def quarantine_key(reception_id: str) -> str:
    """Return the key of bytes that could not be taken as an instance."""
    return f"{QUARANTINE}/{_reception(reception_id)}.bin"


def sweep_key(sweep_id: str) -> str:
    """Return the key of what a sweep of the store found."""
    return f"{SWEEPS}/{sweep_id}.json"
