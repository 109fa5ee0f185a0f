"""What a page's own styles say of its elements: which are not shown, and which stand on lines of their own.

Owns the few rules of CSS that decide it: `display` and `visibility`, in attributes and in style sheets of the page, by
importance, specificity and order. Refuses layout, colours and sizes. Whatever might be seen counts as seen: a rule with
conditions that are not known here (`:hover`, parents, sizes of screens) can show an element and never hides one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

STYLES_CHARS_MAX = 2_000_000
"""PageStyles of a page that are looked at. Larger ones come from tools that write each element's own."""

_COMMENT = re.compile(r"/\*.*?\*/", re.S)
_DECLARATION = re.compile(r"(?:^|;)\s*(display|visibility|content-visibility)\s*:\s*([a-z-]+)\s*(!\s*important)?", re.I)
_CONTENT = re.compile(r"""(?:^|;)\s*content\s*:((?:[^;"']|"[^"]*"|'[^']*')*)""", re.I)
_PIECE = re.compile(r"""(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|attr\(\s*([\w-]+)\s*\))""", re.S)
_ESCAPED = re.compile(r"\\(?:([0-9a-f]{1,6})\s?|(.))", re.I | re.S)
_TAKES_NO_ROOM = re.compile(r"(?:^|;)\s*(?:(?:max-)?(?:height|width)|font-size|opacity)\s*:\s*0(?![.\d]*[1-9])", re.I)
_ICONS = re.compile("[\ue000-\uf8ff\U000f0000-\U0010ffff]")
_GENERATED = re.compile(r"::?(before|after)$", re.I)
_ELEMENT_OF_STYLES = re.compile(r"::[\w-]+|:(?:before|after|first-line|first-letter)\b", re.I)
_COMPOUND = re.compile(r"(\*|[a-z][\w-]*)?((?:[.#][\w-]+)*)", re.I)
_LAST = re.compile(r"([^\s>+~]+)$")
_CONDITION = re.compile(r"::?[\w-]+(?:\([^)]*\))?|\[[^\]]*\]")
_SHOWN_MEDIA = re.compile(r"@media\s+(?:only\s+)?(?:screen|all)\s*$|@(?:layer|supports)\b", re.I)

_Rank = tuple[bool, int, int]


@dataclass(frozen=True, slots=True)
class _Rule:
    tag: str
    classes: frozenset[str]
    ids: frozenset[str]
    property: str
    value: str
    rank: _Rank
    sure: bool

    def matches(self, tag: str, classes: frozenset[str], own_id: str) -> bool:
        return (not self.tag or self.tag == tag) and self.classes <= classes and self.ids <= {own_id}


@dataclass(frozen=True, slots=True)
class Style:
    """What styles say of an element; empty where they say nothing. `before` and `behind` are texts that they add."""

    display: str = ""
    visibility: str = ""
    before: str = ""
    behind: str = ""


class PageStyles:
    """The styles of one page."""

    def __init__(self, sheets: str) -> None:
        self._by_key: dict[str, list[_Rule]] = defaultdict(list)
        for rule in _rules(_COMMENT.sub("", sheets[:STYLES_CHARS_MAX])):
            key = next((f"#{each}" for each in rule.ids), next((f".{each}" for each in rule.classes), rule.tag))
            self._by_key[key].append(rule)

    def look_at(self, tag: str, element: Any, *, drawn: bool = False) -> Style:
        """`drawn`: it is part of a drawing, where attributes say what styles say elsewhere."""
        found: dict[str, tuple[_Rank, str]] = {}
        for name in ("display", "visibility") if drawn else ():
            if element.get(name):
                found[name] = ((False, -1, 0), element.get(name).strip().lower())
        hidden = element.get("hidden")
        if hidden is not None and hidden.lower() != "until-found":
            found["display"] = ((False, -1, 0), "none")
        if self._by_key:
            self._apply(found, tag, element)
        for name, value, important in _DECLARATION.findall(element.get("style") or ""):
            _take(found, name.lower(), ((bool(important), 1_000_000, 0), value.lower()))
        said = {name: value for name, (_, value) in found.items()}
        is_skipped = said.get("content-visibility") == "hidden"
        return Style(
            "none" if is_skipped else said.get("display", ""),
            said.get("visibility", ""),
            _write(said.get("before", ""), element),
            _write(said.get("after", ""), element),
        )

    def _apply(self, found: dict[str, tuple[_Rank, str]], tag: str, element: Any) -> None:
        classes = frozenset((element.get("class") or "").split())
        own_id = element.get("id") or ""
        for key in ("", tag, f"#{own_id}", *(f".{each}" for each in classes)):
            for rule in self._by_key.get(key, ()):
                if not rule.matches(tag, classes, own_id):
                    continue
                if rule.property in ("before", "after"):
                    if rule.sure:
                        _take(found, rule.property, (rule.rank, rule.value))
                elif rule.sure:
                    _take(found, rule.property, (rule.rank, rule.value))
                elif rule.value not in ("none", "hidden", "collapse"):
                    _take(found, rule.property, ((True, 2_000_000, 0), rule.value))


def _take(found: dict[str, tuple[_Rank, str]], name: str, said: tuple[_Rank, str]) -> None:
    if name not in found or said[0] >= found[name][0]:
        found[name] = said


def _rules(sheets: str) -> Iterator[_Rule]:
    for order, (prelude, body, sure) in enumerate(_blocks(sheets)):
        declarations = _DECLARATION.findall(body)
        added = _find_content(body) if "content" in body else None
        for given in prelude.split(",") if declarations or added is not None else ():
            selector = given.strip()
            generated = _GENERATED.search(selector)
            selector = selector[: generated.start()] if generated else selector
            if (generated and added is None) or _ELEMENT_OF_STYLES.search(selector):
                continue  # what is said of a part of an element holds for no other
            simple = _COMPOUND.fullmatch(selector)
            last = _LAST.search(selector)
            compound = simple or (_COMPOUND.fullmatch(_CONDITION.sub("", last[1])) if last else None)
            if compound is None:
                continue
            names = re.findall(r"[.#][\w-]+", compound[2])
            ids = frozenset(name[1:] for name in names if name[0] == "#")
            classes = frozenset(name[1:] for name in names if name[0] == ".")
            tag = "" if compound[1] in (None, "*") else compound[1].lower()
            weight = 10_000 * len(ids) + 100 * len(classes) + bool(tag)
            if generated and added is not None:
                yield _Rule(
                    tag, classes, ids, generated[1].lower(), added, (False, weight, order), sure and simple is not None
                )
                continue
            for name, value, important in declarations:
                rank = (bool(important), weight, order)
                yield _Rule(tag, classes, ids, name.lower(), value.lower(), rank, sure and simple is not None)


def _find_content(body: str) -> str | None:
    """What a rule adds to elements, as it stands there; empty where nobody sees it. None for a rule that does not."""
    found = _CONTENT.search(body)
    if found is None:
        return None
    hides = any(value.lower() in ("none", "hidden") for _, value, _ in _DECLARATION.findall(body))
    return "" if hides or _TAKES_NO_ROOM.search(body) else found[1].strip()


def _write(added: str, element: Any) -> str:
    """The text that is added: strings, and attributes of the element. Characters of fonts that are icons are none."""
    pieces = (
        _ESCAPED.sub(_unescape, double or single) if not name else element.get(name) or ""
        for double, single, name in _PIECE.findall(added)
    )
    return _ICONS.sub("", "".join(pieces))


def _unescape(escape: re.Match[str]) -> str:
    number = int(escape[1], 16) if escape[1] else 0
    if escape[1]:
        return chr(number) if 0 < number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else ""
    return "" if escape[2] == "\n" else escape[2]


def _blocks(sheets: str) -> Iterator[tuple[str, str, bool]]:
    """What stands before and within braces, and whether it holds for a screen without conditions. Blocks within a
    block are rules of their own."""
    conditions: list[bool] = []
    position = 0
    prelude = ""
    for brace in re.finditer(r"[{};]", sheets):
        text = sheets[position : brace.start()].strip()
        position = brace.end()
        if brace[0] == "{":
            if prelude and not text.startswith("@"):
                conditions.append(False)
                continue
            if text.startswith("@"):
                conditions.append(bool(_SHOWN_MEDIA.match(text)))
                continue
            prelude = text
            start = brace.end()
        elif brace[0] == "}":
            if prelude:
                yield prelude, sheets[start : brace.start()], all(conditions)
                prelude = ""
            elif conditions:
                conditions.pop()
        elif not prelude:
            continue  # `@import …;`
