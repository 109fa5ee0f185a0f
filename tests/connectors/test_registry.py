"""The registry client: which failures are the record's and which the world's, and the same against a real registry."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from connectors import registry as module
from connectors.registry import RegistryClient
from runtime.errors import (
    AdriaticError,
    Conflict,
    DependencyUnavailable,
    InvalidInput,
    Misconfigured,
    Undecodable,
    UnknownSchema,
)
from runtime.settings import RegistrySettings, Settings
from schemas.codec import Decoder, Encoder

SETTINGS = RegistrySettings(url="http://registry.test/apis/ccompat/v7")
OLD: dict[str, Any] = {
    "type": "record",
    "name": "Thing",
    "namespace": "t",
    "fields": [{"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"], "default": None}],
}
NEW: dict[str, Any] = {**OLD, "fields": [*OLD["fields"], {"name": "extra", "type": "int", "default": 7}]}
BAD: dict[str, Any] = {**OLD, "fields": [{"name": "id", "type": "string"}]}


def client(answer: Callable[[httpx.Request], httpx.Response], **settings: Any) -> RegistryClient:
    return RegistryClient(SETTINGS.model_copy(update=settings), transport=httpx.MockTransport(answer))


def answering(status: int, body: Any) -> RegistryClient:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client(lambda _: httpx.Response(status, content=content))


def test_only_a_registry_that_says_so_makes_a_schema_unknown() -> None:
    with pytest.raises(UnknownSchema):
        answering(404, {"error_code": 40403, "message": "Schema not found"}).schema(7)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b""),
        (404, b"<html>not here</html>"),
        (404, {"detail": "Not Found"}),
        (404, {"error_code": 404, "message": "HTTP 404 Not Found"}),
        (401, {"error_code": 401}),
        (403, b""),
        (429, {"error_code": 42900}),
        (500, {"error_code": 50001}),
        (502, b"bad gateway"),
        (200, b"not json"),
        (200, b'"' + b"x" * module.SCHEMA_BYTES_MAX + b'"'),
    ],
)
def test_everything_else_is_the_worlds_fault(status: int, body: Any) -> None:
    with pytest.raises(DependencyUnavailable):
        answering(status, body).schema(7)


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("garbage"),
        httpx.PoolTimeout("busy"),
        httpx.TooManyRedirects("loop"),
        httpx.DecodingError("gzip"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_failure_of_the_transport_is_an_outage(error: httpx.HTTPError) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(DependencyUnavailable, match=r"registry.test"):
        client(fail).schema(7)


class Pieces(httpx.SyncByteStream):
    """A body that comes in pieces and never ends."""

    def __init__(self, piece: bytes, pause_s: float = 0.0) -> None:
        self._piece = piece
        self._pause_s = pause_s
        self.sent = 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.sent += len(self._piece)
            yield self._piece
            time.sleep(self._pause_s)


def test_an_answer_that_never_ends_is_an_outage_whether_it_comes_fast_or_slowly() -> None:
    fast, slow = Pieces(b" " * 65_536), Pieces(b" ", pause_s=0.01)
    with pytest.raises(DependencyUnavailable):
        client(lambda _: httpx.Response(200, stream=fast)).subjects()
    assert fast.sent <= module.SCHEMA_BYTES_MAX + 2 * 65_536
    with pytest.raises(DependencyUnavailable, match=r"not read within 0\.1 s"):
        client(lambda _: httpx.Response(200, stream=slow), timeout_s=0.1).subjects()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"schema": "{}", "schemaType": "PROTOBUF"}, "PROTOBUF"),
        ({"schema": "{}", "references": [{"name": "x", "subject": "x", "version": 1}]}, "refers to other subjects"),
        ({"schema": "{not json"}, "not JSON"),
        ({"other": 1}, "not JSON"),
    ],
)
def test_a_schema_that_is_not_ours_to_read_is_the_records_fault(answer: Any, said: str) -> None:
    with pytest.raises(Undecodable, match=said):
        answering(200, answer).schema(7)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [(409, 409, Conflict), (422, 42201, InvalidInput), (422, None, DependencyUnavailable)],
)
def test_a_refused_schema_is_the_callers_fault(status: int, code: int | None, error: type[AdriaticError]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/versions"):
            return httpx.Response(status, json={"error_code": code, "message": "no"} if code else {})
        return httpx.Response(404, json={"error_code": 40401, "message": "no subject"})

    with pytest.raises(error):
        client(answer).register("thing-value", OLD)


def test_a_contract_that_nobody_registered_is_not_the_records_fault() -> None:
    with pytest.raises(DependencyUnavailable) as raised:
        answering(404, {"error_code": 40401}).id_of("thing-value", OLD)
    assert "schemas register" in raised.value.hint


def test_an_id_is_asked_for_once_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCHEMAS_MAX", 2)
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path.rpartition("/")[2])
        return httpx.Response(200, json={"schema": json.dumps(OLD)})

    registry = client(answer)
    for schema_id in (1, 1, 2, 2, 3, 3, 1):
        assert registry.schema(schema_id) == OLD
    assert asked == ["1", "2", "3", "1"]


def test_a_primitive_schema_is_a_schema() -> None:
    assert answering(200, {"schema": '"string"'}).schema(1) == {"type": "string"}


def test_credentials_are_sent_and_never_shown() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization", ""))
        return httpx.Response(401, json={"error_code": 401})

    with pytest.raises(DependencyUnavailable) as raised:
        client(answer, username="me", password=SecretStr("hunter2")).subjects()
    assert seen[0].startswith("Basic ")
    assert "hunter2" not in str(raised.value)
    assert "password" in raised.value.hint


@pytest.mark.parametrize("url", ["http://[", "registry:8081"])
def test_an_address_that_is_none_is_said_at_once(url: str) -> None:
    with pytest.raises((Misconfigured, DependencyUnavailable)):
        RegistryClient(RegistrySettings.model_construct(url=url)).subjects()


# --- a real registry ------------------------------------------------------------------------------------------------


@pytest.fixture
def registry(stack: Settings) -> Iterator[RegistryClient]:
    with RegistryClient(stack.registry) as opened:
        yield opened


@pytest.fixture
def subject() -> str:
    return f"test-{uuid4().hex[:12]}-value"


@pytest.mark.stack
def test_registering_is_idempotent(registry: RegistryClient, subject: str) -> None:
    assert registry.find(subject, OLD) is None
    assert registry.versions(subject) == []
    first = registry.register(subject, OLD)
    again = registry.register(subject, OLD)
    assert first.changed
    assert not again.changed
    assert first.schema_id == again.schema_id == registry.id_of(subject, OLD)
    assert registry.schema(first.schema_id) == OLD
    assert registry.version(subject, registry.versions(subject)[0]) == OLD
    assert subject in registry.subjects()


@pytest.mark.stack
def test_the_registry_holds_us_to_full_transitive(registry: RegistryClient, subject: str) -> None:
    registry.register(subject, OLD)
    assert registry.set_level(subject)
    assert not registry.set_level(subject)
    assert registry.level(subject) == "FULL_TRANSITIVE"
    assert registry.check(subject, NEW) == []
    assert registry.check(subject, BAD) != []
    with pytest.raises(Conflict):
        registry.register(subject, BAD)
    registry.register(subject, NEW)
    assert len(registry.versions(subject)) == 2


@pytest.mark.stack
def test_a_subject_that_does_not_exist_has_no_level_and_takes_anything(registry: RegistryClient, subject: str) -> None:
    assert registry.level(subject) is None
    assert registry.check(subject, OLD) == []


@pytest.mark.stack
def test_an_id_that_the_real_registry_does_not_have_is_unknown(registry: RegistryClient) -> None:
    with pytest.raises(UnknownSchema):
        registry.schema(2_000_000_000)


@pytest.mark.stack
def test_a_wrong_path_is_an_outage_and_loses_no_record(stack: Settings) -> None:
    settings = stack.registry.model_copy(update={"url": f"{stack.registry.url}/nowhere"})
    with RegistryClient(settings) as registry, pytest.raises(DependencyUnavailable):
        registry.schema(1)


@pytest.mark.stack
def test_readers_of_either_version_read_both(registry: RegistryClient, subject: str) -> None:
    for schema in (OLD, NEW):
        registry.register(subject, schema)
    old = Encoder(registry, subject, OLD).encode({"id": 1, "name": "a"})
    new = Encoder(registry, subject, NEW).encode({"id": 2, "name": None, "extra": 9})
    assert Decoder(registry).decode(old) == {"id": 1, "name": "a"}
    assert Decoder(registry).decode(new) == {"id": 2, "name": None, "extra": 9}


@pytest.mark.stack
def test_a_stock_client_reads_what_we_write(stack: Settings, registry: RegistryClient) -> None:
    """confluent_kafka's own deserializer, which shares no code with ours."""
    from datetime import UTC, datetime

    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroDeserializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    from schemas import catalog

    topic = "embeddings.requested"
    subject = catalog.subject_of(topic, "value")
    registry.register(subject, catalog.schema(subject))
    tenant, event, adr = (uuid4() for _ in range(3))
    encoded = Encoder(registry, subject).encode_json(
        {
            "event_id": str(event),
            "tenant_id": str(tenant),
            "occurred_at": 1_764_000_000_000_001,
            "space": "minilm",
            "kind": "adr",
            "source_id": str(adr),
            "version": 3,
            "items": [{"text_hash": "AAEC", "text": "Why is there no dual write? Größe, 日本"}],
        }
    )
    with SchemaRegistryClient({"url": stack.registry.url}) as stock:
        read = AvroDeserializer(stock)(encoded, SerializationContext(topic, MessageField.VALUE))
    assert read == {
        "event_id": event,
        "tenant_id": tenant,
        "occurred_at": datetime(2025, 11, 24, 16, 0, 0, 1, tzinfo=UTC),
        "space": "minilm",
        "kind": "adr",
        "source_id": adr,
        "version": 3,
        "items": [{"text_hash": b"\x00\x01\x02", "text": "Why is there no dual write? Größe, 日本"}],
    }
