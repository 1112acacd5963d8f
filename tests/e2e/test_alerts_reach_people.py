"""An alert of the whole router arrives at a webhook, and so does its end."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from harness import Hermes, StoreScp, make_series, rule, storescu, target, until

pytestmark = [pytest.mark.e2e, pytest.mark.interop, pytest.mark.timeout(180)]


@pytest.fixture
def received() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a webhook, and what was said to it."""
    messages: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name that http.server calls
            messages.extend(json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", messages
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_people_hear_that_a_target_is_down_and_that_it_is_back(
    hermes: Hermes,
    storescp: Callable[[str], StoreScp],
    peer: Callable[[str, str], str],
    tmp_path: Path,
    received: tuple[str, list[dict[str, Any]]],
) -> None:
    url, messages = received
    scp = storescp("alerted")
    scp.stop()
    hook = {
        "kind": "webhook",
        "slug": "hook",
        "name": "Hook",
        "url": url,
        "key": "planted-key",
        "kinds": ["target_down"],
    }
    hermes.save("alerting", {"channels": [hook]})
    try:
        with hermes.api() as api:
            assert api.post("/alerts/channels/hook/test")["ok"]
        assert "test" in [message["kind"] for message in messages]
        hermes.configure([target("alerted", scp.port)], [rule("all", 'Modality == "CT"', "alerted")])
        series = make_series(tmp_path / "series", 1)
        storescu(peer("storescu", "dcmtk"), hermes.dicom_port, series.files)

        def told(what: str) -> list[dict[str, Any]]:
            return [each for each in messages if (each["what"], each["about"]) == (what, "alerted")]

        [alert] = until("people hear that it is down", lambda: told("raised"), 60)
        assert (alert["kind"], alert["severity"]) == ("target_down", "critical")
        scp.start()
        [over] = until("people hear that it is back", lambda: told("cleared"), 60)
        assert over["alert_id"] == alert["alert_id"]
        until("delivered", lambda: hermes.reached(series.uid, "delivered"))
    finally:
        hermes.save("alerting", {})
