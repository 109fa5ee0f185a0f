"""Compares what a library made of a file with what the file holds, piece by piece.

Owns when a piece counts as found: its words follow each other, and are there as often as the pieces say. Adds what is
not found, and counts what the finished text has. Refuses to know formats; where the pieces are from, the format's own
module says.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from connectors.parsers import UNSEEN, Kind
from connectors.parsers.inventory import Inventory

_WORD = re.compile(r"\w+")


class Piece(NamedTuple):
    """A paragraph, a cell, a remark. `mark` stands before it where it has to be added."""

    kind: Kind
    text: str
    mark: str = ""


def same_words(text: str, other: str) -> bool:
    return Counter(_WORD.findall(text)) == Counter(_WORD.findall(other))


def find_missing(text: str, pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces that a reader sees, and that are not in the text, in their order."""
    words = _WORD.findall(text)
    left = Counter(words)
    stream = f" {' '.join(words)} "
    position = 0
    missing: list[Piece] = []
    for piece in pieces:
        if piece.kind in UNSEEN or not piece.text.strip():
            continue
        own = _WORD.findall(piece.text)
        if not own:
            missing += [] if piece.text.strip() in text else [piece]
            continue
        needle = f" {' '.join(own)} "
        # Pieces come in the order of the text, mostly: the rest of it is looked at first.
        found = stream.find(needle, position)
        found = stream.find(needle) if found < 0 else found
        wanted = Counter(own)
        if found < 0 or any(left[word] < number for word, number in wanted.items()):
            missing.append(piece)
            continue
        left.subtract(wanted)
        position = found
    return missing


def complete(text: str, pieces: Iterable[Piece]) -> str:
    """The text, and behind it what it has not."""
    blocks = [text.strip("\n")]
    for piece in find_missing(text, pieces):
        line = " ".join(piece.text.split())
        blocks.append(f"{piece.mark}{line}")
    return "\n\n".join(filter(None, blocks))


def count_pieces(pieces: Sequence[Piece], text: str, inventory: Inventory) -> None:
    """Count what is held, and what of it is in the finished text. A word counts as often as it is there."""
    left = Counter(_WORD.findall(text))
    for piece in pieces:
        inventory.hold(piece.kind, piece.text)
        if piece.kind in UNSEEN:
            continue
        own = _WORD.findall(piece.text)
        wanted = Counter(own)
        if all(left[word] >= number for word, number in wanted.items()) and (own or piece.text.strip() in text):
            left.subtract(wanted)
            inventory.keep(piece.kind, piece.text)
        else:
            there = wanted & left
            left.subtract(there)
            inventory.keep(piece.kind, " ".join(there.elements()))
