"""The state of the installation, put together from the bus, the services and the database; a part may be away."""

import asyncio
import platform
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import nats.errors
import nats.js.errors
from pydantic import BaseModel

from hermes_common.config import Kind, Policies
from hermes_common.durations import format_duration
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.errors import TransientError
from hermes_common.servicestate import ServiceState
from hermes_web.core.forecast import Day, Forecast, forecast
from hermes_web.errors import UnavailableError
from hermes_web.features.status.service import EXPECTED
from hermes_web.features.system import queries
from hermes_web.features.system.queries import Kept, Starts
from hermes_web.web import Web

_LIMIT = 5.0
SOON = timedelta(days=30)
"""A certificate that ends within this is warned of."""


class ConsumerState(BaseModel):
    """A consumer of a stream: ``lag`` is what it has not been given yet, ``waiting`` what it works on."""

    name: str
    lag: int
    waiting: int
    again: int


class StreamState(BaseModel):
    """A stream of the bus."""

    name: str
    messages: int
    octets: int
    consumers: list[ConsumerState]
    followers: int = 0
    """Processes that read it as they run, and leave nothing behind."""


class Disk(BaseModel):
    """A disk that somebody measures, and when it is full."""

    name: str
    free: float
    total: float
    growth: float | None = None
    full_at: datetime | None = None
    note: str = ""


class Certificate(BaseModel):
    """A certificate of ours and when it ends."""

    name: str
    ends_at: datetime

    @property
    def ends_soon(self) -> bool:
        """Whether somebody should see to it."""
        return self.ends_at - now() < SOON


class System(BaseModel):
    """Everything; what could not be asked is None, with the reason in ``away``."""

    processes: list[ServiceState] | None
    missing: list[str]
    starts: dict[str, Starts]
    streams: list[StreamState] | None
    disks: list[Disk]
    database_size: int | None
    kept: list[Kept] | None
    retention: dict[str, str]
    certificates: list[Certificate]
    versions: dict[str, str]
    away: list[str]


async def system_of(web: Web) -> System:
    """Return the state of the installation; never raises for a part that is away."""
    away: list[str] = []
    processes, streams = await asyncio.gather(web.fleet.states(), _streams_or_none(web.bus))
    if processes is None or streams is None:
        away.append("the bus (NATS) does not answer: services and streams cannot be asked")
    kept, days, starts, postgres, size = None, [], {}, "", None
    try:
        kept = await web.database.run(queries.kept)
        days = await web.database.run(queries.days)
        starts = await web.database.run(queries.starts)
        postgres, size = await web.database.run(queries.database_facts)
    except UnavailableError as error:
        away.append(f"{error.detail}: growth, retention and restarts are not known")
    present = {state.service for state in processes or ()}
    versions = {"Hermes": web.version, "Python": platform.python_version()}
    if web.bus.nc.is_connected:
        server = web.bus.nc.connected_server_version
        versions["NATS"] = f"{server.major}.{server.minor}.{server.patch}"
    if postgres:
        versions["PostgreSQL"] = postgres
    return System(
        processes=processes,
        missing=[] if processes is None else [name for name in EXPECTED if name not in present],
        starts=starts,
        streams=streams,
        disks=_disks(web, processes or (), days),
        database_size=size,
        kept=kept,
        retention=await _retention(web),
        certificates=certificates_of(processes or ()),
        versions=versions,
        away=away,
    )


def certificates_of(processes: Sequence[ServiceState]) -> list[Certificate]:
    """Return the certificates that services say they have, the one that ends first before the others."""
    found = [
        Certificate(name=f"DICOM TLS of {state.instance}", ends_at=datetime.fromtimestamp(ends, UTC))
        for state in processes
        if (ends := state.numbers.get("dicom_tls_certificate_ends")) is not None
    ]
    return sorted(found, key=lambda item: item.ends_at)


def _disks(web: Web, processes: Sequence[ServiceState], days: Sequence[Day]) -> list[Disk]:
    found = []
    folder = web.settings.store_folder
    if folder is not None:
        try:
            usage = shutil.disk_usage(folder)
        except OSError as error:
            note = f"{folder} cannot be looked at: {error.strerror}"
            found.append(Disk(name="object store", free=0, total=0, note=note))
        else:
            expected = forecast(days, usage.free, now())
            found.append(_with_forecast(Disk(name="object store", free=usage.free, total=usage.total), expected))
    for state in processes:
        total, free = (state.numbers.get(f"spool_disk_{name}") for name in ("total", "free"))
        if total is not None and free is not None:
            limit = state.numbers.get("spool_limit")
            note = "" if limit is None else f"holds what waits to be stored, at most {limit / 1024**3:.0f} GB"
            found.append(Disk(name=f"spool of {state.instance}", free=free, total=total, note=note))
    return found


def _with_forecast(disk: Disk, expected: Forecast | None) -> Disk:
    if expected is None:
        return disk.model_copy(update={"note": "nothing came in seven days: no forecast"})
    note = "" if expected.full_at else "not filling up: deletion keeps pace with what comes, or ten years are enough"
    return disk.model_copy(update={"growth": expected.growth, "full_at": expected.full_at, "note": note})


async def _retention(web: Web) -> dict[str, str]:
    try:
        parsed = (await web.config.current(Kind.POLICIES)).parsed()
    except (TransientError, ValueError):
        return {}
    if not isinstance(parsed, Policies):
        return {}
    kept = parsed.retention
    return {
        "delivered": format_duration(kept.delivered),
        "unmatched": format_duration(kept.unmatched),
        "discarded": format_duration(kept.discarded),
    }


async def _streams_or_none(bus: Bus) -> list[StreamState] | None:
    if bus.problem() is not None:
        return None
    try:
        async with asyncio.timeout(_LIMIT):
            return await _streams(bus)
    except (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError):
        return None


async def _streams(bus: Bus) -> list[StreamState]:
    found = []
    for info in await bus.js.streams_info():
        name = str(info.config.name)
        known = await bus.js.consumers_info(name) if info.state.consumer_count else []
        consumers = [
            ConsumerState(
                name=consumer.name,
                lag=consumer.num_pending or 0,
                waiting=consumer.num_ack_pending or 0,
                again=consumer.num_redelivered or 0,
            )
            for consumer in known
            if consumer.config.durable_name
        ]
        consumers.sort(key=lambda item: (-item.lag, item.name))
        state = info.state
        followers = len(known) - len(consumers)
        found.append(
            StreamState(
                name=name, messages=state.messages, octets=state.bytes, consumers=consumers, followers=followers
            )
        )
    return sorted(found, key=lambda item: item.name)
