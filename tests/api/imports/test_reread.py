"""What is here is brought up to the reader of today: new readings, no new versions, and nobody else's rows.

What an older reader left is made in the tables by the administrator: as the wrong values that such a reader had.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.adrs.document import READER
from api.imports.reader import AdrReader
from connectors.postgres import jobs
from connectors.postgres.connections import connect
from runtime.settings import Settings
from streams import reread_adrs
from tests.api.world import Caller, World

pytestmark = pytest.mark.stack

FILES = {
    "docs/adr/0001-weigh.md": "# 1. Weigh parcels\n\n## Status\n\nNot adopted\n",
    "docs/adr/0002-carry.md": "# 2. Go\n\n## Status\n\nAccepted\n\nSupersedes [1](0001-weigh.md)\n\nAmends ADR-3.1\n",
    "docs/adr/0003.1-limits.md": "# 3.1. Limits\n\n## Status\n\nAccepted\n",
    "docs/adr/0003-all.md": "# 3. All of it\n\n## Status\n\nGreen light\n",
}


async def bring(caller: Caller, files: dict[str, str]) -> dict[str, Any]:
    started = (await caller.post("/v1/imports", {"source": "docs"})).json()
    events = [
        {
            "ref": "c1",
            "committed_at": "2026-01-05T10:00:00Z",
            "change": "A",
            "path": path,
            "author": "Ann",
            "subject": "Add",
            "content": text,
        }
        for path, text in files.items()
    ]
    path = f"/v1/imports/{started['import_id']}"
    assert (await caller.post(f"{path}/events", {"events": events})).status_code == 200
    found: dict[str, Any] = (await caller.post(f"{path}/finish", None)).json()
    return found


def run_job(settings: Settings, tenant_id: UUID, steps_max: int = 1_000) -> tuple[dict[str, Any], int]:
    """The job from its row to its end, as the worker takes it: what it found, and its steps. Stops after `steps_max`,
    as a worker that dies."""
    kind, steps = reread_adrs.RereadAdrs(AdrReader()), 0
    while True:
        with connect(settings.postgres) as connection:
            with connection.transaction():
                job = jobs.claim(connection, f"test-{uuid4()}", [kind.name], 1)
                assert job is not None
                assert job.tenant_id == tenant_id
            prepared = kind.prepare(connection, job)
            with connection.transaction():
                progress = kind.apply(connection, job, prepared)
                jobs.advance(connection, job, progress, announce=True)
                if not progress.finished:
                    jobs.release(connection, job)
        steps += 1
        if progress.finished or steps == steps_max:
            return dict(progress.result), steps


async def run(world: World, caller: Caller, steps_max: int = 1_000, *, ask: bool = True) -> tuple[dict[str, Any], int]:
    if ask:
        assert (await caller.post("/v1/jobs", {"kind": "reread"})).status_code == 201
    return await asyncio.to_thread(run_job, world.settings, caller.tenant_id, steps_max)


async def spoil(world: World, caller: Caller) -> None:
    """What an older reader made of the files."""
    async with world.admin() as admin:
        for statement in (
            "update app.adr_versions set title = 'Context', status = 'accepted' "
            "where tenant_id = $1 and body like '# 1.%'",
            "update app.adrs set title = 'Context', status = 'accepted' where tenant_id = $1 and number = 1",
            "update app.adrs set number = null where tenant_id = $1 and source_key like '%0003-all.md'",
            "update app.adrs set number = 3, label = null where tenant_id = $1 and source_key like '%0003.1-limits.md'",
            "update app.adr_links set kind = 'relates-to', target_id = null "
            "where tenant_id = $1 and kind = 'supersedes'",
            "update app.adr_readings set reader = 1, oddities = '[]' where tenant_id = $1",
        ):
            await admin.execute(statement, caller.tenant_id)


async def stored(world: World, caller: Caller) -> dict[str, Any]:
    async with world.admin() as admin:
        heads = await admin.fetch(
            "select source_key, number, label, title, status, version from app.adrs where tenant_id = $1 "
            "order by source_key, title",
            caller.tenant_id,
        )
        links = await admin.fetch(
            "select a.source_key, l.kind, l.target, t.source_key as leads from app.adr_links l "
            "join app.adrs a using (tenant_id, adr_id) "
            "left join app.adrs t on t.tenant_id = l.tenant_id and t.adr_id = l.target_id "
            "where l.tenant_id = $1 order by 1, 2, 3",
            caller.tenant_id,
        )
        versions = await admin.fetch(
            "select adr_id, version, title, status, reading, md5(body) as body, original from app.adr_versions "
            "where tenant_id = $1 order by adr_id, version",
            caller.tenant_id,
        )
        readings = await admin.fetch(
            "select adr_id, reader, number, label, oddities, read_at from app.adr_readings where tenant_id = $1 "
            "order by adr_id",
            caller.tenant_id,
        )
    return {
        name: [dict(row) for row in rows]
        for name, rows in (("heads", heads), ("links", links), ("versions", versions), ("readings", readings))
    }


async def test_a_part_of_a_number_is_a_label_and_what_leads_to_it_leads_there(world: World) -> None:
    caller = await world.tenant()
    await bring(caller, FILES)
    state = await stored(world, caller)
    assert [(head["number"], head["label"]) for head in state["heads"]] == [
        (1, None),
        (2, None),
        (3, None),
        (None, "3.1"),
    ]
    assert {link["target"]: link["leads"] for link in state["links"]} == {
        "0001-weigh.md": "docs/adr/0001-weigh.md",
        "ADR-3.1": "docs/adr/0003.1-limits.md",
    }
    shown = (await caller.get("/v1/adrs", params={"q": "Limits"})).json()["items"]
    assert [adr["label"] for adr in shown] == ["ADR-3.1"]
    written = await caller.create("# Written here\n\nSupersedes ADR-3.1, amends ADR-3.\n", log="main")
    links = (await caller.get(f"/v1/adrs/{written['adr_id']}/links")).json()["outgoing"]
    by_id = {adr["adr_id"]: adr["label"] for adr in (await caller.get("/v1/adrs")).json()["items"]}
    assert {link["target"]: by_id[link["target_id"]] for link in links} == {"ADR-3.1": "ADR-3.1", "ADR-3": "ADR-3"}


async def test_what_an_older_reader_read_is_read_again_and_said(world: World) -> None:
    caller, other = await world.tenant(), await world.tenant()
    for each in (caller, other):
        await bring(each, FILES)
    right = await stored(world, caller)
    for each in (caller, other):
        await spoil(world, each)
    untouched = await stored(world, other)
    async with world.admin() as admin:
        older = "select count(*) from app.adr_readings where tenant_id = $1 and reader < $2"
        assert await admin.fetchval(older, caller.tenant_id, READER) == 4

    result, _ = await run(world, caller)

    now = await stored(world, caller)
    assert now["heads"] == right["heads"]
    assert now["links"] == right["links"]
    assert [row["version"] for row in now["versions"]] == [1, 1, 1, 1]
    assert [row["body"] for row in now["versions"]] == [row["body"] for row in right["versions"]]
    assert sorted(row["reading"] for row in now["versions"]) == [1, 1, 1, 2]
    assert {row["reader"] for row in now["readings"]} == {READER}
    assert (result["adrs"], result["older"], result["kept"]) == (4, 4, 0)
    counts = {name: change["count"] for name, change in result["changed"].items()}
    assert counts["title"] == counts["status"] == 1
    assert counts["number"] == 2
    assert counts["label"] == 1
    assert counts["links"] == 2
    assert result["changed"]["status"]["examples"] == [
        {"adr": "docs/adr/0001-weigh.md v1", "before": "accepted", "after": "rejected"}
    ]
    assert await stored(world, other) == untouched

    again, _ = await run(world, caller)
    assert (again["changed"], again["older"]) == ({}, 0)
    assert await stored(world, caller) == now


async def test_it_goes_on_where_it_was_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reread_adrs, "VERSIONS_MAX", 3)
    caller = await world.tenant()
    await bring(
        caller,
        {f"docs/adr/{number:04}-a.md": f"# {number}. A\n\n## Status\n\nNot adopted\n" for number in range(1, 12)},
    )
    async with world.admin() as admin:
        await admin.execute("update app.adr_versions set status = 'accepted' where tenant_id = $1", caller.tenant_id)
        await admin.execute("update app.adrs set status = 'accepted' where tenant_id = $1", caller.tenant_id)
    partly, steps = await run(world, caller, 2)
    assert (steps, partly["changed"]["status"]["count"]) == (2, 6)
    result, steps = await run(world, caller, ask=False)
    assert result["changed"]["status"]["count"] == 11
    assert len(result["changed"]["status"]["examples"]) == reread_adrs.EXAMPLES_MAX
    assert {head["status"] for head in (await stored(world, caller))["heads"]} == {"rejected"}
    job = (await caller.get("/v1/jobs")).json()["items"][0]
    assert (job["state"], job["done"], job["total"], job["unit"]) == ("succeeded", 11, 11, "versions")
    assert job["result"] == json.loads(json.dumps(result))


async def test_what_somebody_gave_stays(world: World) -> None:
    caller = await world.tenant()
    given = await caller.create("# Weigh parcels\n\n## Status\n\nNot adopted\n", title="Scales", status="accepted")
    await caller.update(given, body="# Weigh parcels\n\n## Status\n\nStill not adopted\n", status="draft")
    plain = await caller.create("No heading.\n", title="Plain", status="proposed")
    result, _ = await run(world, caller)
    assert result["changed"] == {}
    assert (await caller.get(f"/v1/adrs/{given['adr_id']}/versions/1")).json()["title"] == "Scales"
    assert (await caller.get(f"/v1/adrs/{given['adr_id']}")).json()["status"] == "draft"
    assert (await caller.get(f"/v1/adrs/{plain['adr_id']}")).json()["title"] == "Plain"
    # Written before it was kept who gave what: it may have been given, and stays.
    async with world.admin() as admin:
        await admin.execute(
            "update app.adr_versions set reading = 0, title_given = false, status_given = false where tenant_id = $1",
            caller.tenant_id,
        )
    result, _ = await run(world, caller)
    assert (result["changed"], result["kept"]) == ({}, 3)


async def test_own_words_are_used_at_the_next_write_and_when_read_again(world: World) -> None:
    caller, other = await world.tenant(), await world.tenant()
    for each in (caller, other):
        await bring(each, FILES)
    statuses = {head["source_key"]: head["status"] for head in (await stored(world, caller))["heads"]}
    assert statuses["docs/adr/0003-all.md"] == "unknown"
    words = [
        {"subject": "status", "name": "accepted", "phrase": "green  light"},
        {"subject": "field", "name": "status", "phrase": "traffic light"},
        {"subject": "link", "name": "superseded-by", "phrase": "makes way for @"},
    ]
    answer = await caller.put("/v1/words", {"words": words})
    assert answer.status_code == 200, answer.text
    assert answer.json()["reader"] == READER
    assert [word["phrase"] for word in answer.json()["words"]] == ["traffic light", "makes way for @", "green light"]
    assert (await other.get("/v1/words")).json()["words"] == []

    text = "# New\n\nTraffic light: not green light\n\n## Context\n\nIt makes way for ADR-2.\n"
    made = await caller.create(text, log="main")
    assert made["status"] == "rejected"
    links = (await caller.get(f"/v1/adrs/{made['adr_id']}/links")).json()["outgoing"]
    assert [(link["kind"], link["target"]) for link in links] == [("superseded-by", "ADR-2")]
    assert (await other.create(text, log="main"))["status"] == "unknown"

    await run(world, caller)
    statuses = {head["source_key"]: head["status"] for head in (await stored(world, caller))["heads"]}
    assert statuses["docs/adr/0003-all.md"] == "accepted"
    assert (await caller.put("/v1/words", {"words": []})).json()["words"] == []
    await run(world, caller)
    statuses = {head["source_key"]: head["status"] for head in (await stored(world, caller))["heads"]}
    assert statuses["docs/adr/0003-all.md"] == "unknown"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ({"subject": "status", "name": "acepted", "phrase": "green"}, "one of: "),
        ({"subject": "status", "name": "unknown", "phrase": "green"}, "one of: "),
        ({"subject": "status", "name": "accepted", "phrase": "rejected"}, "means rejected already"),
        ({"subject": "status", "name": "accepted", "phrase": "Abgelehnt"}, "already"),
        ({"subject": "status", "name": "accepted", "phrase": "not"}, "of other words"),
        ({"subject": "status", "name": "accepted", "phrase": "(?:x)+"}, "is no phrase"),
        ({"subject": "status", "name": "accepted", "phrase": "a\nb\x07"}, "is no phrase"),
        ({"subject": "status", "name": "accepted", "phrase": "123"}, "is no phrase"),
        ({"subject": "status", "name": "accepted", "phrase": "x @"}, "for links"),
        ({"subject": "status", "name": "accepted", "phrase": "* green"}, "ends no word"),
        ({"subject": "link", "name": "supersedes", "phrase": "makes way"}, "name the other record once"),
        ({"subject": "link", "name": "supersedes", "phrase": "@ and @"}, "name the other record once"),
        ({"subject": "field", "name": "date", "phrase": "status"}, "already"),
        ({"subject": "colour", "name": "accepted", "phrase": "green"}, "subject"),
        ({"subject": "status", "name": "accepted", "phrase": "x" * 81}, "phrase"),
    ],
)
async def test_a_word_that_cannot_be_taken_is_refused_and_said_why(
    world: World, word: dict[str, str], said: str
) -> None:
    caller = await world.tenant()
    kept = {"subject": "status", "name": "accepted", "phrase": "green light"}
    assert (await caller.put("/v1/words", {"words": [kept]})).status_code == 200
    refused = await caller.put("/v1/words", {"words": [kept, word]})
    assert refused.status_code == 400, refused.text
    assert said in refused.text
    assert (await caller.get("/v1/words")).json()["words"] == [kept]


async def test_words_are_bounded_and_mean_one_thing(world: World) -> None:
    caller = await world.tenant()
    many = [{"subject": "status", "name": "accepted", "phrase": f"word {number}"} for number in range(201)]
    assert (await caller.put("/v1/words", {"words": many})).status_code == 400
    assert len((await caller.put("/v1/words", {"words": many[:200]})).json()["words"]) == 200
    both = [{"subject": "status", "name": name, "phrase": "green light"} for name in ("accepted", "rejected")]
    refused = await caller.put("/v1/words", {"words": both})
    assert (refused.status_code, "cannot mean both" in refused.text) == (400, True)
