"""What becomes of a feed's records: by rules alone, without a database."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.records import Record
from dataflows.feed_rules import (
    FeedId,
    FeedLedger,
    FeedState,
    Judged,
    KnownKey,
    Quota,
    Settled,
    judge,
    judge_received,
    settle,
    tally,
)
from runtime.errors import Undecodable
from schemas import feeds

TENANT, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)
FEED = FeedState(FeedId(TENANT, uuid.UUID(int=11)), "wiki", paused=False, deleted=False)
KEY = feeds.ProducerKey.new(TENANT)
KEYS = {KEY.key_id: KnownKey(FEED, feeds.public_key(KEY.public), revoked=False)}
NOON_MS = int(datetime(2026, 1, 15, 12, tzinfo=UTC).timestamp() * 1000)


def value(**changes: Any) -> dict[str, Any]:
    return {
        "tenant_id": TENANT,
        "feed": "wiki",
        "document_id": "page-1",
        "occurred_at": datetime(2026, 1, 15, tzinfo=UTC),
        "source_version": 1,
        "deleted": False,
        "title": "A page",
        "text": "Text.",
        "media_type": "text/markdown",
        "uri": None,
        "published_at": None,
        **changes,
    }


def record(content: bytes = b"value", changes: Mapping[str, str | None] | None = None) -> Record:
    headers = {**KEY.headers(content), **(changes or {})}
    return Record(
        "t",
        0,
        0,
        NOON_MS,
        None,
        content,
        tuple((name, text.encode()) for name, text in headers.items() if text is not None),
    )


def verdict(one: Judged) -> tuple[bool, str | None]:
    return one.proven, one.reason


def test_what_its_producer_signed_is_an_item() -> None:
    judged = judge(record(), KEYS, lambda _: value())
    assert verdict(judged) == (True, None)
    assert judged.item is not None
    assert (judged.item.external_id, judged.item.version, judged.item.text) == ("page-1", 1, "Text.")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({feeds.KEY_HEADER: None}, "unsigned"),
        ({feeds.KEY_HEADER: "x"}, "unknown_key"),
        ({feeds.KEY_HEADER: feeds.ProducerKey.new(OTHER).key_id}, "unknown_key"),
        ({feeds.SIGNATURE_HEADER: None}, "bad_signature"),
        ({feeds.SIGNATURE_HEADER: "not base64!"}, "bad_signature"),
        ({feeds.SIGNATURE_HEADER: base64.b64encode(b"x" * 64).decode()}, "bad_signature"),
        (feeds.ProducerKey(KEY.key_id, b"s" * 32).headers(b"value"), "bad_signature"),
        (KEY.headers(b"another value"), "bad_signature"),
    ],
)
def test_what_nobody_proves_is_not_even_decoded(changes: dict[str, str | None], reason: str) -> None:
    def decode(_: bytes) -> Any:
        raise AssertionError("a stranger's bytes were decoded")

    assert verdict(judge(record(changes=changes), KEYS, decode)) == (False, reason)


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ({"tenant_id": OTHER}, "wrong_tenant"),
        ({"feed": "other"}, "wrong_feed"),
        ({"text": " "}, "invalid"),
        ({"text": "a\0b"}, "invalid"),
        ({"text": "x" * (feeds.TEXT_BYTES_MAX + 1)}, "invalid"),
        ({"title": "x" * (feeds.TITLE_CHARS_MAX + 1)}, "invalid"),
        ({"document_id": ""}, "invalid"),
        ({"document_id": "x" * (feeds.EXTERNAL_ID_CHARS_MAX + 1)}, "invalid"),
        ({"source_version": -1}, "invalid"),
        ({"media_type": "image/png"}, "invalid"),
        ({"uri": "x" * (feeds.URI_CHARS_MAX + 1)}, "invalid"),
        ({"deleted": True, "text": ""}, None),
    ],
)
def test_a_producer_answers_for_what_it_says(says: dict[str, Any], reason: str | None) -> None:
    assert verdict(judge(record(), KEYS, lambda _: value(**says))) == (True, reason)


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (KnownKey(FEED, feeds.public_key(KEY.public), revoked=True), "revoked_key"),
        (KnownKey(replace(FEED, paused=True), feeds.public_key(KEY.public), revoked=False), "paused"),
        (KnownKey(replace(FEED, deleted=True), feeds.public_key(KEY.public), revoked=False), "unknown_feed"),
    ],
)
def test_a_key_and_a_feed_can_be_closed(known: KnownKey, reason: str) -> None:
    assert verdict(judge(record(), {KEY.key_id: known}, lambda _: value())) == (True, reason)


def test_bytes_that_do_not_decode_and_too_many_of_them() -> None:
    def decode(_: bytes) -> Any:
        raise Undecodable("two bytes are too few")

    judged = judge(record(b"\0\0"), KEYS, decode)
    assert (verdict(judged), judged.detail) == ((True, "undecodable"), "two bytes are too few")
    large = record(b"x" * (feeds.RECORD_BYTES_MAX + 1))
    assert verdict(judge(large, KEYS, decode)) == (True, "too_large")


def test_what_came_over_http_needs_no_signature_and_a_feed() -> None:
    unsigned = Record("t", 0, 0, NOON_MS, None, b"value")
    judged = judge_received(unsigned, {(TENANT, "wiki"): FEED}, value())
    assert verdict(judged) == (True, None)
    assert judged.over_http
    assert verdict(judge_received(unsigned, {}, value())) == (True, "unknown_feed")


# --- one after the other --------------------------------------------------------------------------------------------


def items(*versions: tuple[str, int]) -> list[Judged]:
    made = []
    for offset, (name, version) in enumerate(versions):
        judged = judge(record(), KEYS, lambda _, n=name, v=version: value(document_id=n, source_version=v))  # type: ignore[misc]
        made.append(replace(judged, record=replace(judged.record, offset=offset)))
    return made


def known(items_per_day: int = 10**6, bytes_per_day: int = 10**9) -> FeedLedger:
    return FeedLedger(quotas={FEED.id: Quota(items_per_day, bytes_per_day)})


def outcomes(settled: list[Settled]) -> list[str]:
    return [one.reason or one.outcome for one in settled]


def test_an_older_version_never_replaces_a_newer_one() -> None:
    judged = items(("a", 1), ("a", 3), ("a", 2), ("a", 3), ("a", 2), ("b", 1))
    settled = settle(judged, known())
    expected = ["accepted", "accepted", "superseded", "duplicate", "duplicate", "accepted"]
    assert outcomes(settled) == expected
    assert [one.first for one in settled] == [True, False, False, False, False, True]
    assert tally(settled)[FEED.id] == {
        "received": 6,
        "accepted": 3,
        "deleted": 0,
        "superseded": 1,
        "duplicates": 2,
    }


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4)), max_size=30),
    st.lists(st.integers(0, 30), max_size=3),
)
def test_batches_do_not_matter(versions: list[tuple[str, int]], cuts: list[int]) -> None:
    judged = items(*versions)
    at_once = outcomes(settle(judged, known(items_per_day=20)))
    state, cut_up = known(items_per_day=20), []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(judged)], strict=True):
        cut_up += outcomes(settle(judged[start:end], state))
    assert cut_up == at_once
    heads = {name: max(v for n, v in versions[:20] if n == name) for name, _ in versions[:20]}
    assert {key.external_id: version for key, version in state.heads.items()} == heads


def test_beyond_the_quota_of_a_day_everything_is_refused_and_nothing_used() -> None:
    size = record().size_bytes
    for state in (known(items_per_day=2), known(bytes_per_day=2 * size)):
        settled = settle(items(("a", 1), ("a", 1), ("b", 1), ("c", 1)), state)
        assert outcomes(settled) == ["accepted", "duplicate", "quota", "quota"]
        assert list(state.used.values()) == [(2, 2 * size)]
    tomorrow = [replace(one, record=replace(one.record, timestamp_ms=NOON_MS + 86_400_000)) for one in items(("d", 1))]
    assert outcomes(settle(tomorrow, state)) == ["accepted"]


def test_what_came_over_http_is_counted_and_not_refused_again() -> None:
    over_http = [replace(one, over_http=True) for one in items(("a", 1), ("b", 1))]
    state = known(items_per_day=1)
    assert outcomes(settle(over_http, state)) == ["accepted", "accepted"]
    assert next(iter(state.used.values())).items == 2


def test_what_is_read_again_keeps_its_place_in_the_quota() -> None:
    state = known(items_per_day=2)
    judged = items(("a", 1), ("b", 1), ("c", 1))
    assert outcomes(settle(judged, state)) == ["accepted", "accepted", "quota"]
    assert outcomes(settle(judged, state, counted_to=3)) == ["duplicate", "duplicate", "quota"]
    state.quotas[FEED.id] = Quota(3, 10**9)
    assert outcomes(settle(judged, state, counted_to=3)) == ["duplicate", "duplicate", "accepted"]
