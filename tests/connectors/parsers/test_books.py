"""E-books, reStructuredText and AsciiDoc: what a reader sees of them, and what they do not get at."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.parsers import Limits, Parsed, ParseRequest, Refused, child
from tests.connectors.parsers import samples

CONTAINER = b"<container xmlns='urn:x'><rootfiles><rootfile full-path='%b'/></rootfiles></container>"
LOCKED = b"<e><CipherData><CipherReference URI='a/heron.xhtml'/></CipherData></e>"
PAGE = (
    "<html xmlns='http://www.w3.org/1999/xhtml'><head><title>t</title></head>"
    "<body><h1>{0}</h1><p>{0} fishes.</p></body></html>"
)


def ask(folder: Path, content: bytes, name: str = "upload") -> child.Answered:
    path = folder / "upload"
    path.write_bytes(content)
    return child.answer(ParseRequest(str(path), name, Limits(unpacked_bytes_max=1_000_000)))


def read(folder: Path, content: bytes | str, name: str = "upload") -> Parsed:
    answer = ask(folder, content.encode() if isinstance(content, str) else content, name)
    assert isinstance(answer, Parsed), answer
    return answer


# --- e-books --------------------------------------------------------------------------------------------------------


def book(spine: str, pages: dict[str, str], *, root: bytes = b"a/b.opf", **parts: bytes) -> bytes:
    """An EPUB whose pages lie beside its list; `spine` names them in order."""
    items = "".join(f"<item id='{name}' href='{name}.xhtml' media-type='application/xhtml+xml'/>" for name in pages)
    order = "".join(f"<itemref idref='{name}'/>" for name in spine.split())
    listed = (
        "<package xmlns='http://www.idpf.org/2007/opf'><metadata><title xmlns='http://purl.org/dc/elements/1.1/'>Birds"
        f"</title></metadata><manifest>{items}</manifest><spine>{order}</spine></package>"
    )
    written = {f"a/{name}.xhtml": text.encode() for name, text in pages.items()}
    return samples.packed(
        {
            "mimetype": b"application/epub+zip",
            "META-INF/container.xml": CONTAINER % root,
            "a/b.opf": listed.encode(),
            **written,
            **{name.replace("__", "/").replace("_xml", ".xml"): content for name, content in parts.items()},
        }
    )


def test_a_book_is_read_in_the_order_of_its_pages_whatever_its_file_is_called(tmp_path: Path) -> None:
    pages = {name: PAGE.format(name) for name in ("osprey", "heron", "curlew", "unlisted")}
    answer = read(tmp_path, book("heron osprey heron curlew", pages), "report.pdf")
    assert (answer.media_type, answer.title) == ("application/epub+zip", "Birds")
    assert [line for line in answer.text.splitlines() if line.startswith("#")] == ["# heron", "# osprey", "# curlew"]
    assert "unlisted" not in answer.text
    assert not answer.partial


def test_pages_that_are_missing_elsewhere_or_pictures_are_named(tmp_path: Path) -> None:
    blank = "<html><body><img src='x.png'/></body></html>"
    made = book("cover heron scan gone", {"cover": blank, "heron": PAGE.format("heron"), "scan": blank})
    answer = read(tmp_path, made)
    assert [(gap.code, gap.detail) for gap in answer.gaps] == [
        ("picture", "1 picture without a description, on a page without text")
    ]
    pages = {"../../../etc/passwd": PAGE.format("x"), "heron": PAGE.format("heron")}
    answer = read(tmp_path, book("../../../etc/passwd heron", pages))
    assert [(gap.code, gap.detail[:6]) for gap in answer.gaps] == [("unread-parts", "1 page")]
    assert answer.text == "# heron\n\nheron fishes."


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (book("heron", {"heron": PAGE.format("heron")}, **{"META-INF__encryption_xml": LOCKED}), "encrypted"),
        (book("heron", {"heron": PAGE.format("x" * 2_000_000)}), "zip-bomb"),
        (book("heron", {"heron": PAGE.format("heron")}, root=b"../b.opf"), "unsupported-type"),
        (book("heron", {"heron": PAGE.format("heron")}, root=b"gone.opf"), "broken"),
        (
            samples.packed(
                {
                    "META-INF/container.xml": b"<!DOCTYPE c [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><c>&e;</c>",
                }
            ),
            "broken",
        ),
    ],
)
def test_a_book_that_is_locked_or_a_trap_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    answer = ask(tmp_path, content)
    assert isinstance(answer, Refused), answer
    assert answer.code == code


# --- reStructuredText -----------------------------------------------------------------------------------------------

RST = """The pump
========

.. _restart:

It says :ref:`how <restart>`, :func:`open_valve` and *why*.

.. a remark for writers

.. note:: Wear gloves.

.. versionchanged:: 2.1
   The lever is red.

.. list-table::

   * - left
     - right

Steps
-----

#. Open it.
#. Close it.

.. include:: /etc/passwd

.. raw:: html

   <script>alert(1)</script>

.. csv-table::
   :file: /etc/hosts
"""


def test_what_restructured_text_shows_is_kept_also_of_directives_that_nobody_knows(tmp_path: Path) -> None:
    answer = read(tmp_path, RST)
    assert (answer.media_type, answer.title) == ("text/x-rst", "The pump")
    for shown in ("how", "open_valve", "Wear gloves.", "The lever is red.", "left", "right", "## Steps", "Open it."):
        assert shown in answer.text, shown
    assert "remark" not in answer.text
    assert answer.counts["hidden"].held > 0


def test_restructured_text_gets_at_no_other_file_and_says_so(tmp_path: Path) -> None:
    answer = read(tmp_path, RST)
    assert "root:" not in answer.text
    assert "localhost" not in answer.text
    assert [(gap.code, gap.detail[0]) for gap in answer.gaps] == [("unread-parts", "3")]


def test_a_heading_in_markdown_or_two_lines_of_text_are_no_restructured_text(tmp_path: Path) -> None:
    assert read(tmp_path, "Title\n=====\n\nText with ``code``.\n").media_type == "text/plain"
    assert read(tmp_path, "# Title\n\n.. note:: as written\n").media_type == "text/markdown"
    assert read(tmp_path, "Title\n=====\n\nText.\n", "notes.rst").media_type == "text/x-rst"


# --- AsciiDoc -------------------------------------------------------------------------------------------------------

ADOC = """= The pump
Ada Writer <ada@example.com>
:version: 2.1

// a remark for writers
It runs since {version}, see <<steps,the steps>> and https://example.com[the page].

[[steps]]
== Steps

. Open the valve.
** Slowly.
* Then wait.

[source,ruby]
----
== not a heading
----

.Pressures
[cols="1,1"]
|===
|Pump |Bar

|red
|4
|===

NOTE: Wear gloves.

include::other.adoc[]
////
hidden words
////
image::a/valve.png[The valve, 200]
"""


def test_what_asciidoc_shows_is_kept_as_markdown(tmp_path: Path) -> None:
    answer = read(tmp_path, ADOC)
    assert (answer.media_type, answer.title) == ("text/asciidoc", "The pump")
    lines = answer.text.splitlines()
    for shown in (
        "# The pump",
        "It runs since 2.1, see the steps and [the page](https://example.com).",
        "## Steps",
        "1. Open the valve.",
        "  - Slowly.",
        "- Then wait.",
        "== not a heading",
        "Pressures",
        "| Pump | Bar |",
        "| red | 4 |",
        "NOTE: Wear gloves.",
        "The valve",
    ):
        assert shown in lines, shown
    assert "hidden" not in answer.text
    assert "remark" not in answer.text
    assert [(gap.code, gap.detail) for gap in answer.gaps] == [("unread-parts", "1 included file")]


def test_text_with_equals_signs_is_no_asciidoc(tmp_path: Path) -> None:
    assert read(tmp_path, "a = b\n== 3 ==\n").media_type == "text/plain"
    assert read(tmp_path, "= Title\n\nText.\n", "notes.adoc").media_type == "text/asciidoc"
