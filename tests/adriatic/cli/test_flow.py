"""`adriatic flow`, `dlq` and `verify` at the command line."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from adriatic.cli.dlq import dlq
from adriatic.cli.flow import flow
from adriatic.cli.verify import verify
from connectors.kafka.records import Record
from connectors.postgres.connections import connect
from connectors.postgres.sink import DeadLetter, write_dead_letters
from dataflows import catalog
from runtime.errors import DependencyUnavailable, InvalidInput, NotFound, Undecodable
from runtime.settings import Settings
from tests import databases


def invoke(command: Any, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def test_flows_are_listed() -> None:
    names = {row["name"] for row in json.loads(invoke(flow, "list", "--json").output)}
    assert names == set(catalog.flows())
    assert all(name in invoke(flow, "list").output for name in names)


def test_an_unknown_flow_is_named() -> None:
    from dataflows.catalog import build

    with pytest.raises(NotFound, match="no flow nothing"):
        build("nothing", Settings())


@pytest.mark.parametrize("coordinates", ["", "a/b/c", "a/b/c/d", "a/b/1/2/3"])
def test_coordinates_that_are_none_are_refused(coordinates: str) -> None:
    assert isinstance(invoke(dlq, "show", coordinates).exception, InvalidInput)


@pytest.fixture
def letter(fresh_database: Settings, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The value of the one dead letter in a database that the commands look at."""
    for command in ("dlq", "verify"):
        monkeypatch.setattr(f"adriatic.cli.{command}.load", lambda: fresh_database)
    value = b"\xff\x00" * 300
    record = Record("topic", 2, 7, 0, None, value)
    databases.let_emit(fresh_database, "topic.dlq")
    with connect(fresh_database.postgres) as connection:
        write_dead_letters(connection, "index", [DeadLetter.of(record, "decode", Undecodable("not ours", hint="look"))])
    return value


@pytest.mark.stack
def test_a_dead_letter_is_listed_and_shown_with_its_bytes(letter: bytes) -> None:
    listed = invoke(dlq, "list").output
    assert "index/topic/2/7  undecodable: not ours" in listed
    found = json.loads(invoke(dlq, "list", "--json").output)
    assert [(kind["code"], kind["records"]) for kind in found["kinds"]] == [("undecodable", 1)]
    shown = json.loads(invoke(dlq, "show", "index/topic/2/7", "--json").output)
    assert base64.b64decode(shown["value"]) == letter
    assert "600 bytes" in invoke(dlq, "show", "index/topic/2/7").output
    assert isinstance(invoke(dlq, "show", "index/topic/2/8").exception, NotFound)
    assert "no dead letters" in invoke(dlq, "list", "--flow", "embed").output
    assert "no dead letters" in invoke(dlq, "list", "--topic", "another").output
    assert "no dead letters" in invoke(dlq, "list", "--code", "another").output
    assert "no dead letters" in invoke(dlq, "list", "--state", "dropped").output


@pytest.mark.stack
@pytest.mark.usefixtures("letter")
def test_verify_cannot_tell_while_the_flows_do_not_run() -> None:
    assert isinstance(invoke(verify, "--sample", "0", "--wait", "0.2").exception, DependencyUnavailable)


# --- deciding -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["redrive"], ["drop", "--reason", "x"]])
def test_deciding_asks_which_letters(command: list[str]) -> None:
    assert invoke(dlq, *command).exit_code == 2
    assert invoke(dlq, *command, "--all", "--flow", "index").exit_code == 2


def test_dropping_asks_why() -> None:
    assert invoke(dlq, "drop", "--all").exit_code == 2
    assert invoke(dlq, "drop", "--all", "--reason", " ").exit_code == 2


def states(database: Settings) -> list[tuple[Any, ...]]:
    with connect(database.postgres) as connection:
        return connection.execute("select state, attempts, code from ops.dlq").fetchall()


@pytest.mark.stack
def test_dropping_shows_first_and_then_does_it_once(letter: bytes, fresh_database: Settings) -> None:
    first = invoke(dlq, "drop", "--flow", "index", "--reason", "a test")
    assert "would   index/topic/2/7  undecodable: would be dropped" in first.stdout
    assert "nothing was done: --yes does it for 1" in first.stderr
    assert states(fresh_database) == [("new", 1, "undecodable")]
    done = json.loads(invoke(dlq, "drop", "index/topic/2/7", "--reason", "a test", "--yes", "--json").stdout)
    assert {name: done[name] for name in ("dry_run", "scanned", "matched", "done", "failed", "skipped", "left")} == {
        "dry_run": False,
        "scanned": 1,
        "matched": 1,
        "done": 1,
        "failed": 0,
        "skipped": 0,
        "left": 0,
    }
    assert done["results"] == [
        {
            "flow": "index",
            "topic": "topic",
            "partition": 2,
            "offset": 7,
            "outcome": "done",
            "code": "undecodable",
            "detail": "dropped",
        }
    ]
    again = invoke(dlq, "drop", "index/topic/2/7", "--reason", "a test", "--yes")
    assert (again.exit_code, again.stdout) == (0, "")
    assert "1 scanned, 0 matched, 0 done" in again.stderr
    with connect(fresh_database.postgres) as connection:
        audit = connection.execute("select actor, action, target, result, reason from ops.audit").fetchall()
    assert [row[1:] for row in audit] == [("dlq.drop", "index/topic/2/7", "done", "a test")]
    assert "@" in audit[0][0]
    assert isinstance(invoke(dlq, "drop", "index/topic/2/8", "--reason", "x").exception, NotFound)


@pytest.mark.stack
def test_a_redrive_shows_first_says_what_failed_again_and_how_much_is_left(
    fresh_database: Settings, letter: bytes
) -> None:
    topic = "adriatic.app.adr_versions"
    records = [Record(topic, 0, offset, 0, None, b"garbage") for offset in range(3)]
    with connect(fresh_database.postgres) as connection:
        write_dead_letters(connection, "index", [DeadLetter.of(each, "decode", Undecodable("x")) for each in records])
    shown = invoke(dlq, "redrive", "--topic", topic, "--limit", "2")
    assert (shown.exit_code, shown.stdout.count("would fail again")) == (0, 2)
    assert "incomplete: 1 not looked at" in shown.stderr
    assert {attempts for _, attempts, _ in states(fresh_database)} == {1}
    done = invoke(dlq, "redrive", "--topic", topic, "--limit", "2", "--rate", "100", "--yes", "--json")
    counts = json.loads(done.stdout)
    assert (done.exit_code, counts["failed"], counts["left"], counts["would"]) == (1, 2, 1, 0)
    assert sorted(attempts for _, attempts, _ in states(fresh_database)) == [1, 1, 2, 2]
    other = invoke(dlq, "redrive", "index/topic/2/7", "--yes")
    assert "skipped index/topic/2/7  undecodable: index does not read topic" in other.stdout
