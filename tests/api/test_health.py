"""Outages: the API starts without its dependencies, says what it waits for, answers at once, and heals."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from api import db
from api.ops.readiness import REUSE_S
from connectors.postgres.provision import provision
from runtime.deadline import Deadline
from runtime.ids import new_id
from runtime.settings import AuthSettings, PostgresSettings, Settings
from tests import databases
from tests.api.world import World, running
from tests.patience import PATIENCE_S


async def test_alive_without_a_database_and_not_ready_with_a_reason(lonely: World) -> None:
    assert (await lonely.http.get("/health/live")).json() == {"status": "live"}
    answer = await lonely.http.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["status"] == "waiting"
    assert set(answer.json()["reasons"]) == {"database"}
    assert "Connect call failed" in answer.json()["reasons"]["database"]


async def test_a_request_without_a_database_is_told_when_to_come_back(lonely: World) -> None:
    answer = await lonely.caller(new_id()).get("/v1/adrs")
    assert (answer.status_code, answer.json()["code"]) == (503, "dependency-unavailable")
    assert int(answer.headers["retry-after"]) >= 1


@asynccontextmanager
async def black_hole() -> AsyncIterator[int]:
    """The port of a server that takes connections and says nothing."""
    held: list[asyncio.StreamWriter] = []

    async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for writer in held:
        writer.close()
    await server.wait_closed()


async def test_a_database_that_hangs_makes_nobody_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "CONNECT_S_MAX", 0.3)
    async with black_hole() as port:
        settings = Settings(home=tmp_path, postgres=PostgresSettings(port=port, sslmode="disable"))
        async with running(settings) as world:
            async with asyncio.timeout(60):  # a hang would be for ever
                answer = await world.caller(new_id()).get("/v1/adrs")
                ready = await world.http.get("/health/ready")
            assert answer.status_code == ready.status_code == 503
            assert answer.json()["code"] == "dependency-unavailable"


async def test_keys_that_cannot_be_fetched_are_an_outage_and_not_the_callers_fault(tmp_path: Path) -> None:
    auth = AuthSettings(jwks_url="http://127.0.0.1:1/keys", issuer="https://id.example")
    settings = Settings(home=tmp_path, postgres=PostgresSettings(port=1), auth=auth)
    async with running(settings) as world:
        answer = await world.caller(new_id()).get("/v1/adrs")
        assert (answer.status_code, answer.json()["code"]) == (503, "dependency-unavailable")
        assert (await world.http.get("/v1/adrs")).status_code == 401, "without a token nothing has to be asked"
        reasons = (await world.http.get("/health/ready")).json()["reasons"]
        assert "127.0.0.1:1/keys" in reasons["keys"]
        assert (await world.http.get("/.well-known/jwks.json")).status_code == 404


@pytest.mark.stack
@pytest.mark.usefixtures("template_database")  # the server has our roles; it is one database that is late
async def test_it_heals_when_the_database_appears_and_when_it_is_migrated(stack: Settings) -> None:
    postgres = stack.postgres.model_copy(update={"database": f"late_{uuid.uuid4().hex[:12]}"})
    settings = stack.model_copy(update={"postgres": postgres})
    async with running(settings) as world:

        async def told(word: str) -> None:
            """As soon as the last answer is not used again."""
            deadline = Deadline.after(PATIENCE_S)
            reason = ""
            while word not in reason:
                assert not deadline.passed, reason
                await asyncio.sleep(REUSE_S / 4)
                reasons = (await world.http.get("/health/ready")).json()["reasons"]
                reason = str(reasons.get("database", "none"))

        def admin(statement: str) -> None:
            with psycopg.connect(stack.postgres.dsn("admin", "postgres"), autocommit=True) as connection:
                connection.execute(statement)

        try:
            await told("the database cannot serve right now")
            assert (await world.caller(new_id()).get("/v1/adrs")).status_code == 503
            admin(f'create database "{postgres.database}"')
            await told("migrat")
            assert (await world.caller(new_id()).get("/v1/adrs")).status_code == 503
            await asyncio.to_thread(provision, postgres, Deadline.after(databases.PROVISION_S_MAX))
            await told("none")
            tenant = await world.tenant()
            assert (await tenant.create())["number"] == 1
        finally:
            await world.app.state.database.close()
            await world.app.state.database.open()
            databases.drop(stack, postgres.database)


@pytest.mark.stack
async def test_connections_that_the_server_ends_are_replaced(world: World) -> None:
    tenant = await world.tenant()
    await asyncio.gather(*(tenant.get("/v1/logs") for _ in range(5)))
    async with world.admin() as admin:
        await admin.fetch(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where usename = 'adriatic_api' and datname = current_database()"
        )
    answers = [await tenant.get("/v1/logs") for _ in range(12)]
    assert answers[-1].status_code == 200
    assert {answer.status_code for answer in answers} <= {200, 503}


async def test_what_operators_ask_is_not_on_the_public_port_unless_it_is_wanted(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, postgres=PostgresSettings(port=1))
    async with running(settings, operator_routes=False) as world:
        ready = await world.http.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "waiting")
        assert ready.json().keys() == {"status", "since"}
        assert (await world.http.get("/metrics")).status_code == 404
        assert "/metrics" not in (await world.http.get("/openapi.json")).json()["paths"]
