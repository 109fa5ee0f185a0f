"""Fixtures of the live reads' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runtime.settings import Settings
from tests.api.live import world as worlds
from tests.api.live.world import World


@pytest.fixture(scope="module")
def world(shared_database: Settings) -> Iterator[World]:
    """Shared by the tests of a file: each has tenants of its own."""
    with worlds.made(shared_database) as made:
        yield made
