"""The flow `embed`: texts become vectors, each once; a version that has all of them becomes findable by meaning.

Reads `embeddings.requested`, and its `.bulk` when there is nothing else; keeps `mv.embeddings` and the meaning half of
`mv.search_state`. Refuses to cut text: the request carries it. A text is embedded when its tenant keeps the space and
has no vector for it there, and no newer version made the request pointless; everything else is reuse.

A tenant that changes its embedding space has requests in two. One that nobody searches in holds up nothing: when its
embedder is away it falls behind (`dataflows/spaces.py`). Embedding happens before the transaction, so no lock and no
snapshot is held while a model computes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from connectors.embedders import Embedder, Vector
from connectors.embedders.spaces import SpaceEmbedders
from connectors.kafka.source import BatchLimits
from connectors.postgres.connections import Connection
from connectors.postgres.vectors import send
from dataflows import oracle_search, spaces
from dataflows import vectors as vector_indexes
from dataflows.chunker import text_hash
from dataflows.comparison import Comparison
from dataflows.flow import Event, Flow
from dataflows.index import BULK_TOPIC, REQUESTS_TOPIC, find_waiting, lock_versions
from dataflows.spaces import Text, find_known_texts
from runtime import metrics
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import DependencyUnavailable, Halted, Undecodable
from runtime.settings import Settings
from schemas.flows import KeptTable, KeptView
from schemas.search import MEANING_VIEW, WAITING_FOR_VECTORS, WORDS_VIEW
from schemas.sources import SourceKey, columns_of

_SPACES_LOCK = 4_271_001
"""Advisory lock under which the first space becomes the active one."""


@dataclass(frozen=True, slots=True)
class Request:
    """The vectors that one version of a source lacks in one space."""

    space: str
    source: SourceKey
    version: int
    texts: Mapping[bytes, str]


@dataclass(frozen=True, slots=True)
class EmbedEffects:
    """`vectors` by space. `reused`: texts asked for that had a vector by then, by tenant. `behind`: tenants and spaces
    that nobody searches in, whose embedder is away."""

    requests: tuple[Request, ...]
    vectors: Mapping[str, Mapping[Text, Vector]] = field(default_factory=dict)
    reused: Mapping[UUID, int] = field(default_factory=dict)
    behind: frozenset[tuple[UUID, str]] = frozenset()


# `offset 0`: a vector is looked up for each passage. While the statistics are those of an empty table, a join reads all
# vectors of the tenant for each.
COMPLETE = """
  update mv.search_state s
  set meaning_version = words_version, meaning_at = clock_timestamp()
  from unnest(%s::uuid[], %s::text[], %s::uuid[]) as a (tenant_id, kind, source_id)
  where s.tenant_id = a.tenant_id
    and s.kind = a.kind
    and s.source_id = a.source_id
    and not s.deleted
    and s.meaning_version is distinct from s.words_version
    and not exists (
      select
      from mv.kept_spaces(s.tenant_id) k
      cross join mv.chunks c
      where c.tenant_id = s.tenant_id
        and c.kind = s.kind
        and c.source_id = s.source_id
        and c.version = s.words_version
        and not exists (
          select
          from mv.embeddings e
          where e.tenant_id = c.tenant_id and e.space = k.space and e.text_hash = c.text_hash
          offset 0
        )
    )
  returning s.tenant_id, s.kind, s.source_id, s.words_version
"""
DELETE_OLDER = """
  delete from mv.chunks
  where tenant_id = %s and kind = %s and source_id = %s and version < %s
"""


INSERT_SPACE = """
  insert into mv.embedding_spaces (space, provider, model, revision, dimension, active)
  values (%s, %s, %s, %s, %s, not exists (select from mv.embedding_spaces where active))
  on conflict do nothing
"""

SEARCHED = """
  select space
  from (
    select space
    from mv.embedding_spaces
    where active
    union
    select space
    from app.tenant_spaces
    where state = 'active'
  ) s
  where space <> all(%s::text[])
  order by space
  limit 1
"""

INSERT_VECTOR = """
  insert into mv.embeddings (tenant_id, space, text_hash, embedding)
  values (%s, %s, %s, %s)
  on conflict do nothing
"""


class Embed(Flow[EmbedEffects]):
    name = "embed"
    about = "texts → vectors, searchable by meaning"
    topics = (REQUESTS_TOPIC, BULK_TOPIC)
    behind = (BULK_TOPIC,)
    tables = (
        KeptTable("mv.search_state", compared="findable by meaning is the newest version, once it has all vectors"),
        KeptTable(
            "mv.embeddings",
            compared="a vector for each passage, equal to one that is computed anew",
            outlives="a text has the same vector whatever became of the log, and vectors are what costs time and money",
        ),
        *vector_indexes.TABLES,
        KeptTable(
            "mv.embedding_spaces",
            not_compared="written once by the flow that embeds, from its settings; no function of a topic",
            outlives="no function of a topic",
        ),
    )
    views = (
        KeptView(
            MEANING_VIEW, "Everything that a search by meaning finds.", follows=WORDS_VIEW, waiting=WAITING_FOR_VECTORS
        ),
    )
    limits = BatchLimits(records_max=16, bytes_max=16_384)
    """Some fifty texts, about a second of the in-process model: so long does a small edit wait behind a batch, and a
    request to stop. A commit costs a hundredth of that."""
    remote_limits = BatchLimits(records_max=64, bytes_max=131_072)
    """Some four hundred texts, about a second of an endpoint."""

    def __init__(self, embedder: Embedder | SpaceEmbedders) -> None:
        self._embedders = embedder if isinstance(embedder, SpaceEmbedders) else SpaceEmbedders.of(embedder)
        if not self._embedders.in_process:
            self.limits = self.remote_limits

    @classmethod
    def build(cls, settings: Settings) -> Embed:
        return cls(SpaceEmbedders.from_settings(settings.embedder, settings.secrets))

    @classmethod
    def compare(cls, comparison: Comparison) -> None:
        oracle_search.compare_vectors(comparison)
        oracle_search.compare_indexes(comparison)

    def start(self, connection: Connection) -> None:
        """Make the spaces of the settings known, and the first of them active when there was none. Raises `Halted` when
        somebody searches in a space that the settings cannot fill: its new texts would never be found by meaning."""
        connection.execute("select pg_advisory_xact_lock(%s)", [_SPACES_LOCK])
        for space in self._embedders.spaces:
            connection.execute(INSERT_SPACE, [space.name, space.provider, space.model, space.revision, space.dimension])
        filled = [space.name for space in self._embedders.spaces]
        if (searched := connection.execute(SEARCHED, [filled]).fetchone()) is not None:
            raise Halted(
                f"the settings' embedders fill {', '.join(filled)}, and searches read {searched[0]}",
                hint="have that embedder too, in embedder.models, until `adriatic spaces change` has left its space",
            )
        first = self._embedders.find(filled[0])
        assert first is not None

    def transform(self, events: Sequence[Event]) -> EmbedEffects:
        return EmbedEffects(tuple(_request(event.value) for event in events))

    def prepare(self, connection: Connection, effects: EmbedEffects) -> EmbedEffects:
        fresh = _fresh(connection, effects.requests)
        tenants = {request.source.tenant_id for request in fresh}
        kept = spaces.find_kept(connection, tenants)
        vectors: dict[str, Mapping[Text, Vector]] = {}
        reused: Counter[UUID] = Counter()
        behind: set[tuple[UUID, str]] = set()
        for space in sorted({request.space for request in fresh}):
            asked = [r for r in fresh if r.space == space and space in kept.get(r.source.tenant_id, ())]
            wanted = {(request.source.tenant_id, key): text for request in asked for key, text in request.texts.items()}
            known = find_known_texts(connection, space, wanted)
            reused.update(tenant_id for tenant_id, _hash in known)
            missing = {text: wanted[text] for text in wanted if text not in known}
            try:
                vectors[space] = self._embed(space, missing)
            except DependencyUnavailable:
                waiting = {tenant_id for tenant_id, _hash in missing}
                if space in spaces.active_of(connection, waiting).values():
                    raise
                behind |= {(tenant_id, space) for tenant_id in waiting}
        return EmbedEffects(effects.requests, vectors, reused, frozenset(behind))

    def apply(self, connection: Connection, effects: EmbedEffects) -> None:
        spaces.hold(connection)
        spaces.fall_behind(connection, effects.behind)
        for space, vectors in sorted(effects.vectors.items()):
            store(connection, space, vectors)
        complete(connection, {request.source for request in effects.requests})
        _count(connection, effects)

    def _embed(self, space: str, texts: Mapping[Text, str]) -> dict[Text, Vector]:
        """Equal texts of two tenants are computed once: which text it was is not visible in a vector's place."""
        if not texts:
            return {}
        embedder = self._embedders.find(space)
        if embedder is None:
            raise DependencyUnavailable(f"no embedder of the settings fills the space {space}")
        distinct = list(dict.fromkeys(texts.values()))
        began = SYSTEM_CLOCK.monotonic()
        vectors = dict(zip(distinct, embedder.embed(distinct), strict=True))
        metrics.EMBED_SECONDS.labels(space).observe(SYSTEM_CLOCK.monotonic() - began)
        return {key: vectors[text] for key, text in texts.items()}


def store(connection: Connection, space: str, vectors: Mapping[Text, Vector]) -> None:
    """Write vectors of a space, but those of a tenant that does not keep it any more. Call it under `spaces.hold`."""
    kept = spaces.find_kept(connection, {tenant_id for tenant_id, _hash in vectors})
    rows = [
        (tenant_id, space, key, send(vectors[tenant_id, key]))
        for tenant_id, key in sorted(vectors)
        if space in kept.get(tenant_id, ())
    ]
    connection.cursor().executemany(INSERT_VECTOR, rows)


def complete(connection: Connection, sources: Iterable[SourceKey]) -> None:
    """Those whose newest version has every vector, in each space that is kept, become findable by it; the passages
    before it are of no use. Call it under `spaces.hold`."""
    keys = sorted(set(sources))
    lock_versions(connection, keys)
    done = connection.execute(COMPLETE, columns_of(keys)).fetchall()
    connection.cursor().executemany(DELETE_OLDER, sorted(done))
    vector_indexes.keep(connection, (SourceKey(*key) for *key, _version in done))


def _request(value: Any) -> Request:
    texts = {item["text_hash"]: item["text"] for item in value["items"]}
    if any(text_hash(text) != key for key, text in texts.items()):
        raise Undecodable("a text does not have the hash that it is requested under")
    source = SourceKey(_uuid(value["tenant_id"]), value["kind"], _uuid(value["source_id"]))
    return Request(value["space"], source, value["version"], texts)


def _uuid(value: UUID | str) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def _fresh(connection: Connection, requests: Sequence[Request]) -> list[Request]:
    """Requests that no newer version has overtaken (it asked for every text that it lacks itself), and that are not
    done: a replay finds nothing to do and nothing to count."""
    wanted = find_waiting(connection, [request.source for request in requests])
    return [request for request in requests if wanted.get(request.source) == request.version]


ADD_STATS = """
  insert into mv.embedding_stats as s (tenant_id, embedded, reused)
  values (%s, %s, %s)
  on conflict (tenant_id)
  do update set embedded = s.embedded + excluded.embedded, reused = s.reused + excluded.reused
"""


def _count(connection: Connection, effects: EmbedEffects) -> None:
    counts: dict[UUID, list[int]] = {tenant_id: [0, reused] for tenant_id, reused in effects.reused.items()}
    for tenant_id, _hash in (text for vectors in effects.vectors.values() for text in vectors):
        counts.setdefault(tenant_id, [0, 0])[0] += 1
    connection.cursor().executemany(ADD_STATS, [(tenant_id, *row) for tenant_id, row in sorted(counts.items())])
    metrics.EMBED_TEXTS.labels("embedded").inc(sum(map(len, effects.vectors.values())))
    metrics.EMBED_TEXTS.labels("reused").inc(sum(effects.reused.values()))
