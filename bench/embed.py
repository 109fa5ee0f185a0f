"""What embedding costs, and how long an edit waits for it: alone, and while ten thousand texts of an import wait.

Owns the load (bounded, in two tenants of its own) and the reading of the clocks. The import goes through the installed
command, edits through the API, one at a time. Texts are paragraphs of this project's decisions, each with a number of
its own, so that none is known. What waits at the end is embedded afterwards: some minutes of the machine.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg

from bench.path import DECISIONS, client, new_tenant
from connectors.embedders import build
from dataflows.chunker import chunk
from runtime.deadline import Deadline
from runtime.settings import Settings

TEXTS = 200
"""Embedded in each round of the model alone: some seconds."""
ROUNDS = 3
THREADS = (1, 2)
SOURCES, PASSAGES = 100, 110
"""Of the import: so many records of so many texts. A tenth more than are to wait, because embedding begins at once."""
WAITING = 10_000
EDITS = 20
EDIT_S_MAX = 120.0
"""How long an edit is looked for. Where one is not found by then, the figure is this bound, and `found` says so."""
INDEXED_S_MAX = 300.0
POLL_S = 0.01


def figures(settings: Settings) -> list[dict[str, Any]]:
    """Rows of the model alone, then of edits on the running system."""
    return [*(_rate(settings, threads) for threads in THREADS), *_freshness(settings)]


def _rate(settings: Settings, threads: int) -> dict[str, Any]:
    """The best of some rounds: what else runs on the machine only ever makes it slower."""
    embedder = build(settings.embedder.model_copy(update={"threads": threads}), settings.secrets)
    texts = [part.text for part in chunk("Record", _body(random.Random(3), TEXTS, "model"))]
    took = []
    try:
        embedder.embed(texts[:10])
        for _ in range(ROUNDS):
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            embedder.embed(texts)
            took.append((time.perf_counter() - began_s, time.process_time() - began_cpu_s))
    finally:
        embedder.close()
    wall_s, cpu_s = np.min(took, axis=0)
    return {
        "what": f"model alone, {threads} at a time",
        "texts_per_s": len(texts) / float(wall_s),
        "texts_per_cpu_s": len(texts) / float(cpu_s),
    }


def _freshness(settings: Settings) -> Iterator[dict[str, Any]]:
    slug, importing = new_tenant(settings)
    _, other = new_tenant(settings)
    for tenant_id in (importing, other):
        with client(settings, tenant_id) as http:
            http.post("/v1/adrs", json={"body": "# Warm\n\nThe first write of a tenant.\n"}).raise_for_status()
    yield _edits(settings, "edit alone", other)
    _import(settings, slug, importing)
    yield _edits(settings, "edit while an import waits, another tenant", other)
    yield _edits(settings, "edit while an import waits, the same tenant", importing)


def _edits(settings: Settings, what: str, tenant_id: uuid.UUID) -> dict[str, Any]:
    """Write records one after the other, each when the one before is found by meaning."""
    took: list[float] = []
    with client(settings, tenant_id) as http, psycopg.connect(settings.postgres.dsn("flows"), autocommit=True) as look:
        waiting = _count_waiting(look)
        found = EDITS
        for number in range(EDITS):
            took.append(_edit(http, look, tenant_id, f"{what} {number}"))
            if took[-1] >= EDIT_S_MAX:
                found = number
                break
    p50, p95 = (float(value) * 1000 for value in np.percentile(took, [50, 95]))
    return {"what": what, "p50_ms": p50, "p95_ms": p95, "found": f"{found} of {EDITS}", "texts_waiting": waiting}


_IS_FOUND = """
  select extract(epoch from meaning_at - recorded_at)::float8
  from mv.search_state
  where tenant_id = %s and kind = 'adr' and source_id = %s and meaning_version = words_version
"""


def _edit(http: httpx.Client, look: psycopg.Connection[Any], tenant_id: uuid.UUID, mark: str) -> float:
    """Seconds from the commit until it is found by meaning, by the clock of the database."""
    answer = http.post("/v1/adrs", json={"body": f"# Edit\n\nNobody wrote this before: {mark} {uuid.uuid4()}.\n"})
    answer.raise_for_status()
    deadline = Deadline.after(EDIT_S_MAX)
    while not deadline.passed:
        row = look.execute(_IS_FOUND, [tenant_id, answer.json()["adr_id"]]).fetchone()
        if row is not None:
            return float(row[0])
        time.sleep(POLL_S)
    return EDIT_S_MAX


_COUNT_WAITING = """
  select coalesce(sum(chunks), 0)::int
  from mv.search_state
  where not deleted and meaning_version is distinct from words_version
"""


def _count_waiting(look: psycopg.Connection[Any]) -> int:
    """Passages of sources that wait for vectors: an upper bound, as some of a source's may be there."""
    row = look.execute(_COUNT_WAITING).fetchone()
    assert row is not None
    return int(row[0])


_IS_INDEXED = "select count(*) > %s from mv.search_state where tenant_id = %s"


def _import(settings: Settings, slug: str, tenant_id: uuid.UUID) -> None:
    """Import through the command, and wait until all of it is found by words."""
    chance = random.Random(4)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "history.jsonl"
        file.write_text("".join(json.dumps(_change(chance, number)) + "\n" for number in range(SOURCES)))
        command = [sys.executable, "-m", "adriatic", "import", str(file), "--tenant", slug, "--no-wait"]
        subprocess.run(command, check=True, capture_output=True)
    deadline = Deadline.after(INDEXED_S_MAX)
    with psycopg.connect(settings.postgres.dsn("flows"), autocommit=True) as look:
        while look.execute(_IS_INDEXED, [SOURCES, tenant_id]).fetchone() != (True,):
            if deadline.passed:
                raise SystemExit(f"not found by words within {INDEXED_S_MAX} s; see `adriatic status`")
            time.sleep(POLL_S)
        if (waiting := _count_waiting(look)) < WAITING:
            raise SystemExit(f"only {waiting} texts wait: this machine embeds faster than it imports")


def _change(chance: random.Random, number: int) -> dict[str, Any]:
    return {
        "repo": "bench",
        "commit": f"{number:040x}",
        "committed_at": "2026-01-01T10:00:00+00:00",
        "subject": "Add",
        "change": "A",
        "path": f"adr/{number:04}-record.md",
        "old_path": None,
        "content": f"# Record {number}\n\n{_body(chance, PASSAGES, f'import {number}')}\n",
    }


def _body(chance: random.Random, passages: int, mark: str) -> str:
    """So many paragraphs, long enough to be a passage each."""
    parts = [part for file in sorted(DECISIONS.glob("0*.md")) for part in file.read_text().split("\n\n")]
    prose = [" ".join(part.split()) for part in parts if part[:1].isalpha() and len(part) > 100]
    return "\n\n".join(f"{mark}, {number}: {' '.join(chance.sample(prose, 4))[:700]}" for number in range(passages))
