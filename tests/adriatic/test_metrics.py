"""The metric registry: names carry their unit, labels are bounded."""

from __future__ import annotations

import pytest
from prometheus_client.metrics import MetricWrapperBase

from adriatic import metrics

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
    assert METRICS[name]._name.endswith(("_seconds", "_bytes"))
