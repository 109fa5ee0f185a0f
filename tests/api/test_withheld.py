"""Answers that are kept, read after what they stand on was deleted: by each reader, and what is left of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.chat.conversations import RememberedTurn
from api.chat.encoding import StoredEvent, store
from api.chat.grounding import BEFORE_MAX, Grounding
from api.chat.schemas import (
    Citations,
    ReasoningDelta,
    Source,
    Sources,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    ToolRun,
)
from api.chat.withholding import stands_on, withhold
from runtime.settings import Settings
from tests.api.chat.test_cache import data_of, events_of, settled, whole
from tests.api.chat.test_routes import chatting, openai
from tests.api.search.corpus import Corpus
from tests.api.world import Caller, World
from tests.connectors.llm.stand_in import StandIn, standing_in

WORD = "zirconium"
TEXT = f"# Refine {WORD}\n\n## Decision\n\nThe anchor holds, says the {WORD} of the harbour.\n"
ANCHOR = "# The anchor\n\n## Decision\n\nThe anchor holds in the harbour, and stays.\n"
QUESTION = "What says that the anchor holds in the harbour?"
OF_THE_ANCHOR = "What stays?"


@pytest.fixture
async def provider() -> AsyncIterator[StandIn]:
    async with standing_in() as standing:
        # It cites the anchor alone, and says what it has read elsewhere.
        standing.script = whole(f"It holds, says the {WORD} ", "[1].")
        yield standing


@pytest.fixture
async def world(fresh_database: Settings, provider: StandIn) -> AsyncIterator[World]:
    async with chatting(fresh_database, **openai(provider)) as made:
        yield made


class Kept:
    """A tenant with an anchor and a source that is to be deleted, and an answer that was given both."""

    def __init__(self, world: World, caller: Caller, source: UUID) -> None:
        self.world, self.caller, self.source = world, caller, source
        self.answer = self.session = self.draft = ""

    async def ask(self, question: str = QUESTION, **more: Any) -> dict[str, Any]:
        asked = {"question": question, "cache": False, **more}
        response = await self.caller.post("/v1/chat/stream", asked)
        assert response.status_code == 200, response.text
        await settled(self.world)
        return data_of(response)

    async def read(self, path: str, **query: Any) -> httpx.Response:
        return await self.caller.get(path, params=query)

    async def texts(self) -> dict[str, str]:
        """What each reader gets."""
        paths = {
            "answer": f"/v1/chat/answers/{self.answer}",
            "stream": f"/v1/chat/answers/{self.answer}/stream",
            "conversation": f"/v1/chat/sessions/{self.session}",
            "conversations": "/v1/chat/sessions",
            "response": f"/v1/responses/resp_{UUID(self.answer).hex}",
            "response as a stream": f"/v1/responses/resp_{UUID(self.answer).hex}?stream=true",
            "draft": f"/v1/drafts/{self.draft}",
            "draft as a stream": f"/v1/chat/answers/{self.draft}/stream",
        }
        found = {name: await self.read(path) for name, path in paths.items()}
        assert {each.status_code for each in found.values()} == {200}, found
        return {name: each.text for name, each in found.items()}

    async def see(self) -> set[str]:
        """The readers that get anything of the source."""
        return {name for name, text in (await self.texts()).items() if WORD in text}

    async def delete(self) -> None:
        deleted = await self.caller.delete(f"/v1/adrs/{self.source}", headers={"if-match": "*"})
        assert deleted.status_code in (200, 204), deleted.text


async def keep(world: World, corpus: Corpus) -> Kept:
    caller = await world.tenant()
    for log in ("default", "new"):
        corpus.log(caller.tenant_id, log)
    corpus.adr(caller.tenant_id, "The anchor", ANCHOR, number=1)
    kept = Kept(world, caller, corpus.adr(caller.tenant_id, f"Refine {WORD}", TEXT, number=2))
    start = (await kept.ask())["start"]
    kept.answer, kept.session = start["answer_id"], start["session_id"]
    made = await caller.post("/v1/drafts", {"task": "write", "brief": "The anchor of the harbour?"})
    assert made.status_code == 200, made.text
    kept.draft = made.json()["draft_id"]
    await settled(world)
    return kept


SHOWN = {"answer", "stream", "conversation", "response", "response as a stream", "draft", "draft as a stream"}


@pytest.mark.stack
async def test_every_reader_loses_it_with_the_delete_and_has_it_again_with_the_restore(
    world: World, corpus: Corpus
) -> None:
    kept = await keep(world, corpus)
    assert await kept.see() == SHOWN
    changed = await kept.caller.patch(
        f"/v1/adrs/{kept.source}", {"body": TEXT.replace(WORD, "hafnium"), "expected_version": 1}
    )
    assert changed.status_code == 200, changed.text
    assert await kept.see() == SHOWN, "what only moved on is cited as of its version"
    await kept.delete()
    assert await kept.see() == set()
    again = await kept.caller.create(TEXT)
    assert again["adr_id"] != str(kept.source)
    assert await kept.see() == set(), "another one with the same text is another one"
    restored = await kept.caller.post(f"/v1/adrs/{kept.source}/restore", {"expected_version": 3})
    assert restored.status_code == 200, restored.text
    assert await kept.see() == SHOWN


@pytest.mark.stack
async def test_the_question_the_cost_and_the_other_sources_stay(world: World, corpus: Corpus) -> None:
    kept = await keep(world, corpus)
    before = (await kept.read(f"/v1/chat/answers/{kept.answer}")).json()
    await kept.delete()
    after = (await kept.read(f"/v1/chat/answers/{kept.answer}")).json()
    assert (after["text"], after["withdrawn"], before["withdrawn"]) == ("", 1, 0)
    same = ("question", "state", "usage", "citations", "begun_at", "ended_at")
    assert [after[name] for name in same] == [before[name] for name in same]
    gone = [each for each in after["sources"] if each.get("gone")]
    assert [(each["source_id"], each["title"], each["heading"], each["label"]) for each in gone] == [
        (str(kept.source), "", "", None)
    ]
    assert [each["title"] for each in after["sources"] if not each.get("gone")] == ["The anchor"]
    events = events_of(await kept.read(f"/v1/chat/answers/{kept.answer}/stream"))
    assert [event.name for event in events] == ["error"]
    told = json.loads(events[0].data)
    assert (told["code"], told["detail"]) == ("gone", "the answer stands on a source deleted since")
    late = await kept.read(f"/v1/chat/answers/{kept.answer}/stream", last_event_id=f"{kept.answer}.2")
    assert [event.id for event in events_of(late)] == [f"{kept.answer}.3"], "whoever comes back is told the end"
    async with world.admin() as admin:
        books = await admin.fetchval(
            "select count(*) from app.usage_events where tenant_id = $1", kept.caller.tenant_id
        )
    assert books == 2


@pytest.mark.stack
async def test_a_draft_of_what_is_gone_is_accepted_by_nobody(world: World, corpus: Corpus) -> None:
    kept = await keep(world, corpus)
    accepted = await kept.caller.post("/v1/drafts", {"task": "write", "brief": "The harbour's anchor?"})
    taken = f"/v1/drafts/{accepted.json()['draft_id']}"
    became = await kept.caller.post(f"{taken}/accept", {"log": "new"})
    assert became.status_code == 200, became.text
    await kept.delete()
    refused = await kept.caller.post(f"/v1/drafts/{kept.draft}/accept", {"log": "new"})
    assert (refused.status_code, refused.json()["code"]) == (410, "gone")
    again = await kept.caller.post(f"{taken}/accept", {"log": "new"})
    assert (again.status_code, again.json()["adr_id"]) == (200, became.json()["adr_id"]), again.text
    draft = (await kept.read(f"/v1/drafts/{kept.draft}")).json()
    assert (draft["text"], draft["withdrawn"]) == ("", 1)


@pytest.mark.stack
async def test_what_a_conversation_was_told_is_what_it_stands_on(
    world: World, corpus: Corpus, provider: StandIn
) -> None:
    """The third answer has no source that is gone; it was told of the first by way of the second."""
    kept = await keep(world, corpus)
    for _ in range(2):
        found = await kept.ask(f"{OF_THE_ANCHOR} And the boats there?", session_id=kept.session, sources=1)
        assert [each["title"] for each in found["sources"]["sources"]] == ["The anchor"]
        assert str(kept.source) in found["sources"]["before"]["adr"]
    apart = await kept.ask(f"{OF_THE_ANCHOR} And the boats there?", sources=1)
    await kept.delete()
    turns = (await kept.read(f"/v1/chat/sessions/{kept.session}")).json()["items"]
    assert [(turn["text"], turn["withdrawn"]) for turn in turns] == [("", 1)] * 3
    alone = (await kept.read(f"/v1/chat/answers/{apart['start']['answer_id']}")).json()
    assert alone["withdrawn"] == 0
    assert WORD in alone["text"], "it was never given what is gone"
    asked = len(provider.requests)
    await kept.ask(OF_THE_ANCHOR, session_id=kept.session)
    assert WORD not in json.dumps(provider.requests[asked:])
    newest = (await kept.read(f"/v1/chat/sessions/{kept.session}")).json()["items"][-1]
    assert newest["withdrawn"] == 0, "what it was told of does not stand on it any more"


@pytest.mark.stack
async def test_a_delete_of_another_tenant_takes_nothing(world: World, corpus: Corpus) -> None:
    kept = await keep(world, corpus)
    other = await world.tenant()
    corpus.log(other.tenant_id, "default")
    execute = corpus.connection.execute
    execute(
        "insert into app.adrs (tenant_id, adr_id, log_id, title, status, version, created_at, updated_at) "
        "select tenant_id, %s, log_id, 'T', 'accepted', 1, now(), now() from app.logs where tenant_id = %s",
        [kept.source, other.tenant_id],
    )
    execute(
        "insert into app.adr_versions (tenant_id, adr_id, version, change, title, status, body, author, effective_at) "
        "values (%s, %s, 1, 'create', 'T', 'accepted', 't', 'Ada', now())",
        [other.tenant_id, kept.source],
    )
    deleted = await other.delete(f"/v1/adrs/{kept.source}", headers={"if-match": "*"})
    assert deleted.status_code in (200, 204), deleted.text
    assert await kept.see() == SHOWN
    assert (await other.get(f"/v1/chat/answers/{kept.answer}")).status_code == 404


# --- the rule alone --------------------------------------------------------------------------------------------------


def source(number: int, source_id: UUID) -> Source:
    return Source(number, "adr", source_id, 1, f"T{number}", f"ADR-{number}", "main", "/p", None, "H", 3, 9)


def test_nothing_that_was_written_is_left_and_numbers_stay() -> None:
    here, gone = uuid4(), uuid4()
    events: list[StoredEvent] = [
        store(Sources([source(1, here)])),
        store(ToolRun("c", "search_adrs", "begun", '{"query": "secret"}')),
        store(Sources([source(1, here), source(2, gone)])),
        store(ReasoningDelta("secret")),
        store(ToolCallStart(0, "c", "secret")),
        store(ToolCallDelta(0, "secret")),
        store(TextDelta("secret [1]")),
        store(Citations([1], [])),
    ]
    assert withhold(events, [("adr", uuid4()), ("document", gone)]) is events, "a kind is a part of the name"
    left = withhold(events, [("adr", gone)])
    assert [event.name for event in left] == ["sources", "sources", "citations"]
    said = b"".join(bytes(event.data) for event in left)
    assert b"secret" not in said
    assert b"T2" not in said
    assert b"ADR-2" not in said
    assert b"T1" in said
    assert stands_on(left) == (("adr", here), ("adr", gone)), "read again it is withheld again"


def test_what_is_noted_of_the_turns_before_is_bounded_and_the_newest_come_first() -> None:
    names = [("adr", uuid4()) for _ in range(BEFORE_MAX)]
    turns = [RememberedTurn("q", "old", (*names,)), RememberedTurn("q", "new", (("page", uuid4()), ("adr", uuid4())))]
    told = Grounding("q", [], (), None, [], turns).tell_sources()
    assert sum(map(len, told.before.values())) == BEFORE_MAX
    assert set(turns[1].stands_on) <= set(stands_on([told]))
    assert Grounding("q", [], (), None, []).tell_sources() == Sources([])
