"""A secret for threads: the same owner of its value, for code that does not run in an event loop.

Owns when it is read: with the first use, with the first use after each interval, and at once when the other side
refuses it. Refuses to know how (`connectors/secrets`).
"""

from __future__ import annotations

import asyncio
import threading

from pydantic import SecretStr

from connectors.secrets import RETRY_S, Credential, SecretStore
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.secret_references import SecretReference
from runtime.settings import SecretSettings


class BlockingCredential:
    """One secret, for many threads. A call waits while it is read, at most for `secrets.timeout_s`; one that runs in an
    event loop's thread is a bug."""

    def __init__(self, text: SecretStr, settings: SecretSettings | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._settings = settings or SecretSettings()
        self._clock = clock
        self._lock = threading.Lock()
        self._credential = Credential(text, self._read, clock)
        self._value = "" if self._credential.reference else text.get_secret_value()
        self._next_s: float | None = None

    def get(self) -> str:
        """The value; what was read last, while its store does not answer. Raises `DependencyUnavailable` when it was
        never read."""
        if self._credential.reference is None:
            return self._value
        with self._lock:
            if self._next_s is None or self._clock.monotonic() >= self._next_s:
                asyncio.run(self._credential.refresh())
                waits_s = self._settings.refresh_s
                self._next_s = self._clock.monotonic() + (
                    min(waits_s, RETRY_S) if self._credential.is_missing else waits_s
                )
                self._value = asyncio.run(self._credential.get())
            elif self._credential.is_missing:
                self._value = asyncio.run(self._credential.get())
            return self._value

    def renew(self, refused: str) -> bool:
        """Somebody was refused with the value `refused`: whether there is another one now."""
        if self._credential.reference is None:
            return False
        with self._lock:
            is_other = asyncio.run(self._credential.renew(refused))
            if is_other:
                self._value = asyncio.run(self._credential.get())
            return is_other

    def hide(self, text: str) -> str:
        """A text of somebody else's, without the value and the one before it."""
        return self._credential.hide(text)

    async def _read(self, reference: SecretReference) -> str:
        # A store's clients belong to an event loop, and each reading has its own.
        store = SecretStore(self._settings, self._clock)
        try:
            return await store.read(reference)
        finally:
            await store.close()
