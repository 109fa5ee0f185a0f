"""`adriatic hosts`: the hosts that a tenant lets its crawls and the tools of its agents reach.

Owns how the list looks in a terminal. Refuses to judge an entry: the API does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click
import msgspec

from adriatic.cli.output import json_option, show
from adriatic.cli.where import PATIENCE_S_MAX, Where, where_options

if TYPE_CHECKING:
    from adriatic.cli.remote import Remote
    from api.hosts.service import AllowedHosts

PATH: Final = "/v1/allowed-hosts"
NONE: Final = "none: tools reach nothing, and a person's crawl whatever is public"
SHOWN_MAX: Final = 50
"""Versions that are shown; the API has the others."""


@click.group()
def hosts() -> None:
    """Hosts that crawls and the tools of agents may reach."""


@hosts.command("list")
@click.option("--versions", is_flag=True, help="Show each time that the list was changed, and who did.")
@where_options
@json_option("Print the answer of the API as JSON.")
def list_hosts(versions: bool, where: Where, as_json: bool) -> None:
    """List the hosts."""
    from api.hosts.service import AllowedHostsPage

    with where.connect(PATIENCE_S_MAX) as remote:
        if versions:
            page = remote.request("GET", f"{PATH}/versions", AllowedHostsPage, limit=SHOWN_MAX)
            show(as_json, msgspec.json.encode(page), map(describe_version, page.items))
            return
        known = _read(remote)
    show(as_json, msgspec.json.encode(known), iter(known.hosts), "" if known.hosts else NONE)


@hosts.command("add")
@click.argument("entries", metavar="HOST...", nargs=-1, required=True)
@where_options
def add_hosts(entries: tuple[str, ...], where: Where) -> None:
    """Allow hosts, each with or without a path. Needs the role admin.

    \b
    adriatic hosts add docs.example.org
    adriatic hosts add '*.example.org' 'wiki.example.com/guide/*'

    From the first one on, crawls reach the hosts of the list alone.
    """
    with where.connect(PATIENCE_S_MAX) as remote:
        known = _read(remote)
        _tell(_replace(remote, known, [*known.hosts, *entries]))


@hosts.command("remove")
@click.argument("entries", metavar="HOST...", nargs=-1, required=True)
@where_options
def remove_hosts(entries: tuple[str, ...], where: Where) -> None:
    """Take hosts off the list. One that is not there is fine. Needs the role admin."""
    with where.connect(PATIENCE_S_MAX) as remote:
        known = _read(remote)
        _tell(_replace(remote, known, [each for each in known.hosts if each not in map(str.lower, entries)]))


def _read(remote: Remote) -> AllowedHosts:
    from api.hosts.service import AllowedHosts

    return remote.request("GET", PATH, AllowedHosts)


def _replace(remote: Remote, known: AllowedHosts, entries: Sequence[str]) -> AllowedHosts:
    from api.hosts.service import AllowedHosts

    return remote.request("PUT", PATH, AllowedHosts, body={"hosts": entries, "replaces": known.version})


def _tell(known: AllowedHosts) -> None:
    click.echo(f"version {known.version}: {', '.join(known.hosts) or NONE}", err=True)


def describe_version(known: AllowedHosts) -> str:
    """One version as a line."""
    return f"{known.version:>4} {known.set_at:%Y-%m-%d %H:%M} {known.set_by}: {', '.join(known.hosts) or 'none'}"
