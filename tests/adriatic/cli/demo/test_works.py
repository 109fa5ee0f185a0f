"""The acts that are work of its own, against an API that answers as told: what was not done as promised is said."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from adriatic.cli.demo import story, works
from connectors.parsers import Limits
from tests.adriatic.cli.demo.test_stage import stage

BODY = "# One log\n\nA dual write *fails* in the middle."
CLAIM = {"text": "A dual write fails in the middle.", "source": 1, "char_start": 11, "char_end": len(BODY)}
SOURCE = {"number": 1, "kind": "adr", "version": 2, "path": "/v1/adrs/a"}
ANSWERED = {"answered": True, "sources": [SOURCE], "parts": [{"claims": [CLAIM]}, {"claims": []}]}
UNANSWERED: dict[str, Any] = {"answered": False, "sources": [], "parts": []}
READ = {"pages": 1, "confidence": 0.97}
GAP = {"code": "unread-pages", "pages": [[2, 2]]}


def test_the_scan_has_a_page_that_can_be_read_and_one_that_is_never_unpacked() -> None:
    content = works.draw_scan(story.day().scan.lines)
    assert len(content) < 100_000
    with Image.open(io.BytesIO(content)) as scan:
        sizes = []
        for number in range(2):
            scan.seek(number)
            sizes.append(scan.size[0] * scan.size[1])
    assert sizes[0] < Limits().pixels_max < sizes[1]
    assert any(story.day().scan.sought in line for line in story.day().scan.lines)


def test_a_scan_is_found_on_its_page_and_read_again_by_one_page(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        if request.url.path == "/v1/search":
            return httpx.Response(200, json={"hits": [{"source_id": "s", "chunk": {"pages": [1, 1]}}]})
        if request.url.path.startswith("/v1/jobs"):
            return httpx.Response(200, json={"state": "succeeded", "total": 2})
        document = {"state": "partial", "gaps": [GAP], "recognised": READ, "job_id": "j"}
        return httpx.Response(200, json=document)

    with stage(tmp_path, answer) as now:
        now.facts["scan_id"] = "s"
        facts = works.await_scan(now)
        assert (facts["state"], facts["read"], facts["without"]) == ("partial", 1, "page 2 (unread-pages)")
        assert now.faults == ["the retry read 2 pages, and should read the one that failed"]
    assert "POST /v1/documents/s/retry" in asked


@pytest.mark.parametrize(("state", "gaps"), [("processed", []), ("refused", [GAP]), ("partial", [GAP | {"pages": []}])])
def test_a_scan_that_ends_otherwise_is_a_fault(tmp_path: Path, state: str, gaps: list[Any]) -> None:
    document = {"state": state, "gaps": gaps, "recognised": READ}
    with stage(tmp_path, lambda _: httpx.Response(200, json=document)) as now:
        now.facts["scan_id"] = "s"
        works.await_scan(now)
        (fault,) = now.faults
        assert fault.startswith(f"the scan is {state}")


def researched(body: str, second: dict[str, Any]) -> Any:
    """Answers to the two questions, and the version that is cited."""

    def answer(request: httpx.Request) -> httpx.Response:
        if "/versions/2" in request.url.path:
            return httpx.Response(200, json={"body": body})
        if request.method == "POST":
            known = b"scanner" in request.content
            return httpx.Response(201, json={"research_id": "known" if known else "unknown"})
        result = ANSWERED if request.url.path.endswith("/known") else second
        return httpx.Response(200, json={"state": "succeeded", "finished_at": "now", "result": result})

    return answer


def test_each_quote_is_opened_where_it_is_said_to_stand(tmp_path: Path) -> None:
    with stage(tmp_path, researched(BODY, UNANSWERED)) as now:
        facts = works.look_into(now)
        assert (facts["parts"], facts["quotes"], facts["opened_and_there"]) == (2, 1, 1)
        assert now.faults == []


def test_a_quote_of_another_text_and_an_answer_to_what_nobody_wrote_are_faults(tmp_path: Path) -> None:
    with stage(tmp_path, researched(BODY.replace("dual", "second"), ANSWERED)) as now:
        works.look_into(now)
        assert now.faults == [
            "1 of 1 quotes do not stand where they are said to",
            "a question that the records do not hold was answered",
        ]


def test_research_that_fails_is_a_fault_and_the_day_goes_on(tmp_path: Path) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        failed = {"research_id": "r", "state": "failed", "finished_at": "now", "result": None}
        return httpx.Response(200, json=failed)

    with stage(tmp_path, fail) as now:
        works.look_into(now)
        assert "is failed, and was not answered in parts" in now.faults[0]


@pytest.mark.parametrize(
    ("state", "consulted", "second", "faults"),
    [
        ("succeeded", ["adr://main/1"], "done", []),
        ("succeeded", [], "done", ["the task read [], with 2 of 2 steps done"]),
        ("succeeded", ["adr://main/1"], "failed", ["the task read ['adr://main/1'], with 1 of 2 steps done"]),
        ("failed", ["adr://main/1"], "done", ["the task failed: {'code': 'bound'}"]),
    ],
)
def test_a_task_is_what_its_steps_say(
    tmp_path: Path, state: str, consulted: list[str], second: str, faults: list[str]
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/steps"):
            steps = [{"kind": "tool", "state": "done"}, {"kind": "model", "state": second}]
            return httpx.Response(200, json={"items": steps, "more": False})
        task = {"task_id": "t", "plan": "quotes", "steps": 2, "finished_at": "now", "last_error": {"code": "bound"}}
        return httpx.Response(200, json=task | {"state": state, "result": {"consulted": consulted}})

    with stage(tmp_path, answer) as now:
        now.facts["attempts"] = 3
        works.give_task(now)
        assert now.faults == faults
        assert now.facts["attempts"] == 3 + (second == "done")
