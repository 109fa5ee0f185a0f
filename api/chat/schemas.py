"""What a chat takes, and the events of an answer. How they become bytes is `encoding`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api.problems import Problem
from api.search.query import QUERY_CHARS_MAX
from api.search.schemas import Degraded, HitDocument, SearchFreshness
from connectors.llm import Finish, Tokens
from connectors.llm.failures import Kind as FailureKind
from runtime.setting_models import MODEL_CHARS_MAX
from schemas import text
from schemas.sources import Kind

SOURCES_DEFAULT = 6
SOURCES_MAX = 12
"""Passages that an answer may stand on. Six of some two hundred characters up to a page each fit any model."""

UsageSource = Literal["provider", "partial", "estimated"]
"""Who counted the tokens: the provider; the provider in part, we the rest; we alone, by the bytes."""


OnFailure = Literal["error", "restart"]
OnDisconnect = Literal["stop", "keep"]


class ChatRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A question, and the conversation that it belongs to: a model is told of the turns before."""

    question: Annotated[
        str,
        Meta(
            pattern=text.BODY,
            min_length=1,
            max_length=QUERY_CHARS_MAX,
            description="A question, in your own words.",
        ),
    ]
    session_id: Annotated[
        UUID | None, Meta(description="The conversation that this belongs to, as `start` named it; none begins one.")
    ] = None
    sources: Annotated[int, Meta(ge=1, le=SOURCES_MAX, description="Passages that the answer may stand on.")] = (
        SOURCES_DEFAULT
    )
    model: Annotated[
        Annotated[str, Meta(min_length=1, max_length=MODEL_CHARS_MAX)] | None,
        Meta(description="A model, as the settings name it; none is the first of them."),
    ] = None
    on_failure: Annotated[
        OnFailure,
        Meta(
            description="When a provider breaks off in the middle: `error` ends the answer; `restart` sends the event "
            "`reset`, and the next provider begins the answer anew."
        ),
    ] = "error"
    on_disconnect: Annotated[
        OnDisconnect,
        Meta(description="When nobody reads the answer any more: `stop` it, or `keep` writing, to be read later."),
    ] = "stop"
    tools: Annotated[
        bool,
        Meta(
            description="Whether the model may look up more while it answers: search the ADRs, and read one. Such an "
            "answer is none that others had, and each round of looking up is a call of the model."
        ),
    ] = False
    cache: Annotated[
        bool,
        Meta(
            description="Whether the answer may be one that the same prompt got before, and may be given again. "
            "`Cache-Control: no-cache` asks anew, and lets others have the answer."
        ),
    ] = True


class StartEstimate(msgspec.Struct, frozen=True):
    """What a model reads, and what it takes for that, by an estimate that the event `usage` replaces at the end. Prices
    are in micro-USD, null where they are not known."""

    prompt_tokens: int
    prompt_micro_usd: int | None
    output_micro_usd: Annotated[int | None, Meta(description="For a million tokens that the model writes.")]


class Start(msgspec.Struct, frozen=True):
    """The first event: who answers, and how much of what was written the answer could know. `as_of` null: nothing was
    searched, because the conversation went to the model as it stands. `estimate` null: no model reads for it."""

    session_id: UUID
    answer_id: UUID
    attempt_id: UUID
    provider: str
    model: str
    as_of: SearchFreshness | None
    degraded: list[Degraded]
    estimate: StartEstimate | None = None


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `[number]` points to: characters [char_start, char_end) of the body of this version of a source.

    `label` and `log`: of an ADR. `document`: of a document. `path`: where the API shows the source, as in a search.
    `pages`: the first and the last page of the passage, of a document whose file has pages. `gone`: it was deleted
    since, and nothing else is said of it.
    """

    number: int
    kind: Kind
    source_id: UUID
    version: int
    title: str
    label: str | None
    log: str | None
    path: str | None
    document: HitDocument | None
    heading: str
    char_start: int
    char_end: int
    pages: tuple[int, int] | None = None
    gone: bool = False


class Sources(msgspec.Struct, frozen=True, omit_defaults=True):
    """The second event: every passage that was found, the best first. It comes again, with all of them, when tools
    have found more.

    `before`: ids of what the turns before stand on, which the model was told of, by kind. `withdrawn`: how many of all
    these were deleted since; then nothing of what was written is shown.
    """

    sources: list[Source]
    before: dict[Kind, list[UUID]] = {}
    withdrawn: int = 0


class Reset(msgspec.Struct, frozen=True):
    """A provider broke off: forget everything of this answer so far. `start` of another attempt is the next event.

    `reason` is the kind of what went wrong, `attempt_id` the attempt that ended.
    """

    reason: FailureKind
    attempt_id: UUID


class TextDelta(msgspec.Struct, frozen=True):
    """The next piece of the answer."""

    text: str


class ReasoningDelta(msgspec.Struct, frozen=True):
    """The next piece of what the model thinks before it speaks. `signature` comes with the last piece of a thought,
    from providers that sign: only with it the thought can be given back in the next turn."""

    text: str
    signature: str = ""


class ToolCallStart(msgspec.Struct, frozen=True):
    """The model begins a call of a tool. Calls are numbered from 0; `call_id` is the model's, and names the result."""

    index: int
    call_id: str
    name: str


class ToolCallDelta(msgspec.Struct, frozen=True):
    """The next piece of the arguments of call `index`: JSON, which is whole only at the end of the answer."""

    index: int
    arguments: str


class ToolRun(msgspec.Struct, frozen=True):
    """We run a tool that the model asked for: `begun`, then `done` or `failed`. `found` are the numbers of the sources
    that it gave, `error` what the model was told instead. `arguments` is JSON, as the model wrote it."""

    call_id: str
    name: str
    state: Literal["begun", "done", "failed"]
    arguments: str
    found: list[int] = []
    error: str = ""


class Citations(msgspec.Struct, frozen=True):
    """`cited` are numbers of sources, in the order of their first use. `unsupported` are numbers that the model made
    up: they were taken out of the text."""

    cited: list[int]
    unsupported: list[int]


class UsageSpent(msgspec.Struct, frozen=True):
    """What goes into the ledger, for all calls of the model where it looked something up. At most `unseen_tokens_max`
    more were charged than were counted. `cost_micro_usd` null: the price is not known. `usage_source` `cache`: no
    provider was asked for this caller, nothing was used, and the ledger has no row."""

    tokens: Tokens
    usage_source: Literal[UsageSource, "cache"]
    unseen_tokens_max: int
    cost_micro_usd: int | None
    first_token_ms: int | None


class DoneEvent(msgspec.Struct, frozen=True):
    """The last event of an answer that is whole."""

    finish: Finish
    finished_at: datetime


ChatEvent = (
    Start
    | Sources
    | TextDelta
    | Reset
    | ReasoningDelta
    | ToolCallStart
    | ToolCallDelta
    | ToolRun
    | Citations
    | UsageSpent
    | DoneEvent
    | Problem
)
"""A `Problem` is the last event of an answer that broke."""

NAMES: dict[type, str] = {
    Start: "start",
    Sources: "sources",
    TextDelta: "delta",
    ReasoningDelta: "reasoning",
    ToolCallStart: "call",
    ToolCallDelta: "call_delta",
    ToolRun: "tool",
    Reset: "reset",
    Citations: "citations",
    UsageSpent: "usage",
    DoneEvent: "done",
    Problem: "error",
}


def size_of(event: ChatEvent) -> int:
    """Bytes, about, of what the model wrote in an event; 0 for what we say of ourselves."""
    if isinstance(event, TextDelta):  # nearly all are these
        return len(event.text)
    if isinstance(event, ReasoningDelta):
        return len(event.text)
    if isinstance(event, ToolCallDelta):
        return len(event.arguments)
    return len(event.name) if isinstance(event, ToolCallStart) else 0
