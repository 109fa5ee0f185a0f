"""The text of a DOCX, as a word processor shows it with all changes accepted.

Owns what each element does to text: runs, fields, insertions and deletions, controls, boxes, notes, equations, tables,
lists, parts of other formats. Markdown is `markdown`'s, parts are `package`'s. A first pass over a part says of every
element of what kind its text is and counts it, a second one writes. An element that nobody knows is walked through, so
that what stands in it is kept.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from lxml import etree

from connectors.parsers import UNSEEN, Kind, Limits, Refusal, Scans
from connectors.parsers.charset import decode_page
from connectors.parsers.charts import VALUES
from connectors.parsers.embedded import is_word_as_xml, page_of_mail
from connectors.parsers.inventory import Inventory
from connectors.parsers.markdown import Writer
from connectors.parsers.names import NO, flag_of, name_of, number_of, value
from connectors.parsers.package import Package, Relationship
from connectors.parsers.scans import take_scans
from connectors.parsers.web import read_page
from connectors.parsers.word_bound import fill_controls
from connectors.parsers.word_kinds import LEAVES, NOTES, WordPart, find_texts, look_around
from connectors.parsers.word_pictures import find_pictures
from connectors.parsers.word_signs import end_of_equation, start_of_equation
from connectors.parsers.word_styles import WordStyles

DEPTH_MAX = 4
"""Documents within documents within documents."""
_BREAKS = {"w:br": "\n", "w:cr": "\n", "w:tab": " ", "w:ptab": " ", "a:br": "\n"}
_SIDE_PARTS: tuple[tuple[str, Kind], ...] = (("footnotes", "note"), ("endnotes", "note"), ("comments", "comment"))


def read_word(
    package: Package, inventory: Inventory, writer: Writer, limits: Limits, depth: int = 0, scans: Scans = None
) -> None:
    """Write a document's text, with what is known of pictures that stand for a page. Raises `Refusal` and
    `PagesWanted`, and what lxml raises when its main part is no XML."""
    main = package.main_part()
    if main is None:
        raise Refusal("unsupported-type", "it is no document of a word processor")
    _Document(package, main, inventory, writer, limits, depth, scans).write()


class _Document:
    """One document: its main part, and what hangs on it."""

    def __init__(
        self,
        package: Package,
        main: str,
        inventory: Inventory,
        writer: Writer,
        limits: Limits,
        depth: int,
        scans: Scans,
    ) -> None:
        self._package = package
        self._inventory = inventory
        self._writer = writer
        self._limits = limits
        self._depth = depth
        relations = package.relationships(main)
        self._styles = WordStyles(self._optional(relations, "styles"), self._optional(relations, "numbering"))
        self._main = WordPart(main, package.tree(main), relations)
        fill_controls(package, main, self._main.root)
        look_around(self._main, "text" if not depth else "chunk", self._styles)
        self._side: dict[str, tuple[WordPart, dict[str, Any]]] = {}
        self._look_at_sides()
        self._recognised = self._take_pictures(scans if not depth else None)
        for part in (self._main, *(part for part, _ in self._side.values())):
            self._hold(part)
        self._written: set[tuple[str, str]] = set()
        self._marks = 0

    def write(self) -> None:
        self.write_part(self._main, self._main.root)
        for kind_of_part, (_, notes) in self._side.items():
            for own_id in notes:
                self.write_note(kind_of_part, own_id, "")
        self._write_margins()
        if self._main.pictures and not any(each.kept for each in self._inventory.counts().values()):
            raise Refusal("no-text", "there are pictures in it, and no text")

    def write_part(self, part: WordPart, root: Any) -> None:
        _PartWriter(self, part, self._writer, self._inventory, self._styles).render(root)

    def write_note(self, kind_of_part: str, own_id: str, mark: str) -> None:
        """What a mark in the text refers to, once. `mark` is empty for one that nothing refers to."""
        part, notes = self._side.get(kind_of_part, (None, {}))
        note = notes.get(own_id)
        if part is None or note is None or (kind_of_part, own_id) in self._written:
            return
        self._written.add((kind_of_part, own_id))
        if part.kinds.get(note) in UNSEEN:
            return
        self._writer.open_aside()
        if kind_of_part == "comments":
            author = " ".join((value(note, "author") or "").split())
            self._writer.open_quote(f"{author}: " if author else "")
        elif mark:
            self._writer.open_item(mark + ":")
        self.write_part(part, note)
        if kind_of_part == "comments" or mark:
            self._writer.close_container()
        self._writer.close_aside()

    def mark(self) -> str:
        self._marks += 1
        return f"[^{self._marks}]"

    def _optional(self, relations: Mapping[str, Relationship], kind: str) -> Any:
        """The tree of the part of a kind, or None."""
        for each in relations.values():
            if each.kind == kind and not each.external and self._package.has(each.target):
                try:
                    return self._package.tree(each.target)
                except etree.XMLSyntaxError:
                    self._inventory.miss("damaged-parts", f"damaged part ({kind})")
        return None

    def _look_at_sides(self) -> None:
        """Parts with notes. A note to which only deleted text refers is deleted too, and so on from note to note."""
        relations = self._main.relations.values()
        for kind_of_part, kind in _SIDE_PARTS:
            root = self._optional(self._main.relations, kind_of_part)
            if root is not None:
                target = next(each.target for each in relations if each.kind == kind_of_part and not each.external)
                part = WordPart(target, root, self._package.relationships(target))
                look_around(part, kind, self._styles)
                self._side[kind_of_part] = (part, {value(note, "id") or "": note for note in root})
        for _ in range(DEPTH_MAX):
            parts = (self._main, *(part for part, _ in self._side.values()))
            shown = {key for part in parts for key, seen in part.notes.items() if seen}
            named = {key for part in parts for key in part.notes}
            before = [part.gone for part, _ in self._side.values()]
            for kind_of_part, kind in _SIDE_PARTS:
                part, notes = self._side.get(kind_of_part, (self._main, {}))
                gone = {note for own, note in notes.items() if (kind_of_part, own) in named - shown}
                if gone != part.gone:
                    part.gone = frozenset(gone)
                    look_around(part, kind, self._styles)
            if before == [part.gone for part, _ in self._side.values()]:
                return

    def _look_at(self, part: WordPart, kind: Kind) -> WordPart:
        look_around(part, kind, self._styles)
        self._hold(part)
        return part

    def _take_pictures(self, scans: Scans) -> Mapping[Any, tuple[int, str]]:
        """What was recognised in pictures of the main part that stand for a page, by where they begin, with their
        numbers. Those that are taken are no gaps of the part any more."""
        if scans is None:
            return {}
        found = find_pictures(self._package, self._main)
        numbers = range(1, len(found) + 1)
        texts = take_scans(numbers, self._limits, self._inventory, scans, self._limits.text_bytes_max, "pictures")
        begins = [each for each, _ in found]
        self._main.large = [each for each in self._main.large if each not in begins]
        return {begin: (number, texts.get(number, "")) for number, begin in zip(numbers, begins, strict=True)}

    def write_picture(self, begin: Any) -> None:
        """What was recognised in a picture, where it stands, with its number for whoever looks it up."""
        number, text = self._recognised.get(begin, (0, ""))
        if not text.strip():
            return
        self._writer.open_aside()
        for paragraph in f"Picture {number}: {text}".split("\n\n"):
            self._writer.text(paragraph)
            self._writer.end_block()
        self._writer.close_aside()

    def _hold(self, part: WordPart) -> None:
        for _ in part.large:
            self._inventory.miss("picture", "picture as large as half a page, without a description")
        for element in part.kinds:
            for own, text in find_texts(part, element):
                self._inventory.hold(own, text)
        for code, what in part.unread:
            self._inventory.miss(code, what)

    def _write_margins(self) -> None:
        """What is repeated on each page, once."""
        seen: set[str] = set()
        shown = self._find_margins()
        for own_id, each in self._main.relations.items():
            if each.kind not in ("header", "footer") or each.external or not self._package.has(each.target):
                continue
            if (root := self._tree(each)) is None:
                continue
            fill_controls(self._package, self._main.name, root)
            part = WordPart(each.target, root, self._package.relationships(each.target))
            part = self._look_at(part, "margin" if own_id in shown else "hidden")
            if own_id not in shown:
                continue
            texts = [
                (own, text) for element in part.kinds for own, text in find_texts(part, element) if own not in UNSEEN
            ]
            said = " ".join("".join(text for _, text in texts).split())
            if said in seen:
                for own, text in texts:
                    self._inventory.keep(own, text)
                continue
            seen.add(said)
            self.write_part(part, root)

    def _find_margins(self) -> set[str]:
        """Headers and footers that a section uses. One for first or for even pages is kept in the file when it is
        switched off."""
        settings = self._optional(self._main.relations, "settings")
        uses = {"default"}
        if settings is not None and flag_of(settings, "w:evenAndOddHeaders"):
            uses.add("even")
        named: list[Any] = []
        for each in self._main.root.iter():
            name = name_of(each)
            if name in ("w:headerReference", "w:footerReference"):
                named.append(each)
            elif name == "w:titlePg" and value(each, "val") not in NO:
                uses.add("first")
        return {value(each, "id") or "" for each in named if (value(each, "type") or "default") in uses}

    def _tree(self, relation: Relationship) -> Any:
        try:
            return self._package.tree(relation.target)
        except etree.XMLSyntaxError:
            self._inventory.miss("damaged-parts", f"damaged part ({relation.kind})")
            return None

    def write_drawing(self, part: WordPart, own_id: str) -> None:
        """A chart or a diagram, which is a part of its own: the words in it."""
        relation = part.relations.get(own_id)
        if relation is None or relation.external or not self._package.has(relation.target):
            self._inventory.miss("damaged-parts", "drawing whose part is not there")
            return
        root = self._tree(relation)
        if root is not None:
            part = WordPart(relation.target, root, self._package.relationships(relation.target))
            drawing = self._look_at(part, "drawing")
            self._writer.open_aside()
            self.write_part(drawing, root)
            self._writer.close_aside()

    def write_chunk(self, part: WordPart, own_id: str) -> None:
        """A part in another format, which a word processor takes over when it opens the file."""
        relation = part.relations.get(own_id)
        if relation is None or relation.external or not self._package.has(relation.target):
            self._inventory.miss("unread-parts", "part outside of the file")
            return
        content = self._package.read(relation.target)
        self._writer.end_block()
        if content.startswith(b"PK") and self._depth < DEPTH_MAX:
            self._write_document(content)
            return
        suffix = relation.target.rpartition(".")[2].lower()
        if content.lstrip().startswith((b"{\\rtf", b"PK", b"\xd0\xcf\x11\xe0")) or is_word_as_xml(content):
            self._inventory.miss("unread-parts", "part in a format that is not read")
            return
        if suffix in ("mht", "mhtml") or content[:512].lower().lstrip().startswith(b"mime-version"):
            content = page_of_mail(content)
        text = decode_page(content)
        if "<" in text and suffix != "txt":
            read_page(text, self._inventory, self._writer, "chunk")
            return
        self._inventory.hold("chunk", text)
        self._inventory.keep("chunk", text)
        for paragraph in text.splitlines():
            self._writer.text(paragraph)
            self._writer.end_block()

    def _write_document(self, content: bytes) -> None:
        """A document within this one. What is wrong with it is no reason to refuse what is around it."""
        try:
            with closing(Package(io.BytesIO(content), self._limits)) as package:
                read_word(package, self._inventory, self._writer, self._limits, self._depth + 1)
        except Refusal as refusal:
            is_damaged = refusal.code == "broken"
            what = "damaged part (aFChunk)" if is_damaged else "part in a format that is not read"
            self._inventory.miss("damaged-parts" if is_damaged else "unread-parts", what)
        except etree.XMLSyntaxError:
            self._inventory.miss("damaged-parts", "damaged part (aFChunk)")


def _columns(cell: Any) -> int:
    """How many columns of its table a cell covers."""
    for properties in cell:
        if name_of(properties) == "w:tcPr":
            spans = (number_of(value(each, "val"), 1) for each in properties if name_of(each) == "w:gridSpan")
            return next(spans, 1)
    return 1


class _PartWriter:
    """The second pass, over one part or a piece of it."""

    def __init__(
        self, document: _Document, part: WordPart, writer: Writer, inventory: Inventory, styles: WordStyles
    ) -> None:
        self._document = document
        self._part = part
        self._writer = writer
        self._inventory = inventory
        self._styles = styles
        self._paragraphs: list[str] = []
        self._ruby: list[str] = []
        self._within_ruby = False

    def render(self, root: Any) -> None:
        walk = etree.iterwalk(root, events=("start", "end"))
        for event, element in walk:
            kind = self._part.kinds.get(element)
            if kind is None or kind in UNSEEN:
                if event == "start":
                    walk.skip_subtree()
                continue
            name = name_of(element)
            if event == "end":
                self._end(name, element)
                continue
            self._start(name, element)
            for own, text in find_texts(self._part, element):
                self._put(name, own, text)
        self._writer.end_block()

    def _put(self, name: str, kind: Kind, text: str) -> None:
        if not text:
            return
        self._inventory.keep(kind, text)
        if self._within_ruby:
            self._ruby.append(text)
        else:
            self._writer.text(text if name in LEAVES or name in ("w:sym", "w:noBreakHyphen") else f" {text} ")

    def _start(self, name: str, element: Any) -> None:
        writer = self._writer
        if name in ("w:p", "a:p"):
            self._open_paragraph(element)
        elif name in _BREAKS:
            writer.text(_BREAKS[name])
        elif name == "w:txbxContent":
            writer.open_aside()
        elif name in ("wp:docPr", "v:imagedata"):
            self._document.write_picture(element)
        elif name in ("w:tbl", "w:tr", "w:tc"):
            self._start_table(name, element)
        elif name in NOTES:
            self._refer(NOTES[name], value(element, "id") or "")
        elif name == "w:altChunk":
            self._document.write_chunk(self._part, value(element, "id") or "")
        elif name in ("c:chart", "cx:chart") and value(element, "id"):
            self._document.write_drawing(self._part, value(element, "id") or "")
        elif name == "dgm:relIds":
            self._document.write_drawing(self._part, value(element, "dm") or "")
        elif name == "c:userShapes" and value(element, "id"):
            # Boxes that somebody drew upon a chart.
            self._document.write_drawing(self._part, value(element, "id") or "")
        elif name == "w:rt":
            # What stands above a word comes before it in the file, and after it in the text.
            self._within_ruby = True
        else:
            writer.text(start_of_equation(name, element))

    def _end(self, name: str, element: Any) -> None:
        writer = self._writer
        if name in ("w:p", "a:p"):
            self._close_paragraph()
        elif name == "w:txbxContent":
            writer.close_aside()
        elif name == "w:tc":
            writer.close_cell(_columns(element)) if self._is_data(element) else writer.end_block()
        elif name == "w:tbl":
            writer.close_table() if self._is_data(element) else writer.end_block()
        elif name == "w:rt":
            self._within_ruby = False
        elif name == "w:ruby" and self._ruby:
            writer.text(f"({''.join(self._ruby)})")
            self._ruby.clear()
        elif name in VALUES:
            writer.text(" ")
        else:
            writer.text(end_of_equation(name, element))

    def _open_paragraph(self, paragraph: Any) -> None:
        writer = self._writer
        writer.end_block()
        level = self._styles.level(paragraph)
        item = self._styles.item(paragraph)
        is_item = item is not None and not level and not writer.in_table
        if level and not writer.in_table:
            writer.open_heading(level)
        elif item is not None and is_item:
            writer.open_item(item.marker, indent=item.indent)
        if item is not None and (number := item.shown if is_item else item.number):
            writer.text(f"{number} ")
        self._paragraphs.append("item" if is_item else "")

    def _close_paragraph(self) -> None:
        self._writer.end_block()
        if self._paragraphs and self._paragraphs.pop() == "item":
            self._writer.close_container()

    def _start_table(self, name: str, element: Any) -> None:
        if not self._is_data(element):
            self._writer.end_block()
        elif name == "w:tbl":
            self._writer.open_table()
        elif name == "w:tr":
            self._writer.open_row()
        else:
            self._writer.open_cell()

    def _is_data(self, element: Any) -> bool:
        table = element
        while table is not None and name_of(table) != "w:tbl":
            table = table.getparent()
        return table is not None and table not in self._part.layouts

    def _refer(self, kind_of_part: str, own_id: str) -> None:
        mark = ""
        if kind_of_part != "comments":
            mark = self._document.mark()
            self._writer.text(mark)
        self._document.write_note(kind_of_part, own_id, mark)
