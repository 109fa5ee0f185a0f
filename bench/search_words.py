"""What a search by words costs as a tenant grows, and how much of the exact result it finds.

`python -m bench.search_words 10000 100000 1000000` fills a database of its own on the Postgres of the settings, prints
a table, and drops it. A tenant is searched twice: by bounded look-ups (`lists`), and from packed segments (`segments`)
when it has got some. Words are those of this project's decisions in the frequencies that they have there, and a tail
of rare ones that grows with the tenant, as it does in prose. Beside the search stands what one builds first:
`ts_rank_cd` over an index of all tenants. Owns no figure: a busy machine has other ones, so the time of the processor
is printed too.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
import psutil
import psycopg

from api.adrs.document import parse
from api.search import packed
from api.search.allowed import Allowed
from api.search.schemas import WordsRoute
from bench.search import fresh_database
from bench.search_world import DECISIONS
from connectors.postgres.connections import connect
from connectors.postgres.word_segments import step
from runtime.ids import new_id
from runtime.settings import PostgresSettings, SearchSettings, load

SIZES = (10_000, 100_000)
"""Passages of a tenant. A million takes half an hour to fill."""
SMALL = 500
"""Passages of the tenant that is searched alone, and again beside the largest."""
QUERIES = 12
"""Of each form. The exact search takes seconds for each at a million."""
ROUNDS = 4
KEEP_AT_ONCE = 2_000
UPDATES = 50
PACKED_MIN = 1_000
"""Sources from which on a tenant gets segments here: all but the small one do."""

EXACT = "select source_id, score from mv.search_words_exact(%s, null, null, 100)"
BOUNDED = "select source_id, score, candidates, proved from mv.rank_words(%s, null, null, null, 100)"
PLAIN = """
  select source_id
  from (
    select c.source_id, ts_rank_cd(c.tsv, q.query) as score
    from mv.chunks c, (select websearch_to_tsquery('pg_catalog.english', %(query)s) as query) q
    where c.tenant_id = %(tenant_id)s and c.tsv @@ q.query
  ) as ranked
  group by source_id
  order by max(score) desc, source_id
  limit 10
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One form of query in a tenant of so many passages; milliseconds, and shares of the exact first ten."""

    passages: int
    form: str
    route: WordsRoute
    p50_ms: float
    p95_ms: float
    processor_ms: float
    recall: float
    proved: float
    candidates: float
    exact_ms: float
    plain_ms: float
    plain_recall: float


def main(sizes: Sequence[int]) -> None:
    with (
        fresh_database(load().postgres) as own,
        psycopg.connect(own.dsn("admin"), autocommit=True) as connection,
        asyncio.Runner() as runner,
    ):
        connection.execute("set maintenance_work_mem = '512MB'")
        segments = Segments(own, runner)
        words = _words(connection)
        small = _fill(connection, words, SMALL)
        print(
            f"{'passages':>9}  {'query':<9}  {'route':<8}  p50 ms  p95 ms  cpu ms  recall  proved  looked at  exact ms"
            "  ts_rank_cd ms  its recall"
        )
        _print(_measure(connection, segments, words, small, SMALL))
        for size in sizes:
            tenant_id = _fill(connection, words, size)
            segments.write(connection, size)
            _print(_measure(connection, segments, words, tenant_id, size))
            _print_costs(connection, tenant_id, size)
        print(f"the tenant of {SMALL} again, beside {max(sizes)}")
        _print(_measure(connection, segments, words, small, SMALL))


def _print(rows: Sequence[Row]) -> None:
    for row in rows:
        print(
            f"{row.passages:>9}  {row.form:<9}  {row.route:<8}  {row.p50_ms:>6.1f}  {row.p95_ms:>6.1f}"
            f"  {row.processor_ms:>6.1f}  {row.recall:>6.3f}  {row.proved:>6.2f}  {row.candidates:>9.0f}"
            f"  {row.exact_ms:>8.0f}  {row.plain_ms:>13.0f}  {row.plain_recall:>10.3f}",
            flush=True,
        )


# --- texts ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Words:
    """Paragraphs as stems, None where the dictionary leaves a word out; every word of them; titles as they were."""

    paragraphs: list[list[str | None]]
    every: list[str | None]
    titles: list[str]


def _words(connection: psycopg.Connection[Any]) -> Words:
    texts = [file.read_text() for file in sorted(DECISIONS.glob("0*.md"))]
    paragraphs = [re.findall(r"[a-z0-9]+", part.lower()) for text in texts for part in re.split(r"\n\n+", text)]
    written = sorted({word for paragraph in paragraphs for word in paragraph})
    rows = connection.execute("select w, ts_lexize('english_stem', w) from unnest(%s::text[]) as w", [written])
    stems = {word: found[0] if found else None for word, found in rows}
    stemmed = [[stems[word] for word in paragraph] for paragraph in paragraphs if len(paragraph) > 15]
    return Words(stemmed, [word for each in stemmed for word in each], [parse(text).title for text in texts])


def _passage(chance: random.Random, words: Words) -> list[str | None]:
    """A paragraph or two, a third of whose words are any others, and some of whose words nearly nobody has."""
    wanted = chance.randint(40, 110)
    passage: list[str | None] = []
    while len(passage) < wanted:
        passage += chance.choice(words.paragraphs)[:60]
    for at in range(wanted):
        draw = chance.random()
        if draw < 0.30:
            passage[at] = chance.choice(words.every)
        elif draw < 0.36:
            passage[at] = f"{chance.choice(('svc', 'mod', 'job'))}{int(chance.paretovariate(0.6)) % 10_000_000}"
    return passage[:wanted]


def _rows(chance: random.Random, words: Words, tenant_id: UUID, size: int) -> Iterator[tuple[Any, ...]]:
    """Sources of one to three passages. A title is a handful of words."""
    filled = 0
    while filled < size:
        source_id, title = new_id(), [chance.choice(words.every) for _ in range(chance.randint(5, 10))]
        for ordinal in range(chance.choice((1, 1, 1, 2, 2, 3))):
            passage = _passage(chance, words)
            places: dict[str, list[str]] = {}
            for at, word in enumerate([*(title if ordinal == 0 else []), *passage], 1):
                if word:
                    label = "A" if ordinal == 0 and at <= len(title) else ""
                    places.setdefault(word, []).append(f"{at}{label}")
            tsv = " ".join(f"{word}:{','.join(at)}" for word, at in places.items())
            body = " ".join(word or "the" for word in passage)
            yield (
                *(tenant_id, "adr", source_id, 1, ordinal, "", body, 0, len(body)),
                *(hashlib.sha256(body.encode()).digest(), tsv, sum(map(len, places.values()))),
            )
            filled += 1


_STATES = """
  insert into mv.search_state (
    tenant_id, kind, source_id, words_version, meaning_version, title, status, effective_at, recorded_at,
    words_at, chunks, length
  )
  select tenant_id, kind, source_id, 1, 1, 'Decision', 'accepted', now(), now(), now(), count(*), sum(length)
  from mv.chunks
  where tenant_id = %s
  group by tenant_id, kind, source_id
"""
_KEEP = "select mv.keep_words(%s::uuid[], %s::text[], %s::uuid[])"


def _fill(connection: psycopg.Connection[Any], words: Words, size: int) -> UUID:
    """Indexes are made after the rows where there are many; what the flow keeps is written by what the flow calls."""
    tenant_id, began_s = new_id(), time.monotonic()
    connection.execute("insert into app.tenants values (%s, %s, 'bench')", [tenant_id, f"bench-{size}"])
    if size > SMALL:
        connection.execute("drop index mv.chunks_tsv, mv.chunks_hash, mv.source_words_words")
    with connection.cursor().copy("copy mv.chunks from stdin") as rows:
        for row in _rows(random.Random(size), words, tenant_id, size):
            rows.write_row(row)
    connection.execute(_STATES, [tenant_id])
    connection.execute("vacuum analyze mv.chunks, mv.search_state")
    found = connection.execute("select source_id from mv.search_state where tenant_id = %s order by 1", [tenant_id])
    ids = [row[0] for row in found]
    for start in range(0, len(ids), KEEP_AT_ONCE):
        some = ids[start : start + KEEP_AT_ONCE]
        connection.execute(_KEEP, [[tenant_id] * len(some), ["adr"] * len(some), some])
    if size > SMALL:
        connection.execute(
            "create index source_words_words on mv.source_words using gin (words) with (fastupdate = off)"
        )
        connection.execute("create index chunks_tsv on mv.chunks using gin (tsv)")
        connection.execute("create index chunks_hash on mv.chunks (tenant_id, text_hash)")
    connection.execute("vacuum analyze mv.source_words, mv.word_stats, mv.word_totals, mv.chunks")
    print(f"filled {size} passages, {len(ids)} sources in {time.monotonic() - began_s:.0f} s", flush=True)
    return tenant_id


_COMMON = """
  select lexeme
  from mv.word_stats
  where tenant_id = %s and lexeme ~ '^[a-z]{4,}$'
  group by lexeme
  order by sum(sources) desc
  limit %s
"""
_BYTES = """
  select
    pg_size_pretty(pg_table_size('mv.source_words')),
    pg_size_pretty(pg_relation_size('mv.source_words_words')),
    pg_size_pretty(pg_total_relation_size('mv.word_stats')),
    pg_size_pretty(pg_relation_size('mv.chunks_tsv')), pg_size_pretty(pg_table_size('mv.chunks'))
"""
PACKED_BYTES = """
  select pg_size_pretty(pg_total_relation_size('mv.word_segments') + pg_total_relation_size('mv.word_pages'))
"""
_SOME = "select source_id from mv.search_state where tenant_id = %s order by md5(source_id::text) limit %s"
_EDIT = """
  update mv.chunks
  set tsv = tsv || to_tsvector('english', 'edited anew ' || random())
  where tenant_id = %s and kind = 'adr' and source_id = %s
"""

# --- measuring ------------------------------------------------------------------------------------------------------


def _queries(connection: psycopg.Connection[Any], words: Words, tenant_id: UUID) -> dict[str, list[str]]:
    chance = random.Random(5)
    titles = chance.sample(words.titles, QUERIES)
    common = [row[0] for row in connection.execute(_COMMON, [tenant_id, QUERIES])]
    return {
        "title": titles,
        "question": [f"why do we {title} and what does it mean for how we work" for title in titles],
        "one word": common,
        "3 common": [" ".join(chance.sample(common, 3)) for _ in range(QUERIES)],
    }


def _measure(
    connection: psycopg.Connection[Any], segments: Segments, words: Words, tenant_id: UUID, size: int
) -> list[Row]:
    connection.execute("select set_config('app.tenant_id', %s, false)", [str(tenant_id)])
    queries = _queries(connection, words, tenant_id)
    return [
        row
        for form, some in queries.items()
        for row in _measure_form(connection, segments, tenant_id, size, form, some)
    ]


def _measure_form(
    connection: psycopg.Connection[Any],
    segments: Segments,
    tenant_id: UUID,
    size: int,
    form: str,
    queries: Sequence[str],
) -> Iterator[Row]:
    plain_recalls, exact_ms, plain_ms, tenths = [], [], [], []
    for query in queries:
        exact, ms = _timed(connection, EXACT, [query])
        exact_ms.append(ms)
        plain, ms = _timed(connection, PLAIN, {"query": " or ".join(query.split()), "tenant_id": tenant_id})
        plain_ms.append(ms)
        best = exact[:10]
        tenths.append((best[-1][1], len(best)))
        ids = {row[0] for row in exact if row[1] >= best[-1][1]}
        plain_recalls.append(len(ids & {row[0] for row in plain}) / len(best))
    ways: dict[WordsRoute, Find] = {"lists": lambda query: connection.execute(BOUNDED, [query]).fetchall()}
    if size > SMALL:
        ways["segments"] = segments.find
    with segments.searching(tenant_id):
        for route, find in ways.items():
            found = [find(query) for query in queries]
            recalls = [
                sum(row[1] >= tenth for row in rows[:10]) / wanted
                for rows, (tenth, wanted) in zip(found, tenths, strict=True)
            ]
            began = _processor_ms(connection, segments)
            took_ms = [_time(find, query) for _ in range(ROUNDS) for query in queries]
            processor_ms = (_processor_ms(connection, segments) - began) / len(took_ms)
            p50, p95 = np.percentile(took_ms, [50, 95])
            first = [rows[0] for rows in found]
            told = [recalls, [row[3] for row in first], [row[2] for row in first], exact_ms, plain_ms, plain_recalls]
            means = [float(np.mean(each)) for each in told]
            yield Row(size, form, route, float(p50), float(p95), processor_ms, *means)


def _processor_ms(connection: psycopg.Connection[Any], segments: Segments) -> float:
    """What this process has used so far, with both of its servers."""
    processes = [psutil.Process(), *map(psutil.Process, (connection.info.backend_pid, segments.backend_pid))]
    return sum(sum(each.cpu_times()[:2]) for each in processes) * 1000


Find = Callable[[str], Sequence[Any]]
"""A way to search: sources, scores, how many were looked at, whether it is proved."""


def _time(find: Find, query: str) -> float:
    began_s = time.perf_counter()
    find(query)
    return (time.perf_counter() - began_s) * 1000


class Segments:
    """Searches as the API does in a tenant that has segments, with a connection of its own, and writes them."""

    def __init__(self, own: PostgresSettings, runner: asyncio.Runner) -> None:
        self._own, self._runner = own, runner
        self._connection = runner.run(asyncpg.connect(own.dsn("api")))
        self._tenant_id = UUID(int=0)
        self.backend_pid: int = self._connection.get_server_pid()

    def write(self, connection: psycopg.Connection[Any], size: int) -> None:
        """Take every step that the agent would."""
        began_s, steps = time.monotonic(), 0
        settings = SearchSettings(words_packed_min=PACKED_MIN)
        with connect(self._own, name="bench", autocommit=True) as flows:
            while True:
                with flows.transaction():
                    if step(flows, settings) is None:
                        break
                steps += 1
        connection.execute("vacuum analyze mv.word_packs, mv.word_segments, mv.word_pages, mv.word_changes")
        room = connection.execute(PACKED_BYTES).fetchone()
        print(
            f"{size:>9}  segments: {steps} steps, {time.monotonic() - began_s:.0f} s, {room and room[0]} together",
            flush=True,
        )

    @contextmanager
    def searching(self, tenant_id: UUID) -> Iterator[None]:
        """Search in one tenant, as it is now. It is over soon: whoever reads holds up who makes an index."""
        self._runner.run(self._connection.execute("begin isolation level repeatable read, read only"))
        try:
            self._runner.run(self._connection.fetch("select set_config('app.tenant_id', $1, true)", str(tenant_id)))
            self._tenant_id = tenant_id
            yield
        finally:
            self._runner.run(self._connection.execute("rollback"))

    def find(self, query: str) -> Sequence[Any]:
        return self._runner.run(self._find(query))

    async def _find(self, query: str) -> Sequence[Any]:
        read = await packed.read(self._connection, self._tenant_id, query, Allowed(), 100)
        assert read, "the tenant has segments"
        found = read.rank()
        best = sorted(found.hits, key=lambda hit: (-hit.score, hit.source_id))[:100]
        return [(hit.source_id, hit.score, len(best), found.proved) for hit in best]


def _timed(connection: psycopg.Connection[Any], query: Any, values: Any) -> tuple[list[Any], float]:
    began_s = time.perf_counter()
    rows = connection.execute(query, values).fetchall()
    return rows, (time.perf_counter() - began_s) * 1000


def _print_costs(connection: psycopg.Connection[Any], tenant_id: UUID, size: int) -> None:
    """Bytes of what is kept, and the processor's time for an edit of one source, one at a time."""
    sizes = connection.execute(_BYTES).fetchone()
    assert sizes is not None
    ids = connection.execute(_SOME, [tenant_id, UPDATES]).fetchall()
    server = psutil.Process(connection.info.backend_pid)
    began = sum(server.cpu_times()[:2])
    for (source_id,) in ids:
        connection.execute(_EDIT, [tenant_id, source_id])
        connection.execute(_KEEP, [[tenant_id], ["adr"], [source_id]])
    processor_ms = (sum(server.cpu_times()[:2]) - began) * 1000 / len(ids)
    print(
        f"{size:>9}  an edit: {processor_ms:.1f} ms of the processor; words {sizes[0]}, their index {sizes[1]}, "
        f"statistics {sizes[2]}; beside chunks {sizes[4]}, their index {sizes[3]}",
        flush=True,
    )


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or SIZES)
