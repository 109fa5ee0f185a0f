"""The fetcher against a real server on loopback, and a listener that nobody may reach."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from connectors.fetching import FetchedAnswer, FetchRequest, NotFetched
from connectors.fetching.fetcher import ADDRESSES_MAX, UNPACKED_FACTOR, Fetcher
from runtime.lifecycle import StopRequested
from runtime.settings import CrawlerSettings
from tests.connectors.fetching.local_web import FORBIDDEN, METADATA, Handler, LocalWeb, html, serving_web

HTML = ("text/html",)
BYTES_MAX = 100_000


@pytest.fixture
def local() -> Iterator[LocalWeb]:
    with serving_web() as served:
        yield served


@pytest.fixture
def fetcher(local: LocalWeb) -> Iterator[Fetcher]:
    with local.fetching("a.test", "b.test") as made:
        yield made


def ask(fetcher: Fetcher, url: str, *, seconds_max: float = 20, redirects_max: int = 0) -> FetchedAnswer | NotFetched:
    return fetcher.ask(FetchRequest(url, HTML, BYTES_MAX, seconds_max, redirects_max))


def answering(**options: Any) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(**options)

    return handle


def code(answer: FetchedAnswer | NotFetched) -> str:
    assert isinstance(answer, NotFetched), answer
    assert answer.detail
    return answer.code


def test_a_page_comes_with_what_it_is_and_is_asked_for_as_ourselves(local: LocalWeb, fetcher: Fetcher) -> None:
    async def handle(request: web.Request) -> web.Response:
        response = html("<p>Herons fish.</p>")
        response.set_cookie("who", "you")
        response.headers["ETag"] = '"1"'
        return response

    local.serve("a.test", "/x", handle)
    for _ in range(2):
        answer = ask(fetcher, local.url("a.test", "/x"))
        assert isinstance(answer, FetchedAnswer)
        assert (answer.status, answer.media_type, answer.headers["etag"]) == (200, "text/html", '"1"')
        assert b"Herons fish." in answer.body
        assert answer.received == len(answer.body)
    for head in local.heads:
        assert head["Host"] == f"a.test:{local.port}"
        assert head["User-Agent"] == "adriatic/1 (+https://crawler.test/about)"
        assert not {"Cookie", "Authorization", "Referer"} & set(head)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://127.0.0.66:{port}/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://100.64.0.1/",
        "http://[64:ff9b::7f00:1]:{port}/",
        "http://[2002:7f00:1::]/",
        "http://forbidden.test:{port}/",
        "http://both.test:{port}/",
        "http://mapped.test:{port}/",
        "http://decimal.test:{port}/",
    ],
)
def test_nothing_private_is_connected_to_whatever_leads_there(local: LocalWeb, fetcher: Fetcher, url: str) -> None:
    local.names["forbidden.test"] = [FORBIDDEN]
    local.names["both.test"] = ["127.0.0.1", FORBIDDEN]
    local.names["mapped.test"] = [f"::ffff:{FORBIDDEN}"]
    local.names["decimal.test"] = ["127.0.0.66"]
    assert code(ask(fetcher, url.format(port=local.port))) == "forbidden-address"
    assert (local.asked, local.connected) == ([], [])


def test_the_machine_itself_is_refused_by_its_own_resolver_too(local: LocalWeb) -> None:
    fetcher = Fetcher(CrawlerSettings())
    try:
        assert code(ask(fetcher, local.url("localhost"))) == "forbidden-address"
        for host in ("2130706433", "0x7f.1", "0177.0.0.1"):
            assert code(ask(fetcher, local.url(host))) == "forbidden-url"
    finally:
        fetcher.close()
    assert local.asked == []


def test_what_no_setting_opens_stays_closed_to_an_allowed_name(local: LocalWeb, fetcher: Fetcher) -> None:
    local.names["a.test"] = [METADATA]
    assert code(ask(fetcher, local.url("a.test"))) == "forbidden-address"


def test_every_redirect_is_looked_at_again_and_counted(local: LocalWeb, fetcher: Fetcher) -> None:
    local.names["forbidden.test"] = [FORBIDDEN]

    def to(path: str, target: str) -> None:
        local.serve("a.test", path, answering(status=302, headers={"Location": target}))

    to("/secret", local.url("forbidden.test"))
    to("/meta", "http://169.254.169.254/latest/")
    to("/file", "file:///etc/passwd")
    to("/loop", "/loop")
    to("/two", "/one")
    to("/one", local.url("b.test", "/end"))
    local.serve("b.test", "/end", lambda _: asyncio.sleep(0, html("there")))
    for path, expected in (
        ("/secret", "forbidden-address"),
        ("/meta", "forbidden-address"),
        ("/file", "forbidden-url"),
    ):
        assert code(ask(fetcher, local.url("a.test", path), redirects_max=5)) == expected
    assert code(ask(fetcher, local.url("a.test", "/loop"), redirects_max=3)) == "too-many-redirects"
    assert local.paths("a.test").count("/loop") == 4
    end = ask(fetcher, local.url("a.test", "/two"), redirects_max=2)
    assert isinstance(end, FetchedAnswer)
    assert end.url == local.url("b.test", "/end")
    assert local.connected == []


def test_a_redirect_that_is_not_to_be_followed_says_where_it_leads(local: LocalWeb, fetcher: Fetcher) -> None:
    local.serve("a.test", "/x", answering(status=301, headers={"Location": "../y#part"}))
    answer = ask(fetcher, local.url("a.test", "/x"))
    assert isinstance(answer, FetchedAnswer)
    assert (answer.status, answer.location) == (301, local.url("a.test", "/y"))


def test_a_name_that_leads_elsewhere_the_second_time_was_looked_up_once_for_its_connection(
    local: LocalWeb, fetcher: Fetcher
) -> None:
    async def handle(request: web.Request) -> web.Response:
        local.names["a.test"] = [FORBIDDEN, METADATA]
        response = html("first")
        response.force_close()
        return response

    local.serve("a.test", "/", handle)
    assert isinstance(ask(fetcher, local.url("a.test")), FetchedAnswer)
    assert local.looked_up["a.test"] == 1
    assert code(ask(fetcher, local.url("a.test"))) == "forbidden-address"
    assert (local.looked_up["a.test"], len(local.asked), local.connected) == (2, 1, [])


@pytest.mark.parametrize("where", ["body", "head", "silence"])
def test_what_drips_ends_at_the_bound_of_the_whole(local: LocalWeb, fetcher: Fetcher, where: str) -> None:
    gone = threading.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        try:
            if where == "body":
                response = web.StreamResponse(headers={"Content-Type": "text/html"})
                await response.prepare(request)
                while True:
                    await response.write(b".")
                    await asyncio.sleep(0.05)
            if where == "head":
                request.transport.write(b"HTTP/1.1 200 OK\r\n")
            while not request.transport.is_closing():
                if where == "head":
                    request.transport.write(b"X-Y: z\r\n")
                await asyncio.sleep(0.05)
            return web.Response()
        finally:
            gone.set()

    local.serve("a.test", "/", handle)
    answer = ask(fetcher, local.url("a.test"), seconds_max=1)
    assert isinstance(answer, NotFetched)
    # So many lines of a head end a request too, if they are faster than the clock.
    assert answer.code in (("too-slow", "bad-answer") if where == "head" else ("too-slow",))
    assert gone.wait(20), "the connection is closed"


def test_what_is_too_large_is_left_whether_it_says_so_or_not(local: LocalWeb, fetcher: Fetcher) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/html"})
        await response.prepare(request)
        while True:
            await response.write(b"x" * 10_000)

    local.serve("a.test", "/said", answering(body=b"x" * (BYTES_MAX + 1), content_type="text/html"))
    local.serve("a.test", "/endless", endless)
    local.serve("a.test", "/most", answering(body=b"x" * BYTES_MAX, content_type="text/html"))
    assert code(ask(fetcher, local.url("a.test", "/said"))) == "too-large"
    assert code(ask(fetcher, local.url("a.test", "/endless"))) == "too-large"
    assert isinstance(ask(fetcher, local.url("a.test", "/most")), FetchedAnswer)


def test_heads_are_made_plain_whatever_bytes_they_have(local: LocalWeb, fetcher: Fetcher) -> None:
    async def odd(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        head = b'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: "a\xff\xc3b"\r\nContent-Length: 1\r\n\r\nx'
        request.transport.write(head)
        await asyncio.sleep(1)
        return web.Response()

    local.serve("a.test", "/", odd)
    answer = ask(fetcher, local.url("a.test"))
    assert isinstance(answer, FetchedAnswer)
    assert answer.headers["etag"] == '"ab"'


def test_a_bomb_is_not_unpacked(local: LocalWeb, fetcher: Fetcher) -> None:
    def packed(content: bytes, packing: str = "gzip") -> Handler:
        return answering(body=content, headers={"Content-Type": "text/html", "Content-Encoding": packing})

    bomb = gzip.compress(bytes(BYTES_MAX * UNPACKED_FACTOR + 1))
    assert len(bomb) < BYTES_MAX // 100
    local.serve("a.test", "/bomb", packed(bomb))
    local.serve("a.test", "/page", packed(gzip.compress(b"<p>packed")))
    local.serve("a.test", "/cut", packed(gzip.compress(b"<p>packed" * 99)[:-9]))
    local.serve("a.test", "/not", packed(b"plain"))
    local.serve("a.test", "/other", packed(b"plain", "br"))
    assert code(ask(fetcher, local.url("a.test", "/bomb"))) == "bomb"
    page = ask(fetcher, local.url("a.test", "/page"))
    assert isinstance(page, FetchedAnswer)
    assert page.body == b"<p>packed"
    for path in ("/cut", "/not", "/other"):
        assert code(ask(fetcher, local.url("a.test", path))) == "bad-answer"


def test_only_what_was_asked_for_is_taken(local: LocalWeb, fetcher: Fetcher) -> None:
    local.serve("a.test", "/film", answering(body=b"x", content_type="video/mp4"))
    local.serve("a.test", "/gone", answering(status=410, body=b"x" * 10))
    answer = ask(fetcher, local.url("a.test", "/film"))
    assert code(answer) == "wrong-type"
    assert "video/mp4" in str(answer)
    gone = ask(fetcher, local.url("a.test", "/gone"))
    assert isinstance(gone, FetchedAnswer)
    assert (gone.status, gone.body) == (410, b"")


def test_names_without_an_address_or_with_very_many_are_none(local: LocalWeb, fetcher: Fetcher) -> None:
    local.names["a.test"] = ["127.0.0.1"] * (ADDRESSES_MAX + 1)
    for host in ("a.test", "nowhere.example"):
        answer = ask(fetcher, local.url(host))
        assert isinstance(answer, NotFetched)
        assert (answer.code, answer.temporary) == ("unknown-name", True)


def test_a_port_where_nobody_listens_and_one_that_speaks_something_else(local: LocalWeb, fetcher: Fetcher) -> None:
    async def nonsense(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"220 mail ready\r\n")
        request.transport.close()
        return web.Response()

    local.serve("a.test", "/mail", nonsense)
    assert code(ask(fetcher, local.url("a.test", "/mail"))) == "bad-answer"
    local.names["b.test"] = ["127.0.0.77"]
    assert code(ask(fetcher, local.url("b.test"))) == "no-connection"


def test_who_waits_is_asked_to_stop_when_it_is_closed(local: LocalWeb) -> None:
    begun = threading.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        begun.set()
        await asyncio.sleep(3_600)
        return web.Response()

    local.serve("a.test", "/", hang)
    ended: list[BaseException] = []
    with local.fetching("a.test") as fetcher:

        def wait() -> None:
            try:
                ask(fetcher, local.url("a.test"), seconds_max=600)
            except StopRequested as stop:
                ended.append(stop)

        thread = threading.Thread(target=wait)
        thread.start()
        assert begun.wait(20)
    thread.join(20)
    assert len(ended) == 1
    with pytest.raises(StopRequested):
        ask(fetcher, local.url("a.test"))
