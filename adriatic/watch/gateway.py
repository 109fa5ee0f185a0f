"""What an API process says of the targets that it asks, read out of its metrics. Pure.

Owns which metrics those are. Refuses to fetch them (`adriatic/cli/status.py`) and to judge (`overview`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from prometheus_client.parser import text_string_to_metric_families

from adriatic.watch.overview import TargetHealth

BREAKER, IN_FLIGHT, WAITING = "adriatic_llm_breaker_state", "adriatic_llm_in_flight", "adriatic_llm_queue_depth"
STATES: Mapping[float, Literal["closed", "half-open", "open"]] = {0.0: "closed", 1.0: "half-open", 2.0: "open"}


def read_targets(exposition: bytes) -> Sequence[TargetHealth]:
    """Every target that was asked since the start, by its name. What a process does not say of one is 0."""
    found: dict[str, dict[str, float]] = {BREAKER: {}, IN_FLIGHT: {}, WAITING: {}}
    for family in text_string_to_metric_families(exposition.decode()):
        if family.name in found:
            found[family.name] |= {sample.labels["target"]: sample.value for sample in family.samples}
    names = sorted({*found[BREAKER], *found[IN_FLIGHT], *found[WAITING]})
    return [
        TargetHealth(
            name,
            STATES.get(found[BREAKER].get(name, 0.0), "open"),
            int(found[IN_FLIGHT].get(name, 0)),
            int(found[WAITING].get(name, 0)),
        )
        for name in names
    ]
