"""Asks a gateway, and takes the time: one load for everything that is measured.

Owns five loads, each bounded in count and time: requests that are answered whole, streams at a pace, streams as fast as
they come, callers who leave, and very many streams whose callers leave at once. It speaks HTTP by hand, since it shares
the machine with what it measures. Run it as `python -m bench.gateway.load`, with the load as JSON; it prints its
findings as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

import psutil
import uvloop

CONNECT_S_MAX = 30.0
MARK = re.compile(rb"t=(\d{19}) ")
WORDS = "The quick brown fox jumps over the lazy dog. " * 4
"""A question of 180 bytes."""

COME_AGAIN_MAX = 20
"""How often a caller of many comes again who was told to."""
CLOSE_S_MAX = 60.0
Kind = Literal["whole", "paced", "burst", "leave", "many"]


@dataclass(frozen=True)
class Load:
    """`streams`: connections or answers; `rate`: how many of them begin in a second; `seconds` are measured."""

    kind: Kind
    address: tuple[str, int]
    path: str
    key: str
    model: str
    streams: int
    rate: float = 0.0
    seconds: float = 0.0
    delay_ms: int = 0
    gap_ms: int = 0
    chunks: int = 1
    pids: dict[str, int] = field(default_factory=dict)
    """Whose processor time and memory are taken, with all that they started, by name."""
    upstream: tuple[str, int] = ("", 0)

    def request(self, number: int, *, stream: bool) -> bytes:
        plan = f"ttft_ms={self.delay_ms} gap_ms={self.gap_ms} chunks={self.chunks} id={number}"
        body = json.dumps(
            {
                "model": self.model,
                "messages": [{"role": "user", "content": f"{WORDS} {plan}"}],
                **({"stream": True} if stream else {}),
            }
        )
        return (
            f"POST {self.path} HTTP/1.1\r\nhost: {self.address[0]}:{self.address[1]}\r\n"
            f"authorization: Bearer {self.key}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n{body}"
        ).encode()


# --- what the processes used ------------------------------------------------------------------------------------------


def used(pids: dict[str, int]) -> dict[str, tuple[float, float]]:
    """Seconds of the processor and megabytes, by name, of processes with all that they started."""
    found = {}
    for name, pid in pids.items():
        try:
            root = psutil.Process(pid)
            tree = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        seconds = memory = 0.0
        for process in tree:
            try:
                times = process.cpu_times()
                seconds += times.user + times.system
                memory += process.memory_info().rss / 1e6
            except psutil.NoSuchProcess:
                continue
        found[name] = (seconds, memory)
    return found


class Watch:
    """What the processes used between two moments, and what else ran on the machine meanwhile."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self._before = used(pids)
        self._busy = _busy_s()
        self._began_s = time.monotonic()

    def read(self) -> dict[str, Any]:
        took_s, after = time.monotonic() - self._began_s, used(self._pids)
        spent = {name: after[name][0] - self._before[name][0] for name in after}
        mine = psutil.Process().cpu_times()
        return {
            "seconds": took_s,
            "cpu_s": spent,
            "memory_mb": {name: memory for name, (_, memory) in after.items()},
            "machine_cores": (_busy_s() - self._busy) / took_s,
            "load_cpu_s": mine.user + mine.system,
        }


def _busy_s() -> float:
    times = psutil.cpu_times()
    return sum(times) - times.idle - times.iowait - times.guest - times.guest_nice


# --- one connection ---------------------------------------------------------------------------------------------------


class Asking(asyncio.Protocol):
    """A connection with one answer at a time. `on_data` gets each piece of it; `ended` is set at its end."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.transport: Any = None
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.asked_s = self.first_s = self.last_s = 0.0
        self.count = 0
        self.gaps_ms: list[float] = []
        self.transits_ms: list[float] = []
        self.measured = False
        """Whether gaps are noted."""
        self._head = b""
        self._tail = b""
        self._whole = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        self._end("the connection was lost")

    def ask(self, number: int, *, stream: bool) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self._head = self._tail = b""
        self._whole, self.count, self.first_s = not stream, 0, 0.0
        self.asked_s = time.monotonic()
        self.transport.write(self._load.request(number, stream=stream))

    def _end(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)

    def data_received(self, data: bytes) -> None:
        if not self._head:
            self._head = data[:200]
            if not data.startswith(b"HTTP/1.1 200"):
                self._end(data[:300].decode(errors="replace"))
                return
        if self._whole:
            self._tail += data
            head, found, body = self._tail.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            if found and (len(body) >= int(length[1]) if length else body.endswith(b"0\r\n\r\n")):
                self._end("" if MARK.search(body) else "the answer is another")
            return
        self._read(data)

    def _read(self, data: bytes) -> None:
        now_s = time.monotonic()
        searched = self._tail + data
        found = searched.count(b"t=1")
        if found:
            self.count += found
            if self.measured:
                if self.last_s:
                    self.gaps_ms.append((now_s - self.last_s) * 1000)
                if mark := MARK.search(searched):
                    self.transits_ms.append((time.time_ns() - int(mark[1])) / 1e6)
            self.first_s = self.first_s or now_s
            self.last_s = now_s
        at = max(searched.rfind(b"t=1") + 3, len(searched) - 14)
        self._tail = searched[at:]
        if b"data: [DONE]" in searched:
            self._end("" if self.count else "an answer without pieces")


async def _connect(load: Load) -> Asking:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_S_MAX):
        _, asking = await loop.create_connection(lambda: Asking(load), *load.address)
    return asking


async def _begin(load: Load, number: int, refused: Counter[str]) -> Asking:
    """A stream that has begun. Who is told to come again later does so."""
    asking = await _connect(load)
    for _ in range(COME_AGAIN_MAX):
        asking.ask(number, stream=True)
        while not (asking.count or asking.ended.done()):  # noqa: ASYNC110  # an event for each would cost more
            await asyncio.sleep(0.1)
        said = asking.ended.result() if asking.ended.done() else ""
        wait = re.search(r"(?i)retry-after: *(\d+)", said)
        if not wait:
            break
        refused[_brief(said)[:60]] += 1
        asking.transport.abort()
        await asyncio.sleep(int(wait[1]) * (1 + random.random()))
        asking = await _connect(load)
    return asking


# --- the loads --------------------------------------------------------------------------------------------------------


async def whole(load: Load) -> dict[str, Any]:
    """`streams` callers, each of whom asks again as soon as it is answered."""
    took_ms: list[float] = []
    errors: Counter[str] = Counter()
    until_s = time.monotonic() + load.seconds + 1
    measured_s = time.monotonic() + 1

    async def call(number: int) -> None:
        asking = await _connect(load)
        while time.monotonic() < until_s:
            asking.ask(number, stream=False)
            failure = await asking.ended
            now_s = time.monotonic()
            if failure:
                errors[_brief(failure)] += 1
                asking.transport.close()
                await asyncio.sleep(0.05)
                asking = await _connect(load)
            elif asking.asked_s >= measured_s and now_s <= until_s:
                took_ms.append((now_s - asking.asked_s) * 1000)
        asking.transport.close()

    calls = [asyncio.create_task(call(number)) for number in range(load.streams)]
    await asyncio.sleep(max(0.0, measured_s - time.monotonic()))
    watch = Watch(load.pids)
    await asyncio.sleep(max(0.0, until_s - time.monotonic()))
    found = watch.read()
    await asyncio.gather(*calls)
    return {**found, "units": len(took_ms), "took_ms": spread(took_ms), "errors": errors}


async def paced(load: Load) -> dict[str, Any]:
    """`streams` answers that begin one after the other, and are then read at their pace for `seconds`."""
    errors: Counter[str] = Counter()
    asked: list[Asking] = []
    first_ms: list[float] = []

    async def call(number: int) -> None:
        try:
            asking = await _connect(load)
        except (OSError, TimeoutError) as error:
            errors[type(error).__name__] += 1
            return
        asked.append(asking)
        asking.ask(number, stream=True)

    calls = []
    began_s = time.monotonic()
    for number in range(load.streams):
        await asyncio.sleep(max(0.0, began_s + number / load.rate - time.monotonic()))
        calls.append(asyncio.create_task(call(number)))
    await asyncio.gather(*calls)
    await asyncio.sleep(2)
    for asking in asked:
        asking.measured, asking.count, asking.last_s = True, 0, 0.0
        if asking.first_s:
            first_ms.append((asking.first_s - asking.asked_s) * 1000 - load.delay_ms)
    watch = Watch(load.pids)
    await asyncio.sleep(load.seconds)
    found = watch.read()
    counts = [asking.count for asking in asked]
    expected = load.seconds * 1000 / load.gap_ms
    for asking in asked:
        if asking.ended.done():
            errors[_brief(asking.ended.result())] += 1
        asking.transport.close()
    return {
        **found,
        "units": sum(counts),
        "starved": sum(count < expected * 0.9 for count in counts) + load.streams - len(asked),
        "gap_ms": spread([gap for asking in asked for gap in asking.gaps_ms]),
        "transit_ms": spread([each for asking in asked for each in asking.transits_ms]),
        "first_ms": spread(first_ms),
        "errors": errors,
        "closed_s": await _await_closed(load),
    }


async def burst(load: Load) -> dict[str, Any]:
    """`streams` answers at once, of `chunks` pieces each, as fast as they come."""
    asked = await asyncio.gather(*(_connect(load) for _ in range(load.streams)))
    watch = Watch(load.pids)
    for number, asking in enumerate(asked):
        asking.ask(number, stream=True)
    failures = await asyncio.gather(*(asking.ended for asking in asked))
    found = watch.read()
    for asking in asked:
        asking.transport.close()
    errors = Counter(_brief(failure) for failure in failures if failure)
    return {**found, "units": sum(asking.count for asking in asked), "errors": errors}


async def leave(load: Load) -> dict[str, Any]:
    """Callers who leave after three pieces: how long until the upstream sees that its reader is gone."""
    errors: Counter[str] = Counter()
    left: dict[int, float] = {}
    dice = random.Random(1)
    base = int(time.time() * 1000) % 10**9
    await _state(load)

    async def call(number: int) -> None:
        asking = await _connect(load)
        asking.ask(number, stream=True)
        while asking.count < 3 and not asking.ended.done():  # noqa: ASYNC110  # an event for each piece would cost more
            await asyncio.sleep(0.02)
        if asking.ended.done():
            errors[_brief(asking.ended.result())] += 1
            return
        await asyncio.sleep(dice.random() * load.gap_ms / 1000)  # somewhere in a gap
        left[number] = time.monotonic()
        asking.transport.abort() if number % 2 else asking.transport.close()

    watch = Watch(load.pids)
    calls, began_s = [], time.monotonic()
    for number in range(load.streams):
        await asyncio.sleep(max(0.0, began_s + number / load.rate - time.monotonic()))
        calls.append(asyncio.create_task(call(base + number)))
    await asyncio.gather(*calls)
    found = watch.read()
    await asyncio.sleep(5)
    seen = {int(number): at_s for number, at_s in (await _state(load))["left"].items()}
    took_ms = [(seen[number] - at_s) * 1000 for number, at_s in left.items() if number in seen]
    return {
        **found,
        "units": len(left),
        "took_ms": spread(took_ms),
        "not_seen": len(left) - len(took_ms),
        "errors": errors,
    }


async def many(load: Load) -> dict[str, Any]:
    """`streams` answers that are begun at `rate`, read for `seconds`, and left at once."""
    errors: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    asked: list[Asking] = []
    base = int(time.time() * 1000) % 10**9

    async def call(number: int) -> None:
        try:
            asked.append(await _begin(load, base + number, refused))
        except (OSError, TimeoutError) as error:
            errors[type(error).__name__] += 1

    calls, began_s = [], time.monotonic()
    for number in range(load.streams):
        await asyncio.sleep(max(0.0, began_s + number / load.rate - time.monotonic()))
        calls.append(asyncio.create_task(call(number)))
    await asyncio.gather(*calls)
    begun_s = time.monotonic() - began_s
    for number, asking in enumerate(asked):
        # The gaps of one in ten: millions of numbers would need more of the machine than what is measured.
        asking.measured, asking.count, asking.last_s = number % 10 == 0, 0, 0.0
    before = {name: memory for name, (_, memory) in used(load.pids).items()}
    watch = Watch(load.pids)
    await asyncio.sleep(load.seconds)
    found = watch.read()
    expected = load.seconds * 1000 / load.gap_ms
    whole_ones = sum(asking.count >= expected * 0.95 and not asking.ended.done() for asking in asked)
    for asking in asked:
        if asking.ended.done():
            errors[_brief(asking.ended.result())] += 1
    return {
        **found,
        "begun_s": begun_s,
        "units": sum(asking.count for asking in asked),
        "completion": whole_ones / load.streams,
        "memory_before_mb": before,
        "gap_ms": spread([gap for asking in asked for gap in asking.gaps_ms]),
        "refused": refused,
        "errors": errors,
        **await _leave_all(load, asked),
    }


async def _leave_all(load: Load, asked: list[Asking]) -> dict[str, Any]:
    """All at once: when the upstream saw each of them go."""
    await _state(load)  # forgets who left before
    left_s = time.monotonic()
    for number, asking in enumerate(asked):
        asking.transport.abort() if number % 2 else asking.transport.close()
    seen: list[float] = []
    while True:
        state = await _state(load)
        seen += [at_s - left_s for at_s in state["left"].values()]
        if state["open"] == 0 or time.monotonic() - left_s > CLOSE_S_MAX:
            return {"left_s": spread(seen), "not_closed": state["open"]}
        await asyncio.sleep(0.2)


async def _state(load: Load) -> Any:
    """What the upstream says of itself."""
    reader, writer = await asyncio.open_connection(*load.upstream)
    writer.write(b"GET /state HTTP/1.1\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head)
    assert length
    body = await reader.readexactly(int(length[1]))
    writer.close()
    return json.loads(body)


async def _await_closed(load: Load) -> float | None:
    """Seconds until the upstream has nothing open, ten at most."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < 10:
        if (await _state(load))["open"] == 0:
            return time.monotonic() - began_s
        await asyncio.sleep(0.02)
    return None


def spread(values: list[float]) -> dict[str, float]:
    """Percentiles; none of no values."""
    if not values:
        return {}
    ordered = sorted(values)
    return {f"p{q}": ordered[min(len(ordered) - 1, len(ordered) * q // 100)] for q in (50, 95, 99)}


def _brief(failure: str) -> str:
    return " ".join(failure.split())[:160]


def main() -> None:
    load = Load(**json.loads(sys.stdin.read()))
    kinds = {"whole": whole, "paced": paced, "burst": burst, "leave": leave, "many": many}
    json.dump(uvloop.run(kinds[load.kind](load)), sys.stdout)


if __name__ == "__main__":
    main()
