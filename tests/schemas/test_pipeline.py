"""A picture goes through JSON unchanged, and an old one loses its numbers."""

from __future__ import annotations

import msgspec

from schemas import pipeline
from schemas.pipeline import (
    SAMPLE_STALE_S,
    DeadLetters,
    GroupLag,
    PartitionLag,
    Percentiles,
    Pipeline,
    Slot,
    ViewFreshness,
    decode,
    mask_stale,
)

NOW = 1_000_000.0
PICTURE = Pipeline(
    sampled_at_s=NOW,
    groups=[
        GroupLag(
            group="adriatic.index",
            status="ok",
            ours=True,
            lag_records=0,
            lag_s=0.0,
            partitions=[PartitionLag("t", 0, "ok", 5, 5, 0, 0.0)],
        )
    ],
    views=[
        ViewFreshness(
            view="search.words",
            flow="index",
            state="fresh",
            age_s=1.0,
            stages={"wal": 1.0},
            last_hour=Percentiles(3, 1.0, 2.0, 2.0, 2.0),
        )
    ],
    dead_letters=[DeadLetters("index", "t", "undecodable", 1, 2)],
    slot=Slot(
        name="adriatic", active=True, status="reserved", retained_bytes=1, safe_bytes=None, stopped_tables=["app.adrs"]
    ),
)


def test_a_picture_is_read_as_it_was_written() -> None:
    again = decode(msgspec.json.encode(PICTURE))
    assert msgspec.to_builtins(again) == msgspec.to_builtins(PICTURE)


def test_a_young_picture_is_believed() -> None:
    assert mask_stale(PICTURE, NOW + SAMPLE_STALE_S) is PICTURE


def test_an_old_picture_has_names_and_no_numbers() -> None:
    found = mask_stale(PICTURE, NOW + SAMPLE_STALE_S + 1)
    assert [(group.group, group.status, group.lag_records) for group in found.groups] == [
        ("adriatic.index", "unknown", None)
    ]
    assert [(view.view, view.state, view.age_s) for view in found.views] == [("search.words", "unknown", None)]
    assert (found.dead_letters, found.slot) == ((), None)
    assert found.reason == "nobody has looked for 11 s: is the process `watch` there?"


def test_no_picture_is_unknown() -> None:
    assert "nobody has looked yet" in pipeline.mask_stale(None, NOW).reason
