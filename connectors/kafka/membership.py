"""What the broker knows of the other members of a consumer group: whether they have partitions. Refuses to judge."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from connectors.kafka.clients import Admin
from runtime.settings import KafkaSettings

REBALANCING = (ConsumerGroupState.PREPARING_REBALANCING, ConsumerGroupState.COMPLETING_REBALANCING)


@dataclass(frozen=True, slots=True)
class GroupState:
    """A group now: whether a member other than the one that asks has a partition, and whether its members are about to
    share them out."""

    owned: bool
    rebalancing: bool


class Membership:
    """The members of one group beside the static member `own`, asked for afresh each time. What the broker says of that
    one itself proves nothing: it may believe that it gave it partitions which never came. Raises
    `DependencyUnavailable`."""

    def __init__(self, settings: KafkaSettings, group: str, own: str) -> None:
        self._admin = Admin(settings)
        self._group = group
        self._own = own

    def state(self) -> GroupState:
        return self._admin.call("describe the group", self._ask)

    def _ask(self, client: AdminClient) -> GroupState:
        asked = client.describe_consumer_groups([self._group], request_timeout=self._admin.timeout_s)
        found = self._admin.result(asked[self._group])
        others = [member for member in found.members if member.group_instance_id != self._own]
        owned = any(member.assignment and member.assignment.topic_partitions for member in others)
        return GroupState(owned, found.state in REBALANCING)
