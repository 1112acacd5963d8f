"""Bytes in quarantine: read by an administrator, and received again under the UIDs that the data set itself has."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final, Protocol

from hermes_common.dicom import command as dimse
from hermes_common.dicom.command import CommandSet
from hermes_common.dicom.errors import DicomError, HeadTooShort
from hermes_common.dicom.header import Header, extract_header
from hermes_common.dicom.part10 import Part10, parse_file_meta
from hermes_common.keys import quarantine_key
from hermes_common.runtime.clock import new_id
from hermes_common.runtime.objectstore import ObjectStream
from hermes_receiver.core.checksum import checksum_like
from hermes_receiver.core.reception import DamagedEntryError, Note, Origin
from hermes_receiver.handlers.storing import Answer, Reception, Store

_HEAD: Final = 4 * 1024 * 1024
_CHUNK: Final = 1024 * 1024


class QuarantineObjects(Protocol):
    """The part of the object store that is read here."""

    def open(self, key: str) -> AbstractContextManager[ObjectStream]:
        """The object as a stream; ObjectMissing on entering."""


class NotAnInstanceError(Exception):
    """The bytes still cannot be taken as an instance; the message says why."""


class Quarantine:
    """What was kept aside. Blocks; errors of the object store pass."""

    def __init__(self, store: Store, objects: QuarantineObjects) -> None:
        self._store = store
        self._objects = objects

    def open(self, reception_id: str) -> AbstractContextManager[ObjectStream]:
        """Return the bytes as they lie there: a file with our meta information; ValueError for what is no id."""
        return self._objects.open(quarantine_key(reception_id))

    def resubmit(self, reception_id: str, user: str) -> Answer:
        """Receive the bytes again, as from the sender that they came from; what lies in quarantine stays.

        Raises :class:`NotAnInstanceError` where they still make no instance, or are not the bytes that came.
        """
        with self.open(reception_id) as stream:
            head = stream.read(_HEAD)
            part10, note, header = self._read(head, stream.size)
            reception = Reception(
                self._store, _origin(part10, note, user), _command(header), part10.meta.transfer_syntax
            )
            try:
                checksum = checksum_like(note.check)
                data = head[part10.offset :]
                while data:
                    checksum.update(data)
                    reception.take(memoryview(data))
                    data = stream.read(_CHUNK)
                if checksum.hexdigest() != note.check:
                    raise NotAnInstanceError("the bytes in quarantine are not those that were received")
                return reception.finish()
            finally:
                reception.abandon()

    def _read(self, head: bytes, size: int) -> tuple[Part10, Note, Header]:
        try:
            part10 = parse_file_meta(head)
            note = Note.decode(part10.meta.private_information)
            header = extract_header(
                head[part10.offset :],
                part10.meta.transfer_syntax,
                truncated=size > len(head),
                selection=self._store.collected(),
            )
        except HeadTooShort as exc:
            raise NotAnInstanceError(f"its header is longer than {_HEAD} bytes") from exc
        except DicomError as exc:
            raise NotAnInstanceError(exc.reason) from exc
        except DamagedEntryError as exc:
            raise NotAnInstanceError(str(exc)) from exc
        return part10, note, header


def _origin(part10: Part10, note: Note, user: str) -> Origin:
    meta = part10.meta
    association = new_id().replace("-", "")
    return Origin(association, meta.sending_aet, meta.receiving_aet, note.host, 0, "127.0.0.1", 0, user=user)


def _command(header: Header) -> CommandSet:
    names = {dimse.AFFECTED_SOP_CLASS: header.sop_class_uid, dimse.AFFECTED_SOP_INSTANCE: header.sop_instance_uid}
    return CommandSet({element: uid.encode("ascii") for element, uid in names.items()})
