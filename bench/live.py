"""Live reads: how old a change is when a client has it.

Owns the load: writes through the API at a steady rate on a tenant of its own, and one reader of `activity`. When a
client has a change is its own clock; when the row of the view was committed is in the topic's record
(`adriatic.committed_at`), read by a plain consumer beside it.
"""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from typing import Any

import httpx
from confluent_kafka import Consumer, TopicPartition

from bench.path import Spread, client, new_tenant
from connectors.kafka.partitioner import partition_for
from connectors.llm.sse import SseDecoder
from runtime.deadline import Deadline
from runtime.settings import Settings
from schemas.headers import COMMITTED_AT_HEADER, TENANT_HEADER

TOPIC = "adriatic.mv.activity"
PARTITIONS = 8
WRITES = 150
WRITES_PER_S = 10.0
"""A rate that leaves the machine mostly idle: it is the latency of the path that is asked for."""
SETTLE_MAX_S = 60.0


def deltas(settings: Settings) -> list[Spread]:
    """From the commit of a row of the view, and from the write that it comes from, to the client."""
    _, tenant_id = new_tenant(settings)
    seen: dict[str, float] = {}
    committed: dict[int, float] = {}
    answered: dict[str, float] = {}
    ready, stop = threading.Event(), threading.Event()
    threads = [
        threading.Thread(target=_read, args=(settings, tenant_id, seen, ready, stop)),
        threading.Thread(target=_watch, args=(settings, str(tenant_id), committed, stop)),
    ]
    for thread in threads:
        thread.start()
    try:
        assert ready.wait(SETTLE_MAX_S), "the live read does not begin"
        chance = random.Random(3)
        with client(settings, tenant_id) as http:
            for number in range(WRITES):
                due = time.monotonic() + 1 / WRITES_PER_S
                began = time.time()
                made = http.post("/v1/adrs", json={"body": f"# Live {number}\n\n{chance.random()}\n"})
                answered[made.raise_for_status().json()["adr_id"]] = began
                time.sleep(max(0.0, due - time.monotonic()))
        deadline = Deadline.after(SETTLE_MAX_S)
        while (len(seen) < WRITES or len(committed) < WRITES) and not deadline.passed:
            time.sleep(0.05)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    # Records of a partition and changes of a reader are in the same order.
    rows = [at - since for at, since in zip(seen.values(), committed.values(), strict=False)]
    writes = [at - answered[adr_id] for adr_id, at in seen.items() if adr_id in answered]
    return [
        Spread.of("commit of the view's row → change at a client", rows),
        Spread.of("request of a write → change at a client", writes),
    ]


def _read(
    settings: Settings, tenant_id: uuid.UUID, seen: dict[str, float], ready: threading.Event, stop: threading.Event
) -> None:
    with client(settings, tenant_id) as http, http.stream("GET", "/v1/live/activity", timeout=30) as response:
        _take(response, seen, ready, stop)


def _take(response: httpx.Response, seen: dict[str, float], ready: threading.Event, stop: threading.Event) -> None:
    decoder = SseDecoder()
    for part in response.iter_raw():
        now = time.time()
        for event in decoder.feed(part):
            if event.name == "delta":
                seen[json.loads(event.data)["key"]["adr_id"]] = now
            ready.set()
        if stop.is_set():
            return


def _watch(settings: Settings, tenant_id: str, committed: dict[int, float], stop: threading.Event) -> None:
    """When each row was committed, by offset."""
    consumer = Consumer(
        {**settings.kafka.client_config(), "group.id": f"bench-{uuid.uuid4().hex}", "enable.auto.commit": False}
    )
    place = TopicPartition(TOPIC, partition_for(tenant_id, PARTITIONS))
    place.offset = consumer.get_watermark_offsets(place, timeout=10)[1]
    consumer.assign([place])
    try:
        while not stop.is_set():
            message = consumer.poll(0.2)
            if message is None or message.error() or message.value() is None:
                continue
            headers: dict[str, Any] = dict(message.headers() or ())
            if headers.get(TENANT_HEADER, b"").decode() == tenant_id:
                committed[message.offset() or 0] = int(headers[COMMITTED_AT_HEADER]) / 1e6
    finally:
        consumer.close()
