"""What agents propose is written when a person accepts it, once, as a change of that person's own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runtime.settings import Settings
from tests.api.agents.world import Agency, Call, agency
from tests.api.search.corpus import Corpus

pytestmark = pytest.mark.stack

CALLS: list[Call] = [
    ("propose_tag", {"adr": "ADR-1", "tag": "writes", "reason": "It is about writes."}),
    ("propose_link", {"adr": "ADR-7", "kind": "relates-to", "target": "adr://main/1", "reason": "Both test."}),
    (
        "propose_adr",
        {"title": "One log", "body": "# One log\n\n## Decision\n\nOne.\n", "reason": "Nobody says so.", "log": "new"},
    ),
]
TOOLS = ["propose_tag", "propose_link", "propose_adr"]


async def answer(made: Agency, proposal: dict[str, Any], verb: str) -> Any:
    return await made.caller.post(f"/v1/agents/proposals/{proposal['proposal_id']}/{verb}", None)


async def test_each_kind_is_written_once_when_it_is_accepted(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, [CALLS, "Done."]) as made:
        await made.caller.post("/v1/logs", {"slug": "new", "name": "New"})
        task = await made.run(tools=TOOLS)
        assert len(task["result"]["proposals"]) == 3
        proposals = {each["kind"]: each for each in await made.proposals(state="open", task_id=task["task_id"])}
        assert set(proposals) == {"tag", "link", "adr"}
        for each in proposals.values():
            both = await asyncio.gather(answer(made, each, "accept"), answer(made, each, "accept"))
            assert [response.status_code for response in both] == [200, 200], both[0].text
            assert {response.json()["state"] for response in both} == {"accepted"}
            assert both[0].json()["became_id"] == both[1].json()["became_id"]
            assert (await answer(made, each, "dismiss")).status_code == 409
        tags = await made.caller.get(f"/v1/adrs/{proposals['tag']['adr_id']}/tags")
        assert "writes" in tags.text
        links = await made.caller.get(f"/v1/adrs/{proposals['link']['adr_id']}/links")
        assert links.json()["outgoing"][0]["kind"] == "relates-to"
        (made_adr,) = await made.rows("select adr_id, title from app.adrs where title = 'One log'")
        (version,) = await made.rows("select message from app.adr_versions where adr_id = $1", made_adr["adr_id"])
        assert version["message"] == "Proposed by an agent: Nobody says so."
        assert await made.proposals(state="open") == []


async def test_what_is_dismissed_is_not_written(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, [CALLS, "Done."]) as made:
        await made.run(tools=TOOLS)
        for each in await made.proposals():
            assert (await answer(made, each, "dismiss")).json()["state"] == "dismissed"
            assert (await answer(made, each, "dismiss")).status_code == 200
            assert (await answer(made, each, "accept")).status_code == 409
        assert await made.rows("select from app.adrs where title = 'One log'") == []
        assert await made.rows("select from app.adr_tags where tag = 'writes'") == []


async def test_a_proposal_outlives_its_task_and_not_its_record(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, [CALLS, "Done."]) as made:
        task = await made.run(tools=TOOLS)
        assert (await made.caller.delete(f"/v1/agents/tasks/{task['task_id']}")).status_code == 204
        proposals = {each["kind"]: each for each in await made.proposals()}
        assert len(proposals) == 3
        gone = await made.caller.delete(f"/v1/adrs/{proposals['tag']['adr_id']}", headers={"if-match": "*"})
        assert gone.status_code in (200, 204), gone.text
        assert (await answer(made, proposals["tag"], "accept")).status_code == 410
