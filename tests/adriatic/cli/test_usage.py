"""How usage looks in a terminal: money exactly, and never cheaper than it may be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from click.testing import CliRunner

from adriatic.cli.usage import cells, money, name_row, usage
from api.usage.service import UsageReport, UsageRow, UsageTotals
from api.watermarks import AsOf
from connectors.llm import Tokens
from runtime.ids import new_id

AT = datetime(2026, 1, 15, tzinfo=UTC)
SPENT = UsageTotals(3, 1, 1, 1, Tokens(1000, 20, 30, 40, 500, 60), 1_234_567, 0, 0, 0)
NOBODY = UsageRow(None, None, None, None, None, None, SPENT)


@pytest.mark.parametrize(
    ("cost", "unpriced", "shown"),
    [
        (7, 0, "$0.000007"),
        (1_000_000, 0, "$1.000000"),
        (9_007_199_254_740_993, 0, "$9,007,199,254.740993"),
        (7, 1, "at least $0.000007"),
        (None, 3, "unknown"),
    ],
)
def test_money_is_exact_and_unknown_is_not_zero(cost: int | None, unpriced: int, shown: str) -> None:
    assert money(msgspec.structs.replace(SPENT, cost_micro_usd=cost, unpriced=unpriced)) == shown


def test_nothing_asked_costs_nothing_to_speak_of() -> None:
    assert money(msgspec.structs.replace(SPENT, attempts=0, cost_micro_usd=None)) == "-"


def test_the_cells_are_of_disjoint_tokens() -> None:
    assert cells(SPENT) == ["3", "1", "1", "1,000", "90", "560", "$1.234567"]


def test_a_row_is_named_by_what_it_is_of() -> None:
    replace = msgspec.structs.replace
    user = new_id()
    assert name_row(replace(NOBODY, begins=AT), "day") == "2026-01-15"
    assert name_row(replace(NOBODY, begins=AT), "hour") == "2026-01-15 00:00Z"
    assert name_row(replace(NOBODY, provider="anthropic", model="m"), "model") == "anthropic m"
    assert name_row(replace(NOBODY, user_id=user), "user") == str(user)
    assert name_row(replace(NOBODY, user_id=user, user="Ada"), "user") == "Ada"
    assert name_row(replace(NOBODY, key_id="web"), "key") == "web"
    assert name_row(replace(NOBODY, key_id=""), "key") == "not known"


@pytest.fixture
def api() -> Iterator[tuple[str, list[str]]]:
    """An API that answers every question with one row, and what it was asked."""
    asked: list[str] = []
    answer = UsageReport(
        "day", [msgspec.structs.replace(NOBODY, begins=AT)], True, SPENT, AsOf("fresh", "0/1", AT, 0.8)
    )

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = msgspec.json.encode(answer)
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


def test_a_table_and_what_is_asked_for_it(api: tuple[str, list[str]]) -> None:
    url, asked = api
    options = ["--url", url, "--token", "t", "--from", "2026-01-01", "--to", "2026-02-01T00:00:00+01:00"]
    shown = CliRunner().invoke(usage, options, catch_exceptions=False)
    assert shown.exit_code == 0
    header, row, total = shown.stdout.splitlines()
    assert header.split() == ["day", "attempts", "failed", "cancelled", "in", "cached", "out", "cost"]
    assert row.split() == ["2026-01-15", "3", "1", "1", "1,000", "90", "560", "$1.234567"]
    assert total.split()[0] == "all", "there are more rows than are shown"
    assert "more rows" in shown.stderr
    assert "0.8 s ago" in shown.stderr
    assert parse_qs(urlsplit(asked[0]).query) == {
        "by": ["day"],
        "from": ["2026-01-01T00:00:00+00:00"],
        "to": ["2026-02-01T00:00:00+01:00"],
        "limit": ["31"],
    }


def test_json_is_the_answer_of_the_api(api: tuple[str, list[str]]) -> None:
    shown = CliRunner().invoke(usage, ["--url", api[0], "--token", "t", "--json"], catch_exceptions=False)
    assert msgspec.json.decode(shown.stdout, type=UsageReport).totals == SPENT


def test_a_time_that_is_none_is_wrong_usage() -> None:
    assert CliRunner().invoke(usage, ["--from", "yesterday"]).exit_code == 2
