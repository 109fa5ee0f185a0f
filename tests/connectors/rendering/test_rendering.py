"""A real browser, given hostile pages, with listeners where nobody may connect.

What a page asks for goes through a door that asks the fetcher: the listeners see whatever went past it.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psutil
import pytest

from connectors.fetching import FetchRequest, NotFetched
from connectors.fetching.fetcher import Fetcher
from connectors.rendering import (
    FRAMES_MAX,
    REQUESTS_MAX,
    SENT,
    NotRendered,
    Rendered,
    RenderRequest,
    ResourceGiven,
    ResourceWanted,
    pool,
)
from connectors.rendering.pool import Browsers, find_browser
from runtime import metrics
from runtime.lifecycle import StopRequested
from runtime.settings import CrawlerSettings
from tests.connectors.fetching.local_web import FORBIDDEN, METADATA, LocalWeb, serving_web
from tests.connectors.fetching.test_fetcher import answering
from tests.dataflows.world import until

pytestmark = [
    pytest.mark.skipif(find_browser("auto") is None, reason="no Chromium here (apt-get install chromium)"),
    pytest.mark.timeout(300),
]

TENANT = UUID(int=1)


@dataclass
class FetchingDoor:
    """Asks for what is of a host named so, and notes all."""

    fetcher: Fetcher
    wanted: list[ResourceWanted] = field(default_factory=list)
    came: list[str] = field(default_factory=list)

    def ask(self, wanted: ResourceWanted) -> ResourceGiven:
        self.wanted.append(wanted)
        answer = self.fetcher.ask(FetchRequest(wanted.url, (), 1_000_000, 10))
        self.came.append(answer.code if isinstance(answer, NotFetched) else str(answer.status))
        if isinstance(answer, NotFetched):
            return ResourceGiven()
        origins = answer.headers.get("access-control-allow-origin", "")
        return ResourceGiven(answer.status, answer.url, answer.media_type, answer.body, origins)


@pytest.fixture
def local() -> Iterator[LocalWeb]:
    with serving_web() as served:
        yield served


@pytest.fixture
def door(local: LocalWeb) -> Iterator[FetchingDoor]:
    with local.fetching("a.test", "b.test") as fetcher:
        yield FetchingDoor(fetcher)


@pytest.fixture
def browsers() -> Iterator[Browsers]:
    made = Browsers(CrawlerSettings(browser="auto", browser_sandbox=False))
    yield made
    made.close()
    until(lambda: not browser_processes(), wait_s=20)


def browser_processes() -> list[int]:
    """Those of this test: children of this process, and what they left behind."""
    return [each.pid for each in psutil.Process().children(recursive=True) if "chrom" in each.name()]


@contextmanager
def listening() -> Iterator[tuple[int, list[str]]]:
    """A service of this machine, by TCP and UDP, and who came to it."""
    came: list[str] = []
    ended = threading.Event()
    tcp = socket.create_server(("127.0.0.1", 0))
    port = tcp.getsockname()[1]
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", port))

    def accept() -> None:
        while not ended.is_set():
            try:
                connection, peer = tcp.accept()
            except TimeoutError:
                continue
            came.append(f"tcp {peer}")
            connection.close()

    def receive() -> None:
        while not ended.is_set():
            try:
                _, peer = udp.recvfrom(2_000)
            except TimeoutError:
                continue
            came.append(f"udp {peer}")

    threads = [threading.Thread(target=each, daemon=True) for each in (accept, receive)]
    for each in (tcp, udp):
        each.settimeout(0.1)
    for thread in threads:
        thread.start()
    try:
        yield port, came
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        tcp.close()
        udp.close()


def render(browsers: Browsers, door: FetchingDoor, local: LocalWeb, body: str, tenant: UUID = TENANT) -> Rendered:
    answer = browsers.render(tenant, request(local, body), door)
    assert isinstance(answer, Rendered), answer
    return answer


def request(local: LocalWeb, body: str) -> RenderRequest:
    document = f"<!doctype html><html><head><title>x</title></head><body>{body}</body></html>"
    return RenderRequest(local.url("a.test"), "text/html; charset=utf-8", document.encode())


HOSTILE = """
<link rel="dns-prefetch" href="//looked-up.test"><link rel="preconnect" href="http://127.0.0.1:PORT">
<link rel="prefetch" href="http://127.0.0.1:PORT/prefetch"><link rel="prerender" href="http://127.0.0.1:PORT/prerender">
<link rel="stylesheet" href="http://127.0.0.1:PORT/style.css"><link rel="icon" href="http://127.0.0.1:PORT/icon">
<link rel="manifest" href="http://127.0.0.1:PORT/manifest"><style>@import "http://127.0.0.1:PORT/import.css";
@font-face { font-family: x; src: url(http://127.0.0.1:PORT/font) } body { font-family: x;
background: url(http://127.0.0.1:PORT/picture) }</style>
<script type="speculationrules">{"prefetch": [{"source": "list", "urls": ["http://127.0.0.1:PORT/rules"]}]}</script>
<img src="http://127.0.0.1:PORT/img"><video src="http://127.0.0.1:PORT/video" autoplay></video>
<iframe src="http://127.0.0.1:PORT/frame"></iframe><iframe src="http://169.254.169.254/latest/"></iframe>
<iframe src="file:///etc/passwd"></iframe><iframe srcdoc="<script>fetch('http://127.0.0.1:PORT/inner')</script>"></iframe>
<object data="http://127.0.0.1:PORT/object"></object><embed src="http://127.0.0.1:PORT/embed">
<form id="form" method="post" action="http://127.0.0.1:PORT/form" target="_blank"><input name="x" value="1"></form>
<a id="link" href="http://127.0.0.1:PORT/file" download ping="http://127.0.0.1:PORT/ping">x</a>
<p id="result">nothing</p>
<script>
const told = [];
const tell = (name) => { told.push(name); document.getElementById("result").textContent = told.sort().join(" "); };
const go = (name, work) => { try { Promise.resolve(work()).then(() => tell(name + "+"), () => tell(name + "-")); }
  catch (error) { tell(name + "!"); } };
go("meta", () => fetch("http://169.254.169.254/latest/meta-data/"));
go("local", () => fetch("http://127.0.0.1:PORT/fetch", { mode: "no-cors" }));
go("named", () => fetch("http://localhost:PORT/fetch", { mode: "no-cors" }));
go("rebound", () => fetch("http://inner.test:WEB/secret", { mode: "no-cors" }));
go("post", () => fetch("http://a.test:WEB/post", { method: "POST", body: "x" }));
go("beacon", () => { navigator.sendBeacon("http://127.0.0.1:PORT/beacon", "x"); });
go("socket", () => { new WebSocket("ws://127.0.0.1:PORT/ws"); });
go("events", () => { new EventSource("http://127.0.0.1:PORT/events"); });
go("popup", () => { window.open("http://127.0.0.1:PORT/popup"); });
go("form", () => { document.getElementById("form").submit(); });
go("click", () => { document.getElementById("link").click(); });
go("service", () => navigator.serviceWorker.register("/worker.js"));
go("worker", () => { new Worker(URL.createObjectURL(new Blob([
  'fetch("http://127.0.0.1:PORT/worker", {mode: "no-cors"}); new WebSocket("ws://127.0.0.1:PORT/ws2");'
  + 'importScripts("http://127.0.0.1:PORT/imported.js")']))); });
go("shared", () => { new SharedWorker(URL.createObjectURL(new Blob([
  'fetch("http://127.0.0.1:PORT/shared", {mode: "no-cors"}); new WebSocket("ws://127.0.0.1:PORT/ws3")']))); });
go("transport", () => { new WebTransport("https://127.0.0.1:PORT/wt"); });
go("rtc", async () => {
  const peer = new RTCPeerConnection({ iceServers: [{ urls: "stun:127.0.0.1:PORT" },
    { urls: "turn:127.0.0.1:PORT?transport=tcp", username: "x", credential: "y" }] });
  peer.createDataChannel("x");
  await peer.setLocalDescription(await peer.createOffer());
  await peer.setRemoteDescription({ type: "answer", sdp: peer.localDescription.sdp
    .replace("a=setup:actpass", "a=setup:active") + "a=candidate:1 1 udp 1 127.0.0.1 PORT typ host\\r\\n" });
});
</script>
"""


def test_a_page_that_tries_everything_connects_to_nothing(
    local: LocalWeb, door: FetchingDoor, browsers: Browsers
) -> None:
    local.names["inner.test"] = [FORBIDDEN]
    with listening() as (port, came):
        rendered = render(browsers, door, local, HOSTILE.replace("PORT", str(port)).replace("WEB", str(local.port)))
    assert came == []
    assert local.connected == []
    assert local.asked == [], "what the door asked for was refused by the fetcher"
    for refused in ("meta-", "local-", "named-", "rebound-", "post-"):
        assert refused in rendered.html, rendered.html
    assert METADATA in {each.url.split("/")[2] for each in door.wanted}
    assert set(door.came) == {"forbidden-address", "forbidden-url", "unknown-name"} & set(door.came)
    assert rendered.refused["frame"] >= 2
    assert rendered.refused[SENT] == 1


def test_pages_read_what_the_door_gives_and_only_what_others_let_them_read(
    local: LocalWeb, door: FetchingDoor, browsers: Browsers
) -> None:
    local.serve("a.test", "/own.js", answering(text="own = 'programs run'", content_type="text/javascript"))
    local.serve("a.test", "/data", answering(text='{"word": "herons"}', content_type="application/json"))
    local.serve("b.test", "/closed", answering(text="closed otters"))
    local.serve("b.test", "/open", answering(text="open beavers", headers={"Access-Control-Allow-Origin": "*"}))
    other = local.url("b.test", "")
    rendered = render(
        browsers,
        door,
        local,
        f"""<p id="x">nothing</p><script src="/own.js"></script><script>(async () => {{
        const read = (url) => fetch(url).then((answer) => answer.text(), (error) => "an error");
        const said = [own, await read("/data"), await read("{other}/closed"), await read("{other}/open"),
          await read("/missing")];
        document.cookie = "a=1"; await read("/again");
        document.getElementById("x").textContent = said.join("; "); }})();</script>""",
    )
    assert 'programs run; {"word": "herons"}; an error; open beavers; ' in rendered.html
    assert "script" not in rendered.html
    assert not any("Cookie" in head for head in local.heads)
    assert rendered.settled


def test_what_a_page_shows_in_trees_of_its_own_and_links_of_its_own_are_read(
    local: LocalWeb, door: FetchingDoor, browsers: Browsers
) -> None:
    body = """<fish-list><b>slotted perch</b></fish-list><style>.x { display: none }</style><script>
      customElements.define("fish-list", class extends HTMLElement { constructor() { super();
        this.attachShadow({ mode: "open" }).innerHTML = "<p>shadowed pike, <slot></slot></p>"; } });
      history.pushState({}, "", "/deep/down/page");
      const link = document.createElement("a"); link.setAttribute("href", "../next"); document.body.append(link);
    </script>"""
    rendered = render(browsers, door, local, body)
    assert "shadowed pike, <b>slotted perch</b>" in rendered.html
    assert f'href="{local.url("a.test", "/deep/next")}"' in rendered.html
    assert ".x { display: none }" in rendered.html, "what is hidden is for the parser to see"


def test_what_frames_show_is_read_where_it_is_shown(local: LocalWeb, door: FetchingDoor, browsers: Browsers) -> None:
    served = {
        "/inner": "<p id=i></p><a href=deep/next>go</a><script>i.textContent = 'inner ' + 'perch';</script>",
        "/seen": "<script>document.write('counted visits')</script>",
        "/hidden": "hidden bream",
        "/noindex": "<meta name=Robots content='follow, NOINDEX'>unkept tench",
    }
    for path, body in served.items():
        local.serve("a.test", path, answering(text=body, content_type="text/html"))
    deep = """other roach <iframe srcdoc="<p>deep gudgeon</p>"></iframe><script>
      fetch("/said").then((it) => it.text()).then((said) => { document.body.append(said); });
      fetch("AT/closed").then((it) => it.text()).then((said) => { document.body.append(said); });
      </script>""".replace("AT", local.url("a.test", ""))
    local.serve("b.test", "/other", answering(text=deep, content_type="text/html"))
    local.serve("b.test", "/said", answering(text="said dace"))
    local.serve("a.test", "/closed", answering(text="closed zander"))
    body = f"""<p>before</p><iframe src="/inner"></iframe><p>between</p>
      <iframe src="{local.url("b.test", "/other")}"></iframe>
      <iframe srcdoc="<b>written ide</b>"></iframe><iframe src="/seen" width=1 height=1></iframe>
      <iframe src="/hidden" style="display: none"></iframe><iframe src="/noindex"></iframe><p>after</p>
      <script>Element.prototype.querySelectorAll = Document.prototype.querySelectorAll = () => [];</script>"""
    html = render(browsers, door, local, body).html
    shown = ("before", "inner perch", "between", "other roach", "deep gudgeon", "said dace", "written ide", "after")
    places = [html.find(words) for words in shown]
    assert -1 not in places, (shown, places, html)
    assert places[:4] == sorted(places[:4]), html
    for unseen in ("counted visits", "hidden bream", "unkept tench", "closed zander", "<script"):
        assert unseen not in html, html
    assert f'href="{local.url("a.test", "/deep/next")}"' in html
    askers = {each.url.rpartition("/")[2]: each.page_url for each in door.wanted}
    assert askers["said"] == askers["closed"] == local.url("b.test", "/other")
    assert askers["other"] == local.url("a.test")
    assert not any("Cookie" in head for head in local.heads)


def test_a_page_of_frames_alone_is_read(local: LocalWeb, door: FetchingDoor, browsers: Browsers) -> None:
    local.serve("a.test", "/left", answering(text="left barbel", content_type="text/html"))
    local.serve("a.test", "/right", answering(text="right chub", content_type="text/html"))
    frames = b"<html><frameset cols='50%,50%'><frame src=/left><frame src=/right></frameset></html>"
    rendered = browsers.render(TENANT, RenderRequest(local.url("a.test"), "text/html", frames), door)
    assert isinstance(rendered, Rendered), rendered
    assert "frameset" not in rendered.html
    assert rendered.html.index("left barbel") < rendered.html.index("right chub")


def test_frames_without_end_are_bounded_and_a_frame_that_hangs_costs_itself_alone(
    local: LocalWeb, door: FetchingDoor, browsers: Browsers
) -> None:
    nested = "nested ruffe <iframe src='/nest?' width=300 height=300></iframe>"
    local.fallback = answering(text=nested.replace("?", "?x"), content_type="text/html")
    local.serve("b.test", "/endless", answering(text="<script>while (true) {}</script>", content_type="text/html"))
    body = f"""<p>here</p><iframe src="{local.url("b.test", "/endless")}"></iframe><script>
      for (let at = 0; at < 30; at++) {{ const frame = document.createElement("iframe"); frame.src = "/nest?" + at;
        document.body.append(frame); }}</script>"""
    rendered = render(browsers, door, local, body)
    assert "here" in rendered.html
    assert "nested ruffe" in rendered.html
    assert [each.kind for each in door.wanted] == ["frame"] * FRAMES_MAX
    assert rendered.refused["frame"] > 20


@pytest.mark.parametrize("script", ["location = '/other'", "location.replace('/other')", "document.forms[0].submit()"])
def test_where_scripts_want_to_go_is_told_and_not_gone_to(
    local: LocalWeb, door: FetchingDoor, browsers: Browsers, script: str
) -> None:
    form = '<form action="/other"></form><p>still here</p>'
    rendered = render(browsers, door, local, f"{form}<script>{script}</script>")
    assert rendered.location.rstrip("?") == local.url("a.test", "/other")
    assert "still here" in rendered.html
    assert local.asked == []


def test_boxes_and_windows_hold_nobody_up(local: LocalWeb, door: FetchingDoor, browsers: Browsers) -> None:
    body = """<p id="x"></p><script>
      onbeforeunload = (event) => { event.preventDefault(); return "stay"; };
      for (let at = 0; at < 20; at++) { alert("a"); confirm("b"); prompt("c"); window.open("/window" + at); }
      try { print(); } catch (error) {}
      document.getElementById("x").textContent = "after the boxes";</script>"""
    assert "after the boxes" in render(browsers, door, local, body).html
    assert local.asked == []
    assert "plain" in render(browsers, door, local, "<p>plain</p>").html


def test_a_page_asks_for_so_many_things_and_no_more(local: LocalWeb, door: FetchingDoor, browsers: Browsers) -> None:
    body = """<p id="x"></p><script>Promise.allSettled([...Array(200).keys()].map((at) => fetch("/" + at)))
      .then(() => { document.getElementById("x").textContent = "all came"; })</script>"""
    rendered = render(browsers, door, local, body)
    assert len(door.wanted) == REQUESTS_MAX
    assert rendered.refused["data"] == 200 - REQUESTS_MAX
    assert "all came" in rendered.html


STORED = """<p id="x">nothing</p><script>(async () => {
  const found = [document.cookie, localStorage.getItem("a"), sessionStorage.getItem("a"),
    (await indexedDB.databases()).length].join("|");
  document.cookie = "a=1; max-age=10000"; localStorage.setItem("a", "1"); sessionStorage.setItem("a", "1");
  indexedDB.open("a"); document.getElementById("x").textContent = "found " + found; })();</script>"""


def test_a_page_finds_nothing_that_another_one_stored(local: LocalWeb, door: FetchingDoor, browsers: Browsers) -> None:
    for tenant in (TENANT, TENANT, uuid4(), TENANT):
        assert "found |||0" in render(browsers, door, local, STORED, tenant).html


HARMFUL = {
    "an endless script": ("while (true) {}", "too-slow"),
    "an endless tree": (
        "while (true) { document.body.append(document.createElement('p')); }",
        "too-slow memory crashed",
    ),
    "much memory": (
        "kept = []; for (let at = 0; at < 10; at++) kept.push(new Uint8Array(150e6).fill(at));",
        "memory crashed",
    ),
    "a large heap": (
        "const kept = []; while (true) kept.push({ at: kept.length, kept: [1.5] });",
        "crashed memory too-slow",
    ),
    "a large tree": ("document.body.textContent = 'x'.repeat(6e6)", "too-large"),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_a_harmful_page_is_without_and_the_next_one_is_not(
    local: LocalWeb, door: FetchingDoor, browsers: Browsers, name: str
) -> None:
    script, codes = HARMFUL[name]
    # What may end by its time gets little of it, and the others as much as a busy machine needs.
    seconds_max = 10.0 if "too-slow" in codes else 60.0
    harmful = msgspec.structs.replace(request(local, f"<script>{script}</script>"), seconds_max=seconds_max)
    answer = browsers.render(TENANT, harmful, door)
    assert isinstance(answer, NotRendered), answer
    assert answer.code in codes.split(), answer
    assert answer.detail
    assert "plain" in render(browsers, door, local, "<p>plain</p>").html


def test_a_tree_that_grows_for_ever_is_read_as_it_is(local: LocalWeb, door: FetchingDoor, browsers: Browsers) -> None:
    script = "setInterval(() => document.body.append('again '), 50); setInterval(() => fetch('/poll'), 500)"
    growing = msgspec.structs.replace(request(local, f"<p>here</p><script>{script}</script>"), seconds_max=10.0)
    rendered = browsers.render(TENANT, growing, door)
    assert isinstance(rendered, Rendered)
    assert not rendered.settled
    assert "again again" in rendered.html


def words_of(process: psutil.Process) -> str:
    """How a process was started; nothing of one that is over, also where its parent has not asked for its end yet."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.mark.parametrize("which", ["--type=renderer", "--user-data-dir", "run-driver", "connectors.rendering.child"])
def test_a_browser_that_dies_is_told_and_replaced(
    local: LocalWeb, door: FetchingDoor, browsers: Browsers, which: str
) -> None:
    endless = request(local, "<p>x</p><script>setInterval(() => document.body.append('again '), 50)</script>")
    answers: list[Rendered | NotRendered] = []
    thread = threading.Thread(target=lambda: answers.append(browsers.render(TENANT, endless, door)))
    thread.start()

    killed: list[psutil.Process] = []

    def kill() -> bool:
        """A browser has renderers in store: each is killed that is there until the page is without its own."""
        every = [(each, words_of(each)) for each in psutil.Process().children(recursive=True)]
        if any("--type=renderer" in words for _, words in every):
            for each, words in every:
                if which in words and ("--type=renderer" not in which or "--extension-process" not in words):
                    with suppress(psutil.Error):
                        each.kill()
                    killed.append(each)
        return bool(killed) and (which != "--type=renderer" or not thread.is_alive())

    until(kill, wait_s=60)
    thread.join(60)
    (answer,) = answers
    assert isinstance(answer, NotRendered), answer
    assert answer.code == "crashed"
    assert "plain" in render(browsers, door, local, "<p>plain</p>").html


def test_where_there_is_no_browser_it_is_said(local: LocalWeb, door: FetchingDoor) -> None:
    for path, said in (("/nowhere/chromium", "there is no browser"), ("/bin/false", "does not start")):
        made = Browsers(CrawlerSettings(browser=path))
        answer = made.render(TENANT, request(local, "x"), door)
        made.close()
        assert isinstance(answer, NotRendered)
        assert answer.code == "no-browser"
        assert said in answer.detail, answer


def test_a_driver_that_says_nothing_or_nonsense_is_ended(local: LocalWeb, door: FetchingDoor, monkeypatch: Any) -> None:
    monkeypatch.setattr(pool, "START_S_MAX", 1.0)
    silent = (sys.executable, "-c", "import time; time.sleep(600)")
    noisy = (sys.executable, "-c", "print('x' * 100, flush=True); input()")
    quick = msgspec.structs.replace(request(local, "x"), seconds_max=1.0)
    before = psutil.Process().children()
    for command, code in ((silent, "too-slow"), (noisy, "crashed")):
        made = Browsers(CrawlerSettings(browser="/bin/true"), command)
        answer = made.render(TENANT, quick, door)
        made.close()
        assert isinstance(answer, NotRendered)
        assert answer.code == code
    assert not set(psutil.Process().children()) - set(before)


def test_whoever_waits_when_it_ends_is_asked_to_stop(local: LocalWeb, door: FetchingDoor, browsers: Browsers) -> None:
    ended = threading.Event()
    endless = request(local, "<script>setInterval(() => document.body.append('again '), 50)</script>")

    def wait() -> None:
        with pytest.raises(StopRequested):
            browsers.render(TENANT, endless, door)
        ended.set()

    for _ in range(2):  # the second one waits for its turn
        threading.Thread(target=wait, daemon=True).start()
    until(lambda: bool(browser_processes()), wait_s=60)
    browsers.close()
    assert ended.wait(30)


def test_what_stands_of_a_browser_is_seen_before_a_page_needs_one(
    local: LocalWeb, door: FetchingDoor, browsers: Browsers
) -> None:
    assert browsers.report()["state"] == "unknown", "nobody saw it start"
    browsers.watch()
    until(lambda: browsers.report()["state"] == "ready", wait_s=90)
    until(lambda: not browser_processes(), wait_s=20)
    assert browsers.report()["pages"] == {}, "our own look is nobody's page"
    render(browsers, door, local, "<p>plain</p>")
    endless = msgspec.structs.replace(request(local, "<script>while (true) {}</script>"), seconds_max=3.0)
    assert isinstance(browsers.render(TENANT, endless, door), NotRendered)
    told = browsers.report()
    assert (told["state"], told["pages"]) == ("ready", {"rendered": 1, "too-slow": 1}), "that page's fault alone"


def test_a_browser_that_does_not_start_or_was_taken_away_is_told(tmp_path: Path) -> None:
    off = Browsers(CrawlerSettings(browser="off"))
    off.watch()
    assert off.report()["state"] == "off"
    off.close()
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    made = Browsers(CrawlerSettings(browser=str(program)))
    made.watch()
    until(lambda: made.report()["state"] == "failing", wait_s=60)
    assert "does not start" in made.report()["detail"]
    assert metrics.CRAWL_BROWSER.labels("failing")._value.get() == 1
    assert metrics.CRAWL_BROWSER.labels("ready")._value.get() == 0
    made.close()
    good = Browsers(CrawlerSettings(browser=str(program)))
    good.standing.see(Rendered("<p>x</p>"))
    assert good.report()["state"] == "ready"
    program.unlink()
    assert (good.report()["state"], "there is no browser" in good.report()["detail"]) == ("failing", True)
    good.close()
