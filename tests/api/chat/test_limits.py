"""UseLimits: taken together or not at all, right over two API processes, and told to whoever meets them."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from api.chat import limits
from api.chat.limits import Limit, UseLimits
from connectors.llm import BYTES_PER_TOKEN
from connectors.postgres.attempts import settle_lost
from runtime.errors import RateLimited
from runtime.settings import LimitSettings, LlmSettings, Settings
from tests.api.chat.test_connections import furnished
from tests.api.search.corpus import Corpus
from tests.api.world import Caller, running
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import StandIn, standing_in
from tests.databases import ask
from tests.patience import PATIENCE_S

QUESTION = {"question": "Why no dual write?"}
NONE = dict.fromkeys(LimitSettings.model_fields, 0)


def limited(settings: Settings, provider: StandIn, **more: int) -> Settings:
    llm = {"provider": "openai", "model": "m", "base_url": f"{provider.url}/v1", "streams_per_tenant_max": 100}
    return settings.model_copy(
        update={
            "llm": LlmSettings.model_validate(llm),
            "limits": LimitSettings.model_validate(NONE | more),
        }
    )


def whole(text: str = "So [1].") -> list[bytes | float]:
    return [recorded.OPENAI_START, recorded.openai_text(text), recorded.OPENAI_END]


async def ask_often(callers: list[Caller], count: int) -> list[httpx.Response]:
    """All at once. Who finds the database without the time for another connection asks again: that uses up nothing."""

    async def ask_until_heard(caller: Caller) -> httpx.Response:
        answer = await caller.post("/v1/chat/stream", QUESTION)
        for _ in range(20):
            if answer.status_code != 503:
                break
            await asyncio.sleep(0.2)
            answer = await caller.post("/v1/chat/stream", QUESTION)
        return answer

    return list(await asyncio.gather(*(ask_until_heard(callers[number % len(callers)]) for number in range(count))))


def uses(settings: Settings) -> dict[tuple[str, str, str], int]:
    rows = ask(settings.postgres.dsn("admin"), "select subject, unit, time_window, used from app.limit_uses")
    return {(subject.partition(":")[0], unit, window): used for subject, unit, window, used in rows}


async def settled(settings: Settings, count: int) -> None:
    for _ in range(round(PATIENCE_S / 0.05)):
        if ask(settings.postgres.dsn("admin"), "select count(*) from app.usage_events") == [(count,)]:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{count} attempts are not settled")


@pytest.mark.stack
async def test_questions_of_a_minute_are_counted_over_all_processes_and_those_refused_are_not(
    fresh_database: Settings, corpus: Corpus
) -> None:
    tenant = await furnished(fresh_database, corpus)
    async with standing_in() as provider:
        provider.script = whole()
        settings = limited(fresh_database, provider, user_requests_per_minute=7)
        async with running(settings) as one, running(settings) as two:
            callers = [one.caller(tenant.tenant_id), two.caller(tenant.tenant_id)]
            await await_minute()
            answers = await ask_often(callers, 20)
            assert Counter(answer.status_code for answer in answers) == {200: 7, 429: 13}
            refused = next(answer for answer in answers if answer.status_code == 429)
            assert "limits.user_requests_per_minute" in refused.json()["detail"]
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert uses(settings)["user", "requests", "minute"] == 7
            assert len(provider.requests) == 7
            left = {answer.headers["ratelimit"].partition(";t=")[0] for answer in answers if answer.status_code == 200}
            assert left == {f'"user_requests_per_minute";r={number}' for number in range(7)}
            other = one.caller(tenant.tenant_id, subject="grace")
            assert (await other.post("/v1/chat/stream", QUESTION)).status_code == 200
            # The minute is over.
            with psycopg.connect(settings.postgres.dsn("admin")) as admin:
                admin.execute("update app.limit_uses set window_start = window_start - interval '1 minute'")
            assert (await callers[0].post("/v1/chat/stream", QUESTION)).status_code == 200


async def await_minute() -> None:
    """Not within the last seconds of a minute, which would be two windows."""
    if (second := datetime.now(UTC).second) >= 45:
        await asyncio.sleep(60.5 - second)


@pytest.mark.stack
async def test_answers_at_a_time_are_counted_over_all_processes(fresh_database: Settings, corpus: Corpus) -> None:
    tenant = await furnished(fresh_database, corpus)
    async with standing_in() as provider:
        provider.script = [recorded.OPENAI_START, recorded.openai_text("So"), 1.5, recorded.OPENAI_END]
        settings = limited(fresh_database, provider, user_streams=3)
        async with running(settings) as one, running(settings) as two:
            callers = [one.caller(tenant.tenant_id), two.caller(tenant.tenant_id)]
            answers = await ask_often(callers, 12)
            assert Counter(answer.status_code for answer in answers) == {200: 3, 429: 9}
            assert len(provider.requests) == 3
            await settled(settings, 12)
            assert [answer.status_code for answer in await ask_often(callers, 2)] == [200, 200]


@pytest.mark.stack
async def test_a_new_user_has_few_questions(fresh_database: Settings, corpus: Corpus) -> None:
    tenant = await furnished(fresh_database, corpus)
    async with standing_in() as provider:
        provider.script = whole()
        settings = limited(fresh_database, provider, new_user_requests=2)
        async with running(settings) as world:
            caller = world.caller(tenant.tenant_id)
            answers = [await caller.post("/v1/chat/stream", QUESTION) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [200, 200, 429]
            assert int(answers[2].headers["retry-after"]) > 86_000
            with psycopg.connect(settings.postgres.dsn("admin")) as admin:
                admin.execute("update app.users set created_at = now() - interval '25 hours'")
            assert (await caller.post("/v1/chat/stream", QUESTION)).status_code == 200


@pytest.mark.stack
async def test_an_api_key_is_no_stranger_on_its_first_day(fresh_database: Settings, corpus: Corpus) -> None:
    tenant = await furnished(fresh_database, corpus)
    async with standing_in() as provider:
        provider.script = whole()
        settings = limited(fresh_database, provider, new_user_requests=1)
        async with running(settings) as world:
            admin = world.caller(tenant.tenant_id)
            made = await admin.post("/v1/keys", {"name": "web-app", "scopes": ["chat"]})
            program = Caller(world.http, tenant.tenant_id, made.json()["secret"])
            for caller, allowed in ((admin, 1), (program, 3)):
                answers = [await caller.post("/v1/chat/stream", QUESTION) for _ in range(3)]
                assert [answer.status_code for answer in answers] == [200] * allowed + [429] * (3 - allowed)


@pytest.mark.stack
async def test_tokens_of_a_day_are_counted_by_whoever_settles(fresh_database: Settings, corpus: Corpus) -> None:
    tenant = await furnished(fresh_database, corpus)
    async with running(fresh_database) as world:
        other_tenant = await world.tenant()
    corpus.log(other_tenant.tenant_id, "default")
    corpus.adr(other_tenant.tenant_id, "Nobody writes twice", "# Nobody writes twice\n\nA dual write fails.\n")
    async with standing_in() as provider:
        provider.script = whole()
        settings = limited(fresh_database, provider, tenant_tokens_per_day=10)
        async with running(settings) as world:
            caller = world.caller(tenant.tenant_id)
            assert (await caller.post("/v1/chat/stream", QUESTION)).status_code == 200
            await settled(settings, 1)
            rows = ask(
                settings.postgres.dsn("admin"),
                "select input_uncached + cache_read + output_visible + reasoning from app.usage_events",
            )
            ((tokens,),) = rows
            for subject in ("tenant", "user", "key"):
                assert uses(settings)[subject, "tokens", "day"] == tokens
                assert uses(settings)[subject, "tokens", "month"] == tokens
            refused = await world.caller(tenant.tenant_id, subject="grace").post("/v1/chat/stream", QUESTION)
            assert (refused.status_code, refused.json()["code"]) == (429, "rate-limited")
            assert "limits.tenant_tokens_per_day" in refused.json()["detail"]
            assert ("user", "requests", "minute") in uses(settings)
            other = world.caller(other_tenant.tenant_id)
            assert (await other.post("/v1/chat/stream", QUESTION)).status_code == 200, "another tenant is not concerned"


@pytest.mark.stack
def test_what_a_dead_process_left_is_counted(fresh_database: Settings, corpus: Corpus) -> None:
    tenant_id, user_id = corpus.tenant("dead"), uuid4()
    with psycopg.connect(fresh_database.postgres.dsn("admin")) as admin:
        admin.execute("insert into app.users (tenant_id, user_id, subject) values (%s, %s, 'a')", [tenant_id, user_id])
        admin.execute(
            "insert into app.attempts (tenant_id, attempt_id, process_id, session_id, user_id, provider, model, "
            "input_bytes, output_tokens_max, begun_at) values (%s, gen_random_uuid(), gen_random_uuid(), "
            "gen_random_uuid(), %s, 'openai', 'm', 400, 50, now() - interval '1 hour')",
            [tenant_id, user_id],
        )
    with psycopg.connect(fresh_database.postgres.dsn("flows")) as flows:
        assert settle_lost(flows, BYTES_PER_TOKEN) == 1
    assert uses(fresh_database)["user", "tokens", "day"] == 400 / BYTES_PER_TOKEN


def row(unit: str, window: str, used: int, left_s: float) -> dict[str, Any]:
    return {"subject": "tenant", "unit": unit, "time_window": window, "used": used, "left_s": left_s}


def test_the_limit_that_lasts_longest_is_told() -> None:
    day = Limit("tenant_tokens_per_day", "tenant", "tokens", "day", 100)
    month = Limit("tenant_tokens_per_month", "tenant", "tokens", "month", 1_000)
    with pytest.raises(RateLimited, match="per_month") as refused:
        limits.judge([day, month], [row("tokens", "day", 100, 60.0), row("tokens", "month", 1_000, 86_400.4)])
    assert refused.value.coordinates == {"retry_after_s": 86_400}
    standings = limits.judge([day, month], [row("tokens", "day", 99, 0.2)])
    assert [(each.remaining, each.resets_s) for each in standings] == [(1, 1), (1_000, 30 * 86_400)]
    assert limits.tell(standings) == {
        "ratelimit-policy": '"tenant_tokens_per_day";q=100;w=86400, "tenant_tokens_per_month";q=1000;w=2592000',
        "ratelimit": '"tenant_tokens_per_day";r=1;t=1, "tenant_tokens_per_month";r=1000;t=2592000',
    }
    assert limits.tell([]) == {}


def test_a_request_may_use_up_what_there_is() -> None:
    minute = Limit("user_requests_per_minute", "tenant", "requests", "minute", 3)
    assert limits.judge([minute], [row("requests", "minute", 3, 5.0)])[0].remaining == 0
    with pytest.raises(RateLimited):
        limits.judge([minute], [row("requests", "minute", 4, 5.0)])


def test_a_limit_of_none_is_none() -> None:
    assert UseLimits(LimitSettings.model_validate(NONE)).find(uuid4(), "key") == []
    with_key = UseLimits(LimitSettings(key_tokens_per_day=5)).find(uuid4(), "key")
    assert "key_tokens_per_day" in [each.name for each in with_key]
    assert "key_tokens_per_day" not in [each.name for each in UseLimits(LimitSettings()).find(uuid4(), None)]
