"""The API, the flows and the jobs on one database, with two embedders over HTTP: what a change of space goes through.

Stands in for Kafka alone: rows of versions and of the outbox are handed to the flows as change capture would.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
import psycopg

from adriatic.cli.stream import job_kinds
from api.agents.desk import AgentDesk
from api.research.asking import ResearchDesk
from connectors.embedders.spaces import SpaceEmbedders, name_spaces
from connectors.kafka.records import Record
from connectors.objects import Objects
from connectors.parsers.pool import Parsers
from connectors.postgres import jobs
from connectors.postgres.connections import connect
from connectors.postgres.jobs import ClaimedJob, JobProgress
from dataflows.chunker import chunk
from dataflows.comparison import Comparison, TenantReport, VerifyReport
from dataflows.embed import Embed
from dataflows.flow import Event, Flow
from dataflows.index import BULK_TOPIC, REQUESTS_TOPIC, Index
from dataflows.related import STATE_TOPIC, Related
from runtime.errors import AdriaticError
from runtime.settings import EmbedderSettings, Settings
from schemas import sources
from tests.api.world import Caller, World, running
from tests.connectors.embedders.stand_in import StandIn, answer

OLD, NEW = "small", "large"
DIMENSIONS = {OLD: 16, NEW: 48}
STEPS_MAX = 500
CLAIMS_MAX = 50


def embedders_at(url: str) -> EmbedderSettings:
    """The embedder of everybody, and another one that can be named."""
    return EmbedderSettings.model_validate(
        {
            "kind": "openai",
            "model": OLD,
            "dimension": DIMENSIONS[OLD],
            "base_url": url,
            "send_dimension": True,
            "models": [
                {
                    "name": NEW,
                    "model": NEW,
                    "dimension": DIMENSIONS[NEW],
                    "base_url": url,
                    "send_dimension": True,
                }
            ],
        }
    )


class TwoModels:
    """An endpoint with two models, whose vectors have nothing to do with each other. One of them can be away."""

    def __init__(self) -> None:
        self.server = StandIn()
        self.server.misbehave = self._answer
        self.away: set[str] = set()
        self.dull: set[str] = set()
        """Models to which all texts are the same."""

    def texts(self, model: str) -> list[str]:
        """What a model was asked for, in order."""
        return [text for each in self.server.requests if each["model"] == model for text in each["input"]]

    def _answer(self, request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if request["model"] in self.away:
            return 503, {}, b"{}"
        texts = ["x"] * len(request["input"]) if request["model"] in self.dull else request["input"]
        return 200, {}, answer(texts, dimension=DIMENSIONS[request["model"]])


@dataclass
class Town:
    """See the module. `handed`: versions that the flow `index` has had."""

    world: World
    models: TwoModels
    settings: Settings
    handed: set[tuple[UUID, UUID, int]] = field(default_factory=set)
    outbox_at: int = 0

    def __post_init__(self) -> None:
        self.embedders = SpaceEmbedders.from_settings(self.settings.embedder)
        self.spaces: Mapping[str, str] = {
            name: space.name for name, space in name_spaces(self.settings.embedder).items()
        }
        self.kinds = job_kinds(
            *(Objects(self.settings), Parsers(), self.embedders),
            *(ResearchDesk(self.settings, self.embedders), AgentDesk(self.settings, self.embedders)),
        )
        with connect(self.settings.postgres) as connection:
            Embed(self.embedders).start(connection)

    # --- flows ------------------------------------------------------------------------------------------------------

    def flow(self, *, carry: bool = True) -> None:
        """Hand the flows what is new, until nothing is. Without `carry` requests stay where they are."""
        self._step(Index(), self._versions())
        if carry:
            while requests := self._requests():
                self._step(Embed(self.embedders), requests)

    def relate(self, tenant_id: UUID) -> None:
        """Hand the flow `related` the state of every source of a tenant."""
        rows = self.ask("select to_jsonb(s) from mv.search_state s where tenant_id = %s order by source_id", tenant_id)
        events = [_event(STATE_TOPIC, {"op": "u", "before": None, "after": row[0]}) for row in rows]
        with connect(self.settings.postgres) as connection:
            Related().apply(connection, Related().transform(events))

    def _step(self, flow: Flow[Any], events: list[Event]) -> None:
        if not events:
            return
        with connect(self.settings.postgres) as reading:
            reading.autocommit = True
            effects = flow.prepare(reading, flow.transform(events))
        with connect(self.settings.postgres) as connection:
            flow.apply(connection, effects)

    def _versions(self) -> list[Event]:
        rows = self.ask("select to_jsonb(v) - 'original' from app.adr_versions v order by adr_id, version")
        new = [row[0] for row in rows if _key(row[0]) not in self.handed]
        self.handed.update(_key(row) for row in new)
        return [_event(sources.KINDS["adr"].contract, {"op": "c", "before": None, "after": row}) for row in new]

    def _requests(self) -> list[Event]:
        rows = self.ask(
            "select event_id, topic, value from app.outbox where event_id > %s and topic = any(%s) order by event_id",
            self.outbox_at,
            [REQUESTS_TOPIC, BULK_TOPIC],
        )
        self.outbox_at = max([self.outbox_at, *(row[0] for row in rows)])
        found = []
        for _, topic, value in rows:
            items = [{**each, "text_hash": base64.b64decode(each["text_hash"])} for each in value["items"]]
            found.append(_event(topic, value | {"items": items}))
        return found

    # --- jobs -------------------------------------------------------------------------------------------------------

    def work(self, steps_max: int = STEPS_MAX) -> list[JobProgress]:
        """Do jobs until none is left, or so many steps are done."""
        done: list[JobProgress] = []
        for _ in range(CLAIMS_MAX):
            with connect(self.settings.postgres) as connection:
                job = jobs.claim(connection, f"test-{uuid.uuid4()}", self.kinds, 9)
            if job is None:
                break
            done += self._work_on(job, steps_max - len(done))
            if len(done) >= steps_max:
                break
        return done

    def _work_on(self, job: ClaimedJob, steps_max: int) -> list[JobProgress]:
        kind = self.kinds[job.kind]
        done: list[JobProgress] = []
        try:
            while len(done) < steps_max:
                with connect(self.settings.postgres) as reading:
                    reading.autocommit = True
                    prepared = kind.prepare(reading, job)
                with connect(self.settings.postgres) as connection:
                    progress = kind.apply(connection, job, prepared)
                    jobs.advance(connection, job, progress, announce=True)
                done.append(progress)
                if progress.finished:
                    return done
                moved = {"position": progress.position, "done": progress.done, "total": progress.total}
                job = ClaimedJob(**{name: getattr(job, name) for name in job.__slots__} | moved)
            with connect(self.settings.postgres) as connection:
                jobs.release(connection, job)
        except AdriaticError as error:
            with connect(self.settings.postgres) as connection:
                jobs.fail(connection, job, error, len(done))
        return done

    def builder(self) -> subprocess.Popen[bytes]:
        """A worker in a process of its own, to be killed."""
        postgres = self.settings.postgres
        variables = {
            "ADRIATIC_HOME": str(self.settings.home),
            "ADRIATIC_POSTGRES__HOST": postgres.host,
            "ADRIATIC_POSTGRES__PORT": str(postgres.port),
            "ADRIATIC_POSTGRES__DATABASE": postgres.database,
            "ADRIATIC_POSTGRES__SSLMODE": postgres.sslmode,
            "ADRIATIC_POSTGRES__FLOWS_PASSWORD": postgres.flows_password.get_secret_value(),
            "STAND_IN": self.models.server.url,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "tests.api.spaces.builder"],
            env={**os.environ, **variables},
            stderr=subprocess.DEVNULL,
        )

    # --- looking ----------------------------------------------------------------------------------------------------

    def ask(self, query: Any, *values: Any) -> list[Any]:
        with psycopg.connect(self.settings.postgres.dsn("admin"), autocommit=True) as connection:
            cursor = connection.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def states(self, tenant_id: UUID) -> dict[str, str]:
        rows = self.ask("select space, state from app.tenant_spaces where tenant_id = %s", tenant_id)
        names = {space: name for name, space in self.spaces.items() if name in (OLD, NEW)}
        return {names[space]: state for space, state in rows}

    def vectors(self, tenant_id: UUID, name: str) -> int:
        ((count,),) = self.ask(
            "select count(*) from mv.embeddings where tenant_id = %s and space = %s", tenant_id, self.spaces[name]
        )
        return int(count)

    def differences(self, tenant_id: UUID, *flows: type[Flow[Any]]) -> list[str]:
        """What `adriatic verify` would say of the search, and of what `flows` keep."""
        report, tenant = VerifyReport(), TenantReport(tenant_id, "t")
        with connect(self.settings.postgres) as connection:
            comparison = Comparison(connection, report, tenant, None, self.embedders, None)
            kept: tuple[type[Flow[Any]], ...] = (Index, Embed, *flows)
            for flow in kept:
                flow.compare(comparison)
        return [f"{each.kind} {each.where}: {each.detail}" for each in report.differences]

    def judge(self, tenant_id: UUID, query: str, answer_: dict[str, Any]) -> str:
        """The name of the space that every hit by meaning was measured in; raises when that is not the one it says."""
        said = answer_["explain"]["space"]
        name = next(name for name in (OLD, NEW) if self.spaces[name] == said)
        embedder = self.embedders.find(said)
        assert embedder is not None
        (asked,) = embedder.embed([query])
        for hit in answer_["hits"]:
            arm = hit["explain"]["meaning"]
            if arm is not None:
                text = self.passage(tenant_id, UUID(hit["source_id"]), arm["version"], arm["ordinal"])
                (vector,) = embedder.embed([text])
                assert abs(float(np.dot(asked, vector)) - arm["score"]) < 1e-5, f"not measured in {said}"
        return name

    def passage(self, tenant_id: UUID, adr_id: UUID, version: int, ordinal: int) -> str:
        ((title, body),) = self.ask(
            "select title, body from app.adr_versions where tenant_id = %s and adr_id = %s and version = %s",
            tenant_id,
            adr_id,
            version,
        )
        return chunk(title, body)[ordinal].text

    async def inhabit(self, name: str, count: int = 4) -> Caller:
        """A tenant with some ADRs, not handed to the flows yet."""
        caller = await self.world.tenant(name)
        for number in range(count):
            await caller.create(body_of(name, number))
        return caller


SUBJECTS = (
    "ledger kept",
    "queue drained",
    "cache warmed",
    "index rebuilt",
    "token signed",
    "backup copied",
    "log read",
)


def body_of(name: str, number: int) -> str:
    subject, act = SUBJECTS[number % len(SUBJECTS)].split()
    return (
        f"# The {subject} of {name} {number} is {act}\n\n## Status\n\nAccepted\n\n## Context\n\n"
        f"{subject} of {name} number {number} was {act} by hand, and nobody knew when.\n\n## Decision\n\n"
        f"From now on the {subject} is {act} each night, and whoever is on call sees number {number}.\n"
    )


def _key(row: Mapping[str, Any]) -> tuple[UUID, UUID, int]:
    return UUID(row["tenant_id"]), UUID(row["adr_id"]), row["version"]


def _event(contract: str, value: Any) -> Event:
    return Event(Record(contract, 0, 0, None, None, b""), value, contract)


async def search(caller: Caller, q: str, mode: str = "meaning") -> dict[str, Any]:
    """The answer of a search that explains itself."""
    response = await caller.post("/v1/search", {"q": q, "mode": mode, "explain": True, "limit": 10})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


@asynccontextmanager
async def founded(settings: Settings) -> AsyncIterator[Town]:
    models = TwoModels()
    settings = settings.model_copy(update={"embedder": embedders_at(models.server.url)})
    try:
        async with running(settings) as world:
            town = Town(world, models, settings)
            yield town
            town.embedders.close()
    finally:
        models.server.close()
