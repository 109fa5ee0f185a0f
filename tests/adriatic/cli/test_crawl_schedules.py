"""What `adriatic crawl schedule` asks for and prints, and that a site is crawled as before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
import pytest
from click.testing import CliRunner, Result

from adriatic.cli import crawl as command
from adriatic.cli.crawl_schedules import describe
from adriatic.cli.remote import Remote
from adriatic.cli.where import Where
from api.crawls.controller import CRAWL_EXAMPLE
from api.crawls.schedule_controller import _SCHEDULE
from api.crawls.schedules import CrawlSchedule
from runtime.clock import ManualClock


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[Result, list[tuple[str, str, Any]]]:
    asked: list[tuple[str, str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        asked.append((request.method, request.url.path, body))
        if request.method == "DELETE":
            return httpx.Response(204)
        if request.url.path == "/v1/crawls":
            return httpx.Response(200, json=CRAWL_EXAMPLE)
        listed = request.method == "GET"
        return httpx.Response(200, json={"items": [_SCHEDULE]} if listed else _SCHEDULE)

    @contextmanager
    def connect(_: Where, *__: object) -> Iterator[Remote]:
        client = httpx.Client(base_url="http://api", transport=httpx.MockTransport(answer))
        yield Remote(client, ManualClock(), outage_s=5)

    monkeypatch.setattr(Where, "connect", connect)
    return CliRunner().invoke(command.crawl, list(arguments)), asked


@pytest.mark.parametrize(("every", "seconds"), [("6h", 21_600), ("1d", 86_400), ("2w", 1_209_600)])
def test_a_schedule_is_asked_for(monkeypatch: pytest.MonkeyPatch, every: str, seconds: int) -> None:
    ended, asked = run(
        monkeypatch, "schedule", "add", "https://a.example/", "--every", every, "--include", "/x/*", "--depth", "1"
    )
    assert ended.exit_code == 0, ended.output
    crawl = {"start_urls": ["https://a.example/"], "depth": 1, "pages_max": 100, "include": ["/x/*"]}
    assert asked == [
        ("POST", "/v1/crawl-schedules", {"crawl": crawl | {"hosts": [], "exclude": []}, "every_s": seconds})
    ]
    assert "every 1 d" in ended.stdout


@pytest.mark.parametrize("every", ["1", "1m", "-1d", "d", "1 d"])
def test_a_time_that_is_none_is_said_to_be(monkeypatch: pytest.MonkeyPatch, every: str) -> None:
    ended, asked = run(monkeypatch, "schedule", "add", "https://a.example/", "--every", every)
    assert (ended.exit_code, asked) == (2, [])
    assert "6h, 1d or 2w" in ended.output


def test_each_verb_goes_to_its_route(monkeypatch: pytest.MonkeyPatch) -> None:
    one = _SCHEDULE["schedule_id"]
    for verb, route in (("pause", ("POST", f"/{one}/pause")), ("resume", ("POST", f"/{one}/resume")),
                        ("delete", ("DELETE", f"/{one}"))):  # fmt: skip
        ended, asked = run(monkeypatch, "schedule", verb, one)
        assert ended.exit_code == 0, ended.output
        assert asked == [(route[0], f"/v1/crawl-schedules{route[1]}", None)]
    shown = run(monkeypatch, "schedule", "list")[0].stdout
    assert "30 new or changed, 0 as they were" in shown
    assert json.loads(run(monkeypatch, "schedule", "list", "--json")[0].stdout)["items"] == [_SCHEDULE]


def test_a_schedule_is_described_with_what_came_of_it() -> None:
    failed = CRAWL_EXAMPLE | {"state": "failed", "last_error": {"code": "unprocessable", "detail": "it", "hint": ""}}
    changed = _SCHEDULE | {"paused": True, "next_at": None, "last": failed, "told": "the crawl before is not over"}
    said = describe(msgspec.convert(changed, CrawlSchedule))
    assert "paused" in said
    assert "last failed (unprocessable)" in said
    assert said.endswith("passed over: the crawl before is not over")
    assert "no crawl yet" in describe(msgspec.convert(_SCHEDULE | {"last": None, "every_s": 7_200}, CrawlSchedule))


@pytest.mark.parametrize("arguments", [("https://a.example/", "--no-wait"), ("--no-wait", "https://a.example/"),
                                       ("run", "https://a.example/", "--no-wait")])  # fmt: skip
def test_a_site_is_crawled_by_its_address_alone(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    ended, asked = run(monkeypatch, *arguments)
    assert (ended.exit_code, [each[:2] for each in asked]) == (0, [("POST", "/v1/crawls")]), ended.output
