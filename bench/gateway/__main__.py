"""`make bench-chat`: what a gateway adds, ours beside LiteLLM's proxy, the bare path and nothing at all.

    make bench-chat                                  all of it, some twenty minutes
    make bench-chat ARGS="--quick"                   a few minutes, for a look
    make bench-chat ARGS="--only ours,bare --measures requests,burst --json"
    make bench-chat ARGS="--only ours --measures many --streams 10000"

All runs on this machine, the load and the upstream too, so rates depend on what they leave: the processor's time of the
gateway for each request and each piece is the figure that travels. Each is taken several times, and shown as the median
with the least and the most.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.gateway import asked, gateways
from bench.gateway.gateways import MODEL, PATH, Target
from bench.gateway.load import Load

LOAD_S_MAX = 1_200
EMPTY_S_MAX = 120.0
"""How long what was left may take to be settled."""
SLACK_MS = 20.0
"""A stream is held where 95 of 100 gaps grow by less."""
STEPS = {"litellm": (50, 100, 150, 200, 300, 400), "": (500, 1_000, 2_000, 3_000, 4_000, 5_000, 7_000, 9_000)}
STARTS_PER_S = {"litellm": 20.0, "": 150.0}
PACED = {"litellm": 50, "": 500}
"""Streams at which a piece is priced: what each gateway carries with ease."""
CALLERS = (10, 40)
"""Who ask for whole answers at a time: how many requests a gateway answers is the most of these."""
MANY, MANY_QUICK = 10_000, 1_000
MEASURES = ("requests", "added", "burst", "paced", "leave", "streams")
FURTHER = ("many",)
"""Measured where it is asked for: it takes ten minutes."""

Row = dict[str, Any]


class Bench:
    """One gateway, measured through one target."""

    def __init__(self, name: str, target: Target, upstream: tuple[str, int], *, quick: bool, many: int = MANY) -> None:
        self._name = name
        self._target = target
        self._upstream = upstream
        self._quick = quick
        self._many = many

    def run(self, **more: Any) -> Row:
        load = Load(
            address=self._target.address,
            path=PATH,
            key=self._target.key,
            model=MODEL,
            pids=self._target.pids,
            upstream=self._upstream,
            **more,
        )
        done = subprocess.run(
            [sys.executable, "-m", "bench.gateway.load"],
            input=json.dumps(asdict(load)),
            capture_output=True,
            text=True,
            timeout=LOAD_S_MAX,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2_000:])
        found: Row = json.loads(done.stdout)
        return {"gateway": self._name, **found}

    def requests(self, callers: int) -> Row:
        """As many as it can, by callers who do not wait."""
        found = self.run(kind="whole", streams=callers, seconds=3 if self._quick else 8)
        return _name(f"{callers} callers", found) | {
            "per_s": found["units"] / found["seconds"],
            **_cost(found, 1_000, "ms_a_request"),
            "p50_ms": found["took_ms"].get("p50"),
            "p99_ms": found["took_ms"].get("p99"),
            "errors": found["errors"],
        }

    def added(self) -> Row:
        """Ten callers of a model that takes 200 ms: what is added where nothing is full."""
        found = self.run(kind="whole", streams=10, seconds=3 if self._quick else 8, delay_ms=200)
        took = found["took_ms"]
        return _name("added", found) | {
            "p50_ms": took["p50"] - 200 if took else None,
            "p99_ms": took["p99"] - 200 if took else None,
            "errors": found["errors"],
        }

    def burst(self) -> Row:
        found = self.run(kind="burst", streams=50, chunks=100 if self._quick or self._name == "litellm" else 1_000)
        return _name("burst", found) | {
            "per_s": found["units"] / found["seconds"],
            **_cost(found, 1_000_000, "us_a_piece"),
            "errors": found["errors"],
        }

    def paced(self) -> Row:
        """What a piece costs at two a second."""
        return self._pace(PACED.get(self._name, PACED[""]), "paced")

    def leave(self) -> Row:
        found = self.run(
            kind="leave", streams=40 if self._quick else 200, rate=20, delay_ms=50, gap_ms=200, chunks=10_000
        )
        return _name("leave", found) | {
            "p50_ms": found["took_ms"].get("p50"),
            "p99_ms": found["took_ms"].get("p99"),
            "not_seen": found["not_seen"],
            "errors": found["errors"],
        }

    def streams(self, count: int) -> Row:
        """So many, at two pieces a second."""
        return self._pace(count, f"{count} streams")

    def _pace(self, count: int, what: str) -> Row:
        rate = STARTS_PER_S.get(self._name, STARTS_PER_S[""])
        found = self.run(
            kind="paced",
            streams=count,
            rate=rate,
            seconds=5 if self._quick else 10,
            delay_ms=50,
            gap_ms=500,
            chunks=10_000,
        )
        gap = found["gap_ms"].get("p95")
        held = gap is not None and gap < 500 + SLACK_MS and not found["starved"] and not found["errors"]
        return _name(what, found) | {
            "held": held,
            "gap_p95_ms": gap,
            "way_p50_ms": found["transit_ms"].get("p50"),
            "way_p99_ms": found["transit_ms"].get("p99"),
            **_cost(found, 1_000_000, "us_a_piece"),
            "memory_mb": found["memory_mb"].get("gateway"),
            "starved": found["starved"],
            "closed_s": found["closed_s"],
            "errors": found["errors"],
        }

    def many(self) -> Row:
        """Very many at a piece a second, for five minutes; then all leave at once."""
        rate = STARTS_PER_S.get(self._name, STARTS_PER_S[""])
        seconds = 20 if self._quick else 300
        before = self._look()
        found = self.run(
            kind="many", streams=self._many, rate=rate, seconds=seconds, delay_ms=50, gap_ms=1_000, chunks=100_000
        )
        return _name(f"{self._many} leave", found) | {
            "completion": found["completion"],
            "begun_s": found["begun_s"],
            "gap_p95_ms": found["gap_ms"].get("p95"),
            "gap_p99_ms": found["gap_ms"].get("p99"),
            **_cost(found, 1_000_000, "us_a_piece"),
            "memory_begin_mb": found["memory_before_mb"].get("gateway"),
            "memory_end_mb": found["memory_mb"].get("gateway"),
            "left_p50_ms": _in_ms(found["left_s"].get("p50")),
            "left_p99_ms": _in_ms(found["left_s"].get("p99")),
            "not_closed": found["not_closed"],
            **self._empty(before),
            "refused": found["refused"],
            "errors": found["errors"],
        }

    def _look(self) -> dict[str, float]:
        return self._target.look() if self._target.look else {}

    def _empty(self, before: dict[str, float]) -> Row:
        """How long until nothing is open any more, and what is; and of those who left, how many provider's connections
        were closed within 100 ms of the server's seeing it."""
        if not self._target.look:
            return {}
        began_s = time.monotonic()
        while True:
            now = self._target.look()
            left = now.pop("left") - before["left"]
            in_time = now.pop("left_in_100_ms") - before["left_in_100_ms"]
            still = {name: count for name, count in now.items() if count}
            if not still or time.monotonic() - began_s > EMPTY_S_MAX:
                break
            time.sleep(0.2)
        return {
            "closed_in_100_ms": in_time / left if left else None,
            "empty_after_s": None if still else time.monotonic() - began_s,
            "still_open": still,
        }


def _in_ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1_000


def _name(what: str, found: Row) -> Row:
    return {"gateway": found["gateway"], "what": what, "machine_cores": found["machine_cores"]}


def _cost(found: Row, scale: int, unit: str) -> Row:
    """Processor time for each request or piece: the gateway's, and its database's."""
    units = max(1, found["units"])
    named = {"gateway": unit, "database": f"database_{unit}"}
    return {named[name]: seconds / units * scale for name, seconds in found["cpu_s"].items()}


def _most(bench: Bench, steps: Sequence[int]) -> list[Row]:
    """Steps until one is not held."""
    rows = []
    for count in steps:
        rows.append(bench.streams(count))
        if not rows[-1]["held"]:
            break
    return rows


def summarise(rows: list[Row]) -> list[Row]:
    """One row for each gateway and what was measured: the median, and the least and the most where it was repeated."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["gateway"], row["what"]), []).append(row)
    return [_fold(group) for group in groups.values()]


def _fold(group: list[Row]) -> Row:
    folded: Row = {}
    for name, value in group[0].items():
        values = [row[name] for row in group if isinstance(row.get(name), int | float) and row[name] is not True]
        if isinstance(value, bool) or len(values) < len(group):
            folded[name] = value
        elif len(values) == 1:
            folded[name] = round(values[0], 3)
        else:
            folded[name] = [round(each, 3) for each in (statistics.median(values), min(values), max(values))]
    return folded


def show(row: Row) -> str:
    def text(value: Any) -> str:
        if isinstance(value, list):
            return f"{value[0]:g} ({value[1]:g} to {value[2]:g})"
        return f"{value:g}" if isinstance(value, float) else str(value)

    told = [
        f"{name} {text(value)}"
        for name, value in row.items()
        if name not in ("gateway", "what") and value not in ({}, None)
    ]
    return f"{row['gateway']:8} {row['what']:13} " + ", ".join(told)


def measure(name: str, target: Target, upstream: tuple[str, int], arguments: argparse.Namespace) -> list[Row]:
    bench = Bench(name, target, upstream, quick=arguments.quick, many=arguments.streams)
    rows: list[Row] = [{"gateway": name, "what": "ready", "seconds": target.ready_s}] if target.ready_s else []
    bench.run(kind="whole", streams=4, seconds=1)  # warms up
    for what in arguments.measures:
        if what == "many":
            rows.append(bench.many())
        elif what == "streams":
            rows += _most(bench, arguments.steps or STEPS.get(name, STEPS[""]))
        elif what == "requests":
            rows += [bench.requests(callers) for callers in CALLERS for _ in range(arguments.repeats)]
        else:
            rows += [getattr(bench, what)() for _ in range(arguments.repeats)]
        for row in summarise([row for row in rows if row["gateway"] == name])[-1:]:
            sys.stderr.write(show(row) + "\n")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-chat", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="direct,bare,ours,litellm", help="gateways, with commas between them")
    parser.add_argument("--measures", default=",".join(MEASURES), help=f"some of {', '.join((*MEASURES, *FURTHER))}")
    parser.add_argument("--steps", default="", help="numbers of streams to try, with commas between them")
    parser.add_argument("--streams", type=int, help=f"how many `many` has ({MANY:_}; with --quick {MANY_QUICK:_})")
    parser.add_argument("--repeats", type=int, default=3, help="how often each is taken (3)")
    parser.add_argument("--quick", action="store_true", help="shorter, for a look")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    parser.add_argument("--workers", type=int, default=1, help="API processes of ours (1, as the others have)")
    arguments = parser.parse_args()
    arguments.measures = arguments.measures.split(",")
    arguments.steps = [int(each) for each in arguments.steps.split(",") if each]
    arguments.streams = arguments.streams or (MANY_QUICK if arguments.quick else MANY)
    if gateways.raise_limits() < 2 * arguments.streams // arguments.workers:
        sys.stderr.write("fewer descriptors than the streams of `many` need: raise `ulimit -n`\n")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, gateways.upstream(Path(folder)) as (address, _pid):
        for name in arguments.only.split(","):
            more = {"workers": arguments.workers} if name == "ours" else {}
            with gateways.GATEWAYS[name](address, Path(folder), **more) as target:  # type: ignore[attr-defined]
                rows += measure(name, target, address, arguments)
    found = summarise(rows)
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if arguments.json else "\n".join(map(show, found)) + "\n")
    if not arguments.json:
        sys.stdout.write("".join(f"{line}\n" for line in asked.judge(found)))
        sys.stdout.write(f"{os.cpu_count()} cores, with the load and the upstream on them\n")


if __name__ == "__main__":
    main()
