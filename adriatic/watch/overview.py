"""Everything that an operator is told at once, and one word for all of it. Pure.

Owns what counts as a fault, which fault comes first, and what to do about each. Refuses to take silence for health: a
probe that did not answer, a picture that is too old, a process that says nothing are unknown. Read next:
`adriatic/cli/status.py` (collects it), `adriatic/cli/status_view.py` (shows it).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from adriatic.supervisor.assessment import RANK, Assessment, PartAssessment, Verdict
from adriatic.watch import lag
from schemas.pipeline import GroupLag, Pipeline, Slot, Status, ViewFreshness

DISK_SHARE_MIN = 0.05
"""Less of a disk free than this needs somebody, at the latest: databases stop when it is full."""
DISK_BYTES_MIN = 2_000_000_000
"""Less than this is too little, on a small disk too: half of what the slot may keep."""
RECOVERY = "recovery"
"""The check that says how far a recovery is."""
CRAWLER, BROWSER = "jobs", "browser"
"""The processes that have pages rendered, by how their names begin, and the check that says whether they can."""
WELL: frozenset[Status] = frozenset({"ok", "catching-up"})
"""Words of groups that need nobody. That a view is old is said by the view."""


class Check(msgspec.Struct, frozen=True):
    """Something that was asked: the database, the broker, the registry, the API, the disk."""

    name: str
    verdict: Verdict
    detail: str


class Spend(msgspec.Struct, frozen=True):
    """What was spent since midnight UTC. `unpriced` attempts are not in `micro_usd`: their price is not known, and not
    0."""

    attempts: int
    micro_usd: int
    unpriced: int


class TargetHealth(msgspec.Struct, frozen=True):
    """A target of the gateway, as the API process sees it now. `breaker`: `open` is left alone for a while."""

    target: str
    breaker: Literal["closed", "half-open", "open"]
    in_flight: int
    waiting: int


class GatewayHealth(msgspec.Struct, frozen=True):
    """Attempts: those in flight, those of them that hold something of a budget, and how those since midnight UTC ended.
    `errors` are the codes of the last hour with how many there were, the most frequent first. `targets` are null where
    the API process of this machine does not say."""

    open_attempts: int
    open_leases: int
    completed: int
    failed: int
    cancelled: int
    errors: Sequence[tuple[str, int]]
    targets: Sequence[TargetHealth] | None = None

    @property
    def completion(self) -> float | None:
        """The share of attempts that came to their end, of those that nobody stopped. None where there were none."""
        ended = self.completed + self.failed
        return self.completed / ended if ended else None


class Trouble(msgspec.Struct, frozen=True):
    """What needs somebody, why, and what to do first."""

    what: str
    verdict: Verdict
    detail: str
    do: str = ""


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """One screen. `parts` are processes on this machine; without a supervisor here there are none, and `supervised`
    is false. `pipeline` and `spend` are null when the database does not answer. Times in seconds since 1970."""

    verdict: Verdict
    summary: str
    as_of: float
    problems: Sequence[Trouble]
    supervised: bool
    parts: Sequence[PartAssessment] = ()
    resident_bytes: int = 0
    ready_s: float | None = None
    pipeline: Pipeline | None = None
    checks: Sequence[Check] = ()
    spend: Spend | None = None
    gateway: GatewayHealth | None = None


def overview(
    now_s: float,
    parts: Assessment | None,
    pipeline: Pipeline | None,
    checks: Sequence[Check],
    spend: Spend | None,
    gateway: GatewayHealth | None = None,
) -> Overview:
    """`pipeline`: as it may be believed now, see `pipeline.mask_stale`."""
    found = _merge([*_of_parts(parts), *_of_checks(checks), *_of_pipeline(pipeline), *_of_gateway(gateway)])
    problems = sorted(found, key=lambda problem: RANK[problem.verdict])
    verdict: Verdict = problems[0].verdict if problems else "ok"
    # While everything is made anew, all else that is wrong comes of it.
    problems.sort(key=lambda problem: problem.what != RECOVERY)
    return Overview(
        verdict=verdict,
        summary=_summary(verdict, problems, parts),
        as_of=now_s,
        problems=problems,
        supervised=parts is not None,
        parts=parts.parts if parts else (),
        resident_bytes=parts.resident_bytes if parts else 0,
        ready_s=parts.ready_s if parts else None,
        pipeline=pipeline,
        checks=checks,
        spend=spend,
        gateway=gateway,
    )


def _merge(problems: Sequence[Trouble]) -> list[Trouble]:
    """Each thing once: what a process says of itself comes before what others say of it."""
    joined: dict[str, Trouble] = {}
    for each in problems:
        first = joined.get(each.what)
        if first is None:
            joined[each.what] = each
        elif each.detail not in first.detail:
            joined[each.what] = msgspec.structs.replace(first, detail=f"{first.detail}; {each.detail}")
    return list(joined.values())


def _summary(verdict: Verdict, problems: Sequence[Trouble], parts: Assessment | None) -> str:
    if verdict == "ok":
        return "ok: everything is ready, the path from the WAL to every view is open"
    if parts is not None and (parts.summary.startswith("cannot tell") or parts.summary == "stopping"):
        return parts.summary
    return f"{verdict}: {', '.join(dict.fromkeys(each.what for each in problems if each.verdict == verdict))}"


def _of_gateway(gateway: GatewayHealth | None) -> Iterator[Trouble]:
    for each in (gateway.targets or ()) if gateway else ():
        if each.breaker == "open":
            do = "`adriatic spend explain` and the log of `api` say what it answers; others are asked meanwhile"
            yield Trouble(f"model {each.target}", "degraded", "it fails, and is left alone for a while", do)


def _of_parts(parts: Assessment | None) -> Iterator[Trouble]:
    for row in parts.parts if parts else ():
        if row.verdict != "ok" and "dead letters" not in row.detail:  # counted once, from the table
            yield Trouble(row.name, row.verdict, f"{row.state}: {row.detail}", f"`adriatic logs {row.name}`")


def _of_checks(checks: Sequence[Check]) -> Iterator[Trouble]:
    for check in checks:
        if check.verdict != "ok":
            yield Trouble(check.name, check.verdict, check.detail)


def _of_pipeline(found: Pipeline | None) -> Iterator[Trouble]:
    if found is None:
        return  # the check of the database says why
    if found.reason:
        yield Trouble("groups", "unknown", found.reason)
    else:
        yield from _of_groups(found.groups)
    yield from _of_views([view for view in found.views if view.reason != found.reason])
    if found.slot is not None:
        yield from _of_slot(found.slot)
    if count := sum(each.open for each in found.dead_letters):
        yield Trouble("dead letters", "degraded", f"{count} wait for a decision", "`adriatic dlq list`")


def _of_groups(groups: Sequence[GroupLag]) -> Iterator[Trouble]:
    """Ours alone: what others do with the topics is theirs to judge, and is only shown."""
    for group in groups:
        if group.ours and group.status not in WELL:
            verdict: Verdict = "unknown" if group.status == "unknown" else "degraded"
            advice = lag.ADVICE[group.status].format(name=group.group.removeprefix("adriatic."))
            yield Trouble(group.group, verdict, f"{group.status}: {group.reason}", advice)


def _of_views(views: Sequence[ViewFreshness]) -> Iterator[Trouble]:
    """Views that are held up at the same place, together: it is one fault."""
    alike: dict[tuple[str, str | None], list[ViewFreshness]] = {}
    for view in views:
        if view.state != "fresh":
            alike.setdefault((view.state, view.slowest), []).append(view)
    for (state, slowest), held in alike.items():
        oldest_s = max((view.age_s or 0.0 for view in held), default=0.0)
        what = "view " + ", ".join(view.view for view in held)
        if slowest is None:
            yield Trouble(what, "unknown", "unknown", held[0].reason)
        else:
            detail = f"{state}, {oldest_s:.0f} s behind, most of it in the stage {slowest}"
            yield Trouble(what, "degraded", detail, held[0].reason)


def _of_slot(slot: Slot) -> Iterator[Trouble]:
    page = "docs/how-to/recover.md"
    if slot.status in ("missing", "lost"):
        advice = f"changes are missing: `adriatic recover`, {page}"
        yield Trouble("slot", "degraded", f"{slot.name} is {slot.status}", advice)
    elif not slot.active:
        yield Trouble("slot", "degraded", f"nobody reads {slot.name}; it keeps WAL", "is the process `cdc` there?")
    elif slot.status != "reserved":
        yield Trouble("slot", "degraded", f"{slot.name} is {slot.status}: it will be given up soon", page)
    for table in slot.stopped_tables:
        yield Trouble(f"table {table}", "degraded", "stopped: its changes are not captured", "`adriatic cdc status`")


def judge_browser(parts: Sequence[PartAssessment]) -> Check | None:
    """Whether the processes that crawl have a browser that starts: the worst of them. None where none of them runs
    here."""
    workers = [row for row in parts if row.name == CRAWLER or row.name.startswith(f"{CRAWLER}-")]
    found = [_judge_one_browser(row) for row in workers]
    return min(found, key=lambda check: RANK[check.verdict], default=None)


def _judge_one_browser(row: PartAssessment) -> Check:
    fact = row.facts.get("browser")
    if not isinstance(fact, dict):
        return Check(BROWSER, "unknown", f"{row.name} does not say whether it has one")
    state, detail = fact.get("state"), fact.get("detail")
    if state == "off":
        return Check(BROWSER, "ok", "off: pages whose text scripts make are not rendered (crawler.browser)")
    if state == "failing":
        return Check(BROWSER, "degraded", f"none that renders pages: {detail}")
    if state != "ready":
        return Check(BROWSER, "unknown", str(detail or "nobody knows whether it starts"))
    pages = fact.get("pages")
    counted = sorted(pages.items()) if isinstance(pages, dict) else []
    came = ", ".join(f"{count} {outcome}" for outcome, count in counted) or "none to render yet"
    return Check(BROWSER, "ok", f"starts; pages since {row.name} did: {came}")


def disk(name: str, free_bytes: int, total_bytes: int) -> Check:
    """Whether a disk has room."""
    share = free_bytes / total_bytes if total_bytes else 0.0
    low = share < DISK_SHARE_MIN or free_bytes < DISK_BYTES_MIN
    detail = f"{free_bytes / 1e9:.1f} of {total_bytes / 1e9:.1f} GB free ({share:.0%})"
    return Check(name, "degraded" if low else "ok", detail)
