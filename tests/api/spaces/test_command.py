"""`adriatic spaces`, against an API process and the worker that does jobs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from adriatic.cli.spaces import spaces
from api.spaces.service import SpaceList
from runtime.errors import AdriaticError, Conflict, NotFound
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import Settings
from streams.worker import Worker
from tests.api.spaces import town as towns
from tests.api.spaces.town import NEW, OLD, Town, search
from tests.api.test_server import environment, serving

pytestmark = pytest.mark.stack

QUERY = "the ledger is kept each night"


@pytest.fixture
async def town(fresh_database: Settings) -> AsyncIterator[Town]:
    async with towns.founded(fresh_database) as founded:
        yield founded


@pytest.fixture
def working(town: Town) -> Iterator[None]:
    life = Lifecycle(Health())
    worker = Worker(town.kinds, town.settings.postgres, life)
    worker.start()
    yield
    life.stop()
    worker.join(30)


@pytest.fixture
def installed(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An API process with these embedders, and a command line that finds it."""
    embedder = {
        f"ADRIATIC_EMBEDDER__{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in town.settings.embedder.model_dump(mode="json", exclude_unset=True).items()
    }
    with serving(town.settings, tmp_path, **embedder) as server:
        for name, value in (environment(town.settings, server.port) | embedder).items():
            monkeypatch.setenv(name, value)
        yield


async def run(*arguments: str) -> Result:
    result = await asyncio.to_thread(CliRunner().invoke, spaces, arguments)
    if isinstance(result.exception, AdriaticError):
        raise result.exception
    return result


async def listed(tenant: str) -> dict[str, str]:
    """The state of each space, by the name of its model."""
    result = await run("list", "--tenant", tenant, "--json")
    found = msgspec.json.decode(result.stdout, type=SpaceList)
    return {each.names[-1]: each.state for each in found.items}


@pytest.mark.usefixtures("installed", "working")
async def test_one_command_changes_every_tenant_and_one_more_goes_back(town: Town) -> None:
    callers = [await town.inhabit(f"t{number}") for number in range(2)]
    await asyncio.to_thread(town.flow)
    result = await run("change", "--to", NEW, "--all", "--force", "--json")
    assert result.exit_code == 0, result.output
    changed: list[dict[str, Any]] = json.loads(result.stdout.splitlines()[-1])
    assert [each["changed"] for each in changed] == [True, True]
    for caller, each in zip(callers, changed, strict=True):
        figures = each["evaluation"]
        assert figures["questions"] == 4
        assert (figures["space"], figures["against"]) == (town.spaces[NEW], town.spaces[OLD])
        assert town.judge(caller.tenant_id, QUERY, await search(caller, QUERY)) == NEW
    tenant = str(callers[0].tenant_id)
    assert await listed(tenant) == {OLD: "former", NEW: "active"}
    again = await run("change", "--to", NEW, "--tenant", tenant)
    assert (again.exit_code, "already" in again.output) == (0, True)
    back = await run("rollback", "--tenant", tenant)
    assert "active" in back.output
    assert await listed(tenant) == {OLD: "active", NEW: "former"}
    dropped = await run("drop", NEW, "--tenant", tenant)
    assert dropped.exit_code == 0, dropped.output
    assert await listed(tenant) == {OLD: "active", NEW: "unused"}
    assert await listed(str(callers[1].tenant_id)) == {OLD: "former", NEW: "active"}


@pytest.mark.usefixtures("installed", "working")
async def test_a_space_that_finds_less_is_measured_and_not_taken(town: Town) -> None:
    caller = await town.inhabit("one", 20)
    await asyncio.to_thread(town.flow)
    tenant = str(caller.tenant_id)
    town.models.dull = {NEW}
    assert (await run("build", NEW, "--tenant", tenant)).exit_code == 0
    with pytest.raises(Conflict, match="was not evaluated"):
        await run("flip", NEW, "--tenant", tenant)
    result = await run("change", "--to", NEW, "--tenant", tenant)
    assert result.exit_code == 1
    assert "not changed" in result.output
    assert result.output.count("nDCG@10") == 2
    assert await listed(tenant) == {OLD: "active", NEW: "ready"}


@pytest.mark.usefixtures("installed", "working")
async def test_what_cannot_be_is_said(town: Town) -> None:
    caller = await town.inhabit("one")
    await asyncio.to_thread(town.flow)
    tenant = str(caller.tenant_id)
    with pytest.raises(NotFound, match="no embedder called nobody"):
        await run("change", "--to", "nobody", "--tenant", tenant)
    with pytest.raises(NotFound, match="no space was searched before"):
        await run("rollback", "--tenant", tenant)
    asked = await run("build", NEW, "--tenant", tenant, "--no-wait")
    assert "/v1/jobs/" in asked.output
