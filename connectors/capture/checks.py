"""What to do with what is found at the start (R4), decided without I/O.

Owns the rules that tell "go on from here" from "a gap that nobody would see". Refuses to repair: when going on would
lose something it raises `Halted` and says which choices there are.
"""

from __future__ import annotations

from dataclasses import dataclass

from connectors.postgres.lsn import show
from connectors.postgres.wal import SlotState
from runtime.errors import DependencyUnavailable, Halted, Misconfigured

PLUGIN = "pgoutput"
RESET = "`adriatic cdc reset --yes` copies all tables again and goes on from there"


@dataclass(frozen=True, slots=True)
class Progress:
    """The row of ops.cdc_progress: our own account of what is in Kafka."""

    system_id: str
    lsn: int
    committed_at_us: int
    snapshot_after: int
    snapshot_lsn: int | None


@dataclass(frozen=True, slots=True)
class Server:
    """What must be true of the server for capture to be safe."""

    wal_level: str
    system_id: str
    database: str
    publication_exists: bool


def require_server(server: Server, publication: str) -> None:
    """Raises `Misconfigured`."""
    if server.wal_level != "logical":
        raise Misconfigured(f"the server's wal_level is {server.wal_level}", hint="set wal_level = logical, restart it")
    if not server.publication_exists:
        # The publication comes before the slot: a slot cannot decode WAL that is older than its publication (R5).
        raise Misconfigured(f"there is no publication {publication}", hint="run `adriatic migrate`")


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
            hint=f"{RESET}; events emitted meanwhile are lost. To keep more WAL, raise max_slot_wal_keep_size",
        )
    if slot.active_pid is not None:
        raise DependencyUnavailable(
            f"slot {name} is still held by process {slot.active_pid} of Postgres",
            hint="the server notices within wal_sender_timeout that its reader is gone; is another capture running?",
        )


def resume(name: str, slot: SlotState | None, progress: Progress | None, server: Server) -> Progress | None:
    """Where to go on; None when there is no slot and none is missed. Raises `Halted` where that would leave a gap."""
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
            hint=f"point the settings at the right server, or: {RESET}",
        )
    if slot is None:
        raise Halted(
            f"slot {name} is gone, so changes since {show(progress.lsn)} cannot be read",
            hint=f"{RESET}; events emitted meanwhile are lost",
        )
    if slot.confirmed > progress.lsn:
        raise Halted(
            f"slot {name} stands at {show(slot.confirmed)}, and only {show(progress.lsn)} is known to be in Kafka: it "
            "was made anew or moved by somebody, and what lies between would be missed",
            hint=f"{RESET}; events emitted in between are lost",
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


def snapshot_found(progress: Progress, newest_snapshot_at: int | None) -> bool:
    """A snapshot as it is wanted is in Kafka already: we ended between its commit and writing that down."""
    return newest_snapshot_at is not None and newest_snapshot_at > progress.snapshot_after


def require_same_wal(snapshot_at: int, newest: int) -> None:
    """No record may come from a later position than the database has reached. Raises `Halted`."""
    if newest >= snapshot_at:
        raise Halted(
            f"the topics hold records up to {show(newest)}, and this database is only at {show(snapshot_at)}: they are "
            "of another Postgres, and new records would be taken for old ones",
            hint="use the broker that belongs to this database, or delete and apply the topics again",
        )
