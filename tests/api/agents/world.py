"""Agents at work in this process, and a provider that says what a test wants it to say.

A provider's turn is found by what it is asked, so that it says the same again to whoever asks again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID

from api.agents.desk import AgentDesk
from api.agents.job import AgentTaskJob
from connectors.embedders.spaces import SpaceEmbedders
from connectors.llm.fake.frames import FakeUsage, write_frames
from connectors.llm.fake.requests import FakeQuestion, ReceivedRequest, read_question
from connectors.llm.fake.scripts import FakePace, Pause, Reply, Send, Step
from connectors.llm.fake.server import FakeLlm, listen
from runtime.deadline import Deadline
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import AgentSettings, LimitSettings, LlmSettings, Settings
from streams.worker import Worker
from tests.api.search.corpus import Corpus
from tests.api.world import Caller, World, running
from tests.connectors.embedders.stand_in import FakeEmbedder
from tests.patience import PATIENCE_S, PAUSE_S, soon

ONE = "# Nobody writes twice\n\n## Context\n\nA dual write fails in the middle.\n\n## Decision\n\nOne log.\n"
TWO = "# Test against a fake\n\n## Decision\n\nA fake provider, which a script tells what to say.\n"

Call = tuple[str, dict[str, Any]]
Turn = str | Sequence[Call]
"""What a model says in one turn: words, which end the task, or calls."""


class ScriptedLlm(FakeLlm):
    """A provider with a list of turns; the last is said again and again. It keeps what it was asked."""

    def __init__(self, turns: Sequence[Turn], hangs_at: int | None = None) -> None:
        super().__init__("whole", FakePace())
        self.turns = turns
        self.bodies: list[dict[str, Any]] = []
        self.hangs_at = hangs_at
        """The turn in which it falls silent behind its first word."""
        self.by_goal: dict[str, Sequence[Turn]] = {}
        """Other turns for tasks of these goals."""
        self.hangs_for: set[str] = set()
        """Goals for which it falls silent in the first turn."""

    def answer(self, request: ReceivedRequest) -> tuple[FakeQuestion, Reply]:
        body = json.loads(request.body)
        self.bodies.append(body)
        question = read_question(request)
        number = sum(each["role"] == "assistant" for each in body["messages"])
        goal = next(str(each["content"]) for each in body["messages"] if each["role"] == "user")
        turns = self.by_goal.get(goal, self.turns)
        hangs = goal in self.hangs_for or (turns is self.turns and number == self.hangs_at)
        turn = turns[min(number, len(turns) - 1)]
        return question, Reply("whole", steps=self._play(question, turn, hangs=hangs))

    @staticmethod
    def _play(question: FakeQuestion, turn: Turn, *, hangs: bool) -> Iterator[Step]:
        frames = write_frames(question)
        yield Send(frames.start(FakeUsage(question.input_tokens, 0)))
        written = 0
        if hangs:
            yield Send(frames.text("Hm "), 1)
            yield Pause(3_600.0)
        if isinstance(turn, str):
            words = [f"{word} " for word in turn.split(" ")]
            for word in words:
                yield Send(frames.text(word), 1)
            written = len(words)
        else:
            for name, arguments in turn:
                yield Send(frames.call(name, json.dumps(arguments)), 1)
            written = len(turn)
        yield Send(
            frames.finish("stop" if isinstance(turn, str) else "tool-calls", FakeUsage(question.input_tokens, written))
        )
        yield Send(frames.end())


def configured(settings: Settings, url: str, **agents: Any) -> Settings:
    """Settings with a model at `url`, without limits of use, and with these bounds."""
    llm = {"provider": "openai", "model": "gpt-5-mini", "base_url": f"{url}/v1", "api_key": "key", "cache_s": 0}
    return settings.model_copy(
        update={
            "llm": LlmSettings.model_validate(llm if url else {"cache_s": 0}),
            "limits": LimitSettings(user_streams=0, new_user_requests=0, user_tokens_per_day=0),
            "agents": AgentSettings(**agents),
        }
    )


@contextmanager
def working(settings: Settings) -> Iterator[AgentDesk]:
    """A worker that does tasks of agents, in threads of this process."""
    embedders = SpaceEmbedders.of(FakeEmbedder())
    desk = AgentDesk(settings, embedders)
    life = Lifecycle(Health())
    worker = Worker({AgentTaskJob.name: AgentTaskJob(desk)}, settings.postgres, life)
    worker.start()
    try:
        yield desk
    finally:
        life.stop()
        desk.close()
        worker.join(PATIENCE_S)
        embedders.close()


class Agency:
    """A running API, a worker, and a provider, with a tenant that has two decisions."""

    def __init__(self, world: World, fake: ScriptedLlm, caller: Caller, corpus: Corpus) -> None:
        self.world = world
        self.fake = fake
        self.caller = caller
        self.corpus = corpus

    async def submit(self, goal: str = "Why is a dual write forbidden?", **more: Any) -> str:
        """The id of a new task."""
        response = await self.caller.post("/v1/agents/tasks", {"goal": goal, **more})
        assert response.status_code == 201, response.text
        return str(response.json()["task_id"])

    async def read(self, task_id: str) -> dict[str, Any]:
        response = await self.caller.get(f"/v1/agents/tasks/{task_id}")
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    async def steps(self, task_id: str) -> list[dict[str, Any]]:
        response = await self.caller.get(f"/v1/agents/tasks/{task_id}/steps")
        assert response.status_code == 200, response.text
        found: list[dict[str, Any]] = response.json()["items"]
        return found

    async def run(self, goal: str = "Why is a dual write forbidden?", **more: Any) -> dict[str, Any]:
        """A task as it ended."""
        return await self.ended(await self.submit(goal, **more))

    async def ended(self, task_id: str) -> dict[str, Any]:
        await self.soon("select from app.jobs where job_id = $1 and finished_at is not null", task_id)
        return await self.read(task_id)

    async def proposals(self, caller: Caller | None = None, **query: Any) -> list[dict[str, Any]]:
        response = await (caller or self.caller).get("/v1/agents/proposals", params=query)
        assert response.status_code == 200, response.text
        found: list[dict[str, Any]] = response.json()["items"]
        return found

    async def rows(self, query: str, *arguments: Any) -> list[Any]:
        async with self.world.admin() as connection:
            found: list[Any] = await connection.fetch(query, *arguments)
            return found

    async def soon(self, query: str, *arguments: Any) -> None:
        """Wait until the query has a row."""
        deadline = Deadline.after(PATIENCE_S)
        while not await self.rows(query, *arguments):
            assert not deadline.passed, query
            await asyncio.sleep(PAUSE_S)


def furnish(corpus: Corpus, tenant_id: UUID) -> dict[int, UUID]:
    """Two decisions that can be found, by their numbers."""
    corpus.log(tenant_id, "main")
    return {
        1: corpus.adr(tenant_id, "Nobody writes twice", ONE, number=1, log="main"),
        7: corpus.adr(tenant_id, "Test against a fake", TWO, number=7, log="main"),
    }


@asynccontextmanager
async def agency(
    settings: Settings,
    corpus: Corpus,
    turns: Sequence[Turn] = (),
    *,
    hangs_at: int | None = None,
    works: bool = True,
    **agents: Any,
) -> AsyncIterator[Agency]:
    """An agency whose model says `turns`; without any there is no model."""
    async with listen(ScriptedLlm(turns, hangs_at)) as fake:
        assert isinstance(fake, ScriptedLlm)
        changed = configured(settings, fake.url if turns else "", **agents)
        async with running(changed) as world:
            caller = await world.tenant()
            furnish(corpus, caller.tenant_id)
            made = Agency(world, fake, caller, corpus)
            if not works:
                yield made
                return
            with working(world.settings):
                yield made
            # What ended is settled before the database goes.
            await soon(lambda: fake.bills.stats.open == 0, "the last answer")
