"""`adriatic api run` as a process, over real connections."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from api.auth.issuer import LocalIssuer
from runtime.settings import Settings
from tests.api.world import Caller, World
from tests.patience import PATIENCE_S, PAUSE_S

START_S_MAX = 240.0
RESIDENT_BYTES_MAX = 400 * 1024 * 1024


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(settings: Settings, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ADRIATIC_")}
    postgres = settings.postgres
    return kept | {
        "ADRIATIC_HOME": str(settings.home),
        "ADRIATIC_API__PORT": str(port),
        "ADRIATIC_API__OPERATOR_ROUTES": "true",
        "ADRIATIC_POSTGRES__HOST": postgres.host,
        "ADRIATIC_POSTGRES__PORT": str(postgres.port),
        "ADRIATIC_POSTGRES__DATABASE": postgres.database,
        "ADRIATIC_POSTGRES__SSLMODE": postgres.sslmode,
        "ADRIATIC_POSTGRES__API_PASSWORD": postgres.api_password.get_secret_value(),
    }


class Server:
    """A process, its port and its log."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._log = log

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


@contextmanager
def serving(settings: Settings, folder: Path, **variables: str) -> Iterator[Server]:
    port, log = free_port(), folder / "api.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "adriatic", "api", "run"],
            env=environment(settings, port) | {"ADRIATIC_LLM__CACHE_S": "0"} | variables,
            stdout=output,
            stderr=output,
        )
    server = Server(process, port, log)
    try:
        deadline_s = time.monotonic() + START_S_MAX
        while not answers(f"{server.url}/health/live"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.1)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE_S)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@asynccontextmanager
async def client(server: Server, settings: Settings, tenant: Caller) -> AsyncIterator[Caller]:
    token = LocalIssuer.open(settings.home, settings.auth).mint(tenant.tenant_id, subject="ada", ttl_s=600)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        yield Caller(http, tenant.tenant_id, token.text)


@pytest.mark.stack
async def test_it_serves_people_and_ends_when_told(world: World, tenant: Caller, tmp_path: Path) -> None:
    with serving(world.settings, tmp_path) as server:
        async with client(server, world.settings, tenant) as caller:
            adrs = await asyncio.gather(*(caller.create(f"# {index}\n") for index in range(30)))
            assert sorted(adr["number"] for adr in adrs) == list(range(1, 31))
            assert (await caller.http.get("/health/ready")).json()["status"] == "ready"
            resident = psutil.Process(server.process.pid).memory_info().rss
            assert resident < RESIDENT_BYTES_MAX, f"{resident >> 20} MB"

            # A body that is refused by its announced length: nobody reads it, and the connection is given up.
            huge = b'{"body": "' + b"x" * 50_000_000 + b'"}'
            try:
                refused = await caller.request(
                    "POST", "/v1/adrs", content=huge, headers={"content-type": "application/json"}
                )
            except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError) as error:
                pytest.fail(f"the answer did not arrive: {error!r}")
            assert (refused.status_code, refused.json()["code"]) == (413, "too-large")
            assert (await caller.get("/v1/adrs")).status_code == 200
        assert server.stop() == 0
        lines = server.lines()
    requests = [line for line in lines if line["message"] == "request" and line["method"] == "POST"]
    created = [line for line in requests if line["status"] == 201]
    assert len({line["request_id"] for line in created}) == 30
    assert {line["tenant_id"] for line in created} == {str(tenant.tenant_id)}
    assert {"timestamp", "level", "message", "service", "user_id"} <= set(created[0])
    assert lines[-1]["message"] == "stopped"


LOCKED = """
select count(*)
from pg_stat_activity
where datname = current_database()
  and wait_event_type = 'Lock'
"""


@pytest.mark.stack
async def test_a_request_in_flight_is_answered_before_the_end(world: World, tenant: Caller, tmp_path: Path) -> None:
    await tenant.create()
    with serving(world.settings, tmp_path) as server:
        async with client(server, world.settings, tenant) as caller, world.admin() as admin:
            await caller.get("/v1/logs")
            lock = admin.transaction()
            await lock.start()
            await admin.execute("select from app.logs where tenant_id = $1 for update", tenant.tenant_id)
            waiting = asyncio.create_task(caller.create("# In flight\n"))
            while not await admin.fetchval(LOCKED):
                assert not waiting.done(), "it does not wait for the lock"
                await asyncio.sleep(PAUSE_S)
            server.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.5)  # what would end at once has ended by then
            assert server.process.poll() is None
            await lock.rollback()
            assert (await waiting)["number"] == 2
        assert await asyncio.to_thread(server.process.wait, 30) == 0


def test_it_starts_without_a_database(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / ".adriatic")
    settings = settings.model_copy(update={"postgres": settings.postgres.model_copy(update={"port": 1})})
    with serving(settings, tmp_path) as server:
        ready = httpx.get(f"{server.url}/health/ready")
        assert ready.status_code == 503
        assert "database" in ready.json()["reasons"]
        again = subprocess.run(
            [sys.executable, "-m", "adriatic", "api", "run"],
            env=environment(settings, server.port),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert again.returncode == 1
        assert f"cannot listen on 127.0.0.1:{server.port}" in again.stderr
        assert "ADRIATIC_API__PORT" in again.stderr
        assert server.stop() == 0


def test_it_ends_without_taking_the_interpreter_down(tmp_path: Path) -> None:
    """The server's own threads may turn to the interpreter meanwhile, and abort a process that stopped as it should."""
    (tmp_path / "sitecustomize.py").write_text("import atexit, os\natexit.register(os.abort)\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    with serving(Settings(home=tmp_path / ".adriatic"), tmp_path, PYTHONPATH=path) as server:
        assert server.stop() == 0
        assert server.lines()[-1]["message"] == "stopped"
