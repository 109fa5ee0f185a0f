"""How a process of the pipeline starts, hears that it has to stop, and stays when it cannot go on.

Owns signals, logs, telemetry and the operators' port of the processes that serve nobody else.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from runtime import logs, ops, telemetry
from runtime.errors import Halted
from runtime.lifecycle import Lifecycle
from runtime.settings import Settings


def start(name: str, settings: Settings) -> Lifecycle:
    """Set up what every process has. SIGTERM and SIGINT ask the lifecycle to stop."""
    logs.configure(name, settings.telemetry)
    telemetry.configure(name, settings.telemetry)
    life = Lifecycle(ops.Health())
    on_stop(life.stop)
    if settings.telemetry.ops_port:
        ops.serve(settings.telemetry.ops_host, settings.telemetry.ops_port, life.health)
    return life


dead_letter_option = click.option(
    "--dead-letter-limit/--no-dead-letter-limit",
    default=True,
    help="Stop when too many records in a row, or too large a share, cannot be processed.",
)


def on_stop(stop: Callable[[], None]) -> None:
    """Let SIGTERM and SIGINT do `stop`, in the place of what they did before."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())


@contextmanager
def stay_when_halted(life: Lifecycle) -> Iterator[None]:
    """What must not go on stays up, not ready, with the reason: starting it again would not help."""
    try:
        yield
    except Halted as error:
        life.health.wait_for("operator", str(error))
        life.wait_for_stop()
