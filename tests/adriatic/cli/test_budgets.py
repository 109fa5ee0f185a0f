"""How budgets look in a terminal, and that dollars are read exactly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner, Result

from adriatic.cli.budgets import budgets, read_dollars
from api.spend.budgets import BudgetState
from api.spend.controller import BudgetList
from runtime.ids import new_id

AT = datetime(2026, 1, 1, tzinfo=UTC)
BUDGET = BudgetState(
    *(new_id(), "key", "web", "month", 1_500_000, 0, 250_000, 1, 1_249_999, AT, datetime(2026, 2, 1, tzinfo=UTC)),
    *(new_id(), AT),
)


@pytest.mark.parametrize(
    ("text", "micro"),
    [("250", 250_000_000), ("$1.50", 1_500_000), ("1,000.000001", 1_000_000_001), ("0", 0), ("1e2", 100_000_000)],
)
def test_dollars_are_read_exactly(text: str, micro: int) -> None:
    assert read_dollars(text) == micro


@pytest.mark.parametrize("text", ["", "-1", "0.0000001", "a lot", "nan", "inf", "1.5.0"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="no amount of dollars"):
        read_dollars(text)


@pytest.fixture
def api() -> Iterator[tuple[str, list[tuple[str, str, Any]]]]:
    """An API that has one budget, and what it was asked."""
    asked: list[tuple[str, str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            asked.append((self.command, self.path, json.loads(self.rfile.read(length)) if length else None))
            body = {
                "GET": msgspec.json.encode(BudgetList([BUDGET])),
                "PUT": msgspec.json.encode(BUDGET),
                "DELETE": b"",
            }[self.command]
            self.send_response(200 if body else 204)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_DELETE = answer  # noqa: N815 - the base class names them so

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


def run(url: str, *words: str) -> Result:
    done = CliRunner().invoke(budgets, [*words, "--url", url, "--token", "t"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def test_a_list(api: tuple[str, list[tuple[str, str, Any]]]) -> None:
    url, asked = api
    header, row = run(url, "list").stdout.splitlines()
    assert header.split() == ["budget", "limit", "spent", "reserved", "remaining", "begins", "anew", "id"]
    money = ["$1.500000", "$0.250000", "$0.000001", "$1.249999"]
    assert row.split() == ["key", "web", "month", *money, "2026-02-01", "00:00Z", str(BUDGET.budget_id)]
    assert json.loads(run(url, "list", "--json").stdout)["budgets"][0]["spent_micro_usd"] == 250_000
    assert asked == [("GET", "/v1/budgets", None)] * 2


def test_a_budget_is_set_in_dollars_and_removed_by_its_id(api: tuple[str, list[tuple[str, str, Any]]]) -> None:
    url, asked = api
    assert "$1.500000" in run(url, "set", "key", "month", "1.50", "--of", "web").stdout
    assert json.loads(run(url, "set", "org", "day", "2", "--json").stdout)["level"] == "key"
    run(url, "remove", str(BUDGET.budget_id))
    assert asked == [
        ("PUT", "/v1/budgets", {"level": "key", "period": "month", "limit_micro_usd": 1_500_000, "subject": "web"}),
        ("PUT", "/v1/budgets", {"level": "org", "period": "day", "limit_micro_usd": 2_000_000, "subject": ""}),
        ("DELETE", f"/v1/budgets/{BUDGET.budget_id}", None),
    ]
