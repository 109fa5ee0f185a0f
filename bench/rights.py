"""What is taken away: how long after its commit a deleted source is still seen, by each kind of reader, and how long a
key that was withdrawn still opens anything.

Owns the load: one source at a time in a tenant of its own, a decision, an upload and a page in turn, which every reader
sees before it is deleted, then reads of each kind without a pause. A page is written as a crawl writes one, since no
crawl may ask this machine. What was made of it before is read again too: an answer, a draft, research, a task of an
agent. Answers that are kept are asked of an API of its own, beside the one that runs, whose model
repeats what it reads and is asked the same each time. A source counts as seen until the last answer that has it was
asked for; that is counted from when the delete was sent, so the commit is in it. Refuses to judge: it prints.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import psycopg

from bench.path import Spread, client, new_tenant
from connectors.llm.fake.frames import FakeUsage, write_frames
from connectors.llm.fake.requests import FakeQuestion, ReceivedRequest, read_question
from connectors.llm.fake.scripts import FakePace, Reply, Send, Step
from connectors.llm.fake.server import FakeLlm, listen
from runtime.deadline import Deadline
from runtime.ids import new_id
from runtime.settings import Settings
from tests.api.test_server import serving

ROUNDS = 21
"""A third of each kind of source."""
SEEN_MAX_S = 120.0
"""Until every reader has a new source."""
WATCHED_S = 4.0
"""How long readers go on after a delete: what is away this long stays away, since every flow has read it by then."""
LAST = "whichever reader is the last"
SAME_QUESTION = "What stays?"
"""Its prompts differ by the passages alone."""
SAID = re.compile(r"(?:zirconium|gadolinium|ytterbium)\w+")

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
    with _keeping_answers(settings) as keeper, client(settings, tenant_id) as http:
        anchor = http.post("/v1/adrs", json={"body": "# The anchor\n\nIt stays.\n"}).raise_for_status().json()["adr_id"]
        for number in range(ROUNDS):
            taken = _make_source(settings, http, tenant_id, number)
            readers = _make_readers(taken, anchor, keeper)
            _await_seen(http, readers)
            kept = _make_kept(http, taken, keeper)
            _await_seen(http, kept)
            found = _watch(settings, tenant_id, {**readers, **kept}, taken)
            for name, seconds in (found | {LAST: max(found.values())}).items():
                seen.setdefault(name, []).append(seconds)
        withdrawn = [_withdraw(settings, http) for _ in range(ROUNDS)]
    spreads = [Spread.of(f"deleted → not seen, {name}", seconds) for name, seconds in seen.items()]
    return [*spreads, Spread.of("key withdrawn → refused", withdrawn)]


class _RepeatingLlm(FakeLlm):
    """Says what it reads of the sources, and nothing else."""

    def answer(self, request: ReceivedRequest) -> tuple[FakeQuestion, Reply]:
        question = read_question(request)
        return question, Reply("whole", steps=self._say(question, {*SAID.findall(request.body.decode())}))

    @staticmethod
    def _say(question: FakeQuestion, words: set[str]) -> Iterator[Step]:
        frames = write_frames(question)
        yield Send(frames.start(FakeUsage(question.input_tokens, 0)))
        yield Send(frames.text(" ".join(["It stays", *sorted(words)])), 1)
        yield Send(frames.finish("stop", FakeUsage(question.input_tokens, 1)))
        yield Send(frames.end())


@contextmanager
def _keeping_answers(settings: Settings) -> Iterator[str]:
    """The address of an API on the same database, whose answers are given again for an hour."""
    fake, ready, ends = _RepeatingLlm("whole", FakePace()), threading.Event(), threading.Event()

    async def serve() -> None:
        async with listen(fake):
            ready.set()
            await asyncio.to_thread(ends.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="model")
    thread.start()
    try:
        if not ready.wait(SEEN_MAX_S):
            raise SystemExit("the model of the bench does not begin")
        model = {"PROVIDER": "openai", "MODEL": "gpt-5-mini", "BASE_URL": f"{fake.url}/v1", "API_KEY": "bench"}
        named = {f"ADRIATIC_LLM__{name}": value for name, value in (model | {"CACHE_S": "3600"}).items()}
        unlimited = ("USER_STREAMS", "NEW_USER_REQUESTS", "USER_TOKENS_PER_DAY", "USER_REQUESTS_PER_MINUTE")
        free = {f"ADRIATIC_LIMITS__{name}": "0" for name in unlimited}
        with tempfile.TemporaryDirectory() as folder, serving(settings, Path(folder), **named, **free) as server:
            yield server.url
    finally:
        ends.set()
        thread.join()


def _coin(stem: str) -> str:
    """A word that nobody has written: of letters alone, since names with digits are never corrected."""
    return stem + "".join(random.choices("bcdfghjkm", k=8))


def _make_source(settings: Settings, http: httpx.Client, tenant_id: uuid.UUID, number: int) -> Taken:
    if number % 3 == 0:
        return _write_adr(http)
    return _upload(http) if number % 3 == 1 else _write_page(settings, tenant_id)


_INSERT_PAGE = """
  insert into app.pages (
    tenant_id, page_id, url, title, media_type, version, content_hash, text_hash, links, crawl_id, fetched_at
  )
  values (%s, %s, %s, %s, 'text/html', 1, %s, %s, '{}', %s, now())
"""
_INSERT_PAGE_VERSION = """
  insert into app.page_versions (
    tenant_id, page_id, version, kind, crawl_id, url, title, media_type, body, effective_at
  )
  values (%s, %s, 1, 'create', %s, %s, %s, 'text/html', %s, now())
"""


def _write_page(settings: Settings, tenant_id: uuid.UUID) -> Taken:
    word = _coin("ytterbium")
    page_id, crawl_id = new_id(), new_id()
    url, title, text = f"https://{word}.example/", f"Weigh {word}", f"The anchor stays, says {word}."
    digest = hashlib.sha256(text.encode()).digest()
    with psycopg.connect(settings.postgres.dsn("admin")) as connection:
        connection.execute(_INSERT_PAGE, [tenant_id, page_id, url, title, digest, digest, crawl_id])
        connection.execute(_INSERT_PAGE_VERSION, [tenant_id, page_id, crawl_id, url, title, text])
    return Taken(str(page_id), word, f"/v1/pages/{page_id}")


def _write_adr(http: httpx.Client) -> Taken:
    word = _coin("zirconium")
    body = f"# Refine {word}\n\n## Status\n\nAccepted\n\n## Decision\n\nThe anchor stays, says {word}.\n"
    adr_id = http.post("/v1/adrs", json={"body": body}).raise_for_status().json()["adr_id"]
    return Taken(adr_id, word, f"/v1/adrs/{adr_id}")


def _upload(http: httpx.Client) -> Taken:
    word = _coin("gadolinium")
    text = f"# Melt {word}\n\nThe anchor stays, says {word}.\n"
    made = http.post("/v1/documents", files={"file": (f"{word}.md", text.encode())}).raise_for_status().json()
    return Taken(made["id"], word, f"/v1/documents/{made['id']}")


def _make_readers(taken: Taken, anchor: str, keeper: str) -> Mapping[str, Sees]:
    def search(**query: str) -> Sees:
        return lambda http: taken.source_id in _get(http, "/v1/search", **({"q": taken.word} | query))

    readers: dict[str, Sees] = {f"search by {mode}": search(mode=mode) for mode in ("words", "meaning", "hybrid")}
    readers["search while typing"] = search(q=taken.word[:-2], typing="true", mode="words")
    readers["facets"] = lambda http: _count(http, taken.word) > 0
    readers["corrections"] = lambda http: taken.word in _correct(http, taken.word)
    readers["chat"] = lambda http: taken.source_id in _chat(http, taken.word)
    readers["an answer that is kept"] = lambda http: taken.word in _ask_keeper(http, keeper)
    readers["by its id"] = lambda http: http.get(taken.address).status_code == 200
    if taken.address.startswith("/v1/adrs"):
        readers["editor (MCP)"] = lambda http: taken.word in _call_tool(http, taken.word)
        readers["check of a change"] = lambda http: taken.source_id in _check(http, taken.word)
        readers["related"] = lambda http: taken.source_id in _get(http, f"/v1/adrs/{anchor}/related")
        readers["list"] = lambda http: taken.source_id in _get(http, "/v1/adrs", limit="100")
    return readers


def _make_kept(http: httpx.Client, taken: Taken, keeper: str) -> Mapping[str, Sees]:
    """What was made of it before, by whoever reads it again. Nothing that is asked has its word."""

    def says(path: str, sought: str = taken.word) -> Sees:
        return lambda http: sought in _get(http, path)

    own = {"Authorization": http.headers["authorization"]}
    asked = {"question": SAME_QUESTION, "cache": False}
    told = httpx.post(f"{keeper}/v1/chat/stream", json=asked, headers=own, timeout=60).raise_for_status().text
    answer, session = (re.search(f'"{name}":"([^"]+)"', told) for name in ("answer_id", "session_id"))
    drafted = {"task": "write", "brief": SAME_QUESTION}
    draft = httpx.post(f"{keeper}/v1/drafts", json=drafted, headers=own, timeout=60).raise_for_status().json()
    research = http.post("/v1/research", json={"question": f"What says {taken.word}?"}).raise_for_status().json()
    if answer is None or session is None:
        raise SystemExit("an answer of the bench has no id")
    found = f"/v1/research/{research['research_id']}"
    readers = {
        "its answer": says(f"/v1/chat/answers/{answer[1]}"),
        "its answer as a stream": says(f"/v1/chat/answers/{answer[1]}/stream"),
        "its conversation": says(f"/v1/chat/sessions/{session[1]}"),
        "its response (OpenAI)": says(f"/v1/responses/resp_{answer[1].replace('-', '')}"),
        "its draft": says(f"/v1/drafts/{draft['draft_id']}"),
        "its research": says(found, taken.source_id),
    }
    if taken.address.startswith("/v1/adrs"):
        task = f"/v1/agents/tasks/{_have_done(http, taken.word)}"
        readers["its task"] = lambda http: bool((http.get(task).json()["result"] or {}).get("consulted"))
        readers["the steps of its task"] = says(f"{task}/steps", taken.source_id)
    return readers


def _have_done(http: httpx.Client, word: str) -> str:
    """The id of a task of an agent that is over."""
    made = http.post("/v1/agents/tasks", json={"goal": f"What says {word}?"}).raise_for_status().json()
    deadline = Deadline.after(SEEN_MAX_S)
    while http.get(f"/v1/agents/tasks/{made['task_id']}").raise_for_status().json()["finished_at"] is None:
        if deadline.passed:
            raise SystemExit("a task of an agent does not end; see `adriatic status`")
        time.sleep(0.1)
    return str(made["task_id"])


def _count(http: httpx.Client, word: str) -> int:
    """Sources that are counted for the word, by any facet."""
    asked = {"q": word, "mode": "words", "correct": False, "facets": ["kind", "year"]}
    facets = http.post("/v1/search", json=asked).raise_for_status().json().get("facets") or {"sources": 0, "by": {}}
    counts = [value["count"] for each in facets["by"].values() for value in each["values"]]
    return int(max([facets["sources"], *counts]))


def _correct(http: httpx.Client, word: str) -> str:
    """What is said of a word that lacks a letter."""
    asked = {"q": word[:-3] + word[-2:], "mode": "words"}
    return str(http.post("/v1/search", json=asked).raise_for_status().json().get("corrected"))


def _ask_keeper(http: httpx.Client, keeper: str) -> str:
    headers = {"Authorization": http.headers["authorization"]}
    answer = httpx.post(f"{keeper}/v1/chat/stream", json={"question": SAME_QUESTION}, headers=headers, timeout=60)
    return answer.raise_for_status().text


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
