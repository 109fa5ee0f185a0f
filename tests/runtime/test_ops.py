"""The operators' port: health says why, and metrics can be scraped."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from runtime.clock import ManualClock
from runtime.ops import Health, serve


class Get:
    """Asks the server of the test, and keeps how often metrics were refreshed."""

    def __init__(self, health: Health) -> None:
        self.refreshed = 0
        self.server = serve("127.0.0.1", 0, health, before_scrape=self._refresh)

    def _refresh(self) -> None:
        self.refreshed += 1

    def __call__(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.server.server_port}{path}", timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def get(health: Health) -> Iterator[Get]:
    asking = Get(health)
    yield asking
    asking.server.shutdown()
    asking.server.server_close()


def test_a_process_starts_as_not_ready_and_alive(get: Get) -> None:
    assert get("/health/live")[0] == 200
    status, body = get("/health/ready")
    assert status == 503
    assert json.loads(body)["reasons"] == {"start": "starting"}


def test_ready_only_when_it_waits_for_nothing(health: Health, get: Get) -> None:
    health.wait_for("kafka", "connection refused")
    health.ready()
    status, body = get("/health/ready")
    assert status == 503
    assert json.loads(body)["reasons"] == {"kafka": "connection refused"}
    health.clear("kafka")
    assert get("/health/ready")[0] == 200


def test_since_moves_with_the_status_and_not_with_the_reason(health: Health) -> None:
    health.ready()
    ready_since = health.report()["since"]
    health.wait_for("kafka", "connection refused")
    waiting_since = health.report()["since"]
    health.wait_for("kafka", "timed out")
    health.wait_for("postgres", "starting up")
    assert health.report()["since"] == waiting_since >= ready_since
    assert health.report()["reasons"]["kafka"] == "timed out"


def test_clearing_what_was_not_waited_for_is_fine(health: Health) -> None:
    health.ready()
    since = health.report()["since"]
    health.clear("kafka")
    assert health.report() == {"status": "ready", "since": since, "reasons": {}, "facts": {}}


def test_facts_are_shown_and_cannot_be_changed_from_outside(health: Health) -> None:
    health.set_fact("lag", {"records": 3})
    health.report()["facts"]["lag"] = None
    assert health.report()["facts"] == {"lag": {"records": 3}}


def test_metrics_are_brought_up_to_date_before_they_are_read(get: Get) -> None:
    status, body = get("/metrics?name=x")
    assert status == 200
    assert "kafka_consumer_lag" in body
    assert get.refreshed == 1


def test_an_unknown_path_says_what_there_is(get: Get) -> None:
    status, body = get("/")
    assert status == 404
    assert "/health/ready" in body


def test_a_fact_that_is_not_set_again_becomes_unknown_and_a_reason_to_wait() -> None:
    clock = ManualClock()
    health = Health(clock)
    health.ready()
    forgotten: list[str] = []
    health.set_fact("lag", 3, fresh_s=10, on_stale=lambda: forgotten.append("lag"))
    health.set_fact("slot", "adriatic")
    clock.sleep(9)
    assert health.report()["status"] == "ready"
    assert health.report()["facts"] == {"lag": 3, "slot": "adriatic"}
    clock.sleep(2)
    report = health.report()
    assert report["status"] == "waiting"
    assert report["facts"] == {"lag": "unknown", "slot": "adriatic"}
    assert "11 s" in report["reasons"]["lag"]
    assert forgotten == ["lag"]
    health.set_fact("lag", 0, fresh_s=10)
    assert health.report()["status"] == "ready"


def test_a_fact_may_be_a_function_of_the_time_of_the_report() -> None:
    clock = ManualClock()
    health = Health(clock)
    health.set_fact("behind_s", clock.monotonic)
    clock.sleep(5)
    assert health.report()["facts"]["behind_s"] == 5
