"""Traces of real services in a collector: one from the association to the delivery, and what happens without one."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from harness import free_port, listens, make_series
from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage
from trace_collector import Collector, collecting

from hermes_common import config, subjects
from hermes_common.events import DeliverySucceeded, decode
from hermes_common.records import DeliveryRecord
from hermes_common.runtime import tracing
from hermes_common.runtime.bus import Bus
from hermes_common.runtime.clock import now
from hermes_common.runtime.settings import RuntimeSettings
from hermes_common.runtime.tracing import Attribute, digest

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]


async def until(what: str, found: Callable[[], object], within: float = 30) -> None:
    async with asyncio.timeout(within):
        while not found():
            await asyncio.sleep(0.05)


class Services:
    """A receiver, a router and a dispatcher as processes, on a bus of the test and a folder as object store."""

    def __init__(self, folder: Path, bus: Bus, nats_url: str, **environment: str) -> None:
        self.folder = folder
        self.bus = bus
        self.port = free_port()
        self.target = folder / "target"
        self.target.mkdir()
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("HERMES_", "OTEL_"))}
        self.environment = clean | {
            "HERMES_NATS_URL": nats_url,
            "HERMES_OBJECT_STORE": f"file://{folder}/store",
            "HERMES_SPOOL": f"{folder}/spool",
            "HERMES_DICOM_HOST": "127.0.0.1",
            "HERMES_DICOM_PORT": str(self.port),
            "HERMES_DICOMWEB_PORT": "0",
            "HERMES_RECEIVER_WORKERS": "1",
            "HERMES_SECRET_KEY": "a key of at least 32 characters ...",
            **environment,
        }

    async def configure(self) -> None:
        """One rule for everything, to a folder; a series is quiet after a second."""
        target = config.FolderTarget(slug="folder", name="Folder", path=str(self.target))
        rule = config.Rule(slug="all", name="All", expression='Modality == "CT"', targets=["folder"])
        quiet = config.Completion(quiet_period=timedelta(seconds=1))
        await self._save(config.Kind.TARGETS, config.Targets(targets=[target]))
        await self._save(config.Kind.RULES, config.RuleSet(rules=[rule]))
        await self._save(config.Kind.POLICIES, config.Policies(completion=quiet))

    async def _save(self, kind: config.Kind, document: config.AnyDocument) -> None:
        plain = document.model_dump(mode="json")
        revision = config.Revision(kind=kind, revision=1, author="t", time=now(), document=plain)
        await self.bus.send(f"$KV.{subjects.CONFIG}.{kind.value}", revision.model_dump_json().encode())

    @contextmanager
    def run(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run one service until the end of the context, which it reaches in order."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen([sys.executable, "-m", f"hermes_{name}"], env=self.environment, stderr=log)
            try:
                yield process
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) == 0, self.said(name)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def send(self, series_folder: Path) -> None:
        """Send a folder over one association."""
        ae = AE()
        ae.add_requested_context(CTImageStorage)
        association = ae.associate("127.0.0.1", self.port)
        assert association.is_established
        for path in sorted(series_folder.iterdir()):
            assert association.send_c_store(dcmread(path)).Status == 0
        association.release()

    async def succeeded(self) -> list[DeliverySucceeded]:
        found = [
            decode(message.headers, message.data).event
            async for message in self.bus.read(subjects.EVENTS, "hermes.v1.delivery.succeeded.*", 0)
        ]
        return [event for event in found if isinstance(event, DeliverySucceeded)]

    async def deliver(self, series_folder: Path) -> DeliverySucceeded:
        """Send a series, and wait until it is delivered."""
        await until("the receiver listens", lambda: listens(self.port), 60)
        await asyncio.to_thread(self.send, series_folder)
        async with asyncio.timeout(40):
            while not (found := await self.succeeded()):
                await asyncio.sleep(0.1)
        return found[0]


@asynccontextmanager
async def running(folder: Path, bus: Bus, nats_url: str, **environment: str) -> AsyncIterator[Services]:
    services = Services(folder, bus, nats_url, **environment)
    await services.configure()
    with ExitStack() as stack:
        for name in ("receiver", "router", "dispatcher"):
            stack.enter_context(services.run(name))
        yield services


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


async def test_one_trace_goes_from_the_association_to_the_delivery(
    bus: Bus, nats_url: str, tmp_path: Path, collector: Collector
) -> None:
    series = make_series(
        tmp_path / "series", 3, PatientName="Planted^Name", PatientID="PLANTED-7", StationName="GANTRY"
    )
    async with running(tmp_path, bus, nats_url, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as services:
        delivered = await services.deliver(series.folder)
        stored = [m async for m in bus.read(subjects.EVENTS, "hermes.v1.instance.stored.*", 0)]
    names = {"association", "upload", "series completed", "routing decision", "delivery", "attempt"}
    spans = {span.name: span for span in collector.spans()}
    assert set(spans) == names
    assert {span.trace for span in collector.spans()} == {spans["association"].trace}, "one trace, over three services"
    assert {name: span.service for name, span in spans.items()} == {
        "association": "hermes-receiver",
        "upload": "hermes-receiver",
        "series completed": "hermes-router",
        "routing decision": "hermes-router",
        "delivery": "hermes-dispatcher",
        "attempt": "hermes-dispatcher",
    }
    parents = {name: next((n for n, s in spans.items() if s.id == span.parent), "") for name, span in spans.items()}
    assert parents == {
        "association": "",
        "upload": "association",
        "series completed": "association",
        "routing decision": "series completed",
        "delivery": "series completed",
        "attempt": "delivery",
    }
    assert stored[0].headers["traceparent"] == f"00-{spans['association'].trace}-{spans['association'].id}-01"
    assert spans["delivery"].attributes["hermes.delivery"] == delivered.delivery_id
    assert spans["delivery"].attributes["hermes.state"] == "succeeded"
    assert spans["association"].attributes["hermes.instances"] == 3
    assert sum(span.attributes["hermes.instances"] for span in collector.named("upload")) == 3
    assert spans["series completed"].attributes["hermes.series"] == digest(series.uid)
    assert spans["delivery"].begun <= spans["attempt"].begun <= spans["attempt"].ended
    said = {name for span in collector.spans() for name in span.attributes}
    assert said <= {f"hermes.{name}" for name in get_args(Attribute)}
    sent = b"".join(collector.bodies)
    for planted in (b"Planted", b"PLANTED", b"GANTRY", series.uid.encode(), series.study_uid.encode()):
        assert planted not in sent


async def test_a_delivery_long_after_its_series_links_to_its_trace(
    bus: Bus, nats_url: str, tmp_path: Path, collector: Collector
) -> None:
    """The same services, with a record that says that the decision was an hour ago."""
    series = make_series(tmp_path / "series", 1)
    services = Services(tmp_path, bus, nats_url, HERMES_TRACES_ENDPOINT=collector.url)
    await services.configure()
    with services.run("receiver"), services.run("router"):
        await until("the receiver listens", lambda: listens(services.port), 60)
        await asyncio.to_thread(services.send, series.folder)
        async with asyncio.timeout(30):
            while not (keys := await bus.keys(subjects.STATE, "delivery.*")):
                await asyncio.sleep(0.1)
        async with asyncio.timeout(30):
            while not await bus.last_sequence(subjects.WORK, subjects.delivery_work("folder", "normal")):
                await asyncio.sleep(0.1)
        loaded = await bus.load(subjects.STATE, keys[0], DeliveryRecord)
        assert loaded is not None
        record, revision = loaded
        old = record.model_copy(update={"created_at": now() - timedelta(hours=1)})
        await bus.update(subjects.STATE, keys[0], old, revision)
    with services.run("dispatcher"):
        async with asyncio.timeout(30):
            while not await services.succeeded():
                await asyncio.sleep(0.1)
    [association], [delivery], [attempt] = map(collector.named, ("association", "delivery", "attempt"))
    assert delivery.trace == association.trace
    assert attempt.trace != association.trace
    assert attempt.links == [(delivery.trace, delivery.id)]


async def test_a_collector_that_says_nothing_holds_nothing_up(bus: Bus, nats_url: str, tmp_path: Path) -> None:
    series = make_series(tmp_path / "series", 2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with running(tmp_path, bus, nats_url, OTEL_EXPORTER_OTLP_ENDPOINT=url) as services:
            delivered = await services.deliver(series.folder)
    assert delivered.instances == 2
    assert "Traceback" not in services.said("dispatcher") + services.said("router") + services.said("receiver")


@pytest.mark.parametrize("status", [400, 503])
async def test_a_collector_that_refuses_costs_what_was_to_be_sent_and_nothing_else(
    status: int, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    collector.status = status
    tracing.start(RuntimeSettings(traces_endpoint=collector.url), "router", "1", "one")
    for number in range(5000):  # more than are kept
        with tracing.span("attempt", {"attempt": number}):
            assert tracing.valid(tracing.traceparent.get())
    async with asyncio.timeout(10):
        await tracing.stop()
    assert not tracing.is_on()
    assert collector.spans() == []
    said = [r.getMessage() for r in caplog.records if r.name == "hermes_common.runtime.otlp"]
    if status == 400:
        assert said == ["the collector takes no traces: they are dropped"]


def test_settings_that_cannot_be_used_leave_the_service_without_traces(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hermes_common.runtime.otlp", None)
    tracing.start(RuntimeSettings(traces_endpoint="http://127.0.0.1:9"), "router", "1", "one")
    assert not tracing.is_on()
    assert "install 'hermes-router[traces]'" in caplog.text


def test_a_context_that_is_none_begins_anew() -> None:
    good = f"00-{'a' * 32}-{'b' * 16}-01"
    assert tracing.valid(good) == good
    for bad in (
        None,
        "",
        "garbage",
        f"00-{'0' * 32}-{'b' * 16}-01",
        f"00-{'a' * 32}-{'0' * 16}-01",
        good + "\n",
        "ff" + good[2:],
    ):
        assert tracing.valid(bad) is None
    assert tracing.several([good, None, good, "garbage"]) == [good]
    assert len(tracing.several([f"00-{number:032x}-{'b' * 16}-01" for number in range(1, 100)])) == tracing.LINKS


def test_without_a_collector_nothing_of_opentelemetry_is_imported() -> None:
    code = (
        "import sys, hermes_receiver.app, hermes_router.app, hermes_dispatcher.app, hermes_bookkeeper.app\n"
        "from hermes_common.runtime import tracing\n"
        "from hermes_common.runtime.settings import RuntimeSettings\n"
        "tracing.start(RuntimeSettings(), 'router', '1', 'one')\n"
        "with tracing.span('attempt', {}): assert tracing.traceparent.get() is None\n"
        "assert tracing.root('association', 'a') is None and not tracing.is_on()\n"
        "sys.exit(any(name.startswith(('opentelemetry', 'google')) for name in sys.modules))"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    assert subprocess.run([sys.executable, "-c", code], env=clean, check=False).returncode == 0
