"""A picture is what the events say, in whatever pages they come, and what no stream may send is a fault."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from adriatic.cli.live import Picture
from connectors.llm.sse import ServerEvent


def event(name: str, event_id: str = "", **data: Any) -> ServerEvent:
    return ServerEvent(name, msgspec.json.encode(data), event_id)


def row(kind: str, count: int) -> dict[str, Any]:
    return {"kind": kind, "label": "x", "count": count}


def started(*rows: dict[str, Any]) -> Picture:
    picture = Picture()
    picture.take(event("snapshot", "1", rows=list(rows), more=False, as_of={"state": "fresh"}))
    return picture


def test_pages_of_a_snapshot_add_up_and_changes_are_applied_by_key() -> None:
    picture = Picture()
    picture.take(event("snapshot", "1", rows=[row("a", 1)], more=True, as_of={}))
    half = picture.complete
    picture.take(event("snapshot", "2", rows=[row("b", 1)], more=False, as_of={}))
    assert (half, picture.complete) == (False, True)
    assert picture.rows == [row("a", 1), row("b", 1)]
    key = {"kind": "a", "label": "x"}
    picture.take(event("delta", "3", op="upsert", key=key, row=key | {"count": 2}))
    picture.take(event("delta", "4", op="delete", key={"kind": "b", "label": "x"}, row=None))
    picture.take(event("delta", "5", op="upsert", key={"kind": "c", "label": "x"}, row=row("c", 7)))
    assert picture.rows == [row("a", 2), row("c", 7)]
    assert (picture.changes, picture.last_id) == (3, "5")


def test_a_column_that_did_not_change_keeps_its_value() -> None:
    picture = started(row("a", 1) | {"note": "long"})
    picture.take(event("delta", op="upsert", key={"kind": "a", "label": "x"}, row=row("a", 2)))
    assert picture.rows == [row("a", 2) | {"note": "long"}]


def test_a_reset_forgets_and_a_snapshot_follows() -> None:
    picture = started(row("a", 1))
    picture.take(event("reset", "2", reason="behind"))
    assert picture.rows == []
    assert not picture.complete
    picture.take(event("snapshot", "3", rows=[row("b", 1)], more=False, as_of={"state": "stale"}))
    assert (picture.rows, picture.starts, picture.as_of) == ([row("b", 1)], 2, {"state": "stale"})


def test_a_watermark_moves_time_and_nothing_else() -> None:
    picture = started(row("a", 1))
    picture.take(event("watermark", "2", as_of={"state": "fresh", "age_s": 0.5}, waits_for=[]))
    assert (picture.as_of["age_s"], picture.rows, picture.changes) == (0.5, [row("a", 1)], 0)


def test_what_no_stream_may_send_is_a_fault() -> None:
    with pytest.raises(ValueError, match="before the snapshot"):
        Picture().take(event("delta", op="upsert", key={}, row={}))
    with pytest.raises(ValueError, match="second snapshot"):
        started(row("a", 1)).take(event("snapshot", rows=[], more=False, as_of={}))
