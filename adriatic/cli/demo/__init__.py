"""`adriatic demo`: a day in the life of the system, played by one command.

Owns the order of the day, its bound in time, and the exit code: 0 when everything was as it should be and `verify` is
clean, 1 when something was not (it says what), 3 when something does not answer. Refuses to stand above users: what it
writes goes through `/v1`, with a token of a tenant of its own.
"""

from __future__ import annotations

import secrets
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click
import msgspec

from adriatic.cli.output import json_option, show

if TYPE_CHECKING:
    from adriatic.cli.demo.stage import Facts, Stage
    from runtime.settings import Settings

PLAY_S_MAX = 180.0
"""The acts. On two cores they take about half a minute; what has not arrived by then is said."""
VERIFY_S_MAX = 60.0
"""How long the flows may take to reach the present afterwards."""
VECTORS_RECOMPUTED_MAX = 100
"""How many of the day's few hundred vectors `verify` computes again: a second or two."""
SUFFIX_BYTES = 4


@click.command("demo")
@click.option("--keep", is_flag=True, help="Leave everything there to look around; otherwise it is deleted again.")
@json_option("Print the summary as JSON.")
def demo(keep: bool, as_json: bool) -> None:
    """Play a day on the running system, and show how its tables move.

    \b
    adriatic demo             a history is imported, documents are uploaded, a feed is produced to, people ask
    adriatic demo --keep      the same, and its tenant stays as it is

    The company and its decisions are made up and come with this program; a tenant of its own is made for them. Ends
    with 0 when every table is what it should be, with 1 when something is not, with 3 when something does not answer.
    """
    from adriatic.cli.demo import acts, screen
    from runtime.settings import load

    settings = load()
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
    lines = [screen.summary(results, titles), f"the day took {results['took_s']:.1f} s"]
    if keep:
        lines.append(f"look around: adriatic search 'a board' --tenant {tenant}")
    show(as_json, msgspec.json.encode({"tenant": tenant, **results, "faults": stage.faults}), lines)
    for fault in stage.faults:
        click.echo(f"not as it should be: {fault}", err=True)
    sys.exit(1 if stage.faults else 0)


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
