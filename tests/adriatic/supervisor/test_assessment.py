"""The judgement: worst first, and silence is never health."""

from __future__ import annotations

from typing import Any

import pytest

from adriatic.supervisor.assessment import Assessment, assess
from adriatic.supervisor.part import PartReport, SystemReport

NOW = 1_000.0
READY: dict[str, Any] = {"status": "ready", "facts": {"lag": {"t": {"records": 0, "seconds": 0.0}}}}


def part(name: str, **changes: Any) -> PartReport:
    return PartReport(**{"name": name, "kind": "service", "state": "ready", "since": 900.0, "pid": 7, **changes})


def judged(*parts: PartReport, answers: dict[str, Any] | None = None, written_at: float = NOW - 1) -> Assessment:
    report = SystemReport(
        pid=1, started_at=1.0, written_at=written_at, begun_at=1.0, ready_s=3.0, stopping=False, parts=list(parts)
    )
    return assess(report, answers or {}, {"supervisor": 10, **{each.name: 5 for each in parts}}, NOW, 15.0)


def test_all_ready_is_ok() -> None:
    found = judged(part("kafka"), part("index"), answers={"index": READY})
    assert found.verdict == "ok"
    assert found.resident_bytes == 20


def test_worst_comes_first() -> None:
    found = judged(
        part("kafka"),
        part("index"),
        part("cdc", state="waiting", reasons="postgres: away"),
        answers={"index": "connection refused", "cdc": {"facts": {}}},
    )
    assert found.verdict == "degraded"
    assert [row.name for row in found.parts] == ["cdc", "index", "kafka"]
    assert found.parts[0].detail == "postgres: away"
    assert found.summary == "degraded: cdc"


@pytest.mark.parametrize("state", ["pending", "starting", "waiting", "broken", "stopping", "stopped"])
def test_nothing_but_ready_is_ok(state: str) -> None:
    assert judged(part("kafka", state=state)).verdict == "degraded"


def test_process_that_does_not_answer_is_unknown() -> None:
    found = judged(part("index"), answers={"index": "timed out"})
    assert found.verdict == "unknown"
    assert "timed out" in found.parts[0].detail


def test_keys_that_cannot_be_renewed_need_somebody_though_tokens_are_taken() -> None:
    good, bad = ({"status": "ready", "facts": {"keys": keys}} for keys in ("loaded", "the provider answers 500"))
    assert judged(part("api"), answers={"api": good}).verdict == "ok"
    found = judged(part("api"), answers={"api": bad})
    assert found.verdict == "degraded"
    assert "answers 500" in found.parts[0].detail


def test_unknown_lag_is_unknown() -> None:
    found = judged(part("index"), answers={"index": {"facts": {"lag": "unknown"}}})
    assert found.verdict == "unknown"
    assert found.parts[0].lag == "unknown"


def test_old_report_tells_nothing() -> None:
    found = judged(part("kafka"), written_at=NOW - 60)
    assert found.verdict == "unknown"
    assert found.parts[0].state == "unknown"
    assert "60 s" in found.summary


def test_dead_letters_and_stopped_tables_need_somebody() -> None:
    letters = judged(part("index"), answers={"index": {"facts": {"dead_letters": 2}}})
    assert letters.verdict == "degraded"
    assert "2 dead letters" in letters.parts[0].detail
    tables = judged(part("cdc"), answers={"cdc": {"facts": {"tables": {"stopped": {"app.adrs": "too large"}}}}})
    assert tables.verdict == "degraded"
    assert "app.adrs" in tables.parts[0].detail


def test_a_process_without_partitions_does_not_say_that_nothing_waits() -> None:
    assert judged(part("index-2"), answers={"index-2": {"facts": {"lag": {}}}}).parts[0].lag == "no partitions"


def test_lag_of_a_process_that_does_not_answer_is_unknown() -> None:
    assert judged(part("index"), answers={"index": "no answer within 3 s"}).parts[0].lag == "unknown"


def test_lag_is_shown_with_its_units() -> None:
    facts = {"lag": {"a": {"records": 2, "seconds": 1.5}, "b": {"records": 3, "seconds": 0.5}}}
    assert judged(part("index"), answers={"index": {"facts": facts}}).parts[0].lag == "5 records, 1.5 s"
    cdc = {"behind_s": 0.25, "slot_wal_bytes": 2_000_000}
    assert judged(part("cdc"), answers={"cdc": {"facts": cdc}}).parts[0].lag == "0.2 s, 2.0 MB WAL kept"


def test_background_work_is_not_a_fault() -> None:
    found = judged(part("kafka"), part("caches", kind="step", state="starting", background=True))
    assert found.verdict == "ok"
