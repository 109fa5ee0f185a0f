"""The metric registry: names carry their unit, labels are bounded."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

from runtime import metrics
from tests.docs.markdown import ROOT, tracked

METRICS = {name: found for name, found in vars(metrics).items() if isinstance(found, MetricWrapperBase)}
UNBOUNDED = {"tenant", "tenant_id", "user", "user_id", "adr_id", "key", "offset", "path", "url", "query", "request_id"}


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_what_it_means(name: str) -> None:
    family = next(iter(METRICS[name].describe()))
    assert len(family.documentation.split()) > 1


@pytest.mark.parametrize("name", METRICS)
def test_no_label_grows_with_the_data(name: str) -> None:
    assert set(METRICS[name]._labelnames) & UNBOUNDED == set()


@pytest.mark.parametrize("name", [name for name in METRICS if METRICS[name]._type == "histogram"])
def test_durations_are_in_seconds(name: str) -> None:
    """But for two, whose names are the specification's."""
    of_the_specification = METRICS[name]._name in ("ai_first_token_duration_ms", "ai_inter_token_duration_ms")
    assert of_the_specification or METRICS[name]._name.endswith(("_seconds", "_bytes", "_per_second"))


OF_ALL_GROUPS = [
    name
    for name, found in METRICS.items()
    if found._name.startswith(("kafka_consumergroup_group_", "adriatic_group_", "adriatic_view_", "adriatic_slot_"))
]


@pytest.mark.parametrize("name", OF_ALL_GROUPS)
def test_figures_of_the_whole_pipeline_come_from_one_process(name: str) -> None:
    """Two that exported them would be counted twice by every dashboard that sums."""
    rooms = ("adriatic", "api", "connectors", "dataflows", "streams")
    sources = [file for file in tracked("*.py") if file.split("/", 1)[0] in rooms and file != "runtime/metrics.py"]
    users = [file for file in sources if f"metrics.{name}" in Path(ROOT / file).read_text(encoding="utf-8")]
    assert users == ["adriatic/watch/watcher.py"]
