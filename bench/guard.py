"""How often the guard shows the decision that a change was made under, and how often it cries wolf: on real commits.

`python -m bench.guard` takes the commits of this checkout that touch at most three decisions and some code. The code's
diff, without documents and tests, is the change; the decisions that the same commit touched are what should be shown.
All decisions of now are the log. It fills a database of its own on the Postgres of the settings, with the real
embedder, asks the service as the route does, prints a table, and drops the database. Two minutes.

Beside it stand all commits of at most 262 144 characters, of which nobody has said that they break anything: each that
seems to is an alarm; the labelled changes themselves are left out. `--alarms` prints this alone, without a database.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from adriatic.cli.evaluate_guard import read_decisions
from api.adrs.document import parse
from api.db import Database
from api.guard.breaking import find_breaches
from api.guard.change import read_change
from api.guard.schemas import CHANGE_CHARS_MAX, GOVERNING_MAX, CheckRequest
from api.guard.service import check
from api.guard.uses import read_uses
from api.search.embedding import QueryEmbedder
from bench.search import fresh_database
from connectors.embedders import build
from runtime.settings import PostgresSettings, load
from tests.api.search.corpus import writing

DECISIONS = re.compile(r"docs/decisions/\d{4}-(?P<slug>.+)\.md")
DECISIONS_OF_NOW = "docs/decisions"
TOUCHED_MAX = 3
"""A commit that touches more decisions was made under none of them."""
LEFT_OUT = re.compile(r"(docs|tests)/|.*\.md|requirements\.lock")
SHOWN = (1, 3, 5, 10)


SET = ("tests/api/guard", "tests/adriatic/cli/test_check.py", "tests/adriatic/cli/test_evaluate_guard.py")
"""What is full of breaches on purpose."""


class Case(NamedTuple):
    """A commit: the diff of its code, and the slugs of the decisions that it touched."""

    commit: str
    change: str
    wanted: frozenset[str]


def git(repository: Path, *arguments: str) -> str:
    """What git prints."""
    told = subprocess.run(["git", *arguments], cwd=repository, capture_output=True, check=True)
    return told.stdout.decode(errors="replace")


def find_cases(repository: Path, slugs: frozenset[str]) -> Iterator[Case]:
    """The commits that can be asked about, the newest first."""
    for block in git(repository, "log", "--no-merges", "--format=%x00%h", "--name-only").split("\0")[1:]:
        commit, *names = block.split()
        wanted = {found["slug"] for found in map(DECISIONS.fullmatch, names) if found} & slugs - {"dependencies"}
        code = [name for name in names if not LEFT_OUT.match(name)]
        if 1 <= len(wanted) <= TOUCHED_MAX and code:
            change = git(repository, "show", "--format=", "--unified=0", "--no-ext-diff", commit, "--", *code)
            yield Case(commit, change[:CHANGE_CHARS_MAX], frozenset(wanted))


async def measure(postgres: PostgresSettings, repository: Path) -> list[str]:
    """The lines of the table."""
    settings = load()
    built = build(settings.embedder)
    texts = {
        found["slug"]: path.read_text(encoding="utf-8")
        for path in sorted((repository / "docs/decisions").glob("*.md"))
        if (found := DECISIONS.fullmatch(f"docs/decisions/{path.name}"))
    }
    cases = list(find_cases(repository, frozenset(texts)))
    with fresh_database(postgres) as own, writing(settings.model_copy(update={"postgres": own}), built) as corpus:
        tenant_id = corpus.tenant("bench")
        slugs: dict[UUID, str] = {}
        for number, (slug, text) in enumerate(texts.items(), 1):
            slugs[corpus.adr(tenant_id, parse(text).title or slug, text, number=number)] = slug
        database = Database(own)
        await database.open()
        try:
            ranks = [await _rank(database, QueryEmbedder(lambda: built), tenant_id, case, slugs) for case in cases]
        finally:
            await database.close()
    return [*_table(cases, ranks, len(texts)), "", *cry_wolf(repository)]


def cry_wolf(repository: Path) -> Iterator[str]:
    """What seems to be broken by commits that are there."""
    decisions = list(read_decisions(repository / DECISIONS_OF_NOW).values())
    looked, alarms = 0, []
    for commit in git(repository, "log", "--no-merges", "--format=%h").split():
        left_out = [f":!{path}" for path in SET]
        change = git(repository, "show", "--format=", "--unified=0", "--no-ext-diff", commit, "--", ".", *left_out)
        if 0 < len(change) <= CHANGE_CHARS_MAX:
            looked += 1
            found = find_breaches(read_uses(read_change(change)), decisions)
            alarms += [f"  {commit} {each.line.path}:{each.line.number} {each.evidence} {each.named}" for each in found]
    yield f"{looked} commits, of which nobody has said that they break a decision: {len(alarms)} alarms"
    yield from alarms


async def _rank(
    database: Database, embedder: QueryEmbedder, tenant_id: UUID, case: Case, slugs: dict[UUID, str]
) -> list[int]:
    """The places of the wanted decisions among those that are shown."""
    found = await check(database, embedder, tenant_id, CheckRequest(case.change, limit=GOVERNING_MAX))
    shown = [slugs[each.decision.adr_id] for each in found.governing]
    return sorted(shown.index(slug) + 1 for slug in case.wanted if slug in shown)


def _table(cases: Sequence[Case], ranks: Sequence[Sequence[int]], decisions: int) -> list[str]:
    wanted = sum(len(case.wanted) for case in cases)
    lines = [f"{len(cases)} commits under {wanted} of {decisions} decisions"]
    for most in SHOWN:
        found = sum(rank <= most for each in ranks for rank in each)
        helped = sum(any(rank <= most for rank in each) for each in ranks)
        lines.append(
            f"among the first {most:>2}: {found / wanted:6.1%} of the decisions, "
            f"one of them for {helped / len(cases):6.1%} of the commits, by chance {most / decisions:5.1%}"
        )
    return lines


def main() -> None:
    """Print the table for this checkout, or for another repository with a folder `docs/decisions`."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repository", type=Path, default=Path(__file__).resolve().parents[1])
    arguments.add_argument("--alarms", action="store_true", help="Only what commits seem to break.")
    asked = arguments.parse_args()
    lines = cry_wolf(asked.repository) if asked.alarms else asyncio.run(measure(load().postgres, asked.repository))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
