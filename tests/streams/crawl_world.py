"""A site on loopback, a crawl of it in a database, and a worker that does it, in this process or in one to be killed.

`python -m tests.streams.crawl_world` is that process, with what it needs in the environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from aiohttp import web

from connectors.fetching.fetcher import Fetcher
from connectors.fetching.urls import default_hosts
from connectors.parsers.pool import Parsers
from connectors.rendering.pool import Browsers
from runtime import logs
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import CrawlerSettings, Settings, TelemetrySettings
from schemas.jobs import CRAWL
from streams.crawling.job import CrawlSite
from streams.crawling.rendering import PageRenderer
from streams.worker import Worker
from tests.connectors.fetching.local_web import Handler, LocalWeb, html
from tests.databases import ask
from tests.dataflows.world import until
from tests.patience import PATIENCE_S
from tests.streams.world import Bench

PLACES = 2
ENDED = "select state from app.jobs where job_id = %s and finished_at is not null"


def about(subject: str, *links: str, words: int = 80) -> str:
    """A body that is long enough to be a text, different for each subject, with links in a menu and below."""
    sentences = " ".join(
        f"The {subject} of river {number * 7919 % 1009} fishes by {subject}{number}." for number in range(words // 8)
    )
    listed = "".join(f'<li><a href="{link}">{link}</a></li>' for link in links)
    return f"<h1>About {subject}</h1><p>{sentences}</p><ul>{listed}</ul>"


def page(subject: str, *links: str, **options: Any) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        head = options.get("head", "")
        response = html(about(subject, *links, words=options.get("words", 80)), f"The {subject}", head)
        response.headers.update(options.get("headers", {}))
        return response

    return handle


def answer(status: int, body: str = "", content_type: str = "text/plain", **headers: str) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(status=status, text=body, content_type=content_type, headers=headers)

    return handle


class Crawls:
    """Crawls in a database, as the API records them, and what came of them."""

    def __init__(self, bench: Bench, local: LocalWeb) -> None:
        self.bench = bench
        self.local = local
        self.job_of: dict[UUID, UUID] = {}

    async def tell_time(self) -> float:
        """The database's clock, by which hosts have their turns: no other one is compared with it, so what is
        said of pauses holds on the slowest machine."""
        ((seconds,),) = await asyncio.to_thread(
            ask, self.bench.settings.postgres.dsn("admin"), "select extract(epoch from clock_timestamp())::float8"
        )
        return float(seconds)

    def submit(self, tenant_id: UUID, *urls: str, **bounds: Any) -> UUID:
        crawl_id, job_id = uuid4(), uuid4()
        self.job_of[crawl_id] = job_id
        row = {
            "hosts": list(default_hosts(urls)),
            "include": [],
            "exclude": [],
            "depth_max": 5,
            "pages_max": 200,
            "bytes_max": 10**8,
            "seconds_max": 600,
            "gone_after": 2,
            "render": None,
            **bounds,
        }
        self.bench.rows(
            "with job as (insert into app.jobs (tenant_id, job_id, kind, params) values (%s, %s, %s, %s)) "
            "insert into app.crawls (tenant_id, crawl_id, job_id, start_urls, hosts, include, exclude, depth_max, "
            "pages_max, bytes_max, seconds_max, gone_after, render) "
            "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            *(tenant_id, job_id, CRAWL, json.dumps({"crawl_id": str(crawl_id)})),
            *(tenant_id, crawl_id, job_id, list(urls), row["hosts"], row["include"], row["exclude"], row["depth_max"]),
            *(row["pages_max"], row["bytes_max"], row["seconds_max"], row["gone_after"], row["render"]),
        )
        return crawl_id

    def run(self, tenant_id: UUID, *urls: str, **bounds: Any) -> UUID:
        """Submit one, and wait until it is over."""
        crawl_id = self.submit(tenant_id, *urls, **bounds)
        self.wait(crawl_id)
        return crawl_id

    def wait(self, *crawls: UUID) -> None:
        for crawl_id in crawls:
            until(lambda job=self.job_of[crawl_id]: self.bench.rows(ENDED, job) != [], wait_s=200)  # type: ignore[misc]
            assert self.bench.state(self.job_of[crawl_id]) in ("succeeded", "cancelled"), self.bench.rows(
                "select phase, last_error from app.jobs where job_id = %s", self.job_of[crawl_id]
            )

    def found(self, crawl_id: UUID) -> dict[str, tuple[str, str]]:
        """State and code of each address, by host and path."""
        rows = self.bench.rows(
            "select url, state, code from app.crawl_urls where crawl_id = %s order by url_id", crawl_id
        )
        return {url.split("://", 1)[1].replace(f":{self.local.port}", ""): (state, code) for url, state, code in rows}

    def one(self, crawl_id: UUID, columns: str) -> tuple[Any, ...]:
        (row,) = self.bench.rows(f"select {columns} from app.crawls where crawl_id = %s", crawl_id)
        return row

    def versions(self, tenant_id: UUID) -> list[tuple[str, int, str]]:
        rows = self.bench.rows(
            "select url, version, kind from app.page_versions where tenant_id = %s order by url, version", tenant_id
        )
        return [(url.split(f":{self.local.port}", 1)[1], version, kind) for url, version, kind in rows]

    def forget_hosts(self) -> None:
        """As if a day had passed, for the rules and the rates of hosts."""
        self.bench.rows("delete from ops.crawl_robots")
        self.bench.rows("delete from ops.crawl_hosts")

    @contextmanager
    def working(self, *hosts: str, delay_s: float = 0.0, places: int = PLACES, browser: str = "off") -> Iterator[None]:
        parsers = Parsers()
        settings = CrawlerSettings(delay_s=delay_s, browser=browser, browser_sandbox=False)
        browsers = Browsers(settings)
        with self.local.fetching(*hosts, delay_s=delay_s) as fetcher:
            renderer = PageRenderer(settings, browsers, fetcher) if browsers.enabled else None
            try:
                with self.bench.working({CRAWL: CrawlSite(fetcher, parsers, delay_s, renderer)}, places):
                    yield
                    fetcher.close()
                    browsers.close()
                    parsers.close()
            finally:
                browsers.close()
                parsers.close()

    def process(self, log: Path, *hosts: str, delay_s: float = 0.0, browser: str = "off") -> subprocess.Popen[bytes]:
        postgres = self.bench.settings.postgres
        described = {
            "port": self.local.port,
            "hosts": hosts,
            "delay_s": delay_s,
            "browser": browser,
            "postgres": {
                **{name: getattr(postgres, name) for name in ("host", "port", "database", "sslmode")},
                "flows_password": postgres.flows_password.get_secret_value(),
            },
        }
        with log.open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.streams.crawl_world"],
                env={**os.environ, "CRAWL": json.dumps(described)},
                stdout=out,
                stderr=out,
                cwd=Path(__file__).resolve().parents[2],
            )


def main() -> None:
    logs.configure("jobs", TelemetrySettings())
    described = json.loads(os.environ["CRAWL"])
    settings = Settings(postgres=described["postgres"])
    life = Lifecycle(Health())
    signal.signal(signal.SIGTERM, lambda *_: life.stop())
    crawler = CrawlerSettings(
        allowed_private=tuple(described["hosts"]),
        delay_s=described["delay_s"],
        browser=described["browser"],
        browser_sandbox=False,
    )
    fetcher, parsers, browsers = Fetcher(crawler, LocalWeb().resolve), Parsers(), Browsers(crawler)
    renderer = PageRenderer(crawler, browsers, fetcher) if browsers.enabled else None
    kinds = {CRAWL: CrawlSite(fetcher, parsers, crawler.delay_s, renderer)}
    worker = Worker(kinds, settings.postgres, life, places=PLACES)
    worker.start()
    life.wait_for_stop()
    fetcher.close()
    browsers.close()
    parsers.close()
    worker.join(PATIENCE_S)


if __name__ == "__main__":
    main()
