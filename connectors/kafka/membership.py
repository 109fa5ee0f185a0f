"""What the broker knows of one consumer group's members: whether they have partitions. Refuses to judge."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from connectors.kafka.clients import Admin
from runtime.settings import KafkaSettings

REBALANCING = (ConsumerGroupState.PREPARING_REBALANCING, ConsumerGroupState.COMPLETING_REBALANCING)


@dataclass(frozen=True, slots=True)
class GroupState:
    """A group now: whether a member has a partition, and whether its members are about to share them out."""

    owned: bool
    rebalancing: bool


class Membership:
    """The members of one group, asked for afresh each time. Raises `DependencyUnavailable`."""

    def __init__(self, settings: KafkaSettings, group: str) -> None:
        self._admin = Admin(settings)
        self._group = group

    def state(self) -> GroupState:
        return self._admin.call("describe the group", self._ask)

    def _ask(self, client: AdminClient) -> GroupState:
        asked = client.describe_consumer_groups([self._group], request_timeout=self._admin.timeout_s)
        found = self._admin.result(asked[self._group])
        owned = any(member.assignment and member.assignment.topic_partitions for member in found.members)
        return GroupState(owned, found.state in REBALANCING)
