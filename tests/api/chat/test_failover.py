"""Several targets on a real database, over real HTTP: one fails, another answers, and the books know both. Who waits,
and who is left alone for a while."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import msgspec
import pytest

from api.chat.attempts import DRAIN_BYTES_MAX, DRAIN_BYTES_PER_TOKEN
from connectors.llm import BYTES_PER_TOKEN
from connectors.llm.routing.breaker import CONSECUTIVE_MAX, COOLDOWN_S, PROBES_MAX
from connectors.llm.sse import SseDecoder
from runtime.clock import SystemClock
from runtime.settings import LimitSettings, LlmSettings, Settings
from tests.api.chat.test_routes import QUESTION, Leaver, ask, furnished, idle, ledger
from tests.api.search.corpus import Corpus
from tests.api.world import Caller, World, running
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import SILENT_S, StandIn, Step, standing_in
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.stack

WHOLE = [recorded.OPENAI_START, recorded.openai_text("It fails [1]."), recorded.OPENAI_END]
HALF = [recorded.OPENAI_START, recorded.openai_text("Half of it, ")]


class ShiftedClock(SystemClock):
    """The machine's clock, so many seconds later."""

    def __init__(self) -> None:
        self.by_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.by_s


class HeldScript(list[Step]):
    """The first half of an answer, and the rest when the test lets it go."""

    def __init__(self, *rest: Step) -> None:
        super().__init__(rest)
        self.let_go = False

    def __iter__(self) -> Iterator[Step]:
        yield from HALF
        while not self.let_go:
            yield 0.02
        yield from super().__iter__()


class Bench:
    """An API whose model `m` has a target for each of `servers`, called a, b, c; and one caller."""

    def __init__(self, world: World, caller: Caller, servers: list[StandIn], clock: ShiftedClock) -> None:
        self.world = world
        self.caller = caller
        self.servers = servers
        self.clock = clock

    async def metric(self, name: str, **labels: str) -> float:
        """A figure as operators see it; 0 where there is none yet."""
        shown = (await self.world.http.get("/metrics")).text
        wanted = ",".join(f'{label}="{value}"' for label, value in labels.items())
        found = re.search(rf"^{name}{{{wanted}}} (\S+)$", shown, re.MULTILINE)
        return float(found[1]) if found else 0.0

    async def kept(self, answer_id: str) -> AsyncIterator[dict[str, Any]]:
        """An answer as it is remembered, again and again while patience lasts."""
        for _ in range(round(PATIENCE_S / 0.02)):
            yield (await self.caller.get(f"/v1/chat/answers/{answer_id}")).json()
            await asyncio.sleep(0.02)

    async def await_depth(self, depth: int) -> None:
        """Wait until so many questions wait for the first target."""
        for _ in range(round(PATIENCE_S / 0.02)):
            if await self.metric("adriatic_llm_queue_depth", target="a") == depth:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"there are never {depth} waiting")


@asynccontextmanager
async def serving(
    settings: Settings,
    corpus: Corpus,
    count: int = 2,
    target: dict[str, Any] | None = None,
    requests_per_minute: int = 0,
    model: dict[str, Any] | None = None,
    **llm: Any,
) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(standing_in()) for _ in range(count)]
        targets = [
            {"name": name, "provider": "openai", "model": f"gpt-{name}", "base_url": f"{server.url}/v1"}
            | (target or {})
            for name, server in zip("abc", servers, strict=False)
        ]
        models = {"models": [{"name": "m", "targets": targets} | (model or {})], **llm}
        clock = ShiftedClock()
        limits = LimitSettings(user_streams=0, new_user_requests=0, user_requests_per_minute=requests_per_minute)
        changed = settings.model_copy(update={"llm": LlmSettings.model_validate(models), "limits": limits})
        world = await stack.enter_async_context(running(changed, clock))
        yield Bench(world, await furnished(world, corpus), servers, clock)
        await idle(world)


def fail_by(server: StandIn, fault: str) -> None:
    """Have a provider fail before its first content."""
    scripts: dict[str, list[Step]] = {
        "stall": [recorded.OPENAI_START, SILENT_S],
        "error-after-200": [recorded.OPENAI_START, recorded.OPENAI_ERROR],
        "ends-without-an-end": [recorded.OPENAI_START],
        "nonsense": [b"data: {not json\n\n"],
    }
    if fault in scripts:
        server.script = scripts[fault]
    else:
        server.status = int(fault)
        server.body = {"error": {"message": "no", "type": "", "code": None}}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("500", "overloaded"),
        ("429", "rate-limit"),
        ("401", "credential"),
        ("404", "not-found"),
        ("stall", "timeout"),
        ("error-after-200", "overloaded"),
        ("ends-without-an-end", "broken-stream"),
        ("nonsense", "not-understood"),
    ],
)
async def test_another_target_answers_and_the_books_have_both(
    fresh_database: Settings, corpus: Corpus, fault: str, kind: str
) -> None:
    async with serving(fresh_database, corpus, first_token_s=2.0) as bench:
        first, second = bench.servers
        fail_by(first, fault)
        second.script = WHOLE
        before = await bench.metric("adriatic_llm_failovers_total", kind=kind, moment="before")
        names, data, text = await ask(bench.caller)
        assert names == ["start", "sources", "delta", "citations", "usage", "done"]
        assert text == "It fails [1]."
        assert (len(first.requests), len(second.requests)) == (1, 1)
        assert second.requests[0]["model"] == "gpt-b"
        failed, whole = await ledger(bench.world, bench.caller, 2)
        assert (failed["outcome"], failed["code"], failed["output_visible"]) == ("failed", "dependency-unavailable", 0)
        assert (whole["outcome"], whole["usage_source"], whole["output_visible"]) == ("completed", "provider", 15)
        assert str(whole["attempt_id"]) == data["start"]["attempt_id"]
        assert failed["attempt_id"] != whole["attempt_id"]
        assert failed["session_id"] == whole["session_id"]
        assert await bench.metric("adriatic_llm_failovers_total", kind=kind, moment="before") == before + 1
        async with bench.world.admin() as admin:
            assert await admin.fetchval("select count(*) from app.attempts") == 0


async def test_a_question_is_counted_once_however_many_attempts_it_takes(
    fresh_database: Settings, corpus: Corpus
) -> None:
    async with serving(fresh_database, corpus, requests_per_minute=50) as bench:
        fail_by(bench.servers[0], "500")
        bench.servers[1].script = WHOLE
        response = await bench.caller.post("/v1/chat/stream", QUESTION)
        assert '"user_requests_per_minute";r=49' in response.headers["ratelimit"]
        await ledger(bench.world, bench.caller, 2)
        async with bench.world.admin() as admin:
            used = await admin.fetchval("select used from app.limit_uses where unit = 'requests'")
        assert used == 1


async def test_when_all_fail_the_caller_is_told_of_the_last(fresh_database: Settings, corpus: Corpus) -> None:
    async with serving(fresh_database, corpus, 3) as bench:
        for server, fault in zip(bench.servers, ("500", "error-after-200", "401"), strict=True):
            fail_by(server, fault)
        response = await bench.caller.post("/v1/chat/stream", QUESTION)
        assert response.status_code == 503
        assert "does not accept the key" in response.json()["detail"]
        rows = await ledger(bench.world, bench.caller, 3)
        assert {row["outcome"] for row in rows} == {"failed"}


async def test_a_refusal_is_nobody_elses(fresh_database: Settings, corpus: Corpus) -> None:
    async with serving(fresh_database, corpus) as bench:
        first, second = bench.servers
        fail_by(first, "400")
        response = await bench.caller.post("/v1/chat/stream", QUESTION)
        assert response.status_code == 503
        assert "refuses the request" in response.json()["detail"]
        assert not second.requests
        await ledger(bench.world, bench.caller, 1)


async def test_a_caller_names_a_model(fresh_database: Settings, corpus: Corpus) -> None:
    async with serving(fresh_database, corpus) as bench:
        bench.servers[0].script = WHOLE
        _, data, _ = await ask(bench.caller, model="m")
        assert data["start"]["provider"] == "openai"
        refused = await bench.caller.post("/v1/chat/stream", {**QUESTION, "model": "n"})
        assert (refused.status_code, refused.json()["code"]) == (404, "not-found")
        assert "model can be m" in refused.json()["hint"]


async def test_clients_of_other_protocols_name_models_too(fresh_database: Settings, corpus: Corpus) -> None:
    async with serving(fresh_database, corpus) as bench:
        fail_by(bench.servers[0], "500")
        bench.servers[1].script = WHOLE
        listed = (await bench.caller.get("/v1/models")).json()
        assert [card["id"] for card in listed["data"] if "chat" in card["uses"]] == ["adriatic", "m"]
        question = {"model": "m", "messages": [{"role": "user", "content": "Why?"}]}
        answer = await bench.caller.post("/v1/chat/completions", question)
        assert answer.json()["choices"][0]["message"]["content"] == "It fails [1]."
        assert [len(server.requests) for server in bench.servers] == [1, 1]
        await ledger(bench.world, bench.caller, 2)


async def test_in_the_middle_the_answer_ends(fresh_database: Settings, corpus: Corpus) -> None:
    async with serving(fresh_database, corpus) as bench:
        first, second = bench.servers
        first.script = [*HALF, recorded.OPENAI_ERROR]
        names, data, _ = await ask(bench.caller)
        assert names == ["start", "sources", "delta", "usage", "error"]
        assert data["error"]["code"] == "dependency-unavailable"
        assert not second.requests
        await ledger(bench.world, bench.caller, 1)


@pytest.mark.parametrize("end", [recorded.OPENAI_ERROR, b""], ids=["error", "cut"])
async def test_in_the_middle_it_begins_anew_for_who_wants_that(
    fresh_database: Settings, corpus: Corpus, end: bytes
) -> None:
    async with serving(fresh_database, corpus) as bench:
        first, second = bench.servers
        first.script = [*HALF, end] if end else HALF
        second.script = WHOLE
        response = await bench.caller.post("/v1/chat/stream", {**QUESTION, "on_failure": "restart"})
        events = [*SseDecoder().feed(response.content)]
        names = [event.name for event in events]
        assert names == [
            *("start", "sources", "delta", "reset"),
            *("start", "sources", "delta", "citations", "usage", "done"),
        ]
        rows = await ledger(bench.world, bench.caller, 2)
        assert [row["outcome"] for row in rows] == ["failed", "completed"]
        assert rows[0]["output_visible"] > 0, "what was written and is void was charged all the same"
        assert str(rows[0]["attempt_id"]).encode() in events[3].data
        assert str(rows[1]["attempt_id"]).encode() in events[4].data
        after = b"".join(event.data for event in events[4:])
        assert b"It fails [1]." in after
        assert b"Half" not in after
        answer_id = msgspec.json.decode(events[0].data)["answer_id"]
        async for kept in bench.kept(answer_id):
            if kept["state"] == "completed":
                break
        assert kept["text"] == "It fails [1].", "what is void is not remembered"


async def test_when_nobody_is_left_to_begin_anew_the_answer_ends(fresh_database: Settings, corpus: Corpus) -> None:
    async with serving(fresh_database, corpus) as bench:
        for server in bench.servers:
            server.script = [*HALF, recorded.OPENAI_ERROR]
        names, _, _ = await ask(bench.caller, on_failure="restart")
        assert names == ["start", "sources", "delta", "reset", "start", "sources", "delta", "usage", "error"]
        await ledger(bench.world, bench.caller, 2)


async def test_who_fails_is_left_alone_and_then_tried(fresh_database: Settings, corpus: Corpus) -> None:
    async with serving(fresh_database, corpus) as bench:
        first, second = bench.servers
        fail_by(first, "500")
        second.script = WHOLE
        for _ in range(CONSECUTIVE_MAX + 2):
            await ask(bench.caller)
        assert len(first.requests) == CONSECUTIVE_MAX
        assert await bench.metric("adriatic_llm_breaker_state", target="a") == 2
        bench.clock.by_s += COOLDOWN_S
        first.status, first.script = 200, WHOLE
        for _ in range(PROBES_MAX):
            await ask(bench.caller)
        assert len(first.requests) == CONSECUTIVE_MAX + PROBES_MAX
        assert await bench.metric("adriatic_llm_breaker_state", target="a") == 0
        await ledger(bench.world, bench.caller, 2 * CONSECUTIVE_MAX + 2 + PROBES_MAX)


async def test_callers_who_leave_open_no_breaker(fresh_database: Settings, corpus: Corpus) -> None:
    async with serving(fresh_database, corpus, 1) as bench:
        (server,) = bench.servers
        server.script = [*HALF, SILENT_S]
        for _ in range(CONSECUTIVE_MAX + 1):
            leaver = Leaver(bench.world, bench.caller)
            await asyncio.wait_for(leaver.text.wait(), PATIENCE_S)
            leaver.left.set()
            await asyncio.wait_for(leaver.task, PATIENCE_S)
        assert await bench.metric("adriatic_llm_breaker_state", target="a") == 0
        await idle(bench.world)
        assert await bench.metric("adriatic_llm_in_flight", target="a") == 0


async def test_a_rate_limit_is_told_and_kept(fresh_database: Settings, corpus: Corpus) -> None:
    async with serving(fresh_database, corpus, 1) as bench:
        (server,) = bench.servers
        fail_by(server, "429")
        server.headers = {"retry-after": "300"}
        first = await bench.caller.post("/v1/chat/stream", QUESTION)
        second = await bench.caller.post("/v1/chat/stream", QUESTION)
        assert [first.status_code, second.status_code] == [503, 503]
        assert first.headers["retry-after"] == "300"
        assert 0 < int(second.headers["retry-after"]) <= 300
        assert len(server.requests) == 1
        await ledger(bench.world, bench.caller, 1)


async def test_a_full_queue_refuses_and_a_place_in_it_is_given_back(fresh_database: Settings, corpus: Corpus) -> None:
    async with serving(fresh_database, corpus, 1, {"in_flight_max": 1, "waiting_max": 1}) as bench:
        (server,) = bench.servers
        server.script = [*HALF, SILENT_S]
        other = await furnished(bench.world, corpus)
        holds = Leaver(bench.world, bench.caller)
        await asyncio.wait_for(holds.text.wait(), PATIENCE_S)
        waits = Leaver(bench.world, bench.caller)
        await bench.await_depth(1)
        mine = await bench.caller.post("/v1/chat/stream", QUESTION)
        assert (mine.status_code, mine.json()["code"]) == (429, "rate-limited")
        theirs = await other.post("/v1/chat/stream", QUESTION)
        assert (theirs.status_code, theirs.json()["code"]) == (503, "dependency-unavailable")
        assert mine.headers["retry-after"]
        assert theirs.headers["retry-after"]

        waits.left.set()
        await asyncio.wait_for(waits.task, PATIENCE_S)
        await bench.await_depth(0)
        server.script = WHOLE
        answered = asyncio.create_task(ask(other))
        await bench.await_depth(1)
        holds.left.set()
        await asyncio.wait_for(holds.task, PATIENCE_S)
        names, _, _ = await asyncio.wait_for(answered, PATIENCE_S)
        assert names[-1] == "done"
        # Who waited and left has asked nobody.
        await ledger(bench.world, bench.caller, 1)
        await ledger(bench.world, other, 1)


async def test_many_questions_of_one_tenant_do_not_keep_another_waiting(
    fresh_database: Settings, corpus: Corpus
) -> None:
    async with serving(fresh_database, corpus, 1, {"in_flight_max": 1}) as bench:
        (server,) = bench.servers
        server.script = [*HALF, SILENT_S]
        other = await furnished(bench.world, corpus)
        holds = Leaver(bench.world, bench.caller)
        await asyncio.wait_for(holds.text.wait(), PATIENCE_S)
        many = [asyncio.create_task(ask(bench.caller)) for _ in range(10)]
        await bench.await_depth(10)
        few = asyncio.create_task(ask(other, question="Which broker did we choose?"))
        await bench.await_depth(11)
        server.script = WHOLE
        holds.left.set()
        await asyncio.wait_for(asyncio.gather(holds.task, few, *many), PATIENCE_S)
        asked = [index for index, request in enumerate(server.requests) if "Which broker" in str(request["messages"])]
        # The first has the slot; then come at most as many of the ten as have room in one round, three.
        assert asked[0] <= 4


@pytest.mark.parametrize(
    ("tokens_max", "bytes_max"), [(1_000_000, DRAIN_BYTES_MAX), (1_000, 1_000 * DRAIN_BYTES_PER_TOKEN)]
)
async def test_an_abandoned_answer_is_not_read_beyond_its_bound(
    fresh_database: Settings, corpus: Corpus, tokens_max: int, bytes_max: int
) -> None:
    """Nor beyond what the answer was allowed, by a provider that does not keep to it."""
    async with serving(fresh_database, corpus, 1, {"on_cancel": "drain"}, output_tokens_max=tokens_max) as bench:
        (server,) = bench.servers
        half = recorded.openai_text("x" * (bytes_max // 2))
        server.script = script = HeldScript(half, half, half, SILENT_S)
        leaver = Leaver(bench.world, bench.caller)
        await asyncio.wait_for(leaver.text.wait(), PATIENCE_S)
        leaver.left.set()
        await asyncio.wait_for(leaver.task, PATIENCE_S)
        await idle(bench.world)
        script.let_go = True
        await asyncio.wait_for(server.closed.wait(), PATIENCE_S)
        (row,) = await ledger(bench.world, bench.caller, 1)
        assert (row["outcome"], row["usage_source"]) == ("cancelled", "estimated")
        assert bytes_max < row["output_visible"] * BYTES_PER_TOKEN < 2 * bytes_max
        assert await bench.metric("adriatic_llm_in_flight", target="a") == 0


@pytest.mark.parametrize("ends", [True, False], ids=["to-its-end", "cut-by-the-end-of-the-process"])
async def test_where_only_the_end_has_the_bill_it_is_waited_for(
    fresh_database: Settings, corpus: Corpus, ends: bool
) -> None:
    async with serving(fresh_database, corpus, 1, {"on_cancel": "drain"}) as bench:
        (server,) = bench.servers
        server.script = script = HeldScript(recorded.openai_text("more."), recorded.OPENAI_END)
        leaver = Leaver(bench.world, bench.caller)
        await asyncio.wait_for(leaver.text.wait(), PATIENCE_S)
        leaver.left.set()
        await asyncio.wait_for(leaver.task, PATIENCE_S)
        await idle(bench.world)
        assert not server.closed.is_set()
        assert await bench.metric("adriatic_llm_in_flight", target="a") == 1, "it is still read"
        if ends:
            script.let_go = True
            await ledger(bench.world, bench.caller, 1)
            assert await bench.metric("adriatic_llm_in_flight", target="a") == 0
    connection = await asyncpg.connect(fresh_database.postgres.dsn("admin"))
    (row,) = await connection.fetch("select * from app.usage_events where tenant_id = $1", bench.caller.tenant_id)
    await connection.close()
    assert row["outcome"] == "cancelled"
    assert (row["usage_source"], row["unseen_tokens_max"] == 0) == (
        ("provider", True) if ends else ("estimated", False)
    )
    assert b"more" not in leaver.sent
