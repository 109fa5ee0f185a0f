"""What operators read of the gateway at `/metrics`, off an API process that runs: the names of the specification and
our own, after one answer that needed a failover."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.auth.issuer import LocalIssuer
from connectors.llm.fake.scripts import FakePace
from connectors.llm.fake.server import FakeLlm, listen
from runtime.deadline import Deadline
from runtime.settings import Settings
from tests.api.chat.test_connections import furnished
from tests.api.search.corpus import Corpus
from tests.api.test_server import serving
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.stack

MOVED = (
    *("ai_first_token_duration_ms_count", "ai_inter_token_duration_ms_count", "ai_tokens_per_second_count"),
    *("ai_tokens_total", "ai_cost_total", "chat_sessions_total", "adriatic_chats_total"),
    *("adriatic_llm_failures_total", "adriatic_llm_failovers_total"),
)
"""What has counted something."""
SHOWN = (
    *("adriatic_llm_breaker_state", "adriatic_llm_in_flight", "adriatic_llm_queue_depth"),
    *("adriatic_budget_leases_open", "adriatic_chats_active", "adriatic_chats_unsettled"),
)
"""What shows the present, and is at rest again."""


async def test_operators_read_the_gateway_off_a_running_process(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    tenant = await furnished(fresh_database, corpus)
    token = LocalIssuer.open(fresh_database.home, fresh_database.auth).mint(tenant.tenant_id, subject="ada", ttl_s=600)
    headers = {"authorization": f"Bearer {token.text}"}
    async with listen(FakeLlm("whole", FakePace(0.01, 0.01, 8))) as fake:
        targets = [
            {"name": name, "provider": "openai", "model": model, "base_url": f"{fake.url}/v1"}
            for name, model in (("ailing", "fake-status-503"), ("well", "gpt-4o-mini"))
        ]
        models = {"ADRIATIC_LLM__MODELS": json.dumps([{"name": "adviser", "targets": targets}])}
        with serving(fresh_database, tmp_path, **models) as server:
            async with httpx.AsyncClient(base_url=server.url, timeout=60, headers=headers) as http:
                answer = await http.post("/v1/chat/stream", json={"question": "Why no dual write?"})
                assert "event: done" in answer.text, answer.text
                deadline = Deadline.after(PATIENCE_S)
                while True:  # what it cost is written down after its end
                    values, targets_shown = read((await http.get("/metrics")).text)
                    if not values["adriatic_chats_unsettled"] or deadline.passed:
                        break
                    await asyncio.sleep(0.05)
    assert [name for name in MOVED if not values.get(name)] == []
    assert {name: values.get(name) for name in SHOWN} == dict.fromkeys(SHOWN, 0.0)
    assert targets_shown["adriatic_llm_queue_depth"] >= {"ailing", "well"}


def read(exposed: str) -> tuple[dict[str, float], dict[str, set[str]]]:
    """The sum of each metric over its labels, and the targets that it is of."""
    values: dict[str, float] = {}
    targets: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(exposed):
        for sample in family.samples:
            values[sample.name] = values.get(sample.name, 0.0) + sample.value
            targets.setdefault(sample.name, set()).add(sample.labels.get("target", ""))
    return values, targets
