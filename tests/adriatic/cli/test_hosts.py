"""What `adriatic hosts` asks for and prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from adriatic.cli.hosts import hosts
from adriatic.cli.remote import Remote
from adriatic.cli.where import Where
from runtime.clock import ManualClock

LIST: dict[str, Any] = {"version": 2, "hosts": ["a.example"], "set_by": "Ada", "set_at": "2026-01-15T09:00:00Z"}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[Result, list[Any]]:
    sent: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            sent.append(json.loads(request.content))
            return httpx.Response(200, json=LIST | {"version": 3, "hosts": sent[-1]["hosts"]})
        if request.url.path.endswith("/versions"):
            return httpx.Response(200, json={"items": [LIST, LIST | {"version": 1, "hosts": []}], "next_cursor": None})
        return httpx.Response(200, json=LIST)

    @contextmanager
    def connect(_: Where, *__: object) -> Iterator[Remote]:
        client = httpx.Client(base_url="http://api", transport=httpx.MockTransport(answer))
        yield Remote(client, ManualClock(), outage_s=5)

    monkeypatch.setattr(Where, "connect", connect)
    return CliRunner().invoke(hosts, list(arguments)), sent


def test_one_is_added_to_those_that_are_there_as_of_the_version_that_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, sent = run(monkeypatch, "add", "*.example.org", "b.example/x/*")
    assert ended.exit_code == 0, ended.output
    assert sent == [{"hosts": ["a.example", "*.example.org", "b.example/x/*"], "replaces": 2}]
    assert "version 3: a.example, *.example.org" in ended.output


def test_without_the_last_one_it_says_what_that_means(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, sent = run(monkeypatch, "remove", "A.example", "not.there")
    assert sent == [{"hosts": [], "replaces": 2}]
    assert "tools reach nothing" in ended.output


def test_it_shows_the_list_and_who_changed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "list")[0].stdout == "a.example\n"
    assert json.loads(run(monkeypatch, "list", "--json")[0].stdout) == LIST
    shown = run(monkeypatch, "list", "--versions")[0].stdout.splitlines()
    assert shown == ["   2 2026-01-15 09:00 Ada: a.example", "   1 2026-01-15 09:00 Ada: none"]
