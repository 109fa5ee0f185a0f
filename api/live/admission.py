"""Who may read live in this process, and how much all readers together may hold. Pure.

Owns the bounds and the count of what is taken. Refuses to wait: a reader who finds no room is told so at once.
"""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from runtime import metrics
from runtime.errors import DependencyUnavailable, RateLimited
from runtime.settings import ApiSettings

HELD_BYTES_MAX = 67_108_864
"""Snapshots that are not sent yet, of all readers of the process: 64 MiB."""
CATCH_UPS_MAX = 8
"""Readers that catch up from the log at once, in one process: each has a consumer of its own for that time."""


class Cuttable(Protocol):
    """A reader."""

    def cut_if_stalled(self) -> None:
        """Give everything back when nobody has taken anything for too long."""
        ...


class Admission:
    """One of a process."""

    def __init__(self, limits: ApiSettings) -> None:
        self.closing = False
        self.held_bytes = 0
        self.catch_ups = 0
        """Readers that catch up from the log right now."""
        self._limits = limits
        self._tenants: dict[Cuttable, UUID] = {}

    @property
    def readers(self) -> tuple[Cuttable, ...]:
        return tuple(self._tenants)

    def enter(self, tenant_id: UUID, reader: Cuttable) -> None:
        """A place for one reader. Raises `RateLimited` when the tenant has its share, `DependencyUnavailable` when the
        process is full."""
        limits = self._limits
        if self.closing:
            raise DependencyUnavailable("this process is about to end", hint="ask again")
        if sum(each == tenant_id for each in self._tenants.values()) >= limits.live_readers_per_tenant_max:
            raise RateLimited(
                f"{limits.live_readers_per_tenant_max} live reads of this tenant are open",
                hint="close one: one stream a page is enough (api.live_readers_per_tenant_max)",
            )
        if len(self._tenants) >= limits.live_readers_max:
            raise DependencyUnavailable(
                f"{limits.live_readers_max} live reads are open", hint="ask again later (api.live_readers_max)"
            )
        self._tenants[reader] = tenant_id
        metrics.LIVE_READERS.set(len(self._tenants))

    def leave(self, reader: Cuttable) -> None:
        """Give the place back. Idempotent."""
        self._tenants.pop(reader, None)
        metrics.LIVE_READERS.set(len(self._tenants))

    def hold(self, change_bytes: int) -> None:
        """Count bytes that a reader holds from now on, or no more when below zero. Raises `DependencyUnavailable` when
        they are too many, and then counts nothing."""
        if change_bytes > 0 and self.held_bytes + change_bytes > HELD_BYTES_MAX:
            raise DependencyUnavailable(
                "too many live reads begin at once", hint="ask again in some seconds: each begins with a snapshot"
            )
        self.held_bytes += change_bytes

    @property
    def may_catch_up(self) -> bool:
        return self.catch_ups < CATCH_UPS_MAX
