"""The whole system, as its users see it: over HTTP, from the command line, and through any Kafka client."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
import pytest

from adriatic.cli.remote import local_token
from adriatic.cli.status import EXIT, collect
from adriatic.cli.tenants import make_tenant
from adriatic.supervisor.supervisor import Files, read_running
from runtime.deadline import Deadline
from runtime.settings import Settings
from tests import databases

FINDABLE_MAX_S = 120.0
"""Far above what it takes; the machine may be busy with other things."""
COMMAND_MAX_S = 480
LOOK_S, LOOK_AT_ALL_S = 0.1, 1.0
"""Between two looks of who waits. A look at the whole takes a good part of a core, which what is waited for needs."""


@dataclass(frozen=True)
class Tenant:
    """A tenant of its own for each test, with a client that speaks for it."""

    slug: str
    tenant_id: str
    token: str
    http: httpx.Client

    def create(self, body: str, **more: Any) -> dict[str, Any]:
        answer = self.http.post("/v1/adrs", json={"body": body, **more})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def search(self, q: str, mode: str = "hybrid", **more: Any) -> list[str]:
        """Ids of the hits, best first."""
        answer = self.http.get("/v1/search", params={"q": q, "mode": mode, **more})
        assert answer.status_code == 200, answer.text
        return [hit["source_id"] for hit in answer.json()["hits"]]


@dataclass(frozen=True)
class World:
    """The running system: its settings, commands against it, and direct looks into its database."""

    settings: Settings
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "adriatic", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_MAX_S,
            check=False,
            **more,
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done

    def status(self) -> tuple[int, dict[str, Any]]:
        """The exit code of `adriatic status --json`, and what it prints. Asked in this process: a command takes a
        second of a core, and who waits looks often."""
        found = collect(self.settings)
        return EXIT[found.verdict], msgspec.to_builtins(found)

    def is_well(self) -> bool:
        return self.status()[0] == 0

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """As the flows' role, which sees every tenant."""
        return databases.ask(self.settings.postgres.dsn("flows"), query, *values)

    def pid(self, part: str) -> int:
        report = read_running(Files(self.settings.home))
        assert report is not None, "the supervisor is gone"
        pid = next(each.pid for each in report.parts if each.name == part)
        assert pid is not None, f"{part} does not run"
        return pid

    def dead_letters(self) -> int:
        return int(self.rows("select count(*) from ops.dlq where state = 'new'")[0][0])


def eventually(what: str, check: Callable[[], Any], within_s: float = FINDABLE_MAX_S, look_s: float = LOOK_S) -> Any:
    """The first true value of `check`, which is asked every `look_s`."""
    deadline = Deadline.after(within_s)
    while not (value := check()):
        assert not deadline.passed, f"not within {within_s} s: {what}"
        time.sleep(look_s)
    return value


@pytest.fixture(scope="session")
def world(system: Settings) -> World:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ADRIATIC_")}
    return World(system, environment | {"ADRIATIC_HOME": str(system.home)})


@contextmanager
def clients(world: World) -> Iterator[Callable[[], Tenant]]:
    """Makes tenants, each with a client, which is closed afterwards."""
    made: list[httpx.Client] = []

    def make() -> Tenant:
        slug = f"t-{uuid.uuid4().hex[:12]}"
        tenant_id = make_tenant(world.settings, slug).tenant_id
        token = local_token(world.settings, tenant_id, subject="ada")
        api = world.settings.api
        client = httpx.Client(
            base_url=f"http://{api.host}:{api.port}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
            transport=httpx.HTTPTransport(retries=2),
        )
        made.append(client)
        return Tenant(slug, str(tenant_id), token, client)

    yield make
    for client in made:
        client.close()


@pytest.fixture
def new_tenant(world: World) -> Iterator[Callable[[], Tenant]]:
    with clients(world) as make:
        yield make


@pytest.fixture
def tenant(new_tenant: Callable[[], Tenant]) -> Tenant:
    return new_tenant()
