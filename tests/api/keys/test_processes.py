"""Keys over several API processes: revoked on one is refused on the other, and a rotation survives a kill."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.test_server import Server, serving
from tests.api.world import Caller, World
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.stack

ROUNDS = 10


@pytest.fixture
def processes(world: World, tmp_path: Path) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        folders = [tmp_path / name for name in ("one", "two")]
        for folder in folders:
            folder.mkdir()
        yield [stack.enter_context(serving(world.settings, folder)) for folder in folders]


def client(server: Server, token: str) -> httpx.Client:
    return httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {token}"}, timeout=PATIENCE_S)


def make(admin: httpx.Client) -> dict[str, Any]:
    answer = admin.post("/v1/keys", json={"name": "web-app", "scopes": ["read"]})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_revoked_on_one_process_is_refused_on_the_other_at_once(processes: list[Server], tenant: Caller) -> None:
    one, two = processes
    with client(one, tenant.token) as admin:
        for _ in range(ROUNDS):
            shown = make(admin)
            with client(two, shown["secret"]) as program, client(one, shown["secret"]) as same:
                assert program.get("/v1/adrs").status_code == same.get("/v1/adrs").status_code == 200
                assert admin.delete(f"/v1/keys/{shown['api_key']['key_id']}").status_code == 204
                assert program.get("/v1/adrs").status_code == same.get("/v1/adrs").status_code == 401


def test_killed_while_it_rotates_a_key_the_secret_in_use_stays_good(processes: list[Server], tenant: Caller) -> None:
    victim, other = processes
    with client(other, tenant.token) as admin, client(victim, tenant.token) as doomed:
        shown = make(admin)
        path = f"/v1/keys/{shown['api_key']['key_id']}/rotate"
        assert doomed.post(path, json={"grace_s": 600}).status_code == 200  # whose answer nobody kept
        body = b'{"grace_s": 600}'
        with socket.create_connection(("127.0.0.1", victim.port), PATIENCE_S) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {tenant.token}\r\n"
            kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall((head + kind).encode() + body)
            victim.process.send_signal(signal.SIGKILL)
        victim.process.wait(PATIENCE_S)
        with client(other, shown["secret"]) as program:
            assert program.get("/v1/adrs").status_code == 200
            again = admin.post(path, json={"grace_s": 600})
            assert again.status_code == 200, again.text
            assert program.get("/v1/adrs").status_code == 200, "repeated, it takes nothing away"
        with client(other, again.json()["secret"]) as program:
            assert program.get("/v1/adrs").status_code == 200
        # The one that was killed has made a secret or none; each has its end.
        secrets = admin.get("/v1/keys").json()["items"][0]["secrets"]
        assert len(secrets) in (3, 4)
        assert all(each["good_until"] < secrets[0]["good_until"] for each in secrets[1:])
