"""Checks of the bus: it answers, is new enough, has the streams, and writes to the disk before it acknowledges."""

import asyncio
import re
import time

import httpx
import nats.errors
import nats.js.errors
from nats.aio.client import Client

from hermes_cli.buslink import BusLink
from hermes_cli.commands.events import without_secrets
from hermes_cli.doctor.finding import Finding, fail, ok, since, warn
from hermes_cli.doctor.site import Site
from hermes_common import subjects

OLDEST = (2, 12)
STREAMS = (subjects.EVENTS, subjects.WORK, subjects.TIMERS, subjects.PARKED, subjects.DOCUMENTS)
BUCKETS = (subjects.STATE, subjects.CONFIG, subjects.HELD)


def check_bus(site: Site) -> list[Finding]:
    """Everything about NATS."""
    if not site.has("HERMES_NATS_URL"):
        return [warn("bus", "no address is known", "Set HERMES_NATS_URL, or start `hermes up` here.")]
    servers = site.environment["HERMES_NATS_URL"]
    findings, replicas = asyncio.run(_ask(servers))
    return [*findings, *(_check_sync(site.monitoring, replicas) if findings[0].level == "ok" else [])]


async def _ask(servers: str) -> tuple[list[Finding], int]:
    started = time.monotonic()
    where = without_secrets(servers)
    link = BusLink(servers, "hermes-doctor")
    try:
        await link.connect()
    except ConnectionError as problem:
        advice = "Start it, or correct HERMES_NATS_URL; the receiver keeps what comes in its spool meanwhile."
        return [fail("bus", f"{where} does not let us in: {problem}", advice)], 1
    client = link.client
    try:
        found = [_judge_version(str(client.connected_server_version), where, since(started))]
        streams, replicas = await _check_streams(client)
        return [*found, *streams], replicas
    finally:
        await link.close()


def _judge_version(version: str, where: str, seconds: float) -> Finding:
    found = re.search(r"(\d+)\.(\d+)\.[^>\s]+", version)
    text = version if found is None else found[0]
    if found is not None and (int(found[1]), int(found[2])) < OLDEST:
        return fail(
            "bus", f"{where} is nats-server {text}", "Hermes needs nats-server 2.12 or later (message schedules)."
        )
    return ok("bus", f"{where}, nats-server {text}", seconds)


async def _check_streams(client: Client) -> tuple[list[Finding], int]:
    """Return the findings, and the replicas of the event stream."""
    try:
        infos = {str(info.config.name): info for info in await client.jetstream(timeout=5).streams_info()}
    except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as problem:
        return [
            fail("streams", f"JetStream does not answer: {problem}", "Enable JetStream in the server's configuration.")
        ], 1
    missing = [name for name in (*STREAMS, *(f"KV_{bucket}" for bucket in BUCKETS)) if name not in infos]
    if missing:
        return [
            fail(
                "streams",
                f"missing: {', '.join(missing)}",
                "Any service makes them when it starts: start the services.",
            )
        ], 1
    events, parked = infos[subjects.EVENTS], infos[subjects.PARKED]
    findings = [ok("streams", f"all there, {events.state.messages} events")]
    if parked.state.messages:
        text = f"{parked.state.messages} messages are parked"
        findings.append(warn("parked", text, "Look at them on the System page: they could not be worked on."))
    return findings, int(events.config.num_replicas or 1)


def _check_sync(monitoring: str | None, replicas: int) -> list[Finding]:
    if monitoring is None:
        return [ok("bus sync", "not looked at: the monitoring page of the bus is not known")]
    try:
        config = httpx.get(f"{monitoring}/jsz?config=1", timeout=5.0, trust_env=False).json().get("config", {})
    except (httpx.HTTPError, ValueError, AttributeError) as problem:
        return [
            warn("bus sync", f"{monitoring} does not say: {problem}", "Look at sync_interval in its configuration.")
        ]
    return [judge_sync(config, replicas)]


def judge_sync(config: dict[str, object], replicas: int) -> Finding:
    """Judge the JetStream configuration as ``/jsz`` gives it (``sync_interval`` in nanoseconds)."""
    if config.get("sync_always"):
        return ok("bus sync", "every message is on the disk before it is acknowledged (sync_interval: always)")
    interval = config.get("sync_interval")
    seconds = interval / 1e9 if isinstance(interval, int) else 120.0
    text = f"the disk is synced every {seconds:.0f} s (replicas: {replicas})"
    if replicas >= 3:
        return ok("bus sync", text)
    advice = (
        "A power cut loses acknowledged messages: set `sync_interval: always` in its jetstream block, or 3 replicas."
    )
    return fail("bus sync", text, advice)
