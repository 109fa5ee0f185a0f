"""`verify` finds every kind of damage, and nothing where there is none."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest

from dataflows.catalog import flows
from dataflows.comparison import VerifyReport
from dataflows.oracle import NOT_KEPT_BY_A_FLOW, verify
from dataflows.repair import Repair, repair
from dataflows.usage import Spent
from runtime.deadline import Deadline
from runtime.errors import NotFound
from tests.dataflows.world import EPOCH, DocumentVersion, Outbox, Version, World

pytestmark = pytest.mark.stack

LONG = (
    "## Context\n\n" + "The order of writes must be visible. " * 30 + "\n\n## Decision\n\n" + "One log for all. " * 30
)


@pytest.fixture
def clean(world: World, outbox: Outbox) -> World:
    tenant, other = uuid.uuid4(), uuid.uuid4()
    gone = uuid.uuid4()
    world.run_until_done(world.embed)
    world.versions(
        [
            Version(tenant, uuid.uuid4(), 1, body=LONG),
            Version(tenant, gone, 1),
            Version(tenant, gone, 2, change="delete"),
            Version(other, uuid.uuid4(), 1, body=LONG),
            Version(other, uuid.uuid4(), 1, title="Use a ledger", body=LONG),
        ]
    )
    withdrawn = uuid.uuid4()
    world.documents(
        [
            DocumentVersion(tenant, uuid.uuid4(), 1_790_000_000_000, body=LONG),
            DocumentVersion(other, withdrawn, 1),
            DocumentVersion(other, withdrawn, 2, kind="delete"),
        ]
    )
    world.attempts([spent(tenant, 7), spent(tenant, None), spent(other, 8)])
    world.jobs(tenant)
    world.run_until_done(world.index, world.activity, world.feeds)
    outbox.carry()
    world.run_until_done(world.embed, world.usage)
    world.capture()
    world.run_until_done(world.related)
    return world


def spent(tenant: uuid.UUID, cost: int | None) -> Spent:
    return Spent(
        *(tenant, uuid.uuid4(), EPOCH, tenant, None, "openai", "m", "completed", "provider", 1, 2, 3, 4, 5, 6, cost)
    )


def check(world: World, sample: int | None = None) -> VerifyReport:
    return verify(world.settings, world.embedder, sample=sample, topics=world.topics)


def test_a_healthy_system_is_clean(clean: World) -> None:
    report = check(clean)
    assert report.clean, report.differences
    counts = [(row.sources.get("adr"), row.sources.get("document"), row.deleted) for row in report.tenants]
    assert sorted(counts) == [(1, 1, 1), (2, None, 1)]
    for row in report.tenants:
        assert row.chunks == row.vectors > 2
        assert row.vectors_recomputed == row.vectors
    assert check(clean, sample=1).tenants[0].vectors_recomputed == 1


DAMAGE = [
    ("missing", "delete from mv.search_state where not deleted"),
    ("missing", "delete from mv.chunks where ordinal = 0"),
    ("different", "update mv.search_state set title = 'x' where not deleted"),
    ("different", "update mv.search_state set words_version = 7, meaning_version = 7 where not deleted"),
    ("different", "update mv.search_state set deleted = true, chunks = 0"),
    ("different", "update mv.chunks set body = body || ' ' where ordinal = 0"),
    ("different", "update mv.chunks set char_end = char_end + 1 where ordinal = 0"),
    ("different", "update mv.chunks set heading_path = 'x' where ordinal = 1"),
    ("different", "update mv.chunks set text_hash = '\\x00' where ordinal = 0"),
    ("different", "update mv.search_state set words_version = words_version + 1 where kind = 'document'"),
    ("missing", "update mv.search_state set kind = 'page' where kind = 'document'"),
    ("missing", "update mv.chunks set kind = 'page' where kind = 'document'"),
    ("orphan", "update mv.chunks set version = version + 1 where kind = 'document'"),
    ("missing", "delete from mv.search_state where kind = 'document'"),
    ("missing", "delete from mv.chunks where kind = 'document'"),
    ("extra", "update mv.search_state set source_id = gen_random_uuid() where kind = 'document' and not deleted"),
    ("words", "update mv.chunks set tsv = '' where ordinal = 0"),
    ("words", "update mv.chunks set length = length + 1 where ordinal = 0"),
    ("words", "update mv.search_state set length = length + 1 where not deleted"),
    ("words", "update mv.search_state set length = 1 where deleted"),
    ("extra", "update mv.chunks set ordinal = 99 where ordinal = 0"),
    ("missing", "delete from mv.source_words"),
    ("extra", "update mv.source_words set words = ''"),
    ("missing", "update mv.source_words set length = length + 1"),
    ("extra", "update mv.source_words set counts = '{\"log\": 99}'"),
    ("extra", "update mv.source_words set source_id = gen_random_uuid()"),
    ("missing", "delete from mv.word_stats where lexeme = 'log'"),
    ("extra", "update mv.word_stats set sources = sources + 1"),
    ("extra", "insert into mv.word_stats select tenant_id, kind, 'nowhere', 0, 0 from mv.word_totals"),
    ("missing", "delete from mv.word_totals"),
    ("extra", "update mv.word_totals set sources = sources + 1"),
    ("missing", "update mv.word_totals set length = length - 1 where sources > 0"),
    ("extra", "update mv.search_state set source_id = gen_random_uuid() where not deleted"),
    ("orphan", "update mv.chunks set version = 9 where ordinal = 0"),
    ("orphan", "update mv.chunks set source_id = gen_random_uuid() where ordinal = 0"),
    ("no-vector", "delete from mv.embeddings where text_hash = (select min(text_hash) from mv.embeddings)"),
    ("vector", "update mv.embeddings e set embedding = (select o.embedding from mv.embeddings o "
               "where o.embedding <> e.embedding limit 1)"),
    ("vector", "update mv.embeddings set embedding = '[1,2]'"),
    ("not-complete", "update mv.search_state set meaning_version = null where not deleted"),
    ("missing", "delete from mv.activity where version = 1"),
    ("extra", "insert into mv.activity select tenant_id, gen_random_uuid(), version, change, title, status, author, "
              "effective_at, recorded_at from mv.activity"),
    ("extra", "update mv.activity set title = 'x'"),
    ("missing", "update mv.entity_counts set count = count + 1"),
    ("extra", "update mv.entity_counts set kind = 'x' where kind = 'deleted_adrs'"),
    ("missing", "delete from mv.activity_ledger"),
    ("missing", "delete from mv.daily_active_users"),
    ("extra", "update mv.daily_active_users set users = users + 1"),
    ("missing", "delete from mv.usage_ledger"),
    ("extra", "update mv.usage_ledger set cost_micro_usd = 0 where cost_micro_usd is null"),
    ("missing", "delete from mv.usage_by_hour"),
    ("extra", "update mv.usage_by_hour set hour = hour + interval '1 hour'"),
    ("extra", "update mv.usage_by_day set attempts = attempts + 1"),
    ("missing", "update mv.usage_by_day set unpriced = 0 where unpriced > 0"),
    ("extra", "update mv.usage_by_model set cost_micro_usd = cost_micro_usd + 1"),
    ("missing", "update mv.usage_by_user set reasoning = 0"),
    ("extra", "update mv.usage_by_key set key_id = 'x'"),
    ("missing", "delete from mv.job_status where state = 'running'"),
    ("missing", "delete from mv.job_status where state = 'succeeded'"),
    ("extra", "update mv.job_status set sequence = sequence + 100 where state = 'running'"),
    ("extra", "update mv.job_status set state = 'failed' where state = 'running'"),
    ("extra", "update mv.job_status set done = done + 1 where state = 'succeeded'"),
    ("extra", "update mv.job_status set job_id = gen_random_uuid()"),
    ("missing", "delete from mv.related"),
    ("extra", "insert into mv.related select tenant_id, kind, source_id, source_id, 0, 0, '{}', 0, '{}', '{}' "
              "from mv.related"),
    ("missing", "update mv.related set score = score + 0.000001"),
    ("missing", "update mv.related set terms = '{x}'"),
    ("missing", "update mv.related set links_to = '{amends}'"),
    ("missing", "update mv.related_features set words = words || words"),
    ("missing", "update mv.related_features set passages = '\\x0001', dimension = 1"),
    ("extra", "update mv.related_features set source_id = gen_random_uuid()"),
    ("offset", "update ops.consumer_offsets set next_offset = 1000000"),
    ("offset", "delete from ops.consumer_offsets where flow = 'embed'"),
]  # fmt: skip
COMPARED = {table.name for flow in flows().values() for table in flow.tables if table.compared}
KEPT = (*sorted(name for name in COMPARED if name.startswith("mv.")), "ops.consumer_offsets")


def test_every_table_that_a_flow_keeps_is_compared(world: World) -> None:
    found = {
        f"mv.{name}"
        for (name,) in world.rows(
            "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            "where n.nspname = 'mv' and c.relkind in ('r', 'p') and not c.relispartition"
        )
    }
    declared = {table.name for flow in flows().values() for table in flow.tables}
    assert found == {name for name in declared if name.startswith("mv.")} | set(NOT_KEPT_BY_A_FLOW)


@pytest.mark.parametrize("table", sorted(COMPARED))
def test_damage_is_done_to_every_table_that_is_compared(table: str) -> None:
    """Being in the registry is a claim. A module of tests beside this one that uses an oracle damages the table, and
    holds `verify` to it."""
    sources = [file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_*.py")]
    damage = rf"(update|delete from|insert into) {re.escape(table)}\b"
    assert any(re.search(damage, source) for source in sources if "dataflows.oracle" in source or "oracle_" in source)


def test_damage_of_every_kind_is_found(clean: World) -> None:
    with clean.admin() as connection:
        for table in KEPT:
            connection.execute(f"create table kept_{table.partition('.')[2]} as table {table}")
        for kind, damage in DAMAGE:
            assert connection.execute(damage).rowcount > 0, f"did nothing: {damage}"
            report = check(clean)
            assert kind in {difference.kind for difference in report.differences}, (damage, report.differences)
            for table in KEPT:
                connection.execute(f"delete from {table}")
                connection.execute(f"insert into {table} table kept_{table.partition('.')[2]}")
    assert check(clean).clean


def test_texts_that_an_older_release_analysed_are_analysed_anew(
    world: World, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that knew no languages."""
    tenant = uuid.uuid4()
    body = "Wir speichern die Protokolle für dreißig Tage, und nicht für immer. " * 9
    world.run_until_done(world.embed)
    world.versions([Version(tenant, uuid.uuid4(), 1, title="Fristen", body=body)])
    with monkeypatch.context() as older:
        older.setattr("dataflows.chunker.read_languages", lambda _title, parts: (None, [None] * len(parts)))
        world.run_until_done(world.index)
    outbox.carry()
    world.run_until_done(world.embed)
    report = check(world)
    assert {difference.kind for difference in report.differences if difference.flow == "index"} == {"words"}
    assert Repair("index", tenant) in repair(world.settings, report, "tester")
    world.run_until_done(world.index)
    outbox.carry()
    world.run_until_done(world.embed)
    assert [each for each in check(world).differences if each.flow == "index"] == []
    assert world.rows("select sum(sources) from mv.word_stats where lexeme = 'þdeprotokoll'") == [(1,)]


def test_dead_letters_are_counted_and_are_no_difference(clean: World) -> None:
    with clean.admin() as connection:
        connection.execute(
            "insert into ops.dlq (flow, topic, partition, record_offset, stage, code, detail) "
            "values ('index', 't', 0, 0, 'decode', 'undecodable', '')"
        )
    assert (check(clean).clean, check(clean).dead_letters) == (True, 1)


def test_one_tenant_can_be_asked_for(clean: World) -> None:
    tenant = str(clean.rows("select min(tenant_id::text) from app.tenants")[0][0])
    report = verify(clean.settings, None, tenant=tenant, topics=clean.topics)
    assert [str(row.tenant_id) for row in report.tenants] == [tenant]
    with pytest.raises(NotFound):
        verify(clean.settings, None, tenant="nobody", topics=clean.topics)


def test_views_that_do_not_get_there_are_told_apart_from_differences(clean: World) -> None:
    report = verify(clean.settings, None, wait=Deadline.after(0.3), topics=clean.topics)
    assert {stuck.flow for stuck in report.stuck} == {"index", "embed", "activity", "usage", "related", "feeds"}
    assert all("has reached" in stuck.detail for stuck in report.stuck)
    assert report.differences == []
    assert not report.clean, "what was not compared is not called clean"


def test_one_view_that_is_stuck_keeps_no_other_from_being_compared(clean: World) -> None:
    with clean.admin() as connection:
        connection.execute("update mv.watermarks set lsn = 'FFFFFFFF/FFFFFFFF' where view not like 'usage%'")
        connection.execute("delete from mv.activity")
        connection.execute("delete from mv.usage_by_hour")
    report = verify(clean.settings, None, wait=Deadline.after(0.3), topics=clean.topics)
    assert {stuck.flow for stuck in report.stuck} == {"usage"}
    assert {each.flow for each in report.differences} == {"activity"}


def test_one_view_is_compared_alone(clean: World) -> None:
    with clean.admin() as connection:
        connection.execute("delete from mv.activity")
        connection.execute("delete from mv.usage_by_hour")
    found = verify(clean.settings, None, topics=clean.topics, view="usage_by_day")
    assert {each.flow for each in found.differences} == {"usage"}
    with pytest.raises(NotFound, match="no view nothing"):
        verify(clean.settings, None, view="nothing")
