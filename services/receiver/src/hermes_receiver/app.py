"""The receiver, put together: the only place that names concrete adapters."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from hermes_common.config import Kind
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.dicom.wire import Wire
from hermes_common.runtime.service import Context
from hermes_common.runtime.store import store_of
from hermes_receiver.adapters.announcer import QueuedAnnouncer
from hermes_receiver.adapters.listener import Listener
from hermes_receiver.adapters.spool import Spool
from hermes_receiver.adapters.tls import server_context
from hermes_receiver.core.collecting import Collected, Collecting
from hermes_receiver.core.limits import Limits
from hermes_receiver.core.negotiation import Judge, Rejection
from hermes_receiver.core.reception import Origin
from hermes_receiver.handlers.association import AssociationHandler
from hermes_receiver.handlers.grace import Grace
from hermes_receiver.handlers.ports import Announcer, Objects, Publisher
from hermes_receiver.handlers.storing import Store
from hermes_receiver.handlers.uploading import Uploader
from hermes_receiver.settings import Settings

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Receiver:
    """The parts of a running receiver."""

    spool: Spool
    uploader: Uploader
    announcer: QueuedAnnouncer
    listener: Listener
    grace: Grace
    limits: Limits

    async def keep_copies(self) -> None:
        """Check the copies after an unclean stop, then remove them as they become due; runs until cancelled."""
        if self.spool.was_unclean:
            log.warning(
                "the last receiver on this spool did not stop in order: its copies are checked against the store"
            )
            await self.uploader.check_done()
        await self.grace.run()

    async def stop(self) -> None:
        """Take nothing new, finish what is under way, leave the spool in order."""
        clean = await asyncio.to_thread(self.listener.stop, self.limits.drain)
        self.spool.close(clean=clean)


def build(
    settings: Settings,
    objects: Objects,
    publisher: Publisher,
    judge: Judge,
    tls: ssl.SSLContext | None = None,
    extra_tags: Callable[[], tuple[str, ...]] = tuple,
) -> Receiver:
    """Put the receiver together on the running event loop and open its spool and port; nothing is served before
    ``listener.start``.

    ``extra_tags`` is asked before each instance which attributes are announced beyond the default list and the
    settings.

    Raises SpoolBusyError, or OSError when the spool or the port cannot be used.
    """
    limits = settings.limits()
    collected: Collected = Collecting(settings.extra_tags, extra_tags)
    spool = Spool(settings.spool)
    spool.open()
    uploader = Uploader(spool, objects, publisher, collected, settings.upload_parallel)
    announcer = QueuedAnnouncer(publisher, asyncio.get_running_loop())
    store = Store(spool, uploader, announcer, limits, collected, settings.ack)
    guarded = _requiring(settings.dicom_aet, judge) if settings.dicom_require_called_aet else judge
    listener = Listener(settings.dicom_host, settings.dicom_port, limits, _serving(store, announcer, guarded), tls)
    grace = Grace(spool, uploader.finished, settings.spool_grace, limits)
    waiting = uploader.replay()
    if waiting:
        log.info("%d entries of the spool wait to be uploaded", waiting)
    return Receiver(spool, uploader, announcer, listener, grace, limits)


async def main(context: Context[Settings]) -> None:
    """Start the service on ``context``."""
    settings = context.settings
    objects = store_of(settings, settings.upload_parallel)
    context.cleanup.callback(objects.close)
    config = ConfigView(context.bus, settings.spool / "configuration.json")
    receiver = build(
        settings, objects, context.bus, _by_sources(config), tls(settings), lambda: config.policies.extra_tags
    )
    context.cleanup.push_async_callback(receiver.stop)
    context.background("configuration", config.run())
    context.health.inform("configuration", config.problem)
    context.background("announcements", receiver.announcer.run())
    context.background("uploads", receiver.uploader.run())
    context.background("copies", receiver.keep_copies())
    context.work("stop", _stop_listening(context, receiver))
    context.health.require("port", lambda: None if receiver.listener.is_alive else "the DICOM port is closed")
    context.health.inform("bus", context.bus.problem)
    context.health.inform("uploads", receiver.uploader.problem)
    receiver.listener.start()
    log.info("DICOM on %s:%d as %s", settings.dicom_host, receiver.listener.port, settings.dicom_aet)


async def _stop_listening(context: Context[Settings], receiver: Receiver) -> None:
    """At the stop, end the associations first, while the bus still takes what they have to say."""
    await context.stopping.wait()
    await asyncio.to_thread(receiver.listener.stop, receiver.limits.drain)


def tls(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context that the settings ask for, or None."""
    if settings.dicom_tls_cert is None:
        return None
    return server_context(settings.dicom_tls_cert, settings.dicom_tls_key, settings.dicom_tls_ca)


def _serving(
    store: Store, announcer: Announcer, judge: Judge
) -> Callable[[Wire, Origin, Callable[[], Rejection | None]], None]:
    def serve(wire: Wire, origin: Origin, admit: Callable[[], Rejection | None]) -> None:
        AssociationHandler(wire, origin, store, announcer, judge, admit).run()

    return serve


def _by_sources(config: ConfigView) -> Judge:
    def judge(calling_aet: str, called_aet: str, address: str) -> str | None:
        if config.is_unknown(Kind.SOURCES):
            return "the configuration of sources cannot be read, so nobody is let in"
        return config.sources.judge(calling_aet, called_aet, address)  # the present revision, each time

    return judge


def _requiring(aet: str, judge: Judge) -> Judge:
    def both(calling_aet: str, called_aet: str, address: str) -> str | None:
        if called_aet != aet:
            return f"called AE title {called_aet!r} is not ours"
        return judge(calling_aet, called_aet, address)

    return both
