"""Deleting topics, which only a recovery does: everything in them is made anew from the database.

Owns that call, and the wait until the broker shows it. Refuses to choose which; `connectors/kafka/admin.py`, which
applies what the files say, deletes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from connectors.kafka.clients import Admin
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.deadline import Deadline, backoff_s
from runtime.errors import DependencyUnavailable
from runtime.settings import KafkaSettings

CALL_S_MAX = 30.0
"""One call. A busy single node takes seconds to delete two dozen topics."""


def delete_topics(settings: KafkaSettings, names: Sequence[str], clock: Clock = SYSTEM_CLOCK) -> None:
    """Delete them with all that is in them, and return when the broker does not show them any more. One that is not
    there is deleted. Raises `DependencyUnavailable`; then some may be left, and again is safe."""
    admin = Admin(settings, CALL_S_MAX)

    def ask(client: AdminClient) -> None:
        answers = client.delete_topics(list(names), operation_timeout=CALL_S_MAX, request_timeout=CALL_S_MAX)
        for future in answers.values():
            try:
                admin.result(future)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise

    admin.call("delete topics", ask)
    deadline = Deadline.after(CALL_S_MAX, clock)
    for pause_s in backoff_s(first_s=0.05, max_s=1.0):
        there = admin.call("list topics", lambda client: client.list_topics(timeout=CALL_S_MAX)).topics
        if not (left := sorted(set(names) & set(there))):
            return
        if deadline.passed:
            raise DependencyUnavailable(f"the broker still shows {left[0]}, which was deleted")
        clock.sleep(pause_s)
