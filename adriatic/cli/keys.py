"""`adriatic keys`: API keys of a tenant.

Owns how keys look in a terminal, and that a secret goes to standard output alone, where it can be piped into a file.
Refuses to ask twice: a request that was lost may have made a key, which nobody has then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from adriatic.cli.output import json_option
from adriatic.cli.tenants import Duration
from adriatic.cli.where import PATIENCE_S_MAX, Where, where_options

if TYPE_CHECKING:
    from api.keys.service import ApiKey, ShownApiKey

PATH = "/v1/keys"
SCOPES = ("read", "write", "chat", "ingest", "admin")
"""Those of `api/auth/roles.py`, which help must not wait for."""
ONCE_S = 0.001
"""Patience that ends with the first try."""


@click.group()
def keys() -> None:
    """API keys: credentials of programs, within scopes, revoked at once.

    \b
    adriatic keys create web-app --scope read --scope chat > web-app.key
    curl -H "Authorization: Bearer $(cat web-app.key)" http://127.0.0.1:8080/v1/adrs
    adriatic keys rotate KEY_ID --grace 1d > web-app.key      a new secret; the old one is good for a day
    adriatic keys revoke KEY_ID                               every process refuses it from now on
    """


@keys.command("create")
@click.argument("name")
@click.option(
    "--scope", "scopes", type=click.Choice(SCOPES), multiple=True, required=True, help="What it may do; repeat it."
)
@click.option("--days", type=click.IntRange(1, 366), default=90, show_default=True, help="How long a secret is good.")
@where_options
@json_option("Print the answer of the API as JSON, with the secret.")
def create_key(name: str, scopes: tuple[str, ...], days: int, where: Where, as_json: bool) -> None:
    """Make a key. Its secret goes to standard output: keep it, nobody can show it again.

    NAME says who or what has it. A key may do what its maker may, at most.

    \b
    read     read and search everything of the tenant
    write    write ADRs, tags, links and documents
    chat     ask questions, by every protocol; it costs tokens
    ingest   import histories, and send items to feeds
    admin    budgets, feeds, keys, words, jobs
    """
    from api.keys.service import ShownApiKey

    with where.connect(ONCE_S) as remote:
        body = {"name": name, "scopes": scopes, "days": days}
        _show_secret(remote.request("POST", PATH, ShownApiKey, body=body), as_json)


@keys.command("list")
@where_options
@json_option("Print the answer of the API as JSON.")
def list_keys(where: Where, as_json: bool) -> None:
    """List the keys, the good ones first. Use is noted once a minute."""
    from api.keys.service import ApiKeyList

    with where.connect(PATIENCE_S_MAX) as remote:
        found = remote.request("GET", PATH, ApiKeyList)
    if as_json:
        click.echo(msgspec.json.encode(found))
    elif found.items:
        _print(found.items)
    else:
        click.echo("no keys yet: `adriatic keys create web-app --scope read` makes one", err=True)


@keys.command("rotate")
@click.argument("key_id")
@click.option(
    "--grace",
    "grace_s",
    type=Duration(),
    default="1d",
    show_default=True,
    help="How long the secrets of now stay good; 0s ends them at once, and 30d is the most.",
)
@where_options
@json_option("Print the answer of the API as JSON, with the secret.")
def rotate_key(key_id: str, grace_s: int, where: Where, as_json: bool) -> None:
    """Give a key a new secret. Those of now stay good for a while, so that nothing stops meanwhile.

    The new secret goes to standard output. When this was cut off before you saw it, run it again: the secret in use
    stays good for its grace time all the same.
    """
    from api.keys.service import ShownApiKey

    with where.connect(ONCE_S) as remote:
        body = {"grace_s": grace_s}
        _show_secret(remote.request("POST", f"{PATH}/{key_id}/rotate", ShownApiKey, body=body), as_json)


@keys.command("revoke")
@click.argument("key_id")
@where_options
def revoke_key(key_id: str, where: Where) -> None:
    """Revoke a key, with all its secrets: every process refuses it from now on."""
    with where.connect(PATIENCE_S_MAX) as remote:
        remote.send("DELETE", f"{PATH}/{key_id}")
    click.echo(f"revoked {key_id}")


def _show_secret(made: ShownApiKey, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(made))
        return
    found = made.api_key
    click.echo(f"key {found.key_id}  {found.name}  {' '.join(found.scopes)}", err=True)
    older = max((each.good_until for each in found.secrets[1:]), default=None)
    if older:
        click.echo(f"older secrets are good until {older:%Y-%m-%d %H:%MZ}", err=True)
    click.echo(f"its secret, shown this once, good until {found.expires_at:%Y-%m-%d %H:%MZ}:", err=True)
    click.echo(made.secret)


def _print(found: list[ApiKey]) -> None:
    from adriatic.cli.tables import begin_table

    console, table = begin_table("name", "state", "scopes", "secrets", "last used", "expires", "key id")
    for key in found:
        used = f"{key.last_used_at:%Y-%m-%d %H:%MZ}" if key.last_used_at else "never"
        scopes = " ".join(key.scopes)
        table.add_row(
            *(key.name, key.state, scopes, str(len(key.secrets)), used, f"{key.expires_at:%Y-%m-%d}", key.key_id)
        )
    console.print(table)
