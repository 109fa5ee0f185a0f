"""How an answer looks in a terminal: its text, what it stands on, what it used; or each event as a line of JSON.

Owns wording and layout. Refuses connections (`chat.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click
import msgspec

if TYPE_CHECKING:
    from connectors.llm.sse import ServerEvent

READ = ("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h")
WRITTEN = ("output_visible", "reasoning")


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
    said = False
    for event in events:
        data = msgspec.json.decode(event.data)
        if event.name == "start":
            for degraded in data["degraded"]:
                click.echo(f"without search by {degraded['arm']}: {degraded['detail']}", err=True)
        elif event.name == "sources":
            sources = data["sources"]
        elif event.name == "delta":
            said = True
            yield data["text"]
        elif event.name == "reset" and said:
            yield "\n"
            click.echo("the provider broke off; the answer begins anew", err=True)
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


def render_used(used: dict[str, Any], session_id: UUID | None) -> str:
    """Tokens, cost and conversation, in one line."""
    said = [describe_use(used)]
    if used["first_token_ms"] is not None:
        said.append(f"first text after {used['first_token_ms'] / 1000:.2f} s")
    if session_id:
        said.append(f"conversation {session_id}")
    return " · ".join(said)


def render_stopped(answer: dict[str, Any]) -> str:
    """What became of an answer that was stopped."""
    if answer["state"] == "running":
        return f"it is being stopped: adriatic chat --resume {answer['answer_id']} shows what came"
    if answer["usage"] is None:
        return "nothing was used"
    return f"used until then, and billed once: {describe_use(answer['usage'])}"


def describe_use(used: dict[str, Any]) -> str:
    """Tokens and cost, and who counted them."""
    from adriatic.cli.usage import dollars

    tokens = used["tokens"]
    read, written = sum(tokens[name] for name in READ), sum(tokens[name] for name in WRITTEN)
    if used["usage_source"] == "cache":
        return "given again: no provider was asked, and it cost nothing"
    if not read + written:
        return "no tokens: no model was asked"
    about = "" if used["usage_source"] == "provider" else "about "
    cost = used["cost_micro_usd"]
    price = "at a price that is not known" if cost is None else dollars(cost)
    return f"{about}{read:,} tokens read, {written:,} written, {price}"


def _footnotes(sources: list[dict[str, Any]], cited: list[int], unsupported: list[int]) -> Iterator[str]:
    from adriatic.cli.search import kind_word, say_pages

    yield "\n"
    for source in sources:
        if source["number"] in cited:
            name = source["label"] or kind_word(source["kind"])
            pages = say_pages(source.get("pages"))
            where = ", ".join(filter(None, (source["log"], f"version {source['version']}", pages)))
            heading = f" › {source['heading']}" if source["heading"] else ""
            line = f"[{source['number']}] {name}  {source['title']}{heading}  {click.style(where, dim=True)}"
            yield line + "\n"
    if unsupported:
        click.echo(f"{len(unsupported)} citation(s) pointed to no source and were dropped", err=True)


def _broke_off() -> Exception:
    from runtime.errors import DependencyUnavailable

    return DependencyUnavailable("the answer broke off", hint="ask again")
