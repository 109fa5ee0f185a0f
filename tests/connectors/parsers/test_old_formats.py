"""Mails of Outlook and workbooks of before 2007: what is read, and what is refused with its reason."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from connectors.parsers import Limits, Parsed, ParseRequest, Refused, child, sniff
from tests.connectors.parsers.written_ole import Cell, Rows, attached_file, attached_mail, container, mail, workbook

SUBJECT, BODY, PAGE, RICH, SENDER, ADDRESS, TO = 0x0037, 0x1000, 0x1013, 0x1009, 0x0C1A, 0x0C1F, 0x0E04
MONDAY = 133_497_504_000_000_000
"""2024-01-15, 00:00, in tenths of microseconds since 1601."""


def answer(folder: Path, content: bytes, name: str = "x") -> Parsed | Refused:
    path = folder / "upload"
    path.write_bytes(content)
    found = child.answer(ParseRequest(str(path), name, Limits()))
    assert isinstance(found, Parsed | Refused)
    return found


def read(folder: Path, content: bytes, name: str = "x") -> Parsed:
    found = answer(folder, content, name)
    assert isinstance(found, Parsed), found
    return found


def test_a_mail_of_outlook_is_read_with_the_mails_in_it(tmp_path: Path) -> None:
    inner = mail({SUBJECT: "Inner", BODY: "The heron fishes.\r\n", SENDER: "Bob"}, within=True)
    logo = attached_file(b"x", "image/png", "logo@x")
    root = mail(
        {
            SUBJECT: "Prüfung",
            BODY: "plain",
            PAGE: b"<p>The <b>pump</b> waits.</p>",
            SENDER: "Ada",
            ADDRESS: "a@x",
            TO: "Eve",
        },
        attached_mail(inner),
        attached_file(b"words"),
        logo,
        sent=MONDAY,
    )
    found = read(tmp_path, container(root), "anything.pdf")
    assert (found.media_type, found.title) == (sniff.MSG, "Prüfung")
    lines = [line.strip() for line in found.text.splitlines() if line.strip()]
    assert lines == [
        *("# Prüfung", "From: Ada <a@x>", "To: Eve", "Date: 2024-01-15 00:00+00:00", "The pump waits."),
        *("## Inner", "From: Bob", "The heron fishes."),
    ]
    assert [(gap.code, gap.detail) for gap in found.gaps] == [("embedded-files", "1 attached file")]


def test_texts_of_a_byte_a_letter_are_read_by_their_page_of_code(tmp_path: Path) -> None:
    root = mail({SUBJECT: "Größe".encode("cp1252"), BODY: "Привет".encode("cp1251")}, code=1251)
    assert "Привет" in read(tmp_path, container(root)).text
    assert "Größe" in read(tmp_path, container(mail({SUBJECT: "Größe".encode(), BODY: b"x"}, code=65001))).text


def test_mails_within_mails_have_a_bound_and_rich_text_alone_is_named(tmp_path: Path) -> None:
    inner = mail({SUBJECT: "last", BODY: "The end."}, within=True)
    for number in range(12):
        inner = mail({SUBJECT: f"s{number}", BODY: "x"}, attached_mail(inner), within=True)
    found = read(tmp_path, container(mail({SUBJECT: "top", RICH: b"LZFu"}, attached_mail(inner))))
    assert "s11" in found.text
    assert "The end." not in found.text
    assert {gap.code for gap in found.gaps} == {"embedded-files", "unread-parts"}


def test_a_workbook_of_before_2007_is_read_as_it_is_shown(tmp_path: Path) -> None:
    rows: Rows = [["Part", "Due", "Count", "Good"], ["Ventil ∅", 45_306.0, 12.5, True], ["pump", 45_307.0, 7.0, False]]
    made = workbook({"Stock": rows, "Secret": [["nobody sees it"]], "Notes": [["one line"]]}, hidden=["Secret"])
    found = read(tmp_path, made, "x.doc")
    assert found.media_type == sniff.XLS
    assert "| Ventil ∅ | 2024-01-15 | 12.5 | TRUE |" in found.text
    assert "| pump | 2024-01-16 | 7 | FALSE |" in found.text
    assert "# Stock" in found.text
    assert "# Notes" in found.text
    assert "nobody" not in found.text
    assert found.counts["hidden"].kept == 0 < found.counts["hidden"].held
    assert not found.partial


def test_a_lone_cell_far_below_costs_nothing(tmp_path: Path) -> None:
    rows: list[list[Cell]] = [["first"], *([[]] * 60_000), [*[""] * 200, "last"]]
    found = read(tmp_path, workbook({"Far": rows}))
    assert found.text.split("last")[0].count("|") < 20
    assert "last" in found.text


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (container({"WordDocument": b"x"}), "unsupported-type", "a Word document of before 2007"),
        (container({"PowerPoint Document": b"x"}), "unsupported-type", "a presentation of before 2007"),
        (container({"other": b"x"}), "unsupported-type", "an Office document of before 2007"),
        (container({"EncryptedPackage": b"x"}), "encrypted", "a password"),
        (container({"Workbook": b"no records"}), "broken", ""),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "broken", "and is none"),
        (container({"__properties_version1.0": {"deep": b"x"}}), "broken", ""),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, content: bytes, code: str, says: str) -> None:
    found = answer(tmp_path, content)
    assert isinstance(found, Refused), found
    assert found.code == code
    assert says in found.detail


@pytest.mark.parametrize("seed", range(60))
def test_damaged_ones_end_with_an_answer(tmp_path: Path, seed: int) -> None:
    """Bytes that somebody changed, also where one part of the container leads to the next."""
    chance = random.Random(seed)
    whole = [
        container(mail({SUBJECT: "s", BODY: "b" * 600}, attached_mail(mail({BODY: "c" * 600}, within=True)))),
        workbook({"A": [["x", 1.0]] * 40}),
    ][seed % 2]
    changed = bytearray(whole)
    for _ in range(chance.randrange(1, 12)):
        changed[chance.randrange(30, len(changed))] = chance.randrange(256)
    answer(tmp_path, bytes(changed[: chance.choice((len(changed), chance.randrange(600, len(changed))))]))
