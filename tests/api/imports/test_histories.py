"""Real histories through HTTP into real tenants: every count equals an independent one, and every byte comes back."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from litestar.testing import TestClient

from adriatic.cli.imports import tenant_slug
from adriatic.cli.remote import Remote, local_token
from adriatic.cli.sending import IntoLog, Sent, send
from connectors.history import FileChange, HistorySource, open_source
from runtime.clock import SYSTEM_CLOCK
from runtime.ids import new_id
from runtime.settings import Settings
from tests import databases
from tests.api.apps import borrow
from tests.api.imports.counting import Expected, expect
from tests.connectors.history.repository import Repository

pytestmark = pytest.mark.stack

DATA = Path(__file__).parents[3].parent / "shared" / "data" / "adr-history"
HISTORIES = sorted(DATA.glob("*.jsonl.gz"))


class Platform:
    """The API of a fresh database, and what is really in that database."""

    def __init__(self, settings: Settings, client: TestClient[Any]) -> None:
        self.settings = settings
        self.client = client

    def tenant(self, slug: str) -> UUID:
        tenant_id = new_id()
        with psycopg.connect(self.settings.postgres.dsn("admin")) as connection:
            connection.execute("insert into app.tenants values (%s, %s, %s)", [tenant_id, slug, slug])
        return tenant_id

    def send(self, tenant_id: UUID, source: HistorySource) -> Sent:
        self.client.headers["authorization"] = f"Bearer {local_token(self.settings, tenant_id)}"
        limit = self.settings.api.import_bytes_max
        return send(Remote(self.client), source, IntoLog("default"), SYSTEM_CLOCK, lambda _: None, bytes_max=limit)

    def fetch(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return databases.ask(self.settings.postgres.dsn("admin"), query, *values)

    def adrs(self, tenant_id: UUID) -> list[tuple[Any, ...]]:
        return self.fetch(
            "select a.source_key, a.deleted_at is null, a.version, count(v.*), min(v.version), max(v.version) "
            "from app.adrs a join app.adr_versions v using (tenant_id, adr_id) where tenant_id = %s "
            "group by a.tenant_id, a.adr_id",
            tenant_id,
        )


@pytest.fixture
def platform(fresh_database: Settings) -> Iterator[Platform]:
    with borrow(fresh_database) as app, TestClient(app) as client:
        yield Platform(fresh_database, client)


def assert_equal(platform: Platform, tenant_id: UUID, expected: Expected) -> None:
    adrs = platform.adrs(tenant_id)
    assert Counter((path, live, version) for path, live, version, *_ in adrs) == expected.versions
    assert all(head == count == highest and lowest == 1 for _, _, head, count, lowest, highest in adrs)
    assert {path for path, live, *_ in adrs if live} == expected.live


def assert_bytes(platform: Platform, tenant_id: UUID, changes: list[FileChange]) -> None:
    """Each text that was sent is the text of its version, byte for byte."""
    stored = {
        (path, ref): original if original is not None else body.encode()
        for path, ref, body, original in platform.fetch(
            "select source_key, source_ref, body, original from app.adr_versions "
            "where tenant_id = %s and change <> 'delete'",
            tenant_id,
        )
    }
    assert stored == {(each.path, each.ref): each.content for each in changes if each.content is not None}


def changes_of(source: HistorySource) -> list[FileChange]:
    return [item for item in source.changes() if isinstance(item, FileChange)]


@pytest.mark.skipif(not HISTORIES, reason=f"the reference histories are not at {DATA}")
def test_the_reference_histories_side_by_side(platform: Platform) -> None:
    tenants = {}
    for file in HISTORIES:
        tenants[file] = tenant_id = platform.tenant(tenant_slug(file))
        platform.send(tenant_id, open_source(file, content_bytes_max=platform.settings.api.adr_bytes_max))
    for file, tenant_id in tenants.items():
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            events = [json.loads(line) for line in lines]
        expected = expect(events)
        assert_equal(platform, tenant_id, expected)
        assert_bytes(platform, tenant_id, changes_of(open_source(file, content_bytes_max=10_000_000)))
        (row,) = platform.fetch(
            "select events, applied, skipped, versions from app.imports where tenant_id = %s", tenant_id
        )
        assert row == (len(events), len(events) - expected.refused, 0, expected.versions_total)
    # Again, all of it: not a row more.
    before = platform.fetch("select count(*), max(recorded_at) from app.adr_versions")
    for file, tenant_id in tenants.items():
        sent = platform.send(tenant_id, open_source(file, content_bytes_max=10_000_000))
        assert sent.finished is not None
        assert (sent.finished.report.applied, sent.finished.report.skipped) == (0, sent.events)
    assert platform.fetch("select count(*), max(recorded_at) from app.adr_versions") == before


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Everything at once: renames, a deletion and a return, a merge, a swap, odd bytes, a huge file, number trouble."""
    made = Repository(tmp_path / "repository")
    body = "# {}. {}\n\nDate: 2024-01-01\n\n## Status\n\nAccepted\n\n## Context\n\n" + "Some words of context.\n" * 20
    made.write("doc/adr/0001-log.md", body.format(1, "Log"))
    made.write("doc/adr/0002-windows.md", body.format(2, "Windows").replace("\n", "\r\n"))
    made.write("doc/adr/0003-latin.md", b"# 3. Caf\xe9\n\nnul \x00\n")
    made.commit("Begin")
    made.write("doc/adr/0004-huge.md", b"x" * 50_000_000)
    made.write("doc/adr/0002-also.md", body.format(2, "Also two") + "\nSupersedes [Log](0001-log.md)\n")
    made.commit("Too large, and a number twice")
    made.git("checkout", "-q", "-b", "side")
    made.write("doc/adr/0005-side.md", body.format(5, "Side"))
    made.commit("On the side")
    made.git("checkout", "-q", "main")
    made.write("doc/adr/0001-log.md", body.format(1, "Log") + "More.\n")
    made.commit("On main")
    made.git("merge", "-q", "--no-ff", "-m", "Merge side", "side")
    made.git("mv", "doc/adr/0001-log.md", "doc/adr/0006-log.md")
    made.commit("Rename")
    made.git("rm", "-q", "doc/adr/0005-side.md", "doc/adr/0004-huge.md")
    made.commit("Delete")
    made.write("doc/adr/0005-side.md", body.format(5, "Side again") + "\n## Status\n\nSuperseded by ADR-6\n")
    made.commit("Return")
    return made


def test_a_repository_with_all_that_repositories_have(platform: Platform, repository: Repository) -> None:
    tenant_id = platform.tenant("acme")
    source = open_source(repository.root, content_bytes_max=platform.settings.api.adr_bytes_max)
    changes = changes_of(source)
    sent = platform.send(tenant_id, source)

    fits = [change for change in changes if change.change == "D" or change.content is not None]
    assert len(changes) - len(fits) == 1
    expected = expect({"change": c.change, "path": c.path, "old_path": c.old_path} for c in fits)
    assert_equal(platform, tenant_id, expected)
    assert_bytes(platform, tenant_id, changes)
    assert sent.finished is not None
    report, totals = sent.finished.report, sent.finished.totals
    # The huge file was refused, and so was its deletion: it never was here.
    assert {code: tally.count for code, tally in report.refused.items()} == {"too-large": 1, "unknown-path": 1}
    assert "50000000 bytes" in report.refused["too-large"].examples[0].detail
    assert {"number-taken", "renumbered", "not-text"} <= set(report.odd)
    assert (totals.links, totals.links_resolved) == (2, 2)
    numbers = platform.fetch("select source_key, number from app.adrs order by 1")
    assert dict(numbers) == {
        "doc/adr/0002-also.md": None,
        "doc/adr/0002-windows.md": 2,
        "doc/adr/0003-latin.md": 3,
        "doc/adr/0005-side.md": 5,
        "doc/adr/0006-log.md": 6,
    }
    tree = {path: (repository.root / path).read_bytes() for path in expected.live}
    newest = platform.fetch(
        "select a.source_key, coalesce(v.original, convert_to(v.body, 'UTF8')) from app.adrs a "
        "join app.adr_versions v using (tenant_id, adr_id, version) where a.deleted_at is null"
    )
    assert dict(newest) == tree


def test_an_import_that_broke_off_goes_on_where_it_was(platform: Platform, repository: Repository) -> None:
    tenant_id = platform.tenant("acme")
    source = open_source(repository.root, content_bytes_max=1_000_000)
    everything = changes_of(source)

    class Broken:
        name, kind, snapshot, notes = source.name, source.kind, source.snapshot, source.notes

        def count(self) -> int:
            return len(everything)

        def changes(self) -> Iterator[FileChange]:
            yield from everything[:4]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        platform.send(tenant_id, Broken())
    again = platform.send(tenant_id, source)
    assert again.finished is not None
    fits = [change for change in everything if change.change == "D" or change.content is not None]
    assert_equal(
        platform, tenant_id, expect({"change": c.change, "path": c.path, "old_path": c.old_path} for c in fits)
    )
    assert again.finished.report.applied + again.finished.report.skipped == len(everything) - 2


def test_freshness_says_what_waits_when_no_flow_runs(platform: Platform, repository: Repository) -> None:
    tenant_id = platform.tenant("acme")
    platform.send(tenant_id, open_source(repository.root, content_bytes_max=1_000_000))
    answer = platform.client.get("/v1/freshness").json()
    assert answer["as_of"]["state"] == "unknown"
    assert answer["words"] == {
        "counted": 0,
        "waiting": 5,
        "p50_s": None,
        "p95_s": None,
        "p99_s": None,
        "max_s": None,
        "last_at": None,
    }
    assert platform.client.get("/v1/freshness?since=2024-01-01T00:00:00").status_code == 400


def test_freshness_counts_what_became_findable_since(platform: Platform, repository: Repository) -> None:
    tenant_id = platform.tenant("acme")
    platform.send(tenant_id, open_source(repository.root, content_bytes_max=1_000_000))
    with psycopg.connect(platform.settings.postgres.dsn("admin")) as connection:
        # As the flows would: the newest versions findable by words after 1, 2, 3, 4 s, by meaning two of them; one ADR
        # was indexed long ago, in an older version.
        connection.execute(
            """
            insert into mv.search_state (tenant_id, kind, source_id, words_version, meaning_version, title, status,
                                         effective_at, recorded_at, words_at, meaning_at, chunks, length)
            select tenant_id, 'adr', adr_id, version - (n = 5)::int, case when n <= 2 then version end, title, status,
                   now(), at, at + make_interval(secs => n),
                   case when n <= 2 then at + make_interval(secs => 10 * n) end, 1, 0
            from (select *, row_number() over (order by version desc, source_key desc) as n from app.adrs) numbered,
                 lateral (select case when n = 5 then '2020-01-01' else '2024-06-01'::timestamptz end as at)
            """
        )
        connection.execute("insert into mv.embedding_stats values (%s, 5, 10, 0, 3, 8, 6, 12, 1)", [tenant_id])
    answer = platform.client.get("/v1/freshness", params={"since": "2024-01-01T00:00:00Z"}).json()
    words, meaning = answer["words"], answer["meaning"]
    assert (words["counted"], words["waiting"], words["p50_s"], words["max_s"]) == (4, 1, 2.5, 4.0)
    assert (meaning["counted"], meaning["waiting"], meaning["p50_s"], meaning["max_s"]) == (2, 3, 15.0, 20.0)
    assert meaning["last_at"] == "2024-06-01T00:00:20Z"
    assert answer["embeddings"]["avoided"] == 0.75
    assert platform.client.get("/v1/freshness").json()["words"]["counted"] == 5
