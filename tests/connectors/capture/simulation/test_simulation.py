"""Schedules through the real core: what must be true is true, and what breaks a law is caught."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.connectors.capture.simulation.known import OVERTAKEN, SHOWS
from tests.connectors.capture.simulation.mutants import MUTANTS, hunt, run_mutant
from tests.connectors.capture.simulation.quiet import quiet
from tests.connectors.capture.simulation.schedule import ACCIDENTS, COPIES, LAWFUL, Step, generate, show
from tests.connectors.capture.simulation.shrink import shrink
from tests.connectors.capture.simulation.world import World, run

SEEDS, SEEDS_AT_ONCE = 300, 50
"""Some seconds. The command runs as many as one has time for."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet():
        yield


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_AT_ONCE))
def test_what_must_be_true_is_true(first: int) -> None:
    for seed in range(first, first + SEEDS_AT_ONCE):
        if (fault := run(generate(seed))) is not None:
            small = shrink(generate(seed), run)
            pytest.fail(f"seed {seed}: {fault}\nsmallest schedule, with {run(small)}:\n{show(small)}")


@pytest.mark.parametrize("name", MUTANTS)
def test_a_core_that_breaks_a_law_is_caught_and_the_core_is_not(name: str) -> None:
    steps = SHOWS[name]
    fault = run_mutant(name, steps)
    assert fault is not None, "nothing shows it any more: search with --mutants"
    assert "a bug" not in fault, "the patch does not fit the core any more"
    assert run(steps) is None


def test_a_mutant_is_found_by_chance_and_made_small() -> None:
    found = hunt("acknowledge-the-maximum", range(50))
    assert found is not None
    seed, small, fault = found
    assert "is progress" in fault
    assert len(small) < len(generate(seed))


def test_a_record_that_a_younger_one_overtook_is_sent_again_and_all_that_follows() -> None:
    """The gap that R8 had: stopped for longer than the delivery time-out, and killed before it repairs."""
    for choice in range(4):
        assert run([*OVERTAKEN, Step("kill", pause_s=18.2, b=choice), Step("start", pause_s=1.1)]) is None


def test_a_schedule_is_the_same_every_time() -> None:
    def ran(seed: int) -> tuple[object, ...]:
        world = World()
        fault = world.run(generate(seed))
        clockwork = world.clockwork
        log = [
            record and (record.says, record.snapshot_id, record.writer)
            for topic in world.broker.topics.values()
            for partition in topic.partitions
            for record in partition.records
        ]
        return fault, clockwork.calls, clockwork.now_s, world.database.end, log

    assert [ran(seed) for seed in range(20)] == [ran(seed) for seed in range(20)]


def test_every_kind_of_step_happens() -> None:
    kinds = {step.kind for seed in range(300) for step in generate(seed)}
    assert kinds == set(LAWFUL) | set(COPIES) | set(ACCIDENTS)


def test_a_long_schedule_that_fails_becomes_the_steps_that_matter() -> None:
    steps = [Step("commit"), Step("kill", calls=3, a=7), Step("forge", pause_s=65, lasts_s=70), Step("commit")] * 3

    def fails(candidate: object) -> str | None:
        kinds = [step.kind for step in candidate]  # type: ignore[attr-defined]
        return "fault" if "kill" in kinds and "forge" in kinds[kinds.index("kill") :] else None

    assert shrink(steps, fails) == [Step("kill", pause_s=1.1, lasts_s=0.05), Step("forge", pause_s=1.1, lasts_s=0.05)]
