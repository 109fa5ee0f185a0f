"""How long each stage of one request took: always measured, and made into spans where somebody traces.

Owns the record of a request, which its task and every task that it starts find by themselves, and its stages: a name,
when it began and ended, and whether it failed. Measuring costs a microsecond or two a stage; a span costs some twenty,
and is made only inside of one that is recorded. Refuses words of a request: a stage has a name, and nothing of what was
said.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.telemetry import tracer

STAGES_MAX = 64
"""Most stages of one request that are kept: an ordinary one has ten, and each further attempt has six more."""

_RECORD: ContextVar[StageRecord | None] = ContextVar("stages", default=None)
_TRACER = tracer("stages")
_TRACE_CONTEXT = TraceContextTextMapPropagator()


class RequestStage:
    """One stage. Times are in seconds since the record began. End it once; ending it again changes nothing."""

    __slots__ = ("_record", "began_s", "ended_s", "failed", "name", "span", "within")

    def __init__(self, name: str, record: StageRecord | None, within: RequestStage | None) -> None:
        self.name = name
        self.within = within
        self.ended_s: float | None = None
        self.failed = False
        self._record = record
        self.began_s = record.elapsed_s if record else 0.0
        parent = within.span if within else record.parent if record else None
        self.span: trace.Span | None = None
        if parent is not None and parent.is_recording():
            self.span = _TRACER.start_span(name, context=trace.set_span_in_context(parent, context.Context()))

    def end(self, *, failed: bool = False) -> None:
        if self.ended_s is not None:
            return
        self.ended_s = self._record.elapsed_s if self._record else 0.0
        self.failed = failed
        if self.span:
            if failed:
                self.span.set_status(trace.StatusCode.ERROR)
            self.span.end()


class StageRecord:
    """The stages of one request, in the order in which they began; the first is the request itself."""

    def __init__(self, name: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._began_s = clock.monotonic()
        self.parent = trace.get_current_span()
        found = self.parent.get_span_context()
        self.trace_id = format(found.trace_id, "032x") if found.is_valid else None
        self.whole = RequestStage(name, self, None)
        self.stages = [self.whole]

    @property
    def elapsed_s(self) -> float:
        return self._clock.monotonic() - self._began_s

    def begin(self, name: str, within: RequestStage | None = None) -> RequestStage:
        stage = RequestStage(name, self, within or self.whole)
        if len(self.stages) < STAGES_MAX:
            self.stages.append(stage)
        return stage

    def find_open(self) -> RequestStage:
        """The newest stage of the request itself that has not ended: what is done now is a part of it."""
        return next(
            (each for each in reversed(self.stages) if each.ended_s is None and each.within is self.whole), self.whole
        )


def begin_record(name: str, clock: Clock = SYSTEM_CLOCK) -> StageRecord:
    """Measure what this task does from here on, and the tasks that it starts."""
    record = StageRecord(name, clock)
    _RECORD.set(record)
    return record


def find_record() -> StageRecord | None:
    """That of the request in hand."""
    return _RECORD.get()


def begin(name: str) -> RequestStage:
    """A stage of the request in hand; one of nothing, where nobody measures."""
    record = _RECORD.get()
    return record.begin(name) if record else RequestStage(name, None, None)


def begin_part(name: str) -> RequestStage:
    """A part of the stage that the request in hand is in."""
    record = _RECORD.get()
    return record.begin(name, record.find_open()) if record else RequestStage(name, None, None)


@contextmanager
def measure(name: str) -> Iterator[None]:
    """Run a block as a stage of the request in hand."""
    stage = begin(name)
    try:
        yield
    except BaseException:
        stage.end(failed=True)
        raise
    stage.end()


def tell(stage: RequestStage) -> dict[str, str]:
    """The W3C headers that make what somebody else does a part of `stage`; none where nobody traces."""
    carrier: dict[str, str] = {}
    if stage.span:
        _TRACE_CONTEXT.inject(carrier, context=trace.set_span_in_context(stage.span, context.Context()))
    return carrier
