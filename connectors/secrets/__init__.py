"""Secrets that other places keep: read, kept in memory, and read again without a restart.

Owns each value once: whoever needs it asks its `Credential` at each use and keeps nothing. A value is read at the
start, again at each interval, and at once when the other side refuses it, though not more often than each
`REREAD_S_MIN` seconds. While a store does not answer, the value that was read last is used. Refuses to show a value:
not in an error, a log line, a metric or a `repr`.

Read next: `runtime/secret_references.py`, the forms of a reference; `vault` and `aws`, which are asked over a network;
`blocking`, for threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from pydantic import SecretStr

from connectors.secrets.aws import AwsSource
from connectors.secrets.vault import VaultSource
from runtime import metrics
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import AdriaticError, DependencyUnavailable
from runtime.logs import get_logger
from runtime.secret_references import LOCAL, SecretReference, SecretScheme, parse, read_local
from runtime.settings import SecretSettings

REREAD_S_MIN = 10.0
"""Least time between two readings because a value was refused, in seconds: a provider that refuses everything must not
become load on the store."""
RETRY_S = 5.0
"""Time until a value that was never read is tried again, in seconds."""
HIDDEN = "***"
HIDDEN_CHARS_MIN = 4
"""Shortest value that is hidden in texts: to blot out each letter of a message helps nobody."""
FAILURE_S = 1.0
"""Time for which everybody gets the error of the last reading at once, instead of a wait each, in seconds."""

log = get_logger("secrets")


class SecretSource(Protocol):
    """A place that keeps secrets."""

    async def read(self, reference: SecretReference) -> str:
        """The value, which is never empty. Raises `DependencyUnavailable`, without a word of a value."""

    async def close(self) -> None: ...


class _LocalSource:
    """See `SecretSource`. Files and variables of this machine."""

    async def read(self, reference: SecretReference) -> str:
        return await asyncio.to_thread(read_local, reference)

    async def close(self) -> None:
        return


class Credential:
    """One secret and its value. For many tasks of one event loop.

    `text` is what the setting says: a reference, or the value itself, which then never changes.
    """

    def __init__(
        self, text: SecretStr, read: Callable[[SecretReference], Awaitable[str]], clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.reference = parse(text.get_secret_value())
        self._value = None if self.reference else text.get_secret_value()
        self._seen: tuple[str, ...] = ()
        self._read = read
        self._clock = clock
        self._lock = asyncio.Lock()
        self._note_seen()
        self._failure: AdriaticError | None = None
        self._failed_s = 0.0
        self._refused_s: float | None = None
        self._listeners: list[Callable[[], object]] = []

    def __repr__(self) -> str:
        return f"Credential({self.reference or 'a value'})"

    @property
    def is_missing(self) -> bool:
        """Whether it was never read."""
        return self._value is None

    def on_change(self, listener: Callable[[], object]) -> None:
        """Call `listener` each time that another value than before was read."""
        self._listeners.append(listener)

    def hide(self, text: str) -> str:
        """A text of somebody else's, without the value and the one before it."""
        for value in self._seen:
            text = text.replace(value, HIDDEN)
        return text

    async def get(self) -> str:
        """The value. Waits only while it was never read. Raises `DependencyUnavailable` when it cannot be."""
        if self._value is None:
            async with self._lock:
                if self._value is None:
                    await self._load()
        assert self._value is not None
        return self._value

    async def renew(self, refused: str) -> bool:
        """Somebody was refused with the value `refused`: whether there is another one now."""
        async with self._lock:
            if self._value == refused and self._may_renew():
                self._refused_s = self._clock.monotonic()
                await self._try_load()
            return self._value is not None and self._value != refused

    async def refresh(self) -> None:
        """Read it again. What goes wrong is in the log and the metrics, and changes nothing."""
        async with self._lock:
            if self.reference:
                await self._try_load()

    def _may_renew(self) -> bool:
        since_s = None if self._refused_s is None else self._clock.monotonic() - self._refused_s
        return self.reference is not None and (since_s is None or since_s >= REREAD_S_MIN)

    def _note_seen(self) -> None:
        if self._value and len(self._value) >= HIDDEN_CHARS_MIN and self._value not in self._seen:
            self._seen = (self._value, *self._seen[:1])

    async def _try_load(self) -> None:
        try:
            await self._load()
        except AdriaticError as error:
            log.warning("a secret cannot be read", secret=str(self.reference), reason=error.detail, hint=error.hint)

    async def _load(self) -> None:
        assert self.reference, "a value that stands in the settings is not read"
        reads = metrics.SECRET_READS
        if self._failure and self._clock.monotonic() - self._failed_s < FAILURE_S:
            raise self._failure
        try:
            value = await self._read(self.reference)
        except AdriaticError as error:
            reads.labels(self.reference.scheme, "failed").inc()
            self._failure, self._failed_s = error, self._clock.monotonic()
            raise
        before, self._value, self._failure = self._value, value, None
        reads.labels(self.reference.scheme, "read" if before in (None, value) else "changed").inc()
        if before != value:
            self._note_seen()
            log.info("a secret is there, or another one", secret=str(self.reference))
            for listener in self._listeners:
                listener()


class SecretStore:
    """The credentials of one process: one for each reference, however many use it. `open` it in an event loop to have
    them read again, and close it."""

    def __init__(self, settings: SecretSettings, clock: Clock = SYSTEM_CLOCK) -> None:
        self._settings = settings
        self._clock = clock
        self._credentials: dict[str, Credential] = {}
        self._sources: dict[SecretScheme, SecretSource] = {scheme: _LocalSource() for scheme in LOCAL}
        self._refreshing: asyncio.Task[None] | None = None

    def credential(self, text: SecretStr) -> Credential:
        """The owner of the secret that a setting names. Raises `ValueError` for half a reference, and `Misconfigured`
        where what it needs is not installed or not set."""
        said = text.get_secret_value()
        if said not in self._credentials:
            if reference := parse(said):
                self._prepare(reference.scheme)
            self._credentials[said] = Credential(text, self.read, self._clock)
        return self._credentials[said]

    def open(self) -> None:
        """Begin to read: now, and then at each interval."""
        if self._refreshing is None and any(each.reference for each in self._credentials.values()):
            self._refreshing = asyncio.create_task(self._refresh(), name="secrets")

    async def close(self) -> None:
        """Read no more. What was read stays."""
        if self._refreshing:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        for source in self._sources.values():
            await source.close()

    def _prepare(self, scheme: SecretScheme) -> None:
        if scheme in self._sources:
            return
        if scheme == "vault":
            self._sources[scheme] = VaultSource(self._settings)
        else:
            self._sources[scheme] = AwsSource(self._settings)

    async def read(self, reference: SecretReference) -> str:
        """What is kept there now. Raises `DependencyUnavailable`, and `Misconfigured` as `credential` does."""
        self._prepare(reference.scheme)
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await self._sources[reference.scheme].read(reference)
        except TimeoutError:
            took = f"{reference} was not read within {self._settings.timeout_s:g} s"
            raise DependencyUnavailable(took, hint="is the store up, and secrets.timeout_s long enough?") from None

    async def _refresh(self) -> None:
        while True:
            for credential in self._credentials.values():
                await credential.refresh()
            waits_s = self._settings.refresh_s
            if any(credential.is_missing for credential in self._credentials.values()):
                waits_s = min(waits_s, RETRY_S)
            await asyncio.sleep(waits_s)
