"""`adriatic chat`: ask, read the answer as it is written, and see what it stands on.

Owns how an answer looks in a terminal. Ctrl-C closes the connection, which stops the answer at its source. Refuses to
search or to ask a model by itself: what it shows is what any client of the API gets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click
import msgspec

from adriatic.cli.output import json_option
from adriatic.cli.where import PATIENCE_S_MAX, Where, where_options

if TYPE_CHECKING:
    from connectors.llm.sse import ServerEvent


@click.command("chat")
@click.argument("question", nargs=-1, required=True)
@click.option("--session", type=click.UUID, help="Count this to an earlier conversation.")
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
    sources: int,
    model: str | None,
    cache: bool,
    tools: bool,
    trace: bool,
    where: Where,
    as_json: bool,
) -> None:
    """Ask about the decision records of a tenant; every number in the answer is a source.

    \b
    adriatic chat "why is there no dual write"
    adriatic chat "what did we decide about queues" --json | jq -r 'select(.event == "delta").data.text'
    adriatic chat "which decisions hang on the one about Kafka" --tools
    adriatic chat "why is there no dual write" --trace

    --trace writes to the error output; with --json it is one more line, the event `trace`.
    """
    from api.chat.schemas import ChatRequest

    request = ChatRequest(" ".join(question), session, sources, model, tools=tools, cache=cache)
    with where.connect(PATIENCE_S_MAX) as remote:
        with remote.events("/v1/chat/stream", request) as received:
            told = ToldAnswer(received)
            for text in json_lines(told) if as_json else render_answer(told):
                click.echo(text, nl=False)
            # Read to its end, the connection is kept, and the next request reaches the same process.
            deque(received if trace else (), maxlen=0)
        if trace and told.answer_id:
            from adriatic.cli.chat_trace import json_trace, read_trace, render_trace

            found = read_trace(remote, told.answer_id)
            click.echo(json_trace(found) if as_json else render_trace(found), err=not as_json)


class ToldAnswer:
    """The events of an answer as they come, and its id once the first was there; the newest, where it began anew."""

    def __init__(self, events: Iterable[ServerEvent]) -> None:
        self._events = events
        self.answer_id: UUID | None = None

    def __iter__(self) -> Iterator[ServerEvent]:
        for event in self._events:
            if event.name == "start":
                self.answer_id = UUID(msgspec.json.decode(event.data)["answer_id"])
            yield event


def json_lines(events: Iterable[ServerEvent]) -> Iterator[str]:
    """One line for each event, as it comes. Raises as `render_answer` does, after the last line."""
    from adriatic.cli.live import json_line
    from adriatic.cli.remote import error_in

    for event in events:
        yield json_line(event) + "\n"
        if event.name == "error":
            raise error_in(event)
        if event.name == "done":
            return
    raise _broke_off()


def render_answer(events: Iterable[ServerEvent]) -> Iterator[str]:
    """The answer in pieces, then its sources. Raises our error when it broke or has no end."""
    from adriatic.cli.remote import error_in

    sources: list[dict[str, Any]] = []
    for event in events:
        data = msgspec.json.decode(event.data)
        if event.name == "start":
            for degraded in data["degraded"]:
                click.echo(f"without search by {degraded['arm']}: {degraded['detail']}", err=True)
        elif event.name == "sources":
            sources = data["sources"]
        elif event.name == "delta":
            yield data["text"]
        elif event.name == "tool" and data["state"] != "done":
            failed = f": {data['error']}" if data["state"] == "failed" else ""
            click.echo(f"{data['name']} {data['arguments']}{failed}", err=True)
        elif event.name == "citations":
            yield from _footnotes(sources, data["cited"], data["unsupported"])
        elif event.name == "error":
            yield "\n"
            raise error_in(event)
        elif event.name == "done":
            return
    raise _broke_off()


def _footnotes(sources: list[dict[str, Any]], cited: list[int], unsupported: list[int]) -> Iterator[str]:
    from adriatic.cli.search import kind_word

    yield "\n"
    for source in sources:
        if source["number"] in cited:
            name = source["label"] or kind_word(source["kind"])
            where = ", ".join(filter(None, (source["log"], f"version {source['version']}")))
            heading = f" › {source['heading']}" if source["heading"] else ""
            line = f"[{source['number']}] {name}  {source['title']}{heading}  {click.style(where, dim=True)}"
            yield line + "\n"
    if unsupported:
        click.echo(f"{len(unsupported)} citation(s) pointed to no source and were dropped", err=True)


def _broke_off() -> Exception:
    from runtime.errors import DependencyUnavailable

    return DependencyUnavailable("the answer broke off", hint="ask again")
