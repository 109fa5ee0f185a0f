"""Language models: the seam, the one type of event, and the choice by settings.

Owns the contract that every provider keeps: what a stream of events looks like, how it ends, what closing it does, and
in which buckets tokens are counted. Refuses to know ADRs, to retry, to fail over, and to know prices. Read next:
`connectors/llm/prompts.py` and `failures.py`, what goes in and what can go wrong; `remote`, which `anthropic`, `openai`
and `gemini` share; `extractive` needs no key; `fake` is a provider to test with.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Literal, Protocol

import msgspec

from connectors.llm.failures import Failure
from connectors.llm.prompts import Prompt
from connectors.secrets import Credential, SecretStore
from runtime.settings import LlmSettings, SecretSettings

BYTES_PER_TOKEN = 4
"""Bytes of English text, roughly. Only used where a provider did not say, and then the ledger says `estimated`."""

Finish = Literal["stop", "length", "tool-calls", "refused", "other"]
"""Why the model ended: by itself, at the bound of its answer, to have tools called, because it refuses, or something
that we do not know."""


class Tokens(msgspec.Struct, frozen=True):
    """Disjoint buckets: their sum is all tokens, each counted once, whatever the provider's own sums contain."""

    input_uncached: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output_visible: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        return sum(msgspec.structs.astuple(self))


class Started(msgspec.Struct, frozen=True):
    """The provider took the request. It can still fail without one word of an answer."""

    model: str


class Delta(msgspec.Struct, frozen=True):
    """The next piece of the answer, in the model's own words. Markers like `[1]` in it are claims."""

    text: str


class Quoted(msgspec.Struct, frozen=True):
    """A piece of the answer that is a passage's text as it stands. Whatever looks like a marker in it is not one."""

    text: str
    number: int


class Thought(msgspec.Struct, frozen=True):
    """The next piece of what the model thinks before it speaks. A provider that signs its thoughts sends the signature
    with the last piece of each; without it the thought cannot be given back in the next turn."""

    text: str
    signature: str = ""


class CallBegun(msgspec.Struct, frozen=True):
    """The model begins to write a call of a tool. Calls are numbered from 0 in their order; pieces name the number."""

    index: int
    call_id: str
    name: str


class CallPiece(msgspec.Struct, frozen=True):
    """The next piece of the arguments of a call: JSON in pieces, which is whole only at the end of the answer."""

    index: int
    arguments: str


class TokenUsage(msgspec.Struct, frozen=True):
    """All tokens so far, not those since the last time. `complete`: the provider will not count further."""

    tokens: Tokens
    complete: bool


class Done(msgspec.Struct, frozen=True):
    """The answer is whole. The last event."""

    finish: Finish


class Failed(msgspec.Struct, frozen=True):
    """There will be no more. The last event."""

    failure: Failure


Event = Started | Delta | Quoted | Thought | CallBegun | CallPiece | TokenUsage | Done | Failed
CONTENT = (Delta, Quoted, Thought, CallBegun)
"""What begins an answer is the first of these."""


def count_bytes(text: str) -> int:
    """The size of a piece of text. Nearly all are ASCII, of which that is known without writing it anew."""
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


class Provider(Protocol):
    """Streams answers. One per process, used by many tasks at once.

    `stream` raises nothing: what goes wrong is `Failed`. The last event is `Done` or `Failed`, and there is exactly one
    of them. Whoever reads must close the generator (`contextlib.aclosing`); closing it, or cancelling the task that
    reads it, closes the connection to the provider at once, and never waits for the rest of an answer.
    """

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> str: ...

    def stream(self, prompt: Prompt) -> AsyncGenerator[Event, None]: ...

    async def close(self) -> None: ...


def build(settings: LlmSettings, credential: Credential | None = None) -> Provider:
    """The provider that the settings ask for. Opens no connection. `credential` owns its key; without it, the key is
    what the settings say, or what this machine has."""
    credential = credential or SecretStore(SecretSettings()).credential(settings.api_key)
    # Imported here: a process that asks no model should not pay for two SDKs.
    if settings.provider == "anthropic":
        from connectors.llm.anthropic import AnthropicProvider

        return AnthropicProvider(settings, credential)
    if settings.provider == "openai":
        from connectors.llm.openai import OpenAIProvider

        return OpenAIProvider(settings, credential)
    if settings.provider == "gemini":
        from connectors.llm.gemini import GeminiProvider

        return GeminiProvider(settings, credential)
    from connectors.llm.extractive import ExtractiveProvider

    return ExtractiveProvider()
