"""Change capture is killed, stopped and cut off, and every commit is in the topics once, in order."""

from __future__ import annotations

import random
import time
import uuid

import psutil
import pytest

from runtime.settings import Settings
from tests.connectors.capture.load import check, writing
from tests.connectors.capture.world import World, made
from tests.copies import running_copy

pytestmark = [pytest.mark.stack, pytest.mark.crash]

TENANT = str(uuid.UUID(int=99))
SEED = 20261124
ROUNDS = 6


def progress(world: World) -> list[object]:
    return world.sql("select lsn from ops.cdc_progress where slot = %s", world.name)


def test_a_snapshot_and_the_stream_after_it_meet_without_a_seam(world: World) -> None:
    with writing(world, SEED) as writers:
        time.sleep(0.5)
        with world.capturing():
            world.until(world.confirmed)
            for writer in writers:
                writer.emitting.set()
            world.streaming()
            time.sleep(1)
            for writer in writers:
                writer.finish()
            world.caught_up()
    counted = check(world, writers)
    assert counted["read"] > 0
    assert counted["events"] > 0


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_killed_at_any_moment_it_neither_loses_nor_doubles(world: World, seed: int) -> None:
    print(f"seed {seed}")
    moments = random.Random(seed)
    with writing(world, seed) as writers:
        time.sleep(0.3)
        for round_ in range(ROUNDS):
            before = progress(world)
            process = world.process()
            if round_ == 0:
                world.until(world.confirmed)  # its slot exists, its snapshot does not
                for writer in writers:
                    writer.emitting.set()
            elif round_ % 2 == 0:
                world.until(lambda: progress(world) != before)  # noqa: B023 - used in this round only
            time.sleep(moments.random() * (1 if round_ % 2 == 0 else 4))
            assert process.alive, process.output()
            process.kill()
        with world.capturing():
            time.sleep(1)
            for writer in writers:
                writer.finish()
            world.caught_up()
    counted = check(world, writers)
    assert counted["items"] > 100
    assert counted["events"] > 20


def test_stopped_gently_it_has_acknowledged_everything(world: World) -> None:
    process = world.process()
    world.streaming()
    world.sql("insert into app.item (tenant_id, id, title) values (%s, 1, 'one')", TENANT)
    world.until(lambda: world.read("app.item"))
    assert process.stop() == 0
    (moved,) = world.sql(
        "select p.lsn = s.confirmed_flush_lsn from ops.cdc_progress p "
        "join pg_replication_slots s on s.slot_name = p.slot where slot = %s",
        world.name,
    )
    assert moved == (True,)
    with world.capturing():
        world.caught_up()
    assert len(world.read("app.item")) == 1


def test_cut_off_from_postgres_it_goes_on_by_itself(world: World) -> None:
    with writing(world, SEED) as writers, world.capturing():
        world.streaming()
        for _ in range(4):
            time.sleep(0.7)
            world.sql(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name in ('adriatic-cdc', 'adriatic-cdc-state') and datname = current_database()"
            )
        for writer in writers:
            writer.finish()
        world.caught_up()
    check(world, writers)


def test_a_broker_that_stands_still_makes_lag_and_nothing_else(fresh_database: Settings) -> None:
    with running_copy(only=("kafka",)) as copy:  # of our own: those who share the other one would stand still too
        cdc = fresh_database.cdc.model_copy(update={"kafka_down_max_s": 3.0})
        with made(fresh_database.model_copy(update={"cdc": cdc, "kafka": copy.settings.kafka})) as world:
            _stand_still(world, copy.process("kafka"))


def _stand_still(world: World, broker: psutil.Process) -> None:
    active = "select active_pid is not null from pg_replication_slots where slot_name = %s"
    with writing(world, SEED) as writers, world.capturing():
        world.streaming()
        for writer in writers:
            writer.emitting.set()
        time.sleep(1)
        broker.suspend()
        try:
            # Postgres could shut down now: nobody holds it up (R6).
            world.until(lambda: world.sql(active, world.name) == [(False,)])
            time.sleep(3)
        finally:
            broker.resume()
        time.sleep(1)
        for writer in writers:
            writer.finish()
        world.caught_up()
    check(world, writers)
    assert world.sql("select count(*) from ops.dlq") == [(0,)]


def test_two_captures_take_turns(world: World) -> None:
    with writing(world, SEED) as writers:
        first = world.process()
        world.streaming()
        with world.capturing() as second:
            world.until(lambda: "another capture of slot" in second.output())
            first.kill()
            time.sleep(1)
            for writer in writers:
                writer.finish()
            world.caught_up()
    check(world, writers)
