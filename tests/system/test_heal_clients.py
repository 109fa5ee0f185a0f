"""A client that lived through the death of its server answers again, without anybody making it anew."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from adriatic.watch.watcher import BROKER_S_MAX, DATABASE_S_MAX
from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.groups import Broker
from connectors.kafka.offsets import Offsets
from connectors.kafka.records import TopicPartition
from connectors.postgres.watch import Watch
from connectors.registry import RegistryClient
from connectors.replaceable import ReplaceableClient
from runtime.errors import DependencyUnavailable
from tests.copies import Copy
from tests.crash.healing import PATIENCE_S
from tests.system.conftest import Tenant, World, eventually

pytestmark = [pytest.mark.stack, pytest.mark.crash, pytest.mark.timeout(600)]

PLACE = TopicPartition("adriatic.app.adr_versions", 0)


def test_every_client_that_lives_long_survives_its_server(world: World, system_copy: Copy, tenant: Tenant) -> None:
    settings = world.settings
    with contextlib.ExitStack() as stack:
        registry = stack.enter_context(RegistryClient(settings.registry))
        admin, offsets = KafkaAdmin(settings.kafka), Offsets(settings.kafka)
        broker = ReplaceableClient("kafka", lambda: Broker(settings.kafka), BROKER_S_MAX, close=Broker.close)
        database = ReplaceableClient("postgres", lambda: Watch(settings, "old"), DATABASE_S_MAX, close=Watch.close)
        stack.callback(broker.close)
        stack.callback(database.close)
        asked: dict[str, Callable[[], Any]] = {
            "registry": registry.subjects,
            "administration": lambda: admin.topics(()),
            "offsets": lambda: offsets.first([PLACE]),
            "watch of groups": lambda: broker.ask_apart(lambda client: client.poll({})),
            "watch of the database": lambda: database.ask_apart(Watch.facts),
            "pool of the API": lambda: tenant.http.get("/v1/activity").raise_for_status(),
        }
        for name, ask in asked.items():
            eventually(f"{name} answers", ask)
        for part in ("registry", "kafka", "postgres"):
            before = system_copy.process(part)
            before.send_signal(signal.SIGKILL)
            eventually(f"{part} is back", lambda: _is_ready(world, part, before.pid), PATIENCE_S)  # noqa: B023
            for name, ask in asked.items():
                eventually(f"{name} answers after {part} died", lambda: _answers(ask), PATIENCE_S)  # noqa: B023
        eventually("all is well", world.is_well, PATIENCE_S)


def _answers(ask: Callable[[], Any]) -> bool:
    with contextlib.suppress(DependencyUnavailable, httpx.HTTPError):
        return bool(ask())
    return False


def _is_ready(world: World, part: str, before: int) -> bool:
    _, shown = world.status()
    return any(row["name"] == part and row["state"] == "ready" and row["pid"] != before for row in shown["parts"])
