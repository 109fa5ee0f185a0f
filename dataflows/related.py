"""The flow `related`: for each ADR the ten nearest others, by links, words and meaning, and why.

Reads `adriatic.mv.search_state` (words or meaning of an ADR changed) and `adriatic.app.adr_links`; keeps `mv.related`
and, for itself, `mv.related_features`. Refuses to know how near two ADRs are: `dataflows/nearness.py` does.

A record only says what to look at: `apply` reads the tables as they are by then, so order and repetition are
indifferent. The score of a pair depends on these two alone, so what changed moves the pairs of its ADR and no others:
its own list is made anew, each other list takes it in or not. Only a list out of which it fell is made anew as well.
What a change costs is one read of the tenant's features and one comparison with all for each list made anew
(docs/decisions/0022 has figures).

A version counts once it is findable by words and by meaning; until then the one before it does, as in a search.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

from connectors.kafka.source import BatchLimits
from connectors.postgres.sink import Connection
from dataflows.comparison import Comparison
from dataflows.flow import Event, Flow
from dataflows.index import Adr, active_space
from dataflows.nearness import (
    PASSAGES_MAX,
    RELATED_MAX,
    Corpus,
    Features,
    Key,
    features,
    merged,
    near,
    shared,
    unpack,
    words_of,
)
from runtime.errors import Unprocessable
from schemas.flows import KeptTable, KeptView
from schemas.search import WAITING_FOR_VECTORS

STATE_TOPIC = "adriatic.mv.search_state"
LINKS_TOPIC = "adriatic.app.adr_links"

COLUMNS = "tenant_id, adr_id, related_id, score, words, terms, meaning, links_to, links_from"


@dataclass(frozen=True, slots=True)
class Effects:
    """What to look at again, each sorted: ADRs whose text may be another, and ADRs whose links may be others."""

    texts: tuple[Adr, ...]
    links: tuple[Adr, ...]


class Row(NamedTuple):
    """A row of `mv.related`, in the order of `COLUMNS`."""

    tenant_id: UUID
    adr_id: UUID
    related_id: UUID
    score: float
    words: float
    terms: list[str]
    meaning: float
    links_to: list[str]
    links_from: list[str]


class Related(Flow[Effects]):
    name = "related"
    about = "what is findable, and links → the nearest other ADRs of each, and why"
    topics = (STATE_TOPIC, LINKS_TOPIC)
    tables = (
        KeptTable("mv.related_features", compared="words and vectors of each ADR, made anew"),
        KeptTable("mv.related", compared="every pair of a tenant, compared one by one"),
    )
    views = (
        KeptView(
            "related",
            "The nearest other ADRs of each.",
            table="mv.related",
            key=("adr_id", "related_id"),
            columns=("score", "words", "terms", "meaning", "links_to", "links_from"),
            # Its own watermark says how far it follows the search, not how far the search is.
            waiting=WAITING_FOR_VECTORS,
        ),
    )
    limits = BatchLimits(records_max=100, bytes_max=524_288)
    """At 5 000 ADRs a list takes about 50 ms to make anew: a batch of the largest size takes some seconds."""

    @classmethod
    def compare(cls, comparison: Comparison) -> None:
        from dataflows.oracle_related import unlike  # it is written in terms of this module

        found = unlike(comparison.connection, comparison.space, comparison.tenant.tenant_id)
        comparison.add_unlike(found, "is not what texts, vectors and links give")

    def start(self, connection: Connection) -> None:
        active_space(connection)

    def transform(self, events: Sequence[Event]) -> Effects:
        texts: set[Adr] = set()
        links: set[Adr] = set()
        for event in events:
            op = event.value["op"]
            if op not in ("c", "r", "u", "d"):
                raise Unprocessable(f"a change of kind {op} on a table that is never emptied")
            row = event.value["before"] if op == "d" else event.value["after"]
            adr = Adr(UUID(row["tenant_id"]), UUID(row["adr_id"]))
            if "words_version" not in row:
                links.add(adr)
            elif op == "d" or row["deleted"] or row["meaning_version"] == row["words_version"]:
                texts.add(adr)
        return Effects(tuple(sorted(texts)), tuple(sorted(links)))

    def apply(self, connection: Connection, effects: Effects) -> None:
        space = active_space(connection)
        for tenant_id in sorted({adr.tenant_id for adr in (*effects.texts, *effects.links)}):
            # One writer a tenant, whichever of the two topics it comes from.
            connection.execute("select pg_advisory_xact_lock(hashtextextended('related ' || %s::text, 0))", [tenant_id])
            texts = [adr.adr_id for adr in effects.texts if adr.tenant_id == tenant_id]
            changed = refresh(connection, space, tenant_id, texts)
            changed |= _linked_otherwise(
                connection, tenant_id, [adr.adr_id for adr in effects.links if adr.tenant_id == tenant_id]
            )
            if changed:
                Update(connection, tenant_id, changed).write()


# --- features -------------------------------------------------------------------------------------------------------


def refresh(connection: Connection, space: str, tenant_id: UUID, adr_ids: Sequence[UUID]) -> set[UUID]:
    """Make the features of these ADRs what their texts say now. Returns those that are not as they were."""
    made = made_features(connection, space, tenant_id, adr_ids)
    gone = connection.execute(
        "delete from mv.related_features f where f.tenant_id = %s and f.adr_id = any(%s) and not exists "
        "(select from mv.search_state s where s.tenant_id = f.tenant_id and s.adr_id = f.adr_id and not s.deleted) "
        "returning f.adr_id",
        [tenant_id, list(adr_ids)],
    ).fetchall()
    before = {
        row[0]: tuple(row[1:])
        for row in connection.execute(
            "select adr_id, words, terms, passages from mv.related_features where tenant_id = %s and adr_id = any(%s)",
            [tenant_id, list(made)],
        )
    }
    connection.cursor().executemany(
        "insert into mv.related_features as f (tenant_id, adr_id, version, words, terms, passages, dimension) "
        "values (%s, %s, %s, %s, %s, %s, %s) on conflict (tenant_id, adr_id) do update "
        "set version = excluded.version, words = excluded.words, terms = excluded.terms, "
        "passages = excluded.passages, dimension = excluded.dimension where f is distinct from excluded",
        [
            (tenant_id, adr_id, version, one.words_packed, list(one.terms), one.passages_packed, one.dimension)
            for adr_id, (version, one) in sorted(made.items())
        ],
    )
    return {row[0] for row in gone} | {
        adr_id
        for adr_id, (_, one) in made.items()
        if before.get(adr_id) != (one.words_packed, list(one.terms), one.passages_packed)
    }


def made_features(
    connection: Connection, space: str, tenant_id: UUID, adr_ids: Sequence[UUID]
) -> dict[UUID, tuple[int, Features]]:
    """Version and features of those ADRs that are findable by words and by meaning, in one version."""
    texts: dict[UUID, list[str]] = {}
    vectors: dict[UUID, list[Any]] = {}
    versions: dict[UUID, int] = {}
    for adr_id, version, title, ordinal, body, vector in connection.cursor(binary=True).execute(
        "select s.adr_id, s.words_version, s.title, c.ordinal, c.body, e.embedding::real[] from mv.search_state s "
        "join app.adrs a on a.tenant_id = s.tenant_id and a.adr_id = s.adr_id "  # nothing else that can be found
        "join mv.chunks c on c.tenant_id = s.tenant_id and c.adr_id = s.adr_id and c.version = s.words_version "
        "left join mv.embeddings e on c.ordinal < %s and e.tenant_id = c.tenant_id and e.space = %s "
        "and e.text_hash = c.text_hash "
        "where s.tenant_id = %s and s.adr_id = any(%s) and not s.deleted and s.meaning_version = s.words_version "
        "order by s.adr_id, c.ordinal",
        [PASSAGES_MAX, space, tenant_id, list(adr_ids)],
    ):
        versions[adr_id] = version
        texts.setdefault(adr_id, [title]).append(body)
        if ordinal < PASSAGES_MAX:
            vectors.setdefault(adr_id, []).append(vector)
    words = {adr_id: [word for text in parts for word in words_of(text)] for adr_id, parts in texts.items()}
    stems = stems_of(connection, {word for each in words.values() for word in each})
    return {
        adr_id: (versions[adr_id], features(words[adr_id], stems, vectors[adr_id]))
        for adr_id in versions
        if vectors.get(adr_id) and not any(vector is None for vector in vectors[adr_id])
    }


def stems_of(connection: Connection, words: Iterable[str]) -> dict[str, str]:
    """The stem of each word, as the search by words has it; stop words have none."""
    rows = connection.execute(
        "select word, (ts_lexize('pg_catalog.english_stem', word))[1] from unnest(%s::text[]) as word", [sorted(words)]
    )
    return {word: stem for word, stem in rows if stem}


# --- links ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinksOf:
    """Kinds of links between an ADR and each other, sorted; `to` leads away from it."""

    to: Mapping[UUID, list[str]] = field(default_factory=dict)
    back: Mapping[UUID, list[str]] = field(default_factory=dict)

    @property
    def others(self) -> set[UUID]:
        return {*self.to, *self.back}


def links_of(connection: Connection, tenant_id: UUID, adr_ids: Sequence[UUID]) -> dict[UUID, LinksOf]:
    """The resolved links of each of these ADRs, in both directions."""
    rows = connection.execute(
        "select adr_id, target_id, array_agg(distinct kind order by kind) from app.adr_links "
        "where tenant_id = %(tenant)s and target_id <> adr_id and (adr_id = any(%(ids)s) or target_id = any(%(ids)s)) "
        "group by adr_id, target_id",
        {"tenant": tenant_id, "ids": list(adr_ids)},
    )
    to: dict[UUID, dict[UUID, list[str]]] = {}
    back: dict[UUID, dict[UUID, list[str]]] = {}
    for source, target, kinds in rows:
        to.setdefault(source, {})[target] = kinds
        back.setdefault(target, {})[source] = kinds
    return {adr_id: LinksOf(to.get(adr_id, {}), back.get(adr_id, {})) for adr_id in adr_ids}


def _linked_otherwise(connection: Connection, tenant_id: UUID, adr_ids: Sequence[UUID]) -> set[UUID]:
    """Those of these ADRs that are in the view, and whose outgoing links the view does not show as they are."""
    if not adr_ids:
        return set()
    rows = connection.execute(
        "with links as (select l.adr_id, l.target_id, array_agg(distinct l.kind order by l.kind) as kinds "
        "from app.adr_links l join mv.related_features t on t.tenant_id = l.tenant_id and t.adr_id = l.target_id "
        "where l.tenant_id = %(tenant)s and l.adr_id = any(%(ids)s) and l.target_id <> l.adr_id "
        "group by l.adr_id, l.target_id), "
        "shown as (select adr_id, related_id as target_id, links_to as kinds from mv.related "
        "where tenant_id = %(tenant)s and adr_id = any(%(ids)s) and links_to <> '{}' "
        "union select related_id, adr_id, links_from from mv.related "
        "where tenant_id = %(tenant)s and related_id = any(%(ids)s) and links_from <> '{}') "
        "select distinct adr_id from ((table links except table shown) union all (table shown except table links)) d "
        "join mv.related_features f using (adr_id) where f.tenant_id = %(tenant)s",
        {"tenant": tenant_id, "ids": list(adr_ids)},
    )
    return {row[0] for row in rows}


# --- lists ----------------------------------------------------------------------------------------------------------


class Update:
    """What `changed` ADRs of one tenant (new, edited, deleted, linked otherwise) make of the tenant's lists."""

    def __init__(self, connection: Connection, tenant_id: UUID, changed: set[UUID]) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._changed = changed
        self._corpus = read_corpus(connection, tenant_id)
        self._alive = sorted(changed & self._corpus.at.keys())
        links = links_of(connection, tenant_id, self._alive)
        self._fresh = {adr_id: self._corpus.scores(adr_id, links[adr_id].others) for adr_id in self._alive}

    def write(self) -> None:
        """Rows that stay as they are are not written, so they make no change in the topic."""
        lists = {adr_id: self._corpus.best(scores) for adr_id, scores in self._fresh.items()}
        lists |= self._lists_of_others()
        before = self._stored(sorted(lists))
        again = [  # of the pairs that may say something else than before
            (adr_id, key)
            for adr_id, keys in sorted(lists.items())
            for key in sorted(keys, key=lambda each: each.related_id)
            if adr_id in self._changed or key.related_id in self._changed or key not in before.get(adr_id, ())
        ]
        self._delete(
            [
                (adr_id, key.related_id)
                for adr_id, keys in sorted(before.items())
                for key in keys
                if key.related_id not in {each.related_id for each in lists[adr_id]}
            ]
        )
        self._upsert(rows_of(self._connection, self._tenant_id, self._corpus, again))

    def _lists_of_others(self) -> dict[UUID, list[Key]]:
        """The lists that the changed ADRs are in, come into, or fall out of; as they must be."""
        touched = self._holders()
        if self._fresh:
            best = np.max(np.stack(list(self._fresh.values())), axis=0)
            touched |= {self._corpus.ids[at] for at in np.flatnonzero(best >= self._least())}
        lists: dict[UUID, list[Key]] = {}
        others = sorted((touched & self._corpus.at.keys()) - self._changed)
        before = self._stored(others)
        unclear: list[UUID] = []
        for adr_id in others:
            at = self._corpus.at[adr_id]
            keys = [Key(float(scores[at]), other) for other, scores in self._fresh.items()]
            found = merged(before.get(adr_id, ()), self._changed, keys)
            if found is None:
                unclear.append(adr_id)
            else:
                lists[adr_id] = found
        links = links_of(self._connection, self._tenant_id, unclear)
        return lists | {adr_id: self._corpus.related(adr_id, links[adr_id].others) for adr_id in unclear}

    def _holders(self) -> set[UUID]:
        rows = self._connection.execute(
            "select distinct adr_id from mv.related where tenant_id = %s and related_id = any(%s)",
            [self._tenant_id, sorted(self._changed)],
        )
        return {row[0] for row in rows}

    def _least(self) -> Any:
        """By position: the score that a newcomer needs at least. A list that is not full takes everyone."""
        least = np.full(len(self._corpus.ids), -np.inf)
        for adr_id, score in self._connection.execute(
            "select adr_id, min(score) from mv.related where tenant_id = %s group by adr_id having count(*) >= %s",
            [self._tenant_id, RELATED_MAX],
        ):
            if adr_id in self._corpus.at:
                least[self._corpus.at[adr_id]] = score
        return least

    def _stored(self, adr_ids: Sequence[UUID]) -> dict[UUID, list[Key]]:
        lists: dict[UUID, list[Key]] = {}
        for adr_id, related_id, score in self._connection.execute(
            "select adr_id, related_id, score from mv.related where tenant_id = %s and adr_id = any(%s)",
            [self._tenant_id, list(adr_ids)],
        ):
            lists.setdefault(adr_id, []).append(Key(score, related_id))
        return lists

    def _delete(self, gone: Sequence[tuple[UUID, UUID]]) -> None:
        dead = sorted(self._changed - self._corpus.at.keys())
        if dead:
            self._connection.execute(
                "delete from mv.related where tenant_id = %s and (adr_id = any(%s) or related_id = any(%s))",
                [self._tenant_id, dead, dead],
            )
        self._connection.execute(
            "delete from mv.related r using unnest(%s::uuid[], %s::uuid[]) as g (adr_id, related_id) "
            "where r.tenant_id = %s and r.adr_id = g.adr_id and r.related_id = g.related_id",
            [[adr_id for adr_id, _ in gone], [related_id for _, related_id in gone], self._tenant_id],
        )

    def _upsert(self, rows: Sequence[Row]) -> None:
        self._connection.cursor().executemany(
            f"insert into mv.related as r ({COLUMNS}) values (%s, %s, %s, %s, %s, %s, %s, %s, %s) "  # noqa: S608 - constants
            "on conflict (tenant_id, adr_id, related_id) do update set score = excluded.score, "
            "words = excluded.words, terms = excluded.terms, meaning = excluded.meaning, "
            "links_to = excluded.links_to, links_from = excluded.links_from where r is distinct from excluded",
            rows,
        )


def read_corpus(connection: Connection, tenant_id: UUID) -> Corpus:
    """The features of a tenant. Terms are not read: `rows_of` reads those that it shows."""
    ids: list[UUID] = []
    every: list[Features] = []
    with connection.cursor(binary=True) as cursor:
        for adr_id, words, passages, dimension in cursor.execute(
            "select adr_id, words, passages, dimension from mv.related_features where tenant_id = %s order by adr_id",
            [tenant_id],
        ):
            ids.append(adr_id)
            every.append(unpack(words, (), passages, dimension))
    return Corpus(tuple(ids), tuple(every))


def rows_of(connection: Connection, tenant_id: UUID, corpus: Corpus, pairs: Sequence[tuple[UUID, Key]]) -> list[Row]:
    """The rows of these pairs: each with its reasons. `pairs` are sorted by ADR."""
    terms: dict[UUID, list[str]] = dict(
        connection.execute(
            "select adr_id, terms from mv.related_features where tenant_id = %s and adr_id = any(%s)",
            [tenant_id, sorted({adr_id for adr_id, _ in pairs})],
        ).fetchall()
    )
    links = links_of(connection, tenant_id, sorted({adr_id for adr_id, _ in pairs}))
    rows: list[Row] = []
    for adr_id, key in pairs:
        mine, theirs = corpus.all[corpus.at[adr_id]], corpus.all[corpus.at[key.related_id]]
        spelled = Features(mine.hashes, mine.weights, tuple(terms[adr_id]), mine.passages)
        _, words, meaning = near(mine, theirs)
        to, back = links[adr_id].to.get(key.related_id, []), links[adr_id].back.get(key.related_id, [])
        rows.append(
            Row(tenant_id, adr_id, key.related_id, key.score, words, list(shared(spelled, theirs)), meaning, to, back)
        )
    return rows
