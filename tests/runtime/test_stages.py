"""Stages of a request: measured in every task of it, bounded, and spans where the request itself is one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from runtime import stages
from runtime.clock import ManualClock
from runtime.stages import STAGES_MAX


@pytest.fixture
def provider() -> TracerProvider:
    return TracerProvider()


@pytest.fixture
def spans(provider: TracerProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(stages, "_TRACER", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


def named(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


async def test_a_stage_is_measured_by_the_clock_in_every_task_of_the_request() -> None:
    clock = ManualClock()
    record = stages.begin_record("whole", clock)

    async def work() -> None:
        with stages.measure("work"):
            clock.sleep(2)

    clock.sleep(1)
    await asyncio.create_task(work())
    record.whole.end()
    assert [(each.name, each.began_s, each.ended_s) for each in record.stages] == [("whole", 0, 3), ("work", 1, 3)]


async def test_a_stage_that_raises_has_failed() -> None:
    record = stages.begin_record("whole")
    with pytest.raises(KeyError), stages.measure("work"):
        raise KeyError
    stages.begin("more").end()
    assert [each.failed for each in record.stages] == [False, True, False]


async def test_a_part_belongs_to_the_stage_that_is_open() -> None:
    record = stages.begin_record("whole")
    with stages.measure("call"):
        first = stages.begin_part("connect")
        second = stages.begin_part("wait")
    after = stages.begin_part("later")
    assert [each.within and each.within.name for each in (first, second, after)] == ["call", "call", "whole"]
    after.end()
    assert record.find_open() is record.whole


async def test_of_one_request_only_so_many_are_kept() -> None:
    record = stages.begin_record("whole")
    for _ in range(2 * STAGES_MAX):
        stages.begin("more").end()
    assert len(record.stages) == STAGES_MAX


def test_where_nobody_measures_a_stage_is_of_nothing() -> None:
    stage = stages.begin_part("alone")
    stage.end()
    assert (stage.within, stages.tell(stage)) == (None, {})


def test_without_a_recorded_span_no_span_is_made(spans: InMemorySpanExporter) -> None:
    record = stages.begin_record("whole")
    with stages.measure("work"):
        assert stages.tell(record.whole) == {}
    assert (spans.get_finished_spans(), record.trace_id) == ((), None)


def test_inside_of_a_recorded_span_stages_are_spans_and_are_told_to_others(
    spans: InMemorySpanExporter, provider: TracerProvider
) -> None:
    with provider.get_tracer("test").start_as_current_span("request") as request:
        record = stages.begin_record("whole")
    call = stages.begin("call")
    part = stages.begin_part("connect")
    assert part.span
    part_id = part.span.get_span_context().span_id
    assert stages.tell(part)["traceparent"].startswith(f"00-{record.trace_id}-{part_id:016x}-")
    part.end()
    call.end(failed=True)
    record.whole.end()
    found = named(spans)
    parents = {name: span.parent and span.parent.span_id for name, span in found.items() if span.parent}
    ids = {name: context.span_id for name, span in found.items() if (context := span.get_span_context())}
    assert parents == {"whole": ids["request"], "call": ids["whole"], "connect": ids["call"]}
    assert record.trace_id == format(request.get_span_context().trace_id, "032x")
    assert not found["call"].status.is_ok
