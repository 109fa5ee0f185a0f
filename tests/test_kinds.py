"""A new kind of source is a migration and an entry of `schemas/sources.py`: index, embed, search, chat, the oracle, the
command line and the page are told nothing else."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, Literal, get_args
from uuid import UUID

import msgspec
import psycopg
import pytest
from click.testing import CliRunner

from api.page.assets import Assets
from api.search.embedding import QueryEmbedder
from api.search.schemas import SearchRequest, SearchResult
from connectors.embedders import Embedder
from connectors.kafka.records import Record
from connectors.postgres.connections import Connection, connect
from dataflows import index
from dataflows.comparison import Comparison, TenantReport, VerifyReport
from dataflows.embed import Embed
from dataflows.flow import Event
from dataflows.index import Index
from runtime.ids import new_id
from runtime.settings import LlmSettings, Settings
from schemas import sources
from schemas.sources import SourceKey, SourceKind
from tests.api import apps
from tests.api.chat.test_routes import ask
from tests.api.world import Caller, running
from tests.connectors.embedders.stand_in import FakeEmbedder

MIGRATION = """
create table app.note_versions (
    tenant_id    uuid not null references app.tenants,
    note_id      uuid not null,
    version      bigint not null,
    change       text not null,
    title        text not null,
    body         text not null,
    state        text not null,
    effective_at timestamptz not null,
    recorded_at  timestamptz not null,
    primary key (tenant_id, note_id, version)
);
call app.protect('app.note_versions');
grant select on app.note_versions to adriatic_api;
create or replace view app.source_versions with (security_invoker = true) as
{before}
union all
select tenant_id, 'note', note_id, version, change = 'delete', title, state, effective_at, body
  from app.note_versions;
"""
"""What the table of a new kind needs anyway, with its branch of the view."""
CONTRACT = "adriatic.app.note_versions"
ENTRY = SourceKind(
    CONTRACT, "note_id", "change", "/v1/notes/{}", word="wiki note", plural="wiki notes", status_field="state"
)

AT = datetime(2026, 1, 15, 9, tzinfo=UTC)
BODY = "# Where otters live\n\nAn otter lives by the river, and nobody writes twice about it.\n"


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file of the kinds has of it: the name and the entry."""
    for struct in (SearchRequest, SearchResult):
        msgspec.json.Decoder(struct)  # it looks at the kinds once, and must not see this one in other tests
    monkeypatch.setitem(sources.KINDS, "note", ENTRY)
    monkeypatch.setattr(sources, "Kind", Literal["adr", "document", "page", "note"])
    monkeypatch.setattr(apps, "_FREE", [])  # an application that other tests made knows no notes


@pytest.fixture
def pages(fresh_database: Settings, entry: None) -> Iterator[Connection]:
    """A connection of the flows to a database that has notes."""
    with psycopg.connect(fresh_database.postgres.dsn("owner")) as owner:
        row = owner.execute("select pg_get_viewdef('app.source_versions'::regclass)").fetchone()
        assert row is not None
        owner.execute(MIGRATION.format(before=row[0].rstrip("; \n")).encode())
    with connect(fresh_database.postgres) as connection:
        connection.autocommit = True
        yield connection


def write(settings: Settings, page: SourceKey, version: int, body: str, change: str = "update") -> Event:
    """The row of a version, and what change capture makes of it."""
    row = {
        "tenant_id": str(page.tenant_id),
        "note_id": str(page.source_id),
        "version": version,
        "change": change,
        "title": "Where otters live",
        "body": body,
        "state": "published",
        "effective_at": AT.isoformat(),
        "recorded_at": AT.isoformat(),
    }
    with psycopg.connect(settings.postgres.dsn("admin")) as admin:
        admin.execute(
            "insert into app.note_versions select * from jsonb_populate_record(null::app.note_versions, %s)",
            [json.dumps(row)],
        )
    record = Record(CONTRACT, 0, version, None, None, b"")
    return Event(record, {"op": "c", "before": None, "after": row}, CONTRACT)


def keep(connection: Connection, embedder: Embedder, change: Event) -> None:
    """What the flows `index` and `embed` do about a change."""
    flow, embed = Index(), Embed(embedder)
    with connection.transaction():
        effects = flow.transform([change])
        flow.apply(connection, effects)
    space = embedder.space.name
    for version in effects.versions:
        lacking = index.find_missing_texts(connection, space, [version]).get(version.source, set())
        requests = [_request(value) for *_, value, _ in index._requests(space, version, lacking)]
        with connection.transaction():
            embed.apply(connection, embed.prepare(connection, embed.transform(requests)))


def _request(value: str) -> Event:
    decoded = json.loads(value)
    items = [{**item, "text_hash": base64.b64decode(item["text_hash"])} for item in decoded["items"]]
    return Event(Record(index.REQUESTS_TOPIC, 0, 0, None, None, b""), decoded | {"items": items}, index.REQUESTS_TOPIC)


async def hits(caller: Caller, q: str, mode: str) -> list[dict[str, Any]]:
    answer = await caller.post("/v1/search", {"q": q, "mode": mode})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["hits"]
    return found


async def find(caller: Caller, kind: str) -> list[str]:
    """The kinds of what is found when this one is asked for."""
    answer = await caller.get("/v1/search", params={"q": "otter river", "mode": "words", "kind": kind})
    assert answer.status_code == 200, answer.text
    return [hit["kind"] for hit in answer.json()["hits"]]


def load_anew(name: str) -> ModuleType:
    """The module as a process has it that starts now. The one that is loaded stays as it is."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def differences(connection: Connection, embedder: Embedder, tenant_id: UUID) -> VerifyReport:
    """What `adriatic verify` would say of the tables that these two flows keep."""
    report, tenant = VerifyReport(), TenantReport(tenant_id, "t")
    report.tenants.append(tenant)
    comparison = Comparison(connection, report, tenant, embedder.space.name, embedder, None)
    with connection.transaction():
        Index.compare(comparison)
        Embed.compare(comparison)
    return report


def test_the_list_of_kinds_is_one() -> None:
    assert tuple(sources.KINDS) == get_args(sources.Kind)
    assert Index.topics == sources.contracts()


def test_the_command_line_offers_every_kind_and_has_a_word_for_it(entry: None) -> None:
    module = load_anew("adriatic.cli.search")
    asked = CliRunner().invoke(module.search, ["--help"]).output
    assert "--kind [adr|document|page|note]" in asked
    assert [module.kind_word(kind) for kind in sources.KINDS] == ["ADR", "Document", "Page", "Wiki note"]
    assert CliRunner().invoke(module.search, ["otter", "--kind", "tweet"]).exit_code == 2


def test_the_form_of_the_page_offers_every_kind_and_its_scripts_name_none(entry: None) -> None:
    assets = Assets.load({"/v1/adrs"})
    document = assets.document.body.decode()
    fields = re.findall(r'<select name="kind">(.*?)</select>', document, re.DOTALL)
    assert len(fields) == 2, "of a search, and of a question that is looked into"
    for field in fields:
        options = re.findall(r'<option value="(\w*)"(?: data-word="[^"]+")?>([^<]+)</option>', field)
        assert options == [
            ("", "everything"),
            ("adr", "decisions"),
            ("document", "documents"),
            ("page", "pages"),
            ("note", "wiki notes"),
        ]
    words = re.findall(r'<option value="(\w+)" data-word="([^"]+)">', fields[0])
    assert words == [("adr", "ADR"), ("document", "document"), ("page", "page"), ("note", "wiki note")]
    assert "Search decisions and documents and pages and wiki notes" in document
    compared = re.compile(r"""\bkind\s*(?:[=!]==?|:)\s*["'](?:adr|document|page)["']""")
    assert compared.search('if (source.kind === "adr") {')
    assert [name for name, asset in assets.files.items() if compared.search(asset.body.decode())] == []


def test_a_request_may_ask_for_every_kind(entry: None) -> None:
    request = load_anew("api.search.schemas").SearchRequest
    for kind in sources.KINDS:
        assert msgspec.convert({"q": "otter", "kind": kind}, request).kind == kind
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"q": "otter", "kind": "tweet"}, request)


@pytest.mark.stack
def test_the_view_has_the_versions_of_every_kind(fresh_database: Settings) -> None:
    with psycopg.connect(fresh_database.postgres.dsn("owner")) as owner:
        row = owner.execute("select pg_get_viewdef('app.source_versions'::regclass)").fetchone()
    assert row is not None
    for name, kind in sources.KINDS.items():
        assert f"'{name}'::text AS kind" in row[0]
        assert f"FROM {kind.contract.removeprefix('adriatic.')}" in row[0]


@pytest.mark.stack
async def test_a_page_is_indexed_found_cited_and_verified(fresh_database: Settings, pages: Connection) -> None:
    embedder = FakeEmbedder()
    with pages.transaction():
        Embed(embedder).start(pages)
    settings = fresh_database.model_copy(update={"llm": LlmSettings()})
    async with running(settings) as world:
        await world.app.state.embedder.close()
        world.app.state.embedder = QueryEmbedder(lambda: embedder)
        caller = await world.tenant()
        page = SourceKey(caller.tenant_id, "note", new_id())
        keep(pages, embedder, write(settings, page, 1_790_000_000_000, BODY))
        for mode in ("words", "meaning"):
            (hit,) = await hits(caller, "otter river", mode)
            assert (hit["kind"], hit["source_id"], hit["version"]) == ("note", str(page.source_id), 1_790_000_000_000)
            assert (hit["title"], hit["status"]) == ("Where otters live", "published")
            assert hit["path"] == f"/v1/notes/{page.source_id}"
        assert [await find(caller, kind) for kind in ("note", "document", "adr")] == [["note"], [], []]
        unknown = await caller.get("/v1/search", params={"q": "otter river", "kind": "tweet"})
        assert unknown.status_code == 400
        assert '<option value="note" data-word="wiki note">' in (await caller.get("/")).text
        _, data, text = await ask(caller, question="Where does an otter live?")
        (source,) = data["sources"]["sources"]
        assert (source["kind"], source["source_id"], source["version"]) == ("note", hit["source_id"], hit["version"])
        assert (source["title"], source["path"]) == (hit["title"], hit["path"])
        assert data["citations"]["cited"] == [1]
        assert "An otter lives by the river" in text

        clean = differences(pages, embedder, caller.tenant_id)
        assert clean.clean, clean.differences
        assert (clean.tenants[0].sources, clean.tenants[0].vectors_recomputed) == ({"note": 1}, 1)
        pages.execute("update mv.chunks set char_end = char_end + 1")
        assert [each.kind for each in differences(pages, embedder, caller.tenant_id).differences] == ["different"]

        deleted = write(settings, page, 1_790_000_000_001, "", "delete")
        assert await hits(caller, "otter river", "words") == [], "a delete is seen at once"
        keep(pages, embedder, deleted)
        assert differences(pages, embedder, caller.tenant_id).clean
        assert pages.execute("select deleted from mv.search_state").fetchall() == [(True,)]
