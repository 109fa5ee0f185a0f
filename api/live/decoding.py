"""What the records of change capture say, decoded once for all readers.

Owns the schemas that this process knows, and the asking for new ones before somebody has to wait for them. Refuses to
keep records: the rings do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from api.live import rows
from api.live.ring import RowChange
from connectors.kafka.records import Record
from connectors.registry import RegistryClient
from runtime.errors import AdriaticError, DependencyUnavailable
from runtime.settings import RegistrySettings
from schemas.codec import HEADER, Decoder, schema_id_of

SCHEMAS_MAX = 1024
"""Schemas that are remembered as asked for."""


class ChangeDecoder:
    """One of a process. On the event loop; the registry is asked on threads."""

    def __init__(self, settings: RegistrySettings) -> None:
        self.fault: str | None = None
        """Why a schema could not be had, the last time that one was asked for."""
        self._registry = RegistryClient(settings)
        self._decoder = Decoder(self._registry)
        self._converters: dict[int, dict[str, rows.Convert]] = {}
        self._heads: set[bytes] = set()
        self._asking: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        self._registry.close()

    def learn(self, records: Sequence[Record]) -> None:
        """Ask for schemas that were never seen, before somebody has to wait for them."""
        for record in records:
            value = record.value
            if value is None or (head := value[: HEADER.size]) in self._heads:
                continue
            self._heads.add(head)
            if len(self._heads) > SCHEMAS_MAX:
                self._heads.clear()
            task = asyncio.create_task(self._ask(value), name="live schema")
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask(self, value: bytes) -> None:
        try:
            await self._find_converters(schema_id_of(value))
        except AdriaticError:
            self._heads.discard(value[: HEADER.size])  # the next record asks again

    async def decode(self, change: RowChange) -> dict[str, rows.Convert]:
        """Makes `change.decoded`; returns how its values are shown. Raises `DataError` when it cannot be read, and
        `DependencyUnavailable` when the registry does not say how."""
        value = change.record.value or b""
        converters = await self._find_converters(schema_id_of(value))
        if change.decoded is None:
            change.decoded = self._decoder.decode(value)
        return converters

    async def _find_converters(self, schema_id: int) -> dict[str, rows.Convert]:
        if schema_id not in self._converters:
            try:
                schema = await asyncio.to_thread(self._registry.schema, schema_id)
            except DependencyUnavailable as error:
                self.fault = str(error)
                raise
            self._converters[schema_id] = rows.find_converters(schema)
        self.fault = None
        return self._converters[schema_id]
