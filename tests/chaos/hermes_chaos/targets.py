"""Targets that keep a ledger of their own: a scripted Storage SCP on pynetdicom, and DCMTK's storescp."""

import contextlib
import hashlib
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from harness import StoreScp, digest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from hermes_chaos.books import Fault, Kept, Ledger, confirms

Trick = Literal["slow", "deaf", "abort-at-byte", "abort-at-end", "hang-at-end", "busy"]
TRICKS: tuple[Trick, ...] = (
    "slow",
    "deaf",
    "abort-at-byte",
    "abort-at-end",
    "hang-at-end",
    "busy",
)
"""What a target does once, after which it behaves."""

SILENT = frozenset({"deaf", "hang-at-end"})
"""Targets that are not waited for for long."""

STATUSES = (
    *(0x0000, 0x0110, 0x0111, 0x0001, 0x0210, 0x0117, 0x0122, 0x0213, 0x0124, 0x0211, 0xA700, 0xA800, 0xA900),
    *(0xA701, 0xA9FF, 0xB000, 0xFE00, 0xB006, 0xB007, 0x8123, 0xBFFF, 0xC000, 0xC123),
)
"""One for each instance of a series to the target that answers every status. Those that may pass stand alone: three
in a row end an attempt."""

COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
"""Well-known instance of the Storage Commitment Push Model (PS3.4 J.3.5)."""

TELLING = 120.0
"""Seconds for which a target tries to tell its result."""

A_ABORT = bytes((7, 0, 0, 0, 0, 4, 0, 0, 0, 0))

SILENCE = 2.5
"""Seconds for which a target that hangs says nothing: longer than the router waits for it."""


class ScriptedTarget:
    """A Storage SCP that behaves, except where :meth:`play` tells it otherwise."""

    def __init__(
        self,
        slug: str,
        port: int,
        ledger: Ledger,
        *,
        classes: tuple[str, ...] = (CTImageStorage, MRImageStorage),
        syntaxes: tuple[str, ...] = (ExplicitVRLittleEndian,),
        answer: Callable[[int], int] = lambda _: 0,
        call: Callable[[], int] | None = None,
    ) -> None:
        self.slug = slug
        self.port = port
        self._ledger = ledger
        self._answer = answer
        """Returns the status for an instance number."""
        self._call = call
        """Returns the port of the router, to tell it what is kept; without it storage commitment is not known here."""
        self._holds: set[str] = set()
        self._asked = 0
        self._tellers: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._trick: Trick | None = None
        self._octets = 0
        self._limit = 0
        self._closing = threading.Event()
        self._closing_since = 0.0
        self.faults: list[Fault] = []
        """Tricks that were played."""
        entity = AE(ae_title="TARGET")
        entity.maximum_associations = 50
        entity.network_timeout = 10
        for uid in classes:
            entity.add_supported_context(uid, list(syntaxes))
        entity.add_supported_context(Verification)
        if call is not None:
            entity.add_supported_context(StorageCommitmentPushModel)
        handlers: list[Any] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_DATA_RECV, self._data),
            (evt.EVT_C_ECHO, lambda _: 0),
            (evt.EVT_N_ACTION, self._action),
        ]
        self._server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)

    def configuration(self, **more: Any) -> dict[str, Any]:
        """Return the target as the router is told of it."""
        return {
            "kind": "dicom",
            "slug": self.slug,
            "name": self.slug,
            "host": "127.0.0.1",
            "port": self.port,
            "called_aet": "TARGET",
            "response_timeout": "1s" if self.slug in SILENT else "20s",
            "retry": {"max_attempts": 1000, "delay": "1s", "factor": 1, "max_delay": "1s"},
            **more,
        }

    def play(self, trick: Trick, octets: int = 3000) -> None:
        """Have the next association that brings something meet a trick; ``octets``: where it is aborted."""
        with self._lock:
            self._trick, self._octets, self._limit = trick, 0, octets

    @property
    def is_tricky(self) -> bool:
        """Whether a trick waits to be played."""
        with self._lock:
            return self._trick is not None

    def close(self) -> None:
        """Stop serving."""
        self._closing.set()
        self._server.shutdown()
        for teller in self._tellers:
            teller.join(5)

    def _take(self, *tricks: Trick) -> Trick | None:
        with self._lock:
            if self._trick not in tricks:
                return None
            trick, self._trick = self._trick, None
            self.faults.append(Fault(f"target {trick}", time.time(), time.time() + SILENCE, repeats=True))
            return trick

    def _data(self, event: evt.Event) -> None:
        with self._lock:
            self._octets += len(event.data)
            reached = self._octets >= self._limit
        if reached and self._take("abort-at-byte"):
            _abort(event.assoc)
        elif reached and self._take("deaf"):
            self._closing.wait(SILENCE)

    def _store(self, event: evt.Event) -> int | None:
        data = event.request.DataSet.getvalue()
        uid = str(event.request.AffectedSOPInstanceUID)
        found = hashlib.sha256(data).hexdigest()
        match self._take("slow", "abort-at-end", "hang-at-end", "busy"):
            case "slow":
                self._closing.wait(0.8)
            case "abort-at-end":
                self._keep(uid, found, None)
                _abort(event.assoc)
                return 0xC000
            case "hang-at-end":
                self._keep(uid, found, None)
                self._closing.wait(SILENCE)
                _abort(event.assoc)
                return 0xC000
            case "busy":
                self._keep(uid, found, 0xA700)
                return 0xA700
        status = self._answer(int(uid.rpartition(".")[2]))
        self._keep(uid, found, status)
        return status

    def _action(self, event: evt.Event) -> tuple[int, None]:
        """Take a request for storage commitment, and say what is kept: now, later or twice (PS3.4 J.3)."""
        request = event.action_information
        with self._lock:
            self._asked += 1
            number = self._asked
            self._tellers = [each for each in self._tellers if each.is_alive()]
            if number % 7 == 0 or len(self._tellers) >= 32:
                return 0x0213, None  # Resource limitation: to be asked again
            teller = threading.Thread(target=self._tell, args=(event.assoc, request, number), daemon=True)
            self._tellers.append(teller)
        teller.start()
        return 0, None

    def _tell(self, association: Association, request: Dataset, number: int) -> None:
        """Tell the result: of every third request on the same association, else on a new one until it is heard.

        One instance of every fifth request is not kept for a reason that passes.
        """
        with self._lock:
            passing = number % 5 == 0
            kept, lost = [], []
            for item in request.ReferencedSOPSequence:
                if item.ReferencedSOPInstanceUID not in self._holds or (passing and not lost):
                    item.FailureReason = 0x0213 if passing else 0x0112
                    lost.append(item)
                else:
                    kept.append(item)
        result = Dataset()
        result.TransactionUID = request.TransactionUID
        if kept:
            result.ReferencedSOPSequence = kept
        if lost:
            result.FailedSOPSequence = lost
        self._ledger.promise(self.slug, [str(item.ReferencedSOPInstanceUID) for item in kept])
        if number % 3 == 0 and not self._closing.wait(0.1) and _report(association, result):
            return
        deadline = time.monotonic() + TELLING
        while not self._closing.wait(0.3) and time.monotonic() < deadline:
            entity = AE(ae_title="TARGET")
            entity.network_timeout = entity.acse_timeout = entity.dimse_timeout = 5
            entity.add_requested_context(StorageCommitmentPushModel)
            role = build_role(StorageCommitmentPushModel, scp_role=True)
            assert self._call is not None  # only then is it asked
            to_router = entity.associate("127.0.0.1", self._call(), ext_neg=[role])
            if to_router.is_established:
                is_heard = _report(to_router, result)
                to_router.release()
                if is_heard:
                    return

    def _keep(self, uid: str, found: str, status: int | None) -> None:
        if confirms(status):
            with self._lock:
                self._holds.add(uid)
        self._ledger.keep(Kept(self.slug, uid, found, status, time.time()))


class StoreScpTarget:
    """DCMTK's storescp: its ledger is the folder that it writes, one file for each C-STORE that it answered."""

    def __init__(self, slug: str, program: str, folder: Path, port: int) -> None:
        self.slug = slug
        self.port = port
        self._scp = StoreScp(program, folder, port)
        self._scp.start()
        self._known: dict[Path, Kept] = {}

    def configuration(self, **more: Any) -> Mapping[str, Any]:
        """Return the target as the router is told of it."""
        return ScriptedTarget.configuration(self, **more)  # type: ignore[arg-type]

    def kept(self) -> list[Kept]:
        """Return what it has."""
        for path in self._scp.received():
            if path not in self._known:
                uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
                self._known[path] = Kept(self.slug, uid, digest(path), 0, path.stat().st_mtime)
        return list(self._known.values())

    def close(self) -> None:
        """Stop serving."""
        self._scp.stop()


def _report(association: Association, result: Dataset) -> bool:
    """Send an N-EVENT-REPORT; return whether it was taken (PS3.4 J.3.3)."""
    try:
        answer, _ = association.send_n_event_report(
            result, 2 if "FailedSOPSequence" in result else 1, StorageCommitmentPushModel, COMMITMENT_INSTANCE
        )
    except (RuntimeError, ValueError, OSError):  # the association has ended
        return False
    return answer is not None and getattr(answer, "Status", None) == 0


def _abort(association: Any) -> None:
    """Send an A-ABORT (PS3.8 9.3.8) and hang up. pynetdicom's own way is not made for the thread that calls us."""
    connection = association.dul.socket.socket
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.sendall(A_ABORT)
            connection.shutdown(socket.SHUT_RDWR)


def implicit_only() -> tuple[str, ...]:
    """Return the transfer syntaxes of a target that does not take what is sent here."""
    return (ImplicitVRLittleEndian,)
