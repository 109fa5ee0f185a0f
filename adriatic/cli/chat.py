"""`adriatic chat`: ask, read the answer as it is written, and see what it stands on and what it cost.

Owns the conversation of one run, and what Ctrl-C does: it stops an answer at its source, and says what was used until
then. Refuses to search or to ask a model by itself: what it shows is what any client of the API gets. How an answer
looks is in `chat_view.py`.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click
import msgspec

from adriatic.cli.chat_view import json_lines, render_answer, render_stopped, render_used
from adriatic.cli.output import json_option
from adriatic.cli.where import PATIENCE_S_MAX, Where, where_options
from runtime.clock import SYSTEM_CLOCK
from runtime.deadline import Deadline
from runtime.errors import AdriaticError, DependencyUnavailable

if TYPE_CHECKING:
    from adriatic.cli.remote import Remote
    from api.chat.schemas import ChatRequest, OnDisconnect
    from connectors.llm.sse import ServerEvent

LAST = "last"
"""What `--resume` calls the newest answer."""
RETURNS_MAX = 5
"""How often an answer that is kept is gone on with after a cut, in one run."""
RETURN_S = 0.5
STOPPED_S_MAX = 5.0
"""Longest wait, in seconds, until an answer that was stopped says what it used."""
PAUSE_S = 0.1
STDIN_CHARS_MAX = 100_000
"""Most of standard input that is read as a question: far more than the API takes, which says so."""


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What every question of one run has in common."""

    sources: int
    model: str | None
    cache: bool
    tools: bool
    keep: bool
    trace: bool
    as_json: bool

    def request(self, question: str, session: UUID | None) -> ChatRequest:
        from api.chat.schemas import ChatRequest

        leave: OnDisconnect = "keep" if self.keep else "stop"
        return ChatRequest(
            *(question, session, self.sources, self.model),
            tools=self.tools,
            on_disconnect=leave,
            cache=self.cache,
        )


@click.command("chat")
@click.argument("question", nargs=-1)
@click.option("--session", type=click.UUID, help="Go on with this conversation: the model is told of its turns.")
@click.option(
    "--resume", metavar="ANSWER", help=f"Read an answer of before, from its first word; `{LAST}`: the newest."
)
@click.option(
    "--keep", is_flag=True, help="When you leave, it is written on, for --resume. Otherwise leaving stops it."
)
@click.option("--sources", type=click.IntRange(1, 12), default=6, show_default=True, help="Passages to stand on.")
@click.option("--model", help="A model of the settings; without it, the first of them.")
@click.option(
    "--cache/--no-cache",
    default=True,
    help="Take an answer that the same question got before, and let others have this one. By default they are shared.",
)
@click.option("--tools", is_flag=True, help="Let the model search and read further ADRs while it answers.")
@click.option("--trace", is_flag=True, help="Then show where the time went, stage by stage.")
@where_options
@json_option("Print each event as one line of JSON.")
def chat(
    question: tuple[str, ...],
    session: UUID | None,
    resume: str | None,
    where: Where,
    **options: Any,
) -> None:
    """Ask about the decision records of a tenant; every number in the answer is a source.

    \b
    adriatic chat "why is there no dual write"
    adriatic chat                                  a conversation: question after question, Ctrl-D ends it
    adriatic chat "tell me all" --keep             Ctrl-C leaves; it is written on
    adriatic chat --resume last                    read it, also while it is being written
    adriatic chat "what did we decide about queues" --json | jq -r 'select(.event == "delta").data.text'
    adriatic chat "which decisions hang on the one about Kafka" --tools
    adriatic chat "why is there no dual write" --trace

    The answer is on the output; its tokens, its cost and its conversation are on the error output, so that a pipe has
    the answer alone. Ctrl-C stops the answer at its source: what was used until then is billed once, and said.

    --trace writes to the error output; with --json it is one more line, the event `trace`.
    """
    settled = ChatOptions(**options)
    words = " ".join(question)
    if resume and words:
        raise click.UsageError("--resume reads an answer that there is; leave the question away")
    with where.connect(PATIENCE_S_MAX) as remote:
        if resume:
            answer_id = find_answer(remote, resume)
            _show(remote, ToldAnswer(read_on(remote, answer_id), answer_id), settled)
        elif words:
            ask(remote, settled, words, session)
        elif _is_terminal():
            converse(remote, settled, session)
        elif piped := sys.stdin.read(STDIN_CHARS_MAX).strip():
            ask(remote, settled, piped, session)
        else:
            raise click.UsageError('ask something: adriatic chat "why is there no dual write"')


def _is_terminal() -> bool:
    return sys.stdin.isatty()


class ToldAnswer:
    """The events of an answer as they come, its id and its conversation once the first was there; the newest, where it
    began anew."""

    def __init__(self, events: Iterable[ServerEvent], answer_id: UUID | None = None) -> None:
        self._events = events
        self.answer_id = answer_id
        self.session_id: UUID | None = None
        self.last_id = ""
        self.used: dict[str, Any] | None = None

    def follow(self, events: Iterable[ServerEvent]) -> ToldAnswer:
        """The same answer, over another connection."""
        self._events = events
        return self

    def __iter__(self) -> Iterator[ServerEvent]:
        for event in self._events:
            if event.name == "start":
                data = msgspec.json.decode(event.data)
                self.answer_id, self.session_id = UUID(data["answer_id"]), UUID(data["session_id"])
            elif event.name == "usage":
                self.used = msgspec.json.decode(event.data)
            self.last_id = event.id or self.last_id
            yield event


def ask(remote: Remote, options: ChatOptions, question: str, session: UUID | None) -> UUID | None:
    """One question and its answer. Returns the conversation that it is in; raises as an answer that breaks does, and
    `Abort` when the person stopped it."""
    with remote.events("/v1/chat/stream", options.request(question, session)) as received:
        told = ToldAnswer(received)
        _show(remote, told, options)
    return told.session_id


def converse(remote: Remote, options: ChatOptions, session: UUID | None) -> None:
    """Question after question, in one conversation, until the person ends it. Ctrl-C stops an answer, and ends where
    nothing is being said."""
    click.echo("Ask; Ctrl-C stops an answer, Ctrl-D ends.", err=True)
    while True:
        try:
            question = input("\n› ").strip()
        except (EOFError, KeyboardInterrupt):
            click.echo(err=True)
            return
        if not question:
            continue
        try:
            session = ask(remote, options, question, session) or session
        except click.Abort:
            continue
        except AdriaticError as error:
            click.secho(f"{error.detail}{f'; {error.hint}' if error.hint else ''}", err=True, fg="red")


def read_on(remote: Remote, answer_id: UUID, last_id: str = "") -> Iterator[ServerEvent]:
    """The events of an answer that there is, behind `last_id`, whichever process writes it."""
    with remote.follow(f"/v1/chat/answers/{answer_id}/stream", last_id) as events:
        yield from events


def find_answer(remote: Remote, named: str) -> UUID:
    """The id of an answer of this user. Raises `UsageError` for what is none."""
    if named != LAST:
        try:
            return UUID(named)
        except ValueError:
            raise click.UsageError(f"--resume takes the id of an answer, or `{LAST}`") from None
    sessions = remote.request("GET", "/v1/chat/sessions", dict[str, Any], limit=1)["items"]
    if not sessions:
        raise click.UsageError("you have no answer yet that is kept")
    turns = remote.request("GET", f"/v1/chat/sessions/{sessions[0]['session_id']}", dict[str, Any])["items"]
    return UUID(turns[-1]["answer_id"])


def _show(remote: Remote, told: ToldAnswer, options: ChatOptions) -> None:
    events = _unbroken(remote, told) if options.keep else told
    try:
        for text in json_lines(events) if options.as_json else render_answer(events):
            click.echo(text, nl=False)
        # Read to its end, the connection is kept, and the next request reaches the same process.
        deque(told if options.trace else (), maxlen=0)
    except KeyboardInterrupt:
        _leave(remote, told, options)
        raise click.Abort from None
    if told.used and not options.as_json:
        click.secho(render_used(told.used, told.session_id), err=True, dim=True)
    if options.trace and told.answer_id:
        from adriatic.cli.chat_trace import json_trace, read_trace, render_trace

        found = read_trace(remote, told.answer_id)
        click.echo(json_trace(found) if options.as_json else render_trace(found), err=not options.as_json)


def _unbroken(remote: Remote, told: ToldAnswer) -> Iterator[ServerEvent]:
    """All events of an answer that is kept, over cuts of the connection: each once, and in order."""
    source: Iterator[ServerEvent] = iter(told)
    for returns in range(RETURNS_MAX + 1):
        cut = None
        try:
            for event in source:
                yield event
                if event.name in ("done", "error"):
                    return
        except DependencyUnavailable as error:
            cut = error
        if told.answer_id is None or returns == RETURNS_MAX:
            if cut:
                raise cut
            return
        SYSTEM_CLOCK.sleep(RETURN_S)
        source = iter(told.follow(read_on(remote, told.answer_id, told.last_id)))


def _leave(remote: Remote, told: ToldAnswer, options: ChatOptions) -> None:
    """Say what becomes of an answer that nobody reads here any more."""
    click.echo(err=True)
    if told.answer_id is None:
        return
    if options.keep:
        click.echo(f"it is written on: adriatic chat --resume {told.answer_id}", err=True)
        return
    with suppress(AdriaticError):
        remote.send("POST", f"/v1/chat/answers/{told.answer_id}/stop")
        click.echo(render_stopped(_await_end(remote, told.answer_id)), err=True)


def _await_end(remote: Remote, answer_id: UUID) -> dict[str, Any]:
    deadline = Deadline.after(STOPPED_S_MAX)
    while True:
        found = remote.request("GET", f"/v1/chat/answers/{answer_id}", dict[str, Any])
        if found["state"] != "running" or deadline.passed:
            return found
        SYSTEM_CLOCK.sleep(PAUSE_S)
