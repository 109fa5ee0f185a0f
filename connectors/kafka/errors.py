"""What the errors of Kafka's clients mean here: one table, whoever asks.

Owns the meaning of every code of librdkafka and of the broker (both name the broker's codes by the same numbers, and
so does aiokafka, which Faust uses), and of what aiokafka raises without one. Refuses to decide what happens next: that
is in the class (`runtime/errors.py`). A test walks both libraries, so that no code gets its meaning by chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Literal

from confluent_kafka import KafkaError, KafkaException

from connectors.meanings import by_name
from runtime.errors import AdriaticError, Defect, DependencyUnavailable, Fenced, Halted, Misconfigured, Unprepared

KAFKA: Final = {"dependency": "kafka"}

Meaning = Literal["away", "unprepared", "refused", "fenced", "lost", "record", "defect"]

_CODES: Final[Mapping[Meaning, str]] = {
    # The cluster or the way to it: passes by itself. What a client cannot do with its own state any more is here too:
    # a new client can. `_NOENT` is what librdkafka says while a new topic has no leader yet.
    "away": """
        _ALL_BROKERS_DOWN _ASSIGNMENT_LOST _BAD_COMPRESSION _BAD_MSG _CRIT_SYS_RESOURCE _DESTROY _DESTROY_BROKER _FAIL
        _FATAL _FS _GAPLESS_GUARANTEE _INCONSISTENT _INTR _IN_PROGRESS _ISR_INSUFF _MAX_POLL_EXCEEDED _MSG_TIMED_OUT
        _NODE_UPDATE _NOENT _OUTDATED _PARTIAL _PREV_IN_PROGRESS _PURGE_INFLIGHT _PURGE_QUEUE _QUEUE_FULL _RESOLVE
        _RETRY _TIMED_OUT _TIMED_OUT_QUEUE _TRANSPORT _UNDERFLOW _UNKNOWN_BROKER _UNKNOWN_GROUP _WAIT_CACHE _WAIT_COORD
        UNKNOWN INVALID_MSG LEADER_NOT_AVAILABLE NOT_LEADER_FOR_PARTITION REQUEST_TIMED_OUT BROKER_NOT_AVAILABLE
        REPLICA_NOT_AVAILABLE STALE_CTRL_EPOCH NETWORK_EXCEPTION COORDINATOR_LOAD_IN_PROGRESS COORDINATOR_NOT_AVAILABLE
        NOT_COORDINATOR NOT_ENOUGH_REPLICAS NOT_ENOUGH_REPLICAS_AFTER_APPEND ILLEGAL_GENERATION UNKNOWN_MEMBER_ID
        REBALANCE_IN_PROGRESS NOT_CONTROLLER OUT_OF_ORDER_SEQUENCE_NUMBER DUPLICATE_SEQUENCE_NUMBER INVALID_TXN_STATE
        INVALID_PRODUCER_ID_MAPPING CONCURRENT_TRANSACTIONS TRANSACTION_COORDINATOR_FENCED OPERATION_NOT_ATTEMPTED
        KAFKA_STORAGE_ERROR LOG_DIR_NOT_FOUND UNKNOWN_PRODUCER_ID REASSIGNMENT_IN_PROGRESS GROUP_ID_NOT_FOUND
        FETCH_SESSION_ID_NOT_FOUND INVALID_FETCH_SESSION_EPOCH LISTENER_NOT_FOUND FENCED_LEADER_EPOCH
        UNKNOWN_LEADER_EPOCH STALE_BROKER_EPOCH OFFSET_NOT_AVAILABLE MEMBER_ID_REQUIRED PREFERRED_LEADER_NOT_AVAILABLE
        GROUP_MAX_SIZE_REACHED ELIGIBLE_LEADERS_NOT_AVAILABLE UNSTABLE_OFFSET_COMMIT THROTTLING_QUOTA_EXCEEDED
        INCONSISTENT_TOPIC_ID FENCED_MEMBER_EPOCH UNRELEASED_INSTANCE_ID STALE_MEMBER_EPOCH UNKNOWN_CONTROLLER_ID
        TRANSACTION_ABORTABLE REBOOTSTRAP_REQUIRED SHARE_SESSION_NOT_FOUND INVALID_SHARE_SESSION_EPOCH
        SHARE_SESSION_LIMIT_REACHED
    """,
    # The cluster is there, and somebody must do something to it or to our settings.
    "unprepared": """
        _AUTHENTICATION _SSL _UNKNOWN_PARTITION _UNKNOWN_TOPIC _UNSUPPORTED_FEATURE
        UNKNOWN_TOPIC_OR_PART UNKNOWN_TOPIC_ID TOPIC_AUTHORIZATION_FAILED GROUP_AUTHORIZATION_FAILED
        CLUSTER_AUTHORIZATION_FAILED TRANSACTIONAL_ID_AUTHORIZATION_FAILED DELEGATION_TOKEN_AUTHORIZATION_FAILED
        SASL_AUTHENTICATION_FAILED UNSUPPORTED_SASL_MECHANISM ILLEGAL_SASL_STATE SECURITY_DISABLED UNSUPPORTED_VERSION
        UNSUPPORTED_FOR_MESSAGE_FORMAT UNSUPPORTED_COMPRESSION_TYPE DELEGATION_TOKEN_AUTH_DISABLED
        DELEGATION_TOKEN_NOT_FOUND DELEGATION_TOKEN_OWNER_MISMATCH DELEGATION_TOKEN_REQUEST_NOT_ALLOWED
        DELEGATION_TOKEN_EXPIRED INVALID_PRINCIPAL_TYPE UNACCEPTABLE_CREDENTIAL PRINCIPAL_DESERIALIZATION_FAILURE
    """,
    # What a topic's file or the settings ask for is not to be had: asking again gives the same answer.
    "refused": """
        INVALID_REPLICATION_FACTOR INVALID_CONFIG INVALID_PARTITIONS INVALID_REPLICA_ASSIGNMENT POLICY_VIOLATION
        TOPIC_EXCEPTION TOPIC_ALREADY_EXISTS INVALID_SESSION_TIMEOUT INVALID_TRANSACTION_TIMEOUT
    """,
    "fenced": "_FENCED INVALID_PRODUCER_EPOCH PRODUCER_FENCED FENCED_INSTANCE_ID",
    # The log does not have this offset any more, or not yet.
    "lost": "_AUTO_OFFSET_RESET _LOG_TRUNCATION _NO_OFFSET OFFSET_OUT_OF_RANGE",
    # The broker does not take this record, and we sent it: our check before sending and the broker's rules differ.
    "record": "MSG_SIZE_TOO_LARGE RECORD_LIST_TOO_LARGE INVALID_MSG_SIZE INVALID_RECORD INVALID_TIMESTAMP",
    # A call that we should not have made, or news that was taken for an error.
    "defect": """
        _APPLICATION _ASSIGN_PARTITIONS _CONFLICT _EXISTING_SUBSCRIPTION _INVALID_ARG _INVALID_DIFFERENT_RECORD
        _INVALID_TYPE _KEY_DESERIALIZATION _KEY_SERIALIZATION _NOOP _NOT_CONFIGURED _NOT_IMPLEMENTED
        _PARTITION_EOF _READ_ONLY _REVOKE_PARTITIONS _STATE _UNKNOWN_PROTOCOL _VALUE_DESERIALIZATION
        _VALUE_SERIALIZATION
        NO_ERROR OFFSET_METADATA_TOO_LARGE INVALID_REQUIRED_ACKS INCONSISTENT_GROUP_PROTOCOL INVALID_GROUP_ID
        INVALID_COMMIT_OFFSET_SIZE INVALID_REQUEST NON_EMPTY_GROUP TOPIC_DELETION_DISABLED ELECTION_NOT_NEEDED
        NO_REASSIGNMENT_IN_PROGRESS GROUP_SUBSCRIBED_TO_TOPIC RESOURCE_NOT_FOUND DUPLICATE_RESOURCE
        INCONSISTENT_VOTER_SET INVALID_UPDATE_VERSION FEATURE_UPDATE_FAILED UNSUPPORTED_ASSIGNOR
        MISMATCHED_ENDPOINT_TYPE UNSUPPORTED_ENDPOINT_TYPE UNKNOWN_SUBSCRIPTION_ID TELEMETRY_TOO_LARGE
        INVALID_REGISTRATION INVALID_RECORD_STATE FENCED_STATE_EPOCH INVALID_VOTER_KEY DUPLICATE_VOTER VOTER_NOT_FOUND
        INVALID_REGULAR_EXPRESSION STREAMS_INVALID_TOPOLOGY STREAMS_INVALID_TOPOLOGY_EPOCH STREAMS_TOPOLOGY_FENCED
    """,
}

MEANINGS: Final[Mapping[int, Meaning]] = {
    getattr(KafkaError, name): meaning for name, meaning in by_name(_CODES).items()
}

AIOKAFKA: Final[Mapping[str, Meaning]] = by_name(
    {
        "away": """
            BrokerResponseError Cancelled CommitFailedError ConsumerStoppedError CorrelationIdError
            KafkaConnectionError KafkaError KafkaProtocolError KafkaTimeoutError KafkaUnavailableError
            MetadataEmptyBrokerList NoBrokersAvailable NodeNotReadyError QuotaViolationError StaleMetadata
            TooManyInFlightRequests
        """,
        "unprepared": """
            AuthenticationFailedError AuthenticationMethodNotSupported IncompatibleBrokerVersion
            UnrecognizedBrokerVersion UnsupportedCodecError
        """,
        "fenced": "ProducerFenced",
        "lost": "NoOffsetForPartitionError",
        "record": "RecordTooLargeError",
        "defect": """
            IllegalArgumentError IllegalOperation IllegalStateError KafkaConfigurationError ProducerClosed
        """,
    }
)
"""What aiokafka raises without a number of the broker's, by the name of the class."""

_HINTS: Final[Mapping[Meaning, str]] = {
    "away": "is the broker running, and is kafka.bootstrap_servers right?",
    "unprepared": "run `adriatic topics apply`, and compare the [kafka] settings with what the broker allows",
    "refused": "compare the [kafka] settings and the topic's file with the cluster",
    "fenced": "another process with this name is running; this one ends",
    "lost": "the records expired before they were processed, or the topic was made anew",
    "record": "the broker's own limits and rules are narrower than the topic's file: compare them",
    "defect": "this is a fault in Adriatic: its log has more",
}
_CLASSES: Final[Mapping[Meaning, type[AdriaticError]]] = {
    "away": DependencyUnavailable,
    "unprepared": Unprepared,
    "refused": Misconfigured,
    "fenced": Fenced,
    "lost": Halted,
    "record": Halted,
    "defect": Defect,
}


def meaning_of(code: int) -> Meaning:
    """A code that is younger than this table is taken for an outage: it makes lag, never a loss (law 7)."""
    return MEANINGS.get(code, "away")


def is_lost(error: KafkaError) -> bool:
    """Whether the log does not have the offset that was asked for."""
    return meaning_of(error.code()) == "lost"


def map_error(error: KafkaError, doing: str) -> AdriaticError:
    """Our error for one of librdkafka or the broker; `doing` says what was tried."""
    return _make(meaning_of(error.code()), f"{doing}: {error.str()}")


def map_aiokafka_error(error: BaseException, doing: str) -> AdriaticError | None:
    """Our error for one that Faust lets through from aiokafka; None when it is none of these."""
    for cls in type(error).__mro__:
        if cls.__module__ == "aiokafka.errors":
            number: int | None = getattr(cls, "errno", None)
            meaning = AIOKAFKA.get(cls.__name__) if number is None else MEANINGS.get(number)
            if meaning is not None:
                return _make(meaning, f"{doing}: {type(error).__name__}")
    return None


@contextmanager
def translate(doing: str) -> Iterator[None]:
    """Run a block that calls librdkafka. A future without a result in time is an outage too."""
    try:
        yield
    except KafkaException as error:
        raise map_error(error.args[0], doing) from error
    except TimeoutError as error:
        raise _make("away", f"{doing}: no answer in time") from error


def _make(meaning: Meaning, detail: str) -> AdriaticError:
    return _CLASSES[meaning](detail, hint=_HINTS[meaning], coordinates=KAFKA)
