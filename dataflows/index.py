"""The flow `index`: a version of an ADR or a document becomes passages that are searchable by words, and a request for
their vectors.

Reads `adriatic.app.adr_versions` and `adriatic.app.document_versions`; keeps `mv.chunks` and `mv.search_state` (view
`search.words`); emits `embeddings.requested` for texts that have no vector yet. Refuses to embed: `dataflows.embed`
does, and completes the view by meaning.

Versions make it indifferent to order and repetition: only a version above the one in `mv.search_state` changes
anything. Passages of the version that is still findable by meaning stay until the new one's vectors are all there.

A document's version is its source's, and may be a time in milliseconds. Rows and requests number its versions by
themselves, in the order in which they were applied; `source_version` is what order and repetition are decided by.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID, uuid5

from connectors.kafka.source import BatchLimits
from connectors.postgres.sink import Connection
from dataflows import oracle_search
from dataflows.chunker import Chunk, chunk, title_line
from dataflows.comparison import Comparison
from dataflows.flow import Event, Flow
from runtime.errors import DependencyUnavailable, Unprocessable
from schemas.flows import KeptTable, KeptView
from schemas.headers import TRACEPARENT_HEADER
from schemas.search import WORDS_VIEW

VERSIONS_TOPIC = "adriatic.app.adr_versions"
DOCUMENTS_TOPIC = "adriatic.app.document_versions"
REQUESTS_TOPIC = "embeddings.requested"

ITEMS_MAX = 64
"""Texts in one request; the contract's bound."""
ITEMS_CHARS_MAX = 262_144
"""Characters of text in one request: at four bytes each still far below the topic's largest message."""

_EVENT_IDS = UUID("6b1f3c3e-5d0c-5f0a-9c55-0b9d6f6c2a11")
"""Namespace of request ids: a replay asks under the same id."""


Kind = Literal["adr", "document"]


class Adr(NamedTuple):
    """Whose, and which. Sorts in lock order. A document lies where an ADR does: its id is in `adr_id`."""

    tenant_id: UUID
    adr_id: UUID


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an ADR or a document as it is to be found. A deleted one has no passages.

    `version` of a document is 0 until `numbered` gave it a number.
    """

    adr: Adr
    version: int
    deleted: bool
    title: str
    status: str
    effective_at: datetime
    recorded_at: datetime
    traceparent: str | None
    chunks: tuple[Chunk, ...]
    kind: Kind = "adr"
    source_version: int | None = None
    """Of a document; None for an ADR, whose own version is the order."""

    @property
    def order(self) -> int:
        return self.version if self.source_version is None else self.source_version


class Known(NamedTuple):
    """The version that something is found by now: its number, and what a newer one must be above."""

    version: int
    order: int


@dataclass(frozen=True, slots=True)
class Effects:
    """Every version of the batch, sorted by ADR and order, and the orders of those whose rows were erased at the
    source."""

    versions: tuple[Version, ...]
    erased: tuple[tuple[Adr, int], ...]


class Index(Flow[Effects]):
    name = "index"
    about = "versions of ADRs and documents → passages, searchable by words"
    topics = (VERSIONS_TOPIC, DOCUMENTS_TOPIC)
    tables = (
        KeptTable("mv.search_state", compared="the newest version of each ADR, column by column"),
        KeptTable("mv.chunks", compared="that version cut anew: text, place, hash, words; and nothing beside it"),
        KeptTable(
            "mv.embedding_stats",
            not_compared="what was known when each version came: a replay or a redrive cannot find that out again",
        ),
    )
    views = (KeptView(WORDS_VIEW, "ADRs and documents that a search by words finds."),)
    limits = BatchLimits(records_max=200, bytes_max=2_097_152)

    @classmethod
    def compare(cls, comparison: Comparison) -> None:
        oracle_search.compare_words(comparison)

    def start(self, connection: Connection) -> None:
        active_space(connection)

    def transform(self, events: Sequence[Event]) -> Effects:
        versions: dict[tuple[Adr, int], Version] = {}
        erased: list[tuple[Adr, int]] = []
        for event in events:
            match event.value["op"]:
                case "c" | "r" | "u":
                    version = _version(event)
                    versions[version.adr, version.order] = version
                case "d":
                    before = event.value["before"]
                    erased.append((_adr(before), before["version"]))
                case other:
                    raise Unprocessable(f"a change of kind {other} on a table that only grows")
        return Effects(tuple(versions[key] for key in sorted(versions)), tuple(sorted(erased)))

    def apply(self, connection: Connection, effects: Effects) -> None:
        space = active_space(connection)
        known = _words_versions(connection, [version.adr for version in effects.versions])
        news = numbered([version for version in effects.versions if version.order > _order(known, version)], known)
        newest = list({version.adr: version for version in news}.values())
        if news:
            _count(connection, space, known, news)
            _write_state(connection, newest)
            _delete_superseded(connection, newest)
            _write_chunks(connection, newest)
            make_findable_by_meaning(connection, space, newest)
        if again := [
            replace(version, version=known[version.adr].version)
            for version in effects.versions
            if version.order == _order(known, version)
        ]:
            make_findable_by_meaning(connection, space, lacking_meaning(connection, again))
        _erase(connection, effects.erased)


def numbered(versions: Sequence[Version], known: Mapping[Adr, Known]) -> list[Version]:
    """`versions`, which are news and sorted, with the numbers of the documents' among them: one more than the last."""
    last = {adr: version.version for adr, version in known.items()}
    found: list[Version] = []
    for version in versions:
        if version.source_version is not None:
            version = replace(version, version=last.get(version.adr, 0) + 1)
        last[version.adr] = version.version
        found.append(version)
    return found


def _order(known: Mapping[Adr, Known], version: Version) -> int:
    return known[version.adr].order if version.adr in known else 0


def make_findable_by_meaning(connection: Connection, space: str, versions: Sequence[Version]) -> None:
    """At once where every text has its vector; else the missing ones are asked for. The ADRs' rows are locked."""
    if not versions:
        return
    missing = without_vector(connection, space, versions)
    _complete(connection, [version for version in versions if version.adr not in missing])
    _request(connection, space, versions, missing)


def active_space(connection: Connection) -> str:
    """The embedding space that searches read. Raises `DependencyUnavailable` until the flow `embed` made one."""
    row = connection.execute("select space from mv.embedding_spaces where active").fetchone()
    if row is None:
        raise DependencyUnavailable("there is no active embedding space yet", hint="`adriatic flow run embed` makes it")
    space: str = row[0]
    return space


def _version(event: Event) -> Version:
    row = event.value["after"]
    document = "document_id" in row
    deleted = row["kind" if document else "change"] == "delete"
    title = title_line(row["title"])
    return Version(
        adr=_adr(row),
        version=0 if document else row["version"],
        deleted=deleted,
        title=row["title"],
        status="" if document else row["status"],
        effective_at=datetime.fromisoformat(row["effective_at"]),
        recorded_at=event.record.committed_at or datetime.fromisoformat(row["recorded_at"]),
        traceparent=event.record.header(TRACEPARENT_HEADER) or row.get("traceparent"),
        chunks=() if deleted else tuple(chunk(title, row["body"])),
        kind="document" if document else "adr",
        source_version=row["version"] if document else None,
    )


def _adr(row: Any) -> Adr:
    return Adr(UUID(row["tenant_id"]), UUID(row["document_id"] if "document_id" in row else row["adr_id"]))


# --- SQL ------------------------------------------------------------------------------------------------------------


def _words_versions(connection: Connection, adrs: Iterable[Adr]) -> dict[Adr, Known]:
    """The version that each ADR is found by now. Locks the rows, in the order that every flow locks them in."""
    tenants, ids = _columns(sorted(set(adrs)))
    rows = connection.execute(
        "select s.tenant_id, s.adr_id, s.words_version, coalesce(s.source_version, s.words_version) "
        "from mv.search_state s join unnest(%s::uuid[], %s::uuid[]) as a (tenant_id, adr_id) using (tenant_id, adr_id) "
        "order by s.tenant_id, s.adr_id for update of s",
        [tenants, ids],
    )
    return {Adr(tenant_id, adr_id): Known(version, order) for tenant_id, adr_id, version, order in rows}


def lacking_meaning(connection: Connection, versions: Sequence[Version]) -> list[Version]:
    """Of versions that are known already: those that wait for vectors. Such a version comes again after a slot was
    lost, and the request for its vectors may have been lost with it. Asking twice is cheap: a text is embedded once."""
    tenants, ids = _columns([version.adr for version in versions])
    rows = connection.execute(
        "select s.tenant_id, s.adr_id from mv.search_state s "
        "join unnest(%s::uuid[], %s::uuid[]) as a (tenant_id, adr_id) using (tenant_id, adr_id) "
        "where not s.deleted and s.meaning_version is distinct from s.words_version",
        [tenants, ids],
    ).fetchall()
    waiting = {Adr(tenant_id, adr_id) for tenant_id, adr_id in rows}
    return [version for version in versions if version.adr in waiting]


def _write_state(connection: Connection, versions: Sequence[Version]) -> None:
    connection.cursor().executemany(
        "insert into mv.search_state as s (tenant_id, adr_id, words_version, deleted, title, status, effective_at, "
        "recorded_at, words_at, chunks, kind, source_version) "
        "values (%s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp(), %s, %s, %s) "
        "on conflict (tenant_id, adr_id) do update set words_version = excluded.words_version, "
        "deleted = excluded.deleted, title = excluded.title, status = excluded.status, "
        "effective_at = excluded.effective_at, recorded_at = excluded.recorded_at, words_at = excluded.words_at, "
        "meaning_at = null, chunks = excluded.chunks, source_version = excluded.source_version "
        "where s.words_version < excluded.words_version",
        [
            (
                *version.adr,
                version.version,
                version.deleted,
                version.title,
                version.status,
                version.effective_at,
                version.recorded_at,
                len(version.chunks),
                version.kind,
                version.source_version,
            )
            for version in versions
        ],
    )


def _delete_superseded(connection: Connection, versions: Sequence[Version]) -> None:
    """All older passages, but those that are still findable by meaning. Of a deleted ADR, all."""
    tenants, ids = _columns([version.adr for version in versions])
    connection.execute(
        "delete from mv.chunks c using mv.search_state s, unnest(%s::uuid[], %s::uuid[]) as a (tenant_id, adr_id) "
        "where s.tenant_id = a.tenant_id and s.adr_id = a.adr_id and c.tenant_id = a.tenant_id and c.adr_id = a.adr_id "
        "and (s.deleted or (c.version < s.words_version and c.version is distinct from s.meaning_version))",
        [tenants, ids],
    )


def _write_chunks(connection: Connection, versions: Sequence[Version]) -> None:
    """One statement. What a passage is found by is `mv.chunk_tsv`, beside the functions that search."""
    rows = [(version, part) for version in versions for part in version.chunks]
    connection.execute(
        "insert into mv.chunks (tenant_id, adr_id, version, ordinal, heading_path, body, char_start, char_end, "
        "text_hash, tsv, length, source_version) "
        "select c.tenant_id, c.adr_id, c.version, c.ordinal, c.heading_path, c.body, c.char_start, c.char_end, "
        "c.text_hash, v.tsv, mv.chunk_length(v.tsv), c.source_version "
        "from unnest(%s::uuid[], %s::uuid[], %s::int[], %s::int[], %s::text[], %s::text[], %s::text[], %s::int[], "
        "%s::int[], %s::bytea[], %s::bigint[]) as c (tenant_id, adr_id, version, ordinal, title, heading_path, body, "
        "char_start, char_end, text_hash, source_version), "
        "lateral (select mv.chunk_tsv(c.ordinal, c.title, c.heading_path, c.body) as tsv offset 0) v "
        "on conflict do nothing",
        [
            [version.adr.tenant_id for version, _ in rows],
            [version.adr.adr_id for version, _ in rows],
            [version.version for version, _ in rows],
            [part.ordinal for _, part in rows],
            [title_line(version.title) for version, _ in rows],
            [part.heading_path for _, part in rows],
            [part.body for _, part in rows],
            [part.char_start for _, part in rows],
            [part.char_end for _, part in rows],
            [part.text_hash for _, part in rows],
            [version.source_version for version, _ in rows],
        ],
    )


def without_vector(connection: Connection, space: str, versions: Sequence[Version]) -> dict[Adr, set[bytes]]:
    """The texts of each ADR that have no vector; ADRs that lack none are not in it."""
    present = _present(
        connection, space, versions, "select text_hash from mv.embeddings e where e.space = %(space)s and "
    )
    missing: dict[Adr, set[bytes]] = {}
    for version in versions:
        hashes = {part.text_hash for part in version.chunks}
        if lacking := {text_hash for text_hash in hashes if (version.adr.tenant_id, text_hash) not in present}:
            missing[version.adr] = lacking
    return missing


def _complete(connection: Connection, versions: Sequence[Version]) -> None:
    """Findable by meaning at once: every text had its vector (or there is none, because the ADR was deleted)."""
    tenants, ids = _columns([version.adr for version in versions])
    connection.execute(
        "update mv.search_state s set meaning_version = words_version, meaning_at = clock_timestamp() "
        "from unnest(%s::uuid[], %s::uuid[]) as a (tenant_id, adr_id) "
        "where s.tenant_id = a.tenant_id and s.adr_id = a.adr_id",
        [tenants, ids],
    )
    _delete_superseded(connection, versions)


def _request(connection: Connection, space: str, versions: Sequence[Version], missing: dict[Adr, set[bytes]]) -> None:
    connection.cursor().executemany(
        "select app.emit(%s, %s::jsonb, %s, %s::jsonb || jsonb_build_object('occurred_at', "
        "(extract(epoch from clock_timestamp()) * 1000000)::bigint), %s::jsonb)",
        [
            request
            for version in versions
            if version.adr in missing
            for request in _requests(space, version, missing[version.adr])
        ],
    )


def _requests(space: str, version: Version, missing: set[bytes]) -> Iterator[tuple[str, str, UUID, str, str]]:
    """The arguments of `app.emit` for each request."""
    tenant_id, adr_id = str(version.adr.tenant_id), str(version.adr.adr_id)
    texts = {part.text_hash: part.text for part in version.chunks if part.text_hash in missing}
    headers = {TRACEPARENT_HEADER: version.traceparent} if version.traceparent else {}
    for number, items in enumerate(_bundles(texts)):
        value = {
            "event_id": str(uuid5(_EVENT_IDS, f"{space} {tenant_id} {adr_id} {version.version} {number}")),
            "tenant_id": tenant_id,
            "space": space,
            "source_kind": version.kind,
            "source_id": adr_id,
            "version": version.version,
            "items": [{"text_hash": _base64(text_hash), "text": text} for text_hash, text in items],
        }
        key = {"tenant_id": tenant_id, "id": adr_id}
        yield REQUESTS_TOPIC, json.dumps(key), version.adr.tenant_id, json.dumps(value), json.dumps(headers)


def _bundles(texts: dict[bytes, str]) -> Iterator[list[tuple[bytes, str]]]:
    bundle: list[tuple[bytes, str]] = []
    size = 0
    for item in texts.items():
        if bundle and (len(bundle) == ITEMS_MAX or size + len(item[1]) > ITEMS_CHARS_MAX):
            yield bundle
            bundle, size = [], 0
        bundle.append(item)
        size += len(item[1])
    if bundle:
        yield bundle


def _count(connection: Connection, space: str, known: Mapping[Adr, Known], versions: Sequence[Version]) -> None:
    """How many passages came by, and how many of them had a text that this tenant had already: what content addressing
    saves. Split into first versions and edits."""
    present = _present(
        connection,
        space,
        versions,
        "select text_hash from (select tenant_id, text_hash from mv.embeddings where space = %(space)s "
        "union all select tenant_id, text_hash from mv.chunks) e where ",
    )
    seen = set(known)
    counts: dict[UUID, list[int]] = {}
    for version in versions:
        row = counts.setdefault(version.adr.tenant_id, [0, 0, 0, 0, 0, 0])
        at = 3 if version.adr in seen else 0
        texts = [(version.adr.tenant_id, part.text_hash) for part in version.chunks]
        row[at] += 1
        row[at + 1] += len(texts)
        row[at + 2] += sum(text in present for text in texts)
        present.update(texts)
        seen.add(version.adr)
    connection.cursor().executemany(
        "insert into mv.embedding_stats as s (tenant_id, firsts, first_chunks, first_chunks_known, edits, edit_chunks, "
        "edit_chunks_known) values (%s, %s, %s, %s, %s, %s, %s) on conflict (tenant_id) do update set "
        "firsts = s.firsts + excluded.firsts, first_chunks = s.first_chunks + excluded.first_chunks, "
        "first_chunks_known = s.first_chunks_known + excluded.first_chunks_known, edits = s.edits + excluded.edits, "
        "edit_chunks = s.edit_chunks + excluded.edit_chunks, "
        "edit_chunks_known = s.edit_chunks_known + excluded.edit_chunks_known",
        [(tenant_id, *row) for tenant_id, row in sorted(counts.items())],
    )


def _present(connection: Connection, space: str, versions: Sequence[Version], query: Any) -> set[tuple[UUID, bytes]]:
    """Which texts of `versions` the query knows, one tenant at a time: the index starts with it."""
    by_tenant: dict[UUID, set[bytes]] = {}
    for version in versions:
        by_tenant.setdefault(version.adr.tenant_id, set()).update(part.text_hash for part in version.chunks)
    return {
        (tenant_id, row[0])
        for tenant_id, hashes in by_tenant.items()
        for row in connection.execute(
            query + "e.tenant_id = %(tenant_id)s and e.text_hash = any(%(hashes)s)",
            {"space": space, "tenant_id": tenant_id, "hashes": list(hashes)},
        )
    }


def _erase(connection: Connection, erased: Sequence[tuple[Adr, int]]) -> None:
    """A version whose row is gone at the source must not be found. Whatever an ADR has left is then deleted too: rows
    are only ever erased all together."""
    if not erased:
        return
    tenants, ids = _columns([adr for adr, _version in erased])
    connection.execute(
        "update mv.search_state s set deleted = true, title = '', meaning_version = words_version, chunks = 0 "
        "from unnest(%s::uuid[], %s::uuid[], %s::bigint[]) as a (tenant_id, adr_id, version) "
        "where s.tenant_id = a.tenant_id and s.adr_id = a.adr_id "
        "and coalesce(s.source_version, s.words_version) = a.version",
        [tenants, ids, [version for _adr, version in erased]],
    )
    connection.execute(
        "delete from mv.chunks c using mv.search_state s, unnest(%s::uuid[], %s::uuid[]) as a (tenant_id, adr_id) "
        "where s.tenant_id = a.tenant_id and s.adr_id = a.adr_id and s.deleted "
        "and c.tenant_id = a.tenant_id and c.adr_id = a.adr_id",
        [tenants, ids],
    )


def _columns(adrs: Sequence[Adr]) -> tuple[list[UUID], list[UUID]]:
    return [adr.tenant_id for adr in adrs], [adr.adr_id for adr in adrs]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
