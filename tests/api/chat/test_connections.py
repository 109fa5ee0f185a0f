"""The chat over real connections, on the server that runs in production: answers end, and callers who hang up close
the provider's connection."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from connectors.llm import BYTES_PER_TOKEN
from connectors.postgres.attempts import settle_lost
from runtime.settings import Settings
from tests.api.search.corpus import Corpus
from tests.api.test_server import client, serving
from tests.api.world import Caller, running
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import SILENT_S, standing_in
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.stack

QUESTION = {"question": "Why no dual write?"}


async def outcomes(settings: Settings, count: int) -> list[str]:
    """The ledger's, when there are `count`."""
    connection = await asyncpg.connect(settings.postgres.dsn("admin"))
    rows: list[Any] = []
    for _ in range(100):
        rows = await connection.fetch("select outcome from app.usage_events order by started_at")
        if len(rows) >= count:
            break
        await asyncio.sleep(0.05)
    await connection.close()
    return [row["outcome"] for row in rows]


async def furnished(settings: Settings, corpus: Corpus) -> Caller:
    """A tenant with one decision to ask about."""
    async with running(settings) as world:
        tenant = await world.tenant()
    corpus.log(tenant.tenant_id, "default")
    corpus.adr(tenant.tenant_id, "Nobody writes twice", "# Nobody writes twice\n\nA dual write fails.\n")
    return tenant


async def test_answers_end_and_callers_who_leave_stop_them(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    tenant = await furnished(fresh_database, corpus)
    async with standing_in() as provider:
        variables = {
            "ADRIATIC_LLM__PROVIDER": "anthropic",
            "ADRIATIC_LLM__MODEL": "claude-test-1",
            "ADRIATIC_LLM__API_KEY": "key",
            "ADRIATIC_LLM__BASE_URL": provider.url,
        }
        with serving(fresh_database, tmp_path, **variables) as server:
            async with client(server, fresh_database, tenant) as caller:
                provider.script = [recorded.ANTHROPIC_START, recorded.anthropic_text("So [1]."), recorded.ANTHROPIC_END]
                whole = await caller.post("/v1/chat/stream", QUESTION)
                assert b'"text":"So [1]."' in whole.content
                assert b"event: done" in whole.content

                provider.closed.clear()
                provider.script = [recorded.ANTHROPIC_START, recorded.anthropic_text("Half of it"), SILENT_S]
                headers = {"authorization": f"Bearer {caller.token}"}
                async with caller.http.stream("POST", "/v1/chat/stream", json=QUESTION, headers=headers) as response:
                    async for part in response.aiter_raw():
                        if b"event: delta" in part:
                            break
                await asyncio.wait_for(provider.closed.wait(), PATIENCE_S)

                provider.closed.clear()
                provider.asked.clear()
                provider.script = [recorded.ANTHROPIC_START, SILENT_S]
                asking = asyncio.create_task(caller.post("/v1/chat/stream", QUESTION))
                await asyncio.wait_for(provider.asked.wait(), PATIENCE_S)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
                await asyncio.wait_for(provider.closed.wait(), PATIENCE_S)
                assert await outcomes(fresh_database, 3) == ["completed", "cancelled", "cancelled"]
            assert server.stop() == 0


async def test_a_process_that_is_killed_leaves_each_of_its_attempts_in_the_books(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    tenant = await furnished(fresh_database, corpus)
    async with standing_in() as provider:
        provider.script = [recorded.OPENAI_START, recorded.openai_text("Half of it"), SILENT_S]
        variables = {
            "ADRIATIC_LLM__PROVIDER": "openai",
            "ADRIATIC_LLM__MODEL": "m",
            "ADRIATIC_LLM__BASE_URL": f"{provider.url}/v1",
            "ADRIATIC_LLM__STREAMS_PER_TENANT_MAX": "50",
            "ADRIATIC_LIMITS__USER_STREAMS": "0",
            "ADRIATIC_LIMITS__NEW_USER_REQUESTS": "0",
        }
        with serving(fresh_database, tmp_path, **variables) as server:
            async with client(server, fresh_database, tenant) as caller:
                asking = [asyncio.create_task(caller.post("/v1/chat/stream", QUESTION)) for _ in range(20)]
                for _ in range(round(PATIENCE_S / 0.05)):
                    if len(provider.requests) == len(asking):
                        break
                    await asyncio.sleep(0.05)
                assert len(provider.requests) == len(asking)
                server.process.kill()
                server.process.wait()
                await asyncio.gather(*asking, return_exceptions=True)
    with psycopg.connect(fresh_database.postgres.dsn("admin")) as admin:  # the time of a lease
        admin.execute("update ops.api_processes set lease_until = now() - interval '1 second'")
        admin.execute("update app.attempts set begun_at = begun_at - interval '1 minute'")
    for _ in range(2):
        with psycopg.connect(fresh_database.postgres.dsn("flows")) as flows:
            settle_lost(flows, BYTES_PER_TOKEN)
    assert await outcomes(fresh_database, 20) == ["failed"] * 20
