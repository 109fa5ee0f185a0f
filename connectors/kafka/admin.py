"""Topics on a broker: what there is, and making it what a plan says.

Owns the calls of librdkafka's AdminClient, their time-outs, and what its errors mean. Refuses to decide
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

from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.deadline import Deadline, backoff_s
from runtime.errors import AdriaticError, DependencyUnavailable, Halted, Misconfigured
from runtime.settings import KafkaSettings
from topics.catalog import Topic
from topics.plan import Actual, TopicChange, TopicPlan, normalise

CALL_MAX_S = 15.0
"""One call. Creating topics on a busy single node takes seconds, not more."""

REFUSALS = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._AUTHENTICATION,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_REQUEST,
        KafkaError.POLICY_VIOLATION,
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError.TOPIC_EXCEPTION,
    }
)
"""The broker is there and says no: asking again gives the same answer."""


class KafkaAdmin:
    """One cluster. Every call blocks for at most `timeout_s` seconds."""

    def __init__(self, settings: KafkaSettings, timeout_s: float = CALL_MAX_S, clock: Clock = SYSTEM_CLOCK) -> None:
        # What librdkafka would print about a broker that is away is in the error that we raise.
        self._client = AdminClient({**settings.client_config(), "log_level": 0})
        self._settings = settings
        self._timeout_s = timeout_s
        self._clock = clock

    def cluster_id(self) -> str:
        """The cluster's own id, to see where a plan would go."""
        return str(self._call(lambda: self._client.list_topics(timeout=self._timeout_s), "cluster").cluster_id)

    def topics(self, described: Iterable[str]) -> dict[str, Actual]:
        """Every topic by name; with settings for those in `described`."""
        metadata = self._call(lambda: self._client.list_topics(timeout=self._timeout_s), "topics").topics
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
        steps: dict[str, Callable[[TopicChange, Topic], Any]] = {
            "create": self._create,
            "grow": self._grow,
            "alter": self._alter,
        }
        made = [change for change in plan.changes if change.action in steps]
        for change in made:
            steps[change.action](change, topics[change.topic])
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

    def _create(self, change: TopicChange, topic: Topic) -> None:
        new = NewTopic(topic.name, topic.partitions, self._settings.replication_factor, config=dict(topic.config))
        futures = self._call(
            lambda: self._client.create_topics([new], request_timeout=self._timeout_s), f"create {topic.name}"
        )
        self._wait(futures, f"create {topic.name}", fine=KafkaError.TOPIC_ALREADY_EXISTS)

    def _grow(self, change: TopicChange, topic: Topic) -> None:
        new = NewPartitions(topic.name, topic.partitions)
        what = f"give {topic.name} {topic.partitions} partitions"
        self._wait(
            self._call(lambda: self._client.create_partitions([new], request_timeout=self._timeout_s), what), what
        )

    def _alter(self, change: TopicChange, topic: Topic) -> None:
        entry = ConfigEntry(change.setting, change.after, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic.name, incremental_configs=[entry])
        what = f"set {change.setting} of {topic.name}"
        self._wait(
            self._call(
                lambda: self._client.incremental_alter_configs([resource], request_timeout=self._timeout_s), what
            ),
            what,
        )

    def _config(self, names: list[str]) -> dict[str, tuple[dict[str, str], frozenset[str]]]:
        if not names:
            return {}
        resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
        futures = self._call(
            lambda: self._client.describe_configs(resources, request_timeout=self._timeout_s), "describe"
        )
        return {resource.name: _effective(self._result(future, "describe")) for resource, future in futures.items()}

    def _wait(self, futures: Mapping[Any, Future[Any]], what: str, fine: int | None = None) -> None:
        for future in futures.values():
            self._result(future, what, fine)

    def _result(self, future: Future[Any], what: str, fine: int | None = None) -> Any:
        return self._call(lambda: future.result(timeout=self._timeout_s + 1), what, fine)

    def _call(self, call: Callable[[], Any], what: str, fine: int | None = None) -> Any:
        try:
            return call()
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if fine is not None and cause.code() == fine:
                return None
            raise self._mapped(cause, what) from None
        except TimeoutError:
            raise DependencyUnavailable(f"{what}: no answer within {self._timeout_s:.0f} s") from None

    def _mapped(self, error: KafkaError, what: str) -> AdriaticError:
        detail = f"{what} at {self._settings.bootstrap_servers}: {error.str()}"
        if error.code() in REFUSALS:
            return Misconfigured(detail, hint="compare the [kafka] settings and the topic's file with the cluster")
        if error.retriable() or error.code() < 0 or error.code() in TRANSIENT:
            return DependencyUnavailable(detail, hint="is the broker running, and is kafka.bootstrap_servers right?")
        return Halted(detail)


TRANSIENT = frozenset(
    {
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NOT_CONTROLLER,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,  # metadata that has not reached this node yet
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
    }
)
"""Passes by itself. Codes below zero are librdkafka's own: transport, resolution, time-out."""


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
