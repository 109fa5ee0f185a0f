"""`adriatic tenant` and `adriatic token`: who is on this platform, and how they prove it on the embedded stack."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import click
import msgspec

from adriatic.cli.output import json_option, show
from runtime.errors import CallerError, InvalidInput
from runtime.settings import CallerRole, Settings, load

if TYPE_CHECKING:
    from api.auth.issuer import SignedToken
    from api.tenants.service import Tenant

TTL = "8h"
"""Life of a token, unless told otherwise: a day of work."""
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType):
    """A number and a unit: 90s, 30m, 8h, 7d. Converts to seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d{1,9})([smhd])", str(value).strip())
        if not match:
            self.fail(f"{value!r} is not a duration; write 90s, 30m, 8h or 7d", param, ctx)
        return int(match[1]) * UNITS_S[match[2]]


@click.group()
def tenant() -> None:
    """Tenants of this platform: make one, list them."""


@tenant.command("create")
@click.argument("slug")
@click.option("--name", default="", help="What people call it.  [default: the slug]")
@click.option("--if-missing", is_flag=True, help="Succeed when it exists already.")
@json_option("Print it as JSON.")
def create_tenant(slug: str, name: str, if_missing: bool, as_json: bool) -> None:
    """Make a tenant. SLUG is 1 to 63 of a-z, 0-9 and '-'."""
    made = make_tenant(load(), slug, name, if_missing=if_missing)
    line = f"{made.tenant_id}  {made.slug}  {'created' if made.created else 'was there already'}"
    show(as_json, msgspec.json.encode(made), [line])


@tenant.command("list")
@json_option("Print them as JSON.")
def list_tenants(as_json: bool) -> None:
    """List the tenants, by slug."""
    from api.tenants import service

    async def run(settings: Settings) -> list[service.Tenant]:
        async with service.owner(settings.postgres) as connection:
            return await service.list_all(connection)

    tenants = asyncio.run(run(load()))
    width = max((len(each.slug) for each in tenants), default=0)
    lines = (f"{each.tenant_id}  {each.slug:<{width}}  {each.name}" for each in tenants)
    none = "" if tenants else "no tenants yet: `adriatic tenant create demo` makes one"
    show(as_json, msgspec.json.encode(tenants), lines, none)


@click.command()
@click.option("--tenant", "tenant_name", default="demo", show_default=True, help="Slug or id of the tenant.")
@click.option("--ttl", "ttl_s", type=Duration(), default=TTL, show_default=True, help="How long it is good for.")
@click.option("--subject", default="local", show_default=True, help="Who the token is for.")
@click.option(
    "--role",
    type=click.Choice(["admin", "member", "service"]),
    default="admin",
    show_default=True,
    help="What the token may do: everything; not what concerns the whole tenant; bring in data as well.",
)
@json_option("Print token, tenant and expiry as JSON.")
def token(tenant_name: str, ttl_s: int, subject: str, role: CallerRole, as_json: bool) -> None:
    """Print a bearer token, signed by the local issuer of this machine.

    For a program that stays, make an API key instead: `adriatic keys create`.

    \b
    curl -H "Authorization: Bearer $(adriatic token)" http://127.0.0.1:8080/v1/adrs
    """
    made = mint(load(), tenant_name, subject, ttl_s, role)
    facts = {
        "token": made.text,
        "tenant": tenant_name,
        "tenant_id": made.tenant_id,
        "subject": made.subject,
        "expires_at": made.expires_at,
    }
    until = f"good until {made.expires_at:%Y-%m-%d %H:%M:%S} UTC ({timedelta(seconds=ttl_s)})"
    show(as_json, msgspec.json.encode(facts), [made.text], until)


def mint(settings: Settings, tenant_name: str, subject: str, ttl_s: int, role: CallerRole = "admin") -> SignedToken:
    """A token of the local issuer."""
    from api.auth.issuer import LocalIssuer

    if settings.auth.jwks_url:
        raise CallerError(
            "tokens of this installation come from its identity provider, not from here",
            hint="auth.jwks_url is set; ask that provider for a token",
        )
    if not subject or len(subject) > 200:
        raise InvalidInput("the subject is empty or too long", hint="1 to 200 characters")
    issuer = LocalIssuer.open(settings.home, settings.auth)
    return issuer.mint(tenant_id_of(settings, tenant_name), subject=subject, ttl_s=ttl_s, role=role)


def make_tenant(settings: Settings, slug: str, name: str = "", *, if_missing: bool = False) -> Tenant:
    """A new tenant; with `if_missing` the one that has this slug already."""
    from api.tenants import service

    async def run() -> Tenant:
        async with service.owner(settings.postgres) as connection:
            return await service.create(connection, slug, name, if_missing=if_missing)

    return asyncio.run(run())


def tenant_id_of(settings: Settings, name: str) -> UUID:
    """The id of the tenant that `name` means; an id is taken as it is, without asking the database."""
    from api.tenants import service

    async def find() -> UUID:
        async with service.owner(settings.postgres) as connection:
            return (await service.by_slug(connection, name)).tenant_id

    try:
        return UUID(name)
    except ValueError:
        return asyncio.run(find())
