"""Topics on a broker: what there is, and making it what a plan says.

Owns the calls that administer topics, and their time-out. Refuses to decide
(`topics/plan.py` does) and has no way to delete a topic. Applying is idempotent: a topic that somebody else made
meanwhile is fine, and an interrupted apply goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it exports them, without saying so
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
)

from connectors.kafka.clients import Admin
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.deadline import Deadline, backoff_s
from runtime.errors import DependencyUnavailable
from runtime.settings import KafkaSettings
from topics.catalog import Topic
from topics.plan import Actual, TopicChange, TopicPlan, normalise

CALL_MAX_S = 15.0
"""One call. Creating topics on a busy single node takes seconds, not more."""


class KafkaAdmin:
    """One cluster. Every call blocks for at most `timeout_s` seconds."""

    def __init__(self, settings: KafkaSettings, timeout_s: float = CALL_MAX_S, clock: Clock = SYSTEM_CLOCK) -> None:
        self._admin = Admin(settings, timeout_s)
        self._settings = settings
        self._timeout_s = timeout_s
        self._clock = clock

    def cluster_id(self) -> str:
        """The cluster's own id, to see where a plan would go."""
        return str(self._metadata().cluster_id)

    def topics(self, described: Iterable[str]) -> dict[str, Actual]:
        """Every topic by name; with settings for those in `described`."""
        metadata = self._metadata().topics
        config = self._config([name for name in described if name in metadata])
        return {
            name: Actual(
                name,
                len(topic.partitions),
                max((len(partition.replicas) for partition in topic.partitions.values()), default=0),
                *config.get(name, ({}, frozenset())),
            )
            for name, topic in metadata.items()
        }

    def apply(self, plan: TopicPlan, topics: Mapping[str, Topic], done: Callable[[TopicChange], None]) -> None:
        """Carry out every change that is not refused, and call `done` after each. Refused ones are left alone.

        Returns when the broker shows what was done: the controller answers before the others have heard of it.
        """
        made = [change for change in plan.changes if change.action in ("create", "grow", "alter")]
        for change in made:
            self._make(change, topics[change.topic])
            done(change)
        self._settle(made, topics)

    def _settle(self, made: list[TopicChange], topics: Mapping[str, Topic]) -> None:
        deadline = Deadline.after(self._timeout_s, self._clock)
        for pause_s in backoff_s(first_s=0.02, max_s=0.5):
            actual = self.topics({change.topic for change in made}) if made else {}
            unseen = [change for change in made if not _shows(actual.get(change.topic), change, topics[change.topic])]
            if not unseen:
                return
            if deadline.passed:
                raise DependencyUnavailable(f"the cluster does not show {unseen[0].topic} as it was made")
            self._clock.sleep(pause_s)

    def _metadata(self) -> Any:
        return self._admin.call("list topics", lambda client: client.list_topics(timeout=self._timeout_s))

    def _make(self, change: TopicChange, topic: Topic) -> None:
        limit_s = self._timeout_s
        if change.action == "create":
            new = NewTopic(topic.name, topic.partitions, self._settings.replication_factor, config=dict(topic.config))
            self._each(f"create {topic.name}", lambda client: client.create_topics([new], request_timeout=limit_s))
        elif change.action == "grow":
            more = NewPartitions(topic.name, topic.partitions)
            doing = f"give {topic.name} {topic.partitions} partitions"
            self._each(doing, lambda client: client.create_partitions([more], request_timeout=limit_s))
        else:
            entry = ConfigEntry(change.setting, change.after, incremental_operation=AlterConfigOpType.SET)
            resource = ConfigResource(ConfigResource.Type.TOPIC, topic.name, incremental_configs=[entry])
            doing = f"set {change.setting} of {topic.name}"
            self._each(doing, lambda client: client.incremental_alter_configs([resource], request_timeout=limit_s))

    def _config(self, names: list[str]) -> dict[str, tuple[dict[str, str], frozenset[str]]]:
        if not names:
            return {}
        resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
        found = self._each(
            "describe topics", lambda client: client.describe_configs(resources, request_timeout=self._timeout_s)
        )
        return {resource.name: _effective(entries) for resource, entries in found.items()}

    def _each(self, doing: str, request: Callable[[AdminClient], Mapping[Any, Future[Any]]]) -> dict[Any, Any]:
        """What the client promised for each thing that it was asked about."""

        def ask(client: AdminClient) -> dict[Any, Any]:
            return {what: self._result(future) for what, future in request(client).items()}

        return self._admin.call(doing, ask)

    def _result(self, future: Future[Any]) -> Any:
        """A topic that is there when it is to be made is fine."""
        try:
            return self._admin.result(future)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def _effective(entries: Mapping[str, Any]) -> tuple[dict[str, str], frozenset[str]]:
    values = {name: entry.value for name, entry in entries.items() if entry.value is not None}
    set_here = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    overrides = frozenset(name for name, entry in entries.items() if entry.source == set_here)
    return values, overrides


def _shows(actual: Actual | None, change: TopicChange, topic: Topic) -> bool:
    """A topic that somebody else made first may differ; the next plan says so."""
    if actual is None or actual.partitions == 0:
        return False
    if change.action == "grow":
        return actual.partitions >= topic.partitions
    before = actual.config.get(change.setting, "")
    return change.action != "alter" or normalise(change.setting, before) == normalise(change.setting, change.after)
