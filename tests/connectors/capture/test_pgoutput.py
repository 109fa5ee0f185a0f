"""The decoder on bytes built by hand from the documented layout, and on what a server sent."""

from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.capture import pgoutput
from connectors.capture.pgoutput import (
    POSTGRES_EPOCH_US,
    UNCHANGED,
    Begin,
    Cell,
    Commit,
    Delete,
    Insert,
    Message,
    Origin,
    Relation,
    RelationColumn,
    Truncate,
    Type,
    Update,
    decode,
)
from runtime.errors import Undecodable


def tuple_data(*cells: Cell) -> bytes:
    parts = [struct.pack(">h", len(cells))]
    for cell in cells:
        if cell is None:
            parts.append(b"n")
        elif cell is UNCHANGED:
            parts.append(b"u")
        else:
            assert isinstance(cell, bytes)
            parts.append(b"t" + struct.pack(">i", len(cell)) + cell)
    return b"".join(parts)


RELATION = struct.pack(">I", 16385)
MESSAGES: list[tuple[bytes, pgoutput.Decoded]] = [
    (b"B" + struct.pack(">QqI", 0x1_0000_0010, 5, 777), Begin(0x1_0000_0010, POSTGRES_EPOCH_US + 5, 777)),
    (b"C" + struct.pack(">BQQq", 0, 16, 24, -1), Commit(16, 24, POSTGRES_EPOCH_US - 1)),
    (b"O" + struct.pack(">Q", 9) + b"elsewhere\0", Origin(9, "elsewhere")),
    (
        b"R" + RELATION + b"app\0item\0d" + struct.pack(">h", 2)
        + b"\1tenant_id\0" + struct.pack(">Ii", 2950, -1) + b"\0title\0" + struct.pack(">Ii", 25, -1),
        Relation(
            *(16385, "app", "item", "d"),
            (RelationColumn("tenant_id", 2950, -1, True), RelationColumn("title", 25, -1, False)),
        ),
    ),
    (b"R" + RELATION + b"\0pg_x\0n" + struct.pack(">h", 0), Relation(16385, "pg_catalog", "pg_x", "n", ())),
    (b"Y" + struct.pack(">I", 99) + b"app\0mood\0", Type(99, "app", "mood")),
    (b"I" + RELATION + b"N" + tuple_data(b"1", None, b""), Insert(16385, (b"1", None, b""))),
    (b"U" + RELATION + b"N" + tuple_data(b"1", UNCHANGED), Update(16385, None, False, (b"1", UNCHANGED))),
    (
        b"U" + RELATION + b"K" + tuple_data(b"1", None) + b"N" + tuple_data(b"2", b"x"),
        Update(16385, (b"1", None), True, (b"2", b"x")),
    ),
    (
        b"U" + RELATION + b"O" + tuple_data(b"1", b"w") + b"N" + tuple_data(b"1", UNCHANGED),
        Update(16385, (b"1", b"w"), False, (b"1", UNCHANGED)),
    ),
    (b"D" + RELATION + b"K" + tuple_data(b"1", None), Delete(16385, (b"1", None), True)),
    (b"D" + RELATION + b"O" + tuple_data(b"1", b"x"), Delete(16385, (b"1", b"x"), False)),
    (b"T" + struct.pack(">IBII", 2, 1, 7, 8), Truncate((7, 8), True, False)),
    (b"M" + struct.pack(">BQ", 1, 42) + b"outbox\0" + struct.pack(">I", 2) + b"{}", Message(True, 42, "outbox", b"{}")),
    (b"M" + struct.pack(">BQ", 0, 42) + b"hb\0" + struct.pack(">I", 0), Message(False, 42, "hb", b"")),
]  # fmt: skip


@pytest.mark.parametrize(("data", "message"), MESSAGES)
def test_every_message_decodes(data: bytes, message: pgoutput.Decoded) -> None:
    assert decode(data) == message


@pytest.mark.parametrize("data", [data for data, _ in MESSAGES])
def test_a_message_that_is_cut_short_is_undecodable(data: bytes) -> None:
    for length in range(len(data)):
        with pytest.raises(Undecodable):
            decode(data[:length])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"S",  # the start of a streamed transaction: protocol 2
        b"I" + RELATION + b"X" + tuple_data(),
        b"D" + RELATION + b"N" + tuple_data(),
        b"I" + RELATION + b"N" + struct.pack(">h", 1) + b"b" + struct.pack(">i", 1) + b"x",  # binary
    ],
)
def test_what_protocol_1_does_not_have_is_undecodable(data: bytes) -> None:
    with pytest.raises(Undecodable):
        decode(data)


@given(st.lists(st.one_of(st.none(), st.just(UNCHANGED), st.binary(max_size=300)), max_size=40))
def test_tuples_round_trip(cells: list[Cell]) -> None:
    assert decode(b"I" + RELATION + b"N" + tuple_data(*cells)) == Insert(16385, tuple(cells))


@given(st.binary(max_size=200))
def test_garbage_is_undecodable_or_a_message(data: bytes) -> None:
    with contextlib.suppress(Undecodable):
        decode(data)


def test_what_a_server_sent() -> None:
    """PostgreSQL 18: an update that leaves a TOASTed value alone, one of the key, deletes, FULL, truncate, messages."""
    recorded = json.loads((Path(__file__).parent / "recorded.json").read_text())
    messages = [decode(bytes.fromhex(text)) for text in recorded]
    kinds = [type(message).__name__ for message in messages if not isinstance(message, Begin | Commit)]
    assert kinds == [
        *("Type", "Relation", "Update", "Update", "Delete"),
        *("Type", "Relation", "Insert", "Update", "Delete"),
        *("Type", "Relation", "Truncate", "Message", "Message"),
    ]
    tenant = b"00000000-0000-0000-0000-000000000001"
    updates = [message for message in messages if isinstance(message, Update)]
    assert [update[1:] for update in updates] == [
        (None, False, (tenant, b"1", b"two", UNCHANGED, b"up")),
        ((tenant, b"1", None, None, None), True, (tenant, b"2", b"two", UNCHANGED, b"up")),
        ((tenant, b"3", b"a", b"b", b"down"), False, (tenant, b"3", b"c", b"b", b"down")),
    ]
    assert [message.old_is_key for message in messages if isinstance(message, Delete)] == [True, False]
    identities = [message.identity for message in messages if isinstance(message, Relation)]
    assert identities == ["d", "f", "f"]
    sent = [message for message in messages if isinstance(message, Message)]
    assert [(message.transactional, message.prefix) for message in sent] == [(False, "heartbeat"), (True, "outbox")]
    for begin, commit in zip(
        (message for message in messages if isinstance(message, Begin)),
        (message for message in messages if isinstance(message, Commit)),
        strict=True,
    ):
        assert begin.commit_lsn == commit.commit_lsn < commit.end_lsn
        assert begin.committed_at_us == commit.committed_at_us > 1_700_000_000_000_000
