"""The ledger sender: series over C-STORE with pynetdicom, each instance again until it is answered with Success."""

import hashlib
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE
from pynetdicom.dsutils import encode

from hermes_chaos.books import SUCCESS, End, Ledger, Sent

ROOT = "1.2.826.0.1.3680043.10.1561.7"
PATIENCE = 180.0
"""Seconds after which a sender gives a series up; what was not acknowledged by then may be lost."""


@dataclass(frozen=True, slots=True)
class Route:
    """What StationName (0008,1010) says, and how an instance of this number and SOP class ends at which target."""

    name: str
    ends: Callable[[int, str], Mapping[str, End]]
    instances: tuple[int, int] = (2, 6)
    classes: tuple[str, ...] = (CTImageStorage,)


@dataclass(frozen=True, slots=True)
class Series:
    """A series to be sent."""

    uid: str
    route: str
    instances: Sequence[Dataset]


class Sender:
    """Makes series and sends them; every instance and every answer goes to the ledger."""

    def __init__(self, port: Callable[[], int], ledger: Ledger, seed: int) -> None:
        self._port = port
        self._ledger = ledger
        self._random = random.Random(seed)
        self._number = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._no_more = threading.Event()
        self._threads: list[threading.Thread] = []
        self._run = self._random.getrandbits(40)

    def make(self, route: Route, instances: int | None = None) -> Series:
        """Make a series, and take it down."""
        with self._lock:
            self._number += 1
            study = f"{ROOT}.{self._run}.{self._number}"
            count = self._random.randint(*route.instances) if instances is None else instances
            noise = self._random.randbytes(400)
        datasets = []
        for number in range(1, count + 1):
            sop_class = route.classes[number % len(route.classes)]
            dataset = _dataset(study, number, sop_class, route.name, noise)
            data = encode(dataset, is_implicit_vr=False, is_little_endian=True) or b""
            uid, series_uid = str(dataset.SOPInstanceUID), str(dataset.SeriesInstanceUID)
            ends = dict(route.ends(number, sop_class))
            self._ledger.send(Sent(uid, series_uid, hashlib.sha256(data).hexdigest(), route.name, ends))
            datasets.append(dataset)
        return Series(f"{study}.1", route.name, datasets)

    def send(self, series: Series, patience: float = PATIENCE) -> bool:
        """Send until everything was acknowledged; return whether it was."""
        end = time.monotonic() + patience
        left = list(series.instances)
        while left and time.monotonic() < end and not self._stop.is_set():
            left = self._once(left)
            if left:
                self._stop.wait(0.25)
        return not left

    def keep_sending(self, routes: Sequence[Route], pause: float) -> None:
        """Send series of random routes, in a thread, until :meth:`stop`."""
        thread = threading.Thread(target=self._keep_sending, args=(routes, pause), name="sender", daemon=True)
        self._threads.append(thread)
        thread.start()

    def in_background(self, series: Series) -> None:
        """Send one series in a thread."""
        thread = threading.Thread(target=self.send, args=(series,), name="sender", daemon=True)
        self._threads.append(thread)
        thread.start()

    def finish(self) -> None:
        """Have the threads make no new series, and wait until they have sent what they made."""
        self._no_more.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._threads.clear()
        self._no_more.clear()

    def stop(self) -> None:
        """Stop at once."""
        self._no_more.set()
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _keep_sending(self, routes: Sequence[Route], pause: float) -> None:
        while not self._no_more.is_set():
            with self._lock:
                route = self._random.choice(routes)
            self.send(self.make(route))
            self._no_more.wait(pause)

    def _once(self, datasets: Sequence[Dataset]) -> list[Dataset]:
        """Send over one association; return what was not acknowledged."""
        entity = AE("MODALITY")
        entity.connection_timeout, entity.acse_timeout, entity.dimse_timeout, entity.network_timeout = 2, 5, 6, 6
        for sop_class in {str(dataset.SOPClassUID) for dataset in datasets}:
            entity.add_requested_context(sop_class, ExplicitVRLittleEndian)
        association = entity.associate("127.0.0.1", self._port(), ae_title="HERMES")
        left = []
        for dataset in datasets:
            status = None
            if association.is_established:
                try:
                    answer = association.send_c_store(dataset)
                    status = answer.get("Status")
                except (RuntimeError, ValueError):
                    status = None  # the association ended between the question above and the sending
            self._ledger.answered(str(dataset.SOPInstanceUID), status)
            if status != SUCCESS:
                left.append(dataset)
        if association.is_established:
            association.release()
        return left


def _dataset(study: str, number: int, sop_class: str, route: str, noise: bytes) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = f"{study}.1.{number}"
    dataset.Modality = "CT" if sop_class == CTImageStorage else "MR"
    dataset.StationName = route
    dataset.PatientName, dataset.PatientID = "Test^Chaos", "C1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.1"
    dataset.InstanceNumber = number
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns, dataset.BitsAllocated = len(noise) // 20, 10, 16
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 15, 0
    dataset.PixelData = number.to_bytes(2, "little") + noise[2:]
    return dataset


MIXED = (CTImageStorage, MRImageStorage)
