"""`adriatic cdc` as an operator meets it, on the committed contracts and the migrated tables."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from pydantic import BaseModel, SecretStr

from connectors.kafka.partitioner import partition_for
from connectors.registry import RegistryClient
from runtime.settings import Settings
from schemas.codec import Decoder
from tests.patience import PATIENCE_S
from topics import catalog

pytestmark = pytest.mark.stack

TOPIC = "adriatic.app.tenants"
PARTITIONS = 8


class Operator:
    """Somebody at the command line."""

    def __init__(self, settings: Settings) -> None:
        self.slot = f"cli_{uuid.uuid4().hex[:8]}"
        self.port = _free_port()
        cdc = settings.cdc.model_copy(update={"slot": self.slot, "heartbeat_s": 0.2})
        telemetry = settings.telemetry.model_copy(update={"ops_port": self.port})
        self.settings = settings.model_copy(update={"cdc": cdc, "telemetry": telemetry})
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ADRIATIC_")}
        self._environment = inherited | _environment(self.settings) | {"ADRIATIC_HOME": str(settings.home)}

    def run(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "adriatic", *arguments],
            env=self._environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "adriatic", *arguments], env=self._environment)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("cdc", "status", "--json"))
        return found

    def health(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=60) as answer:
                report: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            report = json.load(error)
        except OSError:
            report = {"status": "not there"}
        return report

    def until_ready(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE_S
        while (report := self.health())["status"] != "ready":
            assert time.monotonic() < end, report
            time.sleep(0.1)
        return report


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _environment(section: BaseModel, prefix: str = "ADRIATIC_", separator: str = "") -> dict[str, str]:
    """Settings as the variables that make them."""
    found: dict[str, str] = {}
    for name, value in section:
        full = f"{prefix}{separator}{name.upper()}"
        if isinstance(value, BaseModel):
            found |= _environment(value, full, "__")
        elif isinstance(value, SecretStr):
            found[full] = value.get_secret_value()
        elif isinstance(value, str | int | float | bool):
            found[full] = str(value)
    return found


@pytest.fixture
def operator(fresh_database: Settings) -> Operator:
    return Operator(fresh_database)


def _records(settings: Settings, tenant: str) -> list[Any]:
    """What the topic says of one tenant."""
    consumer = Consumer(
        {
            **settings.kafka.client_config(),
            "group.id": "tests",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    found = []
    try:
        consumer.assign([TopicPartition(TOPIC, partition_for(tenant, PARTITIONS), 0)])
        with RegistryClient(settings.registry) as registry:
            decoder = Decoder(registry)
            while (message := consumer.poll(60)) is not None and message.error() is None:
                key: Any = message.key()
                value: Any = message.value()
                if decoder.decode(key)["tenant_id"] == tenant:
                    found.append(decoder.decode(value))
    finally:
        consumer.close()
    return found


def test_an_operators_day(operator: Operator, tmp_path: Path) -> None:
    operator.run("topics", "apply")
    operator.run("schemas", "register")
    before = operator.status()
    assert (before["state"], before["snapshot"], before["lsn"]) == ("no slot", "wanted", None)
    assert "nothing yet" in operator.run("cdc", "status")
    tenant, other = str(uuid.uuid4()), str(uuid.uuid4())
    insert = "insert into app.tenants (tenant_id, slug, name) values (%s, %s, 'T')"
    with psycopg.connect(operator.settings.postgres.dsn("owner"), autocommit=True) as owner:
        owner.execute(insert, [tenant, f"t-{tenant}"])
        running = operator.start("cdc", "run")
        try:
            operator.until_ready()
            owner.execute(insert, [other, f"t-{other}"])
            end = time.monotonic() + PATIENCE_S
            while not (found := _records(operator.settings, other)):
                assert time.monotonic() < end
            assert [record["op"] for record in found] == ["c"]
            assert [record["op"] for record in _records(operator.settings, tenant)] == ["r"]
            status = operator.status()
            assert (status["state"], status["snapshot"]) == ("streaming", "done")
            assert {table["state"] for table in status["tables"]} == {"streaming"}
            captured = [topic for topic in catalog.load().values() if topic.kind == "capture"]
            assert len(status["tables"]) == len(captured)
            assert status["behind_s"] < 60
            facts = operator.health()["facts"]
            assert facts["slot"] == operator.slot
            assert facts["records"] >= 1
            assert facts["slot_wal_bytes"] >= 0
            with urllib.request.urlopen(f"http://127.0.0.1:{operator.port}/metrics", timeout=60) as answer:
                assert f'adriatic_cdc_events_total{{topic="{TOPIC}"}}' in answer.read().decode()
            assert "nothing was changed" in operator.run("cdc", "reset", code=1)
            assert "kept" in operator.run("cdc", "reset", "--yes")
            while len(_records(operator.settings, tenant)) < 2:
                assert time.monotonic() < end
            assert [record["op"] for record in _records(operator.settings, other)] == ["c", "r"]
        finally:
            running.terminate()
            assert running.wait(PATIENCE_S) == 0
    assert operator.status()["state"] == "not being read"
