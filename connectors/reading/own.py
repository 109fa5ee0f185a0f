"""A tenant's own words: which may be added, and the words of the reader with them.

Owns the bounds and the rules: a phrase that means something else already is refused, for it would turn what the reader
understands. Pure. Refuses to store: `api/words/service.py` does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from connectors.reading.words import WORDS, Words, fold
from runtime.errors import InvalidInput

WORDS_MAX: Final = 200
"""Words of one tenant: ten times what the fullest language has of a state. Each is looked for in every status."""
PHRASE_CHARS_MAX: Final = 80
"""A phrase is a few words: what is longer is a sentence, and no other record says it again."""
TENANTS_KEPT_MAX: Final = 32
"""Tenants whose expressions are kept: making them takes some milliseconds, and about a megabyte each."""

Subject = Literal["status", "field", "link"]
_LETTERS = re.compile(r"[^\W\d_]")
_PLAIN = re.compile(r"[\w' .&/*…@()-]+")


class OwnWord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`phrase` says `name`: a status ("accepted"), a field ("people"), a kind of link ("superseded-by"). `*` stands for
    any ending; in phrases of links `@` stands for the other record and `…` for a few words between."""

    subject: Subject
    name: Annotated[str, Meta(min_length=1, max_length=40)]
    phrase: Annotated[str, Meta(min_length=1, max_length=PHRASE_CHARS_MAX)]


def check(own: Sequence[OwnWord]) -> tuple[OwnWord, ...]:
    """The words, each once and with single spaces. Raises `InvalidInput` for the first that cannot be taken."""
    if len(own) > WORDS_MAX:
        raise InvalidInput(f"{len(own)} words are too many", hint=f"a tenant has at most {WORDS_MAX}")
    said: dict[tuple[str, str], OwnWord] = {}
    for each in own:
        word = msgspec.structs.replace(each, phrase=" ".join(each.phrase.split()))
        _require_form(word)
        _require_free(word)
        before = said.setdefault((word.subject, fold(word.phrase)), word)
        if before.name != word.name:
            raise InvalidInput(f"{word.phrase!r} cannot mean both {before.name} and {word.name}", hint="keep one")
    return tuple(said.values())


@lru_cache(maxsize=TENANTS_KEPT_MAX)
def words_with(own: tuple[OwnWord, ...]) -> Words:
    """The reader's words and these. A status is taken into every language, so that each negates it in its own way."""
    if not own:
        return WORDS
    languages = [language.name for language in WORDS.languages]
    table: dict[str, dict[str, dict[str, list[str]]]] = {name: {} for name in languages}
    for word in own:
        for language in languages if word.subject == "status" else languages[:1]:
            table[language].setdefault(word.subject, {}).setdefault(word.name, []).append(fold(word.phrase))
    return WORDS.extend(table)


def _require_form(word: OwnWord) -> None:
    names = WORDS.names(word.subject)
    if word.name not in names:
        raise InvalidInput(f"there is no {word.subject} {word.name!r}", hint=f"one of: {', '.join(names)}")
    phrase = word.phrase
    if not _PLAIN.fullmatch(phrase) or not _LETTERS.search(phrase):
        raise InvalidInput(
            f"{phrase!r} is no phrase", hint="letters, digits, spaces and ' . & / ( ) -, with a letter among them"
        )
    if phrase.count("*") > 2 or re.search(r"(?<!\w)\*", phrase):
        raise InvalidInput(f"{phrase!r} has a `*` that ends no word", hint="at most two, each at the end of a word")
    if word.subject == "link" and (phrase.count("@") != 1 or phrase.count("…") > 1):
        raise InvalidInput(
            f"{phrase!r} must name the other record once", hint="`@` stands for it: 'makes way for @'; one `…` at most"
        )
    if word.subject != "link" and ("@" in phrase or "…" in phrase):
        raise InvalidInput(f"{phrase!r}: `@` and `…` are for links", hint="leave them out")


def _require_free(word: OwnWord) -> None:
    """Raise where the reader knows the phrase, and as something else."""
    folded = fold(word.phrase)
    if word.subject == "field":
        taken = {WORDS.meaning(folded)} - {None}
    elif word.subject == "link":
        taken = {name for name in WORDS.names("link") if folded in WORDS.all("link", name)}
    else:
        taken = {kind.partition(":")[2] or f"{kind!r} of other words" for kind in _token_kinds(folded)}
    if meant := ", ".join(sorted(str(name) for name in taken - {word.name})):
        raise InvalidInput(f"{word.phrase!r} means {meant} already", hint="a word that is understood keeps its meaning")


def _token_kinds(folded: str) -> set[str]:
    """What the words of any language take the phrase for, as a whole."""
    found: set[str] = set()
    for language in WORDS.languages:
        end, kinds = language.token(folded, 0)
        if end == len(folded):
            found |= kinds
    return found
