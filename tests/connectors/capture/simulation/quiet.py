"""No logs: a schedule ends hundreds of sessions, and each says why."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog


def quieten() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@contextmanager
def quiet() -> Iterator[None]:
    """For a while."""
    before = structlog.get_config()
    quieten()
    try:
        yield
    finally:
        structlog.configure(**before)
