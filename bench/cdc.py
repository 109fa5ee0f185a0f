"""How fast change capture catches up: rows a second, from WAL that is waiting to records that are acknowledged.

    python -m bench.cdc --rows 100000

Makes a database, a slot and topics of its own on the configured stack, writes the rows while nothing reads the WAL,
then measures a whole session, and the parts that are Python (decode, encode) alone. Figures depend on what else runs.
"""

from __future__ import annotations

import argparse
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from connectors.capture import pgoutput
from connectors.capture.encoder import TableEncoder, TransactionOrigin
from connectors.capture.ports import Data
from connectors.capture.store import Store
from connectors.capture.transport import Transport
from connectors.postgres.lsn import Lsn
from connectors.postgres.provision import provision
from runtime.clock import SYSTEM_CLOCK
from runtime.deadline import Deadline
from runtime.ops import Health
from runtime.settings import Settings, load
from tests.connectors.capture.world import World, made

ROWS = 100_000
ROWS_PER_TRANSACTION = 500


_WRITE_ITEMS = """
  insert into app.item (tenant_id, id, title, body, number, at, data)
  select
    md5((i %% 50)::text)::uuid, i, 'Decision ' || i, repeat(md5(i::text), 4), i * 1.37, now(),
    jsonb_build_object('owner', 'user' || i %% 97, 'score', i %% 1000)
  from generate_series(%s::int, %s) i
"""


def _write(world: World, rows: int) -> None:
    for start in range(0, rows, ROWS_PER_TRANSACTION):
        world.sql(
            _WRITE_ITEMS,
            start,
            start + ROWS_PER_TRANSACTION - 1,
        )


def _parts(world: World, rows: int) -> tuple[float, float]:
    """Rows a second of reading and decoding, and of encoding."""
    settings = world.settings
    with Store(settings.postgres, settings.cdc.slot) as store:
        (table,) = [one for one in store.read_published(settings.cdc.publication) if one.name == "app.item"]
    key, value = world.contracts().encoders(world.topic("app.item"))
    encoder = TableEncoder(table.relation, world.topics[world.topic("app.item")], key, value, "bench")
    changes: list[pgoutput.Insert] = []
    started_s = time.perf_counter()
    with Transport(settings.postgres, SYSTEM_CLOCK) as transport:
        transport.start(settings.cdc.slot, settings.cdc.publication)
        while len(changes) < rows:
            for message in transport.receive():
                if isinstance(message, Data):
                    decoded = pgoutput.decode(message.payload)
                    if isinstance(decoded, pgoutput.Insert):
                        changes.append(decoded)
            transport.wait(0.01)
    decode_s = time.perf_counter() - started_s
    started_s = time.perf_counter()
    for ordinal, change in enumerate(changes):
        encoder.records(change, TransactionOrigin(Lsn(1), 0, 1), 1, ordinal, 0)
    return rows / decode_s, rows / (time.perf_counter() - started_s)


def _catch_up(world: World, rows: int) -> float:
    import threading

    health = Health()
    capture = world.capture(health)
    thread = threading.Thread(target=capture.run)
    started_s = time.perf_counter()
    thread.start()
    world.caught_up(600)
    taken_s = time.perf_counter() - started_s
    capture.stop()
    thread.join()
    return rows / taken_s


@dataclass(frozen=True, slots=True)
class Rates:
    """Rows a second. `catch_up` includes the start of the session; the other two are one core each."""

    rows: int
    read_and_decode: float
    encode: float
    catch_up: float


def measure(settings: Settings, rows: int = ROWS) -> Rates:
    """On a database, a slot and topics of its own, which are dropped again."""
    database = f"bench_cdc_{int(time.time())}"
    settings = settings.model_copy(update={"postgres": settings.postgres.model_copy(update={"database": database})})
    provision(settings.postgres, Deadline.after(60))
    with made(settings) as world:
        process = world.process()
        world.streaming()
        process.stop()
        _write(world, rows)
        decode, encode = _parts(world, rows)
        rates = Rates(rows, decode, encode, _catch_up(world, rows))
        world.sql("select pg_drop_replication_slot(%s)", world.name)
    return rates


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=ROWS)
    arguments.add_argument("--stack", type=Path, help="a stack.toml; default: this checkout's")
    options = arguments.parse_args()
    rates = measure(Settings(**tomllib.loads(options.stack.read_text())) if options.stack else load(), options.rows)
    print(f"read and decode  {rates.read_and_decode:>10,.0f} rows/s")
    print(f"encode           {rates.encode:>10,.0f} rows/s")
    print(f"catch-up         {rates.catch_up:>10,.0f} rows/s, start of the session included")


if __name__ == "__main__":
    main()
