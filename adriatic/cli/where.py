"""Which API a command speaks to, and as whom.

Owns the options `--tenant`, `--url` and `--token`, and the connection that they come to. Refuses to open it before the
command asks: what is wrong with its other options is said first.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from runtime.settings import load

if TYPE_CHECKING:
    from adriatic.cli.remote import Remote

PATIENCE_S_MAX = 5.0
"""How long a command waits for which a person waits: a restart of the API is over by then."""


@dataclass(frozen=True, slots=True)
class Where:
    """An API and a tenant of it, as the options name them."""

    tenant: str
    url: str | None
    token: str | None

    def connect(self, outage_s: float | None = None, key: str | None = None) -> AbstractContextManager[Remote]:
        """A client, with the token that was given, else with `key`, else with one of this machine's issuer. Without
        `outage_s` it waits as long as a client does."""
        from adriatic.cli.remote import OUTAGE_S_MAX, connect, local_token, local_url
        from adriatic.cli.tenants import tenant_id_of

        settings = load()
        given = (sys.stdin.readline().strip() if self.token == "-" else self.token) or key  # noqa: S105
        token = given or local_token(settings, tenant_id_of(settings, self.tenant))
        return connect(self.url or local_url(settings), token, outage_s=outage_s or OUTAGE_S_MAX)


def where_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options, and pass them on as `where`. `--url` has a token, or the `--key-file` of the command."""

    @click.option("--tenant", default="demo", show_default=True, metavar="NAME", help="Slug or id of the tenant.")
    @click.option("--url", metavar="URL", help="Another installation's API; needs --token.")
    @click.option("--token", metavar="TOKEN", help="A bearer token for --url; `-` reads it from standard input.")
    @functools.wraps(command)
    def with_where(*args: Any, tenant: str, url: str | None, token: str | None, **others: Any) -> None:
        if (url is None) != (token is None) and not others.get("key_file"):
            raise click.UsageError("--url and --token go together")
        command(*args, where=Where(tenant, url, token), **others)

    return with_where
