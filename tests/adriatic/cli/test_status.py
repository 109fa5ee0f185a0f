"""The operator's screen: what it looks like, that it never hangs, and how it ends."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from adriatic.cli import cli
from adriatic.cli import status as command
from adriatic.cli.status_view import render
from adriatic.supervisor.assessment import Assessment, assess
from adriatic.supervisor.part import PartReport, SystemReport
from adriatic.watch import overview
from adriatic.watch.freshness import judge
from adriatic.watch.gateway import read_targets
from adriatic.watch.overview import Check, GatewayHealth, Overview, Spend, TargetHealth
from connectors.postgres.vector_indexes import IndexHealth
from connectors.postgres.word_segments import PackHealth, PackState
from runtime.errors import DependencyUnavailable
from schemas.pipeline import DeadLetters, GroupLag, Percentiles, Pipeline, Slot

NOW = 1_768_467_600.0
SCREENS = Path(__file__).parent / "screens"


def part(name: str, **changes: Any) -> PartReport:
    return PartReport(**{"name": name, "kind": "service", "state": "ready", "since": NOW - 300, "pid": 4711, **changes})


def parts() -> Assessment:
    report = SystemReport(
        pid=1,
        started_at=1.0,
        written_at=NOW - 1,
        begun_at=NOW - 320,
        ready_s=14.2,
        stopping=False,
        parts=[
            part("postgres", about="PostgreSQL 18, 127.0.0.1:20001"),
            part("migrate", kind="step", state="done", pid=None),
            part(
                "index",
                state="waiting",
                reasons="timed out",
                restarts=2,
                last_error="ended by 9",
                last_error_at=NOW - 90,
            ),
            part("watch", about="watcher: lag of groups, freshness of views"),
        ],
    )
    sizes = {"supervisor": 20_000_000, "postgres": 80_000_000, "index": 60_000_000, "watch": 55_000_000}
    return assess(report, {"index": "timed out", "watch": {"facts": {}}}, sizes, NOW, 15.0)


def picture() -> Pipeline:
    hour = Percentiles(1800, 0.9, 2.1, 14.0, 14.0)
    words = judge("search.words", "index", NOW, [NOW - 1.2, NOW - 1.2, NOW - 14.9, NOW - 15.1])
    return Pipeline(
        sampled_at_s=NOW - 1,
        groups=[
            GroupLag(
                group="adriatic.index",
                status="stalled",
                ours=True,
                reason="its process has not moved for 14 s",
                lag_records=1240,
                lag_s=13.9,
                trend=96.4,
                retention_share=0.114,
                members=1,
            ),
            GroupLag(
                group="analysts.a-rather-long-name-of-a-group",
                status="catching-up",
                ours=False,
                lag_records=51_200,
                lag_s=4210.0,
                trend=-310.5,
                eta_s=164.9,
                retention_share=0.87,
            ),
            GroupLag(
                group="adriatic.activity",
                status="ok",
                ours=True,
                lag_records=0,
                lag_s=0.0,
                trend=0.0,
                retention_share=0.0,
            ),
        ],
        views=[
            msgspec.structs.replace(words, last_hour=hour),
            judge("activity", "activity", NOW, [NOW - 1.2, NOW - 1.3, NOW - 1.3, NOW - 1.4]),
        ],
        dead_letters=[DeadLetters("index", "adriatic.app.adr_versions", "undecodable", 2, 1)],
        slot=Slot(
            name="adriatic",
            active=True,
            status="reserved",
            retained_bytes=1_200_000,
            safe_bytes=4_290_000_000,
            behind_s=1.2,
        ),
    )


CHECKS = [
    Check("database", "ok", "127.0.0.1:20001 answers in 4 ms"),
    Check("broker", "ok", "127.0.0.1:20002 has all 24 topics"),
    Check(
        "registry",
        "unknown",
        "the schema registry at http://127.0.0.1:20003/apis/ccompat/v7 does not answer: ReadTimeout",
    ),
    Check("disk", "ok", "75.1 of 270.6 GB free (28%)"),
]


GATEWAY = GatewayHealth(
    3,
    2,
    *(97, 3, 5),
    errors=[("overloaded", 2), ("time-out", 1)],
    targets=[TargetHealth("anthropic/claude", "closed", 3, 0), TargetHealth("openai/gpt", "half-open", 1, 12)],
)


def found(**changes: Any) -> Overview:
    spend = Spend(4, 12_300, 1)
    given = {"parts": parts(), "pipeline": picture(), "checks": CHECKS, "spend": spend, "gateway": GATEWAY, **changes}
    return overview.overview(NOW, **given)


@pytest.mark.parametrize("width", [80, 120])
def test_the_screen(width: int) -> None:
    shown = render(found(), width, colour=False)
    assert max(map(len, shown.splitlines())) <= width
    assert shown == (SCREENS / f"{width}.txt").read_text(encoding="utf-8").rstrip("\n")


def test_colour_only_repeats_what_words_say() -> None:
    coloured = render(found(), 100, colour=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == render(found(), 100, colour=False)


def test_without_a_database_nothing_is_made_up() -> None:
    checks = [Check("database", "unknown", "Postgres does not take a connection"), *CHECKS[1:]]
    shown = render(found(pipeline=None, spend=None, checks=checks), 80, colour=False)
    assert "spend today  unknown" in shown
    assert "GROUP" not in shown
    assert "none open" not in shown


def test_a_target_that_is_left_alone_needs_somebody() -> None:
    left = msgspec.structs.replace(GATEWAY, targets=[TargetHealth("openai/gpt", "open", 0, 4)])
    shown = found(gateway=left)
    assert "model openai/gpt" in [problem.what for problem in shown.problems]
    assert "openai/gpt: breaker open, 0 in flight, 4 wait" in render(shown, 100, colour=False)


def test_what_the_gateway_says_of_its_targets_is_read_from_its_metrics() -> None:
    shown = b"""# TYPE adriatic_llm_breaker_state gauge
adriatic_llm_breaker_state{target="a"} 2.0
adriatic_llm_breaker_state{target="b"} 0.0
# TYPE adriatic_llm_in_flight gauge
adriatic_llm_in_flight{target="b"} 3.0
# TYPE adriatic_llm_queue_depth gauge
adriatic_llm_queue_depth{target="b"} 7.0
"""
    assert read_targets(shown) == [TargetHealth("a", "open", 0, 0), TargetHealth("b", "closed", 3, 7)]
    assert read_targets(b"") == []


def test_a_probe_that_hangs_holds_nobody_up() -> None:
    never = threading.Event()

    def fails() -> None:
        raise DependencyUnavailable("nobody there")

    answers = command.ask({"hangs": never.wait, "fails": fails, "trips": lambda: 1 / 0, "answers": lambda: 5}, 0.3)
    never.set()
    assert answers == {
        "hangs": "no answer within 0.3 s",
        "fails": "nobody there",
        "trips": "ZeroDivisionError: division by zero",
        "answers": 5,
    }


EXTERNAL = {
    "ADRIATIC_STACK__POSTGRES": "external",
    "ADRIATIC_STACK__KAFKA": "external",
    "ADRIATIC_STACK__REGISTRY": "external",
    "ADRIATIC_POSTGRES__PORT": "1",
    "ADRIATIC_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "ADRIATIC_REGISTRY__URL": "http://127.0.0.1:1",
    "ADRIATIC_API__PORT": "1",
}


def run(home: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["status", *arguments], env={"ADRIATIC_HOME": str(home), **environment})
    return done.exit_code, done.output


def test_a_system_elsewhere_that_does_not_answer_is_unknown_with_reasons(tmp_path: Path) -> None:
    code, output = run(tmp_path, "--json", **EXTERNAL)
    shown = json.loads(output)
    assert (code, shown["verdict"], shown["supervised"]) == (3, "unknown", False)
    assert {check["name"] for check in shown["checks"]} == {"database", "broker", "registry", "api"}
    assert all(check["verdict"] == "unknown" and check["detail"] for check in shown["checks"])
    assert (shown["pipeline"], shown["spend"]) == (None, None)
    code, output = run(tmp_path, **EXTERNAL)
    assert code == 3
    assert "\x1b[" not in output, "no colour where nobody looks"
    assert "not supervised on this machine" in output


def test_what_does_not_run_is_not_well(tmp_path: Path) -> None:
    code, output = run(tmp_path)
    assert (code, output) == (3, "not running: `adriatic up` starts it\nas of " + output.rsplit("as of ", 1)[1])
    code, output = run(tmp_path, "--json")
    assert (code, json.loads(output)["verdict"]) == (3, "unknown")


def test_recall_that_is_not_known_is_not_well() -> None:
    def judged(live: int, recall: float | None, unknown: int = 0) -> tuple[str, str]:
        check = command._judge_indexes(
            IndexHealth({"filling": 0, "building": 1, "live": live}, 60_000, recall, unknown), goal=0.98
        )
        return check.verdict, check.detail

    assert judged(0, None)[0] == "ok"
    assert judged(1, None, 1) == (
        "unknown",
        "1 tenants with an index, 1 being built, 60000 passages; recall of 1 is not measured yet",
    )
    assert judged(1, 0.98)[0] == "ok"
    assert judged(1, 0.979)[0] == "degraded"


@pytest.mark.parametrize(
    ("states", "changes", "verdict", "told"),
    [
        ({"filling": 0, "live": 0}, 0, "ok", "no segments"),
        ({"filling": 2, "live": 0}, 9_000, "ok", "2 kinds get segments"),
        ({"filling": 0, "live": 1}, 2_000, "ok", "at most 2000 changes"),
        ({"filling": 0, "live": 1}, 2_001, "degraded", "a bounded part"),
    ],
)
def test_segments_that_are_far_behind_are_not_well(
    states: dict[PackState, int], changes: int, verdict: str, told: str
) -> None:
    check = command._judge_packs(PackHealth(states, changes))
    assert check.verdict == verdict
    assert told in check.detail


@pytest.mark.parametrize(
    ("states", "verdict", "told"),
    [
        ({}, "ok", "no tenant changes"),
        ({"building": 1, "ready": 2}, "ok", "1 building, 2 ready"),
        ({"behind": 1, "former": 1}, "degraded", "spaces change"),
    ],
)
def test_a_space_that_fell_behind_is_not_well(states: dict[str, int], verdict: str, told: str) -> None:
    check = command._judge_spaces(states)
    assert check.verdict == verdict
    assert told in check.detail
