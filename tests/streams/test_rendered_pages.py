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

from connectors.fetching import addresses
from connectors.rendering import pool
from runtime import metrics
from runtime.clock import SYSTEM_CLOCK
from streams.crawling import rendering
from tests.connectors.fetching.local_web import FORBIDDEN, Handler, LocalWeb
from tests.dataflows.world import until
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


def serve_app(local: LocalWeb, **subjects: tuple[str, tuple[str, ...]]) -> None:
    """An application of pages that are all the same shell."""
    host = "a.test"
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
        states = {path: each[0] for path, each in told(crawls, again).items()}
        assert states == {"/": "unchanged", "/one": "stored", "/plain": "unchanged"}, "shells that stay say nothing"
    assert crawls.versions(tenant) == [
        ("/", 1, "create"),
        ("/one", 1, "create"),
        ("/one", 2, "update"),
        ("/plain", 1, "create"),
    ]


def test_what_a_page_asks_for_keeps_to_the_rules_of_its_crawl(crawls: Crawls, local: LocalWeb) -> None:
    """Hosts of the crawl, `robots.txt`, no private host of another name, nobody's listener; and the page says so."""
    tenant = crawls.bench.tenant()
    local.names |= {"inner.test": [FORBIDDEN], "rebound.test": [FORBIDDEN]}
    urls = {
        "rules": "/api/closed",
        "elsewhere": local.url("elsewhere.test", "/x"),
        "inside": local.url("inner.test", "/secret"),
        "private": local.url("wiki.test", "/secret"),
        "leads": "/leads",
        "number": f"http://127.0.0.1:{local.port}/number",
        "meta": "http://169.254.169.254/latest/meta-data/",
        "open": "/open",
    }
    script = f"""(async () => {{ const said = [];
      for (const [name, url] of Object.entries({json.dumps(urls)}))
        said.push(await fetch(url).then((it) => it.ok ? name + " came" : name + " failed", () => name + " refused"));
      document.querySelector("main").textContent = said.join(", ") + ". {"Herons fish here. " * 30}"; }})();"""
    local.serve("a.test", "/robots.txt", answer(200, "User-agent: *\nDisallow: /api/\n"))
    local.serve("a.test", "/", shell(f"<html><body><main></main><script>{script}</script></body></html>"))
    local.serve("a.test", "/leads", answer(302, Location=local.url("rebound.test", "/secret")))
    local.serve("a.test", "/open", answer(200, "x"))
    local.serve("wiki.test", "/secret", answer(200, "secret", **{"Access-Control-Allow-Origin": "*"}))
    hosts = ["a.test", "inner.test", "rebound.test", "wiki.test"]
    with crawls.working("a.test", "wiki.test", browser="auto"):
        crawl = crawls.run(tenant, local.url("a.test"), hosts=hosts, depth_max=0)
    (body,) = crawls.bench.rows("select body from app.page_versions")[0]
    told_by_it = [f"{name} {'came' if name == 'open' else 'refused'}" for name in urls]
    assert body.partition(".")[0] == ", ".join(told_by_it)
    assert local.connected == []
    assert Counter(local.asked) == Counter([("a.test", path) for path in ("/robots.txt", "/", "/leads", "/open")])
    state, code, detail, rendered = told(crawls, crawl)["/"]
    assert (state, code, rendered) == ("stored", "", True)
    assert "(1)" in detail, detail


def test_other_hosts_of_a_crawl_are_asked_in_their_turn_and_at_their_pace(crawls: Crawls, local: LocalWeb) -> None:
    times: list[tuple[str, float]] = []

    def timed(handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            times.append((request.host.partition(":")[0], SYSTEM_CLOCK.monotonic()))
            return await handler(request)

        return handle

    script = f"""Promise.all([1, 2, 3, "leads"].flatMap((at) => ["", "{local.url("b.test", "")}"]
      .map((host) => fetch(host + "/" + at).then((it) => it.text(), () => "closed"))))
      .then((all) => {{ document.querySelector("main").textContent = all.join(" "); }})"""
    local.serve("a.test", "/", timed(shell(f"<html><body><main></main><script>{script}</script></body></html>")))
    for at in (1, 2, 3):
        local.serve("a.test", f"/{at}", timed(answer(200, f"own{at}")))
        other = answer(200, f"other{at}", **{"Access-Control-Allow-Origin": "*"})
        local.serve("b.test", f"/{at}", timed(other))
    local.serve("a.test", "/leads", timed(answer(302, Location=local.url("b.test", "/closed"))))
    local.serve("b.test", "/leads", timed(answer(302, Location=local.url("a.test", "/1"))))
    local.serve("b.test", "/closed", timed(answer(200, "for its own pages alone")))
    local.fallback = timed(answer(404))
    # The other host is not a private one: that would be refused.
    with crawls.working("a.test", browser="auto", delay_s=0.5) as _, pytest.MonkeyPatch.context() as patched:
        patched.setattr(addresses, "_is_public", lambda address: str(address) == "127.0.0.1")
        crawls.run(crawls.bench.tenant(), local.url("a.test"), hosts=["a.test", "b.test"], depth_max=0)
    (body,) = crawls.bench.rows("select body from app.page_versions")[0]
    assert body.split() == ["own1", "other1", "own2", "other2", "own3", "other3", "closed", "closed"]
    for host, requests in (("a.test", 7), ("b.test", 6)):
        moments = [when for name, when in times if name == host]
        assert len(moments) == requests, "with its robots.txt"
        assert all(after - before > 0.45 for before, after in pairwise(moments)), moments
        assert local.at_once_max[host] == 1
    assert crawls.bench.rows("select count(*) from ops.crawl_hosts where turn_job is not null") == [(0,)]


def test_frames_keep_to_the_rules_and_to_what_their_sites_say(
    crawls: Crawls, local: LocalWeb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "_is_public", lambda address: str(address) == "127.0.0.1")
    shown: dict[str, tuple[str, dict[str, str]]] = {
        "perch": ("b.test", {}),
        "bream": ("b.test", {"Content-Security-Policy": f"default-src *; frame-ancestors {local.url('a.test', '')}"}),
        "barbel": ("a.test", {"X-Frame-Options": "SAMEORIGIN"}),
    }
    refused: dict[str, tuple[str, dict[str, str]]] = {
        "tench": ("b.test", {"X-Frame-Options": "SAMEORIGIN"}),
        "roach": ("b.test", {"Content-Security-Policy": "frame-ancestors 'self'"}),
        "dace": ("b.test", {"X-Robots-Tag": "noindex"}),
        "zander": ("a.test", {"X-Frame-Options": "DENY"}),
        "chub": ("wiki.test", {}),
        "ruffe": ("elsewhere.test", {}),
        "burbot": ("a.test", {}),
    }
    frames = ""
    for name, (host, headers) in (shown | refused).items():
        local.serve(host, f"/{name}", answer(200, f"<p>Here a {name} swims in a frame.</p>", "text/html", **headers))
        frames += f"<iframe src='{local.url(host, f'/{name}')}'></iframe>"
    local.serve("a.test", "/robots.txt", answer(200, "User-agent: *\nDisallow: /burbot\n"))
    reading = f"fetch('{local.url('wiki.test', '/x')}').then((it) => it.text()).then((said) => document.write(said))"
    local.serve(
        "b.test",
        "/gudgeon",
        answer(200, f"<p>Here a gudgeon swims in a frame.</p><script>{reading}</script>", "text/html"),
    )
    local.serve("a.test", "/file", answer(200, "a file", "application/pdf"))
    rest = f"<iframe src='{local.url('b.test', '/gudgeon')}'></iframe><iframe src='/file'></iframe>"
    local.serve("a.test", "/", shell(f"<html><body>{about('heron')}{frames}</body></html>"))
    local.serve("a.test", "/rest", shell(f"<html><body>{about('stork')}{rest}</body></html>"))
    start = [local.url("a.test"), local.url("a.test", "/rest")]
    with crawls.working("wiki.test", browser="auto"):
        hosts = ["a.test", "b.test", "wiki.test"]
        crawl = crawls.run(crawls.bench.tenant(), *start, hosts=hosts, depth_max=0, render="always")
    bodies = dict(crawls.bench.rows("select url, body from app.page_versions"))
    assert {name for name in shown | refused if f"Here a {name} swims" in bodies[start[0]]} == set(shown), bodies
    assert "Here a gudgeon swims" in bodies[start[1]]
    asked = set(local.asked)
    assert (
        not {("a.test", "/burbot"), ("elsewhere.test", "/ruffe"), ("wiki.test", "/chub"), ("wiki.test", "/x")} & asked
    )
    assert local.at_once_max == dict.fromkeys(("a.test", "b.test"), 1)
    details = {path: detail for path, (_, _, detail, _) in told(crawls, crawl).items()}
    assert "b.test: it lets no page like this show it in a frame (2)" in details["/"], details
    assert "wiki.test: it may be private" in details["/rest"], details
    assert "application/pdf" in details["/rest"], details
    assert crawls.bench.rows("select count(*) from ops.crawl_hosts where turn_job is not null") == [(0,)]


def test_nothing_is_sent_and_a_page_that_would_send_is_told_so(crawls: Crawls, local: LocalWeb) -> None:
    """A site whose text comes by POST keeps its shell, and says why."""
    sent: list[str] = []

    async def note(request: web.Request) -> web.Response:
        sent.append(request.method)
        return web.json_response({"data": {"text": "Otters fish here."}})

    local.serve("a.test", "/graphql", note)
    script = """const show = (said) => { document.querySelector("main").append(said); };
      const json = { "content-type": "application/json" };
      fetch("/graphql", { method: "POST", headers: json, body: '{"query": "{ x }"}' })
        .then((it) => it.json(), () => ({ data: { text: "It could not be loaded." } }))
        .then((it) => show(it.data.text));
      const asked = new XMLHttpRequest(); asked.open("PUT", "/graphql"); asked.send("x");
      navigator.sendBeacon("/graphql", "x");
      document.forms[0].submit();"""
    form = "<form method=post action=/graphql target=within><input name=x value=1></form><iframe name=within></iframe>"
    local.serve("a.test", "/", shell(f"<html><body><main></main>{form}<script>{script}</script></body></html>"))
    with crawls.working("a.test", browser="auto"):
        crawl = crawls.run(crawls.bench.tenant(), local.url("a.test"), depth_max=0)
    assert sent == []
    state, code, detail, rendered = told(crawls, crawl)["/"]
    assert (state, code, rendered) == ("stored", "", True)
    assert "2 requests of it would have sent something" in detail
    (body,) = crawls.bench.rows("select body from app.page_versions")[0]
    assert body.strip() == "It could not be loaded."


def test_pages_whose_scripts_go_elsewhere_are_redirects(crawls: Crawls, local: LocalWeb) -> None:
    def going(url: str) -> Handler:
        return shell(f"<html><body><p>Wait.</p><script>location.replace('{url}')</script></body></html>")

    local.names["inner.test"] = [FORBIDDEN]
    local.serve("a.test", "/", page("heron", "/goes", "/away", "/inside", "/round"))
    local.serve("a.test", "/goes", going("/target"))
    local.serve("a.test", "/away", going("http://elsewhere.test/"))
    local.serve("a.test", "/inside", going(local.url("inner.test", "/secret")))
    local.serve("a.test", "/round", going("/round?again=1"))
    local.serve("a.test", "/round?again=1", going("/round"))
    local.serve("a.test", "/target", page("otter"))
    with crawls.working("a.test", browser="auto"):
        crawl = crawls.run(crawls.bench.tenant(), local.url("a.test"), hosts=["a.test", "inner.test"])
    found = {path: (state, code) for path, (state, code, *_) in told(crawls, crawl).items()}
    assert found["/goes"] == ("redirected", "")
    assert found["/target"] == ("stored", "")
    assert found["/away"] == ("refused", "out-of-scope")
    assert found["/inside"] == ("redirected", "")
    assert found["/secret"] == ("refused", "robots")
    assert found["/round"] == ("redirected", "")
    assert Counter(local.paths("a.test"))["/round"] == 1
    assert local.connected == []


def test_a_crawl_says_what_is_rendered(crawls: Crawls, local: LocalWeb) -> None:
    tenant = crawls.bench.tenant()
    adds = "<script>document.querySelector('p').append(' Written by scripts.')</script>"
    local.serve(
        "a.test", "/", answer(200, f"<html><body>{about('heron')}{adds}</body></html>", "text/html", ETag='"1"')
    )
    local.serve("a.test", "/empty", shell("<html><body><div id=root></div><script>var x</script></body></html>"))
    start = [local.url("a.test"), local.url("a.test", "/empty")]
    with crawls.working("a.test", browser="auto"):
        for render, states in (("never", {"/": False, "/empty": False}), (None, {"/": False, "/empty": True})):
            crawl = crawls.run(tenant, *start, render=render)
            assert {path: rendered for path, (*_, rendered) in told(crawls, crawl).items()} == states
        crawl = crawls.run(tenant, *start, render="always")
        assert {path: rendered for path, (*_, rendered) in told(crawls, crawl).items()} == {"/": True, "/empty": True}
    bodies = crawls.bench.rows("select version, body like %s from app.page_versions order by 1", "%Written by scripts%")
    assert bodies == [(1, False), (2, True)], "that it is as it was is not asked"


def test_without_a_browser_pages_stay_as_they_were_and_say_why(crawls: Crawls, local: LocalWeb) -> None:
    tenant = crawls.bench.tenant()
    serve_app(local, index=("heron", ("/one",)), one=("otter", ()))
    local.serve("a.test", "/short", shell("<html><body>A short word.<script>var x</script></body></html>"))
    start = [local.url("a.test"), local.url("a.test", "/short")]
    with crawls.working("a.test", browser="auto"):
        crawls.run(tenant, *start)
    before = crawls.versions(tenant)
    assert len(before) == 3
    local.serve("a.test", "/new", shell("<html><body><div id=root></div><script>var x</script></body></html>"))
    local.serve("a.test", "/text", shell("<html><body>Another word.<script>var x</script></body></html>"))
    start += [local.url("a.test", "/new"), local.url("a.test", "/text")]
    with crawls.working("a.test", browser="/bin/false"):
        for _ in range(3):
            crawl = crawls.run(tenant, *start, gone_after=1)
            found = told(crawls, crawl)
            assert {(state, code) for state, code, *_ in (found["/"], found["/short"])} == {
                ("unchanged", "not-rendered")
            }
            assert found["/new"][:2] == ("refused", "not-rendered")
            assert found["/text"][:2] in (("stored", "not-rendered"), ("unchanged", "not-rendered"))
            assert all("does not start" in detail for _, _, detail, _ in found.values())
    with crawls.working("a.test", browser="off"):
        found = told(crawls, crawls.run(tenant, *start, gone_after=1))
        assert found["/new"][:2] == ("refused", "empty")
        assert not any(state == "gone" for state, *_ in found.values()), "a page is not gone because a browser is"
    assert not [version for version in crawls.versions(tenant) if version[2] == "delete"]


def test_a_page_that_never_ends_holds_up_no_crawl(
    crawls: Crawls, local: LocalWeb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "RENDER_S_MAX", 8.0)
    local.serve("a.test", "/", page("heron", "/endless", "/box", "/one"))
    local.serve("a.test", "/endless", shell("<html><body>Never.<script>while (true) {}</script></body></html>"))
    local.serve("a.test", "/box", shell("<html><body><script>for (;;) alert('x')</script></body></html>"))
    local.serve("a.test", "/one", page("otter"))
    rendered = metrics.CRAWL_RENDERS.labels("too-slow")._value.get()
    with crawls.working("a.test", browser="auto"):
        crawl = crawls.run(crawls.bench.tenant(), local.url("a.test"))
    found = told(crawls, crawl)
    assert found["/endless"][:2] == ("stored", "not-rendered")
    assert found["/box"][:2] == ("refused", "not-rendered")
    assert found["/one"][0] == "stored"
    assert metrics.CRAWL_RENDERS.labels("too-slow")._value.get() == rendered + 2
    assert local.paths("a.test").count("/endless") == 1


def test_a_worker_that_is_killed_while_it_renders_goes_on(crawls: Crawls, local: LocalWeb, tmp_path: Path) -> None:
    names = [f"page{number}" for number in range(6)]
    subjects: dict[str, tuple[str, tuple[str, ...]]] = {name: (name, ()) for name in names}
    serve_app(local, index=("heron", tuple(f"/{name}" for name in names)), **subjects)
    tenant = crawls.bench.tenant()
    crawl = crawls.submit(tenant, local.url("a.test"))
    for kills in range(3):
        process = crawls.process(tmp_path / "log", "a.test", delay_s=0.2, browser="auto")
        seen = len(local.asked)
        until(lambda seen=seen: any("/api" in path for _, path in local.asked[seen:]), wait_s=100)  # type: ignore[misc]
        family = psutil.Process(process.pid).children(recursive=True)
        assert any("chrom" in each.name() for each in family)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        until(lambda family=family: not any(each.is_running() for each in family), wait_s=30)  # type: ignore[misc]
        assert kills < 3
    with crawls.working("a.test", delay_s=0.2, browser="auto"):
        crawls.wait(crawl)
    assert {path: state for path, (state, *_) in told(crawls, crawl).items()} == dict.fromkeys(
        ("/", *(f"/{name}" for name in names)), "stored"
    )
    asked = Counter(path for path in local.paths("a.test") if "/api" not in path and path != "/app.js")
    assert sum(asked.values()) <= 7 + 3, "a kill costs one request for a page"
    assert len(crawls.versions(tenant)) == 7


def test_tenants_do_not_get_what_came_for_others(crawls: Crawls, local: LocalWeb) -> None:
    serve_app(local, index=("heron", ()))
    with crawls.working("a.test", browser="auto"):
        first, second = (crawls.run(crawls.bench.tenant(), local.url("a.test")) for _ in range(2))
    assert told(crawls, first) == told(crawls, second) == {"/": ("stored", "", "", True)}
    assert Counter(local.paths("a.test")) == dict.fromkeys(("/", "/app.js", "/api/"), 2)
