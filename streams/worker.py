"""Does jobs: claims them, takes them step by step, keeps their leases, lets everybody have a turn.

Owns the threads and the order of things within one claim. Refuses SQL (`connectors/postgres/jobs.py`) and to know what
a kind does. Every thread has a connection of its own; what a failure means for the job is decided in one place, `fail`.

    claim → prepare → [ apply + advance: one transaction ] → … → released after a slice, finished, or failed
               heartbeat, from a thread of its own, while any of this runs

One slow job holds up nobody: a job gives its place back after `SLICE_S`, the tenant with fewest at work is next, and no
tenant has more than half of the places.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from uuid import uuid4

from connectors.postgres import jobs
from connectors.postgres.jobs import ClaimedJob, JobKind, JobProgress
from connectors.postgres.sink import TransactionalSink
from runtime import metrics
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import DependencyUnavailable, Fenced, Unprocessable
from runtime.lifecycle import Lifecycle, StopRequested
from runtime.logs import get_logger
from runtime.settings import PostgresSettings

log = get_logger("jobs")

PLACES = 4
"""Jobs at work at once in one process. Steps mostly wait, for the database or something slower."""
SLICE_S = 5.0
"""How long a job may go on while others wait. Claiming costs two statements, so this is dear to nobody."""
POLL_S = 1.0
"""How often to look for jobs that nothing announced: retries that are due, leases that ran out."""
STEP_S_MAX = 600.0
"""The lease of a step that takes longer than this is no longer kept: another worker tries."""
ANNOUNCE_S = 1.0
"""Time between two `job.progress` of a job, beside those of a change of state."""


class _Claim:
    """A claimed job where it stands now, and how many steps of it were committed since it was claimed."""

    def __init__(self, job: ClaimedJob) -> None:
        self.job = job
        self.steps = 0

    def advance(self, progress: JobProgress) -> ClaimedJob:
        """Take what a step committed. A job that moves has no failed attempts any more."""
        self.steps += 1
        self.job = replace(self.job, position=progress.position, done=progress.done, total=progress.total, attempts=0)
        return self.job


class Worker:
    """The places of one process. `wake` says that there may be something to do."""

    def __init__(
        self,
        kinds: Mapping[str, JobKind],
        settings: PostgresSettings,
        life: Lifecycle,
        *,
        places: int = PLACES,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._kinds = kinds
        self._settings = settings
        self._life = life
        self._clock = clock
        self._tenant_max = max(1, places // 2)
        self._places = places
        self._awake = threading.Condition()
        self._began: dict[str, float] = {}
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        names = [f"job-{place}" for place in range(self._places)]
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for name in names]
        self._threads.append(threading.Thread(target=self._beat, name="job-heartbeat", daemon=True))
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        with self._awake:
            self._awake.notify_all()

    def join(self, timeout_s: float) -> None:
        """Wait, after the process was asked to stop: each place ends its step and gives its job back."""
        self.wake()
        for thread in self._threads:
            thread.join(timeout_s)

    # --- one place --------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        store = TransactionalSink(self._settings, "jobs", self._life)
        try:
            while not self._life.stopping:
                job = self._life.retry("postgres", lambda: self._claim(store))
                if job is None:
                    with self._awake:
                        self._awake.wait(POLL_S)
                else:
                    self._serve(store, job)
        except StopRequested:
            pass
        except Exception as error:
            log.exception("a place ended", error=type(error).__name__)
            self._life.stop()
            raise
        finally:
            store.close()

    def _claim(self, store: TransactionalSink) -> ClaimedJob | None:
        with store.transaction() as connection:
            return jobs.claim(connection, f"{threading.current_thread().name}-{uuid4()}", self._kinds, self._tenant_max)

    def _serve(self, store: TransactionalSink, job: ClaimedJob) -> None:
        """One claim, to its end. A job never brings down its place."""
        self._mark(job.owner)
        claim = _Claim(job)
        try:
            if job.attempts >= jobs.ATTEMPTS_MAX:
                raise Unprocessable(
                    f"its worker was lost or failed {job.attempts} times in a row", hint="see the worker's log"
                )
            outcome = self._work_on(store, claim)
        except Fenced as error:
            outcome = "fenced"
            log.warning("lease lost", job_id=str(job.job_id), detail=error.detail)
        except Exception as error:
            log.warning("job failed", job_id=str(job.job_id), kind=job.kind, error=type(error).__name__, exc_info=True)
            outcome = self._fail(store, job, error, claim.steps)
        finally:
            with self._lock:
                self._began.pop(job.owner, None)
        metrics.JOB_CLAIMS.labels(job.kind, outcome).inc()

    def _work_on(self, store: TransactionalSink, claim: _Claim) -> str:
        job = claim.job
        kind = self._kinds[job.kind]
        until = self._clock.monotonic() + SLICE_S
        announced = float("-inf")
        cancel, pause_s = job.cancel_requested, 0.0
        while not (cancel or pause_s or self._life.stopping):
            self._mark(job.owner)
            with store.read() as connection:
                prepared = kind.prepare(connection, job)
            now = self._clock.monotonic()
            announce = now - announced >= ANNOUNCE_S
            with store.transaction() as connection:
                progress = kind.apply(connection, job, prepared)
                cancel = jobs.advance(connection, job, progress, announce=announce)
            job, pause_s = claim.advance(progress), progress.pause_s
            announced = now if announce else announced
            metrics.JOB_STEPS.labels(job.kind).inc()
            if progress.finished:
                return "succeeded"
            if not cancel and self._clock.monotonic() >= until:
                break
        with store.transaction() as connection:
            if cancel:
                jobs.finish(connection, job, "cancelled")
                return "cancelled"
            jobs.release(connection, job, pause_s)
        return "released"

    def _fail(self, store: TransactionalSink, job: ClaimedJob, error: Exception, steps: int) -> str:
        """Said in the row. When that cannot be done either, the lease runs out and the job is taken up again."""
        with suppress(Fenced, DependencyUnavailable), store.transaction() as connection:
            return jobs.fail(connection, job, error, steps)
        return "retry"

    # --- leases -----------------------------------------------------------------------------------------------------

    def _mark(self, owner: str) -> None:
        with self._lock:
            self._began[owner] = self._clock.monotonic()

    def _beat(self) -> None:
        store = TransactionalSink(self._settings, "jobs-heartbeat", self._life)
        try:
            while True:
                self._life.sleep(jobs.LEASE_S / 4)
                oldest = self._clock.monotonic() - STEP_S_MAX
                with self._lock:
                    owners = [owner for owner, began in self._began.items() if began > oldest]
                if owners:
                    with suppress(DependencyUnavailable), store.transaction() as connection:
                        jobs.heartbeat(connection, owners)
        except StopRequested:
            pass
        finally:
            store.close()
