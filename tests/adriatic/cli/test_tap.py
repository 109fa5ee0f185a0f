"""`adriatic tap` at the command line, on a topic with everything in it."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from adriatic.cli.tap import tap
from connectors.kafka.shown import FIELDS, MASKED
from connectors.registry import RegistryClient
from runtime.errors import InvalidInput, NotFound
from runtime.settings import Settings
from schemas import catalog as contracts
from schemas.codec import Encoder
from tests.dataflows.world import Version, envelope
from tests.patience import PATIENCE_S
from topics import catalog

VERSIONS = "adriatic.app.adr_versions"
TENANT = uuid.uuid4()
ADRS = [uuid.uuid4() for _ in range(5)]


@pytest.fixture(scope="module")
def name(stack: Settings) -> Iterator[str]:
    """Five ADRs; between them garbage, an unknown schema, a truncated record, a tombstone, an empty value."""
    topic = f"tapped-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({**stack.kafka.client_config()})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    with RegistryClient(stack.registry) as registry:
        for side in ("key", "value"):
            subject = f"{VERSIONS}-{side}"
            registry.register(subject, contracts.schema(subject))
        key, value = Encoder(registry, f"{VERSIONS}-key"), Encoder(registry, f"{VERSIONS}-value")
        keys = [key.encode({"tenant_id": str(TENANT), "adr_id": str(adr), "version": 1}) for adr in ADRS]
        values = [value.encode(envelope(Version(TENANT, adr, 1, title=f"Secret {n}"))) for n, adr in enumerate(ADRS)]
    broken = [b"garbage", struct.pack(">bI", 0, 2_000_000_000) + b"?", values[0][:40], None, b""]
    producer = Producer({**stack.kafka.client_config()})
    for n in range(5):
        producer.produce(topic, values[n], keys[n], headers=[("adriatic.tenant", str(TENANT).encode())])
        producer.produce(topic, broken[n], keys[n] if n % 2 else b"\xff")
    assert producer.flush(30) == 0
    yield topic
    admin.delete_topics([topic])[topic].result(30)


@pytest.fixture
def tapped(stack: Settings, name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The topic, declared as that of versions is."""
    declared = {**catalog.load(), name: msgspec.structs.replace(catalog.load()[VERSIONS], name=name)}
    monkeypatch.setattr("adriatic.cli.tap.load", lambda: stack)
    monkeypatch.setattr("adriatic.cli.tap.catalog.load", lambda: declared)
    return name


def run(*arguments: str) -> Result:
    return CliRunner().invoke(tap, arguments)


def objects(*arguments: str) -> list[dict[str, Any]]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_following_has_no_end() -> None:
    result = run("t", "--follow", "--until", "5")
    assert result.exit_code == 2
    assert "--until" in result.stderr


@pytest.mark.stack
def test_every_record_is_shown_whatever_is_in_it(tapped: str) -> None:
    found = objects(tapped)
    assert [tuple(each) for each in found] == [FIELDS] * 10
    assert [each["offset"] for each in found] == list(range(10))
    assert [each["errors"].get("value", {}).get("code") for each in found[1::2]] == [
        "undecodable",
        "unknown-schema",
        "undecodable",
        None,
        "undecodable",
    ]
    assert found[7]["value"] is None
    assert found[1]["errors"]["key"] == {
        "code": "undecodable",
        "detail": "1 bytes are too few for the wire format",
        "size_bytes": 1,
        "hex": "ff",
    }
    assert found[0]["key"] == {"tenant_id": str(TENANT), "adr_id": str(ADRS[0]), "version": 1}
    assert found[0]["headers"] == [["adriatic.tenant", str(TENANT)]]
    assert found[0]["value"]["after"]["version"] == 1


@pytest.mark.stack
def test_personal_data_is_masked_unless_asked_for(tapped: str) -> None:
    hidden, open_ = run(tapped).output, run(tapped, "--unmask").output
    assert "Secret" not in hidden
    assert "order matters" not in hidden
    assert "Secret 3" in open_
    assert objects(tapped)[0]["value"]["after"]["title"] == MASKED
    assert b"Secret".hex() not in hidden, "nor in the bytes of what cannot be decoded"
    with pytest.raises(InvalidInput, match="masked"):
        raise run(tapped, "--where", "after.title~Secret").exception or AssertionError
    assert len(objects(tapped, "--where", "after.title~Secret", "--unmask")) == 5


@pytest.mark.stack
def test_a_topic_that_nobody_declares_is_masked_as_a_whole(
    tapped: str, stack: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("adriatic.cli.tap.load", lambda: stack)
    result = run(tapped)
    assert "Secret" not in result.output
    assert str(TENANT) not in "".join(line.partition("key")[2] for line in result.stdout.splitlines())
    assert "--unmask shows it" in result.stderr


@pytest.mark.stack
def test_filters_columns_and_bounds(tapped: str) -> None:
    by_key = objects(tapped, "--key", f"adr_id={ADRS[2]}")
    assert [each["offset"] for each in by_key] == [4]
    table = run(tapped, "--columns", "offset,op,after.title,after.version", "--where", "op=c", "--limit", "2")
    assert table.stdout.splitlines() == [
        "offset\top\tafter.title\tafter.version",
        f"0\tc\t{MASKED}\t1",
        f"2\tc\t{MASKED}\t1",
    ]
    assert "2 shown" in table.stderr
    assert "stopped at --limit" in table.stderr
    assert "not looked at" in table.stderr
    assert objects(tapped, "--columns", "offset,op", "--limit", "1") == [{"offset": 0, "op": "c"}]
    assert [each["offset"] for each in objects(tapped, "--from", "3", "--until", "5")] == [3, 4]
    scanned = run(tapped, "--max-records", "3")
    assert "scanned 3 records of 1 partitions" in scanned.stderr
    assert "stopped at --max-records" in scanned.stderr
    everything = run(tapped)
    assert "scanned 10 records" in everything.stderr
    assert "4 undecodable; to the end" in everything.stderr
    assert "not looked at" not in everything.stderr


@pytest.mark.stack
def test_a_topic_that_is_not_there_is_said(tapped: str) -> None:
    assert isinstance(run(f"no-{tapped}").exception, NotFound)


def process(stack: Settings, *arguments: str) -> subprocess.Popen[str]:
    addresses = {
        "ADRIATIC_KAFKA__BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers,
        "ADRIATIC_REGISTRY__URL": stack.registry.url,
        "ADRIATIC_HOME": str(stack.home),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "adriatic", "tap", *arguments],
        env={**os.environ, **addresses},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.stack
def test_ctrl_c_ends_a_follower_with_its_account(stack: Settings, name: str) -> None:
    running = process(stack, name, "--follow", "--from", "8", "--json")
    assert running.stdout is not None
    assert json.loads(running.stdout.readline())["offset"] == 8
    assert json.loads(running.stdout.readline())["offset"] == 9
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert (running.returncode, out) == (0, "")
    assert "scanned 2 records" in err
    assert "interrupted" in err
    assert "Traceback" not in err


@pytest.mark.stack
def test_a_reader_that_has_seen_enough_ends_it(stack: Settings, name: str) -> None:
    running = process(stack, name, "--follow", "--from", "beginning", "--json")
    assert running.stdout is not None
    assert running.stdout.readline()
    running.stdout.close()
    producer = Producer({**stack.kafka.client_config()})
    for _ in range(20):
        producer.produce(name, b"more", b"more", partition=0)
        producer.flush(10)
        try:
            running.wait(0.5)
        except subprocess.TimeoutExpired:
            continue
        break
    assert running.wait(PATIENCE_S) == 0
    assert running.stderr is not None
    with running.stderr as err:
        assert "Traceback" not in err.read()
