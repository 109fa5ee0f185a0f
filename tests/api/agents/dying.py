"""A worker in a process of its own, which kills itself at a boundary of a step.

A boundary is before a step is written down, behind that, and behind what it came to. Two are none of these: `acted` is
when a tool has done its work and nobody has written that down, and `written` when a model has said its first word. The
process is made anew for each death, from one that has imported everything already.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any, Final, Literal

from api.agents import transcript
from connectors.postgres.connections import connect
from runtime.settings import Settings
from tests.api.agents.world import working
from tests.patience import PATIENCE_S, until

Boundary = Literal["before", "begun", "acted", "over", "written"]
BOUNDARIES: Final[tuple[Boundary, ...]] = ("before", "begun", "over")

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.api.agents.dying"])


def work_until(settings: Settings, task_id: str, boundary: Boundary | None) -> int | None:
    """Work in another process, which dies at the first boundary of this kind that it comes to; None: it ends when the
    task does. Returns its exit code, which is negative for one that was killed."""
    process = _CONTEXT.Process(target=_work, args=(settings, task_id, boundary), daemon=True)
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode is not None, "it neither ended nor died"
    return process.exitcode


def _work(settings: Settings, task_id: str, boundary: Boundary | None) -> None:
    if boundary == "before":
        transcript.begin = _die_instead  # type: ignore[assignment]
    elif boundary == "begun":
        transcript.note_attempt = _die_instead  # type: ignore[assignment]
        _tools_die()
    elif boundary == "acted":
        _die_behind_tool()
    elif boundary == "over":
        _die_behind_record()
    elif boundary == "written":
        _die_at_the_first_word()

    def ended() -> bool:
        with connect(settings.postgres) as connection:
            row = connection.execute("select finished_at from app.jobs where job_id = %s", [task_id]).fetchone()
        return bool(row and row[0])

    with working(settings):
        until(ended, "the end of the task")


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def _die_instead(*_: Any) -> None:
    _kill()


def _tools_die() -> None:
    """A tool that is written down is not run any more."""
    from api.agents.toolset import AgentTools

    AgentTools.run = _die_instead  # type: ignore[method-assign, assignment]


def _die_behind_tool() -> None:
    """What a tool did is committed; then nothing more happens."""
    from api.agents.toolset import AgentTools

    run: Callable[..., Any] = AgentTools.run

    async def run_and_die(*arguments: Any) -> None:
        await run(*arguments)
        _kill()

    AgentTools.run = run_and_die  # type: ignore[method-assign, assignment]


def _die_behind_record() -> None:
    """What a step came to is committed; then nothing more happens."""
    from api.agents.acting import AgentActor

    record: Callable[..., Any] = AgentActor._record

    async def record_and_die(*arguments: Any, **options: Any) -> None:
        await record(*arguments, **options)
        _kill()

    AgentActor._record = record_and_die  # type: ignore[method-assign]


def _die_at_the_first_word() -> None:
    """A model has begun to write words, and is not read any more."""
    from api.chat import hearing
    from api.chat.schemas import TextDelta

    hear = hearing._HeardAnswer.hear

    def hear_and_die(heard: Any, event: Any) -> None:
        hear(heard, event)
        if isinstance(event, TextDelta):
            _kill()

    hearing._HeardAnswer.hear = hear_and_die  # type: ignore[method-assign, assignment]
