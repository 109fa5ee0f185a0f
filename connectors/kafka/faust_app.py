"""The client that Faust brings, aiokafka's: the app with its safe settings, and what of it the agents' driver needs.

Owns Faust's settings and credentials, where its consumer begins, and what its messages and its end mean in our words.
Refuses to run anything: `streams/agent.py` does. Beside `clients.py` this is the only place that makes clients of
Kafka; Faust takes no other.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import faust
from faust.transport.drivers import aiokafka
from faust.types import TP
from faust.types.auth import SASLMechanism

from connectors.kafka.errors import map_aiokafka_error
from connectors.kafka.records import Record, TopicPartition
from connectors.kafka.source import HEARTBEAT_S, METADATA_S, SESSION_S
from runtime.errors import Misconfigured
from runtime.settings import KafkaSettings, Settings

REBALANCE_S = 60
"""Longest rebalance, in seconds: a member that has not given up its partitions by then is left out."""

Begin = Callable[[Sequence[TopicPartition]], dict[TopicPartition, int]]


class LedgerConsumer(aiokafka.Consumer):
    """Faust's consumer, which begins where `begin` says and not where the broker believes. `begin` may raise
    `StopRequested`."""

    def __init__(self, begin: Begin, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._begin = begin

    async def seek_to_committed(self) -> dict[TP, int]:
        at = await asyncio.to_thread(self._begin, [TopicPartition(*tp) for tp in self.assignment()])
        offsets = {TP(*source): offset for source, offset in at.items()}
        for tp, offset in offsets.items():
            await self._seek(tp, offset)
        return offsets


def describe_end(error: BaseException) -> str:
    """Why Faust ended, for people: what its client raised, however deep it is, in our words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Exception) and (ours := map_aiokafka_error(cause, "read from Kafka")) is not None:
            return str(ours)
        cause = cause.__cause__
    return "it did not come up in time" if isinstance(error, TimeoutError) else type(error).__name__


def record_of(message: Any) -> Record:
    """A record of ours from Faust's message."""
    headers = message.headers or ()
    pairs = headers.items() if isinstance(headers, dict) else headers
    timestamp_ms = None if message.timestamp is None else round(message.timestamp * 1000)
    carried = tuple((str(name), value) for name, value in pairs)
    at = (message.topic, message.partition, message.offset)
    return Record(*at, timestamp_ms, message.key, message.value, carried)


def make_app(group: str, instance: str, settings: Settings, begin: Begin) -> faust.App:
    """A Faust app that neither declares topics, keeps tables, nor serves anything. `instance` is the process: a restart
    within `SESSION_S` gets its partitions back without a rebalance. `begin` says where each partition is read on."""
    app = faust.App(
        group,
        broker=[f"kafka://{one.strip()}" for one in settings.kafka.bootstrap_servers.split(",")],
        broker_credentials=credentials(settings.kafka),
        consumer_group_instance_id=instance,
        consumer_metadata_max_age_ms=round(METADATA_S * 1000),
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=SESSION_S,
        broker_rebalance_timeout=REBALANCE_S,
        broker_heartbeat_interval=HEARTBEAT_S,
        broker_commit_interval=1.0,
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        producer_threaded=False,
        processing_guarantee="at_least_once",
        store="memory://",
        web_enabled=False,
        datadir=settings.home / "faust",
        loghandlers=[],
    )
    app.transport.Consumer = partial(LedgerConsumer, begin)  # type: ignore[misc, assignment]  # Faust asks for it there
    return app


def leave_at_stop(app: faust.App) -> None:
    """Make a clean stop tell the group, so that the others have the partitions at once. Faust's client leaves no group
    as a static member, and has no call for it: without its name it is an ordinary member, which does."""
    with suppress(AttributeError):  # it never came so far as to join
        consumer: Any = app.consumer
        consumer._thread._consumer._coordinator._group_instance_id = None


def credentials(settings: KafkaSettings) -> Any:
    """What librdkafka calls `security.protocol` and `sasl.*`, in Faust's words. Raises `Misconfigured` for what Faust's
    client cannot do."""
    config = settings.client_config()
    protocol = config.get("security.protocol", "PLAINTEXT").upper()
    context = ssl.create_default_context(cafile=config.get("ssl.ca.location")) if "SSL" in protocol else None
    if protocol == "PLAINTEXT":
        return None
    if protocol == "SSL":
        return faust.SSLCredentials(context)
    mechanism = config.get("sasl.mechanism", config.get("sasl.mechanisms", "")).upper()
    if protocol not in ("SASL_PLAINTEXT", "SASL_SSL") or mechanism not in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        raise Misconfigured(
            f"agents cannot speak {protocol} {mechanism}".rstrip(),
            hint="PLAINTEXT, SSL, or SASL with PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
        )
    return faust.SASLCredentials(
        username=config.get("sasl.username", ""),
        password=config.get("sasl.password", ""),
        mechanism=SASLMechanism(mechanism),
        ssl_context=context,
    )
