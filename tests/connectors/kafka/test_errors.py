"""Every code of librdkafka and the broker, and every exception of aiokafka, has one meaning, chosen on purpose."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import aiokafka.errors
import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors.kafka import clients, errors
from runtime.errors import (
    AdriaticError,
    DataError,
    Defect,
    DependencyUnavailable,
    Fenced,
    Halted,
    Misconfigured,
    Unprepared,
)
from runtime.settings import KafkaSettings

CODES = {
    name: value
    for name in dir(KafkaError)
    if name.isupper() and isinstance(value := getattr(KafkaError, name), int) and not name.startswith("__")
}
AIOKAFKA = [
    value
    for value in vars(aiokafka.errors).values()
    if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == "aiokafka.errors"
]


def test_every_code_has_one_meaning() -> None:
    listed = [name for names in errors._CODES.values() for name in names.split()]
    assert sorted(listed) == sorted(set(listed)), "a code with two meanings"
    assert set(listed) == set(CODES), "a code that nobody thought of, or one that is gone"


@pytest.mark.parametrize("name", sorted(CODES))
def test_every_code_becomes_an_error_of_ours_that_no_record_is_blamed_for(name: str) -> None:
    ours = errors.map_error(KafkaError(CODES[name]), "read")
    assert isinstance(ours, AdriaticError)
    assert not isinstance(ours, DataError), "what a broker says is never a record's fault (law 7)"
    assert ours.detail.startswith("read: ")
    assert ours.hint
    assert ours.coordinates == errors.KAFKA


@pytest.mark.parametrize("kind", AIOKAFKA, ids=lambda kind: kind.__name__)
def test_every_exception_of_aiokafka_is_in_the_table_itself(kind: type[Exception]) -> None:
    number = vars(kind).get("errno")
    assert number in errors.MEANINGS if isinstance(number, int) else kind.__name__ in errors.AIOKAFKA
    error = kind.__new__(kind)
    error.args = ("said",)
    assert isinstance(errors.map_aiokafka_error(error, "read"), AdriaticError)


def test_what_is_not_of_aiokafka_has_no_meaning_here() -> None:
    assert errors.map_aiokafka_error(ValueError("?"), "read") is None


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (KafkaError._TRANSPORT, DependencyUnavailable),
        (KafkaError.REQUEST_TIMED_OUT, DependencyUnavailable),
        (KafkaError.FENCED_LEADER_EPOCH, DependencyUnavailable),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, Unprepared),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, Unprepared),
        (KafkaError.SASL_AUTHENTICATION_FAILED, Unprepared),
        (KafkaError.INVALID_REPLICATION_FACTOR, Misconfigured),
        (KafkaError.PRODUCER_FENCED, Fenced),
        (KafkaError.OFFSET_OUT_OF_RANGE, Halted),
        (KafkaError.MSG_SIZE_TOO_LARGE, Halted),
        (KafkaError._INVALID_ARG, Defect),
    ],
)
def test_what_it_comes_to(code: int, expected: type[AdriaticError]) -> None:
    assert type(errors.map_error(KafkaError(code), "do it")) is expected


def test_a_code_from_the_future_is_an_outage() -> None:
    assert errors.meaning_of(9_999) == "away"


def test_a_client_whose_call_failed_is_not_used_again() -> None:
    admin = clients.Admin(KafkaSettings(bootstrap_servers="127.0.0.1:1"), timeout_s=0.1)
    used: list[Any] = []

    def fail(client: Any) -> None:
        used.append(client)
        raise KafkaException(KafkaError(KafkaError.FENCED_LEADER_EPOCH))

    def wait(client: Any) -> None:
        used.append(client)
        Future().result(0)

    for request in (fail, wait):
        with pytest.raises(DependencyUnavailable, match=r"^look at 127\.0\.0\.1:1: "):
            admin.call("look", request)
    admin.call("look", used.append)
    admin.call("look", used.append)
    assert used[0] is not used[1] is not used[2]
    assert used[2] is used[3]


@pytest.mark.parametrize("use", sorted(clients.CONSUMERS))
def test_every_use_has_a_consumer_that_the_library_takes(use: clients.Use) -> None:
    consumer = clients.make_consumer(KafkaSettings(bootstrap_servers="127.0.0.1:1"), use, group="g")
    consumer.close()
