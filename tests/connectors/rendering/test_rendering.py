"""A real browser, given hostile pages, with listeners where nobody may connect.

What a page asks for goes through a door that asks the fetcher: the listeners see whatever went past it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import psutil
import pytest

from connectors.fetching import FetchRequest, NotFetched
from connectors.fetching.fetcher import Fetcher
from connectors.rendering import REQUESTS_MAX, Given, NotRendered, Rendered, RenderRequest, Wanted
from connectors.rendering.pool import Browsers, find_browser
from runtime.settings import CrawlerSettings
from tests.connectors.fetching.local_web import FORBIDDEN, METADATA, LocalWeb, serving_web
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
    wanted: list[Wanted] = field(default_factory=list)
    came: list[str] = field(default_factory=list)

    def ask(self, wanted: Wanted) -> Given:
        self.wanted.append(wanted)
        answer = self.fetcher.ask(FetchRequest(wanted.url, (), 1_000_000, 10))
        self.came.append(answer.code if isinstance(answer, NotFetched) else str(answer.status))
        if isinstance(answer, NotFetched):
            return Given()
        origins = answer.headers.get("access-control-allow-origin", "")
        return Given(answer.status, answer.media_type, answer.body, origins)


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
    assert rendered.refused["POST request"] == 1
