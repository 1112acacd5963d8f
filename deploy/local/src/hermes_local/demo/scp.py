"""A Storage SCP for the demo: `python -m hermes_local.demo.scp --port N --aet AE --folder DIR`.

It keeps what it gets as `DIR/<series>/<instance>.dcm` and the numbers of instances in `DIR/counts.json`. Success is
answered only when the file is there.
"""

import argparse
import contextlib
import json
import logging
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from hermes_common.dicom.errors import DicomError
from hermes_common.dicom.header import extract_header
from hermes_common.ids import check_uid
from hermes_local.secrets import write_private

COUNTS = "counts.json"
SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000

log = logging.getLogger("demo-archive")


class Archive:
    """The folder, and how many instances of each series are in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._counts = Counter({path.name: len(list(path.glob("*.dcm"))) for path in folder.iterdir() if path.is_dir()})

    def keep(self, data_set: bytes, transfer_syntax: str, file: bytes) -> str:
        """Write an instance; return its SOP instance UID. Raises ``DicomError`` and ``OSError``."""
        header = extract_header(data_set, transfer_syntax)
        series = self._folder / check_uid(header.series_uid)
        path = series / f"{check_uid(header.sop_instance_uid)}.dcm"
        series.mkdir(mode=0o700, exist_ok=True)
        temporary = path.with_suffix(f".{threading.get_ident()}.part")
        temporary.write_bytes(file)
        with self._lock:
            self._counts[series.name] += 0 if path.exists() else 1
            temporary.replace(path)
            write_private(self._folder / COUNTS, json.dumps(self._counts, indent=2) + "\n")
        return header.sop_instance_uid


def on_store(event: Any, archive: Archive) -> int:
    """Answer a C-STORE-RQ (PS3.4 B.2.3)."""
    try:
        data_set = event.request.DataSet.getvalue()
        uid = archive.keep(data_set, str(event.context.transfer_syntax), event.encoded_dataset())
    except DicomError as problem:
        log.warning("refused: %s", problem)
        return CANNOT_UNDERSTAND
    except OSError as problem:
        log.warning("not kept: %s", problem)
        return OUT_OF_RESOURCES
    log.info("kept %s", uid)
    return SUCCESS


def entity(aet: str) -> AE:
    """Return an application entity that takes every storage SOP class in every transfer syntax."""
    from pydicom.uid import AllTransferSyntaxes

    ae = AE(ae_title=aet)
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(str(context.abstract_syntax), AllTransferSyntaxes)
    ae.supported_contexts = [*ae.supported_contexts, build_context(Verification)]
    return ae


def serve(host: str, port: int, aet: str, folder: Path, stop: threading.Event) -> None:
    """Serve until ``stop`` is set."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    archive = Archive(folder)
    server = entity(aet).start_server((host, port), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store, [archive])])
    try:
        stop.wait()
    finally:
        if server is not None:
            server.shutdown()


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="The Storage SCP of the Hermes demo")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--aet", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with contextlib.suppress(KeyboardInterrupt):
        serve(given.host, given.port, given.aet, given.folder, stop)


if __name__ == "__main__":
    main()
