"""One object, one PUT, streamed from its file.

Not ``Minio.put_object``, because that

- reads a whole part into memory, and one PUT means one part;
- hands it to the socket as one ``sendall``, for which the socket's time limit is the limit of the *whole* transfer: the
  connect limit still stands on a new connection, so a large object on a slow link could never be sent;
- or else splits the object over threads that stall when the link drops.

Here a file passes in blocks, each with the socket's time limit to itself, and is rewound when the request is repeated.
Signed as minio does. Over plain HTTP the signature covers the SHA-256 of the bytes, so that a store that checks it
refuses what arrives damaged (SeaweedFS 4.48 does not check it: our own digest has to, on the way out); over TLS, which
protects them, the payload stays unsigned.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlunsplit

import urllib3
from minio.credentials.credentials import Credentials
from minio.error import S3Error, ServerError
from minio.helpers import BaseURL
from minio.signer import sign_v4_s3

ONE_PUT = 5 * 1024**3  # S3's limit for one PUT
PutBody = io.BytesIO | io.BufferedReader


@dataclass(frozen=True, slots=True)
class SignedPut:
    """A request that a store will accept for some minutes."""

    url: str
    headers: dict[str, str]


class Signer:
    """Signs PUT requests with one pair of keys."""

    def __init__(self, endpoint: str, access_key: str, secret_key: str, *, region: str, secure: bool) -> None:
        self._credentials = Credentials(access_key, secret_key)
        self._urls = BaseURL(f"{'https' if secure else 'http'}://{endpoint}", region)
        self._region = region
        self._secure = secure

    def sign(self, bucket: str, key: str, body: PutBody, size: int) -> SignedPut:
        """A PUT of ``body`` (read from its start for the digest, and rewound)."""
        digest = "UNSIGNED-PAYLOAD" if self._secure else hashlib.file_digest(body, "sha256").hexdigest()
        body.seek(0)
        url = self._urls.build(method="PUT", region=self._region, bucket_name=bucket, object_name=key)
        now = datetime.now(UTC)
        headers = sign_v4_s3(
            method="PUT",
            url=url,
            region=self._region,
            headers={
                "Host": url.netloc,
                "Content-Length": str(size),
                "Content-Type": "application/octet-stream",
                "x-amz-content-sha256": digest,
                "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
            },
            credentials=self._credentials,
            content_sha256=digest,
            date=now,
        )
        return SignedPut(urlunsplit(url), {name: str(value) for name, value in headers.items()})


def send(pool: urllib3.PoolManager, put: SignedPut, body: PutBody) -> None:
    """Sends ``body``; raises minio's errors for a refusal and urllib3's for the way there."""
    response = pool.urlopen("PUT", put.url, body=body, headers=put.headers)
    if response.status == 200:
        return
    if "xml" in response.headers.get("content-type", "") and response.data:
        raise S3Error.fromxml(response)
    raise ServerError(f"PUT answered {response.status}", response.status)
