"""`verify` finds what is wrong in packed segments, which `tests/api/search/test_packed.py` writes and searches."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from connectors.postgres import word_segments
from connectors.postgres.connections import connect
from connectors.postgres.word_segments import step
from dataflows.comparison import Comparison, TenantReport, VerifyReport
from dataflows.oracle_segments import compare_segments
from runtime.settings import SearchSettings, Settings
from tests.api.search.corpus import KEEP, Corpus, writing
from tests.api.search.test_packed import PLACES, edit
from tests.api.search.test_words import fill, write

pytestmark = pytest.mark.stack

SOURCES = 300


@pytest.fixture
def corpus(fresh_database: Settings) -> Iterator[Corpus]:
    with writing(fresh_database) as writer:
        yield writer


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        ("delete from mv.word_pages where first = (select max(first) from mv.word_pages)", "mv.word_pages"),
        ("update mv.word_pages set counts = overlay(counts placing '\\x41' from 1)", "mv.word_pages"),
        ("update mv.word_segments set dead = '\\x0003'", "in no segment"),
        ("update mv.word_segments set lengths = overlay(lengths placing '\\x01' from 1)", "not as long"),
        ("delete from mv.word_segments where segment = (select min(segment) from mv.word_segments)", "in no segment"),
        ("delete from mv.word_changes", "mv.word_pages"),
        ("delete from mv.source_words where source_id = (select max(source_id::text)::uuid from mv.chunks)", "on show"),
        (
            "insert into mv.word_segments select tenant_id, kind, 99, sources, ids, lengths from mv.word_segments "
            "limit 1",
            "several segments",
        ),
    ],
)  # fmt: skip
def test_verify_finds_what_segments_have_wrong(
    fresh_database: Settings, corpus: Corpus, monkeypatch: pytest.MonkeyPatch, break_it: Any, says: str
) -> None:
    monkeypatch.setattr(word_segments, "SEGMENT_SOURCES_MAX", 100)
    chance = random.Random(3)
    tenant_id = corpus.tenant("one")
    fill(corpus, tenant_id, [write(chance) for _ in range(SOURCES)])
    with connect(fresh_database.postgres, name="test") as flows:
        while step(flows, SearchSettings(words_packed_min=SOURCES)):
            flows.commit()
        rows = corpus.connection.execute(PLACES, [tenant_id]).fetchall()
        edit(corpus, rows[5][1], "worda " * 9)
        corpus.connection.execute(KEEP, [tenant_id, "adr", rows[5][1]])
        flows.commit()
        found = []
        for damage in ("select", break_it):
            flows.execute(damage)
            report = VerifyReport()
            compare_segments(Comparison(flows, report, TenantReport(tenant_id, "t"), None, None, None))
            found.append([each.detail for each in report.differences])
    assert found[0] == []
    assert any(says in each for each in found[1])
