"""Agents and kinds of job are declared in their rooms; the command that puts them together has all of them."""

from __future__ import annotations

from unittest.mock import Mock

from adriatic.cli.stream import OPENERS, job_kinds
from schemas.jobs import AGENT_TASK, BUILD_SPACE, DROP_SPACE, ERASE_ORIGINAL, EVALUATE_SPACE, KINDS, RESEARCH
from streams.catalog import agents


def test_every_agent_can_be_run() -> None:
    assert set(OPENERS) == set(agents())


def test_the_worker_knows_every_kind_that_can_be_asked_for() -> None:
    assert set(job_kinds(Mock(), Mock(), Mock(), Mock(), Mock())) == {
        *(*KINDS, ERASE_ORIGINAL, RESEARCH, AGENT_TASK),
        *(BUILD_SPACE, EVALUATE_SPACE, DROP_SPACE),
    }
