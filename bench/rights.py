"""What is taken away: how long after its commit a deleted source is still seen, by each kind of reader, and how long a
key that was withdrawn still opens anything.

Owns the load: one source at a time in a tenant of its own, which every reader sees before it is deleted, then reads of
each kind without a pause. A source counts as seen until the last answer that has it was asked for; that is counted from
when the delete was sent, so the commit is in it. Refuses to judge: it prints.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import NamedTuple

import httpx

from bench.path import Spread, client, new_tenant
from runtime.deadline import Deadline
from runtime.settings import Settings

ROUNDS = 20
SEEN_MAX_S = 120.0
"""Until every reader has a new source."""
WATCHED_S = 4.0
"""How long readers go on after a delete: what is away this long stays away, since every flow has read it by then."""
LAST = "whichever reader is the last"

Sees = Callable[[httpx.Client], bool]
"""Asks for a source in one way; whether it is in the answer."""


class Taken(NamedTuple):
    """A source to be deleted: what readers look for, and where it is deleted."""

    source_id: str
    word: str
    address: str


def figures(settings: Settings) -> list[Spread]:
    """By reader, and for whichever sees it longest."""
    _, tenant_id = new_tenant(settings)
    seen: dict[str, list[float]] = {}
    with client(settings, tenant_id) as http:
        anchor = http.post("/v1/adrs", json={"body": "# The anchor\n\nIt stays.\n"}).raise_for_status().json()["adr_id"]
        for number in range(ROUNDS):
            taken = _write_adr(http, number) if number % 2 else _upload(http, number)
            readers = _make_readers(taken, anchor)
            _await_seen(http, readers)
            found = _watch(settings, tenant_id, readers, taken)
            for name, seconds in (found | {LAST: max(found.values())}).items():
                seen.setdefault(name, []).append(seconds)
        withdrawn = [_withdraw(settings, http) for _ in range(ROUNDS)]
    spreads = [Spread.of(f"deleted → not seen, {name}", seconds) for name, seconds in seen.items()]
    return [*spreads, Spread.of("key withdrawn → refused", withdrawn)]


def _write_adr(http: httpx.Client, number: int) -> Taken:
    word = f"zirconium{number}x{uuid.uuid4().hex[:6]}"
    body = f"# Refine {word}\n\n## Status\n\nAccepted\n\n## Decision\n\nThe anchor stays, says {word}.\n"
    adr_id = http.post("/v1/adrs", json={"body": body}).raise_for_status().json()["adr_id"]
    return Taken(adr_id, word, f"/v1/adrs/{adr_id}")


def _upload(http: httpx.Client, number: int) -> Taken:
    word = f"gadolinium{number}x{uuid.uuid4().hex[:6]}"
    text = f"# Melt {word}\n\nThe anchor stays, says {word}.\n"
    made = http.post("/v1/documents", files={"file": (f"{word}.md", text.encode())}).raise_for_status().json()
    return Taken(made["id"], word, f"/v1/documents/{made['id']}")


def _make_readers(taken: Taken, anchor: str) -> Mapping[str, Sees]:
    def search(mode: str) -> Sees:
        return lambda http: taken.source_id in _get(http, "/v1/search", q=taken.word, mode=mode)

    readers: dict[str, Sees] = {f"search by {mode}": search(mode) for mode in ("words", "meaning", "hybrid")}
    readers["chat"] = lambda http: taken.source_id in _chat(http, taken.word)
    if taken.address.startswith("/v1/adrs"):
        readers["editor (MCP)"] = lambda http: taken.word in _call_tool(http, taken.word)
        readers["check of a change"] = lambda http: taken.source_id in _check(http, taken.word)
        readers["related"] = lambda http: taken.source_id in _get(http, f"/v1/adrs/{anchor}/related")
        readers["list"] = lambda http: taken.source_id in _get(http, "/v1/adrs", limit="100")
    return readers


def _get(http: httpx.Client, path: str, **query: str) -> str:
    return http.get(path, params=query).raise_for_status().text


def _chat(http: httpx.Client, word: str) -> str:
    return http.post("/v1/chat/stream", json={"question": f"What says {word}?"}).raise_for_status().text


def _call_tool(http: httpx.Client, word: str) -> str:
    call = {"name": "search_adrs", "arguments": {"query": word}}
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    return http.post("/mcp", json=asked).raise_for_status().text


def _check(http: httpx.Client, word: str) -> str:
    return http.post("/v1/decisions/check", json={"change": f"Use {word} here."}).raise_for_status().text


def _await_seen(http: httpx.Client, readers: Mapping[str, Sees]) -> None:
    deadline = Deadline.after(SEEN_MAX_S)
    for name, sees in readers.items():
        while not sees(http):
            if deadline.passed:
                raise SystemExit(f"not seen within {SEEN_MAX_S:g} s by {name}; see `adriatic status`")
            time.sleep(0.1)


def _watch(settings: Settings, tenant_id: uuid.UUID, readers: Mapping[str, Sees], taken: Taken) -> dict[str, float]:
    """Delete it while everybody reads. By reader, seconds from then to the last question whose answer had it."""
    last_s: dict[str, float] = dict.fromkeys(readers, 0.0)
    deleted, over = threading.Event(), threading.Event()
    began_s = 0.0

    def read(name: str, sees: Sees) -> None:
        with client(settings, tenant_id) as http:
            deleted.wait()
            while not over.is_set():
                asked_s = time.perf_counter()
                if sees(http):
                    last_s[name] = asked_s

    threads = [threading.Thread(target=read, args=each) for each in readers.items()]
    for thread in threads:
        thread.start()
    try:
        with client(settings, tenant_id) as http:
            deleted.set()
            began_s = time.perf_counter()
            http.delete(taken.address, headers={"If-Match": '"1"'}).raise_for_status()
            time.sleep(WATCHED_S)
    finally:
        deleted.set()
        over.set()
        for thread in threads:
            thread.join()
    return {name: max(0.0, each - began_s) for name, each in last_s.items()}


def _withdraw(settings: Settings, http: httpx.Client) -> float:
    """Seconds from when a key is withdrawn until nothing more is opened by it."""
    made = http.post("/v1/keys", json={"name": f"bench-{uuid.uuid4().hex[:8]}", "scopes": ["read"]})
    key = made.raise_for_status().json()
    last_s = began_s = time.perf_counter()
    with httpx.Client(
        base_url=http.base_url, headers={"Authorization": f"Bearer {key['secret']}"}, timeout=60
    ) as other:
        other.get("/v1/adrs").raise_for_status()
        began_s = time.perf_counter()
        http.delete(f"/v1/keys/{key['api_key']['key_id']}").raise_for_status()
        while (asked_s := time.perf_counter()) - began_s < WATCHED_S / 4:
            if other.get("/v1/adrs").status_code != 401:
                last_s = asked_s
    return max(0.0, last_s - began_s)
