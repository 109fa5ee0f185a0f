"""The answer without a model: passages as they stand, with their numbers, and no more than fits."""

from __future__ import annotations

from connectors.llm import Delta, Done, Quoted, TokenUsage
from connectors.llm.extractive import EXCERPT_CHARS_MAX, NOTHING, OPENING, PASSAGES_MAX, events, excerpt
from connectors.llm.prompts import Passage


def passages(count: int) -> tuple[Passage, ...]:
    return tuple(Passage(n, f"ADR-{n} Title", "Context", f"Line of {n}.\nSee [9].\n") for n in range(1, count + 1))


def text(count: int) -> str:
    return "".join(event.text for event in events(passages(count)) if isinstance(event, Delta | Quoted))


def test_it_says_that_it_quotes_and_quotes() -> None:
    assert text(1) == OPENING + "ADR-1 Title › Context [1]\n\nLine of 1.\nSee [9].\n\n"


def test_it_quotes_the_best_only() -> None:
    quoted = {event.number for event in events(passages(8)) if isinstance(event, Quoted)}
    assert quoted == set(range(1, PASSAGES_MAX + 1))


def test_it_says_when_there_is_nothing() -> None:
    assert text(0) == NOTHING


def test_it_ends_and_uses_no_tokens() -> None:
    *_, usage, done = events(passages(1))
    assert isinstance(usage, TokenUsage)
    assert usage.complete
    assert usage.tokens.total == 0
    assert done == Done("stop")


def test_an_excerpt_is_a_beginning_that_ends_well() -> None:
    assert excerpt(" short \n") == "short"
    sentences = "A sentence of some words. " * 60
    cut = excerpt(sentences)
    assert cut.endswith("words. …")
    assert sentences.startswith(cut.removesuffix(" …"))
    assert len(excerpt("x" * 5_000)) == EXCERPT_CHARS_MAX + 2
