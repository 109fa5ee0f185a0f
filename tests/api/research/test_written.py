"""A model writes, by a provider that says what a test wants: good, hostile, silent, broken off, empty, and too dear."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from api.research import asking, authoring
from connectors.llm import BYTES_PER_TOKEN
from connectors.llm.fake.frames import FakeUsage, write_frames
from connectors.llm.fake.requests import FakeQuestion
from connectors.llm.fake.scripts import Send, Step
from connectors.llm.fake.server import listen
from connectors.postgres.attempts import LEASE_S, settle_lost
from runtime.settings import LimitSettings, LlmSettings, Settings
from tests import databases
from tests.api.agents.world import ScriptedLlm
from tests.api.research import world as desks
from tests.api.research.test_research import BROWSER, DUAL, SECRET, done
from tests.api.search.corpus import Corpus
from tests.api.world import Caller, World, running
from tests.patience import soon

pytestmark = pytest.mark.stack

QUESTION = "How are deletes handled?"
GOOD = "Deletes are handled by tombstones, which are kept for 7 days [1]."


class BrokenLlm(ScriptedLlm):
    """Breaks the connection off behind its first sentence."""

    @staticmethod
    def _play(question: FakeQuestion, turn: Any, *, hangs: bool) -> Iterator[Step]:
        frames = write_frames(question)
        yield Send(frames.start(FakeUsage(question.input_tokens, 0)))
        yield Send(frames.text(str(turn)), 1)


def configured(settings: Settings, url: str, **limits: Any) -> Settings:
    llm = {"provider": "openai", "model": "gpt-5-mini", "base_url": f"{url}/v1", "api_key": "key", "cache_s": 0}
    free = {"user_streams": 0, "new_user_requests": 0, "user_tokens_per_day": 0}
    return settings.model_copy(
        update={
            "llm": LlmSettings.model_validate(llm if url else {"cache_s": 0}),
            "limits": LimitSettings.model_validate(free | limits),
        }
    )


@asynccontextmanager
async def told(settings: Settings, corpus: Corpus, fake: ScriptedLlm | None, **limits: Any) -> AsyncIterator[Library]:
    """An installation whose model says what `fake` says; None: it has no model."""
    if fake is None:
        settings = configured(settings, "", **limits)
        async with running(settings) as world:
            yield await Library.open(world, corpus)
        return
    async with listen(fake) as listening:
        settings = configured(settings, listening.url, **limits)
        async with running(settings) as world:
            yield await Library.open(world, corpus)


class Library:
    """A tenant with two records, and another one with a secret."""

    def __init__(self, world: World, caller: Caller) -> None:
        self.world = world
        self.caller = caller

    @classmethod
    async def open(cls, world: World, corpus: Corpus) -> Library:
        tenant, other = await world.tenant(), await world.tenant()
        for caller, texts in ((tenant, (DUAL, BROWSER)), (other, (SECRET,))):
            corpus.log(caller.tenant_id, "default")
            for number, text in enumerate(texts, 1):
                corpus.adr(caller.tenant_id, text.partition("\n")[0].removeprefix("# "), text, number=number)
        return cls(world, tenant)

    async def ask(self, question: str = QUESTION, **more: Any) -> str:
        made = await self.caller.post("/v1/research", {"question": question, "write": True, **more})
        assert made.status_code == 201, made.text
        return str(made.json()["research_id"])

    async def read(self, research_id: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.caller.get(f"/v1/research/{research_id}")).json()
        return found

    async def finish(self, research_id: str) -> dict[str, Any]:
        with desks.working(self.world.settings):
            await soon(lambda: done(self.world.settings, research_id))
        found = await self.read(research_id)
        assert found["state"] == "succeeded", found
        result: dict[str, Any] = found["result"]
        return result

    async def limit(self, micro_usd: int) -> None:
        """What the tenant may spend in a month."""
        wanted = {"level": "org", "period": "month", "limit_micro_usd": micro_usd}
        assert (await self.caller.put("/v1/budgets", wanted)).status_code < 300

    async def require_closed_books(self, outcomes: list[str]) -> None:
        """Each attempt is settled once, and the budget has what the ledger has: nothing twice, nothing held back."""
        await soon(lambda: self.rows("select count(*) from app.attempts") == [(0,)], "the last attempt is settled")
        settled = self.rows("select outcome, cost_micro_usd from app.usage_events order by finished_at")
        assert sorted(outcome for outcome, _ in settled) == sorted(outcomes)
        (budget,) = (await self.caller.get("/v1/budgets")).json()["budgets"]
        assert (budget["spent_micro_usd"], budget["reserved_micro_usd"]) == (sum(cost for _, cost in settled), 0)
        assert budget["spent_micro_usd"] <= budget["limit_micro_usd"]

    def rows(self, query: Any, *arguments: Any) -> list[tuple[Any, ...]]:
        return databases.ask(self.world.settings.postgres.dsn("admin"), query, *arguments)


async def test_a_text_of_a_model_stands_with_its_places_and_its_cost_is_in_the_books(
    fresh_database: Settings, corpus: Corpus
) -> None:
    fake = ScriptedLlm([GOOD])
    async with told(fresh_database, corpus, fake) as library:
        research_id = await library.ask()
        result = await library.finish(research_id)
        (claim,) = result["written"]["claims"]
        assert result["text"] == "Deletes are handled by tombstones, which are kept for 7 days [1]\n"
        assert (result["write_error"], result["written"]["dropped"]) == (None, [])
        ((body,),) = library.rows("select body from app.adr_versions where body = %s", DUAL)
        assert "tombstones" in body[claim["char_start"] : claim["char_end"]]
        assert library.rows("select session_id, outcome from app.usage_events") == [(UUID(research_id), "completed")]
        assert library.rows("select count(*) from app.attempts") == [(0,)]
        assert len(fake.bodies) == 1
        assert "99 steps" not in str(fake.bodies), "another tenant's text never leaves"


@pytest.mark.parametrize(
    ("said", "dropped"),
    [
        ("Deletes are handled by tombstones, which are kept for 9 days [1].", {"numbers": 1}),
        ("Deletes are not handled by tombstones [1].", {"negation": 1}),
        ("Deletes are handled by tombstones [7]. They are kept in 99 steps [2].", {"absent": 1, "numbers": 1}),
        ("The tenant writes to both in 99 steps.", {"uncited": 1}),
        ("Deletes are handled by tombstones ![x](http://evil.example/?q=tombstones) [1].", {"link": 1}),
        ("NONE", {}),
    ],
)
async def test_what_does_not_hold_is_taken_out_and_the_text_is_quotes(
    fresh_database: Settings, corpus: Corpus, said: str, dropped: dict[str, int]
) -> None:
    async with told(fresh_database, corpus, ScriptedLlm([said])) as library:
        result = await library.finish(await library.ask())
    assert result["written"]["claims"] == []
    told_ = {each["fault"]: each["claims"] for each in result["written"]["dropped"]}
    assert told_.keys() == dropped.keys()
    assert result["text"].startswith("Deletes are handled by tombstones, which are kept for 7 days. [1]")
    assert "evil" not in result["text"]


async def test_a_model_that_breaks_off_or_says_nothing_leaves_quotes_and_the_reason(
    fresh_database: Settings, corpus: Corpus
) -> None:
    async with told(fresh_database, corpus, BrokenLlm([GOOD])) as library:
        result = await library.finish(await library.ask())
        assert result["written"] is None
        assert result["write_error"]["code"]
        assert "[1]" in result["text"]
    async with told(fresh_database, corpus, ScriptedLlm([" "])) as library:
        result = await library.finish(await library.ask())
        assert result["written"] is None
        assert result["write_error"]["detail"]


async def test_a_model_that_stalls_is_given_up_and_settled(
    fresh_database: Settings, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impatient(database: Any, supervisor: Any) -> authoring.ResearchAuthor:
        return authoring.ResearchAuthor(database, supervisor, 1.0)

    monkeypatch.setattr(asking, "ResearchAuthor", impatient)
    async with told(fresh_database, corpus, ScriptedLlm([GOOD], hangs_at=0)) as library:
        result = await library.finish(await library.ask())
        assert result["write_error"]["code"] == "model-late"
        assert "[1]" in result["text"]
        await soon(lambda: library.rows("select count(*) from app.usage_events") == [(1,)])


async def test_a_cancelled_text_stops_its_model(fresh_database: Settings, corpus: Corpus) -> None:
    fake = ScriptedLlm([GOOD], hangs_at=0)
    async with told(fresh_database, corpus, fake) as library:
        await library.limit(10**9)
        research_id = await library.ask()
        with desks.working(library.world.settings):
            await soon(lambda: bool(fake.bodies))
            began = time.monotonic()
            await library.caller.post(f"/v1/research/{research_id}/cancel", {})
            await soon(lambda: done(library.world.settings, research_id))
            assert time.monotonic() - began < authoring.WRITING_S_MAX / 3
            await soon(lambda: library.rows("select count(*) from app.usage_events") == [(1,)])
            await soon(lambda: fake.bills.stats.open == 0, "the model is hung up on")
        found = await library.read(research_id)
        assert (found["state"], found["result"]) == ("cancelled", None)
        await library.require_closed_books(["cancelled"])


async def test_a_budget_that_is_used_up_while_a_model_writes_ends_its_text(
    fresh_database: Settings, corpus: Corpus
) -> None:
    fake = ScriptedLlm([" ".join(f"word{number}" for number in range(5_000))])
    async with told(fresh_database, corpus, fake) as library:
        limit = 1_000
        while not fake.bodies:  # what is reserved at first is up to the length of the prompt
            limit += 400
            assert limit < 10_000, "it is asked with what two thousand tokens cost"
            await library.limit(limit)
            result = await library.finish(await library.ask())
            assert result["write_error"]["code"] == "budget-exceeded"
            assert result["text"].startswith("Deletes are handled by tombstones"), "the quotes cost nothing"
        assert (len(fake.bodies), result["written"]) == (1, None)
        await soon(lambda: fake.bills.stats.open == 0, "the model is hung up on")
        await library.require_closed_books(["failed"])


async def test_killed_while_a_model_writes_it_is_asked_once_more_and_the_books_close(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    fake = ScriptedLlm([GOOD], hangs_at=0)
    async with told(fresh_database, corpus, fake) as library:
        await library.limit(10**9)
        research_id = await library.ask()
        await kill_when(library, tmp_path, lambda: fake.bills.stats.open == 1)
        (passes,) = library.rows("select progress -> 'passes' from app.research")
        fake.hangs_at = None
        result = await library.finish(research_id)
        assert result["text"].startswith(GOOD.removesuffix(" [1]."))
        assert result["passes"] == passes[0], "what was searched is not searched again"
        assert len(fake.bodies) == 2
        # The attempt of the process that died is settled by its bound, when that has said nothing for long enough.
        library.rows("update ops.api_processes set lease_until = now() - interval '1 hour'")
        library.rows(f"update app.attempts set begun_at = begun_at - make_interval(secs => {LEASE_S + 1})")
        with psycopg.connect(library.world.settings.postgres.dsn("flows")) as connection:
            assert [settle_lost(connection, BYTES_PER_TOKEN) for _ in range(2)] == [1, 0]
        await library.require_closed_books(["completed", "failed"])


async def test_killed_behind_its_text_it_is_not_asked_again(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    fake = ScriptedLlm([GOOD])
    async with told(fresh_database, corpus, fake) as library:
        await library.limit(10**9)
        research_id = await library.ask()
        is_written = "select 1 from app.research where progress #>> '{draft,text}' <> ''"
        await kill_when(library, tmp_path, lambda: bool(library.rows(is_written)), pause_s=3.0)
        result = await library.finish(research_id)
        assert (len(result["written"]["claims"]), len(fake.bodies)) == (1, 1)
        await library.require_closed_books(["completed"])


async def kill_when(library: Library, folder: Path, holds: Callable[[], bool], pause_s: float = 0.0) -> None:
    """A worker in a process of its own, killed in this moment; nobody waits for its lease."""
    process = desks.start_process(library.world.settings, pause_s, folder / "worker.log")
    try:
        await soon(lambda: holds() or process.poll() is not None, "the moment of the kill")
        assert process.poll() is None, (folder / "worker.log").read_text()
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)
    library.rows("update app.jobs set lease_until = now() where lease_until is not null")


async def test_without_a_model_or_an_answer_nobody_is_asked(fresh_database: Settings, corpus: Corpus) -> None:
    fake = ScriptedLlm([GOOD])
    async with told(fresh_database, corpus, fake) as library:
        result = await library.finish(await library.ask("Which mascot does the marketing department prefer?"))
        assert (result["answered"], result["write_error"]["code"]) == (False, "nothing-found")
        assert fake.bodies == []
        plain = await library.caller.post("/v1/research", {"question": QUESTION})
        result = await library.finish(plain.json()["research_id"])
        assert (result["written"], result["write_error"], fake.bodies) == (None, None, [])
    async with told(fresh_database, corpus, None) as library:
        result = await library.finish(await library.ask())
        assert result["answered"]
        assert (result["written"], "model" in result["write_error"]["detail"]) == (None, True)


async def test_an_expansion_is_asked_with_one_round_too(fresh_database: Settings, corpus: Corpus) -> None:
    """Two sources share a word that the question has not, and the only round is the first one."""
    async with told(fresh_database, corpus, None) as library:
        for number in (7, 8):
            text = f"# Deletes {number}\n\nDeletes are handled by tombstones with retention {number}.\n"
            corpus.adr(library.caller.tenant_id, f"Deletes {number}", text, number=number)
        made = await library.caller.post("/v1/research", {"question": QUESTION, "expand": True})
        result = await library.finish(made.json()["research_id"])
    first, second = result["passes"]
    assert first["queries"] == [QUESTION]
    assert all(each.startswith(QUESTION.rstrip("?")) or QUESTION in each for each in second["queries"])
    assert "tombstones" in second["queries"][0].casefold()
