"""The page over HTTP: its headers, and files that can be kept for ever. No database is needed for it."""

from __future__ import annotations

import gzip
import re

import pytest

from tests.api.world import World


async def test_the_page_needs_no_token_and_says_what_it_may_do(lonely: World) -> None:
    answer = await lonely.http.get("/?q=dual%20write&adr=0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-cache"
    assert "set-cookie" not in answer.headers


async def test_what_is_there_already_is_not_sent_again(lonely: World) -> None:
    first = await lonely.http.get("/")
    again = await lonely.http.get("/", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"]
    other = await lonely.http.get("/", headers={"if-none-match": 'W/"0"'})
    assert other.status_code == 200


async def test_a_file_is_packed_when_asked_for_and_kept_for_ever(lonely: World) -> None:
    page = (await lonely.http.get("/")).text
    for path in set(re.findall(r'(?:src|href)="(/assets/[^"]+)"', page)):
        packed = await lonely.http.get(path, headers={"accept-encoding": "gzip"})
        plain = await lonely.http.get(path, headers={"accept-encoding": "identity"})
        assert packed.status_code == plain.status_code == 200, path
        assert packed.content == plain.content, "httpx unpacks"
        assert "immutable" in plain.headers["cache-control"]
        assert packed.headers["etag"] == plain.headers["etag"]
        assert plain.headers["x-content-type-options"] == "nosniff"
        assert plain.headers["vary"] == "accept-encoding"
        if len(plain.content) > 2000:
            assert packed.headers["content-encoding"] == "gzip"
            assert int(packed.headers["content-length"]) < len(plain.content)
            assert gzip.decompress(gzip.compress(plain.content)) == packed.content


@pytest.mark.parametrize(
    "path",
    [
        "/assets/0000000000000000/page.js",
        "/assets/{digest}/page.html",
        "/assets/{digest}/../controller.py",
        "/assets/{digest}/%2e%2e/controller.py",
        "/assets/{digest}/vendor.toml",
    ],
)
async def test_nothing_else_is_served(lonely: World, path: str) -> None:
    answer = await lonely.http.get(path.format(digest=lonely.app.state.assets.digest))
    assert answer.status_code == 404
    assert answer.json()["code"] in ("not-found", "no-such-route")


async def test_the_contract_is_still_at_its_own_address(lonely: World) -> None:
    assert (await lonely.http.get("/openapi.json")).json()["paths"]["/"]["get"]["operationId"] == "getPage"
    assert (await lonely.http.get("/?qq=1")).status_code == 400
    assert (await lonely.http.head("/")).content == b""
