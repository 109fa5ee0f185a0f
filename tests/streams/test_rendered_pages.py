"""Crawls whose pages are made by scripts, by a real worker with a real browser, against a local web."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web

from connectors.rendering import pool
from runtime import metrics
from tests.connectors.fetching.local_web import FORBIDDEN, Handler, LocalWeb
from tests.dataflows.world import until
from tests.patience import PATIENCE_S
from tests.streams.crawl_world import Crawls, about, answer, page

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(pool.find_browser("auto") is None, reason="no Chromium here (apt-get install chromium)"),
    pytest.mark.timeout(400),
]

SHELL = """<!doctype html><html><head><title>Loading</title></head><body><noscript>You need to enable JavaScript to run
this app.</noscript><div id="root"></div><script src="/app.js"></script></body></html>"""

APP = """
const show = async () => {
  const answer = await fetch("/api" + location.pathname, { headers: { accept: "application/json" } });
  const found = await answer.json();
  document.title = found.title;
  document.getElementById("root").innerHTML = `<main>${found.body}</main>`;
};
show();
"""


def shell(body: str = SHELL, **headers: str) -> Handler:
    return answer(200, body, "text/html", **headers)


def data(subject: str, *links: str) -> Handler:
    said = {"title": f"The {subject}", "body": about(subject, *links)}
    return answer(200, json.dumps(said), "application/json")


def serve_app(local: LocalWeb, host: str = "a.test", **subjects: tuple[str, tuple[str, ...]]) -> None:
    """An application of pages that are all the same shell."""
    local.serve(host, "/app.js", answer(200, APP, "text/javascript"))
    for name, (subject, links) in subjects.items():
        path = "/" if name == "index" else f"/{name}"
        local.serve(host, path, shell(ETag='"always the same"'))
        local.serve(host, f"/api{path}", data(subject, *links))


def told(crawls: Crawls, crawl: Any) -> dict[str, tuple[str, str, str, bool]]:
    rows = crawls.bench.rows(
        "select url, state, code, detail, rendered from app.crawl_urls where crawl_id = %s order by url_id", crawl
    )
    return {url.split(f":{crawls.local.port}", 1)[1]: (*rest,) for url, *rest in rows}


def test_text_that_only_scripts_write_becomes_pages_and_their_links_are_followed(
    crawls: Crawls, local: LocalWeb
) -> None:
    tenant = crawls.bench.tenant()
    serve_app(local, index=("heron", ("/one", "/plain")), one=("otter", ("/",)))
    local.serve("a.test", "/plain", page("beaver"))
    with crawls.working("a.test", browser="auto"):
        crawl = crawls.run(tenant, local.url("a.test"))
        found = told(crawls, crawl)
        assert found == {
            "/": ("stored", "", "", True),
            "/one": ("stored", "", "", True),
            "/plain": ("stored", "", "", False),
        }
        bodies = dict(crawls.bench.rows("select title, body from app.page_versions"))
        assert "The otter of river 856 fishes" in bodies["The otter"]
        assert "enable JavaScript" not in str(bodies)
        asked = Counter(local.paths("a.test"))
        assert asked == dict.fromkeys(("/", "/one", "/plain", "/app.js", "/api/", "/api/one"), 1), "each once"
        assert local.at_once_max["a.test"] == 1
        assert all("Chrom" not in head["User-Agent"] and "Cookie" not in head for head in local.heads)

        local.serve("a.test", "/api/one", data("salmon", "/"))
        again = crawls.run(tenant, local.url("a.test"))
        found = {path: state for path, (state, *_) in told(crawls, again).items()}
        assert found == {"/": "unchanged", "/one": "stored", "/plain": "unchanged"}, "shells that stay say nothing"
    assert crawls.versions(tenant) == [
        ("/", 1, "create"),
        ("/one", 1, "create"),
        ("/one", 2, "update"),
        ("/plain", 1, "create"),
    ]
