"""How the switch, overrides, alerts and the books look in a terminal, and with which code `explain` ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from adriatic.cli.spend import spend
from api.spend.alerts import AlertDelivery, AlertPage, SpendAlert
from api.spend.explaining import (
    AttemptExplanation,
    AttemptExplanations,
    CounterExplanation,
    CoveringBudget,
    SpendExplanation,
    SpentSum,
)
from api.spend.flags import AbuseFlag, AbuseFlagPage
from api.spend.overrides import BudgetOverride, OverridePage
from api.spend.switch import SpendStop, SwitchState
from api.watermarks import AsOf
from connectors.llm import Tokens
from runtime.ids import new_id
from runtime.settings import Settings
from tests.api.search.corpus import writing

AT = datetime(2026, 1, 15, 9, tzinfo=UTC)
END = datetime(2026, 2, 1, tzinfo=UTC)
ID = new_id()
OVERRIDE = BudgetOverride(
    *(ID, ID, "key", "web", "day", 20_000_000, "The release is tonight.", ID, AT, END), None, None, in_force=True
)
FLAG = AbuseFlag(*(ID, "users-of-one-address", "ab" * 16, AT.date(), 12, 10, AT, AT), [ID], None, None, "")
ANSWERS: dict[str, Any] = {
    "/v1/spend/flags": AbuseFlagPage([FLAG], None),
    f"/v1/spend/flags/{ID}": msgspec.structs.replace(FLAG, users=[], reviewed_by=ID, reviewed_at=AT, note="A school."),
    "/v1/spend/switch": SwitchState(
        "stopped",
        [SpendStop(ID, "org", "", "A loop.", ID, None, AT, None, None, None, "")],
        [SpendStop(ID, "key", "web", "2 of 1", None, ID, AT, END, ID, END, "Mended.")],
    ),
    "/v1/spend/overrides": OverridePage([OVERRIDE], "more"),
    f"/v1/spend/overrides/{ID}": OVERRIDE,
    "/v1/spend/alerts": AlertPage(
        [
            SpendAlert(
                *(ID, ID, "org", "", "month", AT, 85, 1_000_000, 850_000, AT),
                [
                    AlertDelivery("log", "delivered", 1, "", AT),
                    AlertDelivery("slack", "failed", 10, "it answers 500", None),
                ],
            )
        ],
        None,
    ),
    f"/v1/spend/requests/{ID}": AttemptExplanations(
        [
            AttemptExplanation(
                *(ID, ID, ID, "web", "openai", "m", "settled", "completed", "", "provider"),
                *(Tokens(input_uncached=3, output_visible=4), "openai/m/2026-01-01", 7, 0, 7, 7, 0, 0, AT, AT),
                [CoveringBudget(ID, "org", "", "month", AT)],
            )
        ]
    ),
}


def books(*, aggregate: int = 7, counter: int = 7, leases: int = 0) -> SpendExplanation:
    return SpendExplanation(
        *("month", AT.replace(day=1), END, SpentSum(1, 0, 7), SpentSum(1, 0, aggregate), SpentSum(0, 0, 0)),
        aggregate_drift_micro_usd=aggregate - 7,
        counters=[
            CounterExplanation(ID, "org", "", "month", AT.replace(day=1), counter, 7, counter - 7, leases, 0, leases)
        ],
        counter_drift_micro_usd=abs(counter - 7),
        as_of=AsOf("fresh", "0/1", AT, 0.5),
    )


@pytest.fixture
def api() -> Iterator[tuple[str, list[tuple[str, str, Any]]]]:
    """An API that answers as it is told, and what it was asked."""
    asked: list[tuple[str, str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            asked.append((self.command, self.path, json.loads(self.rfile.read(length)) if length else None))
            path = self.path.partition("?")[0]
            made = OVERRIDE if (self.command, path) == ("POST", "/v1/spend/overrides") else ANSWERS[path]
            body = msgspec.json.encode(made)
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - the base class names them so

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


def run(url: str, *words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(spend, [*words, "--url", url, "--token", "t"], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


def test_the_switch_says_what_is_stopped_by_whom_and_why(api: tuple[str, list[tuple[str, str, Any]]]) -> None:
    url, asked = api
    first, stopped, ended = run(url, "switch").stdout.splitlines()
    assert first == "the organisation: stopped"
    assert stopped == f"org: stopped 2026-01-15 09:00Z by {ID}: A loop."
    assert ended.startswith(f"key web: stopped 2026-01-15 09:00Z by the budget {ID}: 2 of 1, resumed 2026-02-01")
    run(url, "stop", "--reason", "A loop.")
    run(url, "resume", "--reason", "Mended.", "--key", "web")
    assert json.loads(run(url, "stop", "--reason", "x", "--user", str(ID), "--json").stdout)["state"] == "stopped"
    assert [body for _, _, body in asked[1:]] == [
        {"state": "stopped", "level": "org", "subject": "", "reason": "A loop."},
        {"state": "running", "level": "key", "subject": "web", "reason": "Mended."},
        {"state": "stopped", "level": "user", "subject": str(ID), "reason": "x"},
    ]
    run(url, "stop", "--reason", "x", "--user", "a", "--key", "b", code=2)
    run(url, "stop", code=2)


def test_an_override_is_made_listed_and_ended(api: tuple[str, list[tuple[str, str, Any]]]) -> None:
    url, asked = api
    line = run(url, "override", str(ID), "20", "--hours", "3", "--reason", "The release is tonight.").stdout
    assert line.startswith(f"{ID} in force key web day +$20.000000 from 2026-01-15 09:00Z to 2026-02-01 00:00Z")
    assert line.rstrip().endswith(f"by {ID}: The release is tonight.")
    listed = run(url, "overrides")
    assert (listed.stdout, "there are more" in listed.stderr) == (line, True)
    assert run(url, "end-override", str(ID)).stdout == line
    body = asked[0][2]
    assert (body["budget_id"], body["amount_micro_usd"]) == (str(ID), 20_000_000)
    assert [(method, path) for method, path, _ in asked] == [
        ("POST", "/v1/spend/overrides"),
        ("GET", "/v1/spend/overrides?limit=50"),
        ("DELETE", f"/v1/spend/overrides/{ID}"),
    ]


def test_alerts_say_what_became_of_them(api: tuple[str, list[tuple[str, str, Any]]]) -> None:
    line = run(api[0], "alerts").stdout
    assert "85 % of org month: $0.850000 of $1.000000" in line
    assert "log delivered, slack failed (it answers 500)" in line


@pytest.mark.parametrize(("apart", "code"), [({}, 0), ({"aggregate": 5}, 1), ({"counter": 9}, 1), ({"leases": 4}, 1)])
def test_books_that_are_apart_end_with_1(
    api: tuple[str, list[tuple[str, str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    apart: dict[str, int],
    code: int,
) -> None:
    url, asked = api
    monkeypatch.setitem(ANSWERS, "/v1/spend/explanation", books(**apart))
    lines = run(url, "explain", "--month", "2026-01", code=code).stdout.splitlines()
    assert lines[0] == "2026-01-01 to 2026-02-01, in UTC"
    assert lines[1].split() == ["ledger", "$0.000007", "1", "attempts"]
    assert ("-$0.000002" in lines[4]) == (apart == {"aggregate": 5})
    run(url, "explain", "--day", "2026-01-15", "--json", code=code)
    assert [path for _, path, _ in asked] == [
        "/v1/spend/explanation?period=month&on=2026-01-01",
        "/v1/spend/explanation?period=day&on=2026-01-15",
    ]


def test_a_request_is_explained(api: tuple[str, list[tuple[str, str, Any]]]) -> None:
    lines = run(api[0], "explain", "--request", str(ID)).stdout.splitlines()
    assert lines[0] == f"attempt {ID}, openai m, settled, began 2026-01-15 09:00Z"
    assert "input_uncached 3, output_visible 4, as counted by: provider" in lines[1]
    assert "cost $0.000007 by openai/m/2026-01-01; again by the list of now $0.000007" in lines[2]
    assert lines[4].strip() == f"counts in org month of 2026-01-15 ({ID})"


@pytest.mark.parametrize(
    "words", [("--month", "2026"), ("--day", "today"), ("--day", "2026-01-01", "--month", "2026-01")]
)
def test_what_is_no_day_is_refused(api: tuple[str, list[tuple[str, str, Any]]], words: tuple[str, ...]) -> None:
    run(api[0], "explain", *words, code=2)


def test_flags_are_listed_and_looked_at(api: tuple[str, list[tuple[str, str, Any]]]) -> None:
    url, asked = api
    line = f"{ID} 2026-01-15 09:00Z {'ab' * 16}: 12 new users from one address (10 are flagged)"
    assert run(url, "flags").stdout == f"{line}; 1 of them: {ID}\n"
    assert run(url, "review", str(ID), "--note", "A school.").stdout == f"{line}; looked at by {ID}: A school.\n"
    run(url, "flags", "--reviewed", "--limit", "3")
    assert asked == [
        ("GET", "/v1/spend/flags?limit=50&reviewed=false", None),
        ("PUT", f"/v1/spend/flags/{ID}", {"note": "A school."}),
        ("GET", "/v1/spend/flags?limit=3&reviewed=true", None),
    ]
    run(url, "flags", "--all-tenants", "--reviewed", code=2)
    run(url, "review", str(ID), code=2)


@pytest.mark.stack
def test_an_operator_sees_the_flags_of_all_tenants(fresh_database: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.settings.load", lambda: fresh_database)
    nothing = CliRunner().invoke(spend, ["flags", "--all-tenants"], catch_exceptions=False)
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    with writing(fresh_database) as corpus:
        for slug in ("one", "two"):
            corpus.flag(corpus.tenant(slug), "")
    done = CliRunner().invoke(spend, ["flags", "--all-tenants"], catch_exceptions=False)
    assert {line.partition(":")[0] for line in done.stdout.splitlines()} == {"one", "two"}
    as_json = CliRunner().invoke(spend, ["flags", "--all-tenants", "--json"], catch_exceptions=False)
    assert {each["measured"] for each in json.loads(as_json.stdout)} == {2}
