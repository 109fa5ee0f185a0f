"""What is recognised in a decision record, dialect by dialect, and that any text has an answer in linear time."""

from __future__ import annotations

import time
from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api.adrs.document import ParsedAdr, parse, strip_title
from api.adrs.mentions import Mention, number_of_path
from connectors.reading.dates import day_order
from connectors.reading.words import WORDS

ADR_TOOLS = """# 7. Keep sessions in memory

Date: 2021-03-04

## Status

Accepted

Superceded by [9. Keep sessions in Postgres](0009-keep-sessions-in-postgres.md)

## Context

We need sessions. See ADR-0003 and `ADR-0004`.

## Decision

Memory.

## Consequences

They are lost on a restart.
"""

MADR_2 = """# Use Kafka as the log

* Status: superseded by [ADR-0012](0012-use-redpanda.md)
* Deciders: Ada Lovelace, Alan Turing
* Date: 2022-11-30

## Context and Problem Statement

Where do events go?

## Considered Options

* Kafka
* RabbitMQ

## Decision Outcome

Chosen option: "Kafka".

### Positive Consequences

* Replays
"""

MADR_4 = """---
status: "accepted; supersedes ADR-0045"
date: 2024-05-06
decision-makers:
  - Grace Hopper
  - Barbara Liskov
# a comment
consulted: [nobody]
---

# Use Postgres

## Context and Problem Statement

x

## Considered Options

* Postgres

## Decision Outcome

Postgres.

### Confirmation

A test.
"""

STRUCTURED_MADR = """---
title: Use one broker
type: adr
category: architecture
status: accepted
created: 2025-01-15
updated: 2025-02-01
author: Platform Team
related:
  - adr-0002.md
relations:
  - type: supersedes
    target: adr-0001.md
---

# ADR-0003: Use one broker

## Status

Accepted
"""

Y_STATEMENT = """# Caching

In the context of the product page, facing slow reads, we decided for a cache in the process
and neglected Redis, to achieve one fewer part, accepting that a restart starts cold.
"""


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        (
            ADR_TOOLS,
            "doc/adr/0007-keep-sessions-in-memory.md",
            {
                "title": "Keep sessions in memory",
                "status": "superseded",
                "dialect": "adr-tools",
                "number": 7,
                "date": date(2021, 3, 4),
                "links": (
                    Mention("superseded-by", "0009-keep-sessions-in-postgres.md", "9. Keep sessions in Postgres"),
                    Mention("relates-to", "ADR-0003", "ADR-0003"),
                    Mention("relates-to", "ADR-0004", "ADR-0004"),
                ),
            },
        ),
        (
            MADR_2,
            "",
            {
                "title": "Use Kafka as the log",
                "status": "superseded",
                "raw_status": "superseded by [ADR-0012](0012-use-redpanda.md)",
                "dialect": "madr-2",
                "number": None,
                "date": date(2022, 11, 30),
                "deciders": ("Ada Lovelace", "Alan Turing"),
                "links": (Mention("superseded-by", "0012-use-redpanda.md", "ADR-0012"),),
            },
        ),
        (
            MADR_4,
            "0046-use-postgres.md",
            {
                "title": "Use Postgres",
                "status": "accepted",
                "dialect": "madr-4",
                "date": date(2024, 5, 6),
                "deciders": ("Grace Hopper", "Barbara Liskov"),
                "links": (Mention("supersedes", "ADR-0045", "ADR-0045"),),
                "oddities": (),
            },
        ),
        (
            STRUCTURED_MADR,
            "adr-0003.md",
            {
                "title": "Use one broker",
                "status": "accepted",
                "dialect": "structured-madr",
                "number": 3,
                "date": date(2025, 2, 1),
                "deciders": ("Platform Team",),
                "links": (Mention("relates-to", "adr-0002.md"), Mention("supersedes", "adr-0001.md")),
            },
        ),
        (Y_STATEMENT, "", {"title": "Caching", "status": "unknown", "dialect": "y-statement"}),
    ],
    ids=["adr-tools", "madr-2", "madr-4", "structured-madr", "y-statement"],
)
def test_each_dialect_is_read(text: str, path: str, expected: dict[str, object]) -> None:
    document = parse(text, path=path)
    assert {name: getattr(document, name) for name in expected} == expected


def test_windows_line_endings_and_a_byte_order_mark_change_nothing_that_is_recognised() -> None:
    for text in (ADR_TOOLS, MADR_2, MADR_4, STRUCTURED_MADR, Y_STATEMENT):
        windows = parse("\ufeff" + text.replace("\n", "\r\n"))
        assert (windows.title, windows.status, windows.links) == (
            parse(text).title,
            parse(text).status,
            parse(text).links,
        )
        assert windows.oddities[:1] == ("byte-order-mark",)
    assert "mixed-line-endings" in parse("# A\r\n\nb\n").oddities


@pytest.mark.parametrize("word", ["Superseded", "superceded", "superseeded", "Supersceded", "REPLACED"])
def test_every_spelling_of_superseded_is_one_status(word: str) -> None:
    document = parse(f"# A\n\n## Status\n\n{word} by [ADR-2](0002-b.md)\n")
    assert document.status == "superseded"
    assert [link.kind for link in document.links] == ["superseded-by"]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("Accepted", "accepted"),
        ("**Accepted**", "accepted"),
        ("✅ Accepted (documenting an existing thing)", "accepted"),
        ("Accepted, 2020-01-01", "accepted"),
        ("~~Proposed~~ Accepted", "accepted"),
        ("Approved", "accepted"),
        ("Pending review", "proposed"),
        ("proposed. **This ADR did not reach consensus**", "proposed"),
        ("❌ Rejected (see [019](019-x.md))", "rejected"),
        ("Deprecated", "deprecated"),
        ("WIP", "draft"),
        ("Who knows", "unknown"),
        ("[proposed | rejected | accepted | deprecated | … | superseded by [ADR-0005](0005-example.md)]", "unknown"),
        ("{accepted|rejected}", "unknown"),
    ],
)
def test_a_status_line_is_normalised_and_kept(line: str, status: str) -> None:
    section = parse(f"# A\n\n## Status\n\n{line}\n\n## Context\n\nRejected ideas are below.\n")
    listed = parse(f"# A\n\n* Status: {line}\n")
    assert section.status == listed.status == status
    assert section.raw_status


def test_template_placeholders_are_said_and_make_no_status() -> None:
    document = parse('---\nstatus: "{proposed | rejected | accepted}"\ndeciders: {list everyone}\n---\n# {title}\n')
    assert (document.status, document.deciders, document.role) == ("unknown", (), "template")
    assert "placeholder" in document.oddities


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("docs/adr/0012-use-kafka.md", 12),
        ("12-x.md", 12),
        ("adr-012-x.md", 12),
        ("ADR_7.md", 7),
        ("0000-record.md", 0),
        ("adr/0012.md", 12),
        ("2021-03-04-x.md", None),
        ("20210304-x.md", None),
        ("123456-x.md", None),
        ("3rd-party.md", None),
        ("2022-02-03-tracing/README.md", None),
        ("index.md", None),
        ("", None),
        ("0016-x.md#why", 16),
        ("https://example.org/adr/0016-x.md?plain=1", 16),
    ],
)
def test_the_number_of_a_path(path: str, number: int | None) -> None:
    assert number_of_path(path) == number


@pytest.mark.parametrize(
    ("text", "path", "title", "number"),
    [
        ("# ADR-0012: Use Kafka\n", "", "Use Kafka", 12),
        ("# ADR 12 - Use Kafka\n", "", "Use Kafka", 12),
        ("# 12. Use Kafka #\n", "", "Use Kafka", 12),
        ("# 12 Use Kafka\n", "0012-a.md", "Use Kafka", 12),
        ("# 12 factor apps\n", "", "12 factor apps", None),
        ("# ADR: Use Kafka\n", "", "Use Kafka", None),
        ("Use Kafka\n=========\n\nx\n", "", "Use Kafka", None),
        ("# **Use** [Kafka](https://example.org)\n", "", "Use Kafka", None),
        ("## Use Kafka\n\ntext\n", "", "Use Kafka", None),
        ("# Status\n\naccepted\n", "0003-use-kafka.md", "Use kafka", 3),
        ("```\n# not a title\n```\n", "0003-use-kafka.md", "Use kafka", 3),
        ("<!-- # not a title -->\nx", "2021-03-04-use-kafka.md", "Use kafka", None),
        ("x", "decisions/2021-03-04-use-kafka/README.md", "Use kafka", None),
        ("---\ntitle: 'Use Kafka' # yes\n---\nx", "", "Use Kafka", None),
        ("", "", "Untitled", None),
    ],
)
def test_titles(text: str, path: str, title: str, number: int | None) -> None:
    document = parse(text, path=path)
    assert (document.title, document.number) == (title, number)


def test_a_file_name_and_a_heading_that_disagree_are_said() -> None:
    document = parse("# 29. A\n", path="0030-a.md")
    assert (document.number, document.oddities) == (30, ("no-status", "number-mismatch"))


def test_links_in_code_images_and_to_itself_are_none() -> None:
    text = "# 4. A\n\n```\n[x](0001-x.md)\n```\n![y](0002-y.md)\n[me](#a) ADR-4 [site](https://example.org/)\n"
    assert parse(text).links == ()


def test_a_target_has_one_link_of_its_strongest_kind() -> None:
    text = "# A\n\nSee [two](0002-b.md). It amends [two](0002-b.md) and depends on ADR-3.\n\n[r]: 0005-e.md\n"
    assert [(link.kind, link.target, link.number) for link in parse(text).links] == [
        ("amends", "0002-b.md", 2),
        ("depends-on", "ADR-3", 3),
        ("relates-to", "0005-e.md", 5),
    ]


@pytest.mark.parametrize(
    ("path", "text", "role"),
    [
        ("adr/README.md", "# Decisions\n\n- [1](0001-a.md)\n", "index"),
        ("adr/2021-01-01-a/README.md", "# A\n", "record"),
        ("adr/README.md", "# A\n\n## Decision\n", "record"),
        ("adr/template.md", "# A\n", "template"),
        ("adr/0039-a-template-engine.md", "# A\n", "record"),
    ],
)
def test_roles(path: str, text: str, role: str) -> None:
    assert parse(text, path=path).role == role


def test_dates_are_read_only_where_they_mean_one_day() -> None:
    def read(written: str) -> date | None:
        return parse(f"# A\n\nDate: {written}\n").date

    for written in ("2020-03-13", "13/3/2020", "3/13/2020", "13 March 2020", "March 13th, 2020", "2020.3.13"):
        assert read(written) == date(2020, 3, 13), written
    assert read("03/04/2020") is None
    assert "unknown-date" in parse("# A\n\nDate: 03/04/2020\n").oddities


def test_without_title_removes_the_title_and_nothing_else() -> None:
    assert strip_title("a\r\n# T\r\nb\n") == "a\r\nb\n"
    assert strip_title("T\n===\nb") == "b"
    assert strip_title("---\ntitle: T\nstatus: x\n---\n# T\nb") == "---\nstatus: x\n---\nb"
    assert strip_title("no title\n\f\u2028here") == "no title\n\f\u2028here"


MARKDOWN = st.text(
    alphabet=st.sampled_from("#-=*|[](){}<>!~`: \n\r\tADR012adrstatusby.m\ufeff\x00\u2028é"), max_size=400
)


@given(st.one_of(st.text(max_size=300), MARKDOWN), st.text(max_size=60))
@example("---", "")
@example("---\n- type: x\n---", "")
@example("---\n  a: b\n---", "")
@example("-" * 3 + "\n" + ": \n", "/")
@example("", "\x00")
def test_any_text_has_a_document_and_always_the_same(text: str, path: str) -> None:
    first = parse(text, path=path)
    assert isinstance(first, ParsedAdr)
    assert first == parse(text, path=path)
    assert first.title.strip()
    assert "\x00" not in first.title + first.raw_status + "".join(link.target + link.label for link in first.links)
    assert len(strip_title(text)) <= len(text)


@pytest.mark.parametrize(
    "before",
    [
        "- a list\n\n  ```\n  # in code that is in a list\n  ```",
        "```\nnever closed",
        "```python\nnever closed\n\n~~~\n# in code\n~~~",
        "<!-- never closed",
        "> # Quoted",
        "A paragraph\nof two lines\n===",
    ],
    ids=["code in a list", "open fence", "two kinds of fence", "open comment", "quotation", "rule under a paragraph"],
)
def test_the_title_is_a_heading_of_the_text_itself(before: str) -> None:
    assert parse(f"{before}\n\n# Use a log").title == "Use a log"


PATHOLOGICAL = {
    "brackets": "[" * 10,
    "link openings": "[a](",
    "links": "[ADR-1](0001-a.md) ",
    "comments": "<!-- ",
    "fences": "```\n",
    "rules": "a\n---\n",
    "headings": "# a\n",
    "status headings": "## Status\n\n",
    "spaces": " ",
    "hashes and spaces": "#" + " " * 50,
    "stars": "*",
    "field": "status : ",
    "bars": "a | ",
    "labels": "ADR-1 supersedes ",
    "tildes": "~~",
    "front matter": "---\na: b\n",
    "one word": "a",
    "digits": "1",
    "carriage returns": "\r",
    "y": "in the context of facing ",
    "open angle": "](<",
    "quotes": '[a](b "',
    "badges": "![](x/badge/a-b-c) ",
    "short names": ":x:",
    "formulas": "$\\color{a}{",
    "open brackets in headings": "# (a [",
    "nothing": "\u200b",
    "crosses": "❌ Accepted ",
    "negations": "not yet ",
    "tables": "<table><tr><td>Status",
    "lines of links": "word [x](0001-x1.md) | ADR-1 *a* `b` <b>c</b>\n",
    "links in links": "<a href=a.md>*",
    "cells": "<p>*a* [b](1-b.md)",
}


GROWTH_MAX = 10
"""Four times the text is four times the work where work is linear, and sixteen times where it is quadratic."""
WORK_S_MIN = 0.05
"""What the shorter text counts for at least: less is noise of the machine."""
TRIES_MAX = 6
"""Looks at a machine that does other things; what is quadratic is so each time."""


def grows_linearly(short: str, long: str) -> bool:
    work_s(short)  # makes the expressions, once
    return any(work_s(long) <= GROWTH_MAX * max(work_s(short), WORK_S_MIN) for _ in range(TRIES_MAX))


def work_s(text: str) -> float:
    """The time of the processor, which does not count who else runs."""
    began = time.process_time()
    parse(text)
    strip_title(text)
    return time.process_time() - began


@pytest.mark.timeout(600)
@pytest.mark.parametrize("piece", PATHOLOGICAL.values(), ids=PATHOLOGICAL.keys())
@pytest.mark.parametrize(
    "start", ["", "## Status\n\n", "# 1. X\n\n## Status\n\nAccepted\n\n", "---\nstatus: "], ids=repr
)
def test_hostile_texts_are_read_in_linear_time(piece: str, start: str) -> None:
    short, long = (start + piece * (size // len(piece)) for size in (20_000, 80_000))
    assert grows_linearly(short, long)


@pytest.mark.timeout(600)
def test_a_megabyte_is_read_in_linear_time() -> None:
    short, long = (ADR_TOOLS * (size // len(ADR_TOOLS)) for size in (250_000, 1_000_000))
    assert parse(short).number == 7
    assert grows_linearly(short, long)


@pytest.mark.parametrize(
    ("below", "status"),
    [
        ("**Superseded by:** [ADR-9](0009-b.md)", "superseded"),
        ("**Superseded by:** none", "accepted"),
        ("**Superseded by:** -", "accepted"),
        ("**Supersedes:** [ADR-9](0009-b.md)", "accepted"),
    ],
)
def test_a_field_that_names_the_successor_ends_an_accepted_decision(below: str, status: str) -> None:
    assert parse(f"# A\n\n**Status:** Accepted\n{below}\n").status == status


def test_words_of_a_tenant_are_read_beside_those_that_are_known() -> None:
    words = WORDS.extend({"ours": {"status": {"accepted": ["abgenickt"]}, "field": {"status": ["ampel"]}}})
    text = "# A\n\nAmpel: abgenickt\n"
    assert (parse(text).status, parse(text, words=words).status) == ("unknown", "accepted")


def test_dates_of_a_log_say_in_which_order_its_authors_write() -> None:
    assert day_order(["on 13/04/2020", "on 03/04/2020"]) is True
    assert day_order(["on 4/13/2020"]) is False
    assert day_order(["on 13/04/2020", "on 4/13/2020"]) is None
    assert parse("# A\n\nDate: 03/04/2020\n", day_first=True).date == date(2020, 4, 3)
