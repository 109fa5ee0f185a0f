"""What an operator does to the running system from a terminal: look at topics, decide about dead letters."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from connectors.kafka.partitioner import partition_for
from connectors.registry import RegistryClient
from dataflows.catalog import readers_of
from schemas.codec import Encoder
from tests.dataflows.world import Version, envelope
from tests.system.conftest import Tenant, World, eventually

pytestmark = pytest.mark.stack

VERSIONS = "adriatic.app.adr_versions"
PARTITIONS = 8


def test_a_topic_is_tapped_and_nobody_notices(world: World, tenant: Tenant) -> None:
    made = tenant.create("# Tap the log\n\nNobody notices a heron.\n")["adr_id"]
    eventually("found", lambda: tenant.search("heron", "words") == [made])

    def tap(*more: str) -> list[dict[str, Any]]:
        done = world.run("tap", VERSIONS, "--from=-5m", "--key", f"adr_id={made}", "--json", *more)
        assert "to the end" in done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    (hidden,), (shown,) = tap(), tap("--unmask", "--where", "after.title~Tap")
    assert hidden["value"]["after"]["title"] == "•••"
    assert shown["value"]["after"]["title"] == "Tap the log"
    assert shown["key"] == {"tenant_id": tenant.tenant_id, "adr_id": made, "version": 1}
    assert {name for name, _ in shown["headers"]} >= {"adriatic.pos", "adriatic.committed_at", "adriatic.tenant"}
    admin = AdminClient({**world.settings.kafka.client_config()})
    groups = {group.group_id for group in admin.list_consumer_groups().result(30).valid}
    assert groups >= {"adriatic.index"}
    assert "adriatic-tap" not in groups


def test_dead_letters_are_tried_again_beside_the_running_flow(world: World, tenant: Tenant) -> None:
    with RegistryClient(world.settings.registry) as registry:
        wrong = envelope(Version(uuid.UUID(tenant.tenant_id), uuid.uuid4(), 1))
        wrong["after"]["effective_at"] = "the day before yesterday"
        value = Encoder(registry, f"{VERSIONS}-value").encode(wrong)
    letter = f"index/{VERSIONS}/{_produce(world, tenant, value)}"
    eventually("a dead letter", lambda: world.run("dlq", "show", letter, check=False).returncode == 0)
    assert "would fail again" in world.run("dlq", "redrive", letter).stdout
    failed = world.run("dlq", "redrive", letter, "--yes", check=False)
    assert (failed.returncode, failed.stdout.split()[:2]) == (1, ["failed", letter])
    assert json.loads(world.run("dlq", "show", letter, "--json").stdout)["attempts"] == 2

    # A letter of a release that is mended since: what it holds can be processed now.
    good = Version(uuid.UUID(tenant.tenant_id), uuid.uuid4(), 1, body="# Mend\n\nThe otter is back.\n")
    with RegistryClient(world.settings.registry) as registry:
        mended = Encoder(registry, f"{VERSIONS}-value").encode(envelope(good))
    assert _replace_value(world, letter, mended)
    assert world.run("dlq", "redrive", "--flow", "index", "--topic", VERSIONS, "--yes").returncode == 0
    eventually("its words are found", _found(world, str(good.adr_id)))
    shown = json.loads(world.run("dlq", "show", letter, "--json").stdout)
    assert (shown["state"], shown["attempts"]) == ("redriven", 3)
    assert world.run("dlq", "redrive", letter, "--yes").stdout == ""
    audit = world.rows("select action, result from ops.audit where target = %s order by audit_id", letter)
    assert audit == [("dlq.redrive", "failed"), ("dlq.redrive", "done")]
    # Every other flow that reads the topic has kept the record for itself, and decides for itself.
    readers = set(readers_of(VERSIONS))
    eventually("each has its own letter", lambda: _keepers(world, letter) == readers)
    assert world.run("dlq", "drop", "--topic", VERSIONS, "--reason", "a test", "--yes").returncode == 0
    _forget(world, tenant, str(good.adr_id))


def _produce(world: World, tenant: Tenant, value: bytes) -> str:
    """As a stranger would. Gives partition and offset."""
    places: list[str] = []

    def delivered(error: object, message: Any) -> None:
        assert error is None
        places.append(f"{message.partition()}/{message.offset()}")

    producer = Producer({**world.settings.kafka.client_config()})
    partition = partition_for(tenant.tenant_id, PARTITIONS)
    producer.produce(VERSIONS, value, b"stranger", partition=partition, on_delivery=delivered)
    assert producer.flush(30) == 0
    (place,) = places
    return place


def _replace_value(world: World, letter: str, value: bytes) -> bool:
    import psycopg

    with psycopg.connect(world.settings.postgres.dsn("flows")) as connection:
        changed = connection.execute(
            "update ops.dlq set value = %s where flow = %s and topic = %s and partition = %s and record_offset = %s",
            [value, *letter.split("/")],
        )
        return changed.rowcount == 1


def _keepers(world: World, letter: str) -> set[object]:
    _, *place = letter.split("/")
    rows = world.rows("select flow from ops.dlq where topic = %s and partition = %s and record_offset = %s", *place)
    return {flow for (flow,) in rows}


def _found(world: World, adr_id: str) -> Callable[[], bool]:
    return lambda: world.rows("select words_version from mv.search_state where source_id = %s", adr_id) == [(1,)]


def _forget(world: World, tenant: Tenant, adr_id: str) -> None:
    """An ADR that no table of the source has would be a difference for `verify`."""
    import psycopg

    with psycopg.connect(world.settings.postgres.dsn("flows")) as connection:
        for table in ("mv.chunks", "mv.search_state"):
            connection.execute(
                f"delete from {table} where tenant_id = %s and source_id = %s",
                [tenant.tenant_id, adr_id],
            )
