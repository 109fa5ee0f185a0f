"""Has a model write an answer from passages, through the chat gateway: its slots, limits, budgets, stop and books.

Owns one question to the model from its attempt to its last word, how long it may take, and that it is looked meanwhile
whether anybody still wants it. Whatever goes wrong with the model is said, and the answer is quotes then, as without
one. Refuses to judge what it wrote (`api/research/writing.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from api.chat.grounding import Question
from api.chat.hearing import hear
from api.chat.ledger import Attempt
from api.chat.supervisor import AnswerSupervisor, Wishes
from api.db import Database, tenant_transaction
from api.jobs.service import JobError
from api.jobs.wanted import WorkerHold, do_while_wanted
from api.research.composing import PassageText
from api.research.passes import ResearchDraft
from api.research.writing import DRAFT_CHARS_MAX, make_prompt
from runtime.errors import AdriaticError
from runtime.ids import new_id
from runtime.logs import get_logger

log = get_logger("research")

WRITING_S_MAX: Final = 45.0
"""Longest wait for a model's text, in seconds: two pages at the pace of the slower ones. A step may take a minute."""
STOPPED: Final = JobError("cancelled", "nobody wants the text any more", "")
LATE: Final = JobError(
    "model-late", f"the model did not end within {WRITING_S_MAX:g} s", "ask again, or name a faster model in llm.model"
)
EMPTY: Final = JobError("model-empty", "the model wrote nothing", "ask again, or name another model in llm.model")

_FIND_ASKER: Final = "select asked_by, key_id from app.research where tenant_id = $1 and research_id = $2"


class _Asker(NamedTuple):
    """Who asked, and the credential that it spends with."""

    user_id: UUID
    key_id: str | None


class ResearchAuthor:
    """Asks for one process, by its supervisor of answers."""

    def __init__(self, database: Database, supervisor: AnswerSupervisor, seconds_max: float = WRITING_S_MAX) -> None:
        self._database = database
        self._supervisor = supervisor
        self._seconds_max = seconds_max

    async def write(self, hold: WorkerHold, parts: Sequence[str], context: Sequence[PassageText]) -> ResearchDraft:
        """A text about these questions from these passages, or why there is none."""
        asker = await self._find(hold)
        if asker is None:
            return ResearchDraft(error=STOPPED)
        try:
            async with asyncio.timeout(self._seconds_max):
                draft = await do_while_wanted(self._database, hold, self._ask(hold, asker, parts, context))
        except TimeoutError:
            log.warning("a model did not end its text in time", seconds=self._seconds_max)
            return ResearchDraft(error=LATE)
        except AdriaticError as error:
            log.warning("an answer stays quotes", code=error.code, detail=error.detail)
            return ResearchDraft(error=JobError(error.code, error.detail, error.hint))
        return draft or ResearchDraft(error=STOPPED)

    async def _find(self, hold: WorkerHold) -> _Asker | None:
        async with tenant_transaction(self._database, hold.tenant_id, read_only=True) as connection:
            row = await connection.fetchrow(_FIND_ASKER, hold.tenant_id, hold.job_id)
        return _Asker(*row) if row is not None else None

    async def _ask(
        self, hold: WorkerHold, asker: _Asker, parts: Sequence[str], context: Sequence[PassageText]
    ) -> ResearchDraft:
        attempt = Attempt(
            tenant_id=hold.tenant_id,
            user_id=asker.user_id,
            session_id=hold.job_id,
            attempt_id=new_id(),
            request_id=str(hold.job_id),
            path=f"/v1/research/{hold.job_id}",
            key_id=asker.key_id,
        )
        said = await hear(self._supervisor.start(attempt, Question(make_prompt(parts, context)), Wishes()))
        text = said["text"][:DRAFT_CHARS_MAX].replace("\0", " ")
        keys = [each.passage.key for each in context]
        return ResearchDraft(said["model"], text, keys, None if text.strip() else EMPTY)
