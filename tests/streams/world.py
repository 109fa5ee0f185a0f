"""Jobs in a database, a kind that counts, and a worker in this process or in one of its own, to be killed.

`python -m tests.streams.world` is that process, with the settings in the environment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from connectors.postgres.connections import Connection
from connectors.postgres.jobs import ClaimedJob, JobKind, JobProgress
from runtime import logs
from runtime.errors import DependencyUnavailable, Unprocessable
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import Settings, TelemetrySettings
from streams.worker import Worker
from tests import databases
from tests.patience import PATIENCE_S

COUNT = "count"


class Count(JobKind):
    """Writes one row a step (a log of the tenant), so that a step which ran twice shows as one too many.

    Parameters: `steps`; `pause_s` of each; `raises` (data, bug, outage) on the first `times` attempts.
    """

    name = COUNT

    def __init__(self) -> None:
        self.raised = 0

    def prepare(self, connection: Connection, job: ClaimedJob) -> None:
        time.sleep(job.params.get("pause_s", 0))
        if "raises" in job.params and self.raised < job.params.get("times", 1_000):
            self.raised += 1
            raise {
                "data": Unprocessable("bad", hint="mend it"),
                "bug": ValueError("secret"),
                "outage": DependencyUnavailable("away"),
            }[job.params["raises"]]

    def apply(self, connection: Connection, job: ClaimedJob, prepared: Any) -> JobProgress:
        number = job.position.get("next", 0)
        # The flows may write what they keep; one row there for each step.
        connection.execute(
            "insert into mv.search_state (tenant_id, kind, source_id, words_version, title, status, effective_at, "
            "recorded_at, words_at, chunks, length) "
            "values (%s, 'adr', gen_random_uuid(), %s, %s, 'x', now(), now(), now(), 0, 0)",
            [job.tenant_id, number + 1, str(job.job_id)],
        )
        steps = job.params["steps"]
        return JobProgress("counting", number + 1, steps, "steps", {"next": number + 1}, finished=number + 1 >= steps)


class Bench:
    """A database with jobs in it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def rows(self, query: Any, *arguments: Any) -> list[tuple[Any, ...]]:
        return databases.ask(self.settings.postgres.dsn("admin"), query, *arguments)

    def tenant(self) -> UUID:
        tenant_id = uuid4()
        self.rows("insert into app.tenants values (%s, %s, 'n')", tenant_id, f"t-{tenant_id.hex[:12]}")
        return tenant_id

    def job(self, tenant_id: UUID, kind: str = COUNT, **params: Any) -> UUID:
        job_id = uuid4()
        self.rows(
            "insert into app.jobs (tenant_id, job_id, kind, params) values (%s, %s, %s, %s)",
            *(tenant_id, job_id, kind, json.dumps(params)),
        )
        return job_id

    def state(self, job_id: UUID) -> str:
        return str(self.rows("select state from app.jobs where job_id = %s", job_id)[0][0])

    def numbers(self, job_id: UUID) -> list[int]:
        """The steps that a job committed, sorted."""
        found = self.rows("select words_version from mv.search_state where title = %s order by 1", str(job_id))
        return [row[0] for row in found]

    @contextmanager
    def working(self, kinds: Mapping[str, JobKind] | None = None, places: int = 4) -> Iterator[Worker]:
        life = Lifecycle(Health())
        worker = Worker(kinds or {COUNT: Count()}, self.settings.postgres, life, places=places)
        worker.start()
        try:
            yield worker
        finally:
            life.stop()
            worker.join(PATIENCE_S)

    def process(self, log: Path) -> subprocess.Popen[bytes]:
        postgres = self.settings.postgres
        described = {
            "postgres": {
                "host": postgres.host,
                "port": postgres.port,
                "database": postgres.database,
                "sslmode": postgres.sslmode,
                "flows_password": postgres.flows_password.get_secret_value(),
            }
        }
        with log.open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.streams.world"],
                env={**os.environ, "BENCH": json.dumps(described)},
                stdout=out,
                stderr=out,
                cwd=Path(__file__).resolve().parents[2],
            )


def main() -> None:
    logs.configure("jobs", TelemetrySettings())
    life = Lifecycle(Health())
    signal.signal(signal.SIGTERM, lambda *_: life.stop())
    worker = Worker({COUNT: Count()}, Settings(**json.loads(os.environ["BENCH"])).postgres, life)
    worker.start()
    life.wait_for_stop()
    worker.join(PATIENCE_S)


if __name__ == "__main__":
    main()
