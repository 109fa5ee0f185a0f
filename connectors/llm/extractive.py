"""The provider without a model: it quotes the passages that fit best, as they stand, and says that it does.

Owns how many passages are quoted and how much of each. Pure given the passages: no network, no key, no tokens, the same
answer every time. Refuses to say anything of its own about the question.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator

from connectors.llm import Delta, Done, Event, Quoted, Started, Tokens, TokenUsage
from connectors.llm.prompts import Passage, Prompt

PASSAGES_MAX = 3
"""What a person reads before they open an ADR instead."""
EXCERPT_CHARS_MAX = 700
"""Longest excerpt of each: a paragraph or two."""
OPENING = "These passages fit your question best. They are quoted as they stand; no model was asked.\n\n"
NOTHING = "No decision record here fits your question. No model was asked.\n"


def events(passages: tuple[Passage, ...], opening: str = OPENING) -> Iterator[Event]:
    """The whole answer."""
    yield Started("extractive")
    yield Delta(opening if passages else NOTHING)
    for passage in passages[:PASSAGES_MAX]:
        heading = f"{passage.title} › {passage.heading}" if passage.heading else passage.title
        yield Quoted(heading, passage.number)
        yield Delta(f" [{passage.number}]\n\n")
        yield from (Quoted(line, passage.number) for line in excerpt(passage.text).splitlines(keepends=True))
        yield Delta("\n\n")
    yield TokenUsage(Tokens(), complete=True)
    yield Done("stop")


def excerpt(text: str) -> str:
    """The beginning of `text`, up to the end of a paragraph, sentence or word within the bound."""
    text = text.strip()
    if len(text) <= EXCERPT_CHARS_MAX:
        return text
    head = text[:EXCERPT_CHARS_MAX]
    for mark in ("\n\n", ". ", "\n", " "):
        end = head.rfind(mark)
        if end > EXCERPT_CHARS_MAX // 2:
            return head[: end + 1].rstrip() + " …"
    return head + " …"


class ExtractiveProvider:
    """See `Provider`."""

    name = model = "extractive"

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        for event in events(prompt.passages, prompt.quoting or OPENING):
            yield event

    async def close(self) -> None:
        return
