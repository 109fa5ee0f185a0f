"""Where passages begin and end, and that they stay put."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows import chunker
from dataflows.chunker import BODY_CHARS_MAX, BODY_CHARS_TARGET, Chunk, analyse_chunks, chunk, text_hash, text_to_embed
from runtime.errors import Unprocessable
from schemas.analysis import Analysed, analyse
from schemas.stems import MARK
from tests.docs.markdown import ROOT

SENTENCE = "The log is the only place where the order of two writes can be seen by everybody. "

paragraph = st.text("abcdefghij .,\n\t", min_size=1, max_size=80).map(lambda text: text.strip() or "x")
heading = st.builds(lambda level, name: f"{'#' * level} {name}", st.integers(1, 6), st.sampled_from("ABCDEF"))
fence = st.builds(lambda body: f"```\n{body}\n```", paragraph)
listing = st.lists(paragraph, min_size=1, max_size=4).map(lambda items: "\n".join(f"- {item}" for item in items))
long_block = st.integers(1, 40).map(lambda count: SENTENCE * count)
block = st.one_of(heading, paragraph, fence, listing, long_block, st.just("---"), st.just("|a|b|\n|-|-|\n|1|2|"))
document = st.lists(block, max_size=25).flatmap(
    lambda blocks: st.sampled_from(["\n\n", "\n", "\r\n\r\n"]).map(lambda gap: gap.join(blocks))
)
anything = st.one_of(document, st.text(max_size=3000))


def outside(text: str, chunks: list[Chunk]) -> str:
    """What no passage holds."""
    rest, at = [], 0
    for part in chunks:
        rest.append(text[at : part.char_start])
        at = part.char_end
    return "".join([*rest, text[at:]])


@given(anything)
def test_passages_cover_the_text_in_order(text: str) -> None:
    chunks = chunk("Title", text)
    assert [part.ordinal for part in chunks] == list(range(len(chunks)))
    at = 0
    for part in chunks:
        assert at <= part.char_start <= part.char_end
        assert part.body == text[part.char_start : part.char_end]
        assert len(part.body) <= BODY_CHARS_MAX
        assert part.body.strip() or len(chunks) == 1
        at = part.char_end
    if not text.startswith(("---", "\ufeff")):
        assert not outside(text, chunks).strip()


@given(anything, st.text(max_size=30))
def test_the_embedded_text_is_composed_from_title_path_and_body(text: str, title: str) -> None:
    for part in chunk(title, text):
        assert part.text == text_to_embed(title, part.heading_path, part.body)
        assert part.text_hash == text_hash(part.text)
        assert part.text.strip(), "a blank text has no vector"


@given(document, document)
def test_an_edit_of_one_section_leaves_the_others_alone(before: str, after: str) -> None:
    """Long sections on both sides keep their own passages, whatever stands between them."""
    first = f"## First\n\n{SENTENCE * 9}\n\n"
    last = f"\n\n## Last\n\n{SENTENCE * 9}"
    old, new = (
        {part.text_hash for part in chunk("T", first + "## Middle\n\n" + middle + last)}
        for middle in (_closed(before), _closed(after))
    )
    own = {part.text_hash for part in chunk("T", first)}
    assert own <= old
    assert own <= new


def _closed(text: str) -> str:
    """Without headings, which change the paths of what follows, and without a fence that swallows it."""
    return re.sub(r"(?m)^ {0,3}(#|```|~~~|=+\s*$|-{2,}\s*$).*$", "", text)


def test_headings_make_the_path() -> None:
    text = "# Title\n\n## Context\n\n" + SENTENCE * 2 + "\n\n### Constraints ##\n\n" + SENTENCE * 2
    paths = [part.heading_path for part in chunk("Title", text)]
    assert paths[-1] == "Context > Constraints"
    assert paths[-2] == "Context"


def test_underlined_headings_count() -> None:
    text = f"Title\n=====\n\nContext\n-------\n\n{SENTENCE * 2}"
    assert chunk("Title", text)[-1].heading_path == "Context"


def test_short_sections_share_a_passage() -> None:
    text = f"# Use a log\n\nDate: 2026-01-01\n\n## Status\n\nAccepted\n\n## Context\n\n{SENTENCE * 2}"
    chunks = chunk("Use a log", text)
    assert [part.body.split("\n", 1)[0] for part in chunks] == ["# Use a log", "## Context"]


def test_a_changed_status_costs_one_small_passage() -> None:
    text = f"# Use a log\n\n## Status\n\nProposed\n\n## Context\n\n{SENTENCE * 2}\n\n## Decision\n\n{SENTENCE * 2}"
    old, new = chunk("Use a log", text), chunk("Use a log", text.replace("Proposed", "Accepted"))
    assert [a.text_hash == b.text_hash for a, b in zip(old, new, strict=True)] == [False, True, True]


@pytest.mark.parametrize(
    "whole",
    [
        "```python\n" + "\n\n".join(f"x = {number}" for number in range(40)) + "\n```",
        "~~~\n# not a heading\n\n## nor this\n~~~\n",
        "- one\n\n  more of one\n\n- two\n\n    code of two\n- three",
        "| a | b |\n|---|---|\n" + "\n".join(f"| {n} | {n} |" for n in range(40)),
    ],
    ids=["code", "tilde fence", "loose list", "table"],
)
def test_a_block_that_fits_is_not_torn(whole: str) -> None:
    whole = whole.rstrip()
    text = f"## A\n\n{SENTENCE * 4}\n\n{whole}\n\n{SENTENCE * 4}"
    assert sum(whole in part.body for part in chunk("T", text)) == 1


def test_an_open_fence_runs_to_the_end() -> None:
    text = "intro\n\n```\n# not a heading\n\ntext"
    assert {part.heading_path for part in chunk("T", text)} == {""}


def test_an_endless_line_is_cut_hard() -> None:
    chunks = chunk("T", "x" * 10_000)
    assert "".join(part.body for part in chunks) == "x" * 10_000
    assert all(len(part.body) <= BODY_CHARS_MAX for part in chunks)


def test_a_giant_paragraph_is_cut_between_sentences() -> None:
    chunks = chunk("T", SENTENCE * 100)
    assert all(part.body.endswith(".") and len(part.body) <= BODY_CHARS_TARGET for part in chunks)


def test_front_matter_is_left_out() -> None:
    text = "---\nstatus: accepted\n---\n\n# T\n\nBody."
    (part,) = chunk("T", text)
    assert part.body == "# T\n\nBody."
    assert text[part.char_start :] == part.body


@pytest.mark.parametrize("front", ["", "---\nstatus: accepted\n---\n\n", "---\r\nstatus: accepted\r\n---\r\n"])
def test_a_byte_order_mark_hides_neither_front_matter_nor_a_heading(front: str) -> None:
    body = f"# T\n\n## Context\n\n{SENTENCE * 9}"
    text = f"\ufeff{front}{body}"
    parts = chunk("T", text)
    assert all(part.body == text[part.char_start : part.char_end] for part in parts)
    assert [part.text_hash for part in parts] == [part.text_hash for part in chunk("T", body)]
    assert parts[0].char_start == 1 + len(front)
    assert outside(text, parts).strip() == f"\ufeff{front}".strip()


@pytest.mark.parametrize("text", ["---\nnot: closed\n\nBody.", "--- \nBody.", "-----\nBody."])
def test_what_only_looks_like_front_matter_stays(text: str) -> None:
    assert not outside(text, chunk("T", text)).strip()


def test_line_ends_alone_change_no_hash() -> None:
    text = f"# T\n\n## Context\n\n{SENTENCE * 9}\n\n- a\n- b\n"
    hashes = [[part.text_hash for part in chunk("T", form)] for form in (text, text.replace("\n", "\r\n"))]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("text", ["", "   \n\n", "---\na: b\n---\n"])
def test_a_text_without_a_body_is_still_found_by_its_title(text: str) -> None:
    (part,) = chunk("Use a log", text)
    assert (part.body, part.text) == ("", "Use a log\n")


def test_a_blank_title_is_named() -> None:
    assert chunk(" \n", "")[0].text == "Untitled\n"


def test_an_endless_title_is_not_repeated_whole() -> None:
    assert len(chunk("t" * 1_000_000, "Body.")[0].text) < 400


def test_too_many_passages_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunker, "CHUNKS_MAX", 3)
    with pytest.raises(Unprocessable, match="passages"):
        chunk("T", SENTENCE * 100)


def test_the_worst_text_of_the_largest_size_is_not_refused() -> None:
    section = "#\n#\n\n" + "y" * 150 + "\n"
    assert len(chunk("T", section * (1_048_576 // len(section)))) < chunker.CHUNKS_MAX


def test_a_list_stands_with_the_sentence_that_introduces_it() -> None:
    whole = "It has to:\n- keep order\n- keep everything\n\n- be cheap"
    text = f"## A\n\n{SENTENCE * 3}\n\n{whole}\n\n{SENTENCE * 4}"
    assert sum(whole in part.body for part in chunk("T", text)) == 1


def test_lists_of_different_kinds_are_blocks_of_their_own() -> None:
    sources = "\n".join(f"{number}. A source that is worth a look, the {number}th of them" for number in range(1, 5))
    reasons = "\n".join(f"* Good, because reason {number} speaks for it" for number in range(1, 5))
    bodies = [part.body for part in chunk("T", f"## Option\n\n{sources}\n\n{reasons}")]
    assert not any("1. A" in body and "* Good" in body for body in bodies)


@pytest.mark.parametrize(
    "block",
    ["- an item\n\n  ```\n  # in code\n  ```", "<!--\n# in a comment\n-->", "> # quoted", "    # indented"],
    ids=["code in a list", "comment", "quotation", "indented code"],
)
def test_what_is_no_heading_of_the_text_is_in_no_path(block: str) -> None:
    text = f"## Context\n\n{SENTENCE * 2}\n\n{block}\n\n{SENTENCE * 3}"
    assert {part.heading_path for part in chunk("T", text)} == {"Context"}


# --- what it is found by --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=str)
def test_english_is_found_by_what_it_was_found_by(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    chunks = chunk("Decisions", text)
    assert analyse_chunks("Decisions", chunks) == [
        Analysed(analyse("Decisions") if part.ordinal == 0 else "", analyse(part.heading_path), analyse(part.body))
        for part in chunks
    ]


def test_a_title_and_headings_have_stems_in_the_language_of_the_text() -> None:
    german = "Wir speichern die Protokolle für dreißig Tage, und nicht für immer oder bis auf weiteres. "
    english = "The events are kept in the log, and the readers of it are at their own places at all times. "
    paragraphs = (f"# Fristen\n\n{german * 2}", f"## Protokolle\n\n{german * 2}", f"## Events\n\n{english * 2}")
    analysed = analyse_chunks("Fristen", chunk("Fristen", "\n\n".join(paragraphs)))
    assert analysed[0].title.endswith(f"{MARK}defrist")
    assert [each.heading_path.endswith(f"{MARK}deprotokoll") for each in analysed] == [False, True, False]
    assert [MARK in each.body for each in analysed] == [True, True, False]
