"""Fixtures of the consumers' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runtime.settings import Settings
from streams.announcements import TOPIC
from tests.connectors.consumer.world import DRIVERS, TABLE, Driver
from tests.dataflows import world as worlds
from tests.dataflows.world import World


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Driver:
    found: Driver = request.param
    return found


@pytest.fixture
def world(fresh_database: Settings) -> Iterator[World]:
    with worlds.made(fresh_database, (TOPIC,)) as made:
        with made.admin() as connection:
            connection.execute(TABLE)
        yield made
