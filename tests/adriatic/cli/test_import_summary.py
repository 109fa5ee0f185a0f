"""The last lines of an import: how soon what it wrote could be found, or that it wrote nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from adriatic.cli.import_view import _search, tell_rate
from adriatic.cli.searchable import Watched, await_searchable
from api.imports.freshness import Arm, Embeddings, Freshness
from api.watermarks import UNKNOWN
from runtime.clock import ManualClock

SINCE = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass
class Answer:
    """Stands for the API: nothing waits, and `counted` ADRs were written since the import began."""

    counted: int

    def request(self, *_: object, **__: object) -> Freshness:
        seconds = 0.5 if self.counted else None
        arm = Arm(self.counted, 0, seconds, seconds, seconds, seconds, None)
        return Freshness(SINCE, arm, arm, Embeddings(1, 4, 3, 0.75, 1), UNKNOWN)


def lines(counted: int) -> list[str]:
    watched = Watched(Answer(counted), SINCE, 0.0)  # type: ignore[arg-type]
    await_searchable([watched], ManualClock(), lambda words, meaning: None)
    return list(_search(watched))


def test_an_import_that_wrote_nothing_says_so_and_gives_no_times() -> None:
    first, *others = lines(0)
    assert first == "  searchable  nothing new"
    assert [line.split()[0] for line in others] == ["embeddings"]


@pytest.mark.parametrize("counted", [1, 18])
def test_an_import_that_wrote_says_how_soon_it_could_be_found(counted: int) -> None:
    shown = "\n".join(lines(counted))
    assert "searchable  by words 0.0 s, by meaning 0.0 s after the last write" in shown
    assert f"p50 0.50 s, p95 0.50 s, p99 0.50 s of {counted} ADRs" in shown
    assert "75.0% avoided" in shown


@pytest.mark.parametrize(("a_second", "said"), [(240.4, "240/s"), (1, "1/s"), (0.4, "24/min"), (0.001, "0/min")])
def test_what_is_slow_has_a_rate_too(a_second: float, said: str) -> None:
    assert tell_rate(a_second) == said
