"""`adriatic feed`: how a file becomes requests, and what is left out. Over a running system: `tests/system`."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from click.testing import CliRunner

from adriatic.cli import feeds
from api.feeds import service
from api.feeds.service import NewItem
from schemas.feeds import MEDIA_TYPES, TEXT_BYTES_MAX, ProducerKey


def read(*lines: Any) -> tuple[list[NewItem], list[tuple[int, str]]]:
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    items = feeds._Items(io.BytesIO(text.encode()))
    return list(items), items.bad


def test_lines_that_are_no_items_are_named_and_the_others_go_on() -> None:
    items, bad = read(
        {"id": "a", "version": 1, "text": "Text."},
        "",
        "{",
        {"id": "b", "version": 0, "text": "Text."},
        {"id": "c", "version": 1},
        {"id": "d", "version": 1, "titel": "x", "text": "Text."},
        {"id": "e", "version": 1, "text": "Text.", "published_at": "2026-01-15T09:00:00"},
        {"id": "f", "version": 2, "deleted": True},
    )
    assert [item.id for item in items] == ["a", "f"]
    assert [line for line, _ in bad] == [3, 4, 5, 6, 7]
    assert "has a text" in dict(bad)[5]
    assert "timezone" in dict(bad)[7]
    assert "published_at" in dict(bad)[7]


def test_batches_are_as_large_as_the_api_takes() -> None:
    small = [NewItem(str(number), 1, text="x") for number in range(feeds.BATCH_ITEMS_MAX + 1)]
    assert [len(batch) for batch in feeds._batches(iter(small))] == [feeds.BATCH_ITEMS_MAX, 1]
    assert feeds.BATCH_ITEMS_MAX == service.ITEMS_MAX
    large = [NewItem(str(number), 1, text='"' * (TEXT_BYTES_MAX // 2)) for number in range(9)]
    batches = list(feeds._batches(iter(large)))
    assert sum(map(len, batches)) == 9
    assert max(sum(map(len, batch)) for batch in batches) <= feeds.BATCH_BYTES_MAX
    worst = msgspec.json.encode(NewItem("a", 1, text='"' * TEXT_BYTES_MAX, media_type=MEDIA_TYPES[0]))
    assert len(worst) < service.BODY_BYTES_MAX, "the largest text passes the door alone"


def test_what_is_no_key_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    items = tmp_path / "items.jsonl"
    items.write_text("")
    arguments = ["encode", "wiki", str(items), str(tmp_path / "out"), "--key-file", "-"]
    refused = CliRunner().invoke(feeds.feed, arguments, input="secret\n")
    assert "no feed key" in str(refused.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["list", "--url", "http://x"], ["delete", "wiki"]])
def test_what_is_not_enough_is_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(feeds.feed, arguments).exit_code != 0


def test_a_record_says_the_tenant_of_its_key() -> None:
    class Recorder:
        def encode(self, value: Any) -> bytes:
            self.value = value
            return b"encoded"

    recorder, tenant_id = Recorder(), UUID(int=7)
    item = NewItem("page-1", 3, text="Text.")
    assert feeds._encode(recorder, ProducerKey.new(tenant_id), "wiki", item) == b"encoded"  # type: ignore[arg-type]
    assert (recorder.value["tenant_id"], recorder.value["feed"]) == (tenant_id, "wiki")
    assert (recorder.value["document_id"], recorder.value["source_version"]) == ("page-1", 3)
