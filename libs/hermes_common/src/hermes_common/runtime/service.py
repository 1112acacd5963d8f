"""The life of a service: settings, logs, health, bus, work, and a stop that loses nothing."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from importlib import metadata
from typing import Any, Generic, NoReturn, TypeVar

import nats.errors
from nats.micro import add_service
from prometheus_client import REGISTRY, CollectorRegistry
from pydantic import ValidationError

from hermes_common.events import ServiceStarted, ServiceStopped
from hermes_common.runtime import logs, tracing
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.errors import BusUnavailableError, UnusableSettingsError
from hermes_common.runtime.health import Health, HealthServer
from hermes_common.runtime.selfreport import answer_questions
from hermes_common.runtime.settings import RuntimeSettings, explain

log = logging.getLogger(__name__)

UNUSABLE = 2
"""Exit code when the environment cannot be used: starting again is of no use."""

_DRAIN = 25.0

Settings = TypeVar("Settings", bound=RuntimeSettings)


@dataclass
class Context(Generic[Settings]):
    """What a service has at hand while it runs."""

    name: str
    instance: str
    version: str
    settings: Settings
    bus: Bus
    health: Health
    stopping: asyncio.Event
    """Set when the service is to end: take nothing new, finish what is under way."""
    cleanup: contextlib.AsyncExitStack
    """Closed last, in reverse order, after every task has ended."""
    started_at: datetime = field(default_factory=now)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _background: list[asyncio.Task[None]] = field(default_factory=list)

    def work(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run work that watches ``stopping`` and ends by itself. Its failure ends the service, loudly."""
        self._tasks.append(asyncio.create_task(work, name=name))

    def background(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run work that is cancelled at the stop. Its failure ends the service, loudly."""
        self._background.append(asyncio.create_task(work, name=name))

    def serve_health(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Serve /livez, /readyz and /metrics (of ``registry``) from now on until the end."""
        server = HealthServer(self.health, self.settings.health_host, self.settings.health_port, registry)
        self.cleanup.push_async_callback(asyncio.to_thread, server.close)
        log.info("health on http://%s:%d", self.settings.health_host, server.port)


Main = Callable[[Context[Settings]], Awaitable[None]]


def run_service(
    name: str,
    settings_type: Callable[[], Settings],
    main: Main[Settings],
    *,
    health: bool = True,
    announced: bool = True,
) -> NoReturn:
    """Run a service until SIGTERM or SIGINT and exit: 0 as told, 1 after a failure, 2 if the environment is unusable.

    ``main`` puts the service together: it starts its work on the context and returns. ``health=False`` leaves
    /livez, /readyz and /metrics to the service (:meth:`Context.serve_health`);
    ``announced=False`` is for a process that another one speaks for.
    """
    try:
        settings = settings_type()
    except ValidationError as error:
        sys.stderr.write(explain(error) + "\n")
        sys.exit(UNUSABLE)
    logs.configure(name, settings.log_format, settings.log_level)
    sys.exit(asyncio.run(_run(name, settings, main, health, announced)))


async def _run(name: str, settings: Settings, main: Main[Settings], serve_health: bool, announced: bool) -> int:
    instance = f"{name}@{socket.gethostname()}.{os.getpid()}"
    version = metadata.version(f"hermes-{name}")
    stopping = asyncio.Event()
    reasons: list[str] = []
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        reasons.append(number.name)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    tracing.start(settings, name, version, instance)
    bus = Bus(settings, instance)
    async with contextlib.AsyncExitStack() as cleanup:
        context = Context(name, instance, version, settings, bus, Health(), stopping, cleanup)
        cleanup.push_async_callback(tracing.stop)
        bus.start()
        cleanup.push_async_callback(bus.close)
        if serve_health:
            context.serve_health()
        context.background("bus", bus.watch())
        if announced:
            context.background("announce", _announce(context))
        unusable = False
        try:
            await _until_stopped(main(context), stopping)
            set_aside()
            failure = await _supervise(context)
        except UnusableSettingsError as error:
            log.critical("%s", error)
            unusable, failure = True, str(error)
        except Exception:  # the last resort: it is logged, and the exit code says that it was not meant
            log.exception("the service cannot start")
            failure = "start"
        failure = await _drain(context) or failure
        if announced:
            await _say_stopped(context, failure or ", ".join(reasons))
    if unusable:
        return UNUSABLE
    return 1 if failure else 0


def set_aside() -> None:
    """Leave what is there now out of the rounds of the collector: what a service was put together from stays.

    Looking through all of it holds up everything that is under way: 160 ms in the web service, 10 without it.
    """
    gc.collect()
    gc.freeze()


async def _until_stopped(start: Awaitable[None], stopping: asyncio.Event) -> None:
    task = asyncio.ensure_future(start)
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return
    task.result()


async def _supervise(context: Context[Settings]) -> str | None:
    stop = asyncio.create_task(context.stopping.wait())
    ended: set[asyncio.Task[Any]] = set()
    while not context.stopping.is_set():
        others = {*context._tasks, *context._background} - ended  # ours; some may have failed before we look
        done, _ = await asyncio.wait({stop, *others}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stop}:
            ended.add(task)
            if isinstance(error := task.exception(), UnusableSettingsError):
                raise error
            if error is not None:
                log.critical("%s failed; the service ends", task.get_name(), exc_info=error)
                context.stopping.set()
                return f"{task.get_name()}: {type(error).__name__}: {error}"
    return None


async def _drain(context: Context[Settings]) -> str | None:
    """Wait for the work under way, bounded; then cancel what is left."""
    context.stopping.set()
    failure = None
    pending = {task for task in context._tasks if not task.done()}  # ours
    if pending:
        _, late = await asyncio.wait(pending, timeout=_DRAIN)
        if late:
            failure = f"still at work after {_DRAIN:.0f} s: {', '.join(sorted(task.get_name() for task in late))}"
            log.error("%s", failure)
    for task in (*context._tasks, *context._background):  # ours
        task.cancel()
    await asyncio.gather(*context._tasks, *context._background, return_exceptions=True)  # ours
    return failure


async def _announce(context: Context[Settings]) -> None:
    await context.bus.ready()
    await add_service(
        context.bus.nc,
        name=f"hermes-{context.name}",
        version=context.version,
        description=f"Hermes {context.name}",
        metadata={"instance": context.instance},
    )
    await answer_questions(
        context.bus, context.health, context.name, context.instance, context.version, context.started_at
    )
    event = ServiceStarted(service=context.name, instance=context.instance, version=context.version)
    while True:
        try:
            await context.bus.publish(event)
            return
        except BusUnavailableError:
            await asyncio.sleep(1)


async def _say_stopped(context: Context[Settings], reason: str) -> None:
    event = ServiceStopped(service=context.name, instance=context.instance, version=context.version, reason=reason)
    with contextlib.suppress(BusUnavailableError, nats.errors.Error, TimeoutError):
        if context.bus.problem() is None:
            await asyncio.wait_for(context.bus.publish(event), 2)
