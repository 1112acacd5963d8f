"""Traces over OTLP/HTTP. Imported only where traces are wanted: it needs the packages of the extra ``traces``."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from datetime import datetime, timedelta

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, TraceFlags

from hermes_common.runtime.tracing import Attributes

log = logging.getLogger(__name__)

_QUEUE = 2048
_BATCH = 512
_EVERY = timedelta(seconds=2)
_LIMIT = timedelta(seconds=5)

_chosen: ContextVar[SpanContext | None] = ContextVar("chosen", default=None)


class _Ids(RandomIdGenerator):
    """Random ids, but for a span whose context was given out before."""

    def generate_trace_id(self) -> int:
        chosen = _chosen.get()
        return super().generate_trace_id() if chosen is None else chosen.trace_id

    def generate_span_id(self) -> int:
        chosen = _chosen.get()
        return super().generate_span_id() if chosen is None else chosen.span_id


class _Exporter(OTLPSpanExporter):
    """Says once that the collector does not take spans, and once that it does again."""

    _is_away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; called by one thread."""
        result = super().export(spans)
        is_away = result is not SpanExportResult.SUCCESS
        if is_away != self._is_away:
            self._is_away = is_away
            log.warning(
                "the collector takes no traces: they are dropped" if is_away else "the collector takes traces again"
            )
        return result


class OtlpRecorder:
    """Records spans into a bounded queue, which a thread empties; what does not fit is dropped."""

    def __init__(self, provider: TracerProvider, processor: BatchSpanProcessor) -> None:
        self._provider = provider
        self._processor = processor
        self._tracer = provider.get_tracer("hermes")

    @contextlib.contextmanager
    def span(self, name: str, attributes: Attributes, parent: str | None, links: Sequence[str]) -> Iterator[str]:
        """See :class:`hermes_common.runtime.tracing.Recorder`."""
        made = self._begin(name, attributes, parent, links)
        try:
            yield _written(made.get_span_context())
        except Exception as error:
            made.set_status(trace.StatusCode.ERROR, type(error).__name__)  # its words may be those of a stranger
            raise
        finally:
            made.end()

    def record(
        self,
        name: str,
        attributes: Attributes,
        parent: str | None,
        links: Sequence[str],
        times: tuple[datetime, datetime],
        context: str | None,
    ) -> None:
        """See :class:`hermes_common.runtime.tracing.Recorder`."""
        token = _chosen.set(None if context is None else _read(context))
        try:
            made = self._begin(name, attributes, parent, links, times[0])
        finally:
            _chosen.reset(token)
        made.end(_nanoseconds(max(times)))

    def rooted(self, trace: str, span: str) -> str:
        """See :class:`hermes_common.runtime.tracing.Recorder`."""
        found = self._provider.sampler.should_sample(None, int(trace, 16), "").decision
        sampled = found.is_sampled()  # type: ignore[no-untyped-call]  # without annotations there
        return f"00-{trace}-{span}-{'01' if sampled else '00'}"

    def close(self) -> None:
        """See :class:`hermes_common.runtime.tracing.Recorder`."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]  # without annotations there

    def _begin(
        self,
        name: str,
        attributes: Attributes,
        parent: str | None,
        links: Sequence[str],
        begun: datetime | None = None,
    ) -> Span:
        root = trace.INVALID_SPAN if parent is None else NonRecordingSpan(_read(parent))
        return self._tracer.start_span(
            name,
            context=trace.set_span_in_context(root),
            attributes={f"hermes.{key}": value for key, value in attributes.items()},
            links=[Link(_read(link)) for link in links],
            start_time=None if begun is None else _nanoseconds(begun),
            record_exception=False,
            set_status_on_exception=False,
        )


def recorder(endpoint: str | None, service: str, version: str, instance: str) -> OtlpRecorder:
    """Return a recorder; the endpoint, if none is given, and all else as the variables of OpenTelemetry say."""
    resource = Resource.create(
        {"service.name": f"hermes-{service}", "service.version": version, "service.instance.id": instance}
    )
    url = None if endpoint is None else f"{endpoint.rstrip('/')}/v1/traces"
    exporter = _Exporter(endpoint=url, timeout=_LIMIT.total_seconds())
    processor = BatchSpanProcessor(
        exporter,
        max_queue_size=_QUEUE,
        max_export_batch_size=_BATCH,
        schedule_delay_millis=_EVERY / timedelta(milliseconds=1),
    )
    provider = TracerProvider(resource=resource, id_generator=_Ids(), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    library = logging.getLogger("opentelemetry")  # says the same of every batch
    library.addHandler(logging.NullHandler())
    library.propagate = False
    return OtlpRecorder(provider, processor)


def _read(context: str) -> SpanContext:
    _, trace_id, span_id, flags = context.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))


def _written(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _nanoseconds(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000) * 1000
