"""Settings of agents: how much one task may take.

Owns the section `agents`. A task may ask for less of each, never for more. Refuses budgets: those of the tenant, the
user and the key hold beside these, for tasks as for any question.
"""

from __future__ import annotations

from pydantic import Field

from runtime.setting_kinds import Section

SECONDS_MAX = 3_600
"""Longest time that a task can be given, in seconds: its worker's place is taken for as long."""
TOKENS_MAX = 100_000_000
"""Most tokens that a task can be given: what is more is a slip."""
STEPS_MAX = 1_000
"""Most steps that a task can be given: each is a row, and the model reads all of them again."""


class AgentSettings(Section):
    """How much one task of an agent may take at most; a task may ask for less."""

    steps_max: int = Field(40, ge=1, le=STEPS_MAX, description="Calls of models and of tools of one task.")
    tokens_max: int = Field(
        200_000, ge=1, le=TOKENS_MAX, description="Tokens that models read and write for one task, all calls together."
    )
    micro_usd_max: int = Field(
        1_000_000,
        ge=0,
        description="Millionths of a US dollar that one task may cost; 0: only the budgets bound it.",
    )
    seconds_max: int = Field(
        600, ge=1, le=SECONDS_MAX, description="Seconds from when a task is first taken up, waiting included."
    )
    output_bytes_max: int = Field(
        32_768, ge=1_024, le=131_072, description="Bytes of what one tool gives back, as JSON; more is refused."
    )
