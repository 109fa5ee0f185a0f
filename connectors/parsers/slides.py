"""The text of a presentation, slide by slide.

Owns which parts hang on a slide and what of them is shown. How the shapes of a slide follow each other, and what is a
title, a list and a table, `elements` says; what it passes over (notes, charts, diagrams, remarks, shapes in forms that
it does not know) is added from the tree. Hidden slides and shapes are counted and left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lxml import etree

from connectors.parsers import UNSEEN, Kind, Limits, Refusal, Scans
from connectors.parsers.drawing import SHAPES, Page, find_pieces, is_seen, measure
from connectors.parsers.elements import make_slides
from connectors.parsers.inventory import Inventory
from connectors.parsers.names import name_of, value
from connectors.parsers.package import Package, Relationship, relation_of
from connectors.parsers.pieces import Piece, complete, count_pieces
from connectors.parsers.scans import take_scans
from connectors.parsers.word_pictures import PlacedPicture, find_cut

LETTERS_FEW = 100
"""Letters and digits of a slide that has a heading, and else a picture."""
SHARE_MOST = 0.5
"""Part of a slide that its pictures cover."""
_MARGINS_OF_NOTES = ("hdr", "ftr", "dt", "sldNum", "sldImg")
_SIDE_PARTS: Mapping[str, Kind] = {
    "notesSlide": "note",
    "comments": "comment",
    "chart": "drawing",
    "chartEx": "drawing",
    "diagramData": "drawing",
    "chartUserShapes": "drawing",
}
_EMBEDDED = ("oleObject", "package")


def read_slides(package: Package, inventory: Inventory, limits: Limits, scans: Scans = None) -> list[str]:
    """The text of each slide, with what is known of those that are pictures, and at the end of the last one what
    belongs to none. Raises `Refusal` and `PagesWanted`, and what lxml raises when the main part is no XML."""
    main = package.main_part("presentationml")
    if main is None:
        raise Refusal("unsupported-type", "it is no presentation")
    deck = _Deck(package, inventory, main)
    recognised = take_scans(deck.look_at_slides(), limits, inventory, scans, limits.text_bytes_max)
    if sum(len(piece.text) for pieces in deck.pieces for piece in pieces) > limits.text_bytes_max:
        raise Refusal("too-much-text", f"its text has more than {limits.text_bytes_max} characters")
    made = make_slides(package.repack(deck.parts_changed))
    slides = [
        "" if kind in UNSEEN else complete(made.get(number, ""), deck.pieces[number - 1])
        for number, kind in enumerate(deck.kinds, 1)
    ]
    before = "\n\n".join(filter(None, slides))
    pieces = (*_all(deck.pieces), *deck.margins)
    text = complete(before, pieces)
    if slides:
        slides[-1] = f"{slides[-1]}{text[len(before) :]}".lstrip("\n")
    count_pieces(pieces, text, inventory)
    return ["\n\n".join(filter(None, (each, recognised.get(number)))) for number, each in enumerate(slides, 1)]


def read_pictures_of_slide(package: Package, number: int, pictures_max: int) -> list[PlacedPicture]:
    """The largest pictures that are seen on a slide, as they follow each other from its upper edge to its lower one.
    Raises `Refusal`."""
    main = package.main_part("presentationml")
    if main is None:
        raise Refusal("unsupported-type", "it is no presentation")
    found = _Deck(package, Inventory(), main).find_pictures(number)
    largest = sorted(found, key=lambda each: -each[0][2] * each[0][3])[:pictures_max]
    return [placed for _, placed in sorted(largest, key=lambda each: (each[0][1], each[0][0]))]


def _all(pieces: list[list[Piece]]) -> Iterator[Piece]:
    for each in pieces:
        yield from each


class _Deck:
    def __init__(self, package: Package, inventory: Inventory, main: str) -> None:
        self._package = package
        self._inventory = inventory
        self._root = package.tree(main)
        self._relations = package.relationships(main)
        self.pieces: list[list[Piece]] = []
        self.kinds: list[Kind] = []
        self.parts_changed: dict[str, bytes] = {}
        self.margins: list[Piece] = []
        self._masters: set[str] = set()

    def look_at_slides(self) -> list[int]:
        """Find what is on each. Returns those that are pictures, by their numbers."""
        page = self._page()
        pictures: list[int] = []
        for each in self._root.iter():
            if name_of(each) != "sldId" or (relation := self._relations.get(relation_of(each))) is None:
                continue
            root = self._tree(relation)
            hidden = root is not None and root.get("show") in ("0", "false")
            kind: Kind = "hidden" if hidden else "text"
            self.kinds.append(kind)
            self.pieces.append([])
            if root is None:
                continue
            own = list(find_pieces(root, kind, page))
            self.pieces[-1] += own
            if not hidden and self._is_picture(root, own, page):
                pictures.append(len(self.kinds))
            with_master = not hidden and root.get("showMasterSp") not in ("0", "false")
            self._look_beside(relation.target, hidden=hidden, with_master=with_master)
            self._remove_unseen(relation.target, root, page)
        return pictures

    def find_pictures(self, number: int) -> list[tuple[tuple[int, int, int, int], PlacedPicture]]:
        """The pictures that are seen on a slide, each with its frame. Raises `Refusal`."""
        named = [self._relations.get(relation_of(each)) for each in self._root.iter() if name_of(each) == "sldId"]
        slides = [each for each in named if each is not None]
        root = self._tree(slides[number - 1]) if 0 < number <= len(slides) else None
        if root is None:
            raise Refusal("broken", "there is no such slide in it")
        relations, page = self._package.relationships(slides[number - 1].target), self._page()
        found = []
        for shape in root.iter():
            if name_of(shape) != "pic" or not is_seen(shape, page):
                continue
            frame = next((measure(each) for each in shape.iter() if name_of(each) == "a:xfrm"), (0, 0, 0, 0))
            for blip in (each for each in shape.iter() if name_of(each) == "a:blip"):
                relation = relations.get(value(blip, "embed") or "")
                if relation is not None and not relation.external and self._package.has(relation.target):
                    found.append((frame, PlacedPicture(relation.target, find_cut(blip.getparent()))))
        return found

    def _page(self) -> Page:
        for each in self._root:
            if name_of(each) == "sldSz" and each.get("cx", "").isdecimal() and each.get("cy", "").isdecimal():
                return Page(int(each.get("cx")), int(each.get("cy")))
        return Page(12_192_000, 6_858_000)

    def _tree(self, relation: Relationship) -> Any:
        try:
            return self._package.tree(relation.target)
        except (etree.XMLSyntaxError, KeyError):
            self._inventory.miss("damaged-parts", f"damaged part ({relation.kind})")
            return None

    def _look_beside(self, part: str, *, hidden: bool, with_master: bool, embedded: bool = True) -> None:
        """What hangs on a slide or on a chart, and the master that is behind it. The workbook of a chart is no file
        that anybody sees."""
        for each in self._package.relationships(part).values():
            if each.external:
                continue
            if each.kind in _EMBEDDED:
                if hidden or not embedded:
                    continue
                self._inventory.miss("embedded-files", "embedded object")
            elif each.kind in ("slideLayout", "slideMaster"):
                if with_master:
                    self._look_at_master(each)
            elif each.kind in _SIDE_PARTS and (root := self._tree(each)) is not None:
                _drop(root, _MARGINS_OF_NOTES)
                self.pieces[-1] += find_pieces(root, "hidden" if hidden else _SIDE_PARTS[each.kind])
                if each.kind in ("chart", "chartEx"):
                    self._look_beside(each.target, hidden=hidden, with_master=False, embedded=False)

    def _look_at_master(self, relation: Relationship) -> None:
        """What is on every slide, once. Places for text say there what is to be filled in, and nobody sees it."""
        if relation.target in self._masters:
            return
        self._masters.add(relation.target)
        if (root := self._tree(relation)) is None:
            return
        _drop(root, None)
        self.margins += find_pieces(root, "margin")
        if root.get("showMasterSp") not in ("0", "false"):
            for each in self._package.relationships(relation.target).values():
                if each.kind == "slideMaster" and not each.external:
                    self._look_at_master(each)

    def _remove_unseen(self, part: str, root: Any, page: Page) -> None:
        """Take hidden shapes out of the copy that the library gets."""
        unseen = [each for each in root.iter() if name_of(each) in SHAPES and not is_seen(each, page)]
        for each in unseen:
            each.getparent().remove(each)
        if unseen:
            self.parts_changed[part] = etree.tostring(root, encoding="utf-8", xml_declaration=True, standalone=True)

    @staticmethod
    def _is_picture(root: Any, pieces: list[Piece], page: Page) -> bool:
        """Whether a slide is pictures, and little or nothing else."""
        letters = sum(sum(map(str.isalnum, piece.text)) for piece in pieces if piece.kind not in UNSEEN)
        pictures = [each for each in root.iter() if name_of(each) == "pic"]
        frames = (frame for each in pictures for frame in each.iter() if name_of(frame) == "a:xfrm")
        areas = (size[2] * size[3] for size in map(measure, frames))
        if not letters:
            return bool(pictures)
        return letters < LETTERS_FEW and sum(areas) >= SHARE_MOST * page.width * page.height


def _drop(root: Any, places: tuple[str, ...] | None) -> None:
    """Take out the shapes that are places for text of some types; None: of any."""
    for shape in [each for each in root.iter() if name_of(each) in SHAPES]:
        own = next((each for each in shape[0].iter() if name_of(each) == "ph"), None) if len(shape) else None
        if own is not None and (places is None or (value(own, "type") or "") in places):
            shape.getparent().remove(shape)
