"""An import, from its start to its end: each batch is one transaction, and one bad change does not spoil it.

Owns what happens in which order, and the second attempt change by change when the database refuses a batch. Refuses to
know HTTP. A batch that is sent twice changes nothing the second time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import msgspec

from api.auth.users import Principal
from api.db import Connection, Database, savepoint, tenant_transaction
from api.edge import traceparent
from api.imports import store
from api.imports.links import KnownAdr, Resolver
from api.imports.plan import BatchPlan, ReadableEvent, plan, prepare_all, remark
from api.imports.schemas import (
    PATH_CHARS_MAX,
    REF_CHARS_MAX,
    BatchResult,
    FinishedImport,
    Import,
    ImportEvent,
    Remark,
    StartImport,
)
from api.requests import NOT_JSON, decode
from api.words import service as words
from connectors.postgres.errors import translate
from runtime import metrics
from runtime.errors import InvalidInput, Unprocessable
from runtime.logs import get_logger

log = get_logger("api.imports")


async def start(database: Database, principal: Principal, wanted: StartImport) -> Import:
    async with tenant_transaction(database, principal.tenant_id) as connection:
        return await store.start(connection, principal.tenant_id, wanted)


async def read(database: Database, principal: Principal, import_id: UUID) -> Import:
    async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
        return (await store.read(connection, import_id))[0]


async def receive(
    database: Database,
    principal: Principal,
    import_id: UUID,
    sent: Sequence[msgspec.Raw | ImportEvent],
    *,
    adr_bytes_max: int,
) -> BatchResult:
    """Apply a batch. Raises `NotFound` for an import that is not this tenant's."""
    read = [_read_event(raw, line) for line, raw in enumerate(sent, 1)]
    events = [event for event in read if isinstance(event, ImportEvent)]
    malformed = [event for event in read if isinstance(event, Remark)]
    # Reading 500 texts takes a few hundred milliseconds: in a thread, so that other requests go on.
    own = await words.load(database, principal.tenant_id)
    read_texts = await asyncio.to_thread(prepare_all, events, adr_bytes_max, own)
    changes = [item for item in read_texts if isinstance(item, ReadableEvent)]
    lines = [line for line, event in enumerate(read, 1) if isinstance(event, ImportEvent)]
    refused = [
        msgspec.structs.replace(item, line=line)
        for line, item in zip(lines, read_texts, strict=True)
        if isinstance(item, Remark)
    ]
    async with tenant_transaction(database, principal.tenant_id) as connection:
        _, log_id, snapshot = await store.read(connection, import_id)
        await store.lock_log(connection, log_id)
        batch = _Batch(connection, principal, log_id, snapshot)
        done = await batch.apply_all(changes)
        done.refused[:0] = refused
        await store.remember_refusals(connection, principal.tenant_id, log_id, done.refused)
        # What has not even the shape of a change may be sent again under the same name, put right.
        done.refused[:0] = malformed
        await store.count(connection, import_id, done, len(sent))
    _measure(done)
    return BatchResult(
        received=len(sent),
        applied=done.applied,
        skipped=done.skipped,
        versions=len(done.versions),
        refused=tuple(done.refused),
        odd=tuple(done.odd),
    )


def _read_event(raw: msgspec.Raw | ImportEvent, line: int) -> ImportEvent | Remark:
    if isinstance(raw, ImportEvent):
        return raw
    try:
        event: ImportEvent = decode(bytes(raw), ImportEvent)
    except InvalidInput as error:
        return Remark(*_find_names(raw), "invalid-input", error.detail, line)
    return event


def _find_names(raw: msgspec.Raw) -> tuple[str, str]:
    """Path and ref of what is no change, as far as it has them."""
    try:
        found = msgspec.json.decode(raw)
    except NOT_JSON:
        return "", ""
    names = (found.get(name) if isinstance(found, dict) else None for name in ("path", "ref"))
    path, ref = (name.replace("\0", "\ufffd") if isinstance(name, str) else "" for name in names)
    return path[:PATH_CHARS_MAX], ref[:REF_CHARS_MAX]


def _measure(done: BatchPlan) -> None:
    """Count what a batch did, after the commit: what was rolled back did not happen."""
    for outcome, number in (("applied", done.applied), ("skipped", done.skipped), ("refused", len(done.refused))):
        metrics.IMPORT_CHANGES.labels(outcome).inc(number)
    metrics.ADRS_CREATED.inc(sum(version.change == "create" for version in done.versions))


class _Batch:
    """One batch in one transaction."""

    def __init__(self, connection: Connection, principal: Principal, log_id: UUID, snapshot: bool) -> None:
        self._connection = connection
        self._principal = principal
        self._log_id = log_id
        self._snapshot = snapshot

    async def apply_all(self, changes: Sequence[ReadableEvent]) -> BatchPlan:
        """All of `changes` at once; if the database refuses that, each by itself, so that only the bad one is lost."""
        try:
            return await self._apply(changes)
        except Unprocessable as error:
            log.warning("batch refused, applying one by one", reason=error.detail, changes=len(changes))
        total = BatchPlan()
        for change in changes:
            try:
                total.add(await self._apply([change]))
            except Unprocessable as error:
                total.refused.append(remark(change.event, "unprocessable", f"the database refuses it: {error.detail}"))
        return total

    async def _apply(self, changes: Sequence[ReadableEvent]) -> BatchPlan:
        if not changes:
            return BatchPlan()
        state = await store.load(self._connection, self._log_id, changes, snapshot=self._snapshot)
        planned = plan(changes, state, snapshot=self._snapshot)
        with translate("apply changes"):
            async with savepoint(self._connection):
                await store.write(
                    self._connection,
                    self._principal.tenant_id,
                    self._log_id,
                    planned,
                    author_id=self._principal.user_id,
                    traceparent=traceparent(),
                )
        return planned


async def finish(database: Database, principal: Principal, import_id: UUID) -> FinishedImport:
    """Settle what only the whole log can say: numbers that became free, and what the links in the texts mean.

    Safe to repeat, and after it more may be imported.
    """
    async with tenant_transaction(database, principal.tenant_id) as connection:
        _, log_id, _ = await store.read(connection, import_id)
        await store.lock_log(connection, log_id)
        adrs = await store.load_adrs(connection, log_id)
        numbers = _free_numbers(adrs)
        await store.set_numbers(connection, log_id, numbers)
        settled = [msgspec.structs.replace(adr, number=numbers.get(adr.adr_id, adr.number)) for adr in adrs]
        await _resolve_links(connection, log_id, settled)
        odd = [
            Remark(adr.path or "", "", "number-settled", f"{adr.number} was free in the end")
            for adr in settled
            if adr.adr_id in numbers
        ]
        await store.finish(connection, import_id, odd)
        report, _, _ = await store.read(connection, import_id)
        return FinishedImport(report, await store.totals(connection, log_id))


def _free_numbers(adrs: Sequence[KnownAdr]) -> dict[UUID, int]:
    """Numbers for living ADRs that have none although they claim one that nobody has (any more)."""
    taken = {adr.number for adr in adrs}
    given: dict[UUID, int] = {}
    for adr in adrs:
        if adr.live and adr.path and adr.number is None and adr.wanted is not None and adr.wanted not in taken:
            taken.add(adr.wanted)
            given[adr.adr_id] = adr.wanted
    return given


async def _resolve_links(connection: Connection, log_id: UUID, adrs: Sequence[KnownAdr]) -> None:
    resolver = Resolver(adrs)
    links = await store.text_links(connection, log_id)
    changed = [
        (adr_id, kind, target, found)
        for adr_id, kind, target, known in links
        if (found := resolver.resolve(adr_id, target)) != known
    ]
    await store.point_links(connection, changed)
