"""What to do with what is found at the start (R4), decided without I/O.

Owns the rules that tell "go on from here" from "a gap that nobody would see". Refuses to repair: when going on would
lose something it raises `Halted` and says which choices there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from connectors.postgres.lsn import show
from connectors.postgres.wal import SlotState
from runtime.errors import DependencyUnavailable, Halted, Misconfigured

PLUGIN = "pgoutput"
RECOVER = "`adriatic recover` makes the topics, and every view, anew from this database"
"""The way out of a gap: what was deleted in it is said nowhere, so a copy of the tables would leave it in the views."""
RESET = "`adriatic cdc reset --yes` copies all tables again and goes on from there"


@dataclass(frozen=True, slots=True)
class Progress:
    """The row of ops.cdc_progress: our own account of what is in Kafka."""

    system_id: str
    lsn: int
    committed_at_us: int
    snapshot_after: int
    snapshot_lsn: int | None
    publication: str | None = None
    """The mark of the publication that we began with; None: an earlier release did not write it down."""


@dataclass(frozen=True, slots=True)
class Server:
    """What must be true of the server for capture to be safe."""

    wal_level: str
    system_id: str
    database: str
    publication: str | None
    """Its mark (`ops.publication_mark`), which no other one has; None: there is none."""


def require_server(server: Server, publication: str) -> None:
    """Raises `Misconfigured`."""
    if server.wal_level != "logical":
        raise Misconfigured(f"the server's wal_level is {server.wal_level}", hint="set wal_level = logical, restart it")
    if server.publication is None:
        # The publication comes before the slot: a slot cannot decode WAL that is older than its publication (R5).
        raise Misconfigured(
            f"there is no publication {publication}",
            hint=f"run `adriatic migrate`. If it was there and somebody dropped it: {RECOVER}",
        )


def require_delivery_time(sender_timeout_s: float, delivery_timeout_s: float) -> None:
    """R8: a producer that was thought dead must be unable to write by the time its slot is given to another. A server
    that never gives up (0) never does that. Raises `Misconfigured`."""
    if 0 < sender_timeout_s <= delivery_timeout_s:
        raise Misconfigured(
            f"wal_sender_timeout is {sender_timeout_s:g} s, which is not longer than the {delivery_timeout_s:g} s that "
            "a record may be on its way to Kafka",
            hint="raise wal_sender_timeout (its default, 60 s, is fine)",
        )


def require_slot(name: str, slot: SlotState, server: Server) -> None:
    """The slot can be used by us, whatever we know of its position."""
    if slot.plugin != PLUGIN or slot.database != server.database:
        raise Misconfigured(
            f"the slot {name} is for {slot.plugin} in database {slot.database}",
            hint="set cdc.slot to a name of its own",
        )
    if slot.wal_status == "lost":
        raise Halted(
            f"Postgres has removed WAL that slot {name} needed: changes since {show(slot.confirmed)} cannot be read",
            hint=f"{RECOVER}. To keep more WAL, raise max_slot_wal_keep_size",
        )
    if slot.active_pid is not None:
        raise DependencyUnavailable(
            f"slot {name} is still held by process {slot.active_pid} of Postgres",
            hint="the server notices within wal_sender_timeout that its reader is gone; is another capture running?",
        )


def require_publication(began_with: str | None, now: str | None) -> None:
    """What a publication lacked for a while is in no log, and nothing else would tell. Raises `Halted`."""
    if began_with is not None and now != began_with:
        raise Halted(
            "the publication was dropped"
            if now is None
            else "the publication was changed by somebody: what it lacked meanwhile is not in the log",
            hint=RECOVER,
        )


def resume(name: str, slot: SlotState | None, progress: Progress | None, server: Server) -> Progress | None:
    """Where to go on; None when there is no slot and none is missed. Raises `Halted` where that would leave a gap."""
    if progress is not None and progress.system_id == server.system_id:
        require_publication(progress.publication, server.publication)
    if slot is not None:
        require_slot(name, slot, server)
    if progress is None:
        # Not one transaction was acknowledged by us: whatever the slot holds is ours to read.
        if slot is None:
            return None
        return Progress(server.system_id, slot.confirmed, 0, slot.confirmed - 1, None)
    if progress.system_id != server.system_id:
        raise Halted(
            f"this is another Postgres: its system id is {server.system_id}, and {progress.system_id} was captured",
            hint=f"point the settings at the right server, or: {RECOVER}",
        )
    if slot is None:
        raise Halted(
            f"slot {name} is gone, so changes since {show(progress.lsn)} cannot be read",
            hint=RECOVER,
        )
    if slot.confirmed > progress.lsn:
        raise Halted(
            f"slot {name} stands at {show(slot.confirmed)}, and only {show(progress.lsn)} is known to be in Kafka: it "
            "was made anew or moved by somebody, and what lies between would be missed",
            hint=RECOVER,
        )
    return progress


def may_keep(slot: SlotState | None, progress: Progress | None, server: Server) -> bool:
    """When all tables are copied again, whether the slot still leads without a gap to now."""
    return (
        slot is not None
        and progress is not None
        and slot.wal_status != "lost"
        and progress.system_id == server.system_id
        and slot.confirmed <= progress.lsn
    )


def snapshot_found(wanted: UUID, snapshots: Mapping[UUID, int], since: int) -> int | None:
    """Where the snapshot that is wanted was taken, when it is in Kafka already: we ended between its commit and writing
    that down. `snapshots`: those that the newest records are of. Another one proves nothing, however late it is: it may
    be of a database that this one was copied from. Nor does one from before `since`, where the slot is: somebody moved
    the slot, and what was committed between the two is nowhere."""
    at = snapshots.get(wanted)
    return at if at is not None and at >= since else None
