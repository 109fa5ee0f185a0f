"""The pictures of a DOCX that stand for a page: which parts they are, and by which numbers they are called.

Owns that both passes over a file call them by the same numbers: that in which their letters are recognised, and that in
which these are put in their places. Refuses to unpack a picture (`connectors/parsers/pictures_within.py`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from connectors.parsers import Refusal
from connectors.parsers.names import name_of, value
from connectors.parsers.package import Package
from connectors.parsers.word_bound import fill_controls
from connectors.parsers.word_kinds import WordPart, look_around
from connectors.parsers.word_styles import WordStyles


class PlacedPicture(NamedTuple):
    """A part that is a picture, and what is cut off of it on each side, in shares of it: left, top, right, bottom."""

    target: str
    cut: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


def find_pictures(package: Package, part: WordPart) -> list[tuple[Any, list[PlacedPicture]]]:
    """Where each begins, in the order of the part, and what it is made of. Of one outside of the file, or in no part
    that is there, there is nothing to recognise."""
    found = [(begin, list(_find_parts(package, part, begin))) for begin in part.large]
    return [(begin, placed) for begin, placed in found if placed]


def read_pictures_of(package: Package, number: int) -> list[PlacedPicture]:
    """What the picture of a number is made of. Raises `Refusal`."""
    main = package.main_part()
    if main is None:
        raise Refusal("unsupported-type", "it is no document of a word processor")
    part = WordPart(main, package.tree(main), package.relationships(main))
    fill_controls(package, main, part.root)
    look_around(part, "text", WordStyles(*_find_styles(package, part)))
    found = find_pictures(package, part)
    if not 0 < number <= len(found):
        raise Refusal("broken", "there is no such picture in it")
    return found[number - 1][1]


def _find_styles(package: Package, part: WordPart) -> tuple[Any, Any]:
    """The trees of styles and of numbering: what styles hide, is not looked at."""
    trees: dict[str, Any] = {}
    for each in part.relations.values():
        if each.kind in ("styles", "numbering") and not each.external and package.has(each.target):
            trees[each.kind] = package.tree_or_none(each.target)
    return trees.get("styles"), trees.get("numbering")


def _find_parts(package: Package, part: WordPart, begin: Any) -> list[PlacedPicture]:
    if name_of(begin) == "v:imagedata":
        names = [(value(begin, "id") or "", (0.0, 0.0, 0.0, 0.0))]
    else:
        blips = (each for each in begin.getparent().iter() if name_of(each) == "a:blip")
        names = [(value(each, "embed") or "", find_cut(each.getparent())) for each in blips]
    placed = []
    for own_id, cut in names:
        relation = part.relations.get(own_id)
        if relation is not None and not relation.external and package.has(relation.target):
            placed.append(PlacedPicture(relation.target, cut))
    return placed


def find_cut(fill: Any) -> tuple[float, float, float, float]:
    """What a document does not show of a picture: its edges, in shares."""
    for each in fill:
        if name_of(each) == "a:srcRect":
            left, top, right, bottom = (_share(each.get(side)) for side in ("l", "t", "r", "b"))
            return left, top, right, bottom
    return 0.0, 0.0, 0.0, 0.0


def _share(text: str | None) -> float:
    """Thousandths of a percent, or a percentage as newer files have it, as a share."""
    given = (text or "0").strip()
    try:
        number = float(given.rstrip("%")) / 100 if given.endswith("%") else float(given) / 100_000
    except ValueError:
        return 0.0
    return min(max(number, 0.0), 0.99)
