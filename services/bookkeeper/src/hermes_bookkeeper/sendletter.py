"""A program of its own that sends one letter and ends: ``python -m hermes_bookkeeper.sendletter``, for the bookkeeper.

What a library does on the network has no time limit that holds in a thread; a process can be ended. It reads what to
send as JSON from its standard input and writes the steps that it made as JSON to its standard output.
"""

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import logging
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

STEP_SECONDS: Final = 10.0
"""Time limit to connect, and of each wait on the network."""
_SHORTEST_SECRET: Final = 4


class _Steps:
    """Steps made, with their times and without secrets."""

    def __init__(self, secrets: list[str]) -> None:
        self.found: list[dict[str, Any]] = []
        self._secrets = secrets

    def note(self, name: str, ok: bool, begun: float, detail: str) -> bool:
        for secret in self._secrets:
            detail = detail.replace(secret, "…")
        taken = round((time.monotonic() - begun) * 1000, 1)
        self.found.append({"name": name, "ok": ok, "milliseconds": taken, "detail": " ".join(detail.split())[:1000]})
        return ok


def secrets_in(url: str) -> list[str]:
    """Return the parts of an address that must not be repeated, the longest first: all but scheme and host."""
    parts = urlsplit(url)
    _, at, host = parts.netloc.rpartition("@")
    user = parts.netloc.rpartition("@")[0]
    values = [value for _, value in parse_qsl(parts.query)]
    given = [*user.split(":"), *parts.path.split("/"), *values, parts.fragment]
    if not at and "." not in host:
        given.append(host)  # of many services the first part is a token, not a host
    whole = {text for item in given for text in (item, unquote(item)) if len(text) >= _SHORTEST_SECRET}
    return sorted(whole, key=len, reverse=True)


def main() -> None:
    """Send what standard input says."""
    asked = json.load(sys.stdin)
    if asked["kind"] == "webhook":
        steps = _Steps([asked["key"]] if asked.get("key") else [])
        _post(asked, steps)
    else:
        steps = _Steps(secrets_in(asked["url"]))
        _apprise(asked, steps)
    json.dump(steps.found, sys.stdout)


class _Words(logging.Handler):
    """Keeps what Apprise logs: it says nowhere else why something failed."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.lines) < 20:
            self.lines.append(record.getMessage()[:500])


@contextlib.contextmanager
def _listening() -> Iterator[_Words]:
    words, logger = _Words(), logging.getLogger("apprise")
    logger.setLevel(logging.INFO)
    logger.addHandler(words)
    try:
        yield words
    finally:
        logger.removeHandler(words)


def _apprise(asked: dict[str, Any], steps: _Steps) -> None:
    import apprise  # takes half a second, and not every process needs it

    asset = apprise.AppriseAsset(
        app_id="Hermes",
        app_desc="Hermes DICOM router",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        async_mode=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    begun = time.monotonic()
    with _listening() as words:
        plugin = apprise.Apprise.instantiate(asked["url"], asset=asset, suppress_exceptions=True)
    if plugin is None:
        reason = "; ".join(words.lines) or "no service of Apprise has such an address"
        steps.note("understand the address", False, begun, reason)
        return
    steps.note("understand the address", True, begun, f"{plugin.service_name}")
    plugin.socket_connect_timeout = plugin.socket_read_timeout = STEP_SECONDS
    tones = {"failure": apprise.NotifyType.FAILURE, "success": apprise.NotifyType.SUCCESS}
    begun = time.monotonic()
    with _listening() as words:
        is_taken = plugin.notify(
            title=asked["title"],
            body=asked["body"],
            notify_type=tones.get(asked["tone"], apprise.NotifyType.WARNING),
            body_format=apprise.NotifyFormat.TEXT,
        )
    said = "; ".join(words.lines)
    steps.note("send", bool(is_taken), begun, said or ("taken" if is_taken else "it was not taken"))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A signed message goes where it was meant to go."""

    def redirect_request(self, *_: Any) -> None:
        return None


def signature(key: str, letter_id: str, stamp: int, body: bytes) -> str:
    """Return the signature of a webhook (Standard Webhooks 1.0: HMAC-SHA256 over id, time stamp and body)."""
    secret = key.encode()
    if key.startswith("whsec_"):
        with contextlib.suppress(binascii.Error, ValueError):
            secret = base64.b64decode(key.removeprefix("whsec_"), validate=True)
    signed = b".".join((letter_id.encode(), str(stamp).encode(), body))
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def _post(asked: dict[str, Any], steps: _Steps) -> None:
    body = json.dumps(asked["document"], ensure_ascii=False).encode()
    stamp = int(time.time())
    headers = {
        "content-type": "application/json",
        "user-agent": "Hermes",
        "webhook-id": asked["id"],
        "webhook-timestamp": str(stamp),
    }
    if asked.get("key"):
        headers["webhook-signature"] = signature(asked["key"], asked["id"], stamp, body)
    begun = time.monotonic()
    try:
        request = urllib.request.Request(asked["url"], body, headers, method="POST")  # noqa: S310  # checked: http(s)
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=STEP_SECONDS) as answer:
            steps.note("send", True, begun, f"HTTP {answer.status}")
    except urllib.error.HTTPError as error:
        with error:
            text = error.read(500).decode("utf-8", "replace")
            steps.note("send", False, begun, f"HTTP {error.code} {error.reason}: {text}")
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        steps.note("send", False, begun, f"{reason}" or type(error).__name__)


if __name__ == "__main__":
    main()
