"""`adriatic demo` plays its day on the whole system: everything that it says is so, and nothing is left behind."""

from __future__ import annotations

import json

import pytest

from adriatic.cli.demo import story
from tests.system.conftest import World

pytestmark = pytest.mark.stack


def test_a_day_is_played_verified_and_cleared_up(world: World) -> None:
    done = world.run("demo", "--json", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    day = json.loads(done.stdout)
    assert day["faults"] == []
    print(f"the day {day['took_s']} s, all {day['all_took_s']} s")
    steps = [*day["gateway"], *day["crawl"]]
    print("\n".join(f"{step['took_ms']:6} ms  {step['name']}: {step['detail']}" for step in steps))
    assert day["verify"]["clean"]
    assert day["import"]["changes"] == len(story.history())
    assert day["import"]["links"] == day["import"]["links_resolved"] > 0
    assert day["documents"]["processed"] == len([each for each in story.day().document if not each.refused])
    feed = day["notices"]
    assert feed["received"] == len(list(story.notices(story.day().feed)))
    assert (feed["duplicates"], feed["deleted"]) == (story.day().feed.duplicates, story.day().feed.deleted)
    assert feed["superseded"] > 0
    assert (feed["rejected"], day["feed"]["refused"]) == ({}, {"invalid-input": 1})
    assert (day["chats"]["answered"], day["chats"]["stopped"]) == (2, 1)
    assert day["cut"]["each_once"]
    assert day["cut"]["events"] > day["cut"]["before_the_cut"]
    assert [step["name"] for step in steps if not step["passed"]] == []
    assert (len(day["gateway"]), len(day["crawl"])) == (10, 4)
    scanned, research, task = day["scanned"], day["research"], day["task"]
    assert (scanned["state"], scanned["read"], scanned["retried_pages"]) == ("partial", 1, 1)
    assert research["parts"] == 2
    assert research["quotes"] == research["opened_and_there"] > 0
    assert research["of_another"] == "the sources do not say"
    assert task["steps"] > task["tools"] > 0
    assert day["usage"]["attempts"] >= 4 + task["steps"] - task["tools"]
    assert (task["plan"], task["another"]) == ("quotes", "cancelled")
    assert day["jobs"]["state"] == "succeeded"
    assert day["related"]["links_in_first_5"] > 0
    for view in day["live"].values():
        assert view["rows"] > 0
    live = "select count(*) from app.adrs a join app.tenants t using (tenant_id) where slug = %s and deleted_at is null"
    assert world.rows(live, day["tenant"]) == [(0,)]


def test_without_a_system_it_says_so(world: World, tmp_path: object) -> None:
    import os
    import subprocess
    import sys

    nothing = {**os.environ, "ADRIATIC_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "adriatic", "demo"],
        env=nothing,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3
    assert "adriatic up" in done.stderr
