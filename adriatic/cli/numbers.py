"""`adriatic numbers`: reserve the number of an ADR that is written on a branch, list what is reserved, give one back.

Owns who holds a number when nobody says: the branch of this folder. Refuses to choose a number: the API does.
"""

from __future__ import annotations

import subprocess
from typing import Final

import click
import msgspec

from adriatic.cli.output import json_option, show
from adriatic.cli.where import PATIENCE_S_MAX, Where, where_options

PATH: Final = "/v1/numbers"
GIT_S_MAX: Final = 10.0
"""Longest wait for git's answer, in seconds: it reads one file."""

log_option = click.option("--log", default="main", show_default=True, metavar="SLUG", help="The log of the number.")


@click.group()
def numbers() -> None:
    """Numbers of ADRs that are written on a branch."""


@numbers.command("reserve")
@click.argument("holder", required=False)
@log_option
@click.option("--days", type=click.IntRange(1, 90), default=14, show_default=True, help="How long it is held.")
@where_options
@json_option("Print the answer of the API as JSON.")
def reserve_number(holder: str | None, log: str, days: int, where: Where, as_json: bool) -> None:
    """Reserve the next number of a log for HOLDER, which is the branch of this folder if it is not named.

    Prints the number. A holder who has one gets the same again, for longer.
    """
    from api.logs.numbers import ReservedNumber

    asked = {"holder": holder or require_branch(), "log": log, "days": days}
    with where.connect(PATIENCE_S_MAX) as remote:
        made = remote.request("POST", PATH, ReservedNumber, body=asked)
    click.echo(msgspec.json.encode(made) if as_json else str(made.number))


@numbers.command("list")
@log_option
@where_options
@json_option("Print the answer of the API as JSON.")
def list_numbers(log: str, where: Where, as_json: bool) -> None:
    """List the numbers of a log that are reserved."""
    from api.logs.numbers import ReservedNumbers

    with where.connect(PATIENCE_S_MAX) as remote:
        found = remote.request("GET", PATH, ReservedNumbers, log=log)
    lines = (f"{each.number:>6}  until {each.expires_at:%Y-%m-%d}  {each.holder}" for each in found.items)
    show(as_json, msgspec.json.encode(found), lines, "" if found.items else "none is reserved")


@numbers.command("release")
@click.argument("holder", required=False)
@log_option
@where_options
def release_number(holder: str | None, log: str, where: Where) -> None:
    """Give the number of HOLDER back, which is the branch of this folder if it is not named. Holding none is fine."""
    asked = {"holder": holder or require_branch(), "log": log}
    with where.connect(PATIENCE_S_MAX) as remote:
        remote.request("POST", f"{PATH}/releases", dict, body=asked)


def require_branch() -> str:
    """The branch of this folder. Raises `UsageError` where there is none."""
    found = find_branch()
    if found is None:
        raise click.UsageError("this folder is on no branch; name who holds the number")
    return found


def find_branch() -> str | None:
    """The branch of this folder; None outside of a repository, and where a commit is checked out by itself."""
    command = ["git", "symbolic-ref", "--quiet", "--short", "HEAD"]
    try:
        told = subprocess.run(command, capture_output=True, timeout=GIT_S_MAX)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told.stdout.decode(errors="replace").strip() or None
