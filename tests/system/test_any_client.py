"""The topics are for everybody: a stock Avro consumer with nothing of ours reads them."""

from __future__ import annotations

import uuid

import pytest
from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from runtime.deadline import Deadline
from tests.system.conftest import FINDABLE_MAX_S, Tenant, World

pytestmark = pytest.mark.stack


def test_a_stock_avro_consumer_reads_the_versions_with_the_registry(world: World, tenant: Tenant) -> None:
    made = tenant.create("# Write a dozen words\n\nThey are read back by somebody else's client.\n")
    topic = "adriatic.app.adr_versions"
    registry = SchemaRegistryClient({"url": world.settings.registry.url})
    decode = AvroDeserializer(registry)
    consumer = Consumer(
        {
            "bootstrap.servers": world.settings.kafka.bootstrap_servers,
            "group.id": f"analyst-{uuid.uuid4().hex}",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    try:
        found = None
        deadline = Deadline.after(FINDABLE_MAX_S)
        while found is None and not deadline.passed:
            message = consumer.poll(1.0)
            if message is None or message.error():
                continue
            if dict(message.headers() or ()).get("adriatic.tenant") != tenant.tenant_id.encode():
                continue  # others write here too, and not all of it is Avro
            key = decode(message.key(), SerializationContext(topic, MessageField.KEY))
            value = decode(message.value(), SerializationContext(topic, MessageField.VALUE))
            if value is not None and key["adr_id"] == made["adr_id"]:
                found = key, value
        assert found is not None
        key, value = found
        assert key == {"tenant_id": tenant.tenant_id, "adr_id": made["adr_id"], "version": 1}
        assert value["op"] == "c"
        assert value["after"]["title"] == "Write a dozen words"
        assert value["source"]["table"] == "adr_versions"
    finally:
        consumer.close()
        registry.close()
