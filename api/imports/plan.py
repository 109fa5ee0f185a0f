"""Decides what each change of a file means for the ADRs of a log. Pure: state and changes in, rows out.

The rules, so that an independent count can be made from a history alone:
- A change is one version, of the ADR that its path leads to. A path leads to the ADR that lives there, else to the one
  that was deleted there last: a file that comes back is the same decision (`restore`), its history stays in one place.
- A rename keeps the ADR and moves its path. Renames and deletions of one commit are taken out before anything is put
  in, so files can swap names. One that lands on a living path ends the ADR there, with a version that says so.
- A change of an unknown path creates; a deletion of one is refused, for there is nothing to delete.
- What was refused once stays refused: applied in a later run, it would come after the changes that followed it.
- The number is what the file name (else the heading) says, if no other ADR of the log has it; it is never invented, and
  changes only when the file is renamed to another number. A deleted ADR gives its number up to a file that claims it.
- What cannot be text in Postgres keeps its bytes beside a readable body. Nothing is repaired.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from itertools import groupby
from typing import Literal
from uuid import UUID

import msgspec

from api.adrs.document import ParsedAdr, parse
from api.adrs.mentions import number_of_path
from api.imports.schemas import (
    AUTHOR_CHARS_MAX,
    MESSAGE_CHARS_MAX,
    PATH_CHARS_MAX,
    REF_CHARS_MAX,
    ImportEvent,
    Remark,
)
from connectors.reading.dates import day_order
from connectors.reading.words import WORDS, Words
from runtime.decoding import decode
from runtime.ids import new_id

_UNREADABLE = re.compile("[\\0\ufffd]+")

BODY_GROWTH_MAX = 2
"""Bytes of a body for each byte of its file. Both are kept, and a record of the topic that versions are captured to
holds four times the largest text. Letters of other encodings take two; what takes more is not text."""

VersionChange = Literal["create", "update", "rename", "delete", "restore"]


@dataclass(slots=True)
class PlannedHead:
    """An ADR as the plan has it so far. `stored_*` is what the database still has; `version` 0 is not there yet."""

    adr_id: UUID
    number: int | None = None
    label: str | None = None
    title: str = ""
    status: str = "unknown"
    version: int = 0
    source_key: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    body: str | None = None
    original: bytes | None = None
    document: ParsedAdr | None = None
    is_new: bool = False
    stored_number: int | None = None
    stored_source_key: str | None = None


class VersionRow(msgspec.Struct, frozen=True):
    """A row of app.adr_versions."""

    adr_id: UUID
    version: int
    change: VersionChange
    title: str
    status: str
    body: str
    original: bytes | None
    message: str
    author: str
    source_key: str
    source_ref: str
    effective_at: datetime


@dataclass(slots=True)
class State:
    """What the database knows of the paths and numbers that a batch mentions."""

    live: dict[str, PlannedHead] = field(default_factory=dict)
    deleted: dict[str, PlannedHead] = field(default_factory=dict)
    numbers: dict[int, PlannedHead] = field(default_factory=dict)
    known: set[tuple[str, str]] = field(default_factory=set)
    refused: dict[tuple[str, str], Remark] = field(default_factory=dict)


@dataclass(slots=True)
class BatchPlan:
    """What a batch does. `touched` are the heads to write, in the order in which they were first met."""

    versions: list[VersionRow] = field(default_factory=list)
    touched: dict[UUID, PlannedHead] = field(default_factory=dict)
    applied: int = 0
    skipped: int = 0
    refused: list[Remark] = field(default_factory=list)
    odd: list[Remark] = field(default_factory=list)

    def add(self, part: BatchPlan) -> None:
        """Count what another batch did, too. `touched` stays: what it did is written already."""
        self.versions += part.versions
        self.applied += part.applied
        self.skipped += part.skipped
        self.refused += part.refused
        self.odd += part.odd


class ReadableEvent(msgspec.Struct, frozen=True):
    """A change that may be applied: bounded, with its text read. `document` is None for a deletion."""

    event: ImportEvent
    body: str = ""
    original: bytes | None = None
    document: ParsedAdr | None = None
    remarks: tuple[Remark, ...] = ()

    @property
    def number(self) -> int | None:
        return self.document.number if self.document else None


def remark(event: ImportEvent, code: str, detail: str) -> Remark:
    return Remark(event.path[:PATH_CHARS_MAX], event.ref[:REF_CHARS_MAX], code, detail)


# ------------------------------------------------------------------------------------------------ reading one change


def prepare_all(
    events: Sequence[ImportEvent], content_bytes_max: int, words: Words = WORDS
) -> list[ReadableEvent | Remark]:
    """Read the texts of a batch. Their dates tell together whether their authors write the day before the month."""
    contents = [content for event in events if (content := event.bytes_()) is not None]
    day_first = day_order(
        content.decode("utf-8", "replace") for content in contents if len(content) <= content_bytes_max
    )
    return [prepare(event, content_bytes_max, day_first=day_first, words=words) for event in events]


def prepare(
    event: ImportEvent, content_bytes_max: int, *, day_first: bool | None = None, words: Words = WORDS
) -> ReadableEvent | Remark:
    """Read a change's text, or say why the change is refused."""
    if fault := _fault(event):
        return remark(event, "invalid-input", fault)
    if event.change == "D":
        return ReadableEvent(event)
    content = event.bytes_()
    size_bytes = event.size_bytes if content is None else len(content)
    if size_bytes > content_bytes_max:
        return remark(event, "too-large", f"the text has {size_bytes} bytes, and one ADR may have {content_bytes_max}")
    if content is None:
        return remark(event, "invalid-input", "the change has no content")
    body, original = readable(content)
    document = parse(body, path=event.path, day_first=day_first, words=words)
    where = {place.oddity: f" (line {place.line}: {place.text!r})" for place in document.places}
    remarks = [remark(event, each, _ODDITIES.get(each, each) + where.get(each, "")) for each in document.oddities]
    if original is not None:
        remarks.append(
            remark(
                event,
                "not-text",
                "not UTF-8, or it holds U+0000: read as well as it can be, and the original bytes are kept",
            )
        )
    if document.role != "record":
        remarks.append(remark(event, document.role, f"reads as {_ROLES[document.role]}, not as a decision"))
    return ReadableEvent(event, body, original, document, tuple(remarks))


_ROLES: Mapping[str, str] = {
    "index": "an index of decisions",
    "template": "a template for decisions",
    "companion": "a companion of a decision, such as a plan or notes",
}
_ODDITIES: Mapping[str, str] = {
    "empty": "the file is empty",
    "no-title": "no title was found; the file name stands in",
    "long-title": "the title is cut",
    "no-status": "no status was found",
    "unknown-status": "the status is none that is known; the text keeps it",
    "weak-status": "what the status says is not certain: the text keeps it",
    "contradicting-status": "the status says two things: the text keeps them",
    "placeholder": "the status is still the template's choice of several",
    "number-mismatch": "the heading has another number than the file name, which counts",
    "mixed-line-endings": "line ends of more than one kind",
    "byte-order-mark": "starts with a byte order mark",
    "front-matter-unclosed": "front matter is opened and never closed",
    "front-matter-broken": "front matter is not valid: what could be read of it was",
    "unknown-date": "the date is ambiguous or not understood",
    "links-capped": "more links than are kept",
}


def readable(content: bytes) -> tuple[str, bytes | None]:
    """The text of a file; and its bytes as well, when Postgres could not give them back from the text.

    What cannot be read is one replacement character, however long it is: written out for each byte it would be three
    times as large as the file, and both together too large for a record of the topic that versions are captured to.
    """
    found = decode(content)
    body = _UNREADABLE.sub("\ufffd", found.text)
    if found.encoding == "utf-8" and found.exact:
        return body, content if "\0" in found.text else None
    if len(body.encode()) > BODY_GROWTH_MAX * len(content) + 3:
        body = _UNREADABLE.sub("\ufffd", content.decode("utf-8", "replace"))
    return body, content


def _fault(event: ImportEvent) -> str:
    for name, value, chars_max in (
        ("path", event.path, PATH_CHARS_MAX),
        ("old_path", event.old_path or "", PATH_CHARS_MAX),
        ("ref", event.ref, REF_CHARS_MAX),
    ):
        if len(value) > chars_max:
            return f"`{name}` has {len(value)} characters, at most {chars_max}"
    if event.change == "R" and not event.old_path:
        return "a rename needs `old_path`"
    if event.committed_at.tzinfo is None:
        return "`committed_at` needs a time zone"
    try:
        event.committed_at.astimezone(UTC)
    except OverflowError:
        return "`committed_at` lies outside of the years 1 to 9999, in UTC"
    return ""


# -------------------------------------------------------------------------------------------------------- the batch


def plan(changes: Sequence[ReadableEvent], state: State, *, snapshot: bool = False) -> BatchPlan:
    """What `changes` do to `state`, which is used up by it."""
    if snapshot:
        state.refused.clear()  # what is there now is the newest there is
    planner = _Planner(state, snapshot)
    fresh = [change for change in changes if planner.is_unknown(change)]
    for _, commit in groupby(fresh, key=lambda change: change.event.ref):
        planner.apply(list(commit))
    return planner.result


@dataclass(slots=True)
class _Planner:
    """Plans a batch, commit by commit. `moving` is what left its path in the commit at hand, `odd` what is said of the
    change at hand."""

    state: State
    snapshot: bool
    result: BatchPlan = field(default_factory=BatchPlan)
    moving: dict[str, PlannedHead] = field(default_factory=dict)
    odd: list[Remark] = field(default_factory=list)

    def is_unknown(self, change: ReadableEvent) -> bool:
        key = (change.event.path, change.event.ref)
        if key in self.state.known:
            self.result.skipped += 1
            return False
        if key in self.state.refused:
            self.result.refused.append(self.state.refused[key])
            return False
        self.state.known.add(key)
        return True

    def apply(self, commit: Sequence[ReadableEvent]) -> None:
        """All that leaves its path is taken out before anything arrives."""
        self.moving = {}
        for change in commit:
            self._take_out(change.event)
        for change in commit:
            self.odd = list(change.remarks)
            if change.event.change == "D":
                self._end(change.event)
            else:
                self._put(change)

    def _take_out(self, event: ImportEvent) -> None:
        """What leaves its path, and the number that a rename gives up."""
        leaves = event.old_path if event.change == "R" else event.path if event.change == "D" else None
        if leaves is None or (head := self.state.live.pop(leaves, None)) is None:
            return
        self.moving[leaves] = head
        if event.change == "D":
            head.deleted_at = event.committed_at
        elif number_of_path(event.path) not in (None, head.number) and head.number is not None:
            self.state.numbers.pop(head.number, None)

    def _end(self, event: ImportEvent) -> None:
        if (head := self.moving.pop(event.path, None)) is None:
            self.result.refused.append(remark(event, "unknown-path", "nothing to delete: the log has no such file"))
            return
        self._delete(head, event)
        self.result.applied += 1

    def _put(self, change: ReadableEvent) -> None:
        event = change.event
        head, kind = self._find(event)
        if self.snapshot and kind == "update" and head.body == change.body and head.original == change.original:
            self.result.skipped += 1
            return
        displaced = self.state.live.get(event.path)
        if displaced is not None and displaced is not head:
            self._note(event, "overwritten", f"a rename put this file over {displaced.title!r}, which ends here")
            self._delete(displaced, event)
        self._write(head, kind, change)
        self.result.odd += self.odd
        self.result.applied += 1

    def _find(self, event: ImportEvent) -> tuple[PlannedHead, VersionChange]:
        """The ADR that a change is about, and what the change is to it."""
        if event.change == "R" and event.old_path is not None:
            if (head := self.moving.pop(event.old_path, None)) is not None:
                return head, "rename"
            self._note(event, "unknown-path", f"renamed from {event.old_path}, which the log does not have")
        if (head := self.state.live.get(event.path)) is not None:
            if event.change == "A" and not self.snapshot:
                self._note(event, "added-again", "added where a file is already: taken as an edit")
            return head, "update"
        if event.change == "M":
            self._note(event, "unknown-path", "modified, and the log does not have it: taken as new")
        if (head := self.state.deleted.pop(event.path, None)) is not None:
            return head, "restore"
        return PlannedHead(new_id(), is_new=True), "create"

    def _note(self, event: ImportEvent, code: str, detail: str) -> None:
        self.odd.append(remark(event, code, detail))

    def _write(self, head: PlannedHead, kind: VersionChange, change: ReadableEvent) -> None:
        event, document = change.event, change.document
        assert document is not None
        if self.snapshot and kind == "create" and document.date is not None:
            # The time of a file says when it was copied; its text, when the decision was made.
            told = datetime.combine(document.date, time(), UTC)
            event = msgspec.structs.replace(event, committed_at=min(told, event.committed_at))
        self._number(head, kind, change)
        head.title, head.status, head.label = document.title, document.status, document.label_beside_number
        head.document = document
        head.body, head.original = change.body, change.original
        head.source_key, head.deleted_at = event.path, None
        self.state.live[event.path] = head
        self._append(head, kind, event, event.path)

    def _delete(self, head: PlannedHead, event: ImportEvent) -> None:
        assert head.body is not None, "the text of what may be deleted is loaded"
        path = head.source_key or event.path
        self.state.live.pop(path, None)
        self.state.deleted[path] = head
        head.deleted_at = event.committed_at
        self._append(head, "delete", event, path)

    def _append(self, head: PlannedHead, kind: VersionChange, event: ImportEvent, path: str) -> None:
        head.version += 1
        head.created_at = head.created_at or event.committed_at
        head.updated_at = event.committed_at
        self.result.touched.setdefault(head.adr_id, head)
        self.result.versions.append(
            VersionRow(
                adr_id=head.adr_id,
                version=head.version,
                change=kind,
                title=head.title,
                status=head.status,
                body=head.body or "",
                original=head.original,
                message=event.subject[:MESSAGE_CHARS_MAX],
                author=event.author[:AUTHOR_CHARS_MAX],
                source_key=path,
                source_ref=event.ref,
                effective_at=event.committed_at,
            )
        )

    def _number(self, head: PlannedHead, kind: VersionChange, change: ReadableEvent) -> None:
        """Give `head` the number that its file claims, if it may have it."""
        event = change.event
        wanted = number_of_path(event.path) if kind == "rename" else change.number
        if wanted is None or wanted == head.number or (head.number is not None and kind != "rename"):
            return
        before, holder = head.number, self.state.numbers.get(wanted)
        if holder is not None and holder is not head and holder.deleted_at is None:
            if kind != "update":  # said once, not with every edit
                self._note(event, "number-taken", f"{wanted} is the number of {holder.title!r}; this one has none")
            head.number = None
            return
        if holder is not None and holder is not head:
            self._note(event, "number-moved", f"{wanted} was the number of {holder.title!r}, which is deleted")
            holder.number = None
            self.result.touched.setdefault(holder.adr_id, holder)
        if before is not None:
            self._note(event, "renumbered", f"the file was renamed from number {before} to {wanted}")
        head.number = wanted
        self.state.numbers[wanted] = head
