"""Live reads over real connections, with real change capture, broker and registry."""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from api.auth.issuer import LocalIssuer
from api.live.join import ResumeToken
from api.tenants import service as tenants
from connectors.llm.sse import SseDecoder
from schemas.flows import KeptView
from tests.api.live import world as worlds
from tests.api.live.world import Picture, World, view_named
from tests.api.test_server import Server, serving
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

SEED = int(os.environ.get("ADRIATIC_TEST_SEED", "20261124"))
CUTS = 50
COUNTS = view_named("entity_counts")


@pytest.fixture
def server(world: World, tmp_path: Path) -> Iterator[Server]:
    with serving(world.settings, tmp_path, **variables(world)) as running:
        yield running


def variables(world: World) -> dict[str, str]:
    settings = world.settings
    return {
        "ADRIATIC_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "ADRIATIC_REGISTRY__URL": settings.registry.url,
        "ADRIATIC_CDC__PREFIX": world.name,
        "ADRIATIC_CDC__SLOT": world.name,
    }


def tenant(world: World) -> uuid.UUID:
    import asyncio

    async def make() -> uuid.UUID:
        async with tenants.owner(world.settings.postgres) as connection:
            return (await tenants.create(connection, f"t-{uuid.uuid4().hex[:8]}")).tenant_id

    return asyncio.run(make())


Open = Callable[..., "Client"]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Makes clients, and closes them."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(closing(Client(*arguments)))


class Client:
    """A reader of one view that keeps its picture over any number of connections."""

    def __init__(self, world: World, server: Server, tenant_id: uuid.UUID, view: KeptView, ttl_s: int = 600) -> None:
        self.view = view
        self.tenant_id = tenant_id
        self.picture = Picture()
        settings = world.settings
        token = LocalIssuer.open(settings.home, settings.auth).mint(tenant_id, subject="ada", ttl_s=ttl_s).text
        self.headers = {"authorization": f"Bearer {token}"}
        self.http = httpx.Client(base_url=server.url, timeout=30)

    def close(self) -> None:
        self.http.close()

    @contextmanager
    def stream(self, **headers: str) -> Iterator[httpx.Response]:
        last = {"last-event-id": self.picture.last_id} if self.picture.last_id else {}
        path = f"/v1/live/{self.view.name}"
        with self.http.stream("GET", path, headers=self.headers | last | headers) as response:
            if response.status_code != 200:
                response.read()
            yield response

    def read(self, until: Callable[[Picture], Any], bytes_max: int = 1 << 40) -> None:
        """One connection, until the picture is as wanted, so many bytes came, or the server ends it. What was sent and
        not read is lost, as it is for a client whose connection breaks."""
        decoder, size = SseDecoder(), 0
        with self.stream() as response:
            assert response.status_code == 200, response.text
            for part in response.iter_raw():
                part = part[: bytes_max - size]
                size += len(part)
                for event in decoder.feed(part):
                    self.picture.take(self.view, event)
                    if until(self.picture):
                        return
                if size >= bytes_max:
                    return


def writers(world: World, chosen: list[uuid.UUID], stop: threading.Event) -> list[threading.Thread]:
    """Three of them, each with keys of its own, in transactions that overlap: they commit in another order than they
    began."""
    return [threading.Thread(target=scribble, args=(world, chosen, stop, number)) for number in range(3)]


def scribble(world: World, chosen: list[uuid.UUID], stop: threading.Event, number: int) -> None:
    chance = random.Random(f"{SEED} {number}")
    with world.connect() as connection:
        while not stop.is_set():
            with connection.transaction():
                for _ in range(chance.randrange(1, 6)):
                    change(connection, chance, chance.choice(chosen), number)
                    time.sleep(chance.random() * 0.01)
            time.sleep(chance.random() * 0.02)


def change(connection: psycopg.Connection[Any], chance: random.Random, tenant_id: uuid.UUID, number: int) -> None:
    label = f"{number}-{chance.randrange(12)}"
    if chance.random() < 0.25:
        connection.execute("delete from mv.entity_counts where tenant_id = %s and label = %s", [tenant_id, label])
    else:
        connection.execute(worlds.COUNT, [tenant_id, "adrs", label, chance.randrange(1 << 40)])


def logged(world: World, tenant_id: uuid.UUID, joined_id: str) -> list[tuple[str, str, int | None]]:
    """What the topic has of the tenant, by a plain consumer, but for what the snapshot of that token saw."""
    token = ResumeToken.parse(joined_id)
    assert token is not None
    found = []
    for envelope in world.read(COUNTS):
        row = envelope["after"] or envelope["before"]
        seen = token.seen is not None and token.seen.has(envelope["source"]["txId"], 0)
        if row["tenant_id"] == str(tenant_id) and not seen:
            op = "delete" if envelope["op"] == "d" else "upsert"
            found.append((op, row["label"], None if op == "delete" else row["count"]))
    return found


def shown(picture: Picture) -> list[tuple[str, str, int | None]]:
    return [(each["op"], each["key"]["label"], each["row"] and each["row"]["count"]) for each in picture.deltas]


def test_a_reader_that_is_cut_fifty_times_sees_each_change_once_and_in_order(
    world: World, server: Server, opened: Open
) -> None:
    print(f"seed {SEED}")
    chance, stop = random.Random(SEED), threading.Event()
    own, other = tenant(world), tenant(world)
    with world.connect() as connection, connection.transaction():
        for number in range(700):  # more than one page
            connection.execute(worlds.COUNT, [own, "versions", f"base-{number}", number + 1])
    client = opened(world, server, own, COUNTS)
    threads = writers(world, [own, own, other], stop)
    for thread in threads:
        thread.start()
    try:
        client.read(lambda picture: picture.whole)
        for _ in range(CUTS):
            # In the middle of an event as often as not; sometimes the reader stays away for a while.
            client.read(lambda _: False, bytes_max=chance.randrange(1, 12_000))
            if chance.random() < 0.2:
                time.sleep(chance.random() * 2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    rows = worlds.table(world, COUNTS, own)
    client.read(lambda picture: worlds.same(picture.rows, rows) and picture.watermarks)
    world.caught_up()
    picture = client.picture
    assert picture.resets == []
    assert picture.snapshots == 1
    assert shown(picture) == logged(world, own, picture.joined_id)
    assert len(picture.deltas) > 100


def test_what_cannot_begin_is_a_problem_and_a_head_ends(world: World, server: Server, opened: Open) -> None:
    client = opened(world, server, tenant(world), COUNTS)
    for path, headers, status, code in (
        ("nothing", {}, 404, "not-found"),
        ("entity_counts", {"last-event-id": "nonsense"}, 400, "invalid-input"),
        ("entity_counts", {"adriatic-position": "nonsense"}, 400, "invalid-input"),
        ("entity_counts", {"authorization": "Bearer x"}, 401, "unauthenticated"),
        ("entity_counts", {"adriatic-position": "FFFFFFFF/0"}, 503, "behind"),
    ):
        answer = client.http.get(f"/v1/live/{path}", headers=client.headers | headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert answer.json()["hint"]
    head = client.http.head("/v1/live/entity_counts", headers=client.headers)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")


def test_the_token_goes_into_the_query_too(world: World, server: Server, opened: Open) -> None:
    client = opened(world, server, tenant(world), COUNTS)
    client.read(lambda picture: picture.whole)
    last = client.picture.last_id
    with client.http.stream(
        "GET", f"/v1/live/{COUNTS.name}", params={"last_event_id": last}, headers=client.headers
    ) as response:
        (event, *_) = SseDecoder().feed(next(response.iter_raw()))
    assert event.name == "watermark", "it goes on, without a snapshot"


def test_a_reader_who_leaves_gives_its_place_back_at_once_and_too_many_are_refused(
    world: World, opened: Open, tmp_path: Path
) -> None:
    with serving(world.settings, tmp_path, **variables(world), ADRIATIC_API__LIVE_READERS_PER_TENANT_MAX="2") as server:
        client = opened(world, server, tenant(world), COUNTS)
        for _ in range(5):
            with client.stream() as first, client.stream() as second:
                assert (first.status_code, second.status_code) == (200, 200)
                refused = client.http.get("/v1/live/entity_counts", headers=client.headers)
                assert (refused.status_code, refused.json()["code"]) == (429, "rate-limited")
            # Both have left; the server has seen it when the next one gets in.
            world.until(lambda: client.http.head("/health/live").status_code == 200 and admitted(client))
        assert server.stop() == 0


def admitted(client: Client) -> bool:
    with client.stream() as response:
        return response.status_code == 200


def test_a_process_that_ends_says_so_to_its_readers(world: World, server: Server, opened: Open) -> None:
    client = opened(world, server, tenant(world), COUNTS)
    client.read(lambda picture: picture.whole)
    stopping = threading.Timer(1.0, server.process.terminate)
    stopping.start()
    client.read(lambda _: False)
    stopping.join()
    assert client.picture.ends == ["closing"]
    assert server.process.wait(PATIENCE_S) == 0
