"""Elements of HTML that have no content, in a tree whose parser does not know all of them.

Owns which elements are void, and what becomes of what the parser put into them: it follows them. So does `image`, an
old name of `img`. Refuses trees of XML, in which an element holds what it says, and drawings and formulas.
"""

from __future__ import annotations

from typing import Any

from connectors.parsers.page_kinds import names

_VOID = names("area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr")
_FOREIGN = names("svg math")
_BACK = names("foreignobject desc title annotation-xml mi mo mn ms mtext")
"""Elements of drawings and formulas in which there is HTML again."""
_NEVER_FOREIGN = names("br embed hr img meta")
"""Void elements that end a drawing or a formula around them."""


def release_voids(root: Any) -> None:
    """Put what is within void elements behind them, in its order."""
    foreign: dict[Any, bool] = {}
    found: list[Any] = []
    for element in root.iter("*"):
        tag = element.tag
        is_foreign = foreign.get(element.getparent(), False)
        if tag == "image" and not is_foreign:
            element.tag = tag = "img"
        if tag in _VOID and (not is_foreign or tag in _NEVER_FOREIGN):
            found.append(element)
        foreign[element] = tag in _FOREIGN or (is_foreign and tag not in _BACK)
    # From the outside to the inside: each element moves once, to where no void element is around it.
    for element in found:
        text, element.text = element.text or "", None
        for each in reversed(element):
            element.addnext(each)
        if text:
            element.tail = text + (element.tail or "")
