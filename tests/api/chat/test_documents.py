"""An answer stands on ADRs and on documents alike, and its sources are there before its text, also after a cut."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connectors.llm.sse import SseDecoder
from runtime.settings import Settings
from tests.api.chat.test_routes import chatting, idle, openai
from tests.api.search.corpus import Corpus
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import standing_in

pytestmark = pytest.mark.stack

ADR = "# Nobody writes twice\n\n## Context\n\nA dual write fails in the middle.\n"
DOCUMENT = "# Runbook\n\n## Dual writes\n\nWhoever finds a dual write tells the team of the ledger.\n"
THEIRS = "# Their runbook\n\nA dual write of somebody else: buy the moon.\n"


async def test_documents_are_sources_like_adrs_and_survive_a_cut(fresh_database: Settings, corpus: Corpus) -> None:
    async with standing_in() as server, chatting(fresh_database, **openai(server)) as world:
        caller, other = await world.tenant(), await world.tenant()
        corpus.log(caller.tenant_id, "default")
        corpus.adr(caller.tenant_id, "Nobody writes twice", ADR, number=2)
        document_id = corpus.document(caller.tenant_id, "Runbook", DOCUMENT)
        corpus.document(other.tenant_id, "Their runbook", THEIRS)
        text = "Tell the team of the ledger [1], since it fails [2]."
        server.script = [recorded.OPENAI_START, recorded.openai_text(text), recorded.OPENAI_END]

        response = await caller.post("/v1/chat/stream", {"question": "Whom do I tell of a dual write?"})
        assert response.status_code == 200, response.text
        events = [*SseDecoder().feed(response.content)]
        names = [event.name for event in events]
        assert names[:3] == ["start", "sources", "delta"], "before the first text"
        sources: list[dict[str, Any]] = json.loads(events[1].data)["sources"]
        (found,) = (source for source in sources if source["kind"] == "document")
        assert {source["kind"] for source in sources} == {"adr", "document"}
        assert (found["source_id"], found["title"], found["label"]) == (str(document_id), "Runbook", None)
        assert found["document"]["origin"] == "upload"
        assert "tells the team" in DOCUMENT[found["char_start"] : found["char_end"]]
        asked = json.dumps(server.requests[-1])
        assert "tells the team of the ledger" in asked
        assert "moon" not in asked
        assert sorted(json.loads(events[names.index("citations")].data)["cited"]) == [1, 2]

        # Whoever was cut behind the very first event gets them too, before any text.
        answer_id = json.loads(events[0].data)["answer_id"]
        path = f"/v1/chat/answers/{answer_id}/stream"
        rest = await caller.get(path, headers={"last-event-id": events[0].id})
        assert rest.status_code == 200, rest.text
        again = [*SseDecoder().feed(rest.content)]
        assert [(event.name, event.data, event.id) for event in again] == [
            (event.name, event.data, event.id) for event in events[1:]
        ]
        await idle(world)
