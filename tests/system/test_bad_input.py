"""Bad input, all the way: each gets its clear error, or its dead letter with coordinates and its own bytes, and what
comes after it goes on."""

from __future__ import annotations

import json
import struct
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from connectors.kafka.partitioner import partition_for
from connectors.registry import RegistryClient
from schemas.codec import Encoder
from tests.dataflows.world import Version, envelope
from tests.system.conftest import Tenant, World, eventually

pytestmark = pytest.mark.stack

VERSIONS = "adriatic.app.adr_versions"
REQUESTS = "embeddings.requested"
PARTITIONS = 8
TEXT = "# Write things down\n\nSo that nobody has to remember why the rabbit is blue.\n"


@pytest.fixture
def poison(world: World) -> Iterator[Callable[..., tuple[str, int, int]]]:
    """Produce a record as a stranger would; where it went. Its dead letters are dropped afterwards, so that other tests
    may go on demanding that there are none."""
    producer = Producer({"bootstrap.servers": world.settings.kafka.bootstrap_servers})
    places: list[tuple[str, int, int]] = []

    def produce(topic: str, tenant: Tenant, value: bytes, key: bytes = b"stranger") -> tuple[str, int, int]:
        def delivered(error: object, message: Any) -> None:
            assert error is None
            places.append((topic, message.partition(), message.offset()))

        partition = partition_for(tenant.tenant_id, PARTITIONS)
        producer.produce(topic, value, key=key, partition=partition, on_delivery=delivered)
        producer.flush(30)
        return places[-1]

    yield produce
    import psycopg

    with psycopg.connect(world.settings.postgres.dsn("flows")) as connection:
        for place in places:
            connection.execute(
                "update ops.dlq set state = 'dropped' where topic = %s and partition = %s and record_offset = %s",
                place,
            )


def test_records_that_cannot_be_read_or_processed_are_kept_and_the_partition_goes_on(
    world: World, tenant: Tenant, poison: Callable[..., tuple[str, int, int]]
) -> None:
    unknown_schema = struct.pack(">bI", 0, 2_000_000_000) + b"whatever"
    registry = RegistryClient(world.settings.registry)
    encoder = Encoder(registry, f"{VERSIONS}-value")
    wrong = envelope(Version(uuid.UUID(tenant.tenant_id), uuid.uuid4(), 1))
    wrong["after"]["effective_at"] = "the day before yesterday"
    sent = {
        poison(VERSIONS, tenant, b"\x07not ours"): ("index", "decode", "undecodable", b"\x07not ours"),
        poison(VERSIONS, tenant, unknown_schema): ("index", "decode", "unknown-schema", unknown_schema),
        poison(VERSIONS, tenant, encoder.encode(wrong)): ("index", "process", "unprocessable", encoder.encode(wrong)),
        poison(REQUESTS, tenant, b"\x00\x00"): ("embed", "decode", "undecodable", b"\x00\x00"),
    }
    after = tenant.create(TEXT)["adr_id"]
    eventually("what comes after is found", lambda: tenant.search("blue rabbit", "words") == [after])
    eventually("by meaning too", lambda: tenant.search("blue rabbit", "meaning") == [after])

    for (topic, partition, offset), (flow, stage, code, value) in sent.items():
        rows = eventually(
            f"a dead letter for {code}",
            lambda f=flow, t=topic, p=partition, o=offset: world.rows(  # type: ignore[misc]
                "select flow, stage, code, value, key from ops.dlq "
                "where flow = %s and topic = %s and partition = %s and record_offset = %s",
                f,
                t,
                p,
                o,
            ),
        )
        assert rows == [(flow, stage, code, value, b"stranger")]
        assert _in_dead_letter_topic(world, f"{topic}.dlq", value)
        shown = json.loads(world.run("dlq", "show", f"{flow}/{topic}/{partition}/{offset}", "--json").stdout)
        assert shown["code"] == code
    registry.close()
    assert world.run("verify", "--tenant", tenant.slug, check=False).returncode == 0


def test_change_capture_restarts_behind_a_stranger_s_record(
    world: World, tenant: Tenant, poison: Callable[..., tuple[str, int, int]]
) -> None:
    first = tenant.create(TEXT)["adr_id"]
    eventually("found", lambda: tenant.search("rabbit", "words") == [first])
    poison(VERSIONS, tenant, b"at the very end of the partition")
    before = world.pid("cdc")
    _kill(before)
    second = tenant.create(TEXT.replace("rabbit", "heron"))["adr_id"]
    eventually("capture goes on", lambda: tenant.search("heron", "words") == [second])
    assert world.pid("cdc") != before
    counted = world.rows("select count(*) from mv.chunks where tenant_id = %s", tenant.tenant_id)
    assert counted == [(2,)]


def test_a_text_of_fifty_megabytes_is_refused_and_says_the_limit(world: World, tenant: Tenant, tmp_path: Path) -> None:
    huge = "# Everything\n\n" + "All of it, again and again.\n" * 1_900_000
    assert len(huge) > 50_000_000
    answer = tenant.http.post("/v1/adrs", json={"body": huge}, timeout=120)
    assert answer.status_code == 413
    assert answer.json()["code"] == "too-large"
    assert answer.json()["hint"]

    (tmp_path / "0001-huge.md").write_text(huge)
    (tmp_path / "0002-small.md").write_text(TEXT)
    imported = world.run("import", str(tmp_path), "--tenant", tenant.slug, "--json", check=False)
    assert "too-large" in imported.stdout + imported.stderr
    eventually("the rest came in", lambda: len(tenant.search("blue rabbit", "words")) == 1)


def test_bytes_that_are_not_utf8_come_back_as_they_were(world: World, tenant: Tenant, tmp_path: Path) -> None:
    raw = b"# Gr\xfc\xdfe\n\nA text in Latin-1 about the blue rabbit, \x00 and all.\n"
    (tmp_path / "0001-gruesse.md").write_bytes(raw)
    world.run("import", str(tmp_path), "--tenant", tenant.slug)
    adr = eventually("found", lambda: tenant.search("blue rabbit", "words"))[0]
    assert tenant.http.get(f"/v1/adrs/{adr}/versions/1/text").content == raw


def test_requests_that_make_no_sense_are_told_what_is_wrong(new_tenant: Callable[[], Tenant], world: World) -> None:
    tenant, stranger = new_tenant(), new_tenant()
    adr = tenant.create(TEXT)
    path = f"/v1/adrs/{adr['adr_id']}"
    json_type = {"Content-Type": "application/json"}
    expired = json.loads(
        world.run("token", "--tenant", tenant.slug, "--ttl", "0s", "--json", check=False).stdout or "{}"
    )

    assert tenant.http.patch(path, json={"body": TEXT + "More.\n", "expected_version": 1}).status_code == 200
    cases = [
        (tenant.http.post("/v1/adrs", content=b"{not json", headers=json_type), 400, "invalid-input"),
        (tenant.http.post("/v1/adrs", json={"body": TEXT, "colour": "blue"}), 400, "invalid-input"),
        (tenant.http.patch(path, json={"body": "# Late\n", "expected_version": 1}), 409, "conflict"),
        (stranger.http.get(path), 404, "not-found"),
        (stranger.http.patch(path, json={"body": "# Mine\n", "expected_version": 2}), 404, "not-found"),
        (tenant.http.get(path, headers={"Authorization": "Bearer nonsense"}), 401, "unauthenticated"),
    ]
    if "token" in expired:
        header = {"Authorization": f"Bearer {expired['token']}"}
        cases.append((tenant.http.get(path, headers=header), 401, "unauthenticated"))
    for answer, status, code in cases:
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert answer.json()["hint"], answer.text


def _in_dead_letter_topic(world: World, topic: str, value: bytes) -> bool:
    """Whether the topic has a record with just these bytes."""
    consumer = Consumer(
        {
            "bootstrap.servers": world.settings.kafka.bootstrap_servers,
            "group.id": f"look-{uuid.uuid4().hex}",
            "enable.auto.commit": False,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        for _ in range(300):
            message = consumer.poll(0.1)
            if message is not None and not message.error() and message.value() == value:
                return True
        return False
    finally:
        consumer.close()


def _kill(pid: int) -> None:
    subprocess.run(["kill", "-9", str(pid)], check=True)
