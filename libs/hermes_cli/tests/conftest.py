"""A stub of the router's API on a real socket, and the command line that talks to it."""

import io
import json
import os
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from hermes_cli.__main__ import main

TOKEN = "secret-token"


class StubRouter:
    """Answers what a test has put into ``answers``: (method, path) -> (status, body, headers); keeps the requests."""

    def __init__(self):
        self.answers = {}
        self.requests = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self):
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = (
                    self.command,
                    parts.path,
                    parse_qs(parts.query),
                    dict(self.headers),
                    json.loads(body or b"null"),
                )
                stub.requests.append(request)
                status, content, headers = stub.find(request)
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in {
                    "Content-Type": "application/json",
                    "Content-Length": str(len(data)),
                    **headers,
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = _answer  # noqa: N815  # names of the base class

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def on(self, method, path, body, status=200, **headers):
        self.answers[method, f"/api/v1{path}"] = (status, body, headers)

    def problem(self, method, path, status, **fields):
        self.on(method, path, {"title": "no", "status": status, **fields}, status)

    def find(self, request):
        method, path, query, headers, body = request
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {"title": "who are you", "status": 401}, {}
        answer = self.answers.get(
            (method, path), (404, {"title": "no", "detail": f"nothing at {path}", "status": 404}, {})
        )
        return answer(query, body) if callable(answer) else answer

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def router():
    stub = StubRouter()
    yield stub
    stub.close()


@dataclass
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def hermes(tmp_path, router, monkeypatch, capsys):
    """Run the command line in this process against the stub, as its entry point does."""

    def run(*arguments, stdin="", **environment):
        given = {
            "HERMES_HOME": str(tmp_path / "home"),
            "HERMES_URL": router.url,
            "HERMES_TOKEN": TOKEN,
            "COLUMNS": "200",
        }
        capsys.readouterr()
        with monkeypatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("HERMES_")]:
                patch.delenv(name)
            for name, value in (given | environment).items():
                if value is not None:
                    patch.setenv(name, value)
            patch.chdir(tmp_path)
            patch.setattr(sys, "argv", ["hermes", *(str(argument) for argument in arguments)])
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            with pytest.raises(SystemExit) as ended:
                main()
        out, error = capsys.readouterr()
        return Done(ended.value.code, out, error)

    return run


@pytest.fixture
def home(tmp_path, router):
    """A home in which the router runs: what `hermes up` writes."""
    folder = tmp_path / "home"
    folder.mkdir()
    environment = {"HERMES_URL": router.url, "HERMES_ADMIN_TOKEN": TOKEN}
    (folder / "run.json").write_text(json.dumps({"version": 1, "environment": environment}))
    return folder
