"""`adriatic spend flags` and `review`: use that looks like abuse, for a tenant's admin and for an operator.

Owns how they look in a terminal. Refuses to flag anything: the agent `jobs` does.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click
import msgspec

from adriatic.cli.output import json_option, show
from adriatic.cli.where import PATIENCE_S_MAX, Where, where_options

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from api.spend.flags import AbuseFlag
    from connectors.postgres.abuse import OpenFlag

FLAGS = "/v1/spend/flags"
SAID = {
    "rapid-calls": "calls of models in a minute",
    "new-user-use": "tokens in the first 24 hours of a user",
    "users-of-one-address": "new users from one address",
}
NOTHING = "no flags: nothing looks like abuse that nobody has looked at"


@click.command()
@click.option("--all-tenants", is_flag=True, help="Of all tenants, from the database; for an operator.")
@click.option("--reviewed", is_flag=True, help="Those, too, that somebody has looked at.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="Rows at most.")
@where_options
@json_option("Print what was found as JSON.")
def flags(all_tenants: bool, reviewed: bool, limit: int, where: Where, as_json: bool) -> None:
    """List use that looks like abuse and that nobody has looked at, the newest first.

    That is many calls in a minute, much use by a new user, and many new users from one address; `abuse` in the
    settings says how much. The list is behind by a quarter of a minute at most. Nobody is refused anything by it.
    """
    if all_tenants:
        if reviewed:
            raise click.UsageError("--all-tenants lists what nobody has looked at: without --reviewed")
        found = _read_all(limit)
        show(
            as_json,
            msgspec.json.encode([asdict(each) for each in found]),
            map(_describe_open, found),
            "" if found else NOTHING,
        )
        return
    from api.spend.flags import AbuseFlagPage

    with where.connect(PATIENCE_S_MAX) as remote:
        page = remote.request("GET", FLAGS, AbuseFlagPage, limit=limit, reviewed="true" if reviewed else "false")
    more = "there are more: raise --limit" if page.next_cursor else ""
    show(as_json, msgspec.json.encode(page), map(_describe, page.items), more, "" if page.items else NOTHING)


@click.command()
@click.argument("flag_id", type=click.UUID)
@click.option("--note", required=True, help="One line, for whoever asks later what it was.")
@where_options
@json_option("Print the answer of the API as JSON.")
def review(flag_id: UUID, note: str, where: Where, as_json: bool) -> None:
    """Say that somebody has looked at a flag, and what it was. It is listed no longer."""
    from api.spend.flags import AbuseFlag, FlagReview

    with where.connect(PATIENCE_S_MAX) as remote:
        found = remote.request("PUT", f"{FLAGS}/{flag_id}", AbuseFlag, body=FlagReview(note))
    show(as_json, msgspec.json.encode(found), [_describe(found)])


def _read_all(limit: int) -> list[OpenFlag]:
    from connectors.postgres import abuse
    from connectors.postgres.connections import connect
    from connectors.postgres.errors import translate
    from runtime.settings import load

    with connect(load().postgres, "watch") as connection, translate("read the flags"):
        return list(abuse.list_open(connection, limit))


def _describe(flag: AbuseFlag) -> str:
    users = f"; {len(flag.users)} of them: {', '.join(map(str, flag.users))}" if flag.users else ""
    done = f"; looked at by {flag.reviewed_by}: {flag.note}" if flag.reviewed_by else ""
    line = _write(flag.flag_id, flag.seen_at, flag.kind, flag.subject, flag.measured, flag.threshold)
    return f"{line}{users}{done}"


def _describe_open(flag: OpenFlag) -> str:
    line = _write(flag.flag_id, flag.seen_at, flag.kind, flag.subject, flag.measured, flag.threshold)
    return f"{flag.tenant}: {line}"


def _write(flag_id: UUID, seen_at: datetime, kind: str, subject: str, measured: int, threshold: int) -> str:
    return f"{flag_id} {seen_at:%Y-%m-%d %H:%MZ} {subject}: {measured} {SAID[kind]} ({threshold} are flagged)"
