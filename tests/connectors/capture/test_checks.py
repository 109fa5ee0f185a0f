"""Go on, or halt (R4)."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from connectors.capture import checks
from connectors.capture.checks import Progress, Server
from connectors.postgres.wal import SlotState
from runtime.errors import DependencyUnavailable, Halted, Misconfigured

SERVER = Server("logical", "7", "adriatic", "of all tables")
SLOT = SlotState("pgoutput", "adriatic", None, 100, "reserved", 0)
PROGRESS = Progress("7", 100, 0, 0, 50)


def test_it_goes_on_from_its_own_account() -> None:
    assert checks.resume("s", SLOT, PROGRESS, SERVER) == PROGRESS
    ahead = replace(PROGRESS, lsn=120)  # written down, and ended before it was acknowledged
    assert checks.resume("s", SLOT, ahead, SERVER) == ahead


def test_without_slot_and_account_it_starts_anew() -> None:
    assert checks.resume("s", None, None, SERVER) is None


def test_a_slot_without_an_account_is_taken_from_where_it_stands() -> None:
    found = checks.resume("s", SLOT, None, SERVER)
    assert found is not None
    assert (found.lsn, found.snapshot_lsn) == (100, None)


def test_only_the_snapshot_that_is_wanted_is_there() -> None:
    wanted, other = uuid.UUID(int=1), uuid.UUID(int=2)
    assert checks.snapshot_found(wanted, {wanted: 100, other: 200}, 0) == 100
    assert checks.snapshot_found(wanted, {other: 200}, 0) is None
    assert checks.snapshot_found(wanted, {}, 0) is None


@pytest.mark.parametrize(
    ("slot", "progress", "error"),
    [
        (None, PROGRESS, Halted),
        (replace(SLOT, confirmed=101), PROGRESS, Halted),
        (replace(SLOT, wal_status="lost"), PROGRESS, Halted),
        (replace(SLOT, wal_status="lost"), None, Halted),
        (SLOT, replace(PROGRESS, system_id="8"), Halted),
        (None, replace(PROGRESS, system_id="8"), Halted),
        (replace(SLOT, plugin="test_decoding"), None, Misconfigured),
        (replace(SLOT, database="another"), PROGRESS, Misconfigured),
        (replace(SLOT, active_pid=5), PROGRESS, DependencyUnavailable),
    ],
)
def test_a_gap_that_nobody_would_see_is_refused(
    slot: SlotState | None, progress: Progress | None, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        checks.resume("s", slot, progress, SERVER)
    if isinstance(caught.value, Halted):
        assert "`adriatic recover`" in caught.value.hint, "a copy of the tables would leave what was deleted in the gap"


def test_the_server_must_be_one_that_can_be_captured() -> None:
    checks.require_server(SERVER, "p")
    with pytest.raises(Misconfigured, match="wal_level"):
        checks.require_server(replace(SERVER, wal_level="replica"), "p")
    with pytest.raises(Misconfigured, match="publication p"):
        checks.require_server(replace(SERVER, publication=None), "p")


@pytest.mark.parametrize("now", [None, "of all but one"])
def test_a_publication_that_somebody_changed_halts(now: str | None) -> None:
    server, progress = replace(SERVER, publication=now), replace(PROGRESS, publication=SERVER.publication)
    with pytest.raises(Halted, match=r"publication was (dropped|changed)"):
        checks.resume("s", None, progress, server)


def test_an_earlier_release_wrote_no_publication_down() -> None:
    checks.require_publication(None, "any")
    checks.require_publication("same", "same")


@pytest.mark.parametrize(("sender_s", "fine"), [(60, True), (0, True), (31, True), (30, False), (5, False)])
def test_a_record_must_not_outlive_its_slot(sender_s: float, fine: bool) -> None:
    if fine:
        checks.require_delivery_time(sender_s, 30)
    else:
        with pytest.raises(Misconfigured):
            checks.require_delivery_time(sender_s, 30)


def test_a_slot_is_kept_only_when_it_leads_to_now() -> None:
    assert checks.may_keep(SLOT, PROGRESS, SERVER)
    assert not checks.may_keep(None, PROGRESS, SERVER)
    assert not checks.may_keep(SLOT, None, SERVER)
    assert not checks.may_keep(replace(SLOT, confirmed=101), PROGRESS, SERVER)
    assert not checks.may_keep(replace(SLOT, wal_status="lost"), PROGRESS, SERVER)
    assert not checks.may_keep(SLOT, replace(PROGRESS, system_id="8"), SERVER)
