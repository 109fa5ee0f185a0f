"""Applications for the API's tests. Putting one together takes longer than most tests do, so one is used again.

Owns which may be: one whose routes would be the same, and that no other test has at the time. What it holds open is
made anew by each lifespan.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from api.app import Api, create_app
from dataflows.catalog import views
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.ops import Health
from runtime.settings import ApiSettings, Settings

_FREE: list[tuple[ApiSettings, Api]] = []


@contextmanager
def borrow(settings: Settings, clock: Clock = SYSTEM_CLOCK) -> Iterator[Api]:
    """An application of these settings, not started. Give it back stopped."""
    at = next((at for at, (made_for, _) in enumerate(_FREE) if made_for == settings.api), None)
    app = create_app(settings, views()) if at is None else _FREE.pop(at)[1]
    app.state.settings, app.state.clock, app.state.health = settings, clock, Health()
    app._edge = None  # it has the clock
    yield app
    _FREE.append((settings.api, app))
