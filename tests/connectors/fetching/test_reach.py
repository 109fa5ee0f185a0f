"""What an entry of a list of hosts allows, compared with what will really be asked for."""

from __future__ import annotations

import pytest

from connectors.fetching import FetchedAnswer, FetchRequest, NotFetched
from connectors.fetching.reach import HostList, read_entry
from connectors.fetching.urls import normalise
from tests.connectors.fetching.local_web import Handler, html, serving_web


@pytest.mark.parametrize(
    ("entry", "url", "allowed"),
    [
        ("a.example", "https://A.example./x?y", True),
        ("a.example", "https://b.a.example/", False),
        ("a.example", "https://a.example@b.example/", False),
        ("*.a.example", "https://b.c.a.example/", True),
        ("*.a.example", "https://a.example/", False),
        ("*.a.example", "https://nota.example/", False),
        ("a.example/x/*", "https://a.example/x/1?q", True),
        ("a.example/x/*", "https://a.example/x/../y/", False),
        ("a.example/x/*", "https://a.example/x/%2E%2e/y/", False),
        ("a.example/x", "https://a.example/x", True),
        ("a.example/x", "https://a.example/x/1", False),
        ("a.example/[a-z]", "https://a.example/b", False),
        ("bücher.example", "https://bücher.example/", False),
        ("xn--bcher-kva.example", "https://bücher.example/", True),
    ],
)
def test_an_entry_allows_what_it_says_and_nothing_beside_it(entry: str, url: str, allowed: bool) -> None:
    try:
        found = HostList((read_entry(entry),)).allows(normalise(url))
    except ValueError:
        found = False
    assert found is allowed


def test_an_empty_list_allows_nothing() -> None:
    assert not HostList(()).allows("https://a.example/")


def test_a_redirect_that_leaves_the_list_is_not_followed() -> None:
    async def away(request: object) -> object:
        from aiohttp import web

        return web.Response(status=302, headers={"location": local.url("b.test", "/secret")})

    async def page(request: object) -> object:
        return html("here")

    with serving_web() as local, local.fetching("a.test", "b.test") as fetcher:
        local.serve("a.test", "/away", _as_handler(away))
        local.serve("b.test", "/secret", _as_handler(page))
        reach = HostList(("a.test",))
        asked = FetchRequest(local.url("a.test", "/away"), (), 10_000, 10.0, 5, reach=reach)
        answer = fetcher.ask(asked)
        assert isinstance(answer, NotFetched)
        assert (answer.code, answer.temporary) == ("not-allowed", False)
        assert ("b.test", "/secret") not in local.asked
        # The same without a list, and with one that has both.
        for wider in (None, HostList(("*.example.org", "a.test", "b.test"))):
            found = fetcher.ask(FetchRequest(local.url("a.test", "/away"), (), 10_000, 10.0, 5, reach=wider))
            assert isinstance(found, FetchedAnswer)
            assert b"here" in found.body


def _as_handler(function: object) -> Handler:
    return function  # type: ignore[return-value]
