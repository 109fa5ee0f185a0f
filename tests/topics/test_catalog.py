"""The topic files: as specified, in agreement with the contracts, and refused with all their faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import Misconfigured, NotFound
from schemas import catalog as contracts
from topics.catalog import FOREVER_MS, Topic, duration_ms, load

TOPICS = load()
DAY_MS = 86_400_000

GOOD = """
kind = "event"
description = "Something happened."
owner = "schemas"
partitions = 4
key = ["tenant_id", "id"]
partition_by = "tenant_id"
cleanup = "delete"
retention = "7d"
producers = ["api"]
pii = []
"""


@pytest.mark.parametrize(
    ("name", "partitions", "days"),
    [
        ("document.uploaded", 8, 7),
        ("embeddings.requested", 8, 7),
        ("embeddings.requested.bulk", 8, 7),
        ("rag.search.requested", 8, 7),
        ("rag.search.completed", 8, 7),
        ("agent.task.submitted", 8, 7),
        ("crawl.submitted", 4, 7),
        ("job.progress", 8, 1),
    ],
)
def test_the_topics_of_events_are_as_specified(name: str, partitions: int, days: int) -> None:
    topic = TOPICS[name]
    assert (topic.partitions, topic.retention_ms, topic.cleanup) == (partitions, days * DAY_MS, "delete")
    assert topic.partition_by == "tenant_id"


@pytest.mark.parametrize("topic", [topic for topic in TOPICS.values() if topic.kind != "dlq"], ids=lambda t: t.name)
def test_a_topic_has_contracts_that_agree_with_its_file(topic: Topic) -> None:
    key = contracts.schema(contracts.subject_of(topic.name, "key"))
    value = contracts.schema(contracts.subject_of(topic.name, "value"))
    assert tuple(field["name"] for field in key["fields"]) == topic.key
    fields = {field["name"] for field in value["fields"]}
    if topic.kind == "capture":
        fields = {field["name"] for field in value["fields"][0]["type"][1]["fields"]}
    assert set(topic.pii) <= fields, "pii names fields of the value"


@pytest.mark.parametrize("topic", [topic for topic in TOPICS.values() if topic.kind == "dlq"], ids=lambda t: t.name)
def test_dead_letters_are_bytes_and_fit_whatever_the_source_takes(topic: Topic) -> None:
    with pytest.raises(NotFound):
        contracts.schema(contracts.subject_of(topic.name, "value"))
    source = TOPICS[topic.name.removesuffix(".dlq")]
    room = {name: int(one.extra.get("max.message.bytes", 1_048_588)) for name, one in TOPICS.items()}
    if "max.message.bytes" in source.extra:
        assert room[topic.name] > room[source.name]


def test_every_contract_has_a_topic() -> None:
    assert {contracts.topic_of(subject)[0] for subject in contracts.subjects()} <= set(TOPICS)


def test_capture_topics_keep_the_newest_of_each_key_for_ever() -> None:
    captured = [topic for topic in TOPICS.values() if topic.kind == "capture"]
    assert len(captured) == 22
    assert {topic.cleanup for topic in captured} == {"compact"}
    assert {topic.retention_ms for topic in captured} == {FOREVER_MS}
    for name in ("adriatic.app.adr_versions", "adriatic.app.document_versions", "adriatic.app.page_versions"):
        assert "version" in TOPICS[name].key, "or compaction would drop history"


def test_a_topic_that_is_read_from_the_start_fits_the_largest_text() -> None:
    from runtime.settings import ApiSettings

    assert int(TOPICS["adriatic.app.adr_versions"].extra["max.message.bytes"]) > 2 * ApiSettings().adr_bytes_max
    assert int(TOPICS["adriatic.app.document_versions"].extra["max.message.bytes"]) > 1_048_576 + 65_536


def test_the_broker_is_told_by_its_own_names() -> None:
    assert TOPICS["job.progress"].config == {"cleanup.policy": "delete", "retention.ms": str(DAY_MS)}
    assert "retention.ms" not in TOPICS["adriatic.app.adrs"].config


@pytest.mark.parametrize(("text", "ms"), [("7d", 7 * DAY_MS), ("90s", 90_000), ("1ms", 1), ("forever", -1)])
def test_durations(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "7", "7 d", "-1d", "1w"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        duration_ms(text)


def test_a_file_is_a_topic(tmp_path: Path) -> None:
    (tmp_path / "a.b.toml").write_text(GOOD)
    assert load(tmp_path)["a.b"].retention_ms == 7 * DAY_MS


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("a.b", ('partition_by = "tenant_id"', 'partition_by = "id2"'), "partition_by is not in key"),
        ("a.b", ("pii = []", 'pii = []\nconsumers = ["x"]'), "consumers"),
        ("a.b", ("pii = []", 'pii = []\n[dlq]\ntopic = "a.b.dlq"'), "has no file"),
        ("a.b", ("pii = []", 'pii = []\n[config]\n"retention.ms" = "1"'), "not into config"),
        ("a.b", ("partitions = 4", "partitions = 0"), "at least 1"),
        ("a.b", ("partitions = 4", 'partitions = "4"'), "partitions"),
        ("a.b", ("retention =", "retentoin ="), "retentoin"),
        ("a.b", ('retention = "7d"', 'retention = "7 days"'), "not a duration"),
        ("a.b", ('cleanup = "delete"', 'cleanup = "keep"'), "cleanup"),
        ("a.b", ("key =", "key ="), None),
        ("A.b", ("key =", "key ="), "not one that every broker takes"),
        ("a.dlq", ("key =", "key ="), "is named <topic>.dlq"),
    ],
)
def test_a_file_that_is_wrong_says_why(name: str, change: tuple[str, str], fault: str | None, tmp_path: Path) -> None:
    (tmp_path / f"{name}.toml").write_text(GOOD.replace(*change))
    if fault is None:
        assert load(tmp_path)
        return
    with pytest.raises(Misconfigured, match=fault):
        load(tmp_path)


def test_all_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(GOOD.replace("partitions = 4", "partitions = 0"))
    (tmp_path / "b.toml").write_text("kind = 1")
    with pytest.raises(Misconfigured) as raised:
        load(tmp_path)
    assert "a.toml" in raised.value.detail
    assert "b.toml" in raised.value.detail
