"""Split a headline with marks in it into plain text and the places of the marks. Pure.

A snippet is text, never markup: an ADR may hold any HTML, and whoever shows a snippet decides how a match looks.
"""

from __future__ import annotations

import re

START, STOP = "\ue000", "\ue001"
"""Private-use characters that stand around a match inside ts_headline; they are taken out of the ADR's text before."""


def snippet(headline: str) -> tuple[str, list[tuple[int, int]]]:
    """The text on one line, and [start, end) of each match in it, in characters."""
    text: list[str] = []
    places: list[tuple[int, int]] = []
    length, start = 0, -1
    for piece in re.split(f"([{START}{STOP}])", " ".join(headline.split())):
        if piece == START:
            start = length
        elif piece == STOP:
            if 0 <= start < length:
                places.append((start, length))
            start = -1
        else:
            text.append(piece)
            length += len(piece)
    return "".join(text), places
