"""Go on, or halt (R4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors.capture import checks
from connectors.capture.checks import Progress, Server
from connectors.postgres.wal import SlotState
from runtime.errors import DependencyUnavailable, Halted, Misconfigured

SERVER = Server("logical", "7", "adriatic", True)
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
    assert checks.snapshot_found(found, 100)
    assert not checks.snapshot_found(found, 99)
    assert not checks.snapshot_found(found, None)


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
    with pytest.raises(error):
        checks.resume("s", slot, progress, SERVER)


def test_the_server_must_be_one_that_can_be_captured() -> None:
    checks.require_server(SERVER, "p")
    with pytest.raises(Misconfigured, match="wal_level"):
        checks.require_server(replace(SERVER, wal_level="replica"), "p")
    with pytest.raises(Misconfigured, match="publication p"):
        checks.require_server(replace(SERVER, publication_exists=False), "p")


@pytest.mark.parametrize(("sender_s", "fine"), [(60, True), (0, True), (31, True), (30, False), (5, False)])
def test_a_record_must_not_outlive_its_slot(sender_s: float, fine: bool) -> None:
    if fine:
        checks.require_delivery_time(sender_s, 30)
    else:
        with pytest.raises(Misconfigured):
            checks.require_delivery_time(sender_s, 30)


def test_topics_of_another_wal_are_refused() -> None:
    checks.require_same_wal(100, 99)
    with pytest.raises(Halted, match="another Postgres"):
        checks.require_same_wal(100, 100)


def test_a_slot_is_kept_only_when_it_leads_to_now() -> None:
    assert checks.may_keep(SLOT, PROGRESS, SERVER)
    assert not checks.may_keep(None, PROGRESS, SERVER)
    assert not checks.may_keep(SLOT, None, SERVER)
    assert not checks.may_keep(replace(SLOT, confirmed=101), PROGRESS, SERVER)
    assert not checks.may_keep(replace(SLOT, wal_status="lost"), PROGRESS, SERVER)
    assert not checks.may_keep(SLOT, replace(PROGRESS, system_id="8"), SERVER)
