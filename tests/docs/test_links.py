"""Every relative link leads somewhere, and so does its anchor."""

from __future__ import annotations

import pytest

from tests.docs.markdown import ROOT, Page, pages, parse

PAGES = pages()


def broken(page: Page) -> list[str]:
    found = []
    for link in page.links():
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        file = (page.folder / path).resolve() if path else ROOT / page.name
        if not file.exists():
            found.append(link)
        elif anchor and file.suffix == ".md":
            target = parse(str(file.relative_to(ROOT)), file.read_text(encoding="utf-8"))
            if anchor not in target.anchors():
                found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Page) -> None:
    assert broken(page) == []


def test_a_broken_link_and_a_broken_anchor_are_found() -> None:
    page = parse("README.md", "[a](nowhere.md) [b](README.md#nothing-like-it) [c](README.md) ![d](gone.svg)")
    assert broken(page) == ["nowhere.md", "README.md#nothing-like-it", "gone.svg"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_one_title(page: Page) -> None:
    assert len(page.headings(1)) == 1
