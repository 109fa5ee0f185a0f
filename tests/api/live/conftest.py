"""Fixtures of the live reads' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adriatic.settings import Settings
from tests.api.live import world as worlds
from tests.api.live.world import World


@pytest.fixture
def world(fresh_database: Settings) -> Iterator[World]:
    with worlds.made(fresh_database) as made:
        yield made
