"""`adriatic import`: bring a history in, show how it goes, and say how soon it could be found."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adriatic.cli.output import json_option
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import InvalidInput
from runtime.settings import Settings, load

if TYPE_CHECKING:
    from adriatic.cli.import_view import ImportOutcome
    from adriatic.cli.sending import IntoLog
    from connectors.history import HistorySource, PartedSource


@dataclass(frozen=True, slots=True)
class LocalImport:
    """One source, or its part for one log, and where it goes. `token` is that tenant's."""

    source: HistorySource
    tenant: str
    token: str
    into: IntoLog


@click.command("import")
@click.argument("sources", metavar="[SOURCE...]", nargs=-1, type=click.Path(path_type=Path))
@click.option("--tenant", default=None, metavar="NAME", help="Slug or id of the tenant.  [default: demo]")
@click.option("--create-tenant", is_flag=True, help="Make the tenant when it is missing.")
@click.option(
    "--tenant-per-file", is_flag=True, help="Each file is a tenant, made when missing and named like the file."
)
@click.option(
    "--log",
    metavar="SLUG",
    help="One log for all; made when missing.  [default: main; of several folders of records each its own, named after "
    "the service]",
)
@click.option("--reread", is_flag=True, help="Read again what is here, with the reader and the words of today.")
@click.option("--wait/--no-wait", default=True, help="Wait until everything is searchable, and say how long it took.")
@click.option("--url", metavar="URL", help="Another installation's API; needs --token.")
@click.option("--token", metavar="TOKEN", help="A bearer token for --url; `-` reads it from standard input.")
@json_option("Print the summary as JSON.")
def import_(
    sources: tuple[Path, ...],
    tenant: str | None,
    create_tenant: bool,
    tenant_per_file: bool,
    log: str | None,
    reread: bool,
    wait: bool,
    url: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    """Import decision records with their history.

    \b
    adriatic import docs/decisions                     a folder: its history, when it is in a git repository
    adriatic import ~/src/service                      a repository: folders named adr, decisions … are found
    adriatic import history.jsonl.gz                   one change a line
    adriatic import histories/ --tenant-per-file       every .jsonl(.gz) file in it, each as a tenant of its own
    adriatic import --reread                           no source: what is here is read again, and what changed is said

    Safe to stop and to repeat: what is there already is skipped. Ends with 0 when everything is in, with 1 when
    something was refused or could not be read; the summary says what, and all else is in.
    """
    from adriatic.cli import import_view as view
    from adriatic.cli.remote import local_url
    from adriatic.cli.sending import split_by_log

    settings = load()
    if (url is None) != (token is None):
        raise click.UsageError("--url and --token go together")
    if token is not None and (tenant or create_tenant or tenant_per_file):
        raise click.UsageError("the token says which tenant it is; drop --tenant, --create-tenant, --tenant-per-file")
    if tenant_per_file and tenant:
        raise click.UsageError("--tenant-per-file names the tenants itself; drop --tenant")
    if reread or not sources:
        if not reread or sources or tenant_per_file or create_tenant or log:
            raise click.UsageError("name a SOURCE, or --reread and none" if not reread else "--reread has no sources")
        from adriatic.cli.rereading import reread as read_again
        from adriatic.cli.where import Where

        read_again(Where(tenant or "demo", url, token), wait=wait, as_json=as_json)
        return
    paths = _expand(sources) if tenant_per_file else list(sources)
    if token is not None:
        given = sys.stdin.readline().strip() if token == "-" else token  # noqa: S105
        named = [(source, "", given) for source in _open(settings, paths)]
    else:
        named = list(_local_sources(settings, paths, tenant or "demo", create_tenant, tenant_per_file))
    jobs = [
        LocalImport(part, to_tenant, by, into)
        for source, to_tenant, by in named
        for part, into in split_by_log(source, log)
    ]
    try:
        outcomes = _run(settings, jobs, url or local_url(settings), wait)
    except KeyboardInterrupt:
        click.echo("what was sent stays, and the same command goes on from there", err=True)
        raise click.Abort from None
    click.echo(view.as_json(outcomes) if as_json else view.as_text(outcomes))
    if left_out := sum(view.count_left_out(outcome) for outcome in outcomes):
        click.echo(f"{left_out} change(s) were refused or unreadable; the others are in", err=True)
        sys.exit(1)


def _expand(sources: tuple[Path, ...]) -> list[Path]:
    """The JSONL files that are named, and those in the folders that are named."""
    from connectors.history.jsonl import is_jsonl

    files = [
        file
        for source in sources
        for file in (sorted(source.iterdir()) if source.is_dir() else [source])
        if is_jsonl(file)
    ]
    if not files:
        raise InvalidInput("there is no .jsonl or .jsonl.gz file", hint="--tenant-per-file is for folders of those")
    return files


def tenant_slug(file: Path) -> str:
    """The name of a tenant for a file: its name in lower case, everything unusual as a hyphen."""
    stem = re.sub(r"\.(jsonl|ndjson)(\.gz)?$", "", file.name.lower())
    return re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:63].strip("-") or "import"


def _open(settings: Settings, paths: list[Path]) -> Iterator[PartedSource]:
    from connectors.history import open_source

    for path in paths:
        source = open_source(path, content_bytes_max=settings.api.adr_bytes_max)
        if source.count() == 0:
            raise InvalidInput(
                f"{path} holds nothing to import",
                hint="files in Markdown, AsciiDoc or reStructuredText, or lines of a JSONL history",
            )
        yield source


def _local_sources(
    settings: Settings, paths: list[Path], tenant: str, create: bool, tenant_per_file: bool
) -> Iterator[tuple[PartedSource, str, str]]:
    """Each source with its tenant and a token of that."""
    from adriatic.cli.remote import local_token
    from adriatic.cli.tenants import make_tenant, tenant_id_of

    for path, source in zip(paths, list(_open(settings, paths)), strict=True):
        name = tenant_slug(path) if tenant_per_file else tenant
        if create or tenant_per_file:
            make_tenant(settings, name, if_missing=True)
        yield source, name, local_token(settings, tenant_id_of(settings, name))


def _run(settings: Settings, jobs: list[LocalImport], url: str, wait: bool) -> list[ImportOutcome]:
    """Import every job, then wait for all of them: they become searchable side by side."""
    from adriatic.cli import import_view as view
    from adriatic.cli.remote import connect
    from adriatic.cli.searchable import Watched, await_searchable
    from adriatic.cli.sending import send

    outcomes = []
    with ExitStack() as stack:
        for job in jobs:
            remote = stack.enter_context(connect(url, job.token))
            title = job.tenant if len(jobs) > 1 else Path(job.source.name).name
            with view.progress(title, job.source.count()) as progress:
                limit = settings.api.import_bytes_max
                sent = send(remote, job.source, job.into, SYSTEM_CLOCK, progress, bytes_max=limit)
            watched = Watched(remote, sent.started.started_at, SYSTEM_CLOCK.monotonic()) if wait else None
            outcomes.append(view.ImportOutcome(job.tenant, sent, watched))
        if wait:
            with view.show_waiting() as show:
                await_searchable([each.search for each in outcomes if each.search], SYSTEM_CLOCK, show)
    return outcomes
