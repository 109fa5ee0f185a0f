"""The prompts that clients show as commands: which decisions govern a change, and why something is as it is.

Owns their words. Refuses to search: a prompt tells a model which tools to use. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import mcp_types as types

from runtime.errors import InvalidInput

ARGUMENT_CHARS_MAX: Final = 20_000
"""Longest argument: a change of some five hundred lines. A message of the protocol is bounded as well."""


class McpPrompt(NamedTuple):
    """A prompt with one argument, which stands in its words at `{}`."""

    title: str
    description: str
    argument: str
    about: str
    words: str


PROMPTS: Final[Mapping[str, McpPrompt]] = {
    "decisions_for_change": McpPrompt(
        "Which decisions govern this change?",
        "Finds the architecture decision records that a change has to follow.",
        "change",
        "The change: a diff, a plan, or a sentence.",
        "Find the architecture decision records that govern the change below. Search with `search_adrs`, once for each "
        "thing that the change touches; read the records that could matter with `read_adr`; follow `superseded_by`. "
        "Then list the decisions that hold for this change. For each, give its label and address, quote the passage, "
        "and say in one sentence what it asks of this change, and whether the change follows it. Name superseded "
        "records that the change relies on. If nothing governs it, say so.\n\nThe change:\n\n{}",
    ),
    "why": McpPrompt(
        "Why is it like this?",
        "Answers from the decision records why something is as it is.",
        "question",
        "The question, such as: why is there no dual write?",
        "Answer from the organisation's architecture decision records alone. Search with `search_adrs`, read what "
        "matters with `read_adr`, and cite the label of each record that a statement stands on. If the records do not "
        "answer it, say so.\n\nThe question:\n\n{}",
    ),
}


def describe() -> list[types.Prompt]:
    """The prompts as the protocol has them."""
    return [
        types.Prompt(
            name=name,
            title=prompt.title,
            description=prompt.description,
            arguments=[types.PromptArgument(name=prompt.argument, description=prompt.about, required=True)],
        )
        for name, prompt in PROMPTS.items()
    ]


def fill(name: str, arguments: Mapping[str, str]) -> types.GetPromptResult:
    """A prompt with its argument. Raises `InvalidInput`."""
    prompt = PROMPTS.get(name)
    if prompt is None:
        raise InvalidInput(f"there is no prompt {name[:64]!r}", hint=f"there are {', '.join(PROMPTS)}")
    if arguments.keys() != {prompt.argument}:
        raise InvalidInput(f"{name} takes one argument", hint=f"give it {prompt.argument}: {prompt.about}")
    given = arguments[prompt.argument]
    if not given.strip() or len(given) > ARGUMENT_CHARS_MAX:
        raise InvalidInput(
            f"{prompt.argument} has {len(given)} characters", hint=f"1 to {ARGUMENT_CHARS_MAX}, with something in them"
        )
    text = types.TextContent(type="text", text=prompt.words.format(given))
    return types.GetPromptResult(
        description=prompt.description, messages=[types.PromptMessage(role="user", content=text)]
    )
