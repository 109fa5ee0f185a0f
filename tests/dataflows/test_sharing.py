"""Two processes of a flow: each speaks for its own partitions, and one that nobody has is not called healthy."""

from __future__ import annotations

import time

import pytest

from connectors.postgres.watch import Watch
from tests.dataflows.world import PARTITIONS, Running, World, until

pytestmark = pytest.mark.stack


def test_what_nobody_has_is_not_spoken_for(world: World) -> None:
    with world.admin() as connection:
        world.embed.start(connection)
    names = {name for topic, name in world.topics.items() if topic in world.index.topics}
    with Watch(world.settings, "test") as watch:

        def beats() -> dict[object, float]:
            marks = watch.facts().progress.get(world.index.name)
            return dict(marks.sampled_at_s) if marks else {}

        with Running(world, world.index) as one:
            until(lambda: one.health.report()["status"] == "ready")
            with Running(world, world.index) as two:
                until(lambda: set(_topics(one)) | set(_topics(two)) == names and _topics(two) != [])
                began_s = max(beats().values())
                until(lambda: len(found := beats()) == PARTITIONS * len(names) and min(found.values()) > began_s)
        gone = beats()
        time.sleep(1.0)
        assert beats() == gone, "somebody speaks for partitions that nobody has"


def _topics(running: Running) -> list[str]:
    lag = running.health.report()["facts"].get("lag", {})
    return sorted(lag) if isinstance(lag, dict) else []
