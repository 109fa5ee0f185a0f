"""Pages that scripts make, on the running system: crawled with a browser, found by the search, and not when they are
gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from connectors.rendering.pool import find_browser
from tests.connectors.fetching.local_web import LocalWeb, serving_web
from tests.copies import SITE
from tests.streams.crawl_world import answer
from tests.system.conftest import Tenant, World, eventually

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(find_browser("auto") is None, reason="no Chromium here (apt-get install chromium)"),
]

SHELL = """<!doctype html><html><head><title>Loading</title></head><body><div id="root"></div><script>
(async () => {
  const found = await (await fetch("/api" + location.pathname)).json();
  const words = found.words.map((each) => each.split("").reverse().join(""));
  document.title = words[1];
  document.getElementById("root").innerHTML = `<main><h1>${words[1]}</h1><p>${words.join(" ")}</p>
    <a href="/second">more</a></main>`;
})();
</script></body></html>"""


@pytest.fixture
def local() -> Iterator[LocalWeb]:
    with serving_web() as served:
        yield served


def serve(local: LocalWeb, path: str, sentence: str) -> None:
    """A page whose sentence no answer of the site has: the words are sent backwards, and a script turns them."""
    words = [word[::-1] for word in sentence.split()]
    local.serve(SITE, path, answer(200, SHELL, "text/html"))
    local.serve(SITE, f"/api{path}", answer(200, json.dumps({"words": words}), "application/json"))


def find(tenant: Tenant, words: str) -> list[str]:
    """Addresses of the pages whose passage has the words."""
    found = tenant.http.get("/v1/search", params={"q": words, "kind": "page", "mode": "words"})
    assert found.status_code == 200, found.text
    pages = [hit["source_id"] for hit in found.json()["hits"] if words in hit["snippet"]["text"]]
    return [tenant.http.get(f"/v1/pages/{page}").json()["url"] for page in pages]


def crawl(tenant: Tenant, url: str, **bounds: Any) -> dict[str, Any]:
    made = tenant.http.post("/v1/crawls", json={"start_urls": [url], **bounds})
    assert made.status_code == 201, made.text
    address = made.headers["location"]
    over: dict[str, Any] = eventually(
        "the crawl is over", lambda: (seen := tenant.http.get(address).json())["finished_at"] and seen, look_s=1.0
    )
    assert over["state"] == "succeeded", over
    return over


def test_what_only_scripts_write_is_found_until_the_page_is_gone(
    world: World, new_tenant: Any, local: LocalWeb
) -> None:
    tenant, other = new_tenant(), new_tenant()
    url = local.url(SITE)
    serve(local, "/", "the turbine hall floods at springtide every autumn")
    serve(local, "/second", "the culvert keeper answers within ninety minutes")
    plain = crawl(tenant, url, render="never")
    assert (plain["rendered"], plain["urls"]["refused"]) == (0, 1), "without a browser it has no text"

    done = world.run("crawl", url, "--render", "auto", "--tenant", tenant.slug)
    assert "2 rendered by a browser" in done.stderr
    told = next(check for check in world.status()[1]["checks"] if check["name"] == "browser")
    assert (told["verdict"], "2 rendered" in told["detail"]) == ("ok", True), told
    eventually("found", lambda: find(tenant, "turbine hall floods") == [url])
    eventually("found too", lambda: find(tenant, "culvert keeper answers") == [local.url(SITE, "/second")])
    assert find(other, "turbine hall floods") == []

    del local.handlers[SITE, "/second"], local.handlers[SITE, "/api/second"]
    again = crawl(tenant, url, render="auto", gone_after=1)
    assert (again["rendered"], again["urls"]["unchanged"], again["urls"]["gone"]) == (1, 1, 1)
    eventually("not found any more", lambda: find(tenant, "culvert keeper answers") == [])
    assert find(tenant, "turbine hall floods") == [url], "its neighbour is"
    assert world.dead_letters() == 0
