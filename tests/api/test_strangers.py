"""Requests that nobody means to send, over real connections: each has its right answers, and no 500 is among them."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.auth.issuer import LocalIssuer
from tests.api.test_server import Server, serving
from tests.api.world import Caller, World

pytestmark = pytest.mark.stack

WAIT_S = 10.0
BODY_S_MAX = 1.0
"""The bound of these tests' server, so that a body that drips is soon over."""
DRIP_S = 0.05
DEEP = b"[" * 5_000


@dataclass(frozen=True)
class Target:
    server: Server
    token: str
    adr_id: str

    def ask(self, raw: str | bytes, *, drip: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """Send `raw`, and then `drip` byte by byte. Status 0: the connection was closed without an answer."""
        text = raw.encode("latin-1") if isinstance(raw, str) else raw
        text = text.replace(b"TOKEN", self.token.encode()).replace(b"ADR_ID", self.adr_id.encode())
        text = text.replace(b"UPPER_ID", self.adr_id.upper().encode())
        with socket.create_connection(("127.0.0.1", self.server.port), WAIT_S) as connection:
            with suppress(OSError):  # it has answered, and closed
                connection.sendall(text)
                for each in drip:
                    connection.sendall(bytes([each]))
                    time.sleep(DRIP_S)
            return read_answer(connection)


def _is_whole(found: bytes) -> bool:
    head, end, body = found.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return bool(end) and length is not None and len(body) >= int(length[1])


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    found = b""
    try:
        while not _is_whole(found) and (piece := connection.recv(65_536)):
            found += piece
    except OSError:
        pass
    head, _, body = found.partition(b"\r\n\r\n")
    if not head:
        return 0, {}, b""
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers, body


@pytest.fixture
async def target(world: World, tenant: Caller, tmp_path: Path) -> AsyncIterator[Target]:
    adr = await tenant.create(tags=["x"])
    token = LocalIssuer.open(world.settings.home, world.settings.auth).mint(tenant.tenant_id, subject="ada", ttl_s=600)
    with serving(world.settings, tmp_path, ADRIATIC_API__BODY_S_MAX=str(BODY_S_MAX)) as server:
        yield Target(server, token.text, adr["adr_id"])


def get(path: str, *lines: str, method: str = "GET") -> str:
    head = [f"{method} {path} HTTP/1.1", "Host: api", "Connection: close", "Authorization: Bearer TOKEN", *lines]
    return "\r\n".join(head) + "\r\n\r\n"


def send(path: str, body: bytes, *lines: str, method: str = "POST", media_type: str = "application/json") -> bytes:
    kind = [f"Content-Type: {media_type}"] if media_type else []
    return get(path, *kind, f"Content-Length: {len(body)}", *lines, method=method).encode("latin-1") + body


def form(*parts: bytes, boundary: str = "x") -> bytes:
    body = b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\n"
    return send("/v1/documents", body, media_type=f"multipart/form-data; boundary={boundary}")


def part(disposition: str, content: bytes = b"text", *lines: str) -> bytes:
    head = [f"Content-Disposition: form-data; {disposition}", *lines]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + content


ADR = '{"body": "# A"}'
REFUSED = {0, 400}
"""By the server of HTTP itself, or by us."""

REQUESTS: dict[str, tuple[str | bytes, set[int]]] = {
    # --- the head of a request
    "two lengths": (get("/v1/adrs", "Content-Length: 1", "Content-Length: 2"), REFUSED),
    "a length and chunks": (send("/v1/adrs", b"0\r\n\r\n", "Transfer-Encoding: chunked"), REFUSED | {401}),
    "a length below zero": (get("/v1/adrs", "Content-Length: -1"), REFUSED),
    "a length of words": (get("/v1/adrs", "Content-Length: many"), REFUSED),
    "a folded header": (get("/v1/adrs", "X-A: one\r\n two"), REFUSED | {200}),
    "NUL in a header": (get("/v1/adrs", "Idempotency-Key: a\0b"), REFUSED),
    "NUL in the path": (get("/v1/\0adrs"), REFUSED),
    "no such version": ("GET /v1/adrs HTTP/3.7\r\n\r\n", REFUSED | {505}),
    "no host": ("GET /health/live HTTP/1.1\r\nConnection: close\r\n\r\n", {200, 400}),
    "not HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", REFUSED),
    "a header of 300 kB": (get("/v1/adrs", "X-A: " + "a" * 300_000), REFUSED | {200, 431}),
    "a path of 100 kB": (get("/" + "a" * 100_000), REFUSED | {404, 414, 431}),
    "a thousand headers": (get("/v1/adrs", *(f"X-{each}: a" for each in range(1_000))), REFUSED | {431}),
    "another method": (get("/v1/adrs", method="BREW"), {405}),
    "TRACE": (get("/v1/adrs", method="TRACE"), {405}),
    "CONNECT": (get("/v1/adrs", method="CONNECT"), REFUSED | {405}),
    "a method in lower case": (get("/v1/adrs", method="get"), {405}),
    "HEAD": (get("/v1/adrs", method="HEAD"), {200}),
    "OPTIONS": (get("/v1/adrs", method="OPTIONS"), {204}),
    "OPTIONS of all": (get("*", method="OPTIONS"), REFUSED | {404, 405}),
    "an upgrade": (get("/v1/adrs", "Upgrade: websocket", "Connection: Upgrade"), {200, 400}),
    "an upgrade to HTTP/2": (get("/v1/adrs", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"), {200}),
    # --- addresses
    "two slashes": (get("//v1/adrs"), {200, 404}),
    "a slash at the end": (get("/v1/adrs/"), {200, 404}),
    "dots": (get("/v1/../v1/adrs"), {404}),
    "dots encoded": (get("/v1/%2e%2e/v1/adrs"), {404}),
    "a dot at the end": (get("/v1/adrs."), {404}),
    "another case": (get("/V1/ADRS"), {404}),
    "an id in upper case": (get("/v1/adrs/UPPER_ID"), {200}),
    "an id without hyphens": (get("/v1/adrs/01a20ca0df0873f5b18ed3c1bb32b431"), {404}),
    "an id in braces": (get("/v1/adrs/%7B01a20ca0-df08-73f5-b18e-d3c1bb32b431%7D"), {404}),
    "an id that is none": (get("/v1/adrs/1"), {404}),
    "NUL encoded in the path": (get("/v1/feeds/%00"), {400}),
    "NUL in a tag": (get("/v1/adrs/ADR_ID/tags/%00", method="PUT"), {400}),
    "C1 in a tag": (get("/v1/adrs/ADR_ID/tags/%C2%85", method="PUT"), {400}),
    "a tag of a space": (get("/v1/adrs/ADR_ID/tags/%20", method="PUT"), {400}),
    "a tag that is not UTF-8": (get("/v1/adrs/ADR_ID/tags/%ff", method="PUT"), {400}),
    "half an escape": (get("/v1/adrs/ADR_ID/tags/%e", method="PUT"), {200, 400}),
    "a slash in a tag": (get("/v1/adrs/ADR_ID/tags/a%2Fb", method="PUT"), {200, 404}),
    "a version beyond all bounds": (get("/v1/adrs/ADR_ID/versions/" + "9" * 5_000), {400, 404}),
    "a version below zero": (get("/v1/adrs/ADR_ID/versions/-1"), {400, 404}),
    "the whole address": (get("http://elsewhere/v1/adrs"), {200, 400, 404}),
    # --- query
    "a page of none": (get("/v1/adrs?limit=0"), {400}),
    "a page beyond the largest": (get("/v1/adrs?limit=201"), {400}),
    "a page of 1.0": (get("/v1/adrs?limit=1.0"), {200, 400}),
    "a page of digits without end": (get("/v1/adrs?limit=" + "9" * 5_000), {400}),
    "two pages": (get("/v1/adrs?limit=1&limit=2"), {400}),
    "a status that is none": (get("/v1/adrs?status=acepted"), {400}),
    "a log that is none": (get("/v1/adrs?log=mian"), {400}),
    "a log that is none, in a search": (get("/v1/search?q=a&log=mian"), {400}),
    "a status that is none, in a search": (get("/v1/search?q=a&status=acepted"), {400}),
    "null": (get("/v1/jobs?state=null"), {400}),
    "NUL in a query": (get("/v1/search?q=%00"), {400}),
    "NUL in a name": (get("/v1/adrs?%00=1"), {400}),
    "a query that is not UTF-8": (get("/v1/search?q=%ff"), {400}),
    "a half of a pair": (get("/v1/search?q=%ED%A0%80"), {400}),
    "a time of seconds": (get("/v1/adrs?updated_since=5"), {400}),
    "a time without a zone": (get("/v1/adrs?updated_since=2026-01-01T00:00:00"), {400}),
    "a time of the year 0": (get("/v1/adrs?updated_since=0000-01-01T00:00:00Z"), {400}),
    "the first moment, to the east": (get("/v1/adrs?updated_since=0001-01-01T00:00:00%2B12:00"), {200, 400}),
    "a leap second": (get("/v1/adrs?updated_since=2016-12-31T23:59:60Z"), {200, 400}),
    "a cursor of brackets": (get("/v1/adrs?cursor=" + "W1tb" * 128), {400}),
    "a cursor that is none": (get("/v1/adrs?cursor=%C3%A9"), {400}),
    "an operator alone": (get("/v1/search?q=or"), {200}),
    "a picture": (get("/v1/search?q=%F0%9F%9A%80"), {200}),
    "marks alone": (get("/v1/search?q=!!!"), {200}),
    "an exclusion alone": (get("/v1/search?q=-a"), {200}),
    "a quote": (get("/v1/search?q=%22"), {200}),
    "blanks": (get("/v1/search?q=%20%20"), {400}),
    # --- headers
    "two tokens": (get("/v1/adrs", "Authorization: Bearer x"), {400}),
    "a token of brackets": (
        get("/v1/adrs").replace("TOKEN", "W1tb" * 1_900 + ".e30.e30"),
        {401},
    ),
    "two keys": (send("/v1/adrs", ADR.encode(), "Idempotency-Key: a", "Idempotency-Key: b"), {400}),
    "an empty key": (send("/v1/adrs", ADR.encode(), "Idempotency-Key: "), {400}),
    "a weak tag": (get("/v1/adrs/ADR_ID", 'If-None-Match: W/"1-0"'), {200}),
    "any tag": (get("/v1/adrs/ADR_ID", "If-None-Match: *"), {304}),
    "a tag without quotes": (send("/v1/adrs/ADR_ID", b"{}", "If-Match: 1", method="PATCH"), {400}),
    "two tags": (send("/v1/adrs/ADR_ID", b"{}", 'If-Match: "1", "2"', method="PATCH"), {400}),
    "no tag": (send("/v1/adrs/ADR_ID", b"{}", method="PATCH"), {428}),
    "a range": (get("/v1/adrs", "Range: bytes=0-1"), {200}),
    "an answer that cannot be": (get("/v1/adrs", "Accept: image/png"), {200, 406}),
    "an expectation": (send("/v1/adrs", ADR.encode(), "Expect: 200-maybe"), {201, 417}),
    # --- bodies
    "no type": (send("/v1/adrs", ADR.encode(), media_type=""), {415}),
    "another charset": (send("/v1/adrs", ADR.encode(), media_type="application/json; charset=utf-16"), {415}),
    "gzip": (send("/v1/adrs", b"\x1f\x8b\x08", "Content-Encoding: gzip"), {415}),
    "a form": (send("/v1/adrs", b"body=a", media_type="application/x-www-form-urlencoded"), {415}),
    "nothing": (send("/v1/adrs", b""), {400}),
    "a byte order mark": (send("/v1/adrs", b"\xef\xbb\xbf" + ADR.encode()), {201, 400}),
    "UTF-16": (send("/v1/adrs", ADR.encode("utf-16")), {400}),
    "brackets": (send("/v1/adrs", DEEP), {400}),
    "brackets that end": (send("/v1/adrs", DEEP + DEEP.replace(b"[", b"]")), {400}),
    "brackets in a field": (send("/v1/adrs", b'{"body": "a", "tags": ' + DEEP), {400}),
    "brackets of a job": (
        send("/v1/jobs", b'{"kind": "reindex", "params": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}"),
        {400},
    ),
    "a name twice": (send("/v1/adrs", b'{"body": "# A", "body": "# B"}'), {201, 400}),
    "NaN": (send("/v1/search", b'{"q": "a", "limit": NaN}'), {400}),
    "a number beyond all bounds": (send("/v1/search", b'{"q": "a", "limit": 1e999}'), {400}),
    "digits without end": (send("/v1/search", b'{"q": "a", "limit": ' + b"9" * 5_000 + b"}"), {400}),
    "a whole number with a point": (send("/v1/search", b'{"q": "a", "limit": 5.0}'), {200}),
    "half a pair": (send("/v1/adrs", b'{"body": "# \\ud800"}'), {400}),
    "NUL in a text": (send("/v1/adrs", b'{"body": "# a\\u0000"}'), {400}),
    "NUL in a name of a field": (send("/v1/adrs", b'{"body": "# a", "\\u0000": 1}'), {400}),
    "NUL in a parameter of a job": (send("/v1/jobs", b'{"kind": "reindex", "params": {"\\u0000": 1}}'), {400}),
    "a blank body": (send("/v1/adrs", b'{"body": " \\n\\t"}'), {400}),
    "a blank title": (send("/v1/adrs", b'{"body": "# A", "title": " "}'), {400}),
    "a title of two lines": (send("/v1/adrs", b'{"body": "# A", "title": "a\\nb"}'), {400}),
    "a title that ends its line": (send("/v1/adrs", b'{"body": "# A", "title": "a\\n"}'), {400}),
    "C1 in a tag of a body": (send("/v1/adrs", b'{"body": "# A", "tags": ["a\\u0085"]}'), {400}),
    "a log that ends its line": (send("/v1/adrs", b'{"body": "# A", "log": "main\\n"}'), {400}),
    "a link of 4000 bytes": (
        send(
            "/v1/adrs/ADR_ID/links",
            json.dumps(
                {"kind": "relates-to", "target": "".join(chr(0x10000 + 37 * each % 60_000) for each in range(1_000))}
            ).encode(),
            method="PUT",
        ),
        {200, 400, 413},
    ),
    # --- uploads
    "a part without a file name": (form(part('name="file"')), {400}),
    "another part": (form(part('name="data"; filename="a.txt"')), {400}),
    "a part too many": (form(part('name="file"; filename="a.txt"'), part('name="x"')), {400}),
    "two files": (form(part('name="file"; filename="a"'), part('name="file"; filename="b"')), {400}),
    "no part": (form(), {400}),
    "no boundary": (send("/v1/documents", b"x", media_type="multipart/form-data"), {400}),
    "another boundary": (form(part('name="file"; filename="a"'), boundary="y"), {400}),
    "a charset that is none": (form(part('name="file"', b"a", "Content-Type: text/plain; charset=none")), {400}),
    "a part that is not UTF-8": (form(part('name="file"', b"\xff")), {400}),
    "an empty file name": (form(part('name="file"; filename=""')), {400}),
    "a file name of a path": (form(part('name="file"; filename="../../etc/passwd"')), {200, 202}),
    "a file name of NUL": (form(part('name="file"; filename="a\0b"', b"other")), {200, 202, 400}),
    "JSON": (send("/v1/documents", b"{}"), {415}),
    # --- what is not there
    "a view that is none": (get("/v1/live/none"), {404}),
    "a token of a live read that is none": (get("/v1/live/activity", "Last-Event-ID: " + "W1tb" * 1_000), {400}),
}


async def test_a_stranger_gets_an_answer_that_says_what_is_wrong(target: Target) -> None:
    wrong: list[str] = []
    for name, (raw, expected) in REQUESTS.items():
        status, headers, body = target.ask(raw)
        told = f"{name}: {status}, not {sorted(expected)}: {body[:300]!r}"
        if status not in expected:
            wrong.append(told)
        elif status >= 400 and "problem" in headers.get("content-type", "") and body:
            problem = json.loads(body)
            if not problem["detail"] or problem["status"] != status or headers.get("cache-control") != "no-store":
                wrong.append(told)
    defects = [line for line in target.server.lines() if line["message"] == "unexpected exception"]
    wrong += map(str, defects)
    assert not wrong, "\n".join(wrong)


async def test_a_body_that_drips_is_over_soon(target: Target) -> None:
    """One byte at a time, for longer than a body may take: the answer comes meanwhile, and the connection is closed."""
    began_s = time.monotonic()
    raw = send("/v1/adrs", b'{"body": "' + b"a" * 60 + b'"}')
    head, _, body = raw.partition(b"\r\n\r\n")
    status, headers, told = target.ask(head + b"\r\n\r\n", drip=body)
    assert (status, json.loads(told)["code"], headers["connection"]) == (408, "too-slow", "close")
    assert time.monotonic() - began_s < WAIT_S
    # What sends its head, and then nothing, holds no connection for longer either.
    assert target.ask(head + b"\r\n\r\n")[0] == 408


async def test_every_answer_in_json_is_for_no_cache_and_no_guess(target: Target) -> None:
    for path in ("/v1/adrs", "/v1/adrs/ADR_ID", "/health/live", "/openapi.json", "/nowhere"):
        _, headers, _ = target.ask(get(path))
        assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff"), path
