"""A service that is none: answers /readyz, prints its environment as JSON to its log, and obeys a few variables of the
tests.
"""

import http.server
import json
import os
import signal
import socket
import sys
import threading
import time


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


def main(name):
    environment = {key: value for key, value in os.environ.items() if key.startswith("HERMES_")}
    say(json.dumps({"event": "environment", "name": name, "environment": environment}))
    if os.environ.get("FAKE_FAILS") == name:
        say("cannot do it: no reason")
        sys.exit(3)
    if os.environ.get("FAKE_CANNOT_USE") == name:
        say("HERMES_ADMIN_PASSWORD cannot be used: too short")
        sys.exit(2)
    if name == "receiver":
        dicom = socket.create_server(("127.0.0.1", int(os.environ["HERMES_DICOM_PORT"])))
    port = int(os.environ["HERMES_HTTP_PORT"] if name == "web" else os.environ["HERMES_HEALTH_PORT"])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer)
    drain = float(os.environ.get("FAKE_DRAIN", "0"))

    def stop(*_):
        say("draining")
        threading.Thread(target=lambda: (time.sleep(drain), server.shutdown())).start()

    signal.signal(signal.SIGTERM, stop)
    server.serve_forever()
    server.server_close()
    if name == "receiver":
        dicom.close()
    say("drained")
