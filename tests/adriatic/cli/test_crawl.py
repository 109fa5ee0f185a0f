"""What `adriatic crawl` asks for, prints and ends with."""

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
from adriatic.cli.remote import Remote
from adriatic.cli.where import Where
from api.crawls.controller import _URL, _WAITING
from api.crawls.controller import CRAWL_EXAMPLE as _CRAWL
from api.crawls.schemas import Crawl, NewCrawl
from runtime.clock import ManualClock

OVER = _CRAWL | {"state": "succeeded", "finished_at": "2026-01-15T09:05:00Z"}
NOTHING = OVER | {"urls": dict.fromkeys(_CRAWL["urls"], 0) | {"refused": 1}}
FAILED = OVER | {"state": "failed", "last_error": {"code": "unprocessable", "detail": "it broke", "hint": ""}}


class Api:
    """The other side: a crawl that is over after three looks, and one address that was refused."""

    def __init__(self, end: dict[str, Any]) -> None:
        self.asked: list[tuple[str, str]] = []
        self.body: Any = None
        self._answers = [_WAITING, _CRAWL, end]

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method, request.url.path))
        if request.url.path.endswith("/urls"):
            found = [_URL] if request.url.params["state"] == "refused" else []
            return httpx.Response(200, json={"items": found, "next_cursor": None})
        if request.method == "POST":
            self.body = json.loads(request.content)
        return httpx.Response(200, json=self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])


def run(monkeypatch: pytest.MonkeyPatch, api: Api, *arguments: str) -> Result:
    @contextmanager
    def connect(_: Where) -> Iterator[Remote]:
        client = httpx.Client(base_url="http://api", transport=httpx.MockTransport(api.answer))
        yield Remote(client, ManualClock(), outage_s=5)

    monkeypatch.setattr(Where, "connect", connect)
    monkeypatch.setattr(command, "SYSTEM_CLOCK", ManualClock())
    return CliRunner().invoke(command.crawl, list(arguments))


def test_it_asks_with_what_was_said_waits_and_says_what_came_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api(OVER)
    said = ("https://docs.example.org/", "--depth", "1", "--pages", "9", "--include", "/guide/*", "--host", "a.example")
    ended = run(monkeypatch, api, *said)
    assert ended.exit_code == 0, ended.output
    wanted = msgspec.convert(api.body, NewCrawl)
    assert (wanted.start_urls, wanted.depth, wanted.pages_max) == (["https://docs.example.org/"], 1, 9)
    assert (wanted.include, wanted.hosts, wanted.gone_after) == (["/guide/*"], ["a.example"], 2)
    assert "https://docs.example.org/guide/old: refused: http-404: it is not there" in ended.output
    assert "succeeded: 36 pages asked for; addresses: 12 waiting, 30 stored" in ended.output


@pytest.mark.parametrize(("end", "code"), [(OVER, 0), (NOTHING, 1), (FAILED, 1)])
def test_the_exit_code_says_whether_there_are_pages(
    monkeypatch: pytest.MonkeyPatch, end: dict[str, Any], code: int
) -> None:
    ended = run(monkeypatch, Api(end), "https://docs.example.org/", "--json")
    assert ended.exit_code == code
    assert json.loads(ended.stdout)["state"] == end["state"]
    if end is FAILED:
        assert "unprocessable: it broke" in command.describe(msgspec.convert(end, Crawl))


def test_without_waiting_it_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api(OVER)
    ended = run(monkeypatch, api, "https://docs.example.org/", "--no-wait")
    assert (ended.exit_code, api.asked) == (0, [("POST", "/v1/crawls")])
    assert "queued" in ended.output
