"""A batch of which some lines are no changes: the good ones land, and each bad one is named with line and reason."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.world import Caller

pytestmark = pytest.mark.stack

GOOD = {"ref": "c1", "committed_at": "2026-01-01T00:00:00Z", "change": "A", "content": "# A\n\n## Status\n\nAccepted\n"}
BAD: list[tuple[Any, str]] = [
    (GOOD | {"path": "b.md", "content": 5}, "content"),
    (GOOD | {"path": "b.md", "change": "C"}, "'C' is none of A, D, M, R"),
    (GOOD | {"path": "b.md", "change": "a"}, "did you mean A?"),
    (GOOD | {"path": "b\0.md"}, "path holds the character U+0000"),
    (GOOD | {"path": "b.md", "ref": "c\0"}, "ref holds the character U+0000"),
    (GOOD | {"path": "b.md", "change": "R", "old_path": "\0"}, "old_path holds the character U+0000"),
    (GOOD | {"path": "b.md", "author": "\0"}, "author holds the character U+0000"),
    (GOOD | {"path": "b.md", "content": "\0"}, "content holds the character U+0000"),
    (GOOD | {"path": ""}, "path"),
    (GOOD | {"path": "b.md", "committed_at": "yesterday"}, "committed_at"),
    (GOOD | {"path": "b.md", "committed_at": 1_767_225_600}, "committed_at"),
    (GOOD | {"path": "b.md", "unknown": 1}, "unknown field(s): unknown"),
    ({}, "ref"),
    ([], "array"),
    (None, "null"),
    ("text", "str"),
    (1e300, "float"),
]


async def test_the_good_lines_land_and_each_bad_one_is_named(tenant: Caller) -> None:
    import_id = (await tenant.post("/v1/imports", {"source": "lines"})).json()["import_id"]
    lines: list[Any] = []
    for at, (bad, _) in enumerate(BAD):
        lines += [GOOD | {"ref": f"c{at}", "path": f"good-{at}.md"}, bad]
    answer = await tenant.post(f"/v1/imports/{import_id}/events", {"events": lines})
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert (result["received"], result["applied"]) == (len(lines), len(BAD))
    assert [each["line"] for each in result["refused"]] == [2 * at + 2 for at in range(len(BAD))]
    for remark, (bad, reason) in zip(result["refused"], BAD, strict=True):
        assert reason in remark["detail"], (bad, remark)
        assert remark["code"] == "invalid-input"
    assert len((await tenant.get("/v1/adrs")).json()["items"]) == len(BAD)


async def test_what_was_no_change_may_be_sent_again_put_right(tenant: Caller) -> None:
    import_id = (await tenant.post("/v1/imports", {"source": "lines"})).json()["import_id"]
    for content, applied in ((5, 0), ("# A\n", 1)):
        event = GOOD | {"path": "a.md", "content": content}
        answer = await tenant.post(f"/v1/imports/{import_id}/events", {"events": [event]})
        assert answer.json()["applied"] == applied, answer.text
