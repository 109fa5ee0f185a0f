"""Waiting for a dependency at the command line, for a bounded time.

Owns the one option `--wait`, and the loop behind it. Refuses to wait for anything but `DependencyUnavailable`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from runtime.deadline import Deadline, backoff_s
from runtime.errors import DependencyUnavailable

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def wait_option(
    default_s: float, meaning: str = "How long to wait for a dependency that does not answer."
) -> Callable[[F], F]:
    """`--wait SECONDS`, given to the command as `wait_s`."""
    return click.option(
        "--wait",
        "wait_s",
        type=click.FloatRange(0),
        default=default_s,
        show_default=True,
        metavar="SECONDS",
        help=meaning,
    )


def retry_until(deadline: Deadline, call: Callable[[], T], pause_s_max: float = 1.0) -> T:
    """What `call` returns, repeated while it raises `DependencyUnavailable` and there is time left."""
    for pause_s in backoff_s(max_s=pause_s_max):
        try:
            return call()
        except DependencyUnavailable:
            if deadline.left_s <= pause_s:
                raise
        deadline.clock.sleep(pause_s)
    raise AssertionError("back-off never ends")
