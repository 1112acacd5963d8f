"""The receiver, put together: the only place that names concrete adapters."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from hermes_common.config import CommitmentAddress, Kind, Sources
from hermes_common.events import Sender
from hermes_common.room import Room
from hermes_common.runtime.configview import ConfigView
from hermes_common.runtime.dicom.wire import Wire
from hermes_common.runtime.roomkeeping import answer_room, host, store_folder, volume_of
from hermes_common.runtime.service import Context
from hermes_common.runtime.store import store_of
from hermes_common.sources import Admission, Caller, Judgement, Refusal, Why, is_open, judge_caller, policy_words
from hermes_receiver.adapters.admissions import Admissions
from hermes_receiver.adapters.announcer import QueuedAnnouncer
from hermes_receiver.adapters.commitments import RequestFolder
from hermes_receiver.adapters.dicomweb import DicomWebServer, Service
from hermes_receiver.adapters.holdings import Holdings, IndexingPublisher, Records
from hermes_receiver.adapters.listener import Listener, Serve
from hermes_receiver.adapters.notices import Handover
from hermes_receiver.adapters.reporter import Reporter
from hermes_receiver.adapters.share import Port, inherited, listening, shared_board
from hermes_receiver.adapters.spool import Spool, ready_folders
from hermes_receiver.adapters.tally import Tally
from hermes_receiver.adapters.tls import Certificates
from hermes_receiver.adapters.tokens import Tokens
from hermes_receiver.core.collecting import Collected, Collecting
from hermes_receiver.core.limits import Ack, Limits
from hermes_receiver.core.negotiation import Judge, Rejection
from hermes_receiver.core.reception import Origin
from hermes_receiver.handlers.association import AssociationHandler
from hermes_receiver.handlers.commitment_results import ResultTaker, TakeResult
from hermes_receiver.handlers.committing import Commitments, Find
from hermes_receiver.handlers.grace import Grace
from hermes_receiver.handlers.line import Line
from hermes_receiver.handlers.performing import Bus as StepBus
from hermes_receiver.handlers.performing import Steps
from hermes_receiver.handlers.ports import Announcer, Objects, Uploads
from hermes_receiver.handlers.resubmitting import Quarantine
from hermes_receiver.handlers.storing import Store
from hermes_receiver.handlers.uploading import Uploader
from hermes_receiver.settings import Settings

log = logging.getLogger(__name__)


class BusPort(Records, StepBus, Protocol):
    """What the receiver uses of the bus: events, and records of what is held and performed."""


@dataclass(slots=True)
class Receiver:
    """The parts of a running receiver."""

    spool: Spool
    uploads: Line | None
    """None: another process uploads."""
    announcer: QueuedAnnouncer
    listeners: tuple[Listener, ...]
    """The plain port if it is open, then the TLS port if it is."""
    limits: Limits
    commitments: Commitments
    tokens: Tokens
    web: DicomWebServer | None = None
    """The port of STOW-RS, if it is to be open."""

    @property
    def listener(self) -> Listener:
        """The first port."""
        return self.listeners[0]

    def start(self) -> None:
        """Begin to accept, on every port."""
        for listener in self.listeners:
            listener.start()
        if self.web is not None:
            self.web.start()

    def problem(self) -> str | None:
        """Say which port does not accept, or None."""
        closed = [str(port.port) for port in (*self.listeners, self.web) if port is not None and not port.is_alive]
        return f"the port {' and '.join(closed)} is closed" if closed else None

    async def stop_listening(self) -> bool:
        """End the associations: take nothing new, finish what is under way. True if none was broken."""
        drain = self.limits.drain
        ports = [port for port in (*self.listeners, self.web) if port is not None]
        ends = await asyncio.gather(*(asyncio.to_thread(port.stop, drain) for port in ports))
        return all(ends)

    async def stop(self) -> None:
        """Take nothing new, finish what is under way, leave the spool in order."""
        self.spool.close(clean=await self.stop_listening())


def build(
    settings: Settings,
    objects: Objects,
    bus: BusPort,
    judge: Judge,
    tls: Certificates | None = None,
    find: Find = lambda _: None,
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
    share, board = inherited(), shared_board()
    number, workers = (share.number, share.workers) if share is not None else (0, 1)
    if share is None or board is None:
        spool = Spool(settings.spool)
    else:
        spool = Spool(settings.spool, worker=number, workers=workers, tally=Tally(board, number))
    spool.open()
    uploading = None
    uploads: Uploads
    if share is not None and settings.ack is Ack.SPOOLED:
        uploads = Handover(share.notices_fd, share.number)
    else:
        uploads = Uploader(spool, objects, IndexingPublisher(bus, bus), collected, settings.upload_parallel)
        grace = Grace(spool, uploads.finished, settings.spool_grace, limits)
        uploading = Line(spool, uploads, grace, number, spool.was_unclean)
    announcer = QueuedAnnouncer(bus, asyncio.get_running_loop())
    store = Store(spool, uploads, announcer, limits, collected, settings.ack)
    guarded = _requiring(settings.dicom_aet, judge) if settings.dicom_require_called_aet else judge
    guarded = guarded if settings.mpps else _without_steps(guarded)
    folder = RequestFolder(settings.spool)
    ready = ready_folders(settings.spool, number, workers)
    commitments = Commitments(folder, Holdings(bus, objects, ready), Reporter(settings.client_tls), find, announcer)
    sockets = listening(settings)
    serve = _serving(store, announcer, guarded, commitments, ResultTaker(bus), Steps(bus))
    listeners = _listeners(sockets, limits, serve, tls)
    waiting = uploading.uploader.replay() if uploading is not None else 0
    if waiting:
        log.info("%d entries of the spool wait to be uploaded", waiting)
    tokens = Tokens(bus, settings.spool / "tokens.json")
    quarantine = Quarantine(store, objects)
    service = Service(store, judge, tokens.authorise, settings.dicom_aet, settings.dicomweb_connections, quarantine)
    asked = commitments.replay()
    if asked:
        log.info("%d storage commitment requests wait to be answered", asked)
    return Receiver(
        spool, uploading, announcer, listeners, limits, commitments, tokens, _web(sockets, settings, service, tls)
    )


async def main(context: Context[Settings]) -> None:
    """Start the service on ``context``."""
    settings = context.settings
    objects = store_of(settings, settings.upload_parallel)
    context.cleanup.callback(objects.close)
    config = ConfigView(context.bus, settings.spool / "configuration.json")
    certificates = settings.certificates()
    receiver = build(
        settings,
        objects,
        context.bus,
        _by_sources(config),
        certificates,
        _commitment_address(config),
        lambda: config.policies.extra_tags,
    )
    context.cleanup.push_async_callback(receiver.stop)
    context.background("configuration", config.run())
    context.health.inform("configuration", config.problem)
    context.background("announcements", receiver.announcer.run())
    if (uploading := receiver.uploads) is not None:
        context.background("uploads", uploading.uploader.run())
        context.background("copies", uploading.keep_copies())
        context.health.inform("uploads", uploading.uploader.problem)
        if (board := shared_board()) is not None:
            context.background("spool", uploading.look(board))
    if receiver.web is not None:
        context.background("tokens", receiver.tokens.run())
    context.background("storage commitment", receiver.commitments.run())
    context.background("room", answer_room(context.bus, lambda: _room(receiver.spool, settings)))
    context.work("stop", _stop_listening(context, receiver))
    context.health.require("port", receiver.problem)
    if certificates is not None:
        context.background("certificates", certificates.run())
        context.health.inform("certificates", certificates.problem)
    context.health.inform("bus", context.bus.problem)
    receiver.start()
    for listener in receiver.listeners:
        kind = "DICOM TLS" if listener.is_secure else "DICOM"
        log.info("%s on %s:%d as %s", kind, settings.dicom_host, listener.port, settings.dicom_aet)
    if receiver.web is not None:
        log.info("STOW-RS on %s:%d%s", settings.dicomweb_host, receiver.web.port, "/dicom-web/studies")
    _tell_policy(config.sources)
    config.on_change(lambda revision: _tell_policy(config.sources) if revision.kind is Kind.SOURCES else None)


def _room(spool: Spool, settings: Settings) -> Room:
    """Return how much room there is in the spool, on its volume, and in the store where that is a folder."""
    limits, folder = settings.limits(), store_folder(settings.object_store)
    free = volume_of("spool", settings.spool)
    volumes = [free.model_copy(update={"free": max(free.free - limits.free_bytes, 0)})]
    if folder is not None:
        volumes.append(volume_of("store", folder))
    return Room(
        service="receiver",
        host=host(),
        spool_pending=spool.use().pending,
        spool_limit=limits.spool_bytes,
        volumes=volumes,
    )


async def _stop_listening(context: Context[Settings], receiver: Receiver) -> None:
    """At the stop, end the associations first, while the bus still takes what they have to say."""
    await context.stopping.wait()
    await receiver.stop_listening()


def _listeners(
    sockets: Mapping[Port, socket.socket], limits: Limits, serve: Serve, certificates: Certificates | None
) -> tuple[Listener, ...]:
    admissions = Admissions(limits)  # the limits hold over both ports
    listeners = []
    if (plain := sockets.get(Port.DICOM)) is not None:
        listeners.append(Listener(plain, limits, serve, admissions=admissions))
    if certificates is not None:
        listeners.append(Listener(sockets[Port.DICOM_TLS], limits, serve, certificates, admissions))
    return tuple(listeners)


def _web(
    sockets: Mapping[Port, socket.socket], settings: Settings, service: Service, certificates: Certificates | None
) -> DicomWebServer | None:
    sock = sockets.get(Port.DICOMWEB)
    if sock is None:
        return None
    return DicomWebServer(sock, service, certificates if settings.dicomweb_tls else None)


def _tell_policy(sources: Sources) -> None:
    """Say in words who may send, at the start and at every change."""
    log.log(logging.WARNING if is_open(sources) else logging.INFO, "sources: %s", policy_words(sources))


def _serving(
    store: Store, announcer: Announcer, judge: Judge, commitments: Commitments, take_result: TakeResult, steps: Steps
) -> Callable[[Wire, Origin, Callable[[], Rejection | None]], None]:
    def serve(wire: Wire, origin: Origin, admit: Callable[[], Rejection | None]) -> None:
        AssociationHandler(wire, origin, store, announcer, judge, admit, commitments, take_result, steps).run()

    return serve


def _by_sources(config: ConfigView) -> Judge:
    def judge(caller: Caller) -> Judgement:
        if config.is_unknown(Kind.SOURCES):
            return Refusal("the configuration of sources cannot be read, so nobody is let in")
        return judge_caller(config.sources, caller)  # the present revision, each time

    return judge


def _commitment_address(config: ConfigView) -> Find:
    def find(sender: Sender) -> CommitmentAddress | None:
        source = config.sources.find(sender.calling_aet, sender.called_aet, sender.address)
        return source.commitment if source is not None else None

    return find


def _without_steps(judge: Judge) -> Judge:
    def judged(caller: Caller) -> Judgement:
        found = judge(caller)
        return replace(found, mpps=False) if isinstance(found, Admission) else found

    return judged


def _requiring(aet: str, judge: Judge) -> Judge:
    def both(caller: Caller) -> Judgement:
        if caller.called_aet != aet.strip():
            return Refusal(f"called AE title {caller.called_aet!r} is not ours", Why.CALLED)
        return judge(caller)

    return both
