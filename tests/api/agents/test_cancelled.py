"""A task that is cancelled ends with all that it started, whatever the last of it is at. How soon, `python -m
bench.cancel` prints."""

from __future__ import annotations

import pytest

from runtime.settings import Settings
from tests.api.agents.slow import TURNS, Slow, cancel_while, sleeping_tool
from tests.api.agents.world import agency
from tests.api.search.corpus import Corpus

pytestmark = pytest.mark.stack

SECONDS_MAX = 15.0
"""Of a second where the machine has nothing else to do. What nobody interrupts takes ten minutes."""


@pytest.mark.parametrize("slow", ["tool", "model"])
async def test_it_ends_while_the_last_of_it_is_at_something_slow(
    fresh_database: Settings, corpus: Corpus, slow: Slow
) -> None:
    with sleeping_tool("list_adrs"):
        async with agency(fresh_database, corpus, TURNS) as made:
            assert max(await cancel_while(made, slow)) < SECONDS_MAX
            spent = await made.rows("select outcome from app.usage_events")
            # Those that started another one are over; the one that hung is in the books as cancelled.
            assert [row["outcome"] for row in spent].count("cancelled") == (slow == "model")
