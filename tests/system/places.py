"""A system of its own for accidents, with what was acknowledged in it, and what is held to before and after a recovery.

Owns the promises: between an accident and its recovery it is halted and named, and no view that lacks something claims
to be fresh; afterwards everything that was acknowledged is found, and nothing else. Refuses to cause accidents: each
test does.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from adriatic.stack.postgres import wheel_install
from dataflows.catalog import flows
from schemas.pipeline import FRESH_S_MAX
from tests.copies import Copy, running_copy
from tests.docs.markdown import ROOT, parse
from tests.system.conftest import LOOK_AT_ALL_S, Tenant, World, clients, eventually

RECOVERED_MAX_S = 600.0
"""Far above what it takes."""
HALTED_MAX_S = 120.0
"""Until a process that starts, on a busy machine, has seen what happened."""
NOTICED_S = FRESH_S_MAX + 5.0
"""A view that lacks a write says so when the write is older than what counts as fresh; the watcher looks every two
seconds."""
STAYS_S = 3.0
"""How long it is looked whether a view claims to be fresh again: more than one look of the watcher."""
ALL_VIEWS = frozenset(view.name for flow in flows().values() for view in flow.views)
WAY_OUT = "`adriatic recover`"
WRITES_S_MIN, WRITES_S_MAX = 0.5, 5.0
"""Between two writes of who writes all the time: seldomer the longer it lasts. At one rate, a machine that falls behind
is given the more to do the longer it takes."""
SELDOMER = 1.05


def find_views(topic: str) -> frozenset[str]:
    """Views that lack what a topic has, when whoever reads it is halted: their own, and those that are made of them."""
    names = {view.name for flow in flows().values() if topic in flow.topics for view in flow.views}
    return frozenset(names | {"related", "search.meaning"})


@dataclass
class Place:
    """The system, and what was acknowledged in one tenant of it: title by ADR."""

    copy: Copy
    world: World
    tenant: Tenant
    written: dict[str, str] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    # --- what users do ----------------------------------------------------------------------------------------------

    def write(self, about: str, count: int = 5) -> list[str]:
        """ADRs that were acknowledged."""
        made = []
        for _ in range(count):
            title = self.make_title(about)
            adr_id = self.tenant.create(f"# {title}\n\nBecause of {about}.\n")["adr_id"]
            self.written[adr_id] = title
            made.append(adr_id)
        return made

    def change(self, adr_id: str, about: str) -> str:
        """Another text, acknowledged; and its position."""
        title = self.make_title(about)
        change = {"body": f"# {title}\n\nBecause of {about}.\n", "expected_version": 1}
        answer = self.tenant.http.patch(f"/v1/adrs/{adr_id}", json=change).raise_for_status()
        self.written[adr_id] = title
        return answer.headers["Adriatic-Position"]

    def make_title(self, about: str) -> str:
        """It ends with a word that no other has."""
        number = next(self.numbers)
        return f"{about} number {number} is zirconium{number}"

    @contextmanager
    def writing(self, about: str) -> Iterator[None]:
        """Write all the time. What was not answered is not acknowledged."""
        over = threading.Event()

        def go_on() -> None:
            pause_s = WRITES_S_MIN
            while not over.wait(pause_s):
                pause_s = min(pause_s * SELDOMER, WRITES_S_MAX)
                try:
                    self.write(about, 1)
                except (httpx.HTTPError, AssertionError):
                    continue

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def await_found(self, adr_id: str) -> None:
        """Wait until the search has what was acknowledged last of an ADR."""
        word = self.word(adr_id)
        eventually(f"{word} is found", lambda: self.tenant.search(word, mode="words") == [adr_id])

    def word(self, adr_id: str) -> str:
        return self.written[adr_id].split()[-1]

    # --- what operators do ------------------------------------------------------------------------------------------

    def down(self) -> None:
        self.world.run("down")

    def up(self) -> None:
        """Start it, and wait for the API alone: after an accident capture and flows may be halted."""
        self.copy.start()
        eventually("the API answers", self._answers, 240.0)

    def _answers(self) -> bool:
        try:
            return self.tenant.http.get("/v1/adrs", params={"limit": 1}).status_code == 200
        except httpx.HTTPError:
            return False

    def recover(self, *more: str) -> dict[str, Any]:
        done = self.world.run("recover", "--yes", "--json", *more, check=False)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def find_faults(self) -> str:
        """What `adriatic recover` says is wrong, before it does anything."""
        said = self.world.run("recover").stdout
        return "\n".join(line for line in said.splitlines() if line.startswith("wrong"))

    def make_shell(self) -> dict[str, str]:
        """The environment in which lines of a page run: our command, and Postgres's own, as the administrator."""
        postgres = self.world.settings.postgres
        return {
            **self.world.environment,
            "PGHOST": postgres.host,
            "PGPORT": str(postgres.port),
            "PGUSER": postgres.admin_user,
            "PGPASSWORD": postgres.admin_password.get_secret_value(),
            "PATH": f"{wheel_install() / 'bin'}:{Path(sys.executable).parent}:{self.world.environment['PATH']}",
        }

    def run_line(self, line: str, folder: Path, fine: Collection[int] = (0,)) -> None:
        """A line of a page, in a shell."""
        done = subprocess.run(
            line, shell=True, env=self.make_shell(), cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode in fine, f"{line}: {done.stdout}{done.stderr}"

    # --- what is held to --------------------------------------------------------------------------------------------

    def hold_halted(self, *halted: str, lacking: Collection[str] = ALL_VIEWS) -> None:
        """Between an accident and its recovery: these processes stand still and say why, and what to do; the views that
        lack what is written now do not claim to be fresh."""
        eventually("it is halted, and named", lambda: not self._find_silent(halted), HALTED_MAX_S)
        (adr_id,) = self.write("what no view has before the recovery", 1)
        position = self.change(adr_id, "what no view has either")
        wrote_s = time.monotonic()
        left_s = max(1.0, wrote_s + NOTICED_S - time.monotonic())
        eventually("no view claims what it lacks", lambda: not self._find_fresh(lacking), left_s)
        until_s = time.monotonic() + STAYS_S
        while time.monotonic() < until_s:
            assert (self._find_silent(halted), self._find_fresh(lacking)) == (set(), set())
            time.sleep(0.5)
        query = {"q": self.word(adr_id), "mode": "words"}
        answer = self.tenant.http.get("/v1/search", params=query, headers={"Adriatic-Position": position})
        assert answer.status_code == 503, "whoever asks for what it wrote is told that it is not there"
        self._hold_commands_to_it(halted)

    def _find_silent(self, halted: Collection[str]) -> set[str]:
        """Processes that seem well, or do not say what to do."""
        code, shown = self.world.status()
        told = {part["name"]: part for part in shown["parts"]}
        named = {name for name in halted if told[name]["verdict"] != "ok" and WAY_OUT in told[name]["detail"]}
        return {*halted} - named if code else {*halted}

    def _find_fresh(self, lacking: Collection[str]) -> set[str]:
        """Views that operators or users are told are fresh."""
        _, shown = self.world.status()
        views = (shown["pipeline"] or {"views": []})["views"]
        fresh = {view["view"] for view in views if view["state"] == "fresh"}
        told = self.tenant.http.get("/v1/pipeline").raise_for_status().json()
        fresh |= {view["view"] for view in told["views"] if view["state"] == "fresh"}
        found = self.tenant.http.get("/v1/search", params={"q": "confusion", "mode": "words"}).raise_for_status()
        if found.headers["adriatic-as-of-state"] == "fresh":
            fresh.add("search.words")
        return fresh & {*lacking}

    def _hold_commands_to_it(self, halted: Collection[str]) -> None:
        """The two forms of `adriatic status`, as whoever types them gets them."""
        as_json = self.world.run("status", "--json", check=False)
        assert as_json.returncode != 0
        assert json.loads(as_json.stdout)["verdict"] != "ok"

        def tells() -> bool:
            """A part that is begun again says nothing for a moment, which is long where the machine is busy."""
            text = self.world.run("status", check=False)
            words = " ".join(text.stdout.split())
            assert text.returncode != 0
            assert not words.startswith("ok")
            return WAY_OUT in words and all(name in words for name in halted)

        eventually("the command says what to do", tells, HALTED_MAX_S, LOOK_AT_ALL_S)

    def hold_to_it(self, what: str, found: dict[str, Any]) -> None:
        """Everything that was acknowledged is found, and nothing else is."""
        assert found["verify"]["clean"], found["verify"]
        steps = ", ".join(f"{took['step']} {took['seconds']:.1f}" for took in found["steps"])
        sys.stdout.write(f"{what}: {len(self.written)} ADRs, recovered in {found['seconds']:.1f} s ({steps})\n")
        eventually("everything is well", self.world.is_well, RECOVERED_MAX_S, LOOK_AT_ALL_S)
        assert self.world.run("verify", "--sample", "5").returncode == 0
        known = {str(adr_id) for (adr_id,) in self.world.rows(KNOWN, self.tenant.tenant_id)}
        assert known == self.written.keys(), "acknowledged is what the database has"
        assert self.read_findable() == known
        for adr_id in list(self.written)[-3:]:
            assert self.tenant.search(self.word(adr_id), mode="words")[:1] == [adr_id]

    def read_findable(self) -> set[str]:
        """What is kept for the search: what it shows, if the source is there."""
        return {str(source_id) for (source_id,) in self.world.rows(FINDABLE, self.tenant.tenant_id)}


KNOWN = "select adr_id from app.adr_versions where tenant_id = %s group by 1"
FINDABLE = "select source_id from mv.search_state where tenant_id = %s and not deleted and meaning_version is not null"


@contextmanager
def running_place() -> Iterator[Place]:
    """A system that ends with the block."""
    with running_copy() as copy:
        world = World(copy.settings, copy.environment)
        with clients(world) as make:
            yield Place(copy, world, make())


def lines_of(page: str) -> list[str]:
    """Lines of a page that a reader types."""
    return [line for line in parse(page, (ROOT / page).read_text(encoding="utf-8")).lines() if line]
