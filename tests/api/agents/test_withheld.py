"""Tasks of agents, read after what they had read was deleted: results, transcripts, proposals, and those at work."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.agents.withholding import find_sources, note, read_note
from runtime.settings import Settings
from tests.api.agents.world import Agency, Call, Turn, agency
from tests.api.search.corpus import Corpus

WORD = "zirconium"
TEXT = f"# Refine {WORD}\n\n## Decision\n\nThe {WORD} of the harbour is refined.\n"
LIST: Call = ("list_adrs", {"title": "Nobody"})
SEARCH: Call = ("search_adrs", {"query": "refined harbour", "documents": True, "limit": 1})
PROPOSE: Call = (
    "propose_adr",
    {"title": f"On {WORD}", "body": f"# On {WORD}\n\nIt is.\n", "reason": f"The {WORD} says so.", "log": "main"},
)
TAG: Call = ("propose_tag", {"adr": "ADR-7", "tag": WORD, "reason": "It is near."})
TURNS: list[Turn] = [[LIST], [SEARCH], [("read_adr", {"adr": WORD}), PROPOSE, TAG], f"It is the {WORD}."]
TOOLS = ["list_adrs", "search_adrs", "read_adr", "propose_adr", "propose_tag", "sub_task", "adr_history", "diff_adr"]


def write(made: Agency, kind: str) -> UUID:
    tenant = made.caller.tenant_id
    if kind == "adr":
        return made.corpus.adr(tenant, f"Refine {WORD}", TEXT, number=9, log="main")
    return made.corpus.document(tenant, f"Refine {WORD}", TEXT, version=1)


async def take_away(made: Agency, kind: str, source: UUID) -> None:
    if kind == "adr":
        deleted = await made.caller.delete(f"/v1/adrs/{source}", headers={"if-match": "*"})
        assert deleted.status_code in (200, 204), deleted.text
        return
    made.corpus.connection.execute(
        "insert into app.document_versions (tenant_id, document_id, version, kind, origin, title, media_type, uri, "
        "body, effective_at) values (%s, %s, 2, 'delete', 'upload', '', 'text/markdown', '', '', now())",
        [made.caller.tenant_id, source],
    )


async def tell(made: Agency, task_id: str) -> str:
    """All that a person is shown of a task."""
    found = [
        await made.read(task_id),
        await made.steps(task_id),
        await made.proposals(),
    ]
    listed = await made.caller.get("/v1/agents/tasks")
    return json.dumps([*found, listed.json()])


@pytest.mark.stack
@pytest.mark.parametrize("kind", ["adr", "document"])
async def test_a_transcript_ends_where_it_read_what_is_gone(
    fresh_database: Settings, corpus: Corpus, kind: str
) -> None:
    async with agency(fresh_database, corpus, TURNS) as made:
        source = write(made, kind)
        task = await made.run("What is refined?", tools=TOOLS)
        assert task["state"] == "succeeded", task["last_error"]
        before = await made.steps(task["task_id"])
        assert WORD in await tell(made, task["task_id"])
        await take_away(made, kind, source)
        assert WORD not in await tell(made, task["task_id"])
        after = await made.read(task["task_id"])
        assert (after["goal"], after["withdrawn"], after["spent"]) == ("What is refined?", 1, task["spent"])
        assert (after["result"]["text"], after["result"]["consulted"]) == ("", [])
        assert after["result"]["proposals"] == task["result"]["proposals"]
        steps = await made.steps(task["task_id"])
        read_at = next(step["number"] for step in before if step["name"] == "search_adrs")
        assert steps[: read_at - 1] == before[: read_at - 1], "what came before stands"
        assert {step["withdrawn"] for step in steps[read_at - 1 :]} == {True}
        kept = ("number", "kind", "name", "state", "attempt_id", "begun_at", "finished_at")
        assert [[step[name] for name in kept] for step in steps] == [[step[name] for name in kept] for step in before]
        for proposal in await made.proposals():
            assert (proposal["content"], proposal["reason"], proposal["withdrawn"]) == ({}, "", 1)
            path = f"/v1/agents/proposals/{proposal['proposal_id']}"
            refused = await made.caller.post(f"{path}/accept", None)
            assert (refused.status_code, refused.json()["code"]) == (410, "gone")
            assert WORD not in (await made.caller.get(path)).text
            assert (await made.caller.post(f"{path}/dismiss", None)).json()["state"] == "dismissed"


@pytest.mark.stack
async def test_restored_it_is_shown_again_and_a_new_version_takes_nothing(
    fresh_database: Settings, corpus: Corpus
) -> None:
    async with agency(fresh_database, corpus, TURNS) as made:
        source = write(made, "adr")
        task = await made.run("What is refined?", tools=TOOLS)
        whole = await tell(made, task["task_id"])
        changed = await made.caller.patch(f"/v1/adrs/{source}", {"body": "# Else\n\nElse.\n", "expected_version": 1})
        assert changed.status_code == 200, changed.text
        assert await tell(made, task["task_id"]) == whole
        await take_away(made, "adr", source)
        made.corpus.adr(made.caller.tenant_id, f"Refine {WORD}", TEXT, number=10, log="main")
        assert WORD not in await tell(made, task["task_id"])
        restored = await made.caller.post(f"/v1/adrs/{source}/restore", {"expected_version": 3})
        assert restored.status_code == 200, restored.text
        assert await tell(made, task["task_id"]) == whole
        # The proposals outlive the task, and still know what they stand on.
        assert (await made.caller.delete(f"/v1/agents/tasks/{task['task_id']}")).status_code == 204
        await take_away(made, "adr", source)
        assert {proposal["withdrawn"] for proposal in await made.proposals()} == {1}


@pytest.mark.stack
async def test_what_a_task_at_work_has_read_ends_it_with_its_sub_tasks(
    fresh_database: Settings, corpus: Corpus
) -> None:
    part = f"Say more of the {WORD}."
    turns: list[Turn] = [[SEARCH], [("sub_task", {"goal": part})], f"It is the {WORD}."]
    async with agency(fresh_database, corpus, turns) as made:
        made.fake.hangs_for = {part}
        source = write(made, "adr")
        task_id = await made.submit("What is refined?", tools=TOOLS)
        begun = (
            "select task_id from app.agent_tasks join app.agent_steps using (tenant_id, task_id) where parent_id = $1"
        )
        await made.soon(begun, task_id)
        ((child_id,),) = await made.rows(begun, task_id)
        assert (await made.read(str(child_id)))["goal"] == part
        await take_away(made, "adr", source)
        assert (await made.read(str(child_id)))["goal"] == "", "a model wrote it, of what it had read"
        task = await made.ended(task_id)
        assert (task["state"], task["last_error"]["code"]) == ("failed", "gone")
        assert (await made.ended(str(child_id)))["state"] in ("cancelled", "failed")
        assert WORD not in await tell(made, str(child_id))


@pytest.mark.stack
async def test_what_a_sub_task_read_is_what_its_parent_stands_on(fresh_database: Settings, corpus: Corpus) -> None:
    part = "Look for what is refined."
    async with agency(fresh_database, corpus, [[("sub_task", {"goal": part})], f"It is the {WORD}."]) as made:
        made.fake.by_goal = {part: [[SEARCH], [PROPOSE], f"The {WORD}."]}
        source = write(made, "adr")
        task = await made.run("What?", tools=TOOLS)
        assert task["state"] == "succeeded", task["last_error"]
        await take_away(made, "adr", source)
        assert WORD not in await tell(made, task["task_id"])
        (child,) = await made.rows("select task_id from app.agent_tasks where parent_id = $1", task["task_id"])
        shown = await made.read(str(child["task_id"]))
        assert (shown["goal"], shown["result"]["text"]) == (part, ""), "the goal was written before it was read"


@pytest.mark.stack
async def test_a_tool_gives_nothing_of_what_is_deleted(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, ["So."]) as made:
        source = write(made, "adr")
        calls: list[Call] = [(name, {"adr": str(source)}) for name in ("adr_history", "diff_adr", "read_adr")]
        await made.caller.patch(f"/v1/adrs/{source}", {"body": TEXT + "More.\n", "expected_version": 1})
        await take_away(made, "adr", source)
        made.fake.turns = [calls, "Nothing."]
        task = await made.run("What was it?", tools=TOOLS)
        assert (task["state"], task["withdrawn"]) == ("succeeded", 0)
        tools = [step for step in await made.steps(task["task_id"]) if step["kind"] == "tool"]
        assert [step["output"]["error"]["code"] for step in tools] == ["gone"] * 3
        assert WORD not in json.dumps([made.fake.bodies, tools])


@pytest.mark.stack
async def test_another_tenants_delete_takes_nothing(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, TURNS) as made:
        source = write(made, "document")
        task = await made.run("What is refined?", tools=TOOLS)
        whole = await tell(made, task["task_id"])
        other = await made.world.tenant()
        made.corpus.connection.execute(
            "insert into app.document_versions (tenant_id, document_id, version, kind, origin, title, media_type, "
            "uri, body, effective_at) values (%s, %s, 2, 'delete', 'upload', '', 'text/markdown', '', '', now())",
            [other.tenant_id, source],
        )
        assert await tell(made, task["task_id"]) == whole


def test_sources_are_found_wherever_a_result_names_them() -> None:
    one, two, three = (uuid4() for _ in range(3))
    given: dict[str, Any] = {
        "passages": [
            {"kind": "document", "source_id": str(one), "text": "adr_id"},
            {"kind": "page", "source_id": None},
        ],
        "links": {"incoming": [{"adr_id": str(two), "kind": "supersedes"}]},
        "pages": [{"page_id": str(three)}],
    }
    assert list(find_sources(given)) == [("document", one), ("adr", two), ("page", three)]
    assert read_note(note([("document", one), ("adr", two), ("document", one)])) == [("document", one), ("adr", two)]
    assert read_note(None) == []
    assert list(find_sources("adr")) == []
