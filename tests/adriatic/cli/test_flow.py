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
from adriatic.errors import DependencyUnavailable, InvalidInput, NotFound, Undecodable
from adriatic.settings import Settings
from connectors.kafka.records import Record
from connectors.postgres.sink import DeadLetter, connect, write_dead_letters


def invoke(command: Any, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def test_flows_are_listed() -> None:
    names = {row["name"] for row in json.loads(invoke(flow, "list", "--json").output)}
    assert names == {"index", "embed", "activity"}
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
    assert "no dead letters" in invoke(dlq, "list", "--state", "dropped").output


@pytest.mark.stack
@pytest.mark.usefixtures("letter")
def test_verify_cannot_tell_while_the_flows_do_not_run() -> None:
    assert isinstance(invoke(verify, "--sample", "0", "--wait", "0.2").exception, DependencyUnavailable)
