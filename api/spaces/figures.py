"""How well two embedding spaces find what a tenant has, from the ranks that were measured. Pure.

Owns the verdict. Refuses to measure: the job `evaluate_space` does (`dataflows/space_evaluation.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from statistics import fmean
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from api.search.known_item import gain, interval

Verdict = Literal["better", "worse", "no difference", "unknown"]


class SpaceQuality(msgspec.Struct, frozen=True):
    """Mean nDCG@10 over the questions; `low` and `high` are the ends of its 95 % interval."""

    ndcg: float
    low: float
    high: float


class SpaceEvaluation(msgspec.Struct, frozen=True):
    """Titles of the tenant's own texts as questions, each with one right answer, in `space` and in `against`."""

    space: str
    against: str
    questions: int
    quality: SpaceQuality
    quality_against: SpaceQuality
    difference: Annotated[SpaceQuality, Meta(description="What `space` has more, resampled question by question.")]
    verdict: Annotated[
        Verdict, Meta(description="Beyond what chance gives; unknown where there was nothing to ask about.")
    ]
    evaluated_at: datetime


def judge(
    space: str, against: str, ranks: Sequence[int], against_ranks: Sequence[int], evaluated_at: datetime
) -> SpaceEvaluation:
    """Ranks from 1; 0 is not among the first ten. A question is its own control, so that a difference is seen that is
    far smaller than either interval."""
    own, others = [gain(rank or None) for rank in ranks], [gain(rank or None) for rank in against_ranks]
    difference = _quality([one - other for one, other in zip(own, others, strict=True)])
    verdict: Verdict = "no difference"
    if not ranks:
        verdict = "unknown"
    elif difference.high < 0:
        verdict = "worse"
    elif difference.low > 0:
        verdict = "better"
    return SpaceEvaluation(
        space, against, len(ranks), _quality(own), _quality(others), difference, verdict, evaluated_at
    )


def _quality(values: Sequence[float]) -> SpaceQuality:
    return SpaceQuality(fmean(values) if values else 0.0, *interval(values))
