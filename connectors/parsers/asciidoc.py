"""AsciiDoc as Markdown, line by line.

Owns what of its signs is a heading, a list, a listing, a table or a word for the program, and what a reader sees of
each. Pure. Refuses to include files, and names them; conditions are taken for true. What it does not know stays as it
is written, since it is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from connectors.parsers.inventory import Inventory

COLUMNS_MAX = 64
"""Columns of a table, at most."""

_HEADING = re.compile(r"(={1,6})[ \t]+(\S.*?)(?:[ \t]+=+)?[ \t]*")
_ATTRIBUTE = re.compile(r":(!?[\w-]+!?):(?:[ \t]+(.*))?")
_FENCE = re.compile(r"-{4,}|\.{4,}|`{3,}\w*|\+{4,}")
_CONTAINER = re.compile(r"={4,}|\*{4,}|_{4,}|--")
_COMMENT_BLOCK = re.compile(r"/{4,}")
_TABLE = re.compile(r"[|,:!]={3,}")
_BLOCK_ATTRIBUTES = re.compile(r"\[(?!\[)([^\[\]]*)\]|\[\[[^\[\]]+\]\]")
_QUOTED = re.compile(r"(?:quote|verse)\s*,\s*(.+)")
_TITLE = re.compile(r"\.([^\s.].*)")
_ITEM = re.compile(r"[ \t]*(\*{1,5}|-|\.{1,5})[ \t]+(.+)")
_LABELLED = re.compile(r"(\S.*?):{2,4}(?:[ \t]+(.*))?")
_INCLUDE = re.compile(r"include::\S.*?\[.*\]")
_CONDITION = re.compile(r"(?:ifdef|ifndef|ifeval|endif)::\S*\[.*\]|toc::\[.*\]|\+|<<<")
_PICTURE = re.compile(r"(?:image|video|audio)::?([^\s\[]+)\[([^\]]*)\]")
_LINK = re.compile(r"(?:link:|xref:)([^\s\[]+)\[([^\]]*)\]|((?:https?|ftp|mailto):[^\s\[]+)\[([^\]]*)\]")
_CROSS = re.compile(r"<<([^<>,]+)(?:,\s*([^<>]+))?>>")
_ASIDE = re.compile(r"(?:footnote:\w*|kbd:|btn:|menu:\w*|pass:\w*|indexterm:)\[([^\]]*)\]")
_ANCHOR = re.compile(r"\[\[[^\[\]]+\]\]")
_NAME = re.compile(r"\{([\w-]+)\}")
_COLUMNS = re.compile(r"cols=\"?([^\"\]]+)")
_CELL = re.compile(r"(?<!\\)(?:[\d.]*[+*])?[<^>.]*[aehlmsdv]?\|")


def looks_like_asciidoc(head: str) -> bool:
    """Whether a text begins as only AsciiDoc does: headings of equals signs, and signs that other languages lack."""
    headings = sum(_HEADING.fullmatch(line) is not None for line in head.splitlines())
    signs = sum(
        bool(_ATTRIBUTE.fullmatch(line) or _INCLUDE.fullmatch(line) or line in ("|===", "----", "===="))
        or line.startswith(("[source", "[NOTE]", "[[", "[cols", "image::"))
        for line in head.splitlines()
    )
    return headings > 1 or (headings == 1 and signs > 0)


def read_asciidoc(text: str, inventory: Inventory) -> str:
    """The text as Markdown."""
    made = "\n".join(_AsciiDocReader(inventory).read(text)) + "\n"
    inventory.hold("text", made)
    inventory.keep("text", made)
    return made


class _AsciiDocReader:
    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._names: dict[str, str] = {}
        self._attributes = ""

    def read(self, text: str) -> Iterator[str]:
        lines = iter(text.splitlines())
        for line in lines:
            if _COMMENT_BLOCK.fullmatch(line):
                for hidden in _until(lines, line):
                    self._inventory.hold("hidden", hidden)
            elif _FENCE.fullmatch(line):
                yield from ("```", *_until(lines, "```" if line.startswith("`") else line), "```")
            elif _TABLE.fullmatch(line):
                yield from self._table(list(_until(lines, line)))
            else:
                yield from self._line(line.rstrip())

    def _line(self, line: str) -> Iterator[str]:
        """A line outside of listings and tables."""
        if line.startswith("//"):
            self._inventory.hold("hidden", line)
        elif found := _ATTRIBUTE.fullmatch(line):
            self._names[found[1].lower()] = found[2] or ""
            self._inventory.hold("instruction", line)
        elif _INCLUDE.fullmatch(line):
            self._inventory.miss("unread-parts", "included file")
        elif found := _BLOCK_ATTRIBUTES.fullmatch(line):
            self._attributes = found[1] or ""
            quoted = _QUOTED.match(self._attributes)
            yield from (f"— {quoted[1]}", "") if quoted else ()
        elif _CONDITION.fullmatch(line) or _CONTAINER.fullmatch(line):
            self._inventory.hold("instruction", line)
        elif found := _HEADING.fullmatch(line):
            yield from ("", f"{'#' * len(found[1])} {self._inline(found[2])}", "")
        elif found := _ITEM.fullmatch(line):
            depth = len(found[1]) - 1
            yield f"{'  ' * depth}{'1.' if found[1][0] == '.' else '-'} {self._inline(found[2])}"
        elif found := _TITLE.fullmatch(line):
            yield from ("", self._inline(found[1]), "")
        elif (found := _LABELLED.fullmatch(line)) and "://" not in line:
            yield f"- {self._inline(found[1])}" + (f": {self._inline(found[2])}" if found[2] else "")
        else:
            yield self._inline(line.removesuffix(" +"))

    def _inline(self, text: str) -> str:
        text = _NAME.sub(lambda found: self._names.get(found[1].lower(), found[0]), text)
        text = _PICTURE.sub(lambda found: found[2].split(",")[0].strip('" ') or found[1].rpartition("/")[2], text)
        text = _LINK.sub(_show_link, text)
        text = _CROSS.sub(lambda found: (found[2] or found[1]).strip(), text)
        return _ANCHOR.sub("", _ASIDE.sub(lambda found: f" ({found[1]})" if found[1] else "", text))

    def _table(self, lines: list[str]) -> Iterator[str]:
        """Rows with the cells of the first line, or as many as the attributes say."""
        wide = _COLUMNS.search(self._attributes)
        self._attributes = ""
        cells: list[str] = []
        width = 0
        for line in filter(None, map(str.strip, lines)):
            found = [self._inline(cell.strip()) for cell in _CELL.split(line)]
            if found[0] and cells:
                cells[-1] = f"{cells[-1]} {found[0]}"
            elif found[0]:
                cells.append(found[0])
            cells += found[1:]
            width = width or len(cells)
        if wide is not None:
            width = _count_columns(wide[1])
        width = min(max(1, width), COLUMNS_MAX)
        yield ""
        for start in range(0, len(cells), width):
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells[start : start + width]) + " |"
            if not start:
                yield "|" + " --- |" * width
        yield ""


def _count_columns(said: str) -> int:
    """Columns of `1,2,3`, of `3*`, and of both together."""
    parts = [part.strip() for part in re.split("[,;]", said)]
    repeated = (re.match(r"(\d{1,2})\*", part) for part in parts)
    return sum(int(found[1]) if found else 1 for found in repeated)


def _until(lines: Iterator[str], end: str) -> Iterator[str]:
    for line in lines:
        if line.rstrip() == end:
            return
        yield line


def _show_link(found: re.Match[str]) -> str:
    address, said = found[1] or found[3], found[2] or found[4] or ""
    said = said.split(",window=")[0].strip('"^ ')
    return f"[{said}]({address})" if said else address
