"""The stems of words in languages other than English, as they are indexed and asked for beside the words themselves.

Owns what a stem of another language is written as. A marked stem meets no word and no other language's stem, since no
analysed text has the letter that it begins with (`schemas/analysis.py` writes it as "th"). Stems are of the accented
word and of the plain one, since queries are typed either way. Pure, total, and linear in the length of the text.

Refuses to say which language a text is in (`schemas/languages.py`), and which stems a query asks for
(`api/search/inflected.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Final

import Stemmer

from schemas.analysis import BESIDE, analyse, compose, fold
from schemas.languages import is_function_word

MARK: Final = "þ"
"""A letter, so that no parser cuts there, whatever its locale (`mv.is_marked_stem`)."""
LAST: Final = "\U0010ffff"
"""No word goes on with this character, so each that begins so is below it."""
WORD_CHARS_MAX: Final = 60
"""A longer one is no word of any language."""
KEPT_WORDS: Final = 100_000
"""Words whose stems a process keeps: 30 MB at most, and the words of nearly every text."""

_ALGORITHMS: Final = {
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ru": "russian",
    "sv": "swedish",
}
_PLURALS: Final = {"pt": (("ões", "ão"), ("oes", "ao"))}
"""What the algorithm leaves apart: decisão, decisões."""
LANGUAGES: Final = tuple(_ALGORITHMS)

_WORD = re.compile(r"[^\W\d_]{3,}")


def analyse_in(language: str | None, text: str) -> str:
    """The analysis of a passage, and behind a second `BESIDE` the marked stems of its words, in their order."""
    words = analyse(text)
    if language is None:
        return words
    stems = " ".join(lexeme for word in find_words(text) for lexeme in mark_stems(language, word))
    if not stems:
        return words
    return f"{words}{BESIDE if BESIDE in words else BESIDE * 2}{stems}"


def find_words(text: str) -> Iterator[str]:
    """What may have an ending: runs of letters, in small letters. What has capitals inside is a name."""
    for word in _WORD.findall(compose(text)):
        if (word[1:].islower() or word.isupper()) and len(word) <= WORD_CHARS_MAX:
            yield word.lower()


@lru_cache(KEPT_WORDS)
def mark_stems(language: str, word: str) -> tuple[str, ...]:
    """The stems of a word in small letters as they are indexed; none of a word that only joins others."""
    if is_function_word(word, language):
        return ()
    plain = fold(word)
    stems = [fold(_stem(language, word))]
    if plain.isascii() and plain != word:
        stems.append(_stem(language, plain))
    return tuple(f"{MARK}{language}{stem}" for stem in dict.fromkeys(stems) if stem.isalpha())


def unmark(lexeme: str) -> tuple[str, str] | None:
    """The language and the stem of a lexeme of the index; None for a word."""
    return (lexeme[1:3], lexeme[3:]) if lexeme[:1] == MARK else None


def _stem(language: str, word: str) -> str:
    for plural, singular in _PLURALS.get(language, ()):
        if word.endswith(plural):
            word = word[: -len(plural)] + singular
    stem: str = _stemmer(language).stemWord(word)
    return stem


@cache
def _stemmer(language: str) -> Stemmer.Stemmer:
    """The stemmer of a language. Without a cache, a call has no state but its word, and the interpreter's lock is held
    meanwhile: so threads may share it."""
    return Stemmer.Stemmer(_ALGORITHMS[language], 0)
