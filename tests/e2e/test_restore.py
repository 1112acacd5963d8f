"""A backup that is restored: a copy of the stopped home, started elsewhere, goes on where it was."""

import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness import Hermes, StoreScp, free_port, home_folder, make_series, rule, storescu, target, until

from hermes_cli.api import Api
from hermes_cli.connection import Connection

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]


@pytest.mark.parametrize("store", ["s3", "folder"])
def test_a_copy_of_the_home_started_elsewhere_goes_on_where_it_was(
    peer: Callable[[str, str], str], storescp: Callable[[str], StoreScp], tmp_path: Path, store: str
) -> None:
    send = peer("storescu", "dcmtk")
    up = storescp("up")
    late = StoreScp(up.program, tmp_path / "late", free_port())
    done, waits = make_series(tmp_path / "done", 5), make_series(tmp_path / "waits", 5, StationName="LATE")
    home, restored = home_folder("backup"), home_folder("restored")
    # A folder has an address of its own, which the backup does not know: it is put back where it was.
    images = home.parent / "images"
    variables = {"HERMES_OBJECT_STORE": f"file://{images}"} if store == "folder" else {}
    original, copy = Hermes(home, **variables), Hermes(restored, **variables)
    with ExitStack() as at_the_end:
        for folder in (home, restored):
            at_the_end.callback(shutil.rmtree, folder.parent, ignore_errors=True)
        for stop in (late.stop, original.stop, copy.stop):
            at_the_end.callback(stop)
        original.start()
        original.configure(
            [target("up", up.port), target("late", late.port)],
            [rule("up", "StationName is missing", "up"), rule("late", 'StationName == "LATE"', "late")],
        )
        for series in (done, waits):
            assert storescu(send, original.dicom_port, series.files).returncode == 0
        until("delivered", lambda: original.reached(done.uid, "delivered"), 60)
        until("decided", lambda: (found := original.series(waits.uid)) and found["deliveries"], 60)
        token = original.variables["HERMES_ADMIN_TOKEN"]
        before = original.series(done.uid)
        assert original.stop() == 0
        subprocess.run(["cp", "-a", str(home), str(restored)], check=True)
        shutil.rmtree(home)  # the machine it was on is gone

        copy.start()
        with Api(Connection(copy.url, token)) as api:
            assert [each["slug"] for each in api.get("/rules")["rules"]] == ["up", "late"]
            assert api.get("/audit/chain")["state"] == "whole"
        assert copy.series(done.uid) == before
        late.start()
        until("delivered", lambda: copy.reached(waits.uid, "delivered"), 90)
        assert Counter(late.digests()) == Counter(waits.digests().values())
        assert Counter(up.digests()) == Counter(done.digests().values()), "what was delivered is not sent again"
