"""How API keys look in a terminal: the secret alone on standard output, and nothing asked twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from adriatic.cli.keys import keys
from api.keys.service import ApiKey, ApiKeyList, KeySecret, ShownApiKey
from runtime.errors import DependencyUnavailable
from runtime.ids import new_id
from schemas.keys import ApiKeySecret, new_key_id

AT = datetime(2026, 1, 1, 9, tzinfo=UTC)
SECRET = ApiKeySecret.new(new_key_id(new_id()))
NEW = KeySecret(AT, AT + timedelta(days=90), None)
OLD = KeySecret(AT - timedelta(days=30), AT + timedelta(days=1), AT)


def key(*secrets: KeySecret, used: datetime | None = None) -> ApiKey:
    return ApiKey(
        SECRET.key_id,
        "web-app",
        ["read", "chat"],
        "good",
        days=90,
        created_by=new_id(),
        created_at=AT,
        expires_at=secrets[0].good_until,
        last_used_at=used,
        revoked_at=None,
        revoked_by=None,
        secrets=list(secrets),
    )


@dataclass
class Api:
    """An API with one key, and what it was asked."""

    url: str = ""
    status: int = 200
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def answer(self, method: str, path: str) -> bytes:
        if self.status >= 500:
            return b'{"code": "dependency-unavailable", "detail": "no database", "hint": "later"}'
        if method == "DELETE":
            return b""
        if method == "GET":
            return msgspec.json.encode(ApiKeyList([key(NEW, OLD, used=AT)]))
        shown = key(NEW, OLD) if path.endswith("/rotate") else key(NEW)
        return msgspec.json.encode(ShownApiKey(shown, str(SECRET)))


@pytest.fixture
def api() -> Iterator[Api]:
    found = Api()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            found.asked.append((self.command, self.path, json.loads(self.rfile.read(length)) if length else None))
            body = found.answer(self.command, self.path)
            self.send_response(found.status if body else 204)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the base class names them so

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield found
    server.shutdown()
    server.server_close()


def run(api: Api, *words: str) -> Result:
    done = CliRunner().invoke(keys, [*words, "--url", api.url, "--token", "t"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def test_a_secret_is_all_that_goes_to_standard_output(api: Api) -> None:
    done = run(api, "create", "web-app", "--scope", "read", "--scope", "chat", "--days", "30")
    assert done.stdout == f"{SECRET}\n"
    assert SECRET.key_id in done.stderr
    assert "good until 2026-04-01 09:00Z" in done.stderr
    assert str(SECRET) not in done.stderr
    body = {"name": "web-app", "scopes": ["read", "chat"], "days": 30}
    assert api.asked == [("POST", "/v1/keys", body)]
    as_json = json.loads(run(api, "create", "x", "--scope", "read", "--json").stdout)
    assert as_json["secret"] == str(SECRET)


def test_a_list_has_no_secret(api: Api) -> None:
    header, row = run(api, "list").stdout.splitlines()
    assert header.split() == ["name", "state", "scopes", "secrets", "last", "used", "expires", "key", "id"]
    used = ["2026-01-01", "09:00Z"]
    assert row.split() == ["web-app", "good", "read", "chat", "2", *used, "2026-04-01", SECRET.key_id]
    assert json.loads(run(api, "list", "--json").stdout)["items"][0]["key_id"] == SECRET.key_id


def test_a_key_is_rotated_with_a_grace_time_and_revoked_by_its_id(api: Api) -> None:
    done = run(api, "rotate", SECRET.key_id, "--grace", "8h")
    assert done.stdout == f"{SECRET}\n"
    assert "older secrets are good until 2026-01-02 09:00Z" in done.stderr
    assert run(api, "revoke", SECRET.key_id).stdout == f"revoked {SECRET.key_id}\n"
    assert api.asked == [
        ("POST", f"/v1/keys/{SECRET.key_id}/rotate", {"grace_s": 28_800}),
        ("DELETE", f"/v1/keys/{SECRET.key_id}", None),
    ]


@pytest.mark.parametrize("words", [("create", "x", "--scope", "read"), ("rotate", "x")])
def test_what_makes_a_secret_is_asked_once(api: Api, words: tuple[str, ...]) -> None:
    api.status = 503
    with pytest.raises(DependencyUnavailable, match="no database"):
        run(api, *words)
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("create", "x"),
        ("create", "x", "--scope", "all"),
        ("create", "x", "--scope", "read", "--days", "367"),
        ("rotate", "x", "--grace", "soon"),
        ("revoke",),
    ],
)
def test_what_is_no_order_is_wrong_usage(api: Api, words: tuple[str, ...]) -> None:
    assert CliRunner().invoke(keys, [*words, "--url", api.url, "--token", "t"]).exit_code == 2
    assert api.asked == []
