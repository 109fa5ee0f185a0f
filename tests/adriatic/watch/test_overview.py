"""One word for everything: any fault makes it degraded, any silence unknown, and each fault is said once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from adriatic.supervisor.assessment import PartAssessment, assess
from adriatic.supervisor.part import PartReport, SystemReport
from adriatic.watch import overview
from adriatic.watch.freshness import judge
from adriatic.watch.overview import Check, Overview, disk, judge_browser
from schemas.pipeline import STATUSES, DeadLetters, GroupLag, Pipeline, Slot, Status, mask_stale

NOW = 1_000_000.0
WELL_SLOT = Slot(name="adriatic", active=True, status="reserved", retained_bytes=1, safe_bytes=None, behind_s=0.5)
OK = Check("database", "ok", "answers")


@dataclass
class Given:
    groups: tuple[GroupLag, ...] = ()
    views: tuple[Any, ...] = ()
    letters: tuple[DeadLetters, ...] = ()
    slot: Slot = WELL_SLOT
    checks: tuple[Check, ...] = (OK,)

    def judged(self) -> Overview:
        found = Pipeline(
            sampled_at_s=NOW, groups=self.groups, views=self.views, dead_letters=self.letters, slot=self.slot
        )
        return overview.overview(NOW, None, found, self.checks, None)


def group(status: Status, *, ours: bool = True) -> GroupLag:
    return GroupLag(group="adriatic.x" if ours else "analyst", status=status, ours=ours, reason="why")


def test_nothing_wrong_is_ok() -> None:
    assert Given(groups=(group("ok"), group("catching-up"))).judged().verdict == "ok"


@pytest.mark.parametrize("status", [status for status in STATUSES if status not in overview.WELL])
def test_a_group_of_ours_counts_and_one_of_others_does_not(status: Status) -> None:
    found = Given(groups=(group(status),)).judged()
    assert found.verdict == ("unknown" if status == "unknown" else "degraded")
    assert found.problems[0].detail == f"{status}: why"
    assert "{" not in found.problems[0].do
    assert Given(groups=(group(status, ours=False),)).judged().verdict == "ok"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "lost"}, "adriatic is lost"),
        ({"status": "missing", "active": False}, "adriatic is missing"),
        ({"active": False}, "nobody reads adriatic"),
        ({"status": "unreserved"}, "given up soon"),
        ({"stopped_tables": ["app.adrs"]}, "stopped"),
    ],
)
def test_a_slot_that_needs_somebody(changes: dict[str, Any], said: str) -> None:
    found = Given(slot=msgspec.structs.replace(WELL_SLOT, **changes)).judged()
    assert found.verdict == "degraded"
    assert said in found.problems[0].detail


def test_open_dead_letters_need_somebody_and_decided_ones_do_not() -> None:
    assert Given(letters=(DeadLetters("index", "t", "undecodable", 0, 7),)).judged().verdict == "ok"
    found = Given(letters=(DeadLetters("index", "t", "undecodable", 2, 7),)).judged()
    assert (found.verdict, found.problems[0].what) == ("degraded", "dead letters")


def test_views_that_are_held_up_at_one_place_are_one_problem() -> None:
    held = [judge(name, "f", NOW, [NOW, NOW, NOW - 30, NOW - 30 - age]) for name, age in (("a", 0.0), ("b", 2.0))]
    found = Given(views=(*held, judge("c", "g", NOW, [NOW] * 4))).judged()
    assert [(each.what, each.verdict) for each in found.problems] == [("view a, b", "degraded")]
    assert found.problems[0].detail == "stale, 32 s behind, most of it in the stage topic"


def test_a_stage_that_is_broken_is_seen_while_every_process_is_up() -> None:
    stopped = Given(views=(judge("v", "f", NOW, [NOW - 60] * 4),)).judged()
    assert (stopped.verdict, "stage wal" in stopped.problems[0].detail) == ("degraded", True)


def test_an_old_picture_is_unknown_however_good_it_was() -> None:
    old = Pipeline(sampled_at_s=NOW - 60, groups=[group("ok")], views=[judge("v", "f", NOW, [NOW] * 4)])
    found = overview.overview(NOW, None, mask_stale(old, NOW), [OK], None)
    assert found.verdict == "unknown"
    assert [each.what for each in found.problems] == ["groups"], "said once, not for every group and view"


def test_silence_is_unknown_and_a_fault_beside_it_comes_first() -> None:
    silent = Check("registry", "unknown", "no answer within 6 s")
    assert Given(checks=(OK, silent)).judged().verdict == "unknown"
    both = Given(checks=(OK, silent), groups=(group("stalled"),)).judged()
    assert both.verdict == "degraded"
    assert [each.what for each in both.problems] == ["adriatic.x", "registry"]
    assert both.summary == "degraded: adriatic.x"


def test_a_process_and_what_it_causes_are_both_said_the_process_first() -> None:
    waiting = PartReport(name="index", kind="service", state="waiting", since=1.0, pid=7, reasons="kafka: away")
    report = SystemReport(
        pid=1, started_at=1.0, written_at=NOW, begun_at=1.0, ready_s=3.0, stopping=False, parts=[waiting]
    )
    parts = assess(report, {"index": {"facts": {"dead_letters": 2}}}, {}, NOW, 15.0)
    found = overview.overview(
        NOW, parts, Pipeline(sampled_at_s=NOW, groups=[group("slow")], slot=WELL_SLOT), [OK], None
    )
    assert [each.what for each in found.problems] == ["index", "adriatic.x"]
    assert found.problems[0].do == "`adriatic logs index`"


@pytest.mark.parametrize(
    ("free", "total", "verdict"),
    [(500e9, 1000e9, "ok"), (40e9, 1000e9, "degraded"), (1e9, 10e9, "degraded"), (0, 0, "degraded")],
)
def test_a_disk_without_room(free: float, total: float, verdict: str) -> None:
    assert disk("disk", int(free), int(total)).verdict == verdict


@pytest.mark.parametrize(
    ("facts", "verdict", "said"),
    [
        ({"browser": {"state": "off", "detail": ""}}, "ok", "off: "),
        (
            {"browser": {"state": "ready", "pages": {"rendered": 3, "memory": 1}}},
            "ok",
            "jobs did: 1 memory, 3 rendered",
        ),
        ({"browser": {"state": "ready", "pages": {}}}, "ok", "none to render yet"),
        ({"browser": {"state": "failing", "detail": "it is not there"}}, "degraded", "it is not there"),
        ({"browser": {"state": "unknown", "detail": "no browser was started yet"}}, "unknown", "was started yet"),
        ({"browser": {"state": "splendid"}}, "unknown", "nobody knows"),
        ({"browser": "unknown"}, "unknown", "does not say"),
        ({}, "unknown", "does not say"),
    ],
)
def test_a_browser_that_nobody_saw_start_is_not_well(facts: dict[str, Any], verdict: str, said: str) -> None:
    check = judge_browser([worker("jobs", facts)])
    assert check is not None
    assert (check.verdict, said in check.detail) == (verdict, True), check


def test_of_several_workers_the_one_without_a_browser_is_told() -> None:
    ready: dict[str, Any] = {"browser": {"state": "ready", "pages": {}}}
    gone: dict[str, Any] = {"browser": {"state": "failing", "detail": "it is gone"}}
    check = judge_browser([worker("jobs", ready), worker("jobs-2", gone), worker("jobs-3", {})])
    assert check is not None
    assert (check.verdict, "it is gone" in check.detail) == ("degraded", True)
    assert judge_browser([worker("index", {})]) is None, "nobody crawls on this machine"


def worker(name: str, facts: dict[str, Any]) -> PartAssessment:
    told = PartReport(name=name, kind="service", state="ready", since=1.0, pid=7)
    report = SystemReport(
        pid=1, started_at=1.0, written_at=NOW, begun_at=1.0, ready_s=3.0, stopping=False, parts=[told]
    )
    (found,) = assess(report, {name: {"facts": facts}}, {}, NOW, 15.0).parts
    return found
