"""One part is killed or stopped while somebody writes and others ask how everything is: is what they are told true, and
is all well again in time.

Owns the writer, those who ask, and the order of one trial. What is true is recorded by `truth.py`, what is hit is found
by `running.py`. Refuses to judge by what the system says of itself, but for the one thing that is asked of it: that it
says `ok` in the end.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import httpx
import psutil
import psycopg

from adriatic.cli.status import collect
from adriatic.stack.system import PROBE_TIMEOUT_S
from adriatic.supervisor.keeper import PROBE_READY_S
from adriatic.supervisor.supervisor import REPORT_STALE_S
from runtime.deadline import Deadline
from schemas.pipeline import Pipeline
from tests.crash.running import POSTGRES, Hits, signal_all
from tests.crash.schedule import SUPERVISOR
from tests.crash.truth import (
    Attendance,
    Said,
    Span,
    Write,
    seconds_until_seen,
    seconds_until_well,
    untrue_of_parts,
    untrue_of_views,
)
from tests.system.conftest import Tenant, World

Kind = Literal["kill", "stop"]

WELL_S_MAX = 30.0
"""What is promised: status is `ok` again so long after a fault is over."""
PATIENCE_S = 120.0
"""How long a trial waits for what is late, to say how late it was."""
CALM_S = 4.0
"""All must be well for so long before a trial ends: two looks of the watcher."""
SEEN_S_MAX = PROBE_READY_S + PROBE_TIMEOUT_S
"""The time after which it is promised that a part which is away is seen: one probe by its keeper, and its time-out."""
WRITE_EVERY_S = 0.4
ASK_EVERY_S = 0.4
ASKERS = 3
"""Threads that ask for the status in turn: one that waits for a part that hangs must not be the only one."""
REQUEST_S = 5.0
LOOK_EVERY_S = 0.25

_LOOK = """
  select
    v.adr_id::text, s.words_version is not null, s.meaning_version is not distinct from s.words_version
      and s.words_version is not null, exists (
      select from mv.activity_ledger l where l.tenant_id = v.tenant_id and l.adr_id = v.adr_id
    )
  from app.adr_versions v
  left join mv.search_state s on s.tenant_id = v.tenant_id and s.kind = 'adr' and s.source_id = v.adr_id
  where v.tenant_id = %s and v.adr_id = any(%s::uuid[])
"""
VIEWS = ("search.words", "search.meaning", "activity")
"""Views whose tables show for each write whether they have it; in the order of the columns of the look."""
READS: Mapping[str, str] = {
    "/v1/search?q=otter&mode=words": "search.words",
    "/v1/search?q=otter&mode=meaning": "search.meaning",
    "/v1/activity?limit=1": "activity",
}


@dataclass
class Trial:
    """What one fault did. Times in seconds; None: never."""

    part: str
    kind: Kind
    lasted_s: float = 0.0
    away_s: float = 0.0
    seen_s: float | None = None
    well_s: float | None = None
    writes: int = 0
    asked: int = 0
    problems: list[str] = field(default_factory=list)


class Observers:
    """The writer, the looks at the tables, and those who ask. A context, once for each trial."""

    def __init__(self, world: World, tenant: Tenant, prefix: str) -> None:
        self._world = world
        self._tenant = tenant
        self._prefix = prefix
        self._stop = threading.Event()
        self._written = threading.Event()
        self._lock = threading.Lock()
        self._looked = 0.0
        self.writes: list[Write] = []
        self.said: list[Said] = []
        self.problems: list[str] = []
        jobs: list[Callable[[], None]] = [self._write, self._look, self._read_pipeline, self._read_views]
        jobs += [self._ask_status] * ASKERS
        self._threads = [threading.Thread(target=self._run, args=(job,), daemon=True) for job in jobs]

    def __enter__(self) -> Observers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._written.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def stop_writing(self) -> None:
        """From here on there is an end: every write can be everywhere."""
        self._written.set()
        self._threads[0].join(2 * REQUEST_S)

    @property
    def missing(self) -> list[Write]:
        """Writes that some table was not seen to have."""
        with self._lock:
            return [write for write in self.writes if len(write.seen) < len(VIEWS)]

    def _run(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:
            self.problems.append(f"{job.__name__.strip('_')} ended: {type(error).__name__} {error}")

    # --- the writer -------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        number = 0
        with _client(self._tenant) as http:
            while not (self._written.wait(WRITE_EVERY_S) or self._stop.is_set()):
                body = f"# {self._prefix} {number}\n\n## Decision\n\nThe otter of {self._prefix} {number} dives.\n"
                key = {"Idempotency-Key": f"{self._tenant.slug}-{self._prefix}-{number}"}
                try:
                    answer = http.post("/v1/adrs", json={"body": body}, headers=key)
                except httpx.HTTPError:
                    continue  # not acknowledged: the same again
                if answer.status_code in (200, 201):
                    with self._lock:
                        self.writes.append(Write(answer.json()["adr_id"], time.time()))
                    number += 1
                elif answer.status_code not in (429, 502, 503, 504):
                    self.problems.append(f"a write was answered {answer.status_code} {answer.text[:200]}")

    # --- the tables -------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        while not self._stop.is_set():
            dsn = self._world.settings.postgres.dsn("flows")
            with contextlib.suppress(psycopg.Error), psycopg.connect(dsn, autocommit=True, connect_timeout=3) as found:
                while not self._stop.wait(LOOK_EVERY_S):
                    self._note(found)
            self._stop.wait(LOOK_EVERY_S)

    def _note(self, connection: psycopg.Connection[Any]) -> None:
        missing = {write.name: write for write in self.missing}
        began = time.time()
        rows = connection.execute(_LOOK, [self._tenant.tenant_id, list(missing)]).fetchall() if missing else []
        with self._lock:
            found = {name: flags for name, *flags in rows}
            for name, write in missing.items():
                for view, is_there in zip(VIEWS, found.get(name, [False] * len(VIEWS)), strict=True):
                    if is_there:
                        write.seen.add(view)
                    elif view not in write.seen:
                        write.missing_until[view] = began

    # --- what is said -----------------------------------------------------------------------------------------------

    def _ask_status(self) -> None:
        while not self._stop.wait(ASK_EVERY_S * ASKERS):
            began = time.time()
            found = collect(self._world.settings)
            fresh = _fresh(found.pipeline) if found.pipeline else {}
            words = "; ".join(f"{each.what}: {each.detail}" for each in found.problems) or found.summary
            self._say(Said("status", Span(began, time.time()), found.verdict == "ok", words, fresh))

    def _read_pipeline(self) -> None:
        with _client(self._tenant) as http:
            while not self._stop.wait(ASK_EVERY_S):
                began = time.time()
                if (found := _get(http, "/v1/pipeline")) is not None:
                    fresh = [each["view"] for each in found["views"] if each["state"] == "fresh"]
                    at = _seconds(found["sampled_at"]) if found["sampled_at"] else 0.0
                    of = dict.fromkeys(fresh, Span(at, at))
                    self._say(Said("/v1/pipeline", Span(began, time.time()), None, found["reason"], of))

    def _read_views(self) -> None:
        with _client(self._tenant) as http:
            while not self._stop.wait(ASK_EVERY_S):
                for path, view in READS.items():
                    began = time.time()
                    if (found := _get(http, path)) is not None:
                        as_of = found["as_of"].get(view.removeprefix("search."), found["as_of"])
                        asked = Span(began, time.time())
                        fresh = {view: asked} if as_of["state"] == "fresh" else {}
                        self._say(Said(path, asked, None, as_of["state"], fresh))

    def _say(self, said: Said) -> None:
        with self._lock:
            self.said.append(said)


def _client(tenant: Tenant) -> httpx.Client:
    # A connection for each request: with one that is kept, an API of several processes is asked of one alone.
    headers = {"Authorization": f"Bearer {tenant.token}", "Connection": "close"}
    return httpx.Client(base_url=tenant.http.base_url, headers=headers, timeout=REQUEST_S)


def _get(http: httpx.Client, path: str) -> Any:
    """The answer, or None when there is none that says anything."""
    with contextlib.suppress(httpx.HTTPError):
        answer = http.get(path)
        if answer.status_code == 200:
            return answer.json()
    return None


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _fresh(pipeline: Pipeline) -> dict[str, Span]:
    at = Span(pipeline.sampled_at_s, pipeline.sampled_at_s)
    return {view.view: at for view in pipeline.views if view.state == "fresh"}


# --- one trial ------------------------------------------------------------------------------------------------------


def run(
    hits: Hits, world: World, tenant: Tenant, part: str, kind: Kind, seconds: float, promised_s: float = WELL_S_MAX
) -> Trial:
    """Hit `part`, and wait until all is well, which must be within `promised_s`. A part that is stopped goes on after
    `seconds`."""
    trial = Trial(part, kind)
    letters = world.dead_letters()
    prefix = f"{part} {kind} {time.time():.0f}".replace("/", " ")
    with Observers(world, tenant, prefix) as seen:
        _await(lambda: len(seen.writes) > 2 and bool(seen.said))
        victims = hits.find(part)
        with Attendance(victims) as attendance:
            hit_at = time.time()
            _hit(hits, victims, part, kind, seconds)
            over_at = time.time()
            _await(lambda: _is_well(seen, over_at))
            # A process of Postgres alone is no part: its session may be somebody else's now, or nobody's.
            is_part = not part.startswith(f"{POSTGRES}/")
            if is_part and not attendance.is_there:
                trial.problems.append("nobody took its place")
        seen.stop_writing()
        _await(lambda: not seen.missing, promised_s)
    trial.lasted_s = over_at - hit_at
    trial.away_s = sum(span.ends - span.begins for span in attendance.spans)
    trial.writes, trial.asked = len(seen.writes), len(seen.said)
    trial.seen_s = seconds_until_seen(seen.said, hit_at, over_at + promised_s)
    trial.well_s = seconds_until_well(seen.said, over_at)
    trial.problems += [
        *seen.problems,
        *_judge(part, trial, seen, attendance.spans if is_part else (), over_at, promised_s),
    ]
    if (more := world.dead_letters() - letters) != 0:
        trial.problems.append(f"{more} dead letters")
    return trial


def _hit(hits: Hits, victims: Sequence[psutil.Process], part: str, kind: Kind, seconds: float) -> None:
    if kind == "kill" and part == SUPERVISOR:
        hits.kill_supervisor()
    elif kind == "kill":
        signal_all(victims[:1], signal.SIGKILL)
        psutil.wait_procs(victims[:1], REQUEST_S)  # until then it counts as there
    else:
        signal_all(victims, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            signal_all(victims, signal.SIGCONT)


def _judge(
    part: str, trial: Trial, seen: Observers, away: Sequence[Span], over_at: float, promised_s: float
) -> Iterator[str]:
    yield from _shortened(untrue_of_parts(seen.said, away, REPORT_STALE_S if part == SUPERVISOR else SEEN_S_MAX))
    yield from _shortened(untrue_of_views(seen.said, seen.writes))
    if trial.well_s is None or trial.well_s > promised_s:
        late = "never" if trial.well_s is None else f"after {trial.well_s:.1f} s"
        words = [each.words for each in seen.said if each.well is False and each.asked.ends > over_at + promised_s]
        yield f"ok {late}: {words[0] if words else ''}"
    if missing := seen.missing:
        yield f"{len(missing)} of {len(seen.writes)} writes are not in every table: {missing[0]}"


def _shortened(problems: Iterator[str]) -> Iterator[str]:
    """The first and the last, and how many there are."""
    found = list(problems)
    yield from found[:1]
    if len(found) > 1:
        yield f"and {len(found) - 1} times more, last: {found[-1]}"


def _is_well(seen: Observers, over_at: float) -> bool:
    """Whether all has been well for a while, and every write is everywhere."""
    now = time.time()
    status = [each for each in list(seen.said) if each.well is not None and each.asked.begins >= over_at]
    recent = [each for each in status if each.asked.ends > now - CALM_S]
    is_calm = len(recent) >= 2 and all(each.well for each in recent) and now > over_at + CALM_S
    return is_calm and all(write.acknowledged > now - 2 for write in seen.missing)


def _await(is_so: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    deadline = Deadline.after(within_s)
    while not is_so() and not deadline.passed:
        time.sleep(0.1)
