"""The API in this process, on a real database: callers of several tenants, and what a test needs to look behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx

from api.app import Api
from api.auth.issuer import LocalIssuer
from api.tenants import service as tenants
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.settings import Settings
from tests.api.apps import borrow

TEXT = "# Use Postgres\n\n## Status\n\nAccepted\n\n## Context\n\nOne source of truth.\n"


class Caller:
    """One tenant's client. Methods are those of httpx, with the token added."""

    def __init__(self, http: httpx.AsyncClient, tenant_id: UUID, token: str) -> None:
        self.http = http
        self.tenant_id = tenant_id
        self.token = token

    async def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **more)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.request("GET", path, **more)

    async def post(self, path: str, json: Any, **more: Any) -> httpx.Response:
        return await self.request("POST", path, json=json, **more)

    async def patch(self, path: str, json: Any, **more: Any) -> httpx.Response:
        return await self.request("PATCH", path, json=json, **more)

    async def put(self, path: str, json: Any = None, **more: Any) -> httpx.Response:
        return await self.request("PUT", path, **({} if json is None else {"json": json}), **more)

    async def delete(self, path: str, **more: Any) -> httpx.Response:
        return await self.request("DELETE", path, **more)

    async def create(self, body: str = TEXT, **more: Any) -> dict[str, Any]:
        """A new ADR."""
        response = await self.post("/v1/adrs", {"body": body, **more})
        assert response.status_code == 201, response.text
        adr: dict[str, Any] = response.json()
        return adr

    async def update(self, adr: dict[str, Any], **change: Any) -> dict[str, Any]:
        """A new version of an ADR, from the version that `adr` is."""
        response = await self.patch(f"/v1/adrs/{adr['adr_id']}", {"expected_version": adr["version"], **change})
        assert response.status_code == 200, response.text
        updated: dict[str, Any] = response.json()
        return updated


class World:
    """A running API."""

    def __init__(self, app: Api, http: httpx.AsyncClient, settings: Settings) -> None:
        self.app = app
        self.http = http
        self.settings = settings
        self.issuer = LocalIssuer.open(settings.home, settings.auth)

    async def tenant(self, name: str = "") -> Caller:
        """A client of a new tenant."""
        async with tenants.owner(self.settings.postgres) as connection:
            made = await tenants.create(connection, f"{name or 'tenant'}-{uuid4().hex[:8]}")
        return self.caller(made.tenant_id)

    def caller(self, tenant_id: UUID, subject: str = "ada", **claims: Any) -> Caller:
        token = self.issuer.mint(tenant_id, subject=subject, ttl_s=600, **claims)
        return Caller(self.http, tenant_id, token.text)

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[Any]:
        """A connection that row security does not bind."""
        connection = await asyncpg.connect(self.settings.postgres.dsn("admin"))
        try:
            yield connection
        finally:
            await connection.close()


@asynccontextmanager
async def running(
    settings: Settings, clock: Clock = SYSTEM_CLOCK, *, operator_routes: bool = True
) -> AsyncIterator[World]:
    """The app between its start and its stop, with a client that gets every answer, 500s included. Tests ask it what
    operators ask."""
    api = settings.api.model_copy(update={"operator_routes": operator_routes})
    settings = settings.model_copy(update={"api": api})
    if "cache_s" not in settings.llm.model_fields_set:  # tests ask the same again, and count who was asked
        settings = settings.model_copy(update={"llm": settings.llm.model_copy(update={"cache_s": 0})})
    with borrow(settings, clock) as app:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with _alive(app), httpx.AsyncClient(transport=transport, base_url="http://api") as http:
            yield World(app, http, settings)


@asynccontextmanager
async def _alive(app: Api) -> AsyncIterator[None]:
    """The app's lifespan in a task of its own: its cancel scopes must end where they began, and a fixture's set-up and
    tear-down are different tasks."""
    started, ended = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            started.set()
            await ended.wait()

    life = asyncio.create_task(live(), name="lifespan")
    await asyncio.wait({life, asyncio.create_task(started.wait())}, return_when=asyncio.FIRST_COMPLETED)
    if life.done():
        await life
    try:
        yield
    finally:
        ended.set()
        await life
