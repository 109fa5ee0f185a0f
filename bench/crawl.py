"""A crawl of a web of two thousand pages on loopback names, whose worker is killed ten times on the way.

`python -m bench.crawl` makes the web (loops, a calendar without end, redirects into private addresses, a page that
drips, a bomb, a site that asks for pauses, two names for one host), a database of its own on an embedded Postgres, and
a crawl; it prints what was asked for, and whether anybody connected to where nobody may.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from aiohttp import web

from tests import databases
from tests.connectors.fetching.local_web import FORBIDDEN, LocalWeb, html, serving_web
from tests.copies import running_copy
from tests.streams.crawl_world import Crawls, about, answer, page
from tests.streams.world import Bench

HOSTS = ("a.test", "www.a.test", "b.test", "c.test", "busy.test")
TRAPS = ("/calendar/1", "/round", "/private", "/rebinds", "/bomb", "/loop/a")
ALIKE = (("busy.test", "/"), ("www.a.test", "/page/0"), ("c.test", "/drips"))
"""What is there once, or has two names."""


def build(local: LocalWeb, pages: int) -> None:
    """The pages, spread over three hosts as a tree in which each leads to three more and back, and the traps."""
    hosts = ("a.test", "b.test", "c.test")

    def url(number: int) -> str:
        return local.url(hosts[number % 3], f"/page/{number}")

    async def tree(request: web.Request) -> web.StreamResponse:
        host, kind, number = request.host.partition(":")[0], *request.path.strip("/").split("/")[:2]
        if kind == "calendar":
            return html(f"<p>Nothing is planned.</p><a href='/calendar/{int(number) + 1}'>next</a>", "Calendar")
        at = int(number)
        if kind != "page" or not 0 <= at < pages or host.removeprefix("www.") != hosts[at % 3]:
            return web.Response(status=404)
        links = [url(child) for child in range(3 * at + 1, 3 * at + 4) if child < pages]
        more = [*TRAPS, url(0), *(local.url(*each) for each in ALIKE)] if at < 3 else [url(at // 3)]
        return html(about(f"subject{at}", *links, *more, words=120), f"Page {at}")

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/html"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b".")
                await asyncio.sleep(0.5)
        return response

    async def bomb(request: web.Request) -> web.Response:
        packed = gzip.compress(bytes(60_000_000))
        return web.Response(body=packed, headers={"Content-Type": "text/html", "Content-Encoding": "gzip"})

    busy_asked: list[float] = []

    async def busy(request: web.Request) -> web.Response:
        busy_asked.append(time.monotonic())
        if len(busy_asked) == 1:
            return web.Response(status=429, headers={"Retry-After": "3"})
        return html(about("busy"), "Busy")

    local.fallback = tree
    local.names |= {"inner.test": [FORBIDDEN], "rebinds.test": [FORBIDDEN]}
    for host in HOSTS:
        local.serve(host, "/robots.txt", answer(200, "User-agent: *\nDisallow: /never\n"))
        local.serve(host, "/round", answer(302, Location="/round"))
        local.serve(host, "/private", answer(302, Location=local.url("inner.test", "/secret")))
        local.serve(host, "/rebinds", answer(302, Location=local.url("rebinds.test", "/secret")))
        local.serve(host, "/drips", drip)
        local.serve(host, "/bomb", bomb)
        local.serve(host, "/loop/a", page("loopa", "/loop/b"))
        local.serve(host, "/loop/b", page("loopb", "/loop/a"))
    local.serve("busy.test", "/", busy)


def crawl(crawls: Crawls, pages: int, kills: int, delay_s: float, folder: Path) -> tuple[Any, float]:
    """Crawl the web to its end, and kill the worker on the way."""
    local = crawls.local
    hosts = [*HOSTS, "inner.test", "rebinds.test"]
    begun = time.monotonic()
    made = crawls.submit(
        crawls.bench.tenant(),
        local.url("a.test", "/page/0"),
        hosts=hosts,
        depth_max=20,
        pages_max=2 * pages + 100,
        seconds_max=3_600,
    )
    for kill in range(kills + 1):
        process = crawls.process(folder / "worker", *HOSTS, delay_s=delay_s)
        until = (kill + 1) * pages // (kills + 1) if kill < kills else None
        while process.poll() is None:
            asked, over = (
                crawls.one(made, "asked")[0],
                crawls.bench.state(crawls.job_of[made]) not in ("queued", "running"),
            )
            if over or (until is not None and asked >= until):
                break
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM if until is None else signal.SIGKILL)
        process.wait()
        crawls.bench.rows("update app.jobs set lease_until = now() where lease_until is not null")
    return made, time.monotonic() - begun


def report(crawls: Crawls, made: Any, seconds: float, pages: int, kills: int) -> None:
    local = crawls.local
    found = crawls.found(made)
    states = Counter(f"{state} {code}".strip() for state, code in found.values())
    asked = Counter(local.asked)
    stored = {path for path, (state, _) in found.items() if state == "stored"}
    tree = {path for path in stored if "/page/" in path and not path.startswith("www.")}
    twice = {f"{host}{path}": count for (host, path), count in asked.items() if count > 1 and f"{host}{path}" in stored}
    versions = crawls.bench.rows("select count(*), count(distinct page_id) from app.page_versions")[0]
    print(f"job {crawls.bench.state(crawls.job_of[made])} after {seconds:.0f} s and {kills} kills")
    rules = sum(count for (_, path), count in asked.items() if path == "/robots.txt")
    print(f"requests        {sum(asked.values())}, of which {rules} for robots.txt")
    print(f"pages           {len(tree)} of {pages} stored; {versions[0]} versions of {versions[1]} pages")
    more = sum(count - 1 for count in twice.values())
    print(f"asked again     {more} times, where a kill met the request or its site put it off: {twice}")
    print(f"at once         {dict(local.at_once_max)}")
    print(f"connections to the forbidden address: {len(local.connected)}")
    for state, count in states.most_common():
        print(f"  {count:6} {state}")
    for path in sorted(path for path in found if not path.split("/", 1)[1].startswith("page/")):
        print(f"  {path}: {' '.join(found[path])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=2_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--delay-s", type=float, default=0.0, help="least time between two requests to a host")
    asked = parser.parse_args()
    with (
        running_copy("", ("postgres",)) as copy,
        databases.fresh(copy.settings, databases.template(copy.settings)) as settings,
        serving_web() as local,
        tempfile.TemporaryDirectory() as folder,
    ):
        build(local, asked.pages)
        crawls = Crawls(Bench(settings), local)
        made, seconds = crawl(crawls, asked.pages, asked.kills, asked.delay_s, Path(folder))
        report(crawls, made, seconds, asked.pages, asked.kills)


if __name__ == "__main__":
    main()
