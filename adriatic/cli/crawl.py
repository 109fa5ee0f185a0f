"""`adriatic crawl`: have a site crawled, watch it, and say what came of it.

Owns the progress, the summary and the exit code: 0 the crawl ended by itself, 1 it failed, was cancelled or found no
page, 3 it cannot tell. Refuses to ask the site for anything: the agent `jobs` does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
import msgspec

from adriatic.cli.crawl_schedules import describe_wanted, schedule
from adriatic.cli.output import json_option, show
from adriatic.cli.where import Where, where_options
from runtime.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from adriatic.cli.remote import Remote
    from api.crawls.schemas import Crawl, CrawledUrl

POLL_S = 1.0
"""Pause between two looks at a crawl; it asks for about one page in that time."""
REASONS_MAX = 20
"""Most addresses whose reasons are printed; the API lists all."""


class UrlGroup(click.Group):
    """A group whose command `run` needs not be named: `adriatic crawl URL` is `adriatic crawl run URL`."""

    unnamed = "run"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = [self.unnamed, *args]
        return super().parse_args(ctx, args)


@click.group("crawl", cls=UrlGroup)
def crawl() -> None:
    """Crawl sites: each page becomes a source that is searched.

    \b
    adriatic crawl https://docs.example.org/ --depth 2
    adriatic crawl schedule add https://docs.example.org/ --every 1d
    """


crawl.add_command(schedule)


@crawl.command("run")
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@where_options
@click.option("--depth", type=int, default=2, show_default=True, help="Links followed from a start page.")
@click.option("--pages", "pages_max", type=int, default=100, show_default=True, help="Requests for pages at most.")
@click.option("--seconds", "seconds_max", type=int, default=3600, show_default=True, help="Time at most.")
@click.option("--host", "hosts", multiple=True, help="Host that may be asked; *.example.org is all below it.")
@click.option("--include", multiple=True, metavar="PATH", help="Path that may be asked for, with *.")
@click.option("--exclude", multiple=True, metavar="PATH", help="Path that may not be asked for, with *.")
@click.option(
    "--gone-after", type=int, default=2, show_default=True, help="Crawls without a page, until it is deleted."
)
@click.option("--render", type=click.Choice(["never", "auto", "always"]), help="Pages that a browser renders.")
@click.option("--wait/--no-wait", default=True, help="Wait until it is over.")
@json_option("Print the crawl as JSON.")
def run(urls: tuple[str, ...], where: Where, wait: bool, as_json: bool, **bounds: object) -> None:
    """Crawl sites: each page becomes a source that is searched.

    \b
    adriatic crawl https://docs.example.org/ --depth 2
    adriatic crawl https://docs.example.org/guide/ --include '/guide/*' --pages 500
    adriatic search "restart the pump" --kind page

    Asked for is what robots.txt allows, one page at a time. Crawl the same start pages again to see what changed.
    Ctrl-C stops watching, and the crawl goes on. Ends with 1 when it failed or found no page.
    """
    from api.crawls.schemas import Crawl

    with where.connect() as remote:
        made = remote.ask_once("/v1/crawls", describe_wanted(urls, bounds), Crawl)
        if wait:
            made = follow(remote, made, SYSTEM_CLOCK)
        reasons = list(read_reasons(remote, made)) if wait and not as_json else []
    show(as_json, msgspec.json.encode(made), map(describe_url, reasons), describe(made))
    sys.exit(exit_code(made, waited=wait))


def follow(remote: Remote, made: Crawl, clock: Clock) -> Crawl:
    """Show how far it is, until it is over. Its own bound on time ends it, and this."""
    from api.crawls.schemas import Crawl

    with click.progressbar(length=1, label="crawling ", file=sys.stderr, hidden=not sys.stderr.isatty()) as shown:
        while made.finished_at is None:
            clock.sleep(POLL_S)
            made = remote.request("GET", f"/v1/crawls/{made.crawl_id}", Crawl)
            shown.length = max(1, min(made.pages_max, made.asked + made.urls.waiting))
            shown.update(made.asked - shown.pos)
    return made


def read_reasons(remote: Remote, made: Crawl) -> Iterator[CrawledUrl]:
    """Addresses that came to nothing, the first of each kind."""
    from api.crawls.schemas import CrawledUrlPage

    for state in ("failed", "refused", "gone"):
        path = f"/v1/crawls/{made.crawl_id}/urls"
        yield from remote.request("GET", path, CrawledUrlPage, state=state, limit=REASONS_MAX).items


def describe_url(found: CrawledUrl) -> str:
    return f"{found.url}: {found.state}: {found.code}: {found.detail}"


def describe(made: Crawl) -> str:
    counts = msgspec.to_builtins(made.urls)
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "nothing yet"
    failed = f": {made.last_error.code}: {made.last_error.detail}" if made.last_error else ""
    bound = f", ended at its bound of {made.stopped}" if made.stopped else ""
    rendered = f", {made.rendered} rendered by a browser" if made.rendered else ""
    asked = f"{made.asked} pages asked for{rendered}{bound}"
    return f"crawl {made.crawl_id} {made.state}{failed}: {asked}; addresses: {said}"


def exit_code(made: Crawl, *, waited: bool) -> int:
    kept = made.urls.stored + made.urls.unchanged
    return 0 if not waited or (made.state == "succeeded" and kept) else 1
