"""Calls of the API from the command line: what is repeated, and how an answer becomes one of our errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from adriatic.cli.remote import OUTAGE_S_MAX, Remote, local_url
from runtime.clock import ManualClock
from runtime.errors import AdriaticError, DependencyUnavailable, NotFound, OperatingError, TooLarge, Unauthenticated
from runtime.settings import ApiSettings, Settings


def remote(answer: Callable[[httpx.Request], httpx.Response]) -> tuple[Remote, ManualClock]:
    clock = ManualClock()
    client = httpx.Client(base_url="http://api", transport=httpx.MockTransport(answer))
    return Remote(client, clock), clock


def problem(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "detail": "what", "hint": "how", "status": status})


def test_an_outage_is_waited_out() -> None:
    answers: Iterator[httpx.Response | Exception] = iter(
        [problem(503, "dependency-unavailable"), httpx.ConnectError("refused"), httpx.Response(200, json=7)]
    )

    def answer(_: httpx.Request) -> httpx.Response:
        given = next(answers)
        if isinstance(given, Exception):
            raise given
        return given

    calls, clock = remote(answer)
    assert calls.request("GET", "/x", int) == 7
    assert 0 < clock.monotonic() < 1


def test_an_outage_that_lasts_is_said() -> None:
    calls, clock = remote(lambda _: problem(503, "dependency-unavailable"))
    with pytest.raises(DependencyUnavailable, match="what"):
        calls.request("GET", "/x", int)
    assert OUTAGE_S_MAX - 6 < clock.monotonic() <= OUTAGE_S_MAX


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (problem(404, "not-found"), NotFound),
        (problem(413, "too-large"), TooLarge),
        (problem(401, "unauthenticated"), Unauthenticated),
        (problem(500, "internal"), OperatingError),
        (httpx.Response(400, text="<html>"), OperatingError),
    ],
)
def test_a_refusal_is_raised_at_once(response: httpx.Response, kind: type[AdriaticError]) -> None:
    calls, clock = remote(lambda _: response)
    with pytest.raises(kind):
        calls.request("POST", "/x", int, body=b"{}")
    assert clock.monotonic() == 0


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:81"), ("::", "http://[::1]:81"), ("::2", "http://[::2]:81"), ("a", "http://a:81")],
)
def test_where_this_machines_api_is(host: str, url: str) -> None:
    assert local_url(Settings(api=ApiSettings(host=host, port=81))) == url
