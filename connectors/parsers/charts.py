"""What a reader sees of the values in a chart: names of series and of categories, and numbers that stand as labels.

Owns which values those are, in both forms of charts. Titles and labels that somebody wrote are paragraphs, which
others read. Refuses to draw: numbers that are lengths and heights are none of the text.
"""

from __future__ import annotations

from typing import Any

from connectors.parsers.cell_formats import FIRST_DAY, is_date, show_number
from connectors.parsers.names import flag_of, name_of

VALUES = frozenset(("c:v", "cx:v", "cx:pt"))
_WORDS = frozenset(("c:strCache", "c:strLit", "c:multiLvlStrCache", "c:cat", "c:tx", "cx:strDim", "cx:txData"))
_NUMBERS = frozenset(("c:val", "c:yVal", "c:xVal", "c:bubbleSize"))
_LABELS = ("c:showVal", "c:showBubbleSize")


def value_of_chart(element: Any) -> str:
    """The text of a value, or nothing where it is not shown as text."""
    text = _write_value(element)
    labelled = ""
    for each in element.iterancestors():
        name = name_of(each)
        if name in _WORDS:
            return text
        if name in _NUMBERS:
            labelled = name
        elif labelled and _has_labels(each):
            return text
        elif name == "c:plotArea":
            return text if any(name_of(inner) == "c:dTable" for inner in each) else ""
    return ""


def _write_value(element: Any) -> str:
    """Its text; a number that is a moment as such."""
    text = str(element.text or "")
    caches = (each for each in element.iterancestors() if name_of(each) == "c:numCache")
    code = next((str(inner.text) for each in caches for inner in each if name_of(inner) == "c:formatCode"), "")
    return show_number(text, code, FIRST_DAY) if is_date(code) else text


def _has_labels(element: Any) -> bool:
    return any(name_of(each) == "c:dLbls" and any(flag_of(each, switch) for switch in _LABELS) for each in element)
