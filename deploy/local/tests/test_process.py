"""Whose answer counts when a program is asked whether it is ready."""

import http.server
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_local.process import Process, Program
from hermes_local.servers.base import http_status

SERVE = "import http.server, sys; http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever()"
HANDLER = """
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
"""


class Stranger(http.server.BaseHTTPRequestHandler):
    """A program of somebody else that answers everything with 200."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def stranger() -> Iterator[http.server.HTTPServer]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Stranger)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def started(tmp_path: Path, code: str, port: int) -> Process:
    argv = (sys.executable, "-c", code, str(port))
    ready = lambda: http_status(port, "/readyz")  # noqa: E731
    return Process(Program("one", argv, tmp_path / "one.log", ready, port=port))


def test_the_answer_of_another_program_on_the_port_is_not_ours(tmp_path, stranger):
    process = started(tmp_path, "import time; time.sleep(60)", stranger.server_port)
    try:
        assert process.why_not_ready() == f"another program answers on port {stranger.server_port}"
    finally:
        process.kill()


def test_the_answer_of_the_program_itself_counts(tmp_path, stranger):
    port = stranger.server_port
    stranger.shutdown()
    stranger.server_close()
    process = started(tmp_path, HANDLER + SERVE, port)
    try:
        process.wait_ready()
    finally:
        process.kill()
