"""A whole import against a real database: what each change becomes, and that nothing a history holds can spoil it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import msgspec
import pytest

from api.auth.users import Principal
from api.db import Database, tenant_transaction
from api.imports import service
from api.imports.schemas import BatchResult, FinishedImport, ImportEvent, StartImport
from api.tenants import service as tenants
from runtime.errors import NotFound
from runtime.ids import new_id
from runtime.settings import Settings

pytestmark = pytest.mark.stack

BYTES_MAX = 10_000
START = datetime(2024, 1, 1, tzinfo=UTC)


class Importer:
    """Drives one import of one tenant, and looks at what is in the database afterwards."""

    def __init__(self, database: Database, principal: Principal, import_id: UUID) -> None:
        self.database = database
        self.principal = principal
        self.import_id = import_id
        self._minute = 0

    def event(
        self, change: str, path: str, text: str | bytes | None = None, *, ref: str = "", **more: Any
    ) -> ImportEvent:
        self._minute += 1
        content = text.encode() if isinstance(text, str) else text
        return ImportEvent(
            ref=ref or f"commit-{self._minute}",
            committed_at=START + timedelta(minutes=self._minute),
            change=change,  # type: ignore[arg-type]
            path=path,
            content_base64=content,
            **more,
        )

    async def send(self, *events: ImportEvent) -> BatchResult:
        return await service.receive(self.database, self.principal, self.import_id, events, adr_bytes_max=BYTES_MAX)

    async def finish(self) -> FinishedImport:
        return await service.finish(self.database, self.principal, self.import_id)

    async def fetch(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        async with tenant_transaction(self.database, self.principal.tenant_id, read_only=True) as connection:
            return [tuple(row) for row in await connection.fetch(query, *values)]

    async def adrs(self) -> list[tuple[Any, ...]]:
        """(path, number, title, version, live) of each ADR, in the order of their making."""
        return await self.fetch(
            "select source_key, number, title, version, deleted_at is null from app.adrs order by created_at, adr_id"
        )

    async def history(self, path: str) -> list[str]:
        """The changes of the ADR that is or was last at `path`, in order."""
        rows = await self.fetch(
            "select v.change from app.adr_versions v where v.adr_id = (select adr_id from app.adrs "
            "where source_key = $1 order by deleted_at desc nulls first limit 1) order by version",
            path,
        )
        return [row[0] for row in rows]


@pytest.fixture
async def database(fresh_database: Settings) -> AsyncIterator[Database]:
    database = Database(fresh_database.postgres)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def principal(fresh_database: Settings, database: Database) -> Principal:
    async with tenants.owner(fresh_database.postgres) as connection:
        tenant = await tenants.create(connection, "acme")
    return Principal(tenant.tenant_id, new_id(), "ada", "Ada")


@pytest.fixture
async def importer(database: Database, principal: Principal) -> Importer:
    started = await service.start(database, principal, StartImport("a test"))
    return Importer(database, principal, started.import_id)


def text(title: str, more: str = "") -> str:
    return f"# {title}\n\n## Status\n\nAccepted\n\n{more}"


async def test_each_change_is_a_version_and_the_head_says_what_the_newest_does(importer: Importer) -> None:
    done = await importer.send(
        importer.event("A", "adr/0001-a.md", text("A"), author="Ada", subject="Add A"),
        importer.event("M", "adr/0001-a.md", text("A2")),
        importer.event("R", "adr/0003-a.md", text("A3"), old_path="adr/0001-a.md"),
        importer.event("D", "adr/0003-a.md"),
        importer.event("A", "adr/0003-a.md", text("A4")),
        importer.event("A", "adr/0002-b.md", text("B")),
    )
    assert (done.received, done.applied, done.skipped, done.versions, done.refused) == (6, 6, 0, 6, ())
    assert [remark.code for remark in done.odd] == ["renumbered"]
    assert await importer.history("adr/0003-a.md") == ["create", "update", "rename", "delete", "restore"]
    assert await importer.adrs() == [("adr/0003-a.md", 3, "A4", 5, True), ("adr/0002-b.md", 2, "B", 1, True)]
    (row,) = await importer.fetch(
        "select author, message, source_key, source_ref, effective_at, body from app.adr_versions "
        "where change = 'create' and title = 'A'"
    )
    assert row == ("Ada", "Add A", "adr/0001-a.md", "commit-1", START + timedelta(minutes=1), text("A"))


async def test_sent_again_whole_or_in_part_nothing_changes(importer: Importer) -> None:
    events = [importer.event("A", f"adr/{n:04d}.md", text(str(n))) for n in range(1, 6)]
    await importer.send(*events[:3])
    again = await importer.send(*events)
    assert (again.applied, again.skipped) == (2, 3)
    twice = await importer.send(events[0], events[0])
    assert (twice.applied, twice.skipped) == (0, 2)
    assert len(await importer.adrs()) == 5


async def test_a_commit_that_swaps_two_files_and_shifts_a_row_of_numbers(importer: Importer) -> None:
    await importer.send(*(importer.event("A", f"adr/000{n}-{name}.md", text(name)) for n, name in enumerate("abc", 1)))
    await importer.send(
        importer.event("R", "adr/0002-b.md", text("a"), old_path="adr/0001-a.md", ref="swap"),
        importer.event("R", "adr/0001-a.md", text("b"), old_path="adr/0002-b.md", ref="swap"),
    )
    assert [row[:3] for row in await importer.adrs()] == [
        ("adr/0002-b.md", 2, "a"),
        ("adr/0001-a.md", 1, "b"),
        ("adr/0003-c.md", 3, "c"),
    ]
    done = await importer.send(
        importer.event("R", "adr/0002-x.md", text("b"), old_path="adr/0001-a.md", ref="shift"),
        importer.event("R", "adr/0003-y.md", text("a"), old_path="adr/0002-b.md", ref="shift"),
        importer.event("R", "adr/0004-z.md", text("c"), old_path="adr/0003-c.md", ref="shift"),
    )
    assert [row[:3] for row in await importer.adrs()] == [
        ("adr/0003-y.md", 3, "a"),
        ("adr/0002-x.md", 2, "b"),
        ("adr/0004-z.md", 4, "c"),
    ]
    assert {remark.code for remark in done.odd} == {"renumbered"}


async def test_a_number_that_is_taken_is_said_and_given_when_it_is_free_at_the_end(importer: Importer) -> None:
    done = await importer.send(
        importer.event("A", "adr/0007-first.md", text("first")),
        importer.event("A", "adr/0007-second.md", text("second")),
        importer.event("M", "adr/0007-second.md", text("second!")),
    )
    assert [(remark.code, remark.path) for remark in done.odd] == [("number-taken", "adr/0007-second.md")]
    assert [row[1] for row in await importer.adrs()] == [7, None]
    await importer.send(importer.event("R", "adr/0008-first.md", text("first"), old_path="adr/0007-first.md"))
    finished = await importer.finish()
    assert [row[1] for row in await importer.adrs()] == [8, 7]
    assert finished.report.odd["number-settled"].count == 1
    (next_number,) = await importer.fetch("select next_number from app.logs")
    assert next_number == (9,)


async def test_a_file_takes_over_the_number_of_a_deleted_one(importer: Importer) -> None:
    await importer.send(importer.event("A", "adr/0007-old.md", text("old")))
    done = await importer.send(
        importer.event("A", "adr/0007-new.md", text("new"), ref="replace"),
        importer.event("D", "adr/0007-old.md", ref="replace"),
    )
    assert [remark.code for remark in done.odd] == ["number-moved"]
    assert [row[:3] for row in await importer.adrs()] == [
        ("adr/0007-old.md", None, "old"),
        ("adr/0007-new.md", 7, "new"),
    ]


async def test_a_rename_over_a_living_file_ends_that_one(importer: Importer) -> None:
    done = await importer.send(
        importer.event("A", "adr/a.md", text("a")),
        importer.event("A", "adr/b.md", text("b")),
        importer.event("R", "adr/b.md", text("a"), old_path="adr/a.md"),
    )
    assert (done.applied, done.versions) == (3, 4)
    assert [remark.code for remark in done.odd] == ["overwritten"]
    assert await importer.adrs() == [("adr/b.md", None, "a", 2, True), ("adr/b.md", None, "b", 2, False)]


async def test_what_the_log_does_not_have(importer: Importer) -> None:
    done = await importer.send(
        importer.event("M", "adr/m.md", text("m")),
        importer.event("R", "adr/r.md", text("r"), old_path="adr/never.md"),
        importer.event("D", "adr/d.md"),
        importer.event("A", "adr/m.md", text("m again")),
    )
    assert (done.applied, [remark.code for remark in done.refused]) == (3, ["unknown-path"])
    assert [remark.code for remark in done.odd] == ["unknown-path", "unknown-path", "added-again"]
    assert [row[0] for row in await importer.adrs()] == ["adr/m.md", "adr/r.md"]


@pytest.mark.parametrize(
    "content",
    [
        b"# Caf\xe9\r\n",
        b"# Nul \x00 here\n",
        b"\xff\xfe#\x00 \x00A\x00",
        b"\xef\xbb\xbf# Bom\r\n\rmixed\n",
        b"",
        b"\xed\xa0\x80",
    ],
)
async def test_every_byte_comes_back(importer: Importer, content: bytes) -> None:
    done = await importer.send(importer.event("A", "adr/a.md", content))
    assert done.applied == 1
    ((body, original),) = await importer.fetch("select body, original from app.adr_versions")
    assert (original if original is not None else body.encode()) == content
    assert (original is not None) == ("not-text" in {remark.code for remark in done.odd})


async def test_a_time_that_utc_does_not_have_is_named_with_its_line(importer: Importer) -> None:
    """The first moment of the first year, east of Greenwich."""
    late = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
    good, bad = importer.event("A", "adr/1.md", text("1")), importer.event("A", "adr/2.md", text("2"))
    done = await importer.send(good, msgspec.structs.replace(bad, committed_at=late))
    assert done.applied == 1
    ((remark),) = done.refused
    assert (remark.path, remark.line, remark.code) == ("adr/2.md", 2, "invalid-input")
    assert "years 1 to 9999" in remark.detail


async def test_numbers_are_settled_as_the_texts_claim_them(importer: Importer) -> None:
    """A template and a plan have no number of a decision: not at the end of an import either."""
    await importer.send(
        importer.event("A", "adr/0000-template.md", b"# Title of the decision\n\n## Status\n\n{proposed | accepted}\n"),
        importer.event("A", "adr/0001-a.md", text("a")),
        importer.event("A", "adr/0004-plan.md", b"# Implementation plan for ADR-1\n\nSteps.\n"),
    )
    await importer.finish()
    rows = await importer.fetch("select source_key, number from app.adrs order by source_key")
    assert [tuple(row) for row in rows] == [
        ("adr/0000-template.md", None),
        ("adr/0001-a.md", 1),
        ("adr/0004-plan.md", None),
    ]


async def test_a_change_that_is_refused_leaves_the_others_alone(importer: Importer) -> None:
    done = await importer.send(
        importer.event("A", "adr/1.md", text("1")),
        importer.event("A", "adr/huge.md", b"x" * (BYTES_MAX + 1)),
        importer.event("A", "adr/unsent.md", size_bytes=50_000_000),
        importer.event("A", "x" * 501, text("long path")),
        importer.event("A", "adr/nothing.md"),
        importer.event("R", "adr/r.md", text("r")),
        importer.event("A", "adr/2.md", text("2")),
    )
    assert done.applied == 2
    assert [remark.code for remark in done.refused] == ["too-large"] * 2 + ["invalid-input"] * 3
    assert "50000000 bytes" in done.refused[1].detail
    report = (await importer.finish()).report
    assert (report.events, report.applied, report.skipped) == (7, 2, 0)
    assert {code: tally.count for code, tally in report.refused.items()} == {"too-large": 2, "invalid-input": 3}


async def test_what_the_database_refuses_is_found_and_the_rest_is_written(
    importer: Importer, fresh_database: Settings
) -> None:
    async with tenants.owner(fresh_database.postgres) as connection:
        await connection.execute("alter table app.adr_versions add constraint poison check (title <> 'poison')")
    done = await importer.send(
        importer.event("A", "adr/1.md", text("1")),
        importer.event("A", "adr/poison.md", text("poison")),
        importer.event("A", "adr/2.md", text("2")),
    )
    assert (done.applied, [remark.code for remark in done.refused]) == (2, ["unprocessable"])
    assert "poison" in done.refused[0].detail
    assert [row[0] for row in await importer.adrs()] == ["adr/1.md", "adr/2.md"]


async def test_links_resolve_when_the_import_ends_and_again_after_more_came(importer: Importer) -> None:
    await importer.send(
        importer.event("A", "docs/adr/0001-a.md", text("A", "See [B](0002-b.md), ADR-3 and [x](../x.md).")),
        importer.event("A", "docs/adr/0002-b.md", text("B", "Supersedes [A](./0001-a.md).")),
    )
    first = await importer.finish()
    assert (first.totals.links, first.totals.links_resolved) == (4, 2)
    await importer.send(
        importer.event("A", "docs/adr/0003-c.md", text("C", "https://example.org")),
        importer.event(
            "R", "docs/adr/0009-a.md", text("A", "See [B](0002-b.md) and ADR-3."), old_path="docs/adr/0001-a.md"
        ),
    )
    second = await importer.finish()
    assert (second.totals.links, second.totals.links_resolved) == (3, 3)
    rows = await importer.fetch(
        "select a.title, l.kind, t.title from app.adr_links l join app.adrs a using (adr_id) "
        "left join app.adrs t on t.adr_id = l.target_id order by 1, 3"
    )
    assert rows == [("A", "relates-to", "B"), ("A", "relates-to", "C"), ("B", "supersedes", "A")]


async def test_a_snapshot_passes_over_what_is_the_same_and_keeps_what_was_edited_since(
    database: Database, principal: Principal
) -> None:
    started = await service.start(database, principal, StartImport("a folder", snapshot=True))
    importer = Importer(database, principal, started.import_id)
    first = [importer.event("A", "a.md", text("a")), importer.event("A", "b.md", b"\xff")]
    await importer.send(*first)
    touched = [importer.event("A", "a.md", text("a")), importer.event("A", "b.md", b"\xff")]
    assert (await importer.send(*touched)).skipped == 2
    edited = importer.event("A", "a.md", text("a, edited"))
    assert (await importer.send(edited)).odd == ()
    assert (await importer.send(*first, edited)).skipped == 3
    assert [row[2:4] for row in await importer.adrs()] == [("a, edited", 2), ("B", 1)]


async def test_another_tenants_import_does_not_exist(importer: Importer, fresh_database: Settings) -> None:
    async with tenants.owner(fresh_database.postgres) as connection:
        other = await tenants.create(connection, "other")
    stranger = Principal(other.tenant_id, new_id(), "eve", "Eve")
    for attempt in (
        service.read(importer.database, stranger, importer.import_id),
        service.finish(importer.database, stranger, importer.import_id),
        service.receive(
            importer.database, stranger, importer.import_id, [importer.event("A", "a.md", "x")], adr_bytes_max=BYTES_MAX
        ),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert await importer.adrs() == []


def test_base64_is_what_bytes_travel_as() -> None:
    import msgspec

    event = msgspec.json.decode(
        b'{"ref": "r", "committed_at": "2024-01-01T00:00:00Z", "change": "A", "path": "p", "content_base64": "%s"}'
        % base64.b64encode(b"\x00\xff"),
        type=ImportEvent,
    )
    assert event.bytes_() == b"\x00\xff"
