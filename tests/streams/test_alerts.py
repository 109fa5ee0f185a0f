"""Alerts go out by each channel at least once, are tried again, given up, and never sent to another host."""

from __future__ import annotations

import json
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from pydantic import SecretStr

from connectors.postgres import spend
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import AlertSettings
from streams import alerts
from streams.alerts import AlertCourier, pause_after
from tests import databases
from tests.patience import PATIENCE_S, until
from tests.streams.world import Bench

pytestmark = pytest.mark.stack

_ALERT = """
  insert into app.spend_alerts (
    tenant_id, budget_id, begins, percent, level, subject, period, limit_micro_usd, spent_micro_usd
  )
  values (%s, %s, date_trunc('month', now(), 'UTC'), %s, 'key', 'web', 'month', 1000000, 850000)
  returning alert_id
"""


class Hook:
    """An HTTP server that answers with the statuses of its script, and 204 afterwards."""

    def __init__(self, *script: int) -> None:
        self.script = list(script)
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.received: list[tuple[dict[str, str], bytes]] = []
        """Headers, by their names in lower case, and the body as it came."""
        self.url = ""


@contextmanager
def hooked(*script: int, location: str = "") -> Iterator[Hook]:
    hook = Hook(*script)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            hook.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
            hook.bodies.append(json.loads(body))
            hook.keys.append(self.headers["idempotency-key"])
            self.send_response(hook.script.pop(0) if hook.script else 204)
            if location:
                self.send_header("location", location)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    hook.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    yield hook
    server.shutdown()
    server.server_close()


class MailBox(socketserver.StreamRequestHandler):
    """A mail server that takes what it is given, as far as RFC 5321 needs it."""

    mails: list[str]

    def handle(self) -> None:
        self._say("220 mail.example")
        for line in self.rfile:
            word = line.decode().strip().upper()
            if word.startswith("DATA"):
                self._say("354 go on")
                self.server.mails.append(self._read_mail())  # type: ignore[attr-defined]
                self._say("250 taken")
            elif word.startswith("QUIT"):
                self._say("221 bye")
                return
            else:
                self._say("250 mail.example")

    def _read_mail(self) -> str:
        lines = []
        for line in self.rfile:
            if line == b".\r\n":
                break
            lines.append(line.decode())
        return "".join(lines)

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@contextmanager
def mailing() -> Iterator[tuple[int, list[str]]]:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), MailBox)
    server.daemon_threads = True
    server.mails = []  # type: ignore[attr-defined]
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server.server_address[1], server.mails  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


@contextmanager
def delivering(bench: Bench, settings: AlertSettings, couriers: int = 1) -> Iterator[None]:
    life = Lifecycle(Health())
    changed = bench.settings.model_copy(update={"alerts": settings})
    running = [AlertCourier(changed, life) for _ in range(couriers)]
    for courier in running:
        courier.start()
    try:
        yield
    finally:
        life.stop()
        for courier in running:
            courier.join(PATIENCE_S)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "LOOK_S", 0.05)
    monkeypatch.setattr(alerts, "pause_after", lambda tries: 0.0)


def alert(bench: Bench, tenant: UUID | None = None, percent: int = 85) -> UUID:
    (row,) = bench.rows(_ALERT, tenant or bench.tenant(), uuid4(), percent)
    found: UUID = row[0]
    return found


def deliveries(bench: Bench) -> dict[str, tuple[str, int, str]]:
    """State, tries and the last error, by channel."""
    rows = bench.rows("select channel, state, tries, last_error from app.alert_deliveries")
    return {channel: (state, tries, error) for channel, state, tries, error in rows}


def hook_of(url: str) -> AlertSettings:
    return AlertSettings(webhook_url=SecretStr(url))


def test_an_alert_goes_out_by_each_channel_that_the_settings_name(bench: Bench) -> None:
    alert_id = alert(bench)
    with hooked() as webhook, hooked() as slack, mailing() as (port, mails):
        settings = AlertSettings(
            webhook_url=SecretStr(webhook.url),
            slack_url=SecretStr(slack.url),
            smtp_host="127.0.0.1",
            smtp_port=port,
            smtp_security="none",
            email_from="adriatic@example.com",
            email_to=("ada@example.com", "bob@example.com"),
        )
        with delivering(bench, settings):
            until(lambda: {state for state, _, _ in deliveries(bench).values()} == {"delivered"})
    assert deliveries(bench) == dict.fromkeys(("log", "webhook", "slack", "email"), ("delivered", 1, ""))
    (body,), (told,) = webhook.bodies, slack.bodies
    assert webhook.keys == [str(alert_id)]
    assert (body["alert_id"], body["percent"], body["spent_micro_usd"]) == (str(alert_id), 85, 850_000)
    assert list(told) == ["text"]
    assert "85 % of the month budget of key web" in told["text"]
    assert "$0.850000 of $1.000000" in told["text"]
    assert told["text"] == body["text"]
    (mail,) = mails
    assert "To: ada@example.com, bob@example.com" in mail
    assert f"Message-ID: <{alert_id}@adriatic>" in mail
    assert "are spent" in mail


def test_alerts_that_wait_together_go_out_in_their_order(bench: Bench) -> None:
    tenant = bench.tenant()
    for percent in (95, 70, 110, 85):
        alert(bench, tenant, percent)
    bench.rows("update app.spend_alerts set raised_at = now() returning 1")
    with hooked() as hook, delivering(bench, hook_of(hook.url)):
        until(lambda: len(hook.bodies) == 4)
    assert [body["percent"] for body in hook.bodies] == [70, 85, 95, 110]


def test_what_does_not_answer_is_tried_again(bench: Bench) -> None:
    alert(bench)
    with hooked(503, 429, 500) as hook, delivering(bench, hook_of(hook.url)):
        until(lambda: deliveries(bench).get("webhook", ("",))[0] == "delivered")
    assert deliveries(bench)["webhook"] == ("delivered", 4, "")
    assert len({body["alert_id"] for body in hook.bodies}) == 1


def test_it_is_given_up_after_so_many_tries_and_says_why(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "TRIES_MAX", 3)
    alert(bench)
    with hooked(*[500] * 9) as hook, delivering(bench, hook_of(hook.url)):
        until(lambda: deliveries(bench).get("webhook", ("",))[0] == "failed")
    state, tries, error = deliveries(bench)["webhook"]
    assert (state, tries, len(hook.bodies)) == ("failed", 3, 3)
    assert "given up after 3 tries" in error
    assert "alerts.webhook_url answers 500" in error
    assert deliveries(bench)["log"][0] == "delivered", "the others are delivered all the same"


def test_nothing_is_sent_to_another_host_and_no_secret_is_told(bench: Bench) -> None:
    alert(bench)
    with hooked() as elsewhere, hooked(302, location=elsewhere.url) as hook:
        with delivering(bench, hook_of(f"{hook.url}?token=secret")):
            until(lambda: deliveries(bench).get("webhook", ("",))[0] == "failed")
        assert elsewhere.bodies == []
    _, tries, error = deliveries(bench)["webhook"]
    assert (tries, "redirects are not followed" in error) == (1, True)
    assert "secret" not in error
    assert "127.0.0.1" not in error


def test_an_address_where_nobody_listens_is_tried_again_without_a_word_about_it(bench: Bench) -> None:
    alert(bench)
    with delivering(bench, hook_of("http://127.0.0.1:1/secret")):
        until(lambda: deliveries(bench).get("webhook", ("", 0))[1] >= 2)
    state, _, error = deliveries(bench)["webhook"]
    assert state == "waiting"
    assert "does not answer" in error
    assert "secret" not in error


def test_several_processes_deliver_each_alert_once(bench: Bench) -> None:
    tenant = bench.tenant()
    made = {alert(bench, tenant) for _ in range(30)}
    with hooked() as hook, delivering(bench, hook_of(hook.url), couriers=4):
        until(
            lambda: (
                bench.rows("select count(*) from app.alert_deliveries where state = 'delivered'") == [(2 * len(made),)]
            )
        )
    assert sorted(hook.keys, key=str) == sorted(map(str, made))


def test_what_a_process_that_died_had_in_hand_is_tried_again_after_its_lease(bench: Bench) -> None:
    alert(bench)
    with psycopg.connect(bench.settings.postgres.dsn("flows")) as dying:
        spend.route(dying, ["webhook"])
        dying.commit()
        taken = spend.claim(dying)
        dying.commit()
        assert taken is not None
        assert spend.claim(dying) is None, "nobody else has it meanwhile"
        bench.rows("update app.alert_deliveries set next_at = now() returning 1")
        with hooked() as hook, delivering(bench, hook_of(hook.url)):
            until(lambda: deliveries(bench)["webhook"][0] == "delivered")
        spend.finish(dying, taken, "failed", "late")
    assert deliveries(bench)["webhook"] == ("delivered", 2, ""), "who lost its lease notes nothing"
    assert len(hook.bodies) == 1


def test_a_channel_that_the_settings_do_not_name_any_more_is_given_up(bench: Bench) -> None:
    alert(bench)
    with psycopg.connect(bench.settings.postgres.dsn("flows")) as connection:
        spend.route(connection, ["slack"])
    with delivering(bench, AlertSettings()):
        until(lambda: deliveries(bench)["slack"][0] == "failed")
    assert "any more" in deliveries(bench)["slack"][2]


def test_pauses_grow_up_to_a_bound() -> None:
    pauses = [pause_after(tries) for tries in range(1, alerts.TRIES_MAX)]
    assert pauses == sorted(pauses)
    assert pauses[-1] <= alerts.PAUSE_S_MAX
    assert sum(pauses) > 900


def test_drift_is_the_sum_of_what_the_books_are_apart(bench: Bench) -> None:
    tenant, budget, user = bench.tenant(), uuid4(), uuid4()
    bench.rows("insert into app.users (tenant_id, user_id, subject) values (%s, %s, 'ada') returning 1", tenant, user)
    bench.rows(
        "insert into app.budgets values (%s, %s, 'org', '', 'month', 1000, %s) returning 1", *(tenant, budget, user)
    )
    with databases.act(bench.settings, "flows") as connection:
        assert spend.read_drifts(connection) == {"counter": 0, "leases": 0, "aggregate": 0}
    bench.rows(
        "insert into app.budget_windows values (%s, %s, date_trunc('month', now(), 'UTC'), 7, 5) returning 1",
        *(tenant, budget),
    )
    bench.rows(
        "insert into mv.usage_by_day select %s, (now() at time zone 'UTC')::date, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 3, "
        "0, 0, 0 returning 1",
        tenant,
    )
    with databases.act(bench.settings, "flows") as connection:
        assert spend.read_drifts(connection) == {"counter": 7, "leases": 5, "aggregate": 3}
