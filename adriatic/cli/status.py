"""`adriatic status`: the system on one screen, worst first.

Owns the questions, each bounded and all asked at once, and the exit code. The judgement is
`adriatic/watch/overview.py`, the layout `adriatic/cli/status_view.py`.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from adriatic.cli.output import json_option, show
from adriatic.cli.remote import local_url
from adriatic.cli.status_view import render
from adriatic.stack import system
from adriatic.supervisor import process
from adriatic.supervisor.assessment import Assessment, Verdict, assess
from adriatic.supervisor.supervisor import REPORT_STALE_S, Files, read_running
from adriatic.watch import overview
from adriatic.watch.gateway import read_targets
from adriatic.watch.overview import RECOVERY, Check, GatewayHealth, Overview, Spend, TargetHealth
from connectors.postgres.vector_indexes import IndexHealth
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import AdriaticError
from runtime.settings import Settings, load
from schemas.pipeline import Pipeline, mask_stale

if TYPE_CHECKING:
    from connectors.postgres.word_segments import PackHealth

WATCH_S = 2.0
"""Time between two screens: as often as the supervisor and the watcher report."""
PROBES_S_MAX = 6.0
"""Limit for everything together, in seconds. What has not answered by then is unknown."""
ASK_S_MAX = 3.0
"""Limit for one question, in seconds."""
EXIT: dict[Verdict, int] = {"ok": 0, "degraded": 1, "unknown": 3}
NOT_RUNNING = "not running: `adriatic up` starts it"


@click.command()
@json_option("Print one JSON object.")
@click.option("--watch", is_flag=True, help=f"Again every {WATCH_S:g} s, until interrupted.")
def status(as_json: bool, watch: bool) -> None:
    """What runs, how far behind, what needs you. Worst first.

    Processes, lag of every consumer group, freshness of every view by stage, dead letters, the replication slot, what
    language models cost today and how many answers came to their end, breakers and queues of those who are asked,
    disks. Works from anywhere that the settings reach the database, the broker and the registry from; what does not
    answer within a few seconds is shown as unknown, with the reason.

    Ends with 0 when everything is well, 1 when something needs you, 3 when it does not run or cannot be told.
    """
    settings = load()
    while True:
        found = collect(settings)
        if watch and not as_json and sys.stdout.isatty():
            click.clear()
        show(as_json, msgspec.json.encode(found), _screen(found))
        if not watch:
            sys.exit(EXIT[found.verdict])
        SYSTEM_CLOCK.sleep(WATCH_S)


def collect(settings: Settings) -> Overview:
    """Ask everybody at once."""
    files = Files(settings.home.resolve())
    supervised = read_running(files) is not None
    if not supervised and _is_embedded(settings):
        return Overview(
            verdict="unknown", summary=NOT_RUNNING, as_of=SYSTEM_CLOCK.now().timestamp(), problems=[], supervised=False
        )
    questions: dict[str, Callable[[], Any]] = {
        "database": lambda: _ask_database(settings),
        "broker": lambda: _ask_broker(settings),
        "registry": lambda: _ask_registry(settings),
    }
    if supervised:
        questions["processes"] = lambda: _ask_processes(settings, files)
        questions["disk"] = lambda: _ask_disk(settings)
        questions["targets"] = lambda: _ask_targets(settings)
    else:
        questions["api"] = lambda: _ask_api(settings)
    answers = ask(questions)
    database = answers["database"]
    known = database if isinstance(database, _Database) else None
    checks = [_check(name, answer) for name, answer in answers.items() if name not in ("processes", "targets")]
    if known:
        checks += (
            _judge_indexes(known.indexes, settings.search.recall_goal),
            _judge_packs(known.packs),
            _judge_spaces(known.spaces),
        )
    if known and known.recovery:
        checks.append(Check(RECOVERY, "degraded", f"{known.recovery} (`adriatic recover --yes` goes on with it)"))
    parts = answers.get("processes")
    if isinstance(parts, str):
        checks.append(Check("processes", "unknown", parts))
    elif isinstance(parts, Assessment) and (browser := overview.judge_browser(parts.parts)):
        checks.append(browser)
    return overview.overview(
        SYSTEM_CLOCK.now().timestamp(),
        parts if isinstance(parts, Assessment) else None,
        known.pipeline if known else None,
        checks,
        known.spend if known else None,
        _join_gateway(known, answers.get("targets")),
    )


def _join_gateway(known: _Database | None, targets: Any) -> GatewayHealth | None:
    """What the database says of attempts, and beside it what the API process says of its targets, where it does."""
    if known is None:
        return None
    return known.gateway if isinstance(targets, str) else msgspec.structs.replace(known.gateway, targets=targets)


def _is_embedded(settings: Settings) -> bool:
    """Whether this machine is meant to run the system itself."""
    return "embedded" in (settings.stack.postgres, settings.stack.kafka, settings.stack.registry)


def ask(questions: Mapping[str, Callable[[], Any]], seconds_max: float = PROBES_S_MAX) -> dict[str, Any]:
    """Every answer, or a text that says why there is none. Whoever hangs is left behind, on a thread of its own."""
    answers: dict[str, Any] = {}

    def put(name: str, question: Callable[[], Any]) -> None:
        try:
            answers[name] = question()
        except AdriaticError as error:
            answers[name] = error.detail
        except Exception as error:  # a probe that trips is a probe that could not tell
            answers[name] = f"{type(error).__name__}: {error}"

    threads = [threading.Thread(target=put, args=item, daemon=True) for item in questions.items()]
    for thread in threads:
        thread.start()
    until_s = SYSTEM_CLOCK.monotonic() + seconds_max
    for thread in threads:
        thread.join(max(0.0, until_s - SYSTEM_CLOCK.monotonic()))
    return {name: answers.get(name, f"no answer within {seconds_max:g} s") for name in questions}


def _check(name: str, answer: Any) -> Check:
    if isinstance(answer, Check):
        return answer
    if isinstance(answer, _Database):
        return Check(name, "ok", answer.detail)
    return Check(name, "unknown", str(answer))


# --- the questions --------------------------------------------------------------------------------------------------


class _Database(NamedTuple):
    pipeline: Pipeline
    spend: Spend
    gateway: GatewayHealth
    detail: str
    indexes: IndexHealth
    packs: PackHealth
    spaces: Mapping[str, int]
    recovery: str
    """How far a recovery is that is under way; empty: there is none."""


def _ask_database(settings: Settings) -> _Database:
    """The watcher's picture, and what can be seen without it."""
    from connectors.postgres.watch import Watch

    began_s = SYSTEM_CLOCK.monotonic()
    with Watch(settings, "adriatic-status") as watch:
        took_ms = (SYSTEM_CLOCK.monotonic() - began_s) * 1000
        picture, now_s = watch.picture()
        found = msgspec.structs.replace(
            mask_stale(picture, now_s), dead_letters=watch.dead_letters(), slot=watch.slot()
        )
        spend = Spend(*watch.spend_today())
        counts, failures = watch.gateway()
        gateway = GatewayHealth(*counts, errors=failures)
        indexes, packs, spaces = watch.indexes(), watch.packs(), watch.spaces()
    answers = f"{settings.postgres.host}:{settings.postgres.port} answers in {took_ms:.0f} ms"
    return _Database(found, spend, gateway, answers, indexes, packs, spaces, _ask_recovery(settings))


def _judge_indexes(health: IndexHealth, goal: float) -> Check:
    """What the search by meaning of large tenants is known to find."""
    live, coming = health.states["live"], health.states["filling"] + health.states["building"]
    told = f"{live} tenants with an index, {coming} being built, {health.passages} passages"
    if not live:
        return Check("meaning", "ok", told if coming else "every search by meaning is exact")
    if health.recall is None:
        return Check("meaning", "unknown", f"{told}; recall of {health.unknown} is not measured yet")
    verdict: Verdict = "ok" if health.recall >= goal else "degraded"
    return Check("meaning", verdict, f"{told}; recall of the worst {health.recall:.3f}, the goal is {goal:g}")


def _judge_packs(health: PackHealth) -> Check:
    """Whether the search by words of large tenants reads all that it should."""
    live, coming = health.states["live"], health.states["filling"]
    if not live:
        return Check("words", "ok", f"{coming} kinds get segments" if coming else "no tenant is large: no segments")
    told = f"{live} kinds with segments, {coming} that get them, at most {health.changes} changes not taken up"
    if health.is_behind:
        return Check("words", "degraded", f"{told}: meanwhile a search of them looks at a bounded part")
    return Check("words", "ok", told)


def _judge_spaces(states: Mapping[str, int]) -> Check:
    """Whether tenants change the space that they are searched by meaning in, and whether that goes on."""
    if not states:
        return Check("spaces", "ok", "no tenant changes its embedding space")
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    if states.get("behind"):
        return Check("spaces", "degraded", f"{told}: an embedder was away, `adriatic spaces change` goes on")
    return Check("spaces", "ok", f"{told}, beside those that are searched in")


def _ask_recovery(settings: Settings) -> str:
    from adriatic.recovery.ledger import look

    recovery = look(settings.postgres)
    return f"recovery {recovery.number}, {recovery.describe()}" if recovery else ""


def _ask_broker(settings: Settings) -> Check:
    from connectors.kafka.admin import KafkaAdmin
    from topics import catalog

    there = KafkaAdmin(settings.kafka, timeout_s=ASK_S_MAX).topics(())
    missing = sorted(set(catalog.load()) - set(there))
    if missing:
        return Check("broker", "degraded", f"lacks {len(missing)} topics ({missing[0]} …): `adriatic topics apply`")
    return Check("broker", "ok", f"{settings.kafka.bootstrap_servers} has all {len(catalog.load())} topics")


def _ask_registry(settings: Settings) -> Check:
    from connectors.registry import RegistryClient
    from schemas import catalog

    bounded = settings.registry.model_copy(update={"timeout_s": min(ASK_S_MAX, settings.registry.timeout_s)})
    with RegistryClient(bounded) as registry:
        subjects = registry.subjects()
    if missing := sorted(set(catalog.load()) - set(subjects)):
        return Check(
            "registry", "degraded", f"lacks {len(missing)} subjects ({missing[0]} …): `adriatic schemas register`"
        )
    return Check("registry", "ok", f"{settings.registry.url} has {len(subjects)} subjects")


def _ask_api(settings: Settings) -> Check:
    url = local_url(settings)
    found = system.http_report(f"{url}/health/ready")
    if isinstance(found, str):
        return Check("api", "unknown", f"{url} does not answer: {found}")
    if found.get("status") != "ready":
        why = found.get("reasons") or "its operators' port says why"
        return Check("api", "degraded", f"{url} is not ready: {why}")
    return Check("api", "ok", f"{url} is ready")


def _ask_targets(settings: Settings) -> Sequence[TargetHealth] | None:
    """What this machine's API process says of those whom it asks. None where it does not run here."""
    port = settings.stack.ports.get("api_ops")
    return read_targets(system.fetch(system.metrics_url(port))) if port else None


def _ask_disk(settings: Settings) -> Check:
    """The fullest disk that holds anything of this machine's system."""
    folders = {settings.home.resolve(), settings.stack.postgres_data or settings.home.resolve()}
    usages = [shutil.disk_usage(folder if folder.exists() else Path("/")) for folder in folders]
    fullest = min(usages, key=lambda usage: usage.free)
    return overview.disk("disk", fullest.free, fullest.total)


def _ask_processes(settings: Settings, files: Files) -> Assessment | None:
    """The supervisor's report and what each of our processes says. None when no supervisor runs here."""
    report = read_running(files)
    if report is None:
        return None
    urls = {part.name: system.report_url(settings, part.name) for part in report.parts if part.pid}
    # One that hangs keeps nobody else from the screen.
    answers = ask({name: partial(system.http_report, url) for name, url in urls.items() if url}, ASK_S_MAX)
    resident = process.resident_of({part.name: part.pid for part in report.parts if part.pid}, report.pid)
    return assess(report, answers, resident, SYSTEM_CLOCK.now().timestamp(), REPORT_STALE_S)


def _screen(found: Overview) -> Iterator[str]:
    # Colour only where somebody looks, and did not ask for none.
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    yield render(found, shutil.get_terminal_size().columns, colour=colour)
