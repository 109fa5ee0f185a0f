"""What a page in the browser may be given: who may show whom in a frame, and what is kept of other pages."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest

from connectors.fetching import FetchedAnswer
from connectors.fetching.fetcher import _find_ancestors
from connectors.rendering import ResourceGiven, ResourceWanted
from streams.crawling.resources import ResourceCache, ResourceDoor, find_why_not_shown

PAGE, OWN, OTHER = "http://a.test/page", "http://a.test/frame", "http://b.test/frame"


@pytest.mark.parametrize(
    ("url", "headers", "shown"),
    [
        (OTHER, {}, True),
        (OTHER, {"x-frame-options": "DENY"}, False),
        (OTHER, {"x-frame-options": "sameorigin"}, False),
        (OTHER, {"x-frame-options": "nonsense"}, False),
        (OWN, {"x-frame-options": " SameOrigin "}, True),
        (OWN, {"x-frame-options": "deny"}, False),
        (OTHER, {"frame-ancestors": "'self' http://a.test"}, True),
        (OTHER, {"frame-ancestors": "*", "x-frame-options": "DENY"}, True),
        (OTHER, {"frame-ancestors": "'self' https://a.test"}, False),
        (OWN, {"frame-ancestors": "'self'"}, True),
        (OWN, {"frame-ancestors": "'none'"}, False),
        (OWN, {"x-robots-tag": "adriatic: noindex"}, False),
        (OWN, {"x-robots-tag": "nofollow, None"}, False),
        (OWN, {"x-robots-tag": "nofollow"}, True),
    ],
)
def test_sites_say_who_shows_them(url: str, headers: dict[str, str], shown: bool) -> None:
    assert (find_why_not_shown(FetchedAnswer(url, 200, "text/html", headers), PAGE) == "") is shown
    assert "404" in find_why_not_shown(FetchedAnswer(url, 404, "text/html", headers), PAGE)


@pytest.mark.parametrize(
    ("policies", "found"),
    [
        ([], ""),
        (["default-src 'self'; script-src https://frame-ancestors.example"], ""),
        (["default-src *;  Frame-Ancestors  'self' http://a.test ; img-src *"], "'self' http://a.test"),
        (["x; " * 900 + "frame-ancestors 'none'"], "'none'"),
        (["frame-ancestors *", "frame-ancestors 'self'"], "'none'"),
        (["frame-ancestors *, frame-ancestors http://a.test"], "'none'"),
    ],
)
def test_a_long_policy_is_read_to_its_end_and_two_hold_both(policies: list[str], found: str) -> None:
    assert _find_ancestors(policies) == found


def test_what_was_kept_for_an_inner_page_is_given_to_no_page_of_another_host() -> None:
    cache, crawl_id, inner = ResourceCache(), uuid4(), "http://wiki.test/x"
    cache.keep(crawl_id, inner, "", ResourceGiven(200, inner, "text/plain", b"secret", "*"))
    cache.keep(crawl_id, "http://a.test/leads", "", ResourceGiven(200, inner, "text/plain", b"secret", "*"))

    def ask(page_url: str, asker: str, url: str = inner) -> tuple[bytes, str]:
        crawl: Any = SimpleNamespace(crawl_id=crawl_id, hosts=["a.test", "wiki.test"], reach=None)
        fetcher = Mock(may_be_private=lambda host: host == "wiki.test")
        door = ResourceDoor(Mock(), Mock(), crawl, fetcher, cache, page_url, 0.0, 10.0)
        given = door.ask(ResourceWanted(url, "data", asker))
        fetcher.ask.assert_not_called()
        return given.body, door.describe()

    assert ask("http://wiki.test/", "http://wiki.test/") == (b"secret", "")
    for page_url, asker in ((PAGE, PAGE), ("http://wiki.test/", OTHER), (PAGE, "http://wiki.test/frame")):
        body, why = ask(page_url, asker)
        assert (body, "may be private" in why) == (b"", True)
    assert ask(PAGE, PAGE, "http://a.test/leads")[0] == b""
