"""More accidents, on one system of its own: partitions that are added, a table that leaves the publication, a slot that
is lost, a dump that is restored.

Each is caused for real, with writes before, during and after. Held to it: it is halted and named before anything is
wrong, and after `adriatic recover` nothing that was acknowledged and that the database has is missing, and nothing else
is found. How long it took is printed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import httpx
import psycopg
import pytest
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]

from connectors.kafka.clients import Admin
from connectors.kafka.offsets import Offsets
from tests.system.conftest import eventually
from tests.system.places import ALL_VIEWS, Place, find_views, lines_of, running_place

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]

VERSIONS = "adriatic.app.adr_versions"
ADDED = 3
BROKER_S = 120.0
SLOT_S_MAX = 120.0
"""Until a reader that was told to end has let go, and another has not been quicker."""


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with running_place() as made:
        yield made


# --- partitions -----------------------------------------------------------------------------------------------------


def test_partitions_are_added_by_hand_under_load(place: Place) -> None:
    before = _count_partitions(place)
    place.await_found(place.write("the days before")[-1])
    with place.writing("the days with more partitions"):
        _add_partitions(place, before + ADDED)
        place.hold_halted("index", "activity", lacking=find_views(VERSIONS))
        assert f"{VERSIONS} has {before + ADDED} partitions, and {before} are used" in place.find_faults()
        found = place.recover()
    assert _count_partitions(place) == before
    place.hold_to_it("added partitions", found)


def _count_partitions(place: Place) -> int:
    return len(Offsets(place.world.settings.kafka).topics()[VERSIONS])


def _add_partitions(place: Place, count: int) -> None:
    admin = Admin(place.world.settings.kafka, BROKER_S)
    (future,) = admin.call("add", lambda client: client.create_partitions([NewPartitions(VERSIONS, count)])).values()
    admin.result(future)


# --- the publication ------------------------------------------------------------------------------------------------


def test_a_table_leaves_the_publication_and_comes_back(place: Place) -> None:
    place.await_found(place.write("the days before")[-1])
    _change_publication(place, "alter publication adriatic drop table app.adr_versions")
    place.write("the days that are in no log")
    _change_publication(place, "alter publication adriatic add table app.adr_versions")
    place.hold_halted("cdc")
    assert "the publication was changed" in place.find_faults()
    _change_publication(place, "drop publication adriatic")
    assert "the publication was dropped" in place.find_faults()
    with place.writing("the recovery of a publication"):
        found = place.recover()
    place.hold_to_it("changed publication", found)


def _change_publication(place: Place, statement: LiteralString) -> None:
    with psycopg.connect(place.world.settings.postgres.dsn("admin")) as admin:
        admin.execute(statement)


# --- the slot -------------------------------------------------------------------------------------------------------


def test_the_slot_is_lost_and_things_are_deleted_in_the_gap(place: Place, tmp_path: Path) -> None:
    changed, erased, kept = place.write("the days with a slot", 3)
    document, item = _upload(place, tmp_path), _Feed(place)
    item.send({"id": "page", "version": 1, "text": "The gadolinium of a feed.\n"})
    for word in (place.word(kept), "promethium", "gadolinium"):
        eventually(f"{word} is found", lambda word=word: place.tenant.search(word, mode="words"))  # type: ignore[misc]
    _drop_slot(place)
    place.change(changed, "an edit that no slot has")
    place.tenant.http.delete(f"/v1/documents/{document}").raise_for_status()
    item.send({"id": "page", "version": 2, "deleted": True})
    _erase(place, erased)
    place.hold_halted("cdc")
    assert "slot adriatic is gone" in place.find_faults()
    ghosts = place.read_findable() - place.written.keys()
    assert (len(ghosts), {document, erased} <= ghosts) == (3, True), "without a recovery they would stay"

    with place.writing("the recovery of a slot"):
        found = place.recover()
    place.write("the days after the slot")
    place.hold_to_it("lost slot", found)
    place.await_found(changed)


def _upload(place: Place, folder: Path) -> str:
    file = folder / "metals.md"
    file.write_text("# Metals\n\nThe promethium of a document.\n")
    (done,) = json.loads(place.world.run("upload", str(file), "--tenant", place.tenant.slug, "--json").stdout)
    return str(done["id"])


class _Feed:
    """A producer of a feed, over HTTP."""

    def __init__(self, place: Place) -> None:
        key = place.world.run("feed", "create", "wiki", "--tenant", place.tenant.slug).stdout.strip()
        self._address = f"{place.tenant.http.base_url}/v1/feeds/wiki"
        self._headers = {"Authorization": f"Bearer {key}"}

    def send(self, item: dict[str, object]) -> None:
        httpx.post(self._address, json={"items": [item]}, headers=self._headers, timeout=30).raise_for_status()


def _drop_slot(place: Place) -> None:
    """Somebody is quicker than the reader, which comes back at once."""
    settings = place.world.settings
    with psycopg.connect(settings.postgres.dsn("admin"), autocommit=True) as admin:

        def drop() -> bool:
            admin.execute(END_READER, [settings.cdc.slot])
            try:
                admin.execute("select pg_drop_replication_slot(%s)", [settings.cdc.slot])
            except psycopg.errors.ObjectInUse:
                return False
            return True

        eventually("the slot is dropped", drop, SLOT_S_MAX)


END_READER = "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s"


def _erase(place: Place, adr_id: str) -> None:
    """As an administrator does who has to: rows, not another version that says so."""
    with psycopg.connect(place.world.settings.postgres.dsn("admin")) as admin:
        for table in ("adr_readings", "adr_links", "adr_tags", "idempotency_keys", "adr_versions", "adrs"):
            admin.execute(f"delete from app.{table} where adr_id = %s".encode(), [adr_id])
    del place.written[adr_id]


# --- a dump ---------------------------------------------------------------------------------------------------------

PAGE = "docs/how-to/back-up.md"
DUMP = "pg_dump --format custom --file adriatic.dump adriatic"
RESTORE = (
    "ADRIATIC_POSTGRES__DATABASE=roles adriatic migrate",
    "createdb adriatic",
    "pg_restore --dbname adriatic adriatic.dump",
    "adriatic migrate",
    "dropdb roles",
)


def test_a_dump_is_restored_into_a_new_cluster(place: Place, tmp_path: Path) -> None:
    assert [line for line in lines_of(PAGE) if line in (DUMP, *RESTORE)][-len(RESTORE) - 1 :] == [DUMP, *RESTORE]
    place.write("the days before the dump")
    place.run_line(DUMP, tmp_path)
    kept = dict(place.written)
    place.await_found(place.write("the days that the dump does not have")[-1])
    place.down()
    data = place.world.settings.stack.postgres_data
    assert data is not None
    shutil.rmtree(data)
    place.world.run("up", "--only", "postgres")
    for line in RESTORE:
        place.run_line(line, tmp_path)
    place.down()
    place.written = kept
    place.up()
    place.write("the confusion after the dump")
    place.hold_halted("cdc", lacking=ALL_VIEWS)
    assert "this is another Postgres" in place.find_faults()
    with place.writing("the recovery after a dump"):
        found = place.recover()
    place.write("the days after the dump")
    place.hold_to_it("dump restored into a new cluster", found)
