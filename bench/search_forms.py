"""What it costs to take a word as it was meant, by the size of the tenant's dictionary.

`python -m bench.search_forms 20000 200000` fills the dictionary of a tenant in a database of its own on the Postgres of
the settings, prints a table, and drops it. Words are made letter by letter, as they follow each other in this project's
decisions, so that as many begin alike as in prose. Owns no figure.
"""

from __future__ import annotations

import asyncio
import random
import re
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import psutil
import psycopg

from api.db import Connection, Database, tenant_transaction
from api.search import spelling
from api.search.beginnings import complete
from api.search.inflected import find_stems
from bench.search import fresh_database
from bench.search_world import DECISIONS
from runtime.ids import new_id
from runtime.settings import PostgresSettings, load
from schemas.stems import mark_stems

SIZES = (20_000, 200_000)
WORDS = 60
"""Of each form."""
OTHERS = ("de", "fr", "nl")
"""Languages whose stems of all words a tenant of several languages has."""

_TENANT = "insert into app.tenants (tenant_id, slug, name) values (%s, %s, %s)"
_FILL = """
  insert into mv.word_stats (tenant_id, kind, lexeme, tier, sources)
  select %s, 'adr', w.lexeme, 3, w.sources
  from unnest(%s::text[], %s::integer[]) as w (lexeme, sources)
"""
_TOTAL = "insert into mv.word_totals (tenant_id, kind, sources, length) values (%s, 'adr', 100000, 10000000)"

_OWN_STEMS = "select w from unnest(%s::text[]) as w where to_tsvector('pg_catalog.english', w) @@ mv.lexeme_query(w)"

Form = Callable[[Connection, str], Awaitable[object]]


def main(sizes: Sequence[int]) -> None:
    measure(load().postgres, sizes)


def measure(postgres: PostgresSettings, sizes: Sequence[int]) -> None:
    with fresh_database(postgres) as own, psycopg.connect(own.dsn("admin"), autocommit=True) as connection:
        print(f"{'words':>9}  {'what':<31}  {'p50 ms':>7}  {'p95 ms':>7}  {'cpu ms':>7}")
        for size in sizes:
            chance = random.Random(size)
            words = _make_words(chance, size)
            tenant_id = _fill(connection, words)
            long = [word for word in words if len(word) >= 7 and word.isalpha()]
            some = chance.sample(long, WORDS)
            stems = {"".join(row) for row in connection.execute(_OWN_STEMS, [some]).fetchall()}
            slips = [_misspell(chance, word) for word in some]
            forms: list[tuple[str, list[str], Form]] = [
                ("a word that is known", [word for word in some if word in stems], _correct),
                ("one misspelt word", slips, _correct),
                ("a word with two slips", [_misspell(chance, word) for word in slips], _correct),
                *((f"an unfinished word, {n} letters", [word[:n] for word in some], complete) for n in (2, 3, 5)),
            ]
            for what, asked, form in (*forms, ("other forms, in English texts", some, _inflect)):
                _print(own, tenant_id, f"{size:>9}  {what}", asked, form)
            for language in OTHERS:
                stems = {stem for word in words for stem in mark_stems(language, word)}
                connection.execute(_FILL, [tenant_id, list(stems), [100_000] * len(stems)])
            connection.execute("vacuum analyze mv.word_stats")
            _print(own, tenant_id, f"{size:>9}  other forms, in three languages", some, _inflect)


def _print(own: PostgresSettings, tenant_id: UUID, what: str, asked: Sequence[str], form: Form) -> None:
    took_ms, cpu_ms = asyncio.run(_time(own, tenant_id, asked, form))
    p95 = statistics.quantiles(took_ms, n=20)[-1]
    print(f"{what:<42}  {statistics.median(took_ms):>7.2f}  {p95:>7.2f}  {cpu_ms:>7.2f}")


async def _inflect(connection: Connection, word: str) -> object:
    return await find_stems(connection, word, [word])


async def _correct(connection: Connection, word: str) -> object:
    return await spelling.correct(connection, [word])


def _make_words(chance: random.Random, size: int) -> list[str]:
    text = " ".join(path.read_text() for path in DECISIONS.glob("*.md")).lower()
    real = sorted(set(re.findall("[a-z]{3,}", text)))
    following: dict[str, list[str]] = defaultdict(list)
    for word in real:
        for at in range(len(word) + 1):
            following[word[max(at - 3, 0) : at]].append(word[at : at + 1])
    words = set(real[:size])
    while len(words) < size:
        word = ""
        while len(word) < 20 and (letter := chance.choice(following[word[-3:]])):
            word += letter
        words.add(word)
    return sorted(words)


def _fill(connection: psycopg.Connection[object], words: Sequence[str]) -> UUID:
    tenant_id = new_id()
    connection.execute(_TENANT, [tenant_id, f"bench-{len(words)}", "bench"])
    connection.execute(_TOTAL, [tenant_id])
    counts = [1 + int(100_000 / (1 + _number(word) % 90_000)) for word in words]
    connection.execute(_FILL, [tenant_id, list(words), counts])
    connection.execute("vacuum analyze mv.word_stats")
    return tenant_id


def _number(word: str) -> int:
    """The same in every run."""
    return sum(ord(letter) * 31**at for at, letter in enumerate(word))


def _misspell(chance: random.Random, word: str) -> str:
    at = chance.randrange(1, len(word) - 1)
    return chance.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + chance.choice("aeinrst") + word[at + 1 :],
            word[:at] + chance.choice("aeinrst") + word[at:],
        ]
    )


async def _time(own: PostgresSettings, tenant_id: UUID, words: Sequence[str], form: Form) -> tuple[list[float], float]:
    """Milliseconds of each, and of processors for one in the mean: ours and the server's."""
    database = Database(own)
    await database.open()
    took_ms = []
    try:
        async with tenant_transaction(database, tenant_id, read_only=True) as connection:
            server = psutil.Process(await connection.fetchval("select pg_backend_pid()"))
            for word in words[:5]:
                await form(connection, word)
            before_s = time.process_time() + sum(server.cpu_times()[:2])
            for word in words:
                began_s = time.perf_counter()
                await form(connection, word)
                took_ms.append((time.perf_counter() - began_s) * 1000)
            spent_s = time.process_time() + sum(server.cpu_times()[:2]) - before_s
    finally:
        await database.close()
    return took_ms, spent_s * 1000 / len(words)


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or SIZES)
