"""One database for the API's tests of a run: they keep apart by making tenants of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runtime.settings import PostgresSettings, Settings
from tests import databases
from tests.api.search.corpus import Corpus, writing
from tests.api.world import Caller, World, running


@pytest.fixture(scope="session")
def shared_database(stack: Settings, template_database: str) -> Iterator[Settings]:
    with databases.fresh(stack, template_database, "api") as settings:
        yield settings


@pytest.fixture
def corpus(fresh_database: Settings) -> Iterator[Corpus]:
    """Writes into a database of its own what the flows would. All of it is searchable as of now."""
    with writing(fresh_database) as writer:
        writer.watermark(datetime.now(UTC))
        yield writer


@pytest.fixture
async def world(shared_database: Settings) -> AsyncIterator[World]:
    """A running API on a real database."""
    async with running(shared_database) as running_world:
        yield running_world


@pytest.fixture
async def tenant(world: World) -> Caller:
    """A client of a new tenant."""
    return await world.tenant()


@pytest.fixture
async def lonely(tmp_path: Path) -> AsyncIterator[World]:
    """A running API whose database does not answer: nothing listens on port 1."""
    postgres = PostgresSettings(host="127.0.0.1", port=1)
    async with running(Settings(home=tmp_path / ".adriatic", postgres=postgres)) as running_world:
        yield running_world


@pytest.fixture
async def private(fresh_database: Settings, corpus: Corpus) -> AsyncIterator[World]:
    """A running API on the database of the corpus."""
    async with running(fresh_database) as running_world:
        yield running_world
