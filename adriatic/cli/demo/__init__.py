"""`adriatic demo`: a day in the life of the system, and what its gateway does, played by one command.

Owns the order of the day, its bound in time, and the exit code: 0 when everything was as it should be and `verify` is
clean, 1 when something was not (it says what), 3 when something does not answer. Refuses to stand above users: what it
writes goes through `/v1`, with a token of a tenant of its own. The gateway and a crawl are shown on a scratch
installation beside it (`adriatic/drill`): one would cost money elsewhere, the other needs a site that may be asked.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click
import msgspec

from adriatic.cli.output import json_option, show
from runtime import logs

if TYPE_CHECKING:
    from adriatic.cli.demo.stage import Facts, Stage
    from adriatic.drill.steps import DrillStep, ScratchDrill
    from runtime.settings import Settings

PLAY_S_MAX = 180.0
"""The acts. On two cores they take about half a minute; what has not arrived by then is said."""
VERIFY_S_MAX = 60.0
"""How long the flows may take to reach the present afterwards."""
VECTORS_RECOMPUTED_MAX = 100
"""How many of the day's few hundred vectors `verify` computes again: a second or two."""
SUFFIX_BYTES = 4
STOP_S_MAX = 5.0
"""How long the kill-switch may take here, where everything else runs on the same machine: five times what is promised
of one that has its own."""


@click.command("demo")
@click.option("--keep", is_flag=True, help="Leave everything there to look around; otherwise it is deleted again.")
@click.option(
    "--only",
    type=click.Choice(("day", "gateway", "crawl")),
    help="One part: the day of a company, the gateway of models, or a crawl. The last two need Postgres alone.",
)
@json_option("Print the summary as JSON.")
def demo(keep: bool, only: str | None, as_json: bool) -> None:
    """Play a day on the running system, show how its tables move, and then what its gateway and its crawler do.

    \b
    adriatic demo                  a history is imported, documents are uploaded, a feed is produced to, people ask,
                                   a scan is read, a question is looked into, an agent does a task
    adriatic demo --keep           the same, and its tenant stays as it is
    adriatic demo --only gateway   streaming, cuts, a cache hit, failover, a budget that holds, the kill-switch
    adriatic demo --only crawl     a site on this machine is crawled, twice

    The company and its decisions are made up and come with this program; a tenant of its own is made for them. No key
    and no network are needed: without a model the day is answered by quoting. Gateway and crawl are shown on a scratch
    database with two API processes, a scripted provider and a site on loopback, each step with its figure. That needs
    the administrator's password of Postgres, which `adriatic up` has; where there is none, it is left out, and said.
    The day takes about a minute on two cores, the other two one or two more.

    Ends with 0 when every table is what it should be and each step found what it must, with 1 when something is not,
    with 3 when something does not answer.
    """
    from adriatic.cli.demo import screen
    from runtime.clock import SYSTEM_CLOCK
    from runtime.settings import load

    settings = load()
    began_s = SYSTEM_CLOCK.monotonic()
    told: dict[str, object] = {}
    lines: list[str] = []
    faults: list[str] = []
    if only in (None, "day"):
        tenant, results, faults, titles = _play_day(settings, keep=keep)
        told |= {"tenant": tenant, **results}
        lines += [screen.summary(results, titles), f"the day took {results['took_s']:.1f} s"]
        if keep:
            lines.append(f"look around: adriatic search 'a board' --tenant {tenant}")
    if only != "day":
        for show_name, steps in _show_scratch(settings, only).items():
            told[show_name] = steps
            lines += [screen.steps(steps)]
            faults += [f"{step.name}: {step.detail}" for step in steps if not step.passed]
    took_s = round(SYSTEM_CLOCK.monotonic() - began_s, 1)
    told |= {"all_took_s": took_s, "faults": faults}
    show(as_json, msgspec.json.encode(told), [*lines, f"all took {took_s:.1f} s"])
    for fault in faults:
        click.echo(f"not as it should be: {fault}", err=True)
    sys.exit(1 if faults else 0)


def _play_day(settings: Settings, *, keep: bool) -> tuple[str, Facts, list[str], dict[str, str]]:
    """The tenant of the day, what each act found, what was not as it should be, and what acts are called."""
    from adriatic.cli.demo import acts

    tenant = f"demo-{secrets.token_hex(SUFFIX_BYTES)}"
    titles = {name: title for name, title, _act in acts.PLAN}
    with ExitStack() as stack:
        stage = _stage(stack, settings, tenant)
        began_s = stage.clock.monotonic()
        results = _play(stage, titles)
        results["verify"] = _verify(stage)
        results["took_s"] = round(stage.clock.monotonic() - began_s, 1)
        if not keep:
            acts.clear_up(stage)
    return tenant, results, stage.faults, titles


def _show_scratch(settings: Settings, only: str | None) -> dict[str, Sequence[DrillStep]]:
    """The steps of each show, told on standard error as they are done. Where nobody may make a scratch database there
    are none, unless they are asked for."""
    from adriatic.drill.crawling import CrawlShow
    from adriatic.drill.gateway import GatewayShow
    from adriatic.drill.scratch import open_scratch

    if only is None and not settings.postgres.admin_password.get_secret_value():
        click.echo("gateway and crawl are not shown: that needs postgres.admin_password", err=True)
        return {}
    kinds: dict[str, type[ScratchDrill]] = {"gateway": GatewayShow, "crawl": CrawlShow}

    def tell(step: DrillStep) -> None:
        click.echo(f"{step.name}: {step.detail}", err=True)

    async def play() -> dict[str, Sequence[DrillStep]]:
        async with open_scratch(settings) as scratch:
            shown = {name: kind for name, kind in kinds.items() if only in (None, name)}
            return {name: await kind(scratch, STOP_S_MAX, tell).run() for name, kind in shown.items()}

    # Its alerts are meant: they are part of no installation's life.
    logs.configure("demo", settings.telemetry.model_copy(update={"log_level": "ERROR"}))
    return asyncio.run(play())


def _stage(stack: ExitStack, settings: Settings, tenant: str) -> Stage:
    from adriatic.cli.demo import story
    from adriatic.cli.demo.stage import Stage
    from adriatic.cli.remote import connect, local_token, local_url
    from adriatic.cli.tenants import make_tenant
    from runtime.clock import SYSTEM_CLOCK
    from runtime.deadline import Deadline

    made = make_tenant(settings, tenant, "Saltmarsh Ferries")
    token = local_token(settings, made.tenant_id, subject="demo")
    url = local_url(settings)
    remote = stack.enter_context(connect(url, token))
    return Stage(settings, tenant, url, token, remote, SYSTEM_CLOCK, Deadline.after(PLAY_S_MAX), story.day())


def _play(stage: Stage, titles: dict[str, str]) -> Facts:
    """Every act in its order, while the screen shows what the live views say."""
    from adriatic.cli.demo import acts
    from adriatic.cli.demo.live import LiveReader
    from adriatic.cli.demo.screen import Screen

    results: Facts = {}
    stage.readers.update({view: LiveReader(stage.url, stage.token, view) for view in acts.VIEWS})
    screen = Screen(stage, titles)
    try:
        for reader in stage.readers.values():
            reader.start()
        with screen.show():
            for name, _title, act in acts.PLAN:
                screen.begins(name)
                results[name] = act(stage)
                screen.ends(name, results[name])
    finally:
        for reader in stage.readers.values():
            reader.close()
    return results


def _verify(stage: Stage) -> Facts:
    """`adriatic verify` for the day's tenant."""
    from connectors.embedders import build
    from dataflows.oracle import verify
    from runtime.deadline import Deadline

    embedder = build(stage.settings.embedder, stage.settings.secrets)
    try:
        report = verify(stage.settings, embedder, Deadline.after(VERIFY_S_MAX), stage.tenant, VECTORS_RECOMPUTED_MAX)
    finally:
        embedder.close()
    stage.faults += [f"{each.kind} {each.where}: {each.detail}" for each in report.differences]
    (tenant,) = report.tenants
    return {
        "clean": report.clean,
        "differences": report.differences_total,
        "passages": tenant.chunks,
        "vectors_recomputed": tenant.vectors_recomputed,
        "dead_letters": report.dead_letters,
    }
