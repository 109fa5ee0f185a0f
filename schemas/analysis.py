"""What a text is found by: the same words for a passage when it is indexed and for a query when it is asked.

Owns what Postgres's own parser and dictionary do not do, before they see the text: forms of one character (full width,
ligatures), accents, scripts that put no space between words, and the parts of names that programs use. Plain words
stay as they are; stems and stop words are the dictionary's. Words that are added stand behind the text, so that phrases
stay phrases. Pure, total, and linear in the length of the text.

Refuses to know queries (`api/search/query.py`) and passages (`dataflows/chunker.py`).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import cache
from typing import Final, NamedTuple

JOINED_CHARS_MAX: Final = 40
"""The longest name whose parts are also written as one word: "back-off" is, the address of a page is not."""
PARTS_MAX: Final = 6
"""Parts of a name that are words by themselves. What has more is a hash or an address."""

BESIDE: Final = "\x1f"
"""What stands behind it in a passage counts less than a word, and not for its length (`mv.chunk_tsv`). Behind a second
one stand stems of other languages (`schemas/stems.py`)."""

SEPARATORS_END: Final = 0x20000
"""The planes of Unicode from here on have ideographs, marks and private characters alone."""
_EDGE: Final = "()[]{}<>,;:!?\"'`*_|=~^.…/\\-&%$§"
"""What may stand around a word without being part of it."""
_MARKS = re.compile("[\u0300-\u036f\u064b-\u065f\u0670\u00ad\u200b-\u200f\u2060\ufeff]")
"""Accents, Arabic vowel signs, and what is not shown."""
UNSPACED = re.compile(
    "[\u3005\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)
"""Han and the two kana, which are written without spaces."""
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
    | {"Æ": "Ae", "Œ": "Oe", "Ø": "O", "Ł": "L", "Đ": "D", "Þ": "Th", "ẞ": "SS"}
)
"""Letters with which Unicode decomposes nothing, as they are written where a keyboard lacks them."""
_UMLAUTS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "å": "aa", "ø": "oe"}
)
_UMLAUT = re.compile("[äöüÄÖÜåø]")
_PIECE = re.compile(r"[vV]?\d+(?:\.\d+)+(?![A-Za-z0-9])|[A-Za-z0-9_'\x80-\U0010ffff]+")
_RUN = re.compile(r"\d+(?:\.\d+)*|[^\W\d_]+")
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z]{2})|[A-Z]?[a-z]{2,}|[A-Z]+|\d+")
_HUMP = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]{2}")


class Analysed(NamedTuple):
    """The words of a passage: of its title, which is the first passage's alone, of its headings and its text."""

    title: str
    heading_path: str
    body: str


@dataclass(slots=True)
class _Called:
    """What the names of a text are called as well: `names` in another spelling, `humps` and `runs` part by part; `ends`
    are the last characters of runs without spaces, which begin no pair."""

    names: list[str] = field(default_factory=list)
    humps: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    def pair(self, run: re.Match[str]) -> str:
        """Each two neighbours: a word of such a script is found wherever its characters follow each other."""
        characters = run[0]
        if len(characters) == 1:
            return f" {characters} "
        self.ends.append(characters[-1])
        return " " + " ".join(characters[at : at + 2] for at in range(len(characters) - 1)) + " "


def analyse(text: str) -> str:
    """The words of a text, and behind `BESIDE` the parts that they are also found by."""
    called = _Called()
    words = _analyse(text, called)
    beside = " ".join([*called.runs, *called.humps, *called.ends])
    words = " ".join([words, *called.names])
    return _lower(f"{words}{BESIDE}{beside}" if beside else words)


def analyse_query(text: str) -> str:
    """The words of a query, and behind them what else its names are called. Letters and digits that stand together are
    one: whoever asks for ERR4711 does not ask for every 4711."""
    called = _Called()
    return _lower(" ".join([_analyse(text, called), *called.names, *called.humps]))


def analyse_phrase(text: str) -> str:
    """The words of a phrase in their order, and nothing else."""
    return _lower(_analyse(text, _Called()))


def _lower(text: str) -> str:
    """The dictionary knows capitals of ASCII alone, whatever the server's locale."""
    return text if text.isascii() else text.lower()


def _analyse(text: str, called: _Called) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        called.names += (fold(word.translate(_UMLAUTS)) for word in text.split() if _UMLAUT.search(word))
        text = UNSPACED.sub(called.pair, fold(text))
    return " ".join(
        token if token.islower() and token.isalpha() and token.isascii() else _word(token, called)
        for token in text.split()
    )


def compose(text: str) -> str:
    """Characters in one form, with their accents, and without what is not shown."""
    return text if text.isascii() else _MARKS.sub("", unicodedata.normalize("NFKC", text))


def fold(text: str) -> str:
    """Letters without accents, as they are written where a keyboard lacks them; other signs are spaces."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFD", text.translate(_LETTERS))))
    return text.translate(_separators())


@cache
def _separators() -> dict[int, str]:
    """Punctuation and symbols beyond ASCII. Without a locale, Postgres takes every one for a letter."""
    return {code: " " for code in range(0x80, SEPARATORS_END) if unicodedata.category(chr(code))[0] in "PSZ"}


def _word(token: str, called: _Called) -> str:
    """What stands in the text for a token; `called` gets what it is called as well."""
    core = token.strip(_EDGE)
    if core.isalpha() and (core[1:].islower() or core.isupper() or not core.isascii()):
        if token[0] == "." and len(core) > 1:
            called.names.append("dot" + core)  # .NET, .env
        return token
    core = core.lstrip("#+@")
    if core and core[-1] in "+#":
        core = _with_sign(core, called)
    pieces = _PIECE.findall(core)
    if len(pieces) <= PARTS_MAX:
        if 1 < len(pieces) <= 3 and len(core) <= JOINED_CHARS_MAX:
            called.names.append("".join(pieces))
        for piece in pieces:
            _take_apart(piece, called)
    return " ".join(pieces)


def _with_sign(core: str, called: _Called) -> str:
    """A name that ends with signs is a name of its own: C++, C#, F#."""
    name = core.rstrip("+#")
    spelt = {"+": "plus", "++": "plusplus", "#": "sharp"}.get(core[len(name) :])
    if spelt is None or not 0 < len(name) <= 3:
        return name
    called.runs.append(name)
    return name + spelt


def _take_apart(piece: str, called: _Called) -> None:
    """The words that a name is made of, beside those that the parser finds by itself: getUserName, OAuth2, ERR4711."""
    if len(piece) > JOINED_CHARS_MAX or "'" in piece:
        return
    for name in piece.split("_"):
        if not name.isascii() or name.isdigit() or (name.isalpha() and not _HUMP.search(name)):
            continue
        runs = _RUN.findall(name)
        humps = _CAMEL.findall(name) if _HUMP.search(name) else []
        if 1 < len(runs) <= PARTS_MAX:
            called.runs += runs
        if len(humps) <= PARTS_MAX:
            called.humps += (hump for hump in humps if len(hump) > 1 and hump != name and hump not in runs)
