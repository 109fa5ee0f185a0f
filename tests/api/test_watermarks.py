"""What a watermark is worth: fresh, stale, or nobody knows."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from api import watermarks
from api.db import tenant_transaction
from api.watermarks import AsOf, judge
from connectors.kafka.records import TopicPartition
from connectors.postgres.connections import connect
from connectors.postgres.sink import expect_watermarks
from dataflows.catalog import views
from schemas.pipeline import FRESH_S_MAX, KNOWN_S_MAX, SKEW_S_MAX
from tests.api.world import World

NOW = datetime(2026, 1, 15, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("age_s", "state"),
    [(-SKEW_S_MAX, "fresh"), (0, "fresh"), (FRESH_S_MAX, "fresh"), (FRESH_S_MAX + 1, "stale"), (KNOWN_S_MAX, "stale"),
     (KNOWN_S_MAX + 1, "unknown")],
)  # fmt: skip
def test_age_decides(age_s: float, state: str) -> None:
    as_of = judge("0/10", NOW - timedelta(seconds=age_s), NOW)
    assert as_of == AsOf(state, "0/10", NOW - timedelta(seconds=age_s), max(0.0, age_s))  # type: ignore[arg-type]


@pytest.mark.parametrize("ahead_s", [SKEW_S_MAX + 1, 80 * 365 * 86_400])
def test_a_time_from_the_future_is_not_fresh(ahead_s: float) -> None:
    assert judge("0/10", NOW + timedelta(seconds=ahead_s), NOW) == watermarks.UNKNOWN


def test_what_did_not_report_is_unknown() -> None:
    assert judge(None, None, NOW) == watermarks.UNKNOWN
    assert judge("0/10", NOW, NOW, complete=False) == watermarks.UNKNOWN


def test_headers_say_what_the_body_says() -> None:
    assert watermarks.UNKNOWN.headers() == {"adriatic-as-of-state": "unknown"}
    assert judge("0/10", NOW, NOW + timedelta(seconds=2)).headers() == {
        "adriatic-as-of-state": "fresh",
        "adriatic-as-of-lsn": "0/10",
        "adriatic-as-of-time": "2026-01-15T09:00:00+00:00",
        "adriatic-as-of-age-seconds": "2.000",
    }


def test_the_views_that_routes_ask_for_are_kept_by_flows() -> None:
    asked = {watermarks.WORDS_VIEW, watermarks.RELATED_VIEW, watermarks.FEEDS_VIEW}
    assert asked <= {view.name for view in views()}


@pytest.mark.stack
async def test_a_view_is_as_far_as_its_slowest_partition_and_one_silent_makes_it_unknown(world: World) -> None:
    parts = [TopicPartition(topic, number) for topic in ("versions", "documents") for number in range(8)]
    tenant = await world.tenant()

    async def read() -> AsOf:
        async with tenant_transaction(world.app.state.database, tenant.tenant_id, read_only=True) as connection:
            return await watermarks.read(connection, watermarks.WORDS_VIEW)

    async with world.admin() as admin:
        await admin.execute("delete from mv.watermarks")
        assert (await read()).state == "unknown"
        with connect(world.settings.postgres) as connection:
            expect_watermarks(connection, dict.fromkeys(parts, (watermarks.WORDS_VIEW,)))
        began_s = time.monotonic()
        for topic, partition in parts:
            assert await read() == watermarks.UNKNOWN, partition
            await admin.execute(
                "update mv.watermarks set lsn = ('0/' || (100 + $3))::pg_lsn, "
                "source_at = now() - make_interval(secs => $3) where view = $1 and topic = $2 and partition = $3",
                *(watermarks.WORDS_VIEW, topic, partition),
            )
        as_of = await read()
        await admin.execute("delete from mv.watermarks")
    assert (as_of.state, as_of.lsn) == ("fresh", "0/100")
    assert as_of.age_s is not None
    assert 6.5 < as_of.age_s < 7.5 + time.monotonic() - began_s
