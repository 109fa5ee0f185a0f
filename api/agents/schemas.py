"""What agents take and give, on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api.jobs.service import JobError, State
from runtime.setting_agents import SECONDS_MAX, STEPS_MAX, TOKENS_MAX
from runtime.setting_models import MODEL_CHARS_MAX
from schemas import text

GOAL_CHARS_MAX = 4_000
"""Longest goal: two pages. What is longer is a document, and is uploaded."""
TOOLS_MAX = 16
"""Tools that a task can name: there are fewer."""
MICRO_USD_MAX = 1_000_000_000_000
"""Most that a task can be allowed to cost: a million dollars. What is more is a slip."""

StepKind = Literal["model", "tool"]
StepState = Literal["begun", "done", "failed"]
Plan = Literal["model", "quotes"]
ProposalKind = Literal["adr", "link", "tag"]
ProposalState = Literal["open", "accepted", "dismissed"]

ToolName = Literal[
    "search_adrs",
    "read_adr",
    "adr_history",
    "related_adrs",
    "list_adrs",
    "diff_adr",
    "research",
    "crawl",
    "read_crawl",
    "sub_task",
    "propose_adr",
    "propose_link",
    "propose_tag",
]
"""The tools that a task can name: those of `api/agents/toolset.py`, which a test holds it to."""
ASKED_FOR_ALONE: Final[frozenset[ToolName]] = frozenset(("crawl", "read_crawl", "sub_task"))
"""Those that do more than read and propose, and what belongs to them: only a task that names them may use them."""


class AgentTaskRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A goal, the tools that may be used for it, and how much it may take. What is not given is as the settings say."""

    goal: Annotated[
        str,
        Meta(
            pattern=text.BODY,
            min_length=1,
            max_length=GOAL_CHARS_MAX,
            description="What is to be found out or prepared, in your own words.",
        ),
    ]
    tools: (
        Annotated[
            list[ToolName],
            Meta(max_length=TOOLS_MAX, description="Tools that may be used. Null: all that only read."),
        ]
        | None
    ) = None
    model: Annotated[
        Annotated[str, Meta(min_length=1, max_length=MODEL_CHARS_MAX)] | None,
        Meta(description="A model, as the settings name it; null is the first of them."),
    ] = None
    steps: Annotated[int, Meta(ge=1, le=STEPS_MAX, description="Calls of models and of tools.")] | None = None
    tokens: Annotated[int, Meta(ge=1, le=TOKENS_MAX, description="Tokens of all calls together.")] | None = None
    micro_usd: (
        Annotated[int, Meta(ge=0, le=MICRO_USD_MAX, description="Millionths of a US dollar that it may cost.")] | None
    ) = None
    seconds: (
        Annotated[int, Meta(ge=1, le=SECONDS_MAX, description="Seconds from when it is first taken up.")] | None
    ) = None


class AgentBounds(msgspec.Struct, frozen=True):
    """How much a task may take. `micro_usd` null: only the budgets bound it."""

    steps: int
    tokens: int
    micro_usd: int | None
    seconds: int


class AgentOrder(msgspec.Struct, frozen=True):
    """A task as it is kept: what was asked for, and what holds for it. `plan`: whether a model says what is done next,
    or the passages are quoted by a plan that needs none. `prices_known`: somebody asked for a bound on money, so that
    a model without a price is not asked."""

    tools: list[ToolName]
    model: str | None
    bounds: AgentBounds
    plan: Plan
    prices_known: bool = False


class AgentResult(msgspec.Struct, frozen=True):
    """What came of a task. Addresses in `consulted` are of what its tools gave it to read, in that order."""

    text: str
    consulted: list[str]
    proposals: Annotated[list[UUID], Meta(description="What it proposed to write; a person accepts or dismisses it.")]
    model: str
    finish: str


class AgentSpent(msgspec.Struct, frozen=True):
    """What the ledger has of a task so far, with what calls in flight may take at most. `micro_usd` null: a price is
    not known."""

    tokens: int
    micro_usd: int | None


class AgentTask(msgspec.Struct, frozen=True):
    """A task. `spent` is null in lists, and counts what its sub-tasks spend; `steps` are its own. `withdrawn`: sources
    that it had read and that were deleted since; then the text of its result is withheld."""

    task_id: UUID
    parent_id: Annotated[UUID | None, Meta(description="The task that started it; null: a person did.")]
    goal: str
    tools: list[ToolName]
    model: str | None
    plan: Plan
    bounds: AgentBounds
    state: State
    phase: Annotated[str, Meta(description="What it is at.")]
    steps: Annotated[int, Meta(description="Steps that are over.")]
    cancel_requested: bool
    result: AgentResult | None
    last_error: JobError | None
    spent: AgentSpent | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    withdrawn: int = 0


class AgentTaskPage(msgspec.Struct, frozen=True):
    items: list[AgentTask]
    next_cursor: str | None


class AgentStep(msgspec.Struct, frozen=True):
    """One call of a model or of a tool. `output` null: it is not over. `attempt_id`: the call in the ledger, of the
    last time that a model was asked. `withdrawn`: it stands on what was deleted since, and `input` and `output` are
    withheld."""

    number: int
    step_id: UUID
    kind: StepKind
    name: Annotated[str, Meta(description="The tool, or the model that was asked for.")]
    state: StepState
    input: dict[str, Any]
    output: dict[str, Any] | None
    attempt_id: UUID | None
    begun_at: datetime
    finished_at: datetime | None
    withdrawn: bool = False


class AgentStepPage(msgspec.Struct, frozen=True):
    """Steps in order. `more`: there are further ones behind the last of these."""

    items: list[AgentStep]
    more: bool


class Proposal(msgspec.Struct, frozen=True):
    """What an agent would write: a new ADR (`title`, `body`, `log`, `tags`), a link (`kind`, `target_id`) or a tag
    (`tag`), in `content`. Nothing is written until a person accepts it. `withdrawn`: sources that its agent had read
    and that were deleted since; then `content` and `reason` are withheld, and it is not accepted any more."""

    proposal_id: UUID
    task_id: UUID
    kind: ProposalKind
    adr_id: Annotated[UUID | None, Meta(description="The ADR that it is about; null: a new one.")]
    content: dict[str, Any]
    reason: str
    state: ProposalState
    answered_by: str | None
    answered_at: datetime | None
    became_id: Annotated[UUID | None, Meta(description="The ADR that was made, or that has it now.")]
    created_at: datetime
    withdrawn: int = 0


class ProposalPage(msgspec.Struct, frozen=True):
    items: list[Proposal]
    next_cursor: str | None
