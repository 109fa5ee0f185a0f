"""Sends a history to the API: batches that keep a commit together, and an account of what was read.

Owns how changes are packed and counted. Refuses to print: `adriatic.cli.imports` shows what happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from adriatic.cli.remote import Remote
from api.imports.schemas import (
    EXAMPLES_MAX,
    LOGS_MAX,
    BatchResult,
    FinishedImport,
    Import,
    ImportEvent,
    Remark,
    StartImport,
    Tally,
)
from connectors.history import Fault, FileChange, HistorySource, PartedSource
from connectors.history.logs import MAIN, name_logs, names_of
from runtime.clock import Clock

BATCH_EVENTS_MAX = 200
"""Changes in one request: about half a second of work for the API, so progress moves and a retry costs little."""
ENVELOPE_BYTES = 64
"""Size of a request beside its changes."""


@dataclass(frozen=True, slots=True)
class IntoLog:
    """`log`; or, where a folder is named, one of `or_logs` that has records of it already."""

    log: str
    folder: str | None = None
    or_logs: tuple[str, ...] = ()


def split_by_log(source: PartedSource, log: str | None) -> list[tuple[HistorySource, IntoLog]]:
    """The source in parts, each with its log: all of it into `log`, or each folder of records into its own."""
    if log is not None:
        return [(source, IntoLog(log))]
    named = name_logs(source.paths())
    if len(named) < 2:
        folder = next(iter(named), "")
        return [(source, IntoLog(MAIN, folder, tuple(names_of(folder)[:LOGS_MAX])))]
    return [
        (
            source.part(folder, [other for other in named if other != folder]),
            IntoLog(slug, folder, (MAIN, *names_of(folder))[:LOGS_MAX]),
        )
        for folder, slug in named.items()
    ]


@dataclass(slots=True)
class Sent:
    """What one import did. `unread` are entries of the source that are no changes."""

    source: HistorySource
    started: Import
    unread: dict[str, Tally] = field(default_factory=dict)
    events: int = 0
    took_s: float = 0.0
    finished: FinishedImport | None = None


def event_of(change: FileChange) -> ImportEvent:
    """The change as it travels: text as text, and bytes that are no text in base64."""
    text = _text(change.content)
    return ImportEvent(
        ref=change.ref,
        committed_at=change.committed_at,
        change=change.change,
        path=change.path,
        old_path=change.old_path,
        author=change.author,
        subject=change.subject,
        content=text,
        content_base64=change.content if text is None else None,
        size_bytes=change.size_bytes,
    )


def _text(content: bytes | None) -> str | None:
    if content is None or b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def batches(
    changes: Iterable[FileChange], *, bytes_max: int, events_max: int = BATCH_EVENTS_MAX
) -> Iterator[tuple[int, bytes]]:
    """(number of changes, request body), in order. A commit is not split, unless it is larger than a request may be."""
    batch: list[bytes] = []
    for commit in _commits(changes, bytes_max):
        if batch and not _fits([*batch, *commit], bytes_max, events_max):
            yield len(batch), _body(batch)
            batch = []
        for encoded in commit:
            if batch and not _fits([*batch, encoded], bytes_max, events_max):
                yield len(batch), _body(batch)
                batch = []
            batch.append(encoded)
    if batch:
        yield len(batch), _body(batch)


def _commits(changes: Iterable[FileChange], bytes_max: int) -> Iterator[list[bytes]]:
    """Changes encoded, commit by commit; of a very large commit, a part at a time."""
    commit: list[bytes] = []
    ref = ""
    for change in changes:
        if commit and (change.ref != ref or len(commit) >= BATCH_EVENTS_MAX):
            yield commit
            commit = []
        ref = change.ref
        commit.append(_encode(change, bytes_max))
    if commit:
        yield commit


def _encode(change: FileChange, bytes_max: int) -> bytes:
    """A change that a request can hold: control characters take six bytes each as text, and less in base64."""
    event = event_of(change)
    encoded = msgspec.json.encode(event)
    if len(encoded) + ENVELOPE_BYTES > bytes_max and event.content is not None:
        encoded = msgspec.json.encode(msgspec.structs.replace(event, content=None, content_base64=change.content))
    return encoded


def _fits(encoded: list[bytes], bytes_max: int, events_max: int) -> bool:
    return len(encoded) <= events_max and sum(map(len, encoded)) + len(encoded) + ENVELOPE_BYTES <= bytes_max


def _body(encoded: list[bytes]) -> bytes:
    return b'{"events":[' + b",".join(encoded) + b"]}"


def send(
    remote: Remote,
    source: HistorySource,
    into: IntoLog,
    clock: Clock,
    progress: Callable[[int], None],
    *,
    bytes_max: int,
) -> Sent:
    """Import `source` into a log. `progress` is told how many entries of the source were dealt with."""
    wanted = StartImport(source.name[-500:], into.log, source.snapshot, into.folder, into.or_logs)
    began_s = clock.monotonic()
    started = remote.request("POST", "/v1/imports", Import, body=wanted)
    sent = Sent(source, started)
    path = f"/v1/imports/{started.import_id}"
    for events, body in batches(_changes(source, sent, progress), bytes_max=bytes_max):
        remote.request("POST", f"{path}/events", BatchResult, body=body)
        sent.events += events
        progress(events)
    sent.took_s = clock.monotonic() - began_s
    sent.finished = remote.request("POST", f"{path}/finish", FinishedImport, body=b"")
    return sent


def _changes(source: HistorySource, sent: Sent, progress: Callable[[int], None]) -> Iterator[FileChange]:
    for item in source.changes():
        if isinstance(item, Fault):
            before = sent.unread.get(item.code, Tally(0))
            example = (Remark(item.where, "", item.code, item.detail),) if before.count < EXAMPLES_MAX else ()
            sent.unread[item.code] = Tally(before.count + 1, (*before.examples, *example))
            progress(1)
        else:
            yield item
