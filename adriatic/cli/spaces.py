"""`adriatic spaces`: the embedding spaces of a tenant, and the change from one to another in one command.

Owns the order of a change (build, measure, wait for indexes, take), how it looks in a terminal, and that a change which
nobody waits for goes on. Refuses to judge: the API says whether a space finds less. Read next: `api/spaces/service.py`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
import msgspec

from adriatic.cli.output import json_option, show
from adriatic.cli.where import Where, where_options
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import Conflict, DependencyUnavailable, NotFound, Unprocessable
from runtime.settings import load

if TYPE_CHECKING:
    from adriatic.cli.remote import Remote
    from api.jobs.service import Job
    from api.spaces.figures import SpaceEvaluation
    from api.spaces.service import SpaceList, TenantSpace

PATH = "/v1/spaces"
POLL_S = 0.5
"""Pause between two looks at a job: short enough for a person, and nothing to the API."""
INDEX_S_MAX = 6 * 3600.0
"""How long a change waits for the index of a large tenant: as long as building one may take."""
OVER = ("succeeded", "failed", "cancelled")


@click.group()
def spaces() -> None:
    """Embedding spaces: which model's vectors a tenant is searched by.

    \b
    adriatic spaces list
    adriatic spaces change --to bge            build it, measure both, take it if it finds no less
    adriatic spaces rollback                   search by the one before again, at once
    adriatic spaces drop small                 delete what is not searched any more

    The models are those of the settings: `embedder`, called adriatic, and each of `embedder.models`, called by its
    name. Searches answer throughout, and none compares vectors of two models.
    """


def _name(meaning: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The argument NAME, completed from the settings."""

    def complete(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
        return [name for name in load().embedder.names if name.startswith(begun)]

    return click.argument("name", metavar=meaning, shell_complete=complete)


@spaces.command("list")
@where_options
@json_option("Print the answer of the API as JSON.")
def list_spaces(where: Where, as_json: bool) -> None:
    """List the spaces that the tenant has or could have, and what was measured of them."""
    with where.connect() as remote:
        found = _read(remote)
    show(as_json, msgspec.json.encode(found), _lines(found))


@spaces.command()
@_name("NAME")
@click.option("--no-wait", is_flag=True, help="Ask for it and return; `adriatic spaces list` says how far it is.")
@where_options
@json_option("Print the job as JSON.")
def build(name: str, no_wait: bool, where: Where, as_json: bool) -> None:
    """Give all passages of the tenant vectors of the model NAME, beside those that are searched.

    What is edited meanwhile is in both. A build that was stopped or failed goes on when it is asked for again.
    """
    with where.connect() as remote:
        job = _ask(remote, "", name)
        job = job if no_wait else _await(remote, job, f"building {name}")
    show(as_json, msgspec.json.encode(job), [_tell(job)])
    _end_with(job)


@spaces.command()
@_name("NAME")
@where_options
@json_option("Print the figures as JSON.")
def evaluate(name: str, where: Where, as_json: bool) -> None:
    """Measure how well the model NAME finds the tenant's own texts by their titles, and how well the present one does.

    Up to 200 texts are asked for by their titles; each stands in the comparison without its title. Prints nDCG@10 of
    both, and of the difference, each with the interval that 95 % of resamples lie in.
    """
    with where.connect() as remote:
        measured = _evaluate(remote, name)
    show(as_json, msgspec.json.encode(measured), _figures(measured))


@spaces.command()
@_name("NAME")
@click.option(
    "--force", is_flag=True, help="Take it unmeasured, though it finds less, and before its indexes are built."
)
@where_options
@json_option("Print the spaces as JSON.")
def flip(name: str, force: bool, where: Where, as_json: bool) -> None:
    """Have searches read the space of the model NAME, from this moment on.

    It must be built, and evaluated without finding less. The space before it is kept: `adriatic spaces rollback`.
    """
    with where.connect() as remote:
        found = _activate(remote, name, force=force)
    show(as_json, msgspec.json.encode(found), _lines(found))


@spaces.command()
@where_options
@json_option("Print the spaces as JSON.")
def rollback(where: Where, as_json: bool) -> None:
    """Have searches read the space that they read before. It was kept up to date, so answers are those of before."""
    with where.connect() as remote:
        former = [each.space for each in _read(remote).items if each.state == "former"]
        if not former:
            raise NotFound("no space was searched before this one", hint="`adriatic spaces list` shows those there are")
        found = _activate(remote, former[0], force=False)
    show(as_json, msgspec.json.encode(found), _lines(found))


@spaces.command()
@_name("NAME")
@where_options
@json_option("Print the job as JSON.")
def drop(name: str, where: Where, as_json: bool) -> None:
    """Delete what the tenant has in the space NAME: vectors and indexes. The one that is searched cannot be dropped."""
    with where.connect() as remote:
        job = _await(remote, _ask(remote, "/drops", name), f"dropping {name}")
    show(as_json, msgspec.json.encode(job), [_tell(job)])
    _end_with(job)


@spaces.command()
@click.option("--to", "name", required=True, metavar="NAME", help="The model, as the settings call it.")
@click.option("--force", is_flag=True, help="Take it though it finds less, and before its indexes are built.")
@click.option("--all", "everybody", is_flag=True, help="Every tenant of this machine, one after the other.")
@where_options
@json_option("Print what became of each tenant as JSON.")
def change(name: str, force: bool, everybody: bool, where: Where, as_json: bool) -> None:
    """Change the model that searches by meaning use: build, measure, and take it unless it finds less.

    \b
    adriatic spaces change --to bge            of the tenant demo
    adriatic spaces change --to bge --all      of every tenant

    Takes as long as embedding all passages does; a change that was interrupted goes on when it is asked for again. Ends
    with 1 when the new model finds less beyond chance, and then nothing has changed but that it is built.
    """
    tenants = _everybody() if everybody else [where.tenant]
    changed, refused = [], 0
    for tenant in tenants:
        with replace(where, tenant=tenant).connect() as remote:
            measured, why = _change(remote, name, force=force)
        refused += bool(why)
        changed.append({"tenant": tenant, "evaluation": measured, "changed": not why, "reason": why})
        if not as_json:
            click.echo("\n".join(_tell_change(tenant, name, measured, why)))
    if as_json:
        click.echo(msgspec.json.encode(changed))
    if refused:
        sys.exit(1)


def _change(remote: Remote, name: str, *, force: bool) -> tuple[SpaceEvaluation | None, str]:
    """The figures, and why it was not taken; empty when it is searched now."""
    item = _item(_read(remote), name)
    if item.state == "active":
        return None, ""
    if item.state in ("unused", "building", "behind"):
        job = _await(remote, _ask(remote, "", name), f"building {name}")
        if job.state != "succeeded":
            return None, _tell(job)
    measured = _evaluate(remote, name)
    try:
        if not force:
            _await_indexes(remote, item.space)
        _activate(remote, name, force=force)
    except Conflict as error:
        return measured, error.detail
    return measured, ""


def _everybody() -> list[str]:
    from api.tenants import service

    async def read() -> list[str]:
        async with service.owner(load().postgres) as connection:
            return [each.slug for each in await service.list_all(connection)]

    return asyncio.run(read())


# --- the API --------------------------------------------------------------------------------------------------------


def _read(remote: Remote) -> SpaceList:
    from api.spaces.service import SpaceList

    return remote.request("GET", PATH, SpaceList)


def _ask(remote: Remote, path: str, name: str) -> Job:
    from api.jobs.service import Job

    return remote.request("POST", PATH + path, Job, body={"name": name})  # a second one answers with the same job


def _activate(remote: Remote, name: str, *, force: bool) -> SpaceList:
    from api.spaces.service import SpaceList

    return remote.request("PUT", f"{PATH}/active", SpaceList, body={"name": name, "force": force})


def _item(found: SpaceList, name: str) -> TenantSpace:
    for each in found.items:
        if name == each.space or name in each.names:
            return each
    known = sorted({known for each in found.items for known in each.names})
    raise NotFound(f"there is no embedder called {name}", hint=f"the settings have {', '.join(known)}")


def _await(remote: Remote, job: Job, title: str) -> Job:
    """The job when it is over, with its progress meanwhile."""
    from adriatic.cli.import_view import progress
    from api.jobs.service import Job

    def look() -> Job:
        SYSTEM_CLOCK.sleep(POLL_S)
        return remote.request("GET", f"/v1/jobs/{job.job_id}", Job)

    while job.state not in OVER and job.total is None:
        job = look()
    with progress(title, job.total or job.done) as advance:
        done = 0
        while True:
            advance(max(0, job.done - done))
            done = max(done, job.done)
            if job.state in OVER:
                return job
            job = look()


def _evaluate(remote: Remote, name: str) -> SpaceEvaluation:
    job = _await(remote, _ask(remote, "/evaluations", name), f"asking {name}")
    if job.state != "succeeded":
        raise Unprocessable(_tell(job), hint="`adriatic spaces list` says how each space is")
    found = _read(remote)
    wanted = (job.params["space"], job.params["against"])
    return next(each for each in found.evaluations if (each.space, each.against) == wanted)


def _await_indexes(remote: Remote, space: str) -> None:
    """Wait until what has an index in the space that is searched has one in this, too."""
    began_s = SYSTEM_CLOCK.monotonic()
    said = False
    while kinds := _read(remote).indexing.get(space):
        if not said:
            click.echo(f"waiting for the index of {', '.join(kinds)}", err=True)
            said = True
        if SYSTEM_CLOCK.monotonic() - began_s > INDEX_S_MAX:
            raise DependencyUnavailable("the index is not built in time", hint="`adriatic status` says how indexes are")
        SYSTEM_CLOCK.sleep(POLL_S)


# --- for people -----------------------------------------------------------------------------------------------------


def _tell(job: Job) -> str:
    if job.state == "succeeded":
        embedded: Any = job.result.get("embedded")
        return "done" if embedded is None else f"done: {embedded} texts embedded"
    if job.state not in OVER:
        return f"asked for: GET /v1/jobs/{job.job_id} says how far it is"
    return f"{job.state}: {job.last_error.detail if job.last_error else 'somebody ended it'}"


def _end_with(job: Job) -> None:
    if job.state in ("failed", "cancelled"):
        sys.exit(1)


def _lines(found: SpaceList) -> Iterator[str]:
    width = max((len(", ".join(each.names)) for each in found.items), default=0)
    for each in found.items:
        job = f"  {each.job.done} of {each.job.total}, {each.job.state}" if _at_work(each) and each.job else ""
        related = "  related decisions" if each.related else ""
        yield f"{each.state:<8}  {', '.join(each.names):<{width}}  {each.space}{job}{related}"
    for measured in found.evaluations:
        yield ""
        yield from _figures(measured)


def _at_work(item: TenantSpace) -> bool:
    return item.state in ("building", "behind", "dropping")


def _figures(measured: SpaceEvaluation) -> Iterator[str]:
    for space, quality in ((measured.against, measured.quality_against), (measured.space, measured.quality)):
        yield f"nDCG@10 {quality.ndcg:.3f} (95 % of resamples: {quality.low:.3f} to {quality.high:.3f})  {space}"
    by = measured.difference
    between = f"{by.ndcg:+.3f} ({by.low:+.3f} to {by.high:+.3f})"
    yield f"difference {between} of {measured.questions} titles: {measured.verdict}"


def _tell_change(tenant: str, name: str, measured: SpaceEvaluation | None, why: str) -> Iterator[str]:
    if measured is not None:
        yield from _figures(measured)
    if why:
        yield f"{tenant}: not changed: {why}"
        yield f"`adriatic spaces change --to {name} --tenant {tenant} --force` takes it anyway"
    elif measured is None:
        yield f"{tenant}: is searched by {name} already"
    else:
        yield f"{tenant}: is searched by {name} now"
        yield f"`adriatic spaces rollback --tenant {tenant}` goes back; `adriatic spaces drop …` deletes the one before"
