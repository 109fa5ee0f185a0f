"""Research on a real database, with the worker in this process or in one of its own, to be killed.

`python -m tests.api.research.world` is that process, with the settings in the environment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from api.db import Database
from api.desk import make_query_embedder
from api.research.asking import ResearchDesk
from api.research.job import ResearchJob
from api.research.researcher import Researcher
from connectors.embedders import Embedder
from connectors.embedders.spaces import SpaceEmbedders
from connectors.postgres.connections import Connection
from connectors.postgres.jobs import ClaimedJob
from connectors.rerankers import Reranker
from runtime import logs
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import LimitSettings, LlmSettings, Settings, TelemetrySettings
from streams.worker import Worker
from tests.connectors.embedders.stand_in import FakeEmbedder
from tests.patience import PATIENCE_S


class Pausing(ResearchJob):
    """Waits before each step, so that there is time to kill its process."""

    def prepare(self, connection: Connection, job: ClaimedJob) -> Any:
        time.sleep(float(os.environ.get("PAUSE_S", "0")))
        return super().prepare(connection, job)


@asynccontextmanager
async def researching(
    settings: Settings, reranker: Reranker, embedder: Embedder | None = None
) -> AsyncIterator[Researcher]:
    """The steps alone."""
    database = Database(settings.postgres, connections_max=4)
    await database.open()
    embedding = make_query_embedder(SpaceEmbedders.of(embedder or FakeEmbedder()))
    researcher = Researcher(database, embedding, lambda: reranker)
    try:
        yield researcher
    finally:
        await researcher.close()
        await embedding.close()
        await database.close()


@contextmanager
def working(settings: Settings) -> Iterator[ResearchDesk]:
    """A worker that does research in this process."""
    life = Lifecycle(Health())
    desk = ResearchDesk(settings, SpaceEmbedders.of(FakeEmbedder()))
    job = Pausing(desk)
    worker = Worker({job.name: job}, settings.postgres, life)
    worker.start()
    try:
        yield desk
    finally:
        life.stop()
        worker.join(PATIENCE_S)
        desk.close()


def start_process(settings: Settings, pause_s: float, log: Path) -> subprocess.Popen[bytes]:
    """The same in a process of its own."""
    postgres = settings.postgres
    described = {
        "postgres": {
            "host": postgres.host,
            "port": postgres.port,
            "database": postgres.database,
            "sslmode": postgres.sslmode,
            "flows_password": postgres.flows_password.get_secret_value(),
            "api_password": postgres.api_password.get_secret_value(),
        },
        "llm": _tell(settings.llm),
        "limits": _tell(settings.limits),
    }
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.api.research.world"],
            env={**os.environ, "RESEARCH": json.dumps(described), "PAUSE_S": str(pause_s)},
            stdout=out,
            stderr=out,
            cwd=Path(__file__).resolve().parents[3],
        )


def _tell(part: LlmSettings | LimitSettings) -> dict[str, Any]:
    """What was set of a part, a model's key in clear: it is a key of the tests."""
    told: dict[str, Any] = part.model_dump(mode="json", exclude_unset=True)
    key = getattr(part, "api_key", None)
    return told | ({"api_key": key.get_secret_value()} if key else {})


def main() -> None:
    logs.configure("jobs", TelemetrySettings())
    life = Lifecycle(Health())
    signal.signal(signal.SIGTERM, lambda *_: life.stop())
    with working(Settings(**json.loads(os.environ["RESEARCH"]))):
        life.wait_for_stop()


if __name__ == "__main__":
    main()
