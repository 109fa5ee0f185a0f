"""Some of the laws can be read off the sources. These tests do."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.docs.code import SOURCES, parse
from tests.docs.markdown import ROOT
from tests.docs.qualified import aliases, names, qualify, values

SHELL = {"dataflows/runner.py", "dataflows/sampler.py", "dataflows/oracle.py"}
"""What drives the flows and checks them. Everything else in the room is pure, but for the SQL on the connection that it
is given."""
KAFKA_PRODUCER = r"(?:confluent_kafka|aiokafka|kafka)\..*Producer"
KAFKA_CLIENT = r"(?:confluent_kafka|aiokafka|kafka|faust)\.(?:.*\.)?\w*(?:Consumer|Producer|AdminClient)"
PSYCOPG_CONNECT = r"(?:psycopg\w*\.(?:.*\.)?|connectors\.postgres\.\w+\.Connection\.)(?:connect\w*|\w*ConnectionPool)"
ASYNCPG_CONNECT = r"asyncpg\.(?:.*\.)?(?:connect|create_pool|Pool)"
WALL_CLOCK = r"datetime\.\w+\.(?:now|utcnow|today)"
MONOTONIC_CLOCK = r"time(?:\..*)?"
"""All of the module: whatever else it has is a clock too, or a sleep."""
SETTING_READ = re.compile(r"os\.(?:getenv|environ\.(?:get|pop|setdefault|__getitem__))")
PASS_ON = {
    "adriatic/stack/jvm.py": "names of the system's variables, for a JVM",
    "adriatic/stack/system.py": "names of the system's variables, for servers that are not ours",
    "runtime/secret_references.py": "variables that a setting names, which keep a secret",
}
"""Files that take variables out of the environment whose name is not on the spot: which."""


@cache
def _matching(find: Callable[[ast.AST], Iterator[str]], file: str) -> frozenset[str]:
    return frozenset(find(parse(file)))


def users(pattern: str) -> set[str]:
    """Files that use a qualified name like this, be it only to import it."""
    return {file for file in SOURCES if any(re.fullmatch(pattern, name) for name in _matching(names, file))}


def makers(pattern: str) -> set[str]:
    """Files that call a qualified name like this, subclass it, or hand it on. To name it as a type is fine."""
    return {file for file in SOURCES if any(re.fullmatch(pattern, name) for name in _matching(values, file))}


def test_only_change_capture_produces() -> None:
    assert users(KAFKA_PRODUCER) == {"connectors/kafka/clients.py"}
    assert users(r"connectors\.kafka\.clients\.make_producer") == {"connectors/kafka/producer.py"}
    using = users(r"connectors\.kafka\.producer\.(?:Idempotent|Transactional)Producer")
    assert using
    assert {name for name in using if not name.startswith("connectors/capture/")} == set()


def test_clients_of_kafka_are_made_in_one_place() -> None:
    # Faust makes its consumer by itself, of a subclass of ours, which begins where our ledger says.
    assert makers(KAFKA_CLIENT) == {"connectors/kafka/clients.py", "connectors/kafka/faust_app.py"}
    assert {
        name for name in _matching(values, "connectors/kafka/faust_app.py") if re.fullmatch(KAFKA_CLIENT, name)
    } == {"faust.transport.drivers.aiokafka.Consumer"}


def test_connections_to_postgres_are_made_in_one_place_for_each_driver() -> None:
    assert makers(PSYCOPG_CONNECT) == {"connectors/postgres/connections.py"}
    assert makers(ASYNCPG_CONNECT) == {"api/db.py"}


def test_the_position_of_the_wal_is_asked_for_in_one_place() -> None:
    asking = {name for name in SOURCES if "pg_current_wal" in (ROOT / name).read_text(encoding="utf-8")}
    assert asking == {"connectors/postgres/wal.py"}


def environment_reads(tree: ast.AST) -> Iterator[ast.expr]:
    """The name of each variable that is taken out of the environment. To hand all of it on to a child is fine."""
    known = aliases(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and SETTING_READ.fullmatch(qualify(node.func, known)):
            yield next(iter([*node.args, *(one.value for one in node.keywords)]))
        elif (
            isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and qualify(node, known) == "os.environ"
        ):
            yield node.slice


def takes_a_setting(tree: ast.AST) -> bool:
    """Whether one of these is ours, or may be: only what is written on the spot says that it is not."""
    return any(
        not isinstance(name, ast.Constant) or str(name.value).startswith("ADRIATIC_")
        for name in environment_reads(tree)
    )


def test_only_the_settings_read_a_setting_from_the_environment() -> None:
    assert {name for name in SOURCES if takes_a_setting(parse(name))} == {"runtime/settings.py", *PASS_ON}


def test_only_the_clock_reads_the_time() -> None:
    assert users(WALL_CLOCK) == {"runtime/clock.py"}


def test_only_the_clock_measures_time_and_sleeps() -> None:
    assert users(MONOTONIC_CLOCK) == {"runtime/clock.py"}


@pytest.mark.parametrize("library", ["psycopg", "asyncpg", "confluent_kafka", "aiokafka", "httpx", "openai", "socket"])
def test_what_flows_compute_does_no_input_or_output(library: str) -> None:
    # `psycopg.sql` makes statements of declared names, and opens nothing.
    using = users(rf"{library}(?!\.sql(?:\.|$))(?:\..*)?")
    assert {name for name in using if name.startswith("dataflows/")} <= SHELL


def test_no_role_may_bypass_row_security() -> None:
    sql = "\n".join(
        file.read_text(encoding="utf-8").lower() for file in sorted(Path(ROOT, "schemas/sql").glob("*.sql"))
    )
    assert "nobypassrls" in sql
    assert "bypassrls" not in sql.replace("nobypassrls", "")


# --- the checks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "source"),
    [
        (MONOTONIC_CLOCK, "import time as t\nt.sleep(1)"),
        (MONOTONIC_CLOCK, "import time as t\nt.monotonic_ns()"),
        (MONOTONIC_CLOCK, "from time import sleep as s\ns(1)"),
        (MONOTONIC_CLOCK, "def f():\n    from time import perf_counter_ns"),
        (WALL_CLOCK, "import datetime as d\nd.datetime.now()"),
        (WALL_CLOCK, "from datetime import datetime as d\nnow = d.utcnow"),
        (WALL_CLOCK, "from datetime import date\ndate.today()"),
        (KAFKA_PRODUCER, "import confluent_kafka as ck\nck.SerializingProducer({})"),
        (KAFKA_PRODUCER, "from aiokafka import AIOKafkaProducer as P"),
    ],
)
def test_a_use_is_found_by_whatever_name(pattern: str, source: str) -> None:
    assert any(re.fullmatch(pattern, name) for name in names(ast.parse(source)))


@pytest.mark.parametrize(
    ("pattern", "source"),
    [
        (KAFKA_CLIENT, "import confluent_kafka as ck\nck.Consumer({})"),
        (KAFKA_CLIENT, "import confluent_kafka.admin\nconfluent_kafka.admin.AdminClient({})"),
        (KAFKA_CLIENT, "from aiokafka import AIOKafkaConsumer\nAIOKafkaConsumer()"),
        (KAFKA_CLIENT, "from confluent_kafka import Consumer\nmake = Consumer\nmake({})"),
        (KAFKA_CLIENT, "from confluent_kafka import Consumer\npartial(Consumer, {})"),
        (KAFKA_CLIENT, "from confluent_kafka import Consumer\nclass Own(Consumer): ..."),
        (PSYCOPG_CONNECT, "from psycopg import connect\nconnect(dsn)"),
        (PSYCOPG_CONNECT, "import psycopg as p\np.AsyncConnection[int].connect(dsn)"),
        (PSYCOPG_CONNECT, "from psycopg_pool import ConnectionPool\nConnectionPool(dsn)"),
        (PSYCOPG_CONNECT, "from connectors.postgres.connections import Connection\nConnection.connect(dsn)"),
        (ASYNCPG_CONNECT, "from asyncpg import create_pool as pool\npool(dsn)"),
    ],
)
def test_a_client_is_found_by_whatever_name(pattern: str, source: str) -> None:
    assert any(re.fullmatch(pattern, name) for name in values(ast.parse(source)))


def test_a_client_may_be_named_as_a_type() -> None:
    source = "from confluent_kafka import Consumer\ndef f(one: Consumer) -> list[Consumer]:\n    own: Consumer = one"
    assert not any(re.fullmatch(KAFKA_CLIENT, name) for name in values(ast.parse(source)))


@pytest.mark.parametrize(
    ("source", "is_ours"),
    [
        ("from os import environ as e\ne['ADRIATIC_HOME']", True),
        ("import os as o\no.getenv(key='ADRIATIC_HOME')", True),
        ("import os\nown = os.environ\nown.get(NAME)", True),
        ("import os\nos.environ.get('TERM')", False),
        ("import os\nstart({**os.environ, 'ADRIATIC_HOME': home})", False),
    ],
)
def test_a_setting_that_is_taken_is_found(source: str, is_ours: bool) -> None:
    assert takes_a_setting(ast.parse(source)) is is_ours
