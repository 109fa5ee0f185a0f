"""Which tables are captured, and which are stopped (R11).

Owns the encoder of each relation, made when the stream first shows it (and again when its columns change), and the
reasons of those that are stopped. Refuses to write them down: `stopped` is called with each, before anything of a later
position is acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from connectors.capture import outbox, ports
from connectors.capture.checks import RECOVER, RESET
from connectors.capture.encoder import TableEncoder
from connectors.capture.pgoutput import Relation
from connectors.capture.values import Misfit
from runtime.errors import Halted, NotFound
from runtime.logs import get_logger
from schemas import catalog
from schemas.catalog import Schema
from schemas.codec import Encoder, SchemaLookup
from topics.catalog import Topic

log = get_logger("cdc")


class NoContract(Halted):
    """A published table without a topic or a schema."""

    code = "no-contract"


class ContractMismatch(Halted):
    """A table whose columns do not fit its contract."""

    code = "contract-mismatch"


class Truncated(Halted):
    """A table was truncated: no record of a keyed topic can say that."""

    code = "truncated"


@dataclass(frozen=True, slots=True)
class Contracts:
    """What records must look like: topics and schemas by name, and where ids come from."""

    topics: Mapping[str, Topic]
    lookup: SchemaLookup
    schemas: Callable[[str], Schema] = catalog.schema
    _known: dict[str, tuple[Encoder, Encoder]] = field(default_factory=dict)

    def encoders(self, topic: str) -> tuple[Encoder, Encoder]:
        """Make the encoders of key and value, their schema ids known: those are never asked for again, so that an
        outage of the registry does not touch what flows.

        Raises `NotFound` without a contract, and `DependencyUnavailable` when the registry cannot tell.
        """
        if (known := self._known.get(topic)) is not None:
            return known
        key, value = (
            Encoder(self.lookup, subject, self.schemas(subject))
            for subject in (catalog.subject_of(topic, "key"), catalog.subject_of(topic, "value"))
        )
        key.fetch_header()
        value.fetch_header()
        self._known[topic] = key, value
        return key, value


@dataclass(frozen=True, slots=True)
class SizedContracts:
    """Contracts, with as many partitions as are used."""

    topics: Mapping[str, Topic]
    inner: ports.TopicContracts

    def encoders(self, topic: str) -> tuple[Encoder, Encoder]:
        return self.inner.encoders(topic)


class Tables:
    """The relations of one session."""

    def __init__(
        self, contracts: ports.TopicContracts, router: ports.Router, database: str, stopped: Mapping[str, str]
    ) -> None:
        self._contracts = contracts
        self._router = router
        self._database = database
        self._stopped = dict(stopped)
        self._encoders: dict[int, TableEncoder] = {}
        self._outbox: tuple[int, outbox.OutboxRelation] | None = None
        self._names: dict[int, str] = {}

    @property
    def stopped(self) -> Mapping[str, str]:
        """Name and code of every stopped table."""
        return self._stopped

    def topic_of(self, name: str) -> str:
        return self._router.topic_of(name)

    def encoder(self, relation_id: int) -> TableEncoder | None:
        """None: the table is stopped."""
        return self._encoders.get(relation_id)

    def outbox(self, relation_id: int) -> outbox.OutboxRelation | None:
        """None: it is another table."""
        return self._outbox[1] if self._outbox is not None and self._outbox[0] == relation_id else None

    def name(self, relation_id: int) -> str:
        return self._names[relation_id]

    def stop(self, name: str, code: str) -> None:
        self._stopped[name] = code
        for relation_id, known in list(self._names.items()):
            if known == name:
                self._encoders.pop(relation_id, None)

    def learn(self, relation: Relation) -> TableEncoder | None:
        """A relation as the stream shows it. None when it was stopped before, and for the outbox. Raises `NoContract`
        or `ContractMismatch` for the caller to stop it, and `DependencyUnavailable`."""
        self._names[relation.relation_id] = relation.name
        if relation.name == outbox.TABLE:
            self._outbox = relation.relation_id, outbox.OutboxRelation(relation)
            return None
        self._encoders.pop(relation.relation_id, None)
        if relation.name in self._stopped:
            return None
        key, value = self._pair(relation)
        topic = self._contracts.topics[self.topic_of(relation.name)]
        try:
            encoder = TableEncoder(relation, topic, key, value, self._database, self._router)
        except Misfit as misfit:
            raise ContractMismatch(
                f"{relation.name} does not fit the contract of {topic.name}: {misfit}",
                hint=f"bring the table and schemas/avro/{topic.name}-value.avsc together; then {RESET}",
            ) from None
        if encoder.extra_columns:
            log.warning("columns without a contract", table=relation.name, columns=encoder.extra_columns)
        self._encoders[relation.relation_id] = encoder
        return encoder

    def _pair(self, relation: Relation) -> tuple[Encoder, Encoder]:
        topic = self.topic_of(relation.name)
        if topic not in self._contracts.topics:
            raise NoContract(
                f"{relation.name} is published, and there is no topics/{topic}.toml",
                hint=f"add it, then {RESET}; or take the table out of the publication, then {RECOVER}",
            )
        try:
            return self._contracts.encoders(topic)
        except NotFound as error:
            raise NoContract(f"{relation.name} is published: {error.detail}", hint=error.hint) from None
