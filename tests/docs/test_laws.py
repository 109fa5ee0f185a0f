"""Some of the laws can be read off the sources. These tests do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, tracked

ROOMS = ("adriatic", "api", "connectors", "dataflows", "runtime", "schemas", "streams", "topics")
SOURCES = [name for room in ROOMS for name in tracked(f"{room}/*.py")]
SHELL = {"dataflows/runner.py", "dataflows/sampler.py", "dataflows/oracle.py"}
"""What drives the flows and checks them. Everything else in the room is pure, but for the SQL on the connection that it
is given."""
SETTING_READ = re.compile(r"""(?:environ(?:\.get\(|\[)|getenv\()\s*["']ADRIATIC_""")
"""Handing the environment on to a child process is fine; taking a setting out of it is not."""


def names(source: str) -> Iterator[str]:
    """Every dotted name in use: `os.environ`, `Producer`, `datetime.now` …"""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute | ast.Name):
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def names_in(file: str) -> frozenset[str]:
    return frozenset(names((ROOT / file).read_text(encoding="utf-8")))


def users(*wanted: str) -> set[str]:
    return {name for name in SOURCES if names_in(name) & set(wanted)}


def test_only_change_capture_produces() -> None:
    assert users("confluent_kafka.Producer", "confluent_kafka.SerializingProducer", "aiokafka.AIOKafkaProducer") == {
        "connectors/kafka/clients.py"
    }
    assert users("connectors.kafka.clients.make_producer") == {"connectors/kafka/producer.py"}
    using = users("connectors.kafka.producer.IdempotentProducer", "connectors.kafka.producer.TransactionalProducer")
    assert using
    assert {name for name in using if not name.startswith("connectors/capture/")} == set()


def callers(*wanted: str) -> set[str]:
    """Where one of these is called, by the name that the file gives it."""
    return {
        name
        for name in SOURCES
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in wanted
    }


def test_clients_of_kafka_are_made_in_one_place() -> None:
    assert callers("Consumer", "Producer", "AdminClient") == {"connectors/kafka/clients.py"}


def test_connections_to_postgres_are_made_in_one_place_for_each_driver() -> None:
    assert callers("psycopg.connect", "psycopg.Connection.connect", "Connection.connect") == {
        "connectors/postgres/connections.py"
    }
    assert callers("asyncpg.connect", "asyncpg.create_pool") == {"api/db.py"}


def test_the_position_of_the_wal_is_asked_for_in_one_place() -> None:
    asking = {name for name in SOURCES if "pg_current_wal" in (ROOT / name).read_text(encoding="utf-8")}
    assert asking == {"connectors/postgres/wal.py"}


def test_only_the_settings_read_a_setting_from_the_environment() -> None:
    reading = {name for name in SOURCES if SETTING_READ.search((ROOT / name).read_text(encoding="utf-8"))}
    assert reading == {"runtime/settings.py"}


@pytest.mark.parametrize(
    "call", ["datetime.now", "datetime.datetime.now", "time.time", "datetime.utcnow", "date.today"]
)
def test_only_the_clock_reads_the_time(call: str) -> None:
    assert users(call) <= {"runtime/clock.py"}


@pytest.mark.parametrize("call", ["time.monotonic", "time.perf_counter", "time.sleep"])
def test_only_the_clock_measures_time_and_sleeps(call: str) -> None:
    assert users(call) <= {"runtime/clock.py"}


@pytest.mark.parametrize("library", ["psycopg", "asyncpg", "confluent_kafka", "httpx", "openai", "socket"])
def test_what_flows_compute_does_no_input_or_output(library: str) -> None:
    importing = {
        name
        for name in SOURCES
        if name.startswith("dataflows/") and name not in SHELL
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == library for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == library)
        # It makes statements of declared names, and opens nothing.
        if ast.unparse(node) != "from psycopg import sql"
    }
    assert importing == set()


def test_no_role_may_bypass_row_security() -> None:
    sql = "\n".join(
        file.read_text(encoding="utf-8").lower() for file in sorted(Path(ROOT, "schemas/sql").glob("*.sql"))
    )
    assert "nobypassrls" in sql
    assert "bypassrls" not in sql.replace("nobypassrls", "")


def test_the_search_for_names_finds_what_it_should() -> None:
    assert {"os.environ", "confluent_kafka.Producer"} <= set(
        names("import os\nfrom confluent_kafka import Producer\nos.environ['A']")
    )
