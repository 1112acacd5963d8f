"""The record of one reception: it travels in the file meta information of its spool file (PS3.10 7.1, (0002,0102))."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from hermes_common.dicom.header import Header
from hermes_common.dicom.part10 import FileMeta, dicom_uri
from hermes_common.dicom.uids import IMPLEMENTATION_CLASS_UID
from hermes_common.events import InstanceQuarantined, InstanceStored, Sender
from hermes_common.keys import instance_key, quarantine_key

NOTE_LENGTH: Final = 512
"""Bytes reserved for the note, so that it can be completed in place when the last byte has come."""
NOTE_CREATOR: Final = f"{IMPLEMENTATION_CLASS_UID}.1"
"""Private Information Creator UID (0002,0100) of the note."""
_MAX_REASON: Final = 160


class DamagedEntryError(Exception):
    """A spool file whose own record cannot be read."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an association comes from: AE titles as sent, network address, our own address."""

    association_id: str
    calling_aet: str
    called_aet: str
    host: str
    port: int
    local_host: str
    local_port: int
    tls: str = ""
    """TLS version and cipher suite; empty for a plain connection."""
    certificate: str = ""
    """Subject of the verified client certificate; empty without one."""
    user: str = ""
    """Name of the user whose identity was verified."""

    def sender(self) -> Sender:
        """Return it as events carry it."""
        return Sender(calling_aet=self.calling_aet, called_aet=self.called_aet, address=self.host)


@dataclass(frozen=True, slots=True)
class Note:
    """What group 0002 has no element for. ``status`` is the DIMSE status the sender was given, ``check`` the checksum
    of the data set as it came (:mod:`hermes_receiver.core.checksum`).
    """

    association: str
    received: str
    host: str
    check: str = ""
    status: int = 0
    reason: str = ""

    def encode(self) -> bytes:
        """Return exactly :data:`NOTE_LENGTH` bytes."""
        fields = {
            "association": self.association,
            "received": self.received,
            "host": self.host,
            "check": self.check,
            "status": self.status,
            "reason": self.reason[:_MAX_REASON].encode("ascii", "replace").decode(),
        }
        raw = json.dumps(fields, separators=(",", ":")).encode()
        if len(raw) > NOTE_LENGTH:
            raw = json.dumps(fields | {"reason": ""}, separators=(",", ":")).encode()
        return raw.ljust(NOTE_LENGTH)

    @classmethod
    def decode(cls, raw: bytes) -> Note:
        """Read a note back; raises :class:`DamagedEntryError`."""
        try:
            fields = json.loads(raw)
            if "digest" in fields:  # written by a receiver that had its SHA-256 in its place
                fields["check"] = fields.pop("digest")
            note = cls(**fields)
            datetime.fromisoformat(note.received)
        except (ValueError, TypeError) as exc:
            raise DamagedEntryError("its reception record cannot be read") from exc
        return note

    @property
    def received_at(self) -> datetime:
        """When the C-STORE began, in UTC."""
        return datetime.fromisoformat(self.received).astimezone(UTC)


def file_meta(origin: Origin, note: Note, sop_class: str, sop_instance: str, transfer_syntax: str) -> FileMeta:
    """Return the file meta information of an instance that is being received."""
    return FileMeta(
        sop_class_uid=sop_class[:64],
        sop_instance_uid=sop_instance[:64],
        transfer_syntax=transfer_syntax,
        source_aet=origin.calling_aet[:16],
        sending_aet=origin.calling_aet[:16],
        receiving_aet=origin.called_aet[:16],
        source_address=dicom_uri(origin.host, origin.port),
        sending_address=dicom_uri(origin.host, origin.port),
        receiving_address=dicom_uri(origin.local_host, origin.local_port),
        private_creator_uid=NOTE_CREATOR,
        private_information=note.encode(),
    )


def stored_event(
    reception_id: str, meta: FileMeta, note: Note, header: Header, octets: int, digest: str
) -> InstanceStored:
    """Return the fact that an instance is in the store; ``digest`` is the hexadecimal SHA-256 of its data set."""
    return InstanceStored(
        reception_id=reception_id,
        association_id=note.association,
        series_uid=header.series_uid,
        study_uid=header.study_uid,
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        transfer_syntax_uid=meta.transfer_syntax,
        key=instance_key(header.series_uid, header.sop_instance_uid, digest, reception_id),
        digest=digest,
        octets=octets,
        received_at=note.received_at,
        sender=_sender(meta, note),
        tags=header.tags,
        warnings=header.warnings,
    )


def quarantined_event(
    reception_id: str, meta: FileMeta, note: Note, octets: int, reason: str | None = None
) -> InstanceQuarantined:
    """Return the fact that bytes are in quarantine; ``reason`` overrides that of the note."""
    return InstanceQuarantined(
        reception_id=reception_id,
        association_id=note.association,
        key=quarantine_key(reception_id),
        reason=reason if reason is not None else note.reason,
        status=note.status,
        octets=octets,
        received_at=note.received_at,
        sender=_sender(meta, note),
        sop_class_uid=meta.sop_class_uid,
        sop_instance_uid=meta.sop_instance_uid,
    )


def _sender(meta: FileMeta, note: Note) -> Sender:
    return Sender(calling_aet=meta.sending_aet, called_aet=meta.receiving_aet, address=note.host)
