"""How the system is, judged from what its supervisor and its processes say. Pure.

Owns the words ok, degraded and unknown, and what is worse than what. Refuses to take silence for health: a report that
is too old, a figure that nobody gives, a process that does not answer are unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from adriatic.supervisor.part import GOOD, PartReport, SystemReport

Verdict = Literal["ok", "degraded", "unknown"]
RANK: dict[Verdict, int] = {"degraded": 0, "unknown": 1, "ok": 2}
"""Worst first. Degraded before unknown: it needs somebody for certain."""
LOADED = "loaded"
"""What a process that checks tokens says of its keys when they are those that their issuer publishes."""


class PartAssessment(msgspec.Struct, frozen=True, kw_only=True):
    """One part. Sizes in bytes, times in seconds since 1970 (UTC)."""

    name: str
    kind: str
    verdict: Verdict
    state: str
    since: float
    restarts: int
    pid: int | None = None
    resident_bytes: int | None
    detail: str
    lag: str = ""
    last_error: str = ""
    last_error_at: float | None = None
    start_s: float | None = None
    about: str = ""
    facts: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    verdict: Verdict
    summary: str
    as_of: float
    resident_bytes: int
    ready_s: float | None
    parts: Sequence[PartAssessment]


def assess(
    report: SystemReport,
    answers: Mapping[str, Mapping[str, Any] | str],
    resident: Mapping[str, int | None],
    now: float,
    stale_s: float,
) -> Assessment:
    """`answers`: the health report of each of our own services, or why there is none. `resident`: memory of each part,
    the supervisor's under its own name."""
    age_s = now - report.written_at
    stale = age_s > stale_s
    rows = [_row(part, answers.get(part.name), resident.get(part.name), stale=stale) for part in report.parts]
    rows.sort(key=lambda row: RANK[row.verdict])
    verdict: Verdict = rows[0].verdict if rows else "unknown"
    bad = [row.name for row in rows if row.verdict == verdict]
    if stale:
        summary = f"cannot tell: the supervisor has not reported for {age_s:.0f} s"
    elif verdict == "ok":
        summary = "ok: everything is ready"
    elif report.stopping:
        summary = "stopping"
    else:
        summary = f"{verdict}: {', '.join(bad)}"
    return Assessment(
        verdict=verdict,
        summary=summary,
        as_of=report.written_at,
        resident_bytes=sum(size or 0 for size in resident.values()),
        ready_s=report.ready_s,
        parts=rows,
    )


def _row(
    part: PartReport, answer: Mapping[str, Any] | str | None, resident: int | None, *, stale: bool
) -> PartAssessment:
    facts: Mapping[str, Any] = {}
    lag, silent = "", ""
    if isinstance(answer, str):
        silent = f"does not answer: {answer}"
        lag = "unknown"
    elif answer is not None:
        found = answer.get("facts")
        facts = found if isinstance(found, dict) else {}
        lag = _lag(facts)
    verdict, detail = _judge(part, facts, lag, silent, stale=stale)
    return PartAssessment(
        name=part.name,
        kind=part.kind,
        verdict=verdict,
        state="unknown" if stale else part.state,
        since=part.since,
        restarts=part.restarts,
        pid=part.pid,
        resident_bytes=resident,
        detail=detail,
        lag=lag,
        last_error=part.last_error,
        last_error_at=part.last_error_at,
        start_s=part.start_s,
        about=part.about,
        facts=facts,
    )


def _judge(part: PartReport, facts: Mapping[str, Any], lag: str, silent: str, *, stale: bool) -> tuple[Verdict, str]:
    if stale:
        return "unknown", "last seen " + part.state
    if part.background and part.state != "broken":
        return "ok", part.about
    if part.state not in GOOD:
        return "degraded", part.reasons or part.last_error or part.state
    if silent:
        return "unknown", silent
    if faults := _faults(facts):
        return "degraded", faults
    if "unknown" in lag:
        return "unknown", "its lag is unknown"
    return "ok", part.about


def _faults(facts: Mapping[str, Any]) -> str:
    """What a process that is ready nevertheless wants somebody to know."""
    found = []
    tables = facts.get("tables")
    if isinstance(tables, dict) and tables.get("stopped"):
        found.append(f"stopped tables: {', '.join(map(str, tables['stopped']))}")
    if (keys := facts.get("keys", LOADED)) != LOADED:
        found.append(f"tokens are checked with the keys at hand: {keys}")
    if letters := facts.get("dead_letters"):
        found.append(f"{letters} dead letters: `adriatic dlq list`")
    return "; ".join(found)


def _lag(facts: Mapping[str, Any]) -> str:
    """Capture says how old the newest captured commit is, a flow how many records it is behind and for how long."""
    if (behind_s := facts.get("behind_s")) is not None:
        if not isinstance(behind_s, int | float):
            return "unknown"
        kept = facts.get("slot_wal_bytes")
        kept_text = f", {kept / 1e6:.1f} MB WAL kept" if isinstance(kept, int | float) else ""
        return f"{behind_s:.1f} s{kept_text}"
    lag = facts.get("lag")
    if lag == "unknown":
        return "unknown"
    if lag == {}:
        return "no partitions"  # other processes have them all, or the group is about to share them out
    if isinstance(lag, dict):
        records = sum(int(topic["records"]) for topic in lag.values())
        seconds = max((float(topic["seconds"]) for topic in lag.values()), default=0.0)
        return f"{records} records, {seconds:.1f} s"
    return ""
