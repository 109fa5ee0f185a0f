"""`adriatic stream`: the agents as processes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import click

from adriatic.cli import process
from runtime.errors import Fenced, NotFound
from runtime.lifecycle import Lifecycle
from runtime.settings import Settings, load

if TYPE_CHECKING:
    from api.agents.desk import AgentDesk
    from api.research.asking import ResearchDesk
    from connectors.embedders.spaces import SpaceEmbedders
    from connectors.fetching.fetcher import Fetcher
    from connectors.objects import Objects
    from connectors.parsers.pool import Parsers
    from connectors.postgres.jobs import JobKind
    from connectors.rendering.pool import Browsers
    from streams.agent import Agent

STOP_S_MAX = 15.0
"""Time that the steps under way get to end; a job whose step takes longer is taken up again when its lease runs out."""


@click.group()
def stream() -> None:
    """The agents: jobs that outlive a request."""


@stream.command()
@click.argument("name")
@process.dead_letter_option
def run(name: str, dead_letter_limit: bool) -> None:
    """Run one agent (jobs) until SIGTERM.

    Starts without its dependencies and says at /health/ready what it waits for. One that must not go on (too many dead
    letters) stays up, not ready, with the reason.
    """
    from adriatic.recovery.hold import hold_flow
    from streams.agent import AgentRunner
    from streams.catalog import agents

    if name not in agents():
        raise NotFound(f"no agent {name}", hint=f"there is: {', '.join(agents())}")
    settings = load()
    life = process.start(f"stream-{name}", settings)
    try:
        with hold_flow(settings, f"stream-{name}", life) as free, process.stay_when_halted(life):
            if free:
                with OPENERS[name](settings, life) as agent:
                    AgentRunner(agent, settings, life, dead_letter_limit=dead_letter_limit).run()
    except Fenced:
        sys.exit(1)


@contextmanager
def open_jobs(settings: Settings, life: Lifecycle) -> Iterator[Agent]:
    """The agent `jobs`, the worker that it wakes, who settles what API processes left, and who watches money."""
    from api.agents.desk import AgentDesk
    from api.research.asking import ResearchDesk
    from connectors.embedders.spaces import SpaceEmbedders
    from connectors.fetching.fetcher import Fetcher
    from connectors.objects import Objects
    from connectors.parsers.pool import Parsers
    from connectors.rendering.pool import Browsers
    from streams.abuse import AbuseWatch
    from streams.alerts import AlertCourier
    from streams.announcements import Announcements
    from streams.crawling.schedules import CrawlSchedules
    from streams.drift import DriftWatch
    from streams.lost_attempts import LostAttempts
    from streams.retention import RetentionSweep
    from streams.vector_indexes import VectorIndexWatch
    from streams.word_segments import WordSegmentWatch
    from streams.worker import Worker

    parsers = Parsers()
    embedders = SpaceEmbedders.from_settings(settings.embedder, settings.secrets)
    research, agents = ResearchDesk(settings, embedders), AgentDesk(settings, embedders)
    fetcher, browsers = Fetcher(settings.crawler), Browsers(settings.crawler)
    tools = {
        **job_kinds(Objects(settings), parsers, embedders, research, agents),
        **crawl_kinds(settings, fetcher, parsers, browsers),
    }
    worker = Worker(tools, settings.postgres, life)
    kinds = (
        *(LostAttempts, AlertCourier, DriftWatch, AbuseWatch, RetentionSweep),
        *(VectorIndexWatch, WordSegmentWatch, CrawlSchedules),
    )
    watches = [kind(settings, life) for kind in kinds]
    life.health.set_fact("browser", browsers.report)
    browsers.watch()
    worker.start()
    for watch in watches:
        watch.start()
    try:
        yield Announcements(worker.wake)
    finally:
        fetcher.close()
        browsers.close()
        parsers.close()
        agents.close()  # a step that waits for a model ends with it
        worker.join(STOP_S_MAX)
        for watch in watches:
            watch.join(STOP_S_MAX)
        research.close()
        embedders.close()


def job_kinds(
    objects: Objects, parsers: Parsers, embedders: SpaceEmbedders, research: ResearchDesk, agents: AgentDesk
) -> Mapping[str, JobKind]:
    """What the worker can do, by name. A new kind is a line here."""
    from api.agents.job import AgentTaskJob
    from api.imports.reader import AdrReader
    from api.research.job import ResearchJob
    from api.search.known_item import question_of
    from dataflows.reindex import Reindex
    from dataflows.space_evaluation import EvaluateSpace
    from dataflows.space_jobs import BuildSpace, DropSpace
    from streams.documents import EraseOriginal, ParseDocument
    from streams.reread_adrs import RereadAdrs
    from streams.reread_documents import RereadDocuments

    documents = (ParseDocument(objects, parsers), RereadDocuments(objects, parsers), EraseOriginal(objects))
    spaces = (BuildSpace(embedders), EvaluateSpace(embedders, question_of), DropSpace())
    kinds = (Reindex(), RereadAdrs(AdrReader()), ResearchJob(research), AgentTaskJob(agents), *documents, *spaces)
    return {kind.name: kind for kind in kinds}


def crawl_kinds(settings: Settings, fetcher: Fetcher, parsers: Parsers, browsers: Browsers) -> Mapping[str, JobKind]:
    """What needs a way out, by name."""
    from streams.crawling.job import CrawlSite
    from streams.crawling.rendering import PageRenderer

    renderer = PageRenderer(settings.crawler, browsers, fetcher) if browsers.enabled else None
    return {CrawlSite.name: CrawlSite(fetcher, parsers, settings.crawler.delay_s, renderer)}


OPENERS: Mapping[str, Callable[[Settings, Lifecycle], AbstractContextManager[Agent]]] = {"jobs": open_jobs}
"""What each agent needs beside it, which lies in several rooms."""
