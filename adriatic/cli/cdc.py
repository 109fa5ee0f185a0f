"""`adriatic cdc`: change capture, from the WAL of Postgres to the topics.

Owns signals and what is printed. The work is in `connectors/capture/source.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from adriatic.cli import process
from adriatic.cli.output import json_option, show
from adriatic.cli.waiting import retry_until
from runtime.clock import SYSTEM_CLOCK
from runtime.deadline import Deadline
from runtime.errors import InvalidInput
from runtime.settings import Settings, load


@click.group()
def cdc() -> None:
    """Change capture: every commit in Postgres becomes records in the topics, once each."""


@cdc.command()
def run() -> None:
    """Capture changes until stopped (SIGTERM or Ctrl-C).

    Starts and waits when Postgres, Kafka or the registry are away; health and metrics are on telemetry.ops_port.
    On its first start it copies every published table.
    """
    from adriatic.recovery.hold import hold_capture
    from connectors.capture.assemble import assemble, watch_slot
    from connectors.capture.tables import Contracts
    from connectors.registry import RegistryClient
    from topics import catalog

    settings = load()
    life = process.start("cdc", settings)
    with RegistryClient(settings.registry) as registry:
        capture = assemble(settings, Contracts(catalog.load(), registry), life.health)
        with hold_capture(settings, life, capture.stop) as free:
            if free:
                process.on_stop(capture.stop)
                with watch_slot(settings, capture):
                    capture.run()


@cdc.command()
@json_option("Print one JSON object.")
def status(as_json: bool) -> None:
    """How far change capture is, as the database knows it. Works while capture is down."""
    facts = _status(load())
    show(as_json, json.dumps(facts), _lines(facts))


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    yield f"slot      {facts['slot']}: {facts['state']}"
    if facts["lsn"]:
        yield f"in Kafka  up to {facts['lsn']}, committed {facts['committed_at']} ({facts['behind_s']:.1f} s ago)"
    else:
        yield "in Kafka  nothing yet: the first copy is not done"
    if facts["slot_wal_bytes"] is not None:
        yield f"WAL kept  {facts['slot_wal_bytes'] / 1_048_576:.1f} MiB"
    for table in facts["tables"]:
        yield f"table     {table['table']}: {table['state']}{_reason(table)}"


def _reason(table: dict[str, Any]) -> str:
    return f" ({table['code']}: {table['detail']}; {table['hint']})" if table["code"] else ""


def _status(settings: Settings) -> dict[str, Any]:
    from connectors.capture.store import Store
    from connectors.postgres.lsn import show

    with Store(settings.postgres, settings.cdc.slot) as store:
        slot, progress = store.slot(), store.progress()
        behind_s = None
        committed_at = None
        if progress is not None:
            committed_at = store.time(progress.committed_at_us)
            behind_s = max(0.0, (SYSTEM_CLOCK.now() - committed_at).total_seconds())
        state = "no slot"
        if slot is not None:
            state = "lost" if slot.wal_status == "lost" else "streaming" if slot.active_pid else "not being read"
        return {
            "slot": settings.cdc.slot,
            "state": state,
            "lsn": show(progress.lsn) if progress else None,
            "committed_at": committed_at.isoformat() if committed_at else None,
            "behind_s": behind_s,
            "confirmed": show(slot.confirmed) if slot else None,
            "slot_wal_bytes": slot.wal_bytes if slot else None,
            "snapshot": "done" if progress and progress.snapshot_lsn else "wanted",
            "tables": store.table_states(),
        }


RESET_MAX_S = 15.0
"""Longest wait until a running capture has let go of the slot."""


@cdc.command()
@click.option("--yes", is_flag=True, help="Do it. Without it nothing is changed.")
@click.option(
    "--drop-slot",
    is_flag=True,
    help="Also give up the slot. Changes and events that nobody has read yet are then lost; tables are copied anyway.",
)
def reset(yes: bool, drop_slot: bool) -> None:
    """Copy all tables again, stopped ones included.

    Readers get every row once more (op "r"), rows deleted while a table was stopped are not reported. The slot is kept
    when it can still be used, so that no event is lost; a slot that Postgres has invalidated, or that stands where it
    should not, is dropped. A capture that is running notices by itself.
    """
    if not yes:
        raise InvalidInput("nothing was changed", hint="`adriatic cdc reset --yes` copies all tables again")
    settings = load()
    kept = _reset(settings, drop_slot=drop_slot)
    click.echo(f"slot {settings.cdc.slot} {'kept' if kept else 'dropped'}; all tables will be copied", err=True)


def _reset(settings: Settings, *, drop_slot: bool) -> bool:
    """Returns whether the slot was kept."""
    from connectors.capture import checks
    from connectors.capture.store import Store

    with Store(settings.postgres, settings.cdc.slot) as store:
        keep = not drop_slot and checks.may_keep(store.slot(), store.progress(), store.server(settings.cdc.publication))
        if keep:
            store.reset(keep_slot=True)
            store.terminate_reader()
            return True

        def drop() -> None:
            store.terminate_reader()
            store.drop_slot()

        retry_until(Deadline.after(RESET_MAX_S), drop, pause_s_max=0.5)
        store.reset(keep_slot=False)
        return False
