"""`/v1/allowed-hosts`: the hosts that a tenant lets its crawls and the tools of its agents reach.

Owns the HTTP of it. Refuses SQL and rules: `service` and `connectors/fetching/reach.py` have them.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Controller
from msgspec import Meta

from api import paging
from api.auth.roles import NEEDS_ADMIN
from api.db import tenant_transaction
from api.hosts import service
from api.hosts.service import AllowedHosts, AllowedHostsPage
from api.routes import By, Db, body, get, put
from connectors.fetching.reach import ENTRIES_MAX, ENTRY_CHARS_MAX
from schemas import text

_HOSTS = ["*.example.org", "docs.example.com/guide/*"]
_LIST = {"version": 3, "hosts": _HOSTS, "set_by": "Ada Lovelace", "set_at": "2026-01-15T09:00:00Z"}

HostEntry = Annotated[str, Meta(pattern=text.BODY, min_length=1, max_length=ENTRY_CHARS_MAX)]


class NewAllowedHosts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    hosts: Annotated[
        list[HostEntry],
        Meta(
            max_length=ENTRIES_MAX,
            description="Hosts, `*.example.org` for all below it, each with or without a path, in which `*` is "
            "anything. Empty: tools reach nothing, and a person's crawl whatever is public.",
        ),
    ]
    replaces: (
        Annotated[int, Meta(ge=0, le=2**53, description="The version that is replaced; another one is not.")] | None
    ) = None


class AllowedHostController(Controller):
    """The hosts that a tenant lets its crawls and the tools of its agents reach."""

    path = "/v1/allowed-hosts"
    tags = ("crawls",)

    @get("/", "List allowed hosts", _LIST, "The list that holds.")
    async def list_allowed_hosts(self, database: Db, principal: By) -> AllowedHosts:
        """Version 0 is the list that nobody ever set. It is looked at before each request of a crawl."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.read(connection, principal.tenant_id)

    @get(
        "/versions",
        "List versions of the allowed hosts",
        {"items": [_LIST], "next_cursor": None},
        "Each time that the list was changed, newest first.",
    )
    async def list_allowed_host_versions(
        self, database: Db, principal: By, limit: paging.Limit = paging.LIMIT_DEFAULT, cursor: paging.Cursor = None
    ) -> AllowedHostsPage:
        """Who opened what, and when. The last 500 are kept."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.page(connection, principal.tenant_id, limit, cursor)

    @put(
        "/",
        "Replace the allowed hosts",
        _LIST,
        "The list as it is now.",
        errors=(409, 413, 415),
        opt=NEEDS_ADMIN,
    )
    async def replace_allowed_hosts(
        self, database: Db, principal: By, data: Annotated[NewAllowedHosts, body("Two hosts", {"hosts": _HOSTS})]
    ) -> AllowedHosts:
        """Crawls that run keep to it from their next request on. What was stored of a host stays when it is taken off
        the list."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.replace(connection, principal, data.hosts, data.replaces)
