"""The flow `index`: a version of a source becomes passages that are searchable by words, and a request for their
vectors.

Reads the contracts of `schemas/sources.py`; keeps `mv.chunks` and `mv.search_state` (view `search.words`), and
what ranking by words reads (`dataflows/words.py`); emits `embeddings.requested` for texts that have no vector yet, or
its `.bulk` for what came with many others. Refuses to embed: `dataflows.embed` does, and completes the view by meaning.

Versions make it indifferent to order and repetition: only a version above the one in `mv.search_state` changes
anything, and of the same version a later reading. Passages of the version that is still findable by meaning stay until
the new one's vectors are all there; those of an older reading of the same version do not.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from connectors.kafka.source import BatchLimits
from connectors.postgres.connections import Connection
from dataflows import oracle_search, oracle_segments, spaces, vectors, words
from dataflows.comparison import Comparison
from dataflows.flow import Event, Flow
from dataflows.source_version import BEFORE_ALL, Place, SourceVersion, version_of
from dataflows.spaces import Text, find_known_texts
from runtime.errors import Unprocessable
from schemas import sources
from schemas.arrays import arrays_of
from schemas.flows import KeptTable, KeptView
from schemas.headers import TRACEPARENT_HEADER
from schemas.search import WORDS_VIEW
from schemas.sources import SourceKey, columns_of

REQUESTS_TOPIC = "embeddings.requested"
BULK_TOPIC = "embeddings.requested.bulk"
"""Requests that nobody waits for. The flow `embed` takes them when there is nothing else."""

ITEMS_MAX = 64
"""Texts in one request; the contract's bound. What lacks more than one request can hold is bulk, whoever wrote it."""
BULK_ITEMS_MAX = 16
"""Texts in one request for what nobody waits for. A model is not interrupted once it has begun with a request, and 16
of the longest take the default one less than a second."""
ITEMS_CHARS_MAX = 262_144
"""Characters of text in one request: at four bytes each still far below the topic's largest message."""

_EVENT_IDS = UUID("6b1f3c3e-5d0c-5f0a-9c55-0b9d6f6c2a11")
"""Namespace of request ids: a replay asks under the same id."""


@dataclass(frozen=True, slots=True)
class IndexEffects:
    """Every version of the batch, sorted by source and version, and the versions whose rows were erased at the
    source."""

    versions: tuple[SourceVersion, ...]
    erased: tuple[tuple[SourceKey, int], ...]


class Index(Flow[IndexEffects]):
    name = "index"
    about = "versions of sources → passages, searchable by words"
    topics = sources.contracts()
    tables = (
        KeptTable("mv.search_state", compared="the newest version of each source, column by column"),
        KeptTable("mv.chunks", compared="that version cut anew: text, place, hash, words; and nothing beside it"),
        *words.TABLES,
        KeptTable(
            "mv.embedding_stats",
            not_compared="what was known when each version came: a replay or a redrive cannot find that out again",
        ),
    )
    views = (KeptView(WORDS_VIEW, "Everything that a search by words finds."),)
    limits = BatchLimits(records_max=200, bytes_max=524_288)
    """Some four thousand passages, about two seconds: so long does an edit wait behind an import of long texts."""

    @classmethod
    def compare(cls, comparison: Comparison) -> None:
        oracle_search.compare_words(comparison)
        oracle_segments.compare_segments(comparison)
        super().compare(comparison)

    def start(self, connection: Connection) -> None:
        spaces.require_space(connection)

    def transform(self, events: Sequence[Event]) -> IndexEffects:
        versions: dict[tuple[SourceKey, int], SourceVersion] = {}
        erased: list[tuple[SourceKey, int]] = []
        for event in events:
            match event.value["op"]:
                case "c" | "r" | "u":
                    version = version_of(event)
                    before = versions.get((version.source, version.version))
                    if before is None or before.reading <= version.reading:
                        versions[version.source, version.version] = version
                case "d":
                    row = event.value["before"]
                    erased.append((sources.key_of(sources.kind_of(event.contract), row), row["version"]))
                case other:
                    raise Unprocessable(f"a change of kind {other} on a table that only grows")
        return IndexEffects(tuple(versions[key] for key in sorted(versions)), tuple(sorted(erased)))

    def apply(self, connection: Connection, effects: IndexEffects) -> None:
        spaces.hold(connection)
        known = lock_versions(connection, [version.source for version in effects.versions])
        news = [version for version in effects.versions if version.place > known.get(version.source, BEFORE_ALL)]
        newest = list({version.source: version for version in news}.values())
        counts: Counts = {}
        if news:
            reread = [version for version in news if version.version == known.get(version.source, BEFORE_ALL)[0]]
            counts = _count(connection, known, [version for version in news if version not in reread])
            _drop_chunks(connection, reread)
            _write_chunks(connection, newest)
            _write_state(connection, newest)
            words.keep(connection, [version.source for version in newest])
            _delete_superseded(connection, newest)
            make_findable_by_meaning(connection, newest)
        if repeated := [
            version for version in effects.versions if version.repeats(known.get(version.source, BEFORE_ALL))
        ]:
            make_findable_by_meaning(connection, find_unembedded(connection, repeated))
        _erase(connection, effects.erased)
        changed = {version.source for version in effects.versions} | {source for source, _ in effects.erased}
        vectors.keep(connection, changed)
        # Last: the flow that embeds counts in the same row of the tenant, and would wait for all of the above.
        connection.cursor().executemany(COUNT, [(tenant_id, *row) for tenant_id, row in sorted(counts.items())])

    @classmethod
    def forget(cls, connection: Connection, tenant_id: UUID) -> None:
        """Rows of `mv.search_state` stay, as of no version: readers of its topic follow its changes, and a source that
        the log does not name stays deleted."""
        connection.execute(FORGET_CHUNKS, [tenant_id])
        connection.execute(FORGET_STATE, [tenant_id])
        words.forget(connection, tenant_id)
        vectors.leave(connection, tenant_id)


FORGET_CHUNKS = "delete from mv.chunks where tenant_id = %s"
FORGET_STATE = """
  update mv.search_state
  set
    words_version = 0,
    reading = 0,
    meaning_version = null,
    meaning_at = null,
    deleted = true,
    title = '',
    chunks = 0,
    length = 0
  where tenant_id = %s
"""


def make_findable_by_meaning(connection: Connection, versions: Sequence[SourceVersion]) -> None:
    """Make versions findable where every text has its vectors, in all spaces that its tenant keeps, and ask for
    vectors elsewhere. Locks the rows."""
    if not versions:
        return
    lacking = find_lacking(connection, versions)
    incomplete = {source for missing in lacking.values() for source in missing}
    _complete(connection, [version for version in versions if version.source not in incomplete])
    for space, missing in sorted(lacking.items()):
        _request(connection, space, versions, missing)


def find_lacking(connection: Connection, versions: Sequence[SourceVersion]) -> dict[str, dict[SourceKey, set[bytes]]]:
    """The texts of each source that have no vector, in each space that its tenant keeps."""
    kept = spaces.find_kept(connection, {version.source.tenant_id for version in versions})
    return {
        space: find_missing_texts(
            connection, space, [version for version in versions if space in kept.get(version.source.tenant_id, ())]
        )
        for space in sorted({space for each in kept.values() for space in each})
    }


# --- SQL ------------------------------------------------------------------------------------------------------------

LOCK_VERSIONS = """
  select s.tenant_id, s.kind, s.source_id, s.words_version, s.reading
  from mv.search_state s
  join unnest(
    %s::uuid[], %s::text[], %s::uuid[]
  ) as a (tenant_id, kind, source_id) using (tenant_id, kind, source_id)
  order by s.tenant_id, s.kind, s.source_id
  for update of s
"""


def lock_versions(connection: Connection, keys: Iterable[SourceKey]) -> dict[SourceKey, Place]:
    """The version, and the reading of it, that each source is found by now. Locks the rows, in the order that every
    flow locks them in."""
    rows = connection.execute(LOCK_VERSIONS, columns_of(sorted(set(keys))))
    return {SourceKey(*key): (version, reading) for *key, version, reading in rows}


WAITING_VERSIONS = """
  select s.tenant_id, s.kind, s.source_id, s.words_version
  from mv.search_state s
  join unnest(
    %s::uuid[], %s::text[], %s::uuid[]
  ) as a (tenant_id, kind, source_id) using (tenant_id, kind, source_id)
  where not s.deleted and s.meaning_version is distinct from s.words_version
"""


def find_waiting(connection: Connection, keys: Iterable[SourceKey]) -> dict[SourceKey, int]:
    """The version that each of these sources is found by words in, where it waits for vectors."""
    rows = connection.execute(WAITING_VERSIONS, columns_of(list(keys)))
    return {SourceKey(*key): version for *key, version in rows}


def find_unembedded(connection: Connection, versions: Sequence[SourceVersion]) -> list[SourceVersion]:
    """Find those of the known versions that wait for vectors. Such a version comes again after a slot was
    lost, and the request for its vectors may have been lost with it. Asking twice is cheap: a text is embedded once."""
    waiting = find_waiting(connection, [version.source for version in versions])
    return [version for version in versions if version.source in waiting]


WRITE_STATE = """
  insert into mv.search_state as s (
    tenant_id, kind, source_id, words_version, reading, deleted, title, status, effective_at, recorded_at,
    words_at, chunks, length
  )
  select
    v.tenant_id, v.kind, v.source_id, v.version, v.reading, v.deleted, v.title, v.status, v.effective_at,
    v.recorded_at, clock_timestamp(), v.chunks, coalesce(c.length, 0)
  from unnest(
    %s::uuid[], %s::text[], %s::uuid[], %s::bigint[], %s::int[], %s::boolean[], %s::text[], %s::text[],
    %s::timestamptz[], %s::timestamptz[], %s::int[]
  ) as v (
    tenant_id, kind, source_id, version, reading, deleted, title, status, effective_at, recorded_at, chunks
  )
  left join lateral (
    select sum(c.length) as length
    from mv.chunks c
    where c.tenant_id = v.tenant_id
      and c.kind = v.kind
      and c.source_id = v.source_id
      and c.version = v.version
  ) c on true
  order by v.tenant_id, v.kind, v.source_id
  on conflict (tenant_id, kind, source_id)
  do update set
    words_version = excluded.words_version,
    reading = excluded.reading,
    meaning_version = nullif(s.meaning_version, excluded.words_version),
    deleted = excluded.deleted,
    title = excluded.title,
    status = excluded.status,
    effective_at = excluded.effective_at,
    recorded_at = excluded.recorded_at,
    words_at = excluded.words_at,
    meaning_at = null,
    chunks = excluded.chunks,
    length = excluded.length
  where (s.words_version, s.reading) < (excluded.words_version, excluded.reading)
"""


def _write_state(connection: Connection, versions: Sequence[SourceVersion]) -> None:
    """Write them after their chunks: a source is as long as these together."""
    rows = [
        (
            *(*version.source, version.version, version.reading, version.deleted, version.title, version.status),
            *(version.effective_at, version.recorded_at, len(version.chunks)),
        )
        for version in versions
    ]
    connection.execute(WRITE_STATE, arrays_of(rows, 11))


DELETE_SUPERSEDED = """
  delete from mv.chunks c
  using mv.search_state s, unnest(%s::uuid[], %s::text[], %s::uuid[]) as a (tenant_id, kind, source_id)
  where s.tenant_id = a.tenant_id
    and s.kind = a.kind
    and s.source_id = a.source_id
    and c.tenant_id = a.tenant_id
    and c.kind = a.kind
    and c.source_id = a.source_id
    and (s.deleted or (c.version < s.words_version and c.version is distinct from s.meaning_version))
"""


def _delete_superseded(connection: Connection, versions: Sequence[SourceVersion]) -> None:
    """All older passages, but those that are still findable by meaning. Of a deleted source, all."""
    connection.execute(DELETE_SUPERSEDED, columns_of([version.source for version in versions]))


DROP_CHUNKS = """
  delete from mv.chunks c
  using unnest(%s::uuid[], %s::text[], %s::uuid[], %s::bigint[]) as a (tenant_id, kind, source_id, version)
  where c.tenant_id = a.tenant_id and c.kind = a.kind and c.source_id = a.source_id and c.version = a.version
"""


def _drop_chunks(connection: Connection, versions: Sequence[SourceVersion]) -> None:
    """The passages of a version that was read anew: its title is in them."""
    if versions:
        connection.execute(DROP_CHUNKS, arrays_of([(*version.source, version.version) for version in versions], 4))


WRITE_CHUNKS = """
  insert into mv.chunks (
    tenant_id, kind, source_id, version, ordinal, heading_path, body, char_start, char_end, text_hash, tsv,
    length
  )
  select
    c.tenant_id, c.kind, c.source_id, c.version, c.ordinal, c.heading_path, c.body, c.char_start, c.char_end,
    c.text_hash, v.tsv, mv.chunk_length(v.tsv)
  from
    unnest(
      %s::uuid[], %s::text[], %s::uuid[], %s::bigint[], %s::int[], %s::text[], %s::text[], %s::int[],
      %s::int[], %s::bytea[], %s::text[], %s::text[], %s::text[]
    ) as c (
      tenant_id, kind, source_id, version, ordinal, heading_path, body, char_start, char_end, text_hash,
      title_words, heading_words, body_words
    ),
    lateral (select mv.chunk_tsv(c.ordinal, c.title_words, c.heading_words, c.body_words) as tsv offset 0) v
  on conflict do nothing
"""


def _write_chunks(connection: Connection, versions: Sequence[SourceVersion]) -> None:
    """One statement. What a passage is found by is `mv.chunk_tsv` of its words."""
    rows = [
        (
            *(*version.source, version.version, part.ordinal, part.heading_path, part.body),
            *(part.char_start, part.char_end, part.text_hash, *words),
        )
        for version in versions
        for part, words in zip(version.chunks, version.words, strict=True)
    ]
    connection.execute(WRITE_CHUNKS, arrays_of(rows, 13))


def find_missing_texts(
    connection: Connection, space: str, versions: Sequence[SourceVersion]
) -> dict[SourceKey, set[bytes]]:
    """The texts of each source that have no vector; sources that lack none are not in it."""
    present = find_known_texts(connection, space, _texts(versions))
    missing: dict[SourceKey, set[bytes]] = {}
    for version in versions:
        hashes = {part.text_hash for part in version.chunks}
        if lacking := {text_hash for text_hash in hashes if (version.source.tenant_id, text_hash) not in present}:
            missing[version.source] = lacking
    return missing


COMPLETE = """
  update mv.search_state s
  set meaning_version = words_version, meaning_at = clock_timestamp()
  from unnest(%s::uuid[], %s::text[], %s::uuid[]) as a (tenant_id, kind, source_id)
  where s.tenant_id = a.tenant_id and s.kind = a.kind and s.source_id = a.source_id
"""


def _complete(connection: Connection, versions: Sequence[SourceVersion]) -> None:
    """Findable by meaning at once: every text had its vector (or there is none, because the source was deleted)."""
    connection.execute(COMPLETE, columns_of([version.source for version in versions]))
    _delete_superseded(connection, versions)


REQUEST = """
  select app.emit(
    %s, %s::jsonb, %s,
    %s::jsonb || jsonb_build_object('occurred_at', (extract(epoch from clock_timestamp()) * 1000000)::bigint),
    %s::jsonb
  )
"""


def _request(
    connection: Connection, space: str, versions: Sequence[SourceVersion], missing: dict[SourceKey, set[bytes]]
) -> None:
    asked = [(version, missing[version.source]) for version in versions if version.source in missing]
    connection.cursor().executemany(REQUEST, [each for wanted in asked for each in _requests(space, *wanted)])


def _requests(space: str, version: SourceVersion, missing: set[bytes]) -> Iterator[tuple[str, str, UUID, str, str]]:
    """The arguments of `app.emit` for each request."""
    tenant_id, kind, source_id = map(str, version.source)
    texts = {part.text_hash: part.text for part in version.chunks if part.text_hash in missing}
    headers = {TRACEPARENT_HEADER: version.traceparent} if version.traceparent else {}
    is_bulk = version.is_one_of_many or len(texts) > ITEMS_MAX
    topic, items_max = (BULK_TOPIC, BULK_ITEMS_MAX) if is_bulk else (REQUESTS_TOPIC, ITEMS_MAX)
    for number, items in enumerate(_bundles(texts, items_max)):
        value = {
            "event_id": str(uuid5(_EVENT_IDS, f"{space} {tenant_id} {kind} {source_id} {version.version} {number}")),
            "tenant_id": tenant_id,
            "space": space,
            "kind": kind,
            "source_id": source_id,
            "version": version.version,
            "items": [{"text_hash": base64.b64encode(text_hash).decode(), "text": text} for text_hash, text in items],
        }
        key = {"tenant_id": tenant_id, "id": source_id}
        yield topic, json.dumps(key), version.source.tenant_id, json.dumps(value), json.dumps(headers)


def _bundles(texts: dict[bytes, str], items_max: int) -> Iterator[list[tuple[bytes, str]]]:
    bundle: list[tuple[bytes, str]] = []
    size = 0
    for item in texts.items():
        if bundle and (len(bundle) == items_max or size + len(item[1]) > ITEMS_CHARS_MAX):
            yield bundle
            bundle, size = [], 0
        bundle.append(item)
        size += len(item[1])
    if bundle:
        yield bundle


KNOWN_TEXTS = """
  select text_hash
  from mv.embeddings
  where tenant_id = %(tenant_id)s and space = %(space)s and text_hash = any(%(hashes)s)
  union all
  select text_hash
  from mv.chunks
  where tenant_id = %(tenant_id)s and text_hash = any(%(hashes)s)
"""
Counts = dict[UUID, list[int]]
"""First versions of each tenant, their passages, how many of those were known; then edits, the same."""
COUNT = """
  insert into mv.embedding_stats as s (
    tenant_id, firsts, first_chunks, first_chunks_known, edits, edit_chunks, edit_chunks_known
  )
  values (%s, %s, %s, %s, %s, %s, %s)
  on conflict (tenant_id)
  do update set
    firsts = s.firsts + excluded.firsts,
    first_chunks = s.first_chunks + excluded.first_chunks,
    first_chunks_known = s.first_chunks_known + excluded.first_chunks_known,
    edits = s.edits + excluded.edits,
    edit_chunks = s.edit_chunks + excluded.edit_chunks,
    edit_chunks_known = s.edit_chunks_known + excluded.edit_chunks_known
"""


def _count(connection: Connection, known: Mapping[SourceKey, Place], versions: Sequence[SourceVersion]) -> Counts:
    """How many passages came by, and how many of them had a text that this tenant had already: what content addressing
    saves. Split into first versions and edits; call it before they are written."""
    active = spaces.active_of(connection, {version.source.tenant_id for version in versions})
    present = find_known_texts(connection, active, _texts(versions), KNOWN_TEXTS)
    seen = set(known)
    counts: Counts = {}
    for version in versions:
        row = counts.setdefault(version.source.tenant_id, [0, 0, 0, 0, 0, 0])
        at = 3 if version.source in seen else 0
        texts = [(version.source.tenant_id, part.text_hash) for part in version.chunks]
        row[at] += 1
        row[at + 1] += len(texts)
        row[at + 2] += sum(text in present for text in texts)
        present.update(texts)
        seen.add(version.source)
    return counts


def _texts(versions: Iterable[SourceVersion]) -> Iterator[Text]:
    return ((version.source.tenant_id, part.text_hash) for version in versions for part in version.chunks)


ERASE_STATE = """
  update mv.search_state s
  set deleted = true, title = '', meaning_version = words_version, chunks = 0, length = 0
  from unnest(%s::uuid[], %s::text[], %s::uuid[], %s::bigint[]) as a (tenant_id, kind, source_id, version)
  where s.tenant_id = a.tenant_id
    and s.kind = a.kind
    and s.source_id = a.source_id
    and s.words_version = a.version
"""


def _erase(connection: Connection, erased: Sequence[tuple[SourceKey, int]]) -> None:
    """A version whose row is gone at the source must not be found. Whatever the source has left is then deleted too:
    rows are only ever erased all together."""
    if not erased:
        return
    columns = arrays_of([(*source, version) for source, version in erased], 4)
    connection.execute(ERASE_STATE, columns)
    words.keep(connection, [source for source, _ in erased])
    connection.execute(DELETE_SUPERSEDED, columns[:3])
