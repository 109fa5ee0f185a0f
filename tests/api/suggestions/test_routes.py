"""Suggestions over HTTP: shown with their reason, accepted as a person's own change is made, and dismissed for good."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from runtime.settings import Settings
from schemas.suggestions import CONFIDENCE
from tests.api.search.corpus import Corpus, writing
from tests.api.world import Caller, running

pytestmark = pytest.mark.stack

OLDER = "# Use Jenkins\n\n## Status\n\nAccepted\n\nOne server builds everything.\n"
NEWER = "# Use GitHub Actions\n\n## Status\n\nAccepted\n\nWe move away from Jenkins.\n"


@pytest.fixture
def corpus(fresh_database: Settings) -> Iterator[Corpus]:
    with writing(fresh_database) as writer:
        yield writer


class Pair:
    """Two decisions of a tenant, and what is suggested of them."""

    def __init__(self, caller: Caller, corpus: Corpus, older: Any, newer: Any) -> None:
        self.caller, self.corpus, self.older, self.newer = caller, corpus, older, newer
        self.id = self.suggest()

    @classmethod
    async def made(cls, caller: Caller, corpus: Corpus) -> Pair:
        return cls(caller, corpus, await caller.create(OLDER), await caller.create(NEWER))

    def suggest(self, kind: str = "supersedes", evidence: str = "words") -> UUID:
        ids = (UUID(self.newer["adr_id"]), UUID(self.older["adr_id"]))
        return self.corpus.suggestion(self.caller.tenant_id, *ids, kind, evidence)

    async def answer(self, verb: str, json: Any = None, **more: Any) -> Any:
        return await self.caller.post(f"/v1/suggestions/{self.id}/{verb}", {} if json is None else json, **more)

    async def shown(self, **params: Any) -> list[Any]:
        answer = await self.caller.get(f"/v1/adrs/{self.older['adr_id']}/suggestions", params=params)
        assert answer.status_code == 200, answer.text
        found: list[Any] = answer.json()["suggestions"]
        return found

    async def read(self, adr: Any) -> Any:
        return (await self.caller.get(f"/v1/adrs/{adr['adr_id']}")).json()


async def test_a_suggestion_says_why_on_both_decisions_and_in_the_list(
    fresh_database: Settings, corpus: Corpus
) -> None:
    async with running(fresh_database) as world:
        caller = await world.tenant()
        pair = await Pair.made(caller, corpus)
        (found,) = await pair.shown()
        assert (found["suggestion_id"], found["kind"], found["state"]) == (str(pair.id), "supersedes", "open")
        assert (found["newer"]["label"], found["older"]["label"]) == ("ADR-2", "ADR-1")
        assert found["reason"]["newer"] == {"field": "body", "start": 0, "end": 21, "quote": "We move away from it."}
        assert found["reason"]["confidence"] == CONFIDENCE["supersedes", "words"]
        assert (found["answered_by"], found["answered_at"]) == (None, None)
        of_newer = await caller.get(f"/v1/adrs/{pair.newer['adr_id']}/suggestions")
        assert of_newer.json()["suggestions"] == [found]
        assert of_newer.json()["as_of"]["state"] == "unknown", "no flow has reported"
        assert (await caller.get("/v1/suggestions")).json()["items"] == [found]
        assert (await caller.get(f"/v1/suggestions/{pair.id}")).json() == found
        assert (await caller.get(f"/v1/adrs/{uuid4()}/suggestions")).status_code == 404


async def test_accepting_links_and_supersedes_once_from_the_version_that_was_shown(
    fresh_database: Settings, corpus: Corpus
) -> None:
    async with running(fresh_database) as world:
        pair = await Pair.made(await world.tenant(), corpus)
        assert (await pair.answer("accept")).status_code == 428
        wrong = await pair.answer("accept", {"expected_version": 7})
        assert (wrong.status_code, wrong.json()["current_version"]) == (409, 1)
        assert (await pair.read(pair.older))["status"] == "accepted", "nothing has changed"
        done = await pair.answer("accept", headers={"if-match": '"1"'})
        assert (done.status_code, done.json()["state"]) == (200, "accepted"), done.text
        assert done.json()["answered_by"]
        older = await pair.read(pair.older)
        assert (older["status"], older["version"], older["message"]) == ("superseded", 2, "Superseded by ADR-2")
        links = (await pair.caller.get(f"/v1/adrs/{pair.newer['adr_id']}/links")).json()["outgoing"]
        assert [(link["kind"], link["target_id"], link["origin"]) for link in links] == [
            ("supersedes", pair.older["adr_id"], "user")
        ]
        again = await pair.answer("accept", {"expected_version": 1})
        assert (again.status_code, again.json()) == (200, done.json())
        assert (await pair.read(pair.older))["version"] == 2, "once"
        assert (await pair.answer("dismiss")).status_code == 409
        corpus.connection.execute("delete from mv.suggestions")
        assert [each["state"] for each in await pair.shown()] == ["accepted"], "its reason is gone, the answer is not"


async def test_an_accepted_conflict_links_and_changes_no_version(fresh_database: Settings, corpus: Corpus) -> None:
    async with running(fresh_database) as world:
        pair = await Pair.made(await world.tenant(), corpus)
        pair.suggest("conflicts", "negation")
        assert (await pair.answer("accept")).status_code == 200
        assert (await pair.read(pair.older))["version"] == 1
        links = (await pair.caller.get(f"/v1/adrs/{pair.newer['adr_id']}/links")).json()["outgoing"]
        assert [link["kind"] for link in links] == ["relates-to"]
        assert (await pair.answer("reopen")).status_code == 409, "its link is there"
        target = {"kind": "relates-to", "target": pair.older["adr_id"]}
        assert (await pair.caller.delete(f"/v1/adrs/{pair.newer['adr_id']}/links", params=target)).status_code == 200
        assert (await pair.answer("reopen")).json()["state"] == "open"
        assert [each["state"] for each in await pair.shown()] == ["open"]


async def test_a_dismissed_one_stays_so_until_there_is_stronger_evidence(
    fresh_database: Settings, corpus: Corpus
) -> None:
    async with running(fresh_database) as world:
        pair = await Pair.made(await world.tenant(), corpus)
        pair.suggest("conflicts", "negation")
        assert (await pair.answer("dismiss")).json()["state"] == "dismissed"
        assert (await pair.answer("dismiss")).status_code == 200
        assert await pair.shown(state="open") == []
        corpus.connection.execute("delete from mv.suggestions")
        assert [each["state"] for each in await pair.shown()] == ["dismissed"]
        for evidence in ("negation", "outcome"):
            pair.suggest("conflicts", evidence)
            assert await pair.shown(state="open") == [], f"made anew, {evidence} is no news"
        await pair.caller.update(pair.newer, body=NEWER + "\nEdited.\n")
        assert await pair.shown(state="open") == []
        pair.suggest("supersedes", "words")
        assert [each["kind"] for each in await pair.shown(state="open")] == ["supersedes"]
        assert (await pair.answer("dismiss")).json()["reason"]["evidence"] == "words"
        assert await pair.shown(state="open") == []
        assert (await pair.answer("reopen")).json()["state"] == "open"
        assert [each["state"] for each in await pair.shown()] == ["open"]


async def test_what_holds_no_more_is_neither_shown_nor_accepted(fresh_database: Settings, corpus: Corpus) -> None:
    async with running(fresh_database) as world:
        pair = await Pair.made(await world.tenant(), corpus)
        older = await pair.caller.update(pair.older, status="deprecated")
        assert await pair.shown() == [], "whatever the flow has done so far"
        assert (await pair.answer("accept", {"expected_version": 2})).status_code == 404
        await pair.caller.update(older, status="accepted")
        assert len(await pair.shown()) == 1
        await pair.caller.delete(f"/v1/adrs/{pair.newer['adr_id']}", headers={"if-match": "*"})
        assert await pair.shown() == []
        assert (await pair.answer("accept", {"expected_version": 3})).status_code == 404


async def test_pages_and_filters(fresh_database: Settings, corpus: Corpus) -> None:
    async with running(fresh_database) as world:
        caller = await world.tenant()
        pairs = [await Pair.made(caller, corpus) for _ in range(5)]
        pairs[0].suggest("conflicts", "outcome")
        await pairs[1].answer("dismiss")

        async def ids(**params: Any) -> list[str]:
            found: list[str] = []
            cursor = None
            while True:
                asked = params | ({"cursor": cursor} if cursor else {})
                page = (await caller.get("/v1/suggestions", params=asked | {"limit": 2})).json()
                found += [each["suggestion_id"] for each in page["items"]]
                cursor = page["next_cursor"]
                if cursor is None:
                    return found

        newest_first = [str(pair.id) for pair in reversed(pairs)]
        assert await ids() == newest_first
        assert await ids(kind="conflicts") == newest_first[4:]
        assert await ids(state="dismissed") == newest_first[3:4]
        assert await ids(state="open") == [*newest_first[:3], newest_first[4]]
        assert (await caller.get("/v1/suggestions", params={"kind": "amends"})).status_code == 400


async def test_an_answer_needs_write_and_is_of_its_tenant(fresh_database: Settings, corpus: Corpus) -> None:
    async with running(fresh_database) as world:
        pair = await Pair.made(await world.tenant(), corpus)
        key = await pair.caller.post("/v1/keys", {"name": "reader", "scopes": ["read"]})
        reader = Caller(pair.caller.http, pair.caller.tenant_id, key.json()["secret"])
        assert len((await reader.get("/v1/suggestions")).json()["items"]) == 1
        for verb in ("accept", "dismiss", "reopen"):
            refused = await reader.post(f"/v1/suggestions/{pair.id}/{verb}", {"expected_version": 1})
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        other = await world.tenant()
        assert (await other.get("/v1/suggestions")).json()["items"] == []
        for verb in ("accept", "dismiss", "reopen"):
            assert (await other.post(f"/v1/suggestions/{pair.id}/{verb}", {"expected_version": 1})).status_code == 404
        assert [each["state"] for each in await pair.shown()] == ["open"]
