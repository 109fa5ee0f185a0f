"""Who reads a topic is said by the readers, and shown with the topic."""

from __future__ import annotations

import json

from click.testing import CliRunner

from adriatic.cli import cli
from adriatic.consumers import consumers_of
from dataflows.catalog import flows
from streams.catalog import agents
from topics import catalog


def test_what_is_read_exists_and_has_a_place_for_dead_letters() -> None:
    topics = catalog.load()
    read = {topic for flow in flows().values() for topic in flow.topics} | {
        topic for agent in agents().values() for topic in agent.topics
    }
    assert {name for name in topics if consumers_of(name)} == read
    assert [name for name in sorted(read) if topics[name].dlq is None] == []


def test_a_topic_is_shown_with_its_readers() -> None:
    shown = json.loads(CliRunner().invoke(cli, ["topics", "list", "--json"]).stdout)
    consumers = {topic["name"]: topic["consumers"] for topic in shown}
    assert consumers["adriatic.app.adr_versions"] == ["index", "activity"]
    assert consumers["agent.task.submitted"] == ["jobs"]
    assert consumers["adriatic.mv.related"] == []
