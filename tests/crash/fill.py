"""`make fill`: one tenant is filled with a great many passages while every process is killed in turn.

    make fill                                         20 000 passages, a kill every 15 s
    make fill ARGS="--passages 1000000 --every 60"    hours: the way to a tenant that needs all indexes

Everything is real but the embedder, which is an endpoint of its own that hashes words: the default one does some tens
of passages a second, and its speed is not what is asked here. Afterwards nothing is lost, doubled or dead, `adriatic
verify` is clean, the indexes are built, and texts that were written are found. Ends with 0 when it is so.
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import click
import httpx

from dataflows.chunker import chunk
from runtime.deadline import Deadline
from tests.connectors.embedders.stand_in import StandIn, answer
from tests.copies import new_home, running_in
from tests.crash import checks
from tests.crash.drivers import WORDS
from tests.crash.load import Driver, Load
from tests.crash.ring import made_tenant
from tests.crash.running import Hits
from tests.crash.schedule import Fault
from tests.system.conftest import Tenant, World

DIMENSION = 64
"""Of the vectors. Few, so that the graph of a million is built in minutes."""
SECTIONS = 100
"""Passages of an ADR, nearly: two hundred words a section are longer than what a passage is filled up to."""
RARE = 50_000
"""Words that few passages have, beside those that all have."""
WRITERS = 3
LOOK_S = 5.0
STUCK_S_MAX = 900.0
"""The longest time in which nothing arrives. A supervisor that was killed is back within seconds; a busy machine, and a
lane that waits for another, are slower."""
VERIFY_S_MAX = 7_200.0
SOUGHT = 20
"""Texts that are looked for in the end."""
_ARRIVED = """
  select
    (select count(*) from mv.search_state where tenant_id = %(tenant)s and words_version is not null),
    (select coalesce(sum(chunks), 0) from mv.search_state where tenant_id = %(tenant)s),
    (select count(*) from mv.search_state where tenant_id = %(tenant)s and meaning_version is not null)
"""
_DOUBLED = """
  select
    (select count(*) from mv.chunks where tenant_id = %(tenant)s),
    (select count(distinct (kind, source_id, ordinal)) from mv.chunks where tenant_id = %(tenant)s),
    (
      select count(*)
      from mv.chunks c
      where c.tenant_id = %(tenant)s
        and not exists (
          select from mv.embeddings e where e.tenant_id = c.tenant_id and e.text_hash = c.text_hash
        )
    )
"""
_UNBUILT = """
  select
    (select count(*) from mv.vector_indexes where tenant_id = %(tenant)s and state <> 'live'),
    (select count(*) from mv.word_packs where tenant_id = %(tenant)s and state <> 'live')
"""
_BUILT = """
  select
    (select count(*) from mv.vector_indexes where tenant_id = %(tenant)s),
    (select count(*) from mv.word_packs where tenant_id = %(tenant)s)
"""


@dataclass(frozen=True)
class Written:
    """One ADR that was acknowledged."""

    adr_id: str
    title: str
    passages: int


class Growth(Driver):
    """Creates ADRs of a hundred passages, no two of which are alike, until it has its share."""

    pause_s = 0.0

    def __init__(self, tenant: Tenant, world: World, seed: int, name: str, passages: int) -> None:
        self.name = name  # type: ignore[misc]
        super().__init__(tenant, world, seed)
        self.written: list[Written] = []
        self._wanted = passages
        self._numbers = itertools.count()

    @property
    def passages(self) -> int:
        return sum(each.passages for each in self.written)

    @property
    def is_done(self) -> bool:
        return bool(self.problems) or self._wanted <= 0

    def step(self) -> None:
        if self.is_done:
            time.sleep(LOOK_S / 10)
            return
        number = next(self._numbers)
        title, body = self._text(number)
        key = {"Idempotency-Key": f"{self.tenant.slug}-{self.name}-{number}"}
        made = self.patiently(lambda: self.ask("POST", "/v1/adrs", json={"body": body}, headers=key))
        assert made.status_code == 201, made.text
        found = len(chunk(title, body))
        self.written.append(Written(made.json()["adr_id"], title, found))
        self._wanted -= found

    def _text(self, number: int) -> tuple[str, str]:
        title = f"Decision {self.name} {number} on {self._rare()} and {self._rare()}"
        sections = [
            f"## {self.dice.choice(WORDS).title()} {part}\n\n{' '.join(self._words(32))}.\n" for part in range(SECTIONS)
        ]
        return title, f"# {title}\n\n## Status\n\nAccepted\n\n" + "\n".join(sections)

    def _words(self, count: int) -> Iterator[str]:
        for _ in range(count):
            yield self._rare() if self.dice.random() < 0.2 else self.dice.choice(WORDS)

    def _rare(self) -> str:
        return f"svc{self.dice.randrange(RARE)}"

    def check(self, hits: Sequence[Any]) -> Iterator[str]:
        ids = {
            str(row[0])
            for row in self.world.rows(
                "select adr_id from app.adrs where tenant_id = %s and title like %s",
                *(self.tenant.tenant_id, f"Decision {self.name} %"),
            )
        }
        acknowledged = {each.adr_id for each in self.written}
        if ids != acknowledged:
            yield f"{len(acknowledged - ids)} acknowledged ADRs are not there, {len(ids - acknowledged)} are too many"


class Filling:
    """One fill, and what is to be seen of it."""

    def __init__(self, world: World, tenant: Tenant, writers: Sequence[Growth]) -> None:
        self._world, self._tenant, self._writers = world, tenant, writers
        self._began_s = time.monotonic()

    def tell(self, line: str) -> None:
        click.echo(f"{time.monotonic() - self._began_s:>7.0f} s  {line}")

    def rows(self, query: str) -> tuple[Any, ...]:
        return self._world.rows(query.replace("%(tenant)s", f"'{self._tenant.tenant_id}'"))[0]

    def wait(self, hits: Hits, faults: Iterator[str], every_s: float) -> Iterator[str]:
        """Until all that was written has arrived; a process is killed every `every_s` for so long."""
        seen, moved, hit = None, Deadline.after(STUCK_S_MAX), Deadline.after(every_s)
        while True:
            time.sleep(LOOK_S)
            if hit.passed:
                target = next(faults)
                hits.run([Fault(0.0, target, "kill")], 0.0)
                self.tell(f"kill -9 {target}")
                hit = Deadline.after(every_s)
            try:
                arrived = self.rows(_ARRIVED)
            except Exception as error:  # the database may be the one that was killed
                self.tell(f"not seen: {type(error).__name__}")
                continue
            written = sum(len(each.written) for each in self._writers)
            passages = sum(each.passages for each in self._writers)
            if arrived != seen:
                seen, moved = arrived, Deadline.after(STUCK_S_MAX)
                self.tell(f"{passages} passages of {written} ADRs written; found by words: {arrived[1]} of "
                          f"{arrived[0]}, ADRs by meaning: {arrived[2]}")  # fmt: skip
            if all(each.is_done for each in self._writers) and arrived == (written, passages, written):
                return
            if any(each.problems for each in self._writers):  # which are told afterwards
                return
            if moved.passed:
                yield f"nothing arrived for {STUCK_S_MAX:g} s: {arrived} of {(written, passages, written)}"
                return

    def healed(self) -> Iterator[str]:
        """Every part is well. What comes after the searches, such as lists of related ADRs, may have a way to go."""
        deadline = Deadline.after(STUCK_S_MAX * 4)
        while not self._world.is_well():
            if deadline.passed:
                yield from checks.healed(self._world)
                return
            time.sleep(LOOK_S)
        self.tell("everything is well")

    def built(self) -> Iterator[str]:
        """The indexes that a tenant of its size gets."""
        deadline = Deadline.after(STUCK_S_MAX * 4)
        while self.rows(_UNBUILT) != (0, 0):
            if deadline.passed:
                yield f"indexes that are not live: {self.rows(_UNBUILT)}"
                return
            time.sleep(LOOK_S)
        self.tell("indexes by meaning and by words that are live: {}, {}".format(*self.rows(_BUILT)))

    def counted(self) -> Iterator[str]:
        passages = sum(each.passages for each in self._writers)
        there, distinct, unembedded = self.rows(_DOUBLED)
        if (there, distinct, unembedded) != (passages, passages, 0):
            yield f"{there} passages, {distinct} different places, {unembedded} without a vector; written: {passages}"

    def verified(self) -> Iterator[str]:
        words = ["verify", "--tenant", self._tenant.slug, "--json", "--wait", "300"]
        done = subprocess.run(
            [sys.executable, "-m", "adriatic", *words],
            env=self._world.environment,
            capture_output=True,
            text=True,
            timeout=VERIFY_S_MAX,
            check=False,
        )
        if done.returncode:
            yield f"verify: {done.returncode} {done.stdout[:2_000]} {done.stderr[:2_000]}"
            return
        report = json.loads(done.stdout)
        self.tell(f"verify: clean {report['clean']}, differences {report['differences_total']}")

    def found(self) -> Iterator[str]:
        """Titles have two words of which few texts have either."""
        every = [each for writer in self._writers for each in writer.written]
        for each in random.Random(7).sample(every, min(SOUGHT, len(every))):
            answered = self._tenant.http.get("/v1/search", params={"q": each.title}, timeout=30)
            hits = answered.json().get("hits", [])
            if not hits or hits[0]["source_id"] != each.adr_id:
                yield f"{each.title!r} is not found first: {answered.status_code} {answered.text[:200]}"


def fill(passages: int, every_s: float, seed: int) -> list[str]:
    """What was wrong. `passages` at least, in ADRs of a hundred."""
    with (
        closing(_Hashing()) as embedder,
        new_home(on_disk=True) as home,
        running_in(home, embedder.settings) as copy,
    ):
        world, hits = World(copy.settings, copy.environment), Hits(copy)
        with made_tenant(world) as tenant:
            tenant.http.timeout = httpx.Timeout(30)
            share = -(-passages // WRITERS)
            writers = [Growth(tenant, world, seed, f"w{number}", share) for number in range(WRITERS)]
            filling, letters = Filling(world, tenant, writers), world.dead_letters()
            load = Load(writers)
            with load:
                problems = list(filling.wait(hits, _in_turn(seed, hits.targets()), every_s))
            filling.tell(f"{len(hits.done)} processes were killed")
            problems += load.problems
            problems += checks.guarded(filling.healed(), "health")
            problems += checks.guarded(filling.built(), "indexes")
            problems += checks.guarded(filling.counted(), "passages")
            problems += checks.guarded(filling.verified(), "verify")
            problems += checks.guarded(load.check(hits.done), "the record")
            problems += checks.guarded(filling.found(), "search")
            problems += checks.guarded(checks.nothing_died(world, letters), "dead letters")
            load.close()
    return problems


def _in_turn(seed: int, targets: Sequence[str]) -> Iterator[str]:
    """Each once before any comes again."""
    dice = random.Random(seed)
    while True:
        yield from dice.sample(list(targets), len(targets))


class _Hashing(StandIn):
    """The endpoint. It forgets what it was asked: a million texts would be a gigabyte."""

    def __init__(self) -> None:
        super().__init__()
        self.misbehave = self._answer

    def _answer(self, request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        self.requests.clear()
        self.keys.clear()
        return 200, {}, answer(request["input"], dimension=DIMENSION)

    @property
    def settings(self) -> str:
        return f'[embedder]\nkind = "openai"\nmodel = "hashed"\ndimension = {DIMENSION}\nbase_url = "{self.url}"\n'


@click.command()
@click.option("--passages", default=20_000, show_default=True, help="How many, at least.")
@click.option("--every", "every_s", default=15.0, show_default=True, help="Seconds between two kills.")
@click.option("--seed", type=int, help="Of texts and kills.  [default: random, and printed]")
def main(passages: int, every_s: float, seed: int | None) -> None:
    """Fill one tenant while every process is killed in turn; afterwards nothing is lost, doubled or dead."""
    seed = random.randrange(2**31) if seed is None else seed
    click.echo(f"seed {seed}")
    problems = fill(passages, every_s, seed)
    for problem in problems:
        click.echo(f"PROBLEM {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
