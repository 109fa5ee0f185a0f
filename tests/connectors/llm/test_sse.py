"""The format of server-sent events, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.llm.sse import EVENT_BYTES_MAX, ServerEvent, SseDecoder
from runtime.errors import DependencyUnavailable

STREAM = (
    b": hello\n\nid: a.1\nevent: delta\ndata: one\n\ndata: two\r\ndata:three\r\n\r\nevent: nothing\n\ndata: last\n\n"
)
EVENTS = [
    ServerEvent("delta", b"one", "a.1"),
    ServerEvent("message", b"two\nthree", "a.1"),
    ServerEvent("message", b"last", "a.1"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_where_the_bytes_are_cut_does_not_matter(cuts: list[int]) -> None:
    decoder, bounds = SseDecoder(), [0, *sorted(cuts), len(STREAM)]
    parts = [STREAM[start:end] for start, end in pairwise(bounds)]
    assert [event for part in parts for event in decoder.feed(part)] == EVENTS


def test_an_event_that_is_not_finished_is_none() -> None:
    assert list(SseDecoder().feed(b"data: half")) == []
    assert list(SseDecoder().feed(b"data: half\n")) == []


def test_an_event_has_a_bound() -> None:
    with pytest.raises(DependencyUnavailable):
        list(SseDecoder().feed(b"data: " + b"x" * EVENT_BYTES_MAX + b"x"))
    decoder = SseDecoder()
    half = b"data: " + b"x" * (EVENT_BYTES_MAX // 2) + b"\n"
    assert list(decoder.feed(half)) == list(decoder.feed(half)) == []
    with pytest.raises(DependencyUnavailable):
        list(decoder.feed(half))
