"""`adriatic crawl schedule`: have sites crawled again and again, and see what came of it.

Owns how a schedule looks in a terminal, and how a person writes the time between two crawls. Refuses to make a crawl:
the agent `jobs` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final
from uuid import UUID

import click
import msgspec

from adriatic.cli.output import json_option, show
from adriatic.cli.where import PATIENCE_S_MAX, Where, where_options

if TYPE_CHECKING:
    from api.crawls.schedules import CrawlSchedule

PATH: Final = "/v1/crawl-schedules"
UNITS: Final = {"h": 3_600, "d": 86_400, "w": 604_800}


class Interval(click.ParamType):
    """`6h`, `1d`, `2w`, in seconds."""

    name = "interval"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"(\d{1,6})([hdw])", str(value))
        if found is None:
            self.fail("write it like 6h, 1d or 2w", param, ctx)
        return int(found[1]) * UNITS[found[2]]


def describe_wanted(urls: Sequence[str], bounds: Mapping[str, object]) -> dict[str, object]:
    """A crawl as the API is asked for it: bounds that were not named are the API's to choose."""
    said = {name: value for name, value in bounds.items() if value is not None}
    named = {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}
    return {"start_urls": list(urls), **named}


@click.group("schedule")
def schedule() -> None:
    """Crawls that are made again and again."""


@schedule.command("add")
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option("--every", "every_s", type=Interval(), required=True, metavar="6h|1d|2w", help="Time between two crawls.")
@click.option("--depth", type=int, default=2, show_default=True, help="Links followed from a start page.")
@click.option("--pages", "pages_max", type=int, default=100, show_default=True, help="Requests for pages at most.")
@click.option("--host", "hosts", multiple=True, help="Host that may be asked; *.example.org is all below it.")
@click.option("--include", multiple=True, metavar="PATH", help="Path that may be asked for, with *.")
@click.option("--exclude", multiple=True, metavar="PATH", help="Path that may not be asked for, with *.")
@click.option("--render", type=click.Choice(["never", "auto", "always"]), help="Pages that a browser renders.")
@where_options
@json_option("Print the schedule as JSON.")
def add(urls: tuple[str, ...], every_s: int, where: Where, as_json: bool, **bounds: object) -> None:
    """Have sites crawled now, and again after so long; each crawl writes what changed.

    \b
    adriatic crawl schedule add https://docs.example.org/ --every 1d
    adriatic crawl schedule list
    """
    from api.crawls.schedules import CrawlSchedule

    with where.connect(PATIENCE_S_MAX) as remote:
        asked = {"crawl": describe_wanted(urls, bounds), "every_s": every_s}
        made = remote.ask_once(PATH, asked, CrawlSchedule)
    show(as_json, msgspec.json.encode(made), [describe(made)])


@schedule.command("list")
@where_options
@json_option("Print the answer of the API as JSON.")
def list_schedules(where: Where, as_json: bool) -> None:
    """List the schedules, each with what came of its last crawl."""
    from api.crawls.schedules import CrawlScheduleList

    with where.connect(PATIENCE_S_MAX) as remote:
        found = remote.request("GET", PATH, CrawlScheduleList)
    show(as_json, msgspec.json.encode(found), map(describe, found.items), "" if found.items else "there is none")


@schedule.command("pause")
@click.argument("schedule_id", metavar="SCHEDULE", type=click.UUID)
@where_options
def pause(schedule_id: UUID, where: Where) -> None:
    """Make no more crawls of a schedule. One that is under way goes on."""
    _set(where, schedule_id, "pause")


@schedule.command("resume")
@click.argument("schedule_id", metavar="SCHEDULE", type=click.UUID)
@where_options
def resume(schedule_id: UUID, where: Where) -> None:
    """Make crawls of a schedule again: one at once where a time was missed."""
    _set(where, schedule_id, "resume")


@schedule.command("delete")
@click.argument("schedule_id", metavar="SCHEDULE", type=click.UUID)
@where_options
def delete(schedule_id: UUID, where: Where) -> None:
    """Forget a schedule. Its crawls and their pages stay."""
    with where.connect(PATIENCE_S_MAX) as remote:
        remote.request("DELETE", f"{PATH}/{schedule_id}", type(None))


def _set(where: Where, schedule_id: UUID, verb: str) -> None:
    from api.crawls.schedules import CrawlSchedule

    with where.connect(PATIENCE_S_MAX) as remote:
        click.echo(describe(remote.request("POST", f"{PATH}/{schedule_id}/{verb}", CrawlSchedule)))


def describe(found: CrawlSchedule) -> str:
    """A schedule in one line: what, how often, when next, and what came of it last."""
    every = next(f"{found.every_s // s} {unit}" for unit, s in reversed(UNITS.items()) if found.every_s % s == 0)
    when = f"next {found.next_at:%Y-%m-%d %H:%M}" if found.next_at else "paused"
    return f"{found.schedule_id}  every {every}, {when}: {' '.join(found.crawl.start_urls)}; {_describe_last(found)}"


def _describe_last(found: CrawlSchedule) -> str:
    if found.last is None:
        said = "no crawl yet"
    else:
        last, urls = found.last, found.last.urls
        failed = f" ({last.last_error.code})" if last.last_error else ""
        came = f"{urls.stored} new or changed, {urls.unchanged} as they were, {urls.gone} gone"
        said = f"last {last.state}{failed} {last.created_at:%Y-%m-%d %H:%M}: {came}"
    return f"{said}; passed over: {found.told}" if found.told else said
