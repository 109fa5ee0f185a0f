"""`POST /v1/decisions/check` on a real database: what is cited, what governs, and whose."""

from __future__ import annotations

from typing import Any

import pytest

from api.guard import service
from api.guard.breaking import CONFIDENCE
from api.guard.schemas import CHANGE_CHARS_MAX
from tests.api.search.corpus import Corpus
from tests.api.world import Caller, World

pytestmark = pytest.mark.stack

OLD = "# Write to both the table and the topic\n\nThe service publishes events after its commit.\n"
NEW = "# Events leave by the log\n\n## Decision\n\nNobody publishes events by itself: an outbox row is the event.\n"
QUEUE = """# Work waits in rows

## Considered Options

- Rows that workers lock
- Tasks in Celery after the commit

## Decision

Workers lock rows, of at most 50 kB (`row_bytes_max`).
"""
PDF = "# Render invoices as PDF\n\n## Decision\n\nInvoices are rendered as PDF with a headless browser.\n"


def diff(*lines: str, path: str = "src/orders.py") -> str:
    added = "".join(f"+{line}\n" for line in lines)
    return f"--- a/{path}\n+++ b/{path}\n@@ -7,0 +8,{len(lines)} @@\n{added}"


async def check(caller: Caller, change: str, **more: Any) -> dict[str, Any]:
    answer = await caller.post("/v1/decisions/check", {"change": change, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def cited(found: dict[str, Any]) -> list[tuple[str, str, int]]:
    return [(each["decision"]["label"], each["by"], each["place"]["line"]) for each in found["cited"]]


@pytest.fixture
async def decided(private: World, corpus: Corpus) -> Caller:
    """A tenant in whose log ADR-2 superseded ADR-1, beside something else."""
    caller = await private.tenant()
    corpus.log(caller.tenant_id, "main")
    title = "Write to both the table and the topic"
    old = corpus.adr(caller.tenant_id, title, OLD, number=1, status="superseded", log="main")
    new = corpus.adr(caller.tenant_id, "Events leave by the log", NEW, number=2, log="main")
    corpus.adr(caller.tenant_id, "Render invoices as PDF", PDF, number=3, log="main")
    await caller.put(f"/v1/adrs/{new}/links", {"kind": "supersedes", "target": str(old)})
    return caller


async def test_a_citation_of_what_does_not_hold_is_told_with_its_place(decided: Caller) -> None:
    found = await check(decided, diff("x = 1", "# As ADR-1 says, publish after the commit", "# As ADR-2 says"))
    (one,) = found["cited"]
    assert one["place"] == {"path": "src/orders.py", "line": 9, "text": "# As ADR-1 says, publish after the commit"}
    assert one["by"] == "number"
    assert one["decision"]["status"] == "superseded"
    assert [each["address"] for each in one["superseded_by"]] == ["adr://main/2"]
    assert one["reason"] == "ADR-1 is superseded; see ADR-2 Events leave by the log"
    assert (found["lines"], found["files"], found["topics"]) == (3, 1, 1)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("see adr://main/1", [("ADR-1", "number", 8)]),
        ("see docs/adr/0001-write-to-both.md", [("ADR-1", "file", 8)]),
        ("we write to both  the TABLE and the topic here", [("ADR-1", "title", 8)]),
        ("This supersedes ADR-1", []),
        ("see ADR-2, ADR-3 and ADR-99", []),
        ("see adr://other/1", []),
    ],
)
async def test_what_names_a_record(decided: Caller, line: str, told: list[tuple[str, str, int]]) -> None:
    assert cited(await check(decided, diff(line), limit=0)) == told


async def test_a_file_of_another_name_is_another_record(decided: Caller, private: World) -> None:
    async with private.admin() as admin:
        await admin.execute(
            "update app.adr_versions set source_key = 'docs/adr/0001-write-to-both.md' where tenant_id = $1 "
            "and status = 'superseded'",
            decided.tenant_id,
        )
    assert cited(await check(decided, diff("0001-write-to-both.md"), limit=0)) == [("ADR-1", "file", 8)]
    assert cited(await check(decided, diff("0001-release-notes.md"), limit=0)) == []


async def test_a_number_that_another_log_has_too_is_nothing_to_tell(decided: Caller, corpus: Corpus) -> None:
    corpus.log(decided.tenant_id, "other")
    corpus.adr(decided.tenant_id, "Something that holds", "# Something that holds\n", number=1, log="other")
    assert cited(await check(decided, diff("see ADR-1"), limit=0)) == []
    assert cited(await check(decided, diff("see ADR-1"), limit=0, log="main")) == [("ADR-1", "number", 8)]
    unknown = await decided.post("/v1/decisions/check", {"change": "x", "log": "nowhere"})
    assert unknown.status_code == 400
    assert "nowhere" in unknown.json()["detail"]


async def test_what_holds_and_speaks_of_the_change_comes_first(decided: Caller) -> None:
    change = diff("def save(order):", "    commit()", "    publish_events(order)", path="src/publish_events.py")
    change += diff("def render_invoice():", "    return browser.pdf()", path="src/invoices.py")
    found = await check(decided, change)
    labels = [each["decision"]["label"] for each in found["governing"]]
    assert set(labels[:2]) == {"ADR-2", "ADR-3"}
    assert "ADR-1" not in labels, "it does not hold"
    best = {each["decision"]["label"]: each for each in found["governing"]}
    assert "publishes events by itself" in best["ADR-2"]["passage"]
    assert "src/publish_events.py" in best["ADR-2"]["near_to"]
    assert "event" in best["ADR-2"]["reason"]
    assert found["as_of"]["words"]["state"]
    assert (await check(decided, change, limit=1))["governing"] == found["governing"][:1]


async def test_what_a_change_seems_to_break_is_told_with_what_the_decision_says(
    decided: Caller, corpus: Corpus
) -> None:
    corpus.adr(decided.tenant_id, "Work waits in rows", QUEUE, number=4, log="main")
    change = diff("from celery import shared_task", "", "row_bytes_max = 1024 * 1024", path="src/tasks.py")
    for limit in (5, 0):
        found = await check(decided, change, limit=limit)
        one, other = found["seems_to_break"]
        assert one["decision"]["label"] == other["decision"]["label"] == "ADR-4"
        assert one["place"] == {"path": "src/tasks.py", "line": 8, "text": "from celery import shared_task"}
        assert (one["evidence"], one["likelihood"], one["confidence"]) == ("import", "likely", CONFIDENCE["import"])
        assert (one["heading"], one["passage"]) == ("Considered Options", "Tasks in Celery after the commit")
        assert other["reason"] == "sets row_bytes_max to 1.04858e+06, and the decision says at most 50000"
        assert found["as_of"]["words"]["state"]
    assert (await check(decided, diff("# no celery here", "import uuid")))["seems_to_break"] == []


async def test_a_decision_that_does_not_hold_is_not_broken(decided: Caller, corpus: Corpus) -> None:
    for number, status in ((10, "superseded"), (11, "proposed")):
        corpus.adr(decided.tenant_id, "Work waits in rows", QUEUE, number=number, status=status, log="main")
    assert (await check(decided, diff("import celery")))["seems_to_break"] == []
    corpus.adr(decided.tenant_id, "Work waits in rows", QUEUE, number=12, log="main")
    corpus.log(decided.tenant_id, "other")
    (one,) = (await check(decided, diff("import celery")))["seems_to_break"]
    assert one["decision"]["label"] == "ADR-12"
    assert (await check(decided, diff("import celery"), log="other"))["seems_to_break"] == []


async def test_nothing_of_another_tenant_is_told(decided: Caller, private: World, corpus: Corpus) -> None:
    other = await private.tenant()
    corpus.log(other.tenant_id, "main")
    corpus.adr(other.tenant_id, "Theirs alone", "# Theirs alone\n\nThey publish events.\n", number=9, log="main")
    change = diff("see ADR-1 and adr://main/1: write to both the table and the topic", "publish_events()")
    change += diff("import celery")
    corpus.adr(decided.tenant_id, "Work waits in rows", QUEUE, number=4, log="main")
    ours = await check(decided, change)
    assert cited(ours)
    assert ours["seems_to_break"]
    theirs = await check(other, change)
    assert (theirs["cited"], theirs["seems_to_break"]) == ([], [])
    assert {each["decision"]["label"] for each in theirs["governing"]} == {"ADR-9"}


async def test_a_change_has_a_bound(decided: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    large = await decided.post("/v1/decisions/check", {"change": "é" * (CHANGE_CHARS_MAX + 1)})
    assert large.status_code == 400
    assert str(CHANGE_CHARS_MAX) in large.json()["detail"]
    assert (await check(decided, "é " * (CHANGE_CHARS_MAX // 2)))["lines"] == 1
    monkeypatch.setattr(service, "CHECK_S_MAX", 0.0)
    late = await decided.post("/v1/decisions/check", {"change": "x"})
    assert (late.status_code, late.json()["code"]) == (503, "dependency-unavailable")


async def test_a_search_without_meaning_says_so(decided: Caller, private: World) -> None:
    async with private.admin() as admin:
        await admin.execute("update mv.embedding_spaces set active = false")
        await admin.execute(
            "insert into mv.embedding_spaces (space, provider, model, revision, dimension, active) "
            "values ('another', 'x', 'x', 'x', 16, true)"
        )
    found = await check(decided, diff("publish_events()"))
    assert [each["arm"] for each in found["degraded"]] == ["meaning"]
    assert {each["support"] for each in found["governing"]} == {"words"}
