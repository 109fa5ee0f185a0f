"""The gateway, shown step by step on a real server, with two API processes and a scripted provider."""

from __future__ import annotations

import pytest

from adriatic.drill.gateway import GatewayShow
from adriatic.drill.scratch import open_scratch
from adriatic.drill.steps import DrillStep
from runtime.settings import Settings
from tests.adriatic.drill.test_spending import scratch_databases
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.stack


async def test_each_step_shows_what_it_must(stack: Settings) -> None:
    told: list[DrillStep] = []
    async with open_scratch(stack) as scratch:
        steps = await GatewayShow(scratch, PATIENCE_S, told.append).run()
    print("\n".join(f"{step.took_ms:6} ms  {step.name}: {step.detail}" for step in steps))
    assert [step for step in steps if not step.passed] == []
    assert len(steps) == 10
    assert told == list(steps)
    assert scratch_databases(stack) == []
