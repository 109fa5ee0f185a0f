"""`adriatic research`: a question that takes several searches, its progress, its sources, and what they say.

Owns the wording and the exit code. Ctrl-C leaves it running, and says how to come back to it; `--cancel` ends it.
Refuses to search by itself: it is a job of the installation, and goes on when nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final
from uuid import UUID

import click
import msgspec

from adriatic.cli.output import hide_controls, json_option, show
from adriatic.cli.search import say_pages
from adriatic.cli.where import PATIENCE_S_MAX, Where, where_options
from runtime.clock import SYSTEM_CLOCK
from runtime.deadline import Deadline
from runtime.errors import DependencyUnavailable
from runtime.ids import new_id

if TYPE_CHECKING:
    from adriatic.cli.remote import Remote
    from api.research.schemas import CitedSource, Research, ResearchResult, WrittenAnswer

PATH: Final = "/v1/research"
POLL_S: Final = 0.3
"""Pause between two looks: short enough for a person, and nothing to the API."""
WAIT_S_MAX: Final = 300.0
"""Longest wait, in seconds. It takes a second or two, and longer only where others wait before it or the worker is
down."""
NOT_ANSWERED: Final = 1
"""The exit code where the sources do not hold an answer, and where it failed or was cancelled."""


@click.command("research")
@click.argument("question", nargs=-1)
@click.option("--log", metavar="SLUG", help="Look in this log only.")
@click.option("--status", multiple=True, metavar="NAME", help="Records of this status; repeat it for several.")
@click.option("--kind", type=click.Choice(["adr", "document"]), help="Sources of this kind only.")
@click.option("--sources", type=click.IntRange(1, 20), default=8, show_default=True, help="Sources at most.")
@click.option("--passes", type=click.IntRange(1, 3), help="Rounds of searching at most.")
@click.option("--expand/--no-expand", default=None, help="Search again with words of what was found first.")
@click.option("--rerank/--no-rerank", default=None, help="Rank passages anew by comparing word with word.")
@click.option("--write/--no-write", default=None, help="Have the chat model write the text; each claim is checked.")
@click.option("--no-wait", is_flag=True, help="Print its id, and leave it to the worker.")
@click.option("--id", "research_id", type=click.UUID, help="Come back to one that was asked before.")
@click.option("--cancel", is_flag=True, help="With --id: end it.")
@where_options
@json_option("Print the answer of the API as JSON.")
def research(
    question: tuple[str, ...],
    log: str | None,
    status: tuple[str, ...],
    kind: str | None,
    sources: int,
    passes: int | None,
    expand: bool | None,
    rerank: bool | None,
    write: bool | None,
    no_wait: bool,
    research_id: UUID | None,
    cancel: bool,
    where: Where,
    as_json: bool,
) -> None:
    """Answer a question from several searches, with quotes that are checked against what they cite.

    Exits with 0 when the sources hold an answer, with 1 when they do not or it failed, and with 3 when that cannot be
    told because something does not answer.

    \b
    adriatic research "Why is there no dual write, and how are deletes handled?"
    adriatic research --status accepted "Kafka versus RabbitMQ"
    adriatic research --id ID                          what came of it
    """
    if bool(question) == (research_id is not None):
        raise click.UsageError("give a question, or the --id of one that was asked")
    if cancel and research_id is None:
        raise click.UsageError("--cancel needs --id")
    filters = {"log": log, "status": list(status), "kind": kind, "sources": sources}
    switches = {"passes": passes, "expand": expand, "rerank": rerank, "write": write}
    given = {name: value for name, value in (filters | switches).items() if value is not None}
    with where.connect(PATIENCE_S_MAX) as remote:
        found = _ask(remote, " ".join(question), given) if research_id is None else _find(remote, research_id, cancel)
        if not no_wait:
            found = _follow(remote, found)
    show(as_json, msgspec.json.encode(found), lines(found))
    if found.finished_at is not None and not (found.result and found.result.answered):
        click.get_current_context().exit(NOT_ANSWERED)


def _ask(remote: Remote, question: str, given: Mapping[str, object]) -> Research:
    """Ask, with a key of its own: repeated while the API is away, it is asked once."""
    from api.research.schemas import Research

    headers = {"idempotency-key": str(new_id())}
    return remote.ask_again(PATH, {"question": question, **given}, Research, headers)


def _find(remote: Remote, research_id: UUID, cancel: bool) -> Research:
    from api.research.schemas import Research

    if cancel:
        return remote.request("POST", f"{PATH}/{research_id}/cancel", Research)
    return remote.request("GET", f"{PATH}/{research_id}", Research)


def _follow(remote: Remote, found: Research) -> Research:
    """Wait for its end, and say how far it is. Raises `DependencyUnavailable` when that takes too long."""
    from api.research.schemas import Research

    deadline = Deadline.after(WAIT_S_MAX)
    said = ""
    try:
        while found.finished_at is None:
            line = f"{found.phase or 'waiting for a worker'}: {found.done} of {found.total or '?'} {found.unit}"
            if line != said:
                click.echo(line, err=True)
                said = line
            if deadline.passed:
                raise DependencyUnavailable(f"it is not done after {WAIT_S_MAX:g} s", hint=_come_back(found))
            SYSTEM_CLOCK.sleep(POLL_S)
            found = remote.request("GET", f"{PATH}/{found.research_id}", Research)
    except KeyboardInterrupt:
        click.echo(f"it goes on; {_come_back(found)}", err=True)
        raise
    return found


def _come_back(found: Research) -> str:
    return f"`adriatic research --id {found.research_id}` comes back to it"


def lines(found: Research) -> Iterator[str]:
    """Sources first, then what they say."""
    if found.result is not None:
        yield from _result_lines(found.result)
    elif found.finished_at is None:
        yield f"asked for; {_come_back(found)}"
    elif found.last_error is not None:
        yield f"{found.state}: {found.last_error.detail}"
        yield f"hint: {found.last_error.hint}"
    else:
        yield found.state


def _result_lines(result: ResearchResult) -> Iterator[str]:
    claims = [claim for part in result.parts for claim in part.claims]
    claims += result.written.claims if result.written else []
    for source in result.sources:
        cited = [say_pages(claim.pages) for claim in claims if claim.source == source.number]
        yield f"[{source.number}] {_name(source, list(dict.fromkeys(filter(None, cited))))}"
    if result.sources:
        yield ""
    yield hide_controls(result.text.rstrip("\n"), keep_lines=True)
    dropped = sum(part.dropped for part in result.parts)
    if dropped:
        yield f"\n{dropped} left out: the citation did not hold"
    if result.withdrawn:
        yield f"\n{result.withdrawn} of its sources deleted since, with what stood on them"
    if result.written is not None:
        yield from _tell_written(result.written)
    for each in result.degraded:
        yield f"\nwithout search by {each.arm}: {each.detail}"
    if result.rerank_error is not None:
        yield f"\nnot ranked anew: {result.rerank_error.detail}"
    if result.write_error is not None:
        yield f"\nnot written by a model: {result.write_error.detail}"


def _tell_written(written: WrittenAnswer) -> Iterator[str]:
    """What became of a model's text."""
    taken_out = sum(each.claims for each in written.dropped)
    why = ", ".join(f"{each.claims} {each.fault}" for each in written.dropped)
    about = f"; {taken_out} taken out ({why})" if taken_out else ""
    if written.claims:
        yield f"\nwritten by {hide_controls(written.model)}, {len(written.claims)} claims hold{about}"
    else:
        yield f"\n{hide_controls(written.model)} wrote nothing that holds{about}: these are quotes"


def _name(source: CitedSource, pages: Sequence[str]) -> str:
    label = f"{source.label}  " if source.label else ""
    about = " · ".join(filter(None, (source.status, source.log, f"version {source.version}", ", ".join(pages))))
    heading = f" › {source.heading}" if source.heading else ""
    return hide_controls(f"{label}{source.title}{heading}  ({about})", keep_lines=True)
