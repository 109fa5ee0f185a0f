"""Whether this process can serve, and if not, why.

Owns the check (database answers and is migrated, keys are loaded) and its pace. Refuses to depend on the pool: a busy
API is not a broken one, so the check has a connection of its own.
"""

from __future__ import annotations

import asyncio
from typing import Any

from api import watermarks
from api.auth.keys import KeyStore
from api.db import Database
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import AdriaticError
from runtime.ops import Health
from schemas import migrations

CHECK_EVERY_S = 2.0
"""Pace of the check that runs by itself, for the operators' port and for `facts`."""
REUSE_S = 0.5
"""A check younger than this answers for the next one too: several load balancers may ask at once."""
FRESH_S = 15.0
"""How long a found watermark may be shown: longer than the slowest check and its pace together."""
KEYS_S_MAX = 1.0
"""How long a check waits for the first keys. They come in milliseconds; an identity provider that hangs must not keep
whoever asks how this process is."""
CHECK_S_MAX = 4.0
"""Limit for one check. Kubernetes and most load balancers ask with a time-out of a few seconds."""


class Readiness:
    """Keeps a `Health` up to date. `check` is safe to call as often as one likes."""

    def __init__(self, database: Database, keys: KeyStore, health: Health, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._keys = keys
        self._health = health
        self._clock = clock
        self._lock = asyncio.Lock()
        self._checked_at_s = float("-inf")
        self._migrations = len(migrations.load())

    async def check(self) -> dict[str, Any]:
        """The report: `status` is ready or waiting, `reasons` says what for."""
        async with self._lock:
            if self._clock.monotonic() - self._checked_at_s > REUSE_S:
                await self._check_database()
                await self._check_keys()
                self._health.ready()
                self._checked_at_s = self._clock.monotonic()
        return self._health.report()

    async def run(self) -> None:
        """Check for ever; cancel it to end."""
        while True:
            await self.check()
            await asyncio.sleep(CHECK_EVERY_S)

    async def _check_database(self) -> None:
        try:
            async with asyncio.timeout(CHECK_S_MAX), self._database.single() as connection:
                applied = await connection.fetchval("select count(*) from ops.migrations")
                as_of = await watermarks.read(connection, watermarks.WORDS_VIEW)
        except TimeoutError:
            self._unknown(f"does not answer within {CHECK_S_MAX:g} s")
            return
        except AdriaticError as error:
            self._unknown(error.detail)
            return
        if applied < self._migrations:
            self._health.wait_for(
                "database", f"has {applied} of {self._migrations} migrations; `adriatic migrate` applies the others"
            )
            return
        self._health.clear("database")
        # Not a reason to take the API out of service: it serves everything else, and each answer says how old it is.
        fact = {"state": as_of.state, "lsn": as_of.lsn, "age_s": as_of.age_s}
        self._health.set_fact(watermarks.WORDS_VIEW, fact, FRESH_S)

    def _unknown(self, why: str) -> None:
        self._health.wait_for("database", why)
        self._health.set_fact(watermarks.WORDS_VIEW, {"state": "unknown"})

    async def _check_keys(self) -> None:
        if self._keys.loaded:
            self._keys.renew()
        else:
            await self._keys.refresh(KEYS_S_MAX)
        if self._keys.loaded:
            self._health.clear("keys")
            self._health.set_fact("keys", self._keys.fault or "loaded")
        else:
            self._health.wait_for("keys", self._keys.fault)
