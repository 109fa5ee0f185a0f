"""What one changed decision costs the flow `related`, by how many the tenant has: everybody compared, and candidates.

Owns the lists that are there before, which are made up: ten others drawn by chance, so that a change falls out of ten
lists, and these are made anew. Their scores are above all others, so nobody else's list moves. Refuses to fill tenants:
`bench/search_world.py` does, with real texts that are cut short. Processor time is that of the flow and of its
connection's process; the share is how many of the exact ten candidates find.

    python -m bench.related --decisions 1000 10000
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final
from uuid import UUID

import psycopg

from bench.search import build_indexes, fresh_database
from bench.search_world import fill, gather
from connectors.embedders import build
from connectors.postgres.connections import Connection
from dataflows.nearness import RELATED_MAX
from dataflows.related_candidates import find_candidates
from dataflows.related_features import KIND, refresh
from dataflows.related_lists import RelatedUpdate, read_corpus
from runtime.settings import EmbedderSettings, PostgresSettings, load

DECISIONS: Final = (1_000, 10_000)
PASSAGES: Final = 4
"""Passages of each decision: a fifth of what real ones have, so that tenants are filled in minutes."""
EDITS: Final = 5
AT_ONCE: Final = 500

IDS = """
  select source_id
  from mv.search_state
  where tenant_id = %s
  order by source_id
"""
LISTS = """
  copy mv.related (tenant_id, kind, source_id, related_id, score, words, terms, meaning, links_to, links_from)
  from stdin
"""


def measure(postgres: PostgresSettings, embedder: EmbedderSettings, sizes: Sequence[int]) -> Iterator[str]:
    """Fill, build, change, drop."""
    yield f"{'decisions':>9}  {'compared with':<13}  {'processor ms':>12}  {'read':>6}  {'found':>5}"
    with fresh_database(postgres) as own, psycopg.connect(own.dsn("admin"), autocommit=True) as admin:
        built = build(embedder)
        material = gather(admin, built)
        short = replace(material, texts=tuple((title, parts[:PASSAGES]) for title, parts in material.texts))
        tenants = {size: fill(admin, short, f"bench-{size}", size * PASSAGES) for size in sizes}
        with psycopg.connect(own.dsn("flows"), autocommit=True) as flows:
            for tenant_id in tenants.values():
                _begin(flows, admin, built.space.name, tenant_id)
            build_indexes(flows)
            admin.execute("vacuum analyze")
            for tenant_id in tenants.values():
                yield from _rows(flows, built.space.name, tenant_id)


def _begin(flows: Connection, admin: Connection, space: str, tenant_id: UUID) -> None:
    """Features of all, and a list of each."""
    chance = random.Random(tenant_id.int)
    ids = [row[0] for row in flows.execute(IDS, [tenant_id])]
    for start in range(0, len(ids), AT_ONCE):
        with flows.transaction():
            refresh(flows, space, tenant_id, ids[start : start + AT_ONCE])
    with admin.cursor() as cursor, cursor.copy(LISTS) as copy:
        for source_id in ids:
            others = [each for each in chance.sample(ids, RELATED_MAX + 1) if each != source_id][:RELATED_MAX]
            for other in others:
                copy.write_row((tenant_id, KIND, source_id, other, 0.99, 0.99, "{}", 0.99, "{}", "{}"))


def _rows(flows: Connection, space: str, tenant_id: UUID) -> Iterator[str]:
    ids = [row[0] for row in flows.execute(IDS, [tenant_id])]
    some = ids[:: max(1, len(ids) // EDITS)][:EDITS]
    for name, approximate in (("everybody", False), ("candidates", True)):
        read = 0
        began_ms = _spent_ms(flows)
        for each in some:
            with flows.transaction(force_rollback=True):
                update = RelatedUpdate(flows, space, tenant_id, {each}, approximate=approximate)
                update.write()
                read += len(update.corpus.ids)
        spent_ms = (_spent_ms(flows) - began_ms) / len(some)
        found = _found(flows, space, tenant_id, some) if approximate else 1.0
        yield f"{len(ids):>9}  {name:<13}  {spent_ms:>12.0f}  {read // len(some):>6}  {found:>5.3f}"


def _spent_ms(flows: Connection) -> float:
    fields = Path(f"/proc/{flows.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return (time.process_time() + ticks / os.sysconf("SC_CLK_TCK")) * 1_000


def _found(flows: Connection, space: str, tenant_id: UUID, some: Sequence[UUID]) -> float:
    """The share of the ten nearest, everybody compared, that are among the candidates."""
    corpus = read_corpus(flows, tenant_id)
    shares = []
    for each in some:
        with flows.transaction(force_rollback=True):
            flows.execute("delete from mv.related where tenant_id = %s", [tenant_id])  # made up, they find nobody
            candidates = find_candidates(flows, space, tenant_id, [each])
        right = {key.related_id for key in corpus.list_related(each)}
        shares.append(len(right & candidates) / len(right))
    return sum(shares) / len(shares)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--decisions", type=int, nargs="+", default=DECISIONS)
    settings = load()
    for row in measure(settings.postgres, settings.embedder, arguments.parse_args().decisions):
        print(row, flush=True)


if __name__ == "__main__":
    main()
