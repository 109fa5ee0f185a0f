"""The difference between two texts: applying it to the old one gives the new one, and its cost is bounded."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.adrs.diff import CONTEXT_LINES, HUNK_LINES_MAX, TextDiff, difference

LINES = st.lists(st.sampled_from(["a", "b", "c", "", "d\r", "\x0c", "é\u2028x"]), max_size=40)
TEXTS = st.builds(lambda lines, end: "\n".join(lines) + end, LINES, st.sampled_from(["", "\n"]))


def compared(old: str, new: str) -> TextDiff:
    return difference(old, new, "version 1", "version 2")


def applied(unified: str, old: str) -> str:
    """What a patch program would make of it, written from the format's description."""
    before = old.split("\n")
    before = [f"{line}\n" for line in before[:-1]] + ([before[-1]] if before[-1] else [])
    lines = unified.split("\n")[2:-1] if unified else []
    result: list[str] = []
    at = 0
    for index, line in enumerate(lines):
        if line.startswith("@@"):
            start, _, count = line.split(" ")[1][1:].partition(",")
            begins = int(start) - (count != "0")
            result += before[at:begins]
            at = begins
            continue
        if line.startswith("\\"):
            continue
        bare = index + 1 < len(lines) and lines[index + 1].startswith("\\")
        text = line[1:] + ("" if bare else "\n")
        if line[0] != "+":
            assert before[at] == text
            at += 1
        if line[0] != "-":
            result.append(text)
    return "".join(result + before[at:])


@given(TEXTS, TEXTS)
@settings(max_examples=400)
def test_applied_to_the_old_text_it_gives_the_new_one(old: str, new: str) -> None:
    found = compared(old, new)
    assert applied(found.unified, old) == new
    assert (found.unified == "") == (old == new)
    assert not found.coarse
    assert not found.truncated
    for hunk in found.hunks:
        assert hunk.old_lines == sum(line.op != "+" for line in hunk.lines)
        assert hunk.new_lines == sum(line.op != "-" for line in hunk.lines)
        assert any(line.op != " " for line in hunk.lines)


def test_changes_far_apart_are_hunks_of_their_own() -> None:
    old = [str(number) for number in range(100)]
    new = [*old[:10], "changed", *old[11:80], *old[81:]]
    first, second = compared("\n".join(old), "\n".join(new)).hunks
    assert (first.old_start, first.old_lines, first.new_start, first.new_lines) == (8, 7, 8, 7)
    assert (second.old_start, second.old_lines, second.new_start, second.new_lines) == (78, 7, 78, 6)
    assert len([line for line in second.lines if line.op == " "]) == 2 * CONTEXT_LINES


@pytest.mark.timeout(60)  # exactly compared, they would take many minutes
def test_texts_that_would_take_minutes_are_compared_coarsely() -> None:
    rng = random.Random(1)
    old, new = ("\n".join(str(rng.randrange(150)) for _ in range(20_000)) for _ in range(2))
    found = compared(f"head\n{old}\ntail", f"head\n{new}\ntail")
    assert found.coarse
    assert found.truncated
    assert sum(len(hunk.lines) for hunk in found.hunks) == HUNK_LINES_MAX
    assert applied(found.unified, f"head\n{old}\ntail") == f"head\n{new}\ntail"
