"""A new flow is one small file and a line. The file is the example of docs/how-to/add-a-dataflow.md, the line is added
here, and then everything has the flow: its process, its rows, its watermark, status, live reads, verify, reference."""

from __future__ import annotations

import json
import subprocess
import sys
import types
import uuid
from pathlib import Path

import msgspec
import psycopg
import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner

from adriatic.cli import cli, reference
from adriatic.stack import record, system
from adriatic.watch.watcher import Watcher
from api import watermarks
from api.app import create_app
from api.db import Database, tenant_transaction
from api.live.hub import Hub
from dataflows import catalog
from dataflows.oracle import verify
from runtime.clock import SYSTEM_CLOCK
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import Settings, StackSettings
from tests.api.live import test_reader as readers
from tests.api.live import world as live_worlds
from tests.api.live.world import Picture
from tests.dataflows import world as flow_worlds
from tests.dataflows.world import Version, until
from tests.docs.markdown import ROOT, Page, pages
from tests.schemas.sql_layout import lay_out
from tests.schemas.sql_statements import find
from topics import catalog as topic_catalog
from topics.catalog import parse

MODULE = "dataflows.titles"
FILE = "dataflows/titles.py"
TOPIC = "adriatic.mv.adr_titles"


def page() -> Page:
    return next(page for page in pages() if page.name.endswith("add-a-dataflow.md"))


def fence(language: str) -> str:
    (content,) = (token.content for token in page().tokens if token.type == "fence" and token.info.strip() == language)
    return content


@pytest.fixture(autouse=True)
def _added(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file, the line, and the topic of the table."""
    module = types.ModuleType(MODULE)
    monkeypatch.setitem(sys.modules, MODULE, module)
    exec(compile(fence("python"), MODULE, "exec"), module.__dict__)
    monkeypatch.setattr(catalog, "MODULES", (*catalog.MODULES, MODULE))
    topics = topic_catalog.load() | {TOPIC: parse(TOPIC, fence("toml").encode())}
    monkeypatch.setattr(topic_catalog, "load", lambda: topics)


@pytest.mark.parametrize("check", [("check", "--quiet"), ("format", "--diff", "--quiet")], ids=lambda check: check[0])
def test_the_file_is_written_as_ours_are(check: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "ruff", *check, "--config", "pyproject.toml", "--stdin-filename", FILE, "-"]
    done = subprocess.run(command, cwd=ROOT, input=fence("python"), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_types_of_the_file_are_right(tmp_path: Path) -> None:
    """It takes a second where `make check` ran before, which leaves the types of everything that the file imports."""
    (tmp_path / "titles.py").write_text(fence("python"))
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(tmp_path / "titles.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_statements_of_the_file_are_laid_out(tmp_path: Path) -> None:
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_text(fence("python"))
    statements, loose = find(tmp_path, [FILE])
    assert loose == []
    assert [(one.how, one.is_constant) for one in statements] == [("triple quoted", True)] * 2
    assert [one.text for one in statements] == [lay_out(one.text) for one in statements]


def test_it_is_listed_and_has_a_process_a_port_a_reader_and_a_page() -> None:
    shown = json.loads(CliRunner().invoke(cli, ["flow", "list", "--json"]).stdout)
    assert {"name": "titles", "does": "versions of ADRs → the newest title of each"} in shown
    assert "titles_ops" in record.port_names()
    ports = dict.fromkeys((name for name in record.port_names() if name.endswith("_ops")), 1)
    stack = {"postgres": "external", "kafka": "external", "registry": "external", "ports": ports}
    settings = Settings(stack=StackSettings.model_validate(stack))
    parts = {part.name: part for part in system.parts(settings, system.Fetched(None, None, None, None))}
    assert list(parts["titles"].command[3:]) == ["flow", "run", "titles"]
    assert "newest title" in parts["titles"].about
    services = yaml.safe_load(reference.compose())["services"]
    assert services["titles"]["command"] == ["flow", "run", "titles"]
    topics = json.loads(CliRunner().invoke(cli, ["topics", "list", "--json"]).stdout)
    assert next(each["consumers"] for each in topics if each["name"] == "adriatic.app.adr_versions")[-1] == "titles"
    assert "| read by | index, activity, titles |" in reference.topics()
    text = reference.flows()
    assert "## `titles`" in text
    assert "| `mv.adr_titles` | the newest version of each ADR |" in text
    assert "### View `adr_titles`" in text
    document = create_app(Settings(), catalog.views()).openapi_schema.to_schema()
    assert "`adr_titles` (The newest title of each ADR.)" in json.dumps(msgspec.to_builtins(document))


@pytest.mark.stack
async def test_it_runs_and_is_read_watched_and_verified(fresh_database: Settings) -> None:
    with psycopg.connect(fresh_database.postgres.dsn("owner"), autocommit=True) as connection:
        connection.execute(fence("sql").encode())
    (view,) = catalog.flows()["titles"].views
    live = live_worlds.World(fresh_database, [view])
    try:
        live.make()
        with flow_worlds.made(live.settings) as world:
            await _follow(live, world)
    finally:
        live.close()


async def _follow(live: live_worlds.World, world: flow_worlds.World) -> None:
    tenant, adr, gone = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    watcher = Watcher(live.settings, Lifecycle(Health()))
    try:
        with flow_worlds.Running(world, catalog.build("titles", live.settings)):
            world.versions(
                [
                    Version(tenant, adr, 1, title="Use a log"),
                    Version(tenant, gone, 1),
                    Version(tenant, gone, 2, change="delete"),
                    Version(tenant, adr, 2, title="Use one log"),
                ]
            )
            until(lambda: live.sql("select title from mv.adr_titles where adr_id = %s", adr) == [("Use one log",)])
            until(lambda: _status(watcher) == ("ok", "titles", "fresh"))
            await _read(live, tenant, {str(adr), str(gone)})
        report = verify(live.settings, None, topics=world.topics)
        assert [each for each in report.differences if "adr_titles" in each.detail or "titles " in each.where] == []
        live.sql("update mv.adr_titles set title = 'x' where adr_id = %s", adr)
        report = verify(live.settings, None, topics=world.topics)
        found = {(each.kind, str(adr) in each.where) for each in report.differences if "adr_titles" in each.detail}
        assert found == {("missing", True), ("extra", True)}
    finally:
        watcher.close()


def _status(watcher: Watcher) -> tuple[str, str, str]:
    found = watcher.poll()
    status = next(each.status for each in found.groups if each.group == "adriatic.titles")
    view = next(each for each in found.views if each.view == "adr_titles")
    return status, view.flow, view.state


async def _read(live: live_worlds.World, tenant: uuid.UUID, adrs: set[str]) -> None:
    """The rows by a live read, which says how far the view is, as does a read of the watermark."""
    (view,) = live.views
    database = Database(live.settings.postgres)
    await database.open()
    hub = Hub(live.settings, database, SYSTEM_CLOCK, catalog.views())
    try:
        picture: Picture = await readers.read(
            hub,
            lambda picture: len(picture.rows) == 2 and picture.watermarks,
            view=hub.views["adr_titles"],
            tenant_id=tenant,
        )
        assert {row["adr_id"] for row in picture.rows.values()} == adrs
        assert picture.rows == live_worlds.table(live, view, tenant)
        assert picture.watermarks[-1]["as_of"]["state"] == "fresh"
        async with tenant_transaction(database, tenant, read_only=True) as connection:
            assert (await watermarks.read(connection, "adr_titles")).state == "fresh"
    finally:
        await hub.close()
        await database.close()


def test_the_process_of_the_api_knows_all_views_and_runs_no_flow() -> None:
    """What the API is handed comes from the flows' modules: neither their engine nor a model comes with them."""
    program = (
        "import sys\n"
        "import adriatic.cli.api, api.server\n"
        "from dataflows.catalog import views\n"
        "assert len(views()) > 10\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & set(sys.argv[1:])))\n"
    )
    foreign = ("bytewax", "faust", "onnxruntime", "tokenizers", "lxml")
    done = subprocess.run(
        [sys.executable, "-c", program, *foreign], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
