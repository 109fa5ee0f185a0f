"""Where the time of an answer went: its stages, for the user who asked, from the process that wrote it.

Owns the newest records in memory, bounded, and how they are shown. Refuses to keep them longer: who wants that has
spans sent to a collector (`telemetry.otlp_endpoint`), which are made of the same stages.
"""

from __future__ import annotations

from uuid import UUID

import msgspec

from api.auth.users import Principal
from api.chat.ledger import Attempt
from runtime.errors import NotFound
from runtime.memory import BoundedMemory
from runtime.stages import StageRecord, find_record

TRACES_MAX = 1_000
"""Records that are kept, some 2 kB each: those of the last seconds of a busy process."""
WHOLE = "handle_chat_request"
"""The stage that is all of it, from the request to the end of the answer."""
SAVES = "db_save_usage"
"""The stage that settles an attempt; it comes after the end of the answer."""
CALLS = "call_"
"""How the stages begin that ask a provider."""


class StageTime(msgspec.Struct, frozen=True):
    """One stage. `within`: the stage that it is a part of. `began_ms` counts from the beginning of the request;
    `took_ms` is null while it goes on."""

    name: str
    within: str | None
    began_ms: float
    took_ms: float | None
    failed: bool


class AnswerTrace(msgspec.Struct, frozen=True):
    """Where the time of an answer went. `trace_id`: that of the spans and of the log lines, where somebody traces.
    `complete`: it has ended, and what it cost is in the books."""

    answer_id: UUID
    trace_id: str | None
    complete: bool
    stages: list[StageTime]


class AnswerTraces:
    """Those of one process."""

    def __init__(self) -> None:
        self._kept = BoundedMemory[UUID, tuple[UUID, UUID, StageRecord]](TRACES_MAX)

    def keep(self, answer_id: UUID, attempt: Attempt) -> None:
        """Keep the record of the request in hand, which goes on."""
        if record := find_record():
            self._kept.put(answer_id, (attempt.tenant_id, attempt.user_id, record))

    def find(self, principal: Principal, answer_id: UUID) -> AnswerTrace:
        """Raises `NotFound` for one of somebody else, too."""
        tenant_id, user_id, record = self._kept.get(answer_id) or (None, None, None)
        if record is None or (tenant_id, user_id) != (principal.tenant_id, principal.user_id):
            raise NotFound(
                "the times of this answer are not known here",
                hint=f"the process that wrote an answer has those of its last {TRACES_MAX}",
            )
        return show(answer_id, record)


def show(answer_id: UUID, record: StageRecord) -> AnswerTrace:
    """The record as it is now."""
    names = [stage.name for stage in record.stages if stage.ended_s is not None]
    calls = sum(stage.name.startswith(CALLS) for stage in record.stages)
    complete = len(names) == len(record.stages) and names.count(SAVES) >= calls
    return AnswerTrace(
        answer_id,
        record.trace_id,
        complete,
        [
            StageTime(
                *(stage.name, stage.within.name if stage.within else None, round(stage.began_s * 1000, 3)),
                None if stage.ended_s is None else round((stage.ended_s - stage.began_s) * 1000, 3),
                stage.failed,
            )
            for stage in record.stages
        ],
    )
