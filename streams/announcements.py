"""The agent `jobs`: hears of new jobs, so that a worker need not wait until it looks by itself.

Reads `agent.task.submitted`, `crawl.submitted` and `rag.search.requested`. Refuses to do the job, and to take anything
from the event but which job it is: the row is the truth (`app.jobs`), and `streams/worker.py` does it.
"""

from __future__ import annotations

from collections.abc import Callable

from connectors.consumer.contract import Event
from connectors.postgres import jobs
from connectors.postgres.connections import Connection, read_value
from runtime.errors import Unprocessable
from streams.agent import Agent

TOPIC = "agent.task.submitted"
CRAWLS = "crawl.submitted"
ID_FIELDS = {TOPIC: "task_id", CRAWLS: "crawl_id", "rag.search.requested": "job_id"}
"""The field in which the events of each topic name the job, or the crawl that has one."""
_CRAWL = "select exists (select from app.crawls where tenant_id = %s and crawl_id = %s)"


class Announcements(Agent):
    name = "jobs"
    about = "does what takes long"
    topics = tuple(ID_FIELDS)

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def process(self, connection: Connection, event: Event) -> None:
        """An event of a job that is not there is somebody's mistake: the row is committed before the event exists."""
        named = event.value["tenant_id"], event.value[ID_FIELDS[event.contract]]
        is_crawl = event.contract == CRAWLS
        if not (read_value(connection, _CRAWL, *named) if is_crawl else jobs.exists(connection, *named)):
            raise Unprocessable("there is no such job", hint="was it announced without its row?")

    def after_commit(self) -> None:
        self._wake()
