"""Object storage, one suite for both kinds: a folder, and a server that speaks S3's API as far as it is used."""

from __future__ import annotations

import hashlib
import io
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4
from xml.sax.saxutils import escape

import pytest

from connectors import objects
from connectors.objects import Objects, key_of
from runtime.errors import DependencyUnavailable, NotFound
from runtime.settings import ObjectSettings, Settings
from tests.patience import PATIENCE_S


class Bucket(BaseHTTPRequestHandler):
    """GET, HEAD, PUT, deletes of many and uploads in parts, of one bucket; only who has the key."""

    protocol_version = "HTTP/1.1"
    held: dict[str, bytes]
    parts: dict[str, dict[int, bytes]]

    def log_message(self, *_: Any) -> None: ...

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if self.command != "HEAD":
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if "Credential=key-id/" not in self.headers.get("authorization", ""):
            self._answer(403)
            return
        address = urlsplit(self.path)
        query = parse_qs(address.query, keep_blank_values=True)
        tag = f'"{hashlib.md5(body).hexdigest()}"'
        if self.command == "PUT" and "uploadId" in query:
            self.parts[query["uploadId"][0]][int(query["partNumber"][0])] = body
            self._answer(200, etag=tag)
        elif self.command == "PUT":
            self.held[address.path] = body
            self._answer(200, etag=tag)
        elif self.command == "POST" and "uploads" in query:
            self.parts[upload := uuid4().hex] = {}
            self._xml("InitiateMultipartUploadResult", Bucket="b", Key=address.path, UploadId=upload)
        elif self.command == "POST" and "delete" in query:
            keys = re.findall(r"<Key>(.*?)</Key>", body.decode())
            for key in keys:
                self.held.pop(f"/b/{key}", None)
            deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            self._answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode(), content_type="application/xml")
        elif self.command == "POST":
            parts = self.parts.pop(query["uploadId"][0])
            self.held[address.path] = b"".join(parts[number] for number in sorted(parts))
            self._xml("CompleteMultipartUploadResult", Bucket="b", Key=address.path, ETag=tag)
        elif address.path not in self.held:
            self._answer(404)
        else:
            content = self.held[address.path]
            headers = {"etag": '"x"', "last_modified": "Thu, 15 Jan 2026 09:00:00 GMT"}
            if self.command == "HEAD":
                headers["content_length"] = str(len(content))
            self._answer(200, content, **headers)

    def _xml(self, name: str, **fields: str) -> None:
        inner = "".join(f"<{field}>{escape(value)}</{field}>" for field, value in fields.items())
        self._answer(200, f"<?xml version='1.0'?><{name}>{inner}</{name}>".encode(), content_type="application/xml")

    do_GET = do_HEAD = do_PUT = do_POST = _handle  # noqa: N815 - named by http.server


@pytest.fixture
def s3() -> Iterator[str]:
    """The address of a server with an empty bucket."""
    handler = type("Handler", (Bucket,), {"held": {}, "parts": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(PATIENCE_S)


def of(home: Path, **wanted: Any) -> Objects:
    return Objects(Settings(home=home, objects=ObjectSettings(**wanted)))


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "folder":
        return of(tmp_path)
    address = request.getfixturevalue("s3")
    return of(tmp_path, kind="s3", bucket="b", endpoint=address, access_key_id="key-id", secret_access_key="secret")


KEY = key_of(uuid4(), b"\x01" * 32)


def test_what_was_stored_comes_back_in_parts_until_it_is_deleted(
    store: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PART_BYTES", 5_242_880)
    content = bytes(range(256)) * 50_000
    store.put(KEY, io.BytesIO(content))
    assert store.exists(KEY)
    assert b"".join(store.read(KEY)) == content
    store.put(KEY, io.BytesIO(b"small"))
    assert list(store.read(KEY)) == [b"small"]
    for _ in range(2):
        store.delete(KEY)
        assert not store.exists(KEY)


def test_an_object_that_is_not_there_is_told_apart_from_a_store_that_is_not(store: Objects) -> None:
    with pytest.raises(NotFound):
        next(store.read(KEY))
    assert not store.exists(KEY)


def test_an_empty_object_is_one(store: Objects) -> None:
    store.put(KEY, io.BytesIO(b""))
    assert store.exists(KEY)
    assert b"".join(store.read(KEY)) == b""


def test_a_store_that_does_not_answer_is_an_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "RETRY_S_MAX", 1)
    away = of(tmp_path, kind="s3", bucket="b", endpoint="http://127.0.0.1:1", access_key_id="x", secret_access_key="y")
    with pytest.raises(DependencyUnavailable):
        away.exists(KEY)
    (tmp_path / "file").write_text("")
    with pytest.raises(DependencyUnavailable):
        of(tmp_path, folder=tmp_path / "file" / "in").exists(KEY)


def test_a_wrong_key_is_an_outage_and_no_missing_object(s3: str, tmp_path: Path) -> None:
    wrong = of(tmp_path, kind="s3", bucket="b", endpoint=s3, access_key_id="other", secret_access_key="y")
    with pytest.raises(DependencyUnavailable):
        wrong.exists(KEY)
