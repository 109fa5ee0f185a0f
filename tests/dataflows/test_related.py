"""The lists are what each pair by itself gives, whatever the order, repetition, edits, deletes and links."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.kafka.records import Record
from connectors.postgres.connections import Connection
from dataflows import nearness, oracle_related, related, related_candidates, related_lists
from dataflows.embed import Embed, complete, store
from dataflows.flow import Event
from dataflows.index import Index
from dataflows.related import Related
from runtime.errors import Unprocessable
from runtime.settings import Settings
from schemas.sources import SourceKey
from tests.connectors.embedders.stand_in import FakeEmbedder
from tests.dataflows.world import DOCUMENTS_TOPIC, VERSIONS_TOPIC, DocumentVersion, Version, envelope

TENANTS = [uuid.UUID(int=number) for number in (1, 2)]
ADRS = [uuid.UUID(int=number) for number in range(11, 17)]
BODIES = [
    "Kafka keeps partitions of a ledger.",
    "Kafka keeps offsets; a ledger counts.",
    "Postgres isolates tenants by policies.",
    "Tenants share one budget ledger in Postgres.",
    "# Status\n\nAccepted\n",
]


def event(value: Any, contract: str) -> Event:
    return Event(Record("t", 0, 0, 0, None, b""), value, contract)


def state(
    tenant_id: uuid.UUID, source_id: uuid.UUID, *, words: int = 1, meaning: int | None = 1, kind: str = "adr"
) -> Event:
    """A change of mv.search_state, as far as the flow reads it."""
    row = {"tenant_id": str(tenant_id), "kind": kind, "source_id": str(source_id), "deleted": False}
    after = row | {"words_version": words, "meaning_version": meaning}
    return event({"op": "u", "before": None, "after": after}, related.STATE_TOPIC)


def link(tenant_id: uuid.UUID, adr_id: uuid.UUID, op: str = "c") -> Event:
    row = {"tenant_id": str(tenant_id), "adr_id": str(adr_id), "kind": "amends", "target": "x"}
    change = {"op": op, "before": row if op == "d" else None, "after": None if op == "d" else row}
    return event(change, related.LINKS_TOPIC)


def test_a_version_counts_once_it_is_complete_and_links_count_at_once() -> None:
    tenant, one, other = TENANTS[0], ADRS[0], ADRS[1]
    effects = Related().transform(
        [state(tenant, one, words=2, meaning=1), state(tenant, other), state(tenant, other), link(tenant, one)]
    )
    assert effects == related.RelatedEffects((SourceKey(tenant, "adr", other),), (SourceKey(tenant, "adr", one),))
    gone = {"tenant_id": str(tenant), "kind": "adr", "source_id": str(one)}
    erased = event({"op": "d", "before": gone, "after": None}, related.STATE_TOPIC)
    assert Related().transform([erased, link(tenant, other, "d")]) == (
        related.RelatedEffects((SourceKey(tenant, "adr", one),), (SourceKey(tenant, "adr", other),))
    )
    deleted = state(tenant, one, words=3, meaning=1)
    deleted.value["after"]["deleted"] = True
    assert Related().transform([deleted]).texts == (SourceKey(tenant, "adr", one),)


def test_a_change_that_cannot_be_is_the_fault_of_its_event() -> None:
    with pytest.raises(Unprocessable, match="kind t"):
        Related().transform([event({"op": "t"}, related.STATE_TOPIC)])


# --- on a database --------------------------------------------------------------------------------------------------


class Tables:
    """What the flow reads, as the flows before it and the API write it; and the flow, step by step."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.embed = Embed(FakeEmbedder())
        self.embed.start(connection)
        self.versions: dict[tuple[uuid.UUID, uuid.UUID], int] = {}

    def write(
        self,
        tenant_id: uuid.UUID,
        adr_id: uuid.UUID,
        body: str,
        change: str = "update",
        title: str = "",
        status: str = "accepted",
    ) -> Event:
        """The next version, findable by words and meaning."""
        number = self.versions[tenant_id, adr_id] = self.versions.get((tenant_id, adr_id), 0) + 1
        title = title or body[:30] or "Untitled"
        version = Version(tenant_id, adr_id, number, title=title, body=body, change=change, status=status)
        with as_api(self.connection, tenant_id):
            _head(self.connection, tenant_id, adr_id)
        self.show(SourceKey(tenant_id, "adr", adr_id), event(envelope(version), VERSIONS_TOPIC))
        return state(tenant_id, adr_id)

    def show(self, source: SourceKey, change: Event) -> None:
        """Make a version findable by words and meaning."""
        index = Index()
        index.apply(self.connection, index.transform([change]))
        for chunk in index.transform([change]).versions[0].chunks:
            vector = FakeEmbedder().embed([chunk.text])[0]
            store(self.connection, FakeEmbedder().space.name, {(source.tenant_id, chunk.text_hash): vector})
        complete(self.connection, [source])

    def delete(self, tenant_id: uuid.UUID, adr_id: uuid.UUID) -> Event:
        return self.write(tenant_id, adr_id, "", "delete")

    def link(self, tenant_id: uuid.UUID, adr_id: uuid.UUID, target_id: uuid.UUID, kind: str = "amends") -> Event:
        with as_api(self.connection, tenant_id):
            for one in (adr_id, target_id):
                _head(self.connection, tenant_id, one)
            self.connection.execute(
                "insert into app.adr_links (tenant_id, adr_id, kind, target, target_id) values (%s, %s, %s, %s, %s) "
                "on conflict do nothing",
                [tenant_id, adr_id, kind, str(target_id), target_id],
            )
        return link(tenant_id, adr_id)

    def unlink(self, tenant_id: uuid.UUID, adr_id: uuid.UUID) -> Event:
        with as_api(self.connection, tenant_id):
            # The role of this connection sees every tenant's, and there is an event of this one's alone.
            self.connection.execute(
                "delete from app.adr_links where tenant_id = %s and adr_id = %s", [tenant_id, adr_id]
            )
        return link(tenant_id, adr_id, "d")

    def step(self, events: list[Event]) -> None:
        flow = Related()
        flow.apply(self.connection, flow.transform(events))

    def differences(self) -> list[Any]:
        space = FakeEmbedder().space.name
        return [one for tenant in TENANTS for one in oracle_related.unlike(self.connection, space, tenant)]

    def near(self, tenant_id: uuid.UUID, adr_id: uuid.UUID) -> list[Any]:
        query = (
            "select related_id, links_to, links_from, terms from mv.related where tenant_id = %s and source_id = %s "
            "order by score desc, related_id"
        )
        return self.connection.execute(query, [tenant_id, adr_id]).fetchall()


class as_api:  # noqa: N801 - reads as a sentence
    """Statements of the API within a transaction of the flows' role: the test's connection is an administrator's."""

    def __init__(self, connection: Connection, tenant_id: uuid.UUID) -> None:
        self._connection, self._tenant_id = connection, tenant_id

    def __enter__(self) -> None:
        self._connection.execute("select set_config('app.tenant_id', %s, true)", [str(self._tenant_id)])
        self._connection.execute("set local role none")

    def __exit__(self, *_: object) -> None:
        self._connection.execute("set local role adriatic_flows")


def _head(connection: Connection, tenant_id: uuid.UUID, adr_id: uuid.UUID) -> None:
    connection.execute(
        "insert into app.tenants (tenant_id, slug, name) values (%s, %s, 'n') on conflict do nothing",
        [tenant_id, f"t-{tenant_id.hex[-12:]}"],
    )
    connection.execute(
        "insert into app.logs (tenant_id, log_id, slug, name) values (%s, %s, 'l', 'l') on conflict do nothing",
        [tenant_id, tenant_id],
    )
    connection.execute(
        "insert into app.adrs (tenant_id, adr_id, log_id, title, status, version, created_at, updated_at) "
        "values (%s, %s, %s, 't', 's', 1, now(), now()) on conflict do nothing",
        [tenant_id, adr_id, tenant_id],
    )


@pytest.fixture
def connection(fresh_database: Settings) -> Iterator[Connection]:
    with psycopg.connect(fresh_database.postgres.dsn("admin")) as opened:
        yield opened
        opened.rollback()


def start(connection: Connection) -> Tables:
    connection.rollback()
    connection.execute("set local role adriatic_flows")
    return Tables(connection)


MOVES = ("write", "write", "write", "delete", "link", "unlink")


@pytest.mark.stack
@settings(max_examples=25)
@given(data=st.data(), exact_max=st.sampled_from([0, 3, 5_000]))
def test_any_history_in_any_order_ends_where_every_pair_by_itself_ends(
    connection: Connection, data: st.DataObject, exact_max: int
) -> None:
    """Whether everybody is compared, or candidates, or these from some moment on: what a list says is so."""
    tables = start(connection)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(related_candidates, "EXACT_ADRS_MAX", exact_max)
        for module in (nearness, related_lists, oracle_related):
            patched.setattr(module, "RELATED_MAX", 2)
        pending: list[Event] = []
        for _ in range(data.draw(st.integers(1, 14))):
            tenant, adr = data.draw(st.sampled_from(TENANTS)), data.draw(st.sampled_from(ADRS))
            match data.draw(st.sampled_from(MOVES)):
                case "write":
                    pending.append(tables.write(tenant, adr, data.draw(st.sampled_from(BODIES))))
                case "delete":
                    pending.append(tables.delete(tenant, adr))
                case "link":
                    kind = data.draw(st.sampled_from(["amends", "supersedes"]))
                    pending.append(tables.link(tenant, adr, data.draw(st.sampled_from(ADRS)), kind))
                case _:
                    pending.append(tables.unlink(tenant, adr))
            if data.draw(st.booleans()):
                some = data.draw(st.permutations(pending))
                tables.step(some)
                pending = data.draw(st.lists(st.sampled_from(some), max_size=2))  # they come again
        if pending:
            tables.step(pending)
        assert tables.differences() == []


@pytest.mark.stack
def test_a_link_puts_an_adr_first_in_both_lists_and_says_its_kind(connection: Connection) -> None:
    tables = start(connection)
    tenant, (one, other, third, *_) = TENANTS[0], ADRS
    tables.step([tables.write(tenant, adr, body) for adr, body in zip((one, other, third), BODIES, strict=False)])
    assert [row[0] for row in tables.near(tenant, one)] == [other, third]
    assert tables.near(tenant, one)[0][3][:2] == ["kafka", "keeps"]
    tables.step([tables.link(tenant, one, third, "supersedes")])
    assert tables.near(tenant, one)[0][:3] == (third, ["supersedes"], [])
    assert tables.near(tenant, third)[0][:3] == (one, [], ["supersedes"])
    tables.step([tables.unlink(tenant, one)])
    assert [row[0] for row in tables.near(tenant, one)] == [other, third]
    assert tables.differences() == []


@pytest.mark.stack
def test_an_edit_of_either_side_moves_both_lists_and_a_deleted_adr_leaves_all(connection: Connection) -> None:
    tables = start(connection)
    tenant, (one, other, third, *_) = TENANTS[0], ADRS
    tables.step([tables.write(tenant, adr, body) for adr, body in zip((one, other, third), BODIES, strict=False)])
    tables.step([tables.write(tenant, other, BODIES[3])])
    assert [row[0] for row in tables.near(tenant, third)] == [other, one]
    tables.step([tables.delete(tenant, other)])
    assert [row[0] for row in tables.near(tenant, third)] == [one]
    assert tables.near(tenant, other) == []
    assert connection.execute("select count(*) from mv.related_features").fetchone() == (2,)
    tables.step([tables.write(tenant, other, BODIES[3])])
    assert [row[0] for row in tables.near(tenant, third)] == [other, one]


@pytest.mark.stack
def test_a_replay_writes_nothing_and_an_edit_writes_only_its_own_pairs(connection: Connection) -> None:
    tables = start(connection)
    tenant = TENANTS[0]
    events = [
        tables.write(tenant, uuid.UUID(int=100 + number), f"{BODIES[number % 4]} Word{number} apart.")
        for number in range(30)
    ]
    tables.step(events)
    writers = "select source_id, related_id, xmin::text, ctid::text from mv.related order by 1, 2"
    before = connection.execute(writers).fetchall()
    assert len(before) == 300
    tables.step(events)
    assert connection.execute(writers).fetchall() == before
    edited = uuid.UUID(int=105)
    tables.step([tables.write(tenant, edited, "Budgets of agents are leases.")])
    after = connection.execute(writers).fetchall()
    moved = {row[:2] for row in set(before) ^ set(after)}
    holders = {row[0] for row in before if row[1] == edited}
    assert moved
    assert all(adr_id == edited or related_id == edited or adr_id in holders for adr_id, related_id in moved)
    assert tables.differences() == []


@pytest.mark.stack
def test_an_unfinished_version_changes_nothing_until_it_is_complete(connection: Connection) -> None:
    tables = start(connection)
    tenant, one, other = TENANTS[0], ADRS[0], ADRS[1]
    tables.step([tables.write(tenant, one, BODIES[0]), tables.write(tenant, other, BODIES[1])])
    before = tables.near(tenant, one)
    version = Version(tenant, one, 2, body="Something about budgets.")
    index = Index()
    index.apply(connection, index.transform([event(envelope(version), VERSIONS_TOPIC)]))
    tables.step([state(tenant, one)])
    assert tables.near(tenant, one) == before


@pytest.mark.stack
def test_what_can_be_found_and_is_no_adr_is_in_no_list(connection: Connection) -> None:
    tables = start(connection)
    tenant, one, other, document = TENANTS[0], *ADRS[:3]
    events = [tables.write(tenant, adr, BODIES[0]) for adr in (one, other)]
    version = DocumentVersion(tenant, document, 1, body=BODIES[0])
    change = event({"op": "c", "after": version.row}, DOCUMENTS_TOPIC)
    tables.show(SourceKey(tenant, "document", document), change)
    tables.step([*events, state(tenant, document, kind="document")])
    assert [row[0] for row in tables.near(tenant, one)] == [other]
    assert tables.near(tenant, document) == []
    assert connection.execute("select count(*) from mv.related_features").fetchone() == (2,)


@pytest.mark.stack
def test_tenants_with_the_same_texts_do_not_meet(connection: Connection) -> None:
    tables = start(connection)
    tables.step([tables.write(tenant, adr, BODIES[0]) for tenant in TENANTS for adr in ADRS[:2]])
    rows = connection.execute("select tenant_id, source_id, related_id from mv.related order by 1, 2").fetchall()
    assert rows == [(tenant, one, other) for tenant in TENANTS for one, other in (ADRS[:2], ADRS[1::-1])]


@pytest.mark.stack
def test_the_api_sees_its_tenants_rows_and_of_the_features_the_version_alone(
    fresh_database: Settings, connection: Connection
) -> None:
    tables = start(connection)
    tables.step([tables.write(tenant, adr, BODIES[0]) for tenant in TENANTS for adr in ADRS[:2]])
    connection.commit()
    with psycopg.connect(fresh_database.postgres.dsn("api")) as api:
        assert api.execute("select count(*) from mv.related").fetchone() == (0,)
        api.execute("select set_config('app.tenant_id', %s, true)", [str(TENANTS[1])])
        assert api.execute("select distinct tenant_id from mv.related").fetchall() == [(TENANTS[1],)]
        assert api.execute("select distinct tenant_id, version from mv.related_features").fetchall() == [
            (TENANTS[1], 1)
        ]
        for statement in ("select terms from mv.related_features", "delete from mv.related"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                api.execute(statement)
            api.rollback()


@pytest.mark.stack
@pytest.mark.parametrize("bound", ["EXACT_ADRS_MAX", "EXACT_PASSAGES_MAX"])
def test_a_large_tenant_compares_candidates_alone_and_finds_the_nearest(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """A pair of each subject among many others, whose words are their own, and of one passage each; no index by meaning
    is there yet."""
    monkeypatch.setattr(related_candidates, bound, 50)
    monkeypatch.setattr(related_candidates, "BY_WORDS", 10)
    tables = start(connection)
    tenant = TENANTS[0]
    ids = [uuid.UUID(int=1_000 + number) for number in range(120)]
    bodies = [f"Subject{n // 2} of matter{n // 2} needs tool{n // 2}, measure{n // 2} and word{n}." for n in range(120)]
    events = [tables.write(tenant, adr, body) for adr, body in zip(ids, bodies, strict=True)]
    tables.step(events[:40])
    assert not related_candidates.is_approximate(connection, tenant)
    read: list[int] = []
    whole = related_lists.read_corpus

    def counted(*arguments: Any) -> Any:
        corpus = whole(*arguments)
        read.append(len(corpus.ids))
        return corpus

    monkeypatch.setattr(related_lists, "read_corpus", counted)
    for start_at in range(40, 120, 5):
        tables.step(events[start_at : start_at + 5])
    assert related_candidates.is_approximate(connection, tenant)
    assert not related_candidates.is_approximate(connection, TENANTS[1])
    assert tables.differences() == []
    for number in range(60, 120):
        assert tables.near(tenant, ids[number])[0][0] == ids[number ^ 1], bodies[number]
    read.clear()
    tables.step([tables.write(tenant, ids[7], bodies[7] + " Edited.")])
    assert max(read) < 120, "not everybody was compared"
    assert tables.near(tenant, ids[7])[0][0] == ids[6]
    assert tables.near(tenant, ids[6])[0][0] == ids[7]
    assert tables.differences() == []
