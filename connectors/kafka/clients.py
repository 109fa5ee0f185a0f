"""The one place that makes clients of librdkafka: consumers, producers and administration.

Owns what each client is for, with the bounds that follow from it, and where its news and its log go. Refuses to use
them: whoever asks does, and closes what it got. Nothing here waits for a broker; an address where nobody is shows at
the first call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from confluent_kafka import Consumer, KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient

from connectors.kafka.errors import translate
from connectors.replaceable import ReplaceableClient
from runtime.logs import get_logger
from runtime.settings import KafkaSettings

T = TypeVar("T")

log = get_logger("kafka")

OnError = Callable[[KafkaError], None]
Use = Literal["flow", "live", "tap", "watch", "ledger"]

ANSWER_S_MAX = 1.0
"""An admin client that takes longer for an answer is replaced: one that lived through an outage may stay slow for ever,
and a new one costs milliseconds."""
RECONNECT_MS_MAX = 1_000
"""Longest pause between attempts to connect: an outage that ends is noticed this late."""


@dataclass(frozen=True, slots=True)
class ConsumerBounds:
    """What one kind of consumer is told beside what all are. `group` is a name that the client demands: but for flows
    nothing joins it and nothing is committed under it, so no broker has it."""

    group: str
    offset_reset: Literal["earliest", "error"]
    """`error` where an offset that the log does not have must not be skipped in silence."""
    fetch_wait_ms: int
    """How long the broker may hold an answer back while nothing is new; a record that arrives ends it at once."""
    queued_kib_max: int
    """Fetched ahead, by the whole consumer. The library's default is 64 MiB, more than the rest of the process."""
    partition_fetch_bytes: int = 1_048_576
    """Fetched of a partition at once, the library's default; the broker gives at least one batch."""
    quiet: bool = False
    """Says nothing of a broker that is away: whoever asks says it."""


CONSUMERS: Mapping[Use, ConsumerBounds] = {
    "flow": ConsumerBounds("", "error", fetch_wait_ms=500, queued_kib_max=8_192),
    "live": ConsumerBounds("adriatic-live", "error", fetch_wait_ms=100, queued_kib_max=8_192),
    # Records that expire under a person who reads are gone for them too.
    "tap": ConsumerBounds("adriatic-tap", "earliest", fetch_wait_ms=500, queued_kib_max=8_192),
    # Reads a record of a partition, for its timestamp.
    "watch": ConsumerBounds(
        "adriatic-watch", "earliest", fetch_wait_ms=10, queued_kib_max=1_024, partition_fetch_bytes=65_536, quiet=True
    ),
    "ledger": ConsumerBounds("adriatic-ledger", "earliest", fetch_wait_ms=50, queued_kib_max=65_536),
}


def make_consumer(
    settings: KafkaSettings,
    use: Use,
    *,
    group: str = "",
    on_error: OnError | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Consumer:
    """A consumer of committed records that commits nothing by itself and shows where each partition ends. `group` in
    the place of the name that the use has; `extra` is what membership of a group needs."""
    bounds = CONSUMERS[use]
    config = {
        **_common(settings, bounds.quiet),
        "group.id": group or bounds.group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,  # says how far a partition is read when its last entries are not records
        "auto.offset.reset": bounds.offset_reset,
        "isolation.level": "read_committed",
        "allow.auto.create.topics": False,
        "queued.max.messages.kbytes": bounds.queued_kib_max,
        "fetch.wait.max.ms": bounds.fetch_wait_ms,
        "max.partition.fetch.bytes": bounds.partition_fetch_bytes,
        "error_cb": on_error or _reporter(use, bounds.quiet),
        **(extra or {}),
    }
    return Consumer(config, logger=_LIBRARY_LOG)


def fetch(consumer: Consumer, wait_s: float, records_max: int) -> list[Message]:
    """What is there, at most `records_max`. `consume` waits until it has as many as it was asked for, so the wait is
    for the first one alone."""
    first = consumer.poll(wait_s)
    return [] if first is None else [first, *consumer.consume(records_max - 1, 0)]


def make_producer(settings: KafkaSettings, bounds: Mapping[str, Any], on_error: OnError | None = None) -> Producer:
    """A producer. `bounds` are all in `connectors/kafka/producer.py`, beside what they are for."""
    config = {**_common(settings), "error_cb": on_error or _reporter("producer"), **bounds}
    return Producer(config, logger=_LIBRARY_LOG)


class Admin:
    """Calls of administration, each with a client that may be replaced. Safe for any thread.

    A client keeps what it learnt (leader epochs, addresses) and asks with it for ever: after the broker was away, that
    is refused each time. A new one learns anew. `timeout_s` of one request, in seconds, is that of the settings where
    nothing is said: a request to stop waits as long at most.
    """

    def __init__(self, settings: KafkaSettings, timeout_s: float | None = None) -> None:
        self.timeout_s = timeout_s or settings.timeout_s
        self._where = settings.bootstrap_servers
        self._client = ReplaceableClient(
            "kafka", lambda: AdminClient(_common(settings, quiet=True), logger=_LIBRARY_LOG), ANSWER_S_MAX
        )

    def call(self, doing: str, request: Callable[[AdminClient], T]) -> T:
        """What `request` returns, which may be called twice. It bounds its own calls by `timeout_s`. Raises what
        `errors.py` says."""
        with translate(f"{doing} at {self._where}"):
            return self._client.ask(request)

    def result(self, future: Future[T]) -> T:
        """What the client promised. A little later than the client's own time-out, which says more."""
        return future.result(self.timeout_s + 1)


def _common(settings: KafkaSettings, quiet: bool = False) -> dict[str, Any]:
    common = {"socket.keepalive.enable": True, "reconnect.backoff.max.ms": RECONNECT_MS_MAX}
    return {**settings.client_config(), **common, **({"log_level": 0} if quiet else {})}


def _reporter(use: str, quiet: bool = False) -> OnError:
    """librdkafka goes on by itself after what it tells here: an outage becomes lag."""

    def report(error: KafkaError) -> None:
        if not quiet:
            log.info("broker error", client=use, code=error.name(), detail=error.str())

    return report


_LIBRARY_LOG = logging.getLogger("librdkafka")
