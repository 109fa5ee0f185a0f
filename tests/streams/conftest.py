"""Fixtures of the agents', the crawler's and the worker's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runtime.settings import Settings
from tests.connectors.fetching.local_web import LocalWeb, serving_web
from tests.dataflows import world as worlds
from tests.streams.crawl_world import Crawls
from tests.streams.world import Bench


@pytest.fixture
def bench(fresh_database: Settings) -> Bench:
    return Bench(fresh_database)


@pytest.fixture
def world(fresh_database: Settings) -> Iterator[worlds.World]:
    with worlds.made(fresh_database) as made:
        yield made


@pytest.fixture
def outbox(world: worlds.World) -> worlds.Outbox:
    return worlds.Outbox(world)


@pytest.fixture
def crawls(bench: Bench) -> Iterator[Crawls]:
    with serving_web() as local:
        yield Crawls(bench, local)


@pytest.fixture
def local(crawls: Crawls) -> LocalWeb:
    return crawls.local
