"""The words of decision records, by language, ready to be looked for.

Owns how `words.toml` is read and how phrases become expressions: written without accents, `*` stands for any ending,
`~` for an ending of number and gender in a Romance language, `…` for a few words between, `@` for a reference to
another record. A tenant's own words are a table of the same form (`extend`). Refuses to judge:
`status.py`, `sentences.py` and `fields.py` do.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

Table = Mapping[str, Mapping[str, Mapping[str, list[str]]]]
"""Language, subject ("status"), name ("accepted"): phrases."""

GAP_CHARS: Final = 80
"""How far apart the parts of a phrase may stand: "superseded, for the reasons given in the review, by ADR-9"."""
REFERENCE: Final = "\ue001"
"""Stands in folded text for each character of a reference to another record."""
DATE: Final = "\ue000"
"""Stands in folded text for each character of a date."""
UNREAL: Final = "\ue002"
"""Stands in folded text for each character of a word that makes what follows a mere possibility: "would", "if"."""

CONDITION: Final = "\ue003"
"""Stands for each character of a word that says on which condition something holds: "if", "provided that"."""
DEED: Final = "\ue004"
"""Stands for each character of a verb by which this record does something to another: "supersedes ADR-3"."""

_LETTERS: Final = {"ł": "l", "ø": "o", "đ": "d", "ё": "е", "’": "'", "‘": "'", "ʼ": "'", "：": ":", "－": "-"}
WIDE: Final = r"\u3040-\u30ff\u3400-\u9fff\uff66-\uff9f"
"""Scripts that put no spaces between words."""


def fold(text: str) -> str:
    """Small letters without accents, as many characters as before."""
    return text.lower() if text.isascii() else text.translate(_FOLDED)


class _FoldedCharacters(dict[int, str]):
    """What each character is folded to, found out when it comes the first time."""

    def __missing__(self, code: int) -> str:
        self[code] = _fold_character(chr(code))
        return self[code]


_FOLDED: Final = _FoldedCharacters()


def _fold_character(character: str) -> str:
    small = character.lower()
    small = small if len(small) == 1 else character
    if known := _LETTERS.get(small):
        return known
    parts = unicodedata.normalize("NFKD", small)
    if len(parts) > 1 and parts[0].isascii() and all(map(unicodedata.combining, parts[1:])):
        return parts[0]
    wide = unicodedata.normalize("NFKC", small)
    return wide if len(wide) == 1 and wide.isascii() else small


_ARTICLE: Final = r"(?:l'|(?:the|our|la|le|les|el|il|lo|los|las|die|den|das|der|dem|de|het|o|a|os|as)\s{1,2})?"
"""What may stand before the name of another record."""


def phrase(written: str) -> str:
    """The expression of a phrase, for folded text, without what may stand beside it."""
    written = written.strip()
    loose = re.search(f"[{WIDE}]", written) is not None
    made: list[str] = []
    parts = [part for part in re.split(r"(\s+|\*|~|…|@)", fold(written)) if part]
    for at, part in enumerate(parts):
        beside = parts[at - 1 : at] + parts[at + 1 : at + 2]
        if part == "*":
            made.append(r"\w{0,12}")
        elif part == "~":
            made.append("[aeio]{0,2}s?")
        elif part == "…":
            made.append(rf"[^.;!?。\n{REFERENCE}]{{0,{GAP_CHARS}}}?")
        elif part == "@":
            made.append(f"{REFERENCE}+")
        elif part.isspace() and parts[at + 1 : at + 2] == ["@"]:
            made.append(rf"[\s:(\[]{{0,8}}{_ARTICLE}")  # "Supersedes: ADR-3", "Supersedes (ADR-3)"
        elif part.isspace():
            made.append(r"\s*" if loose or "@" in beside or "…" in beside else r"\s+")
        else:
            made.append(re.escape(part))
    return "".join(made)


def _edges(written: str) -> tuple[str, str]:
    """What must not stand before and behind a phrase: a letter, where its own first and last character is one."""
    written, letter = written.strip(), rf"[^\W{WIDE}]"
    return (
        f"(?<!{letter})" if re.match(letter, written) else "",
        f"(?!{letter})" if re.search(f"(?:{letter}|~)$", written) else "",
    )


def in_one(written: Iterable[str], *, captured: bool = False, open_end: bool = False) -> tuple[str, list[str]]:
    """One expression for many phrases, and the phrases in the order of its branches, which are groups if `captured`.
    With `open_end`, letters may follow.

    What may stand beside them is asked once for all, and not once for each: an expression is made twenty times as fast
    (each such set is a table of 64 K characters), and is left at the first letter that begins none of them.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for each in written:
        before, after = _edges(each)
        groups.setdefault((before, "" if open_end else after), []).append(each)
    branches: list[str] = []
    ordered: list[str] = []
    for (before, after), phrases in sorted(groups.items(), key=lambda item: (not item[0][0], item[0][1])):
        inner = "|".join(f"({phrase(each)})" if captured else phrase(each) for each in phrases)
        branches.append(f"{before}(?:{inner}){after}")
        ordered += phrases
    return "|".join(branches) or "(?!)", ordered


def find_any(written: Iterable[str]) -> re.Pattern[str]:
    """Finds any of these phrases."""
    expression, _ = in_one(written)
    return re.compile(expression)


class Language:
    """What one language says. `tokens` finds the longest known phrase at a place and `kinds` says what it may be."""

    def __init__(self, name: str, table: Mapping[str, Mapping[str, list[str]]]) -> None:
        self.name = name
        self._table = table

    def phrases(self, subject: str, name: str) -> list[str]:
        return list(self._table.get(subject, {}).get(name, ()))

    def names(self, subject: str) -> list[str]:
        return list(self._table.get(subject, {}))

    @cached_property
    def _tokens(self) -> tuple[re.Pattern[str], list[frozenset[str]]]:
        kinds: dict[str, set[str]] = {}
        for subject, prefix in (("status", "status:"), ("weak", "weak:"), ("modifier", "")):
            for name in self.names(subject):
                for written in self.phrases(subject, name):
                    kinds.setdefault(written, set()).add(prefix + name)
        ordered = sorted(kinds, key=lambda written: (-len(written), written))
        expression, ordered = in_one(ordered, captured=True)
        return re.compile(expression), [frozenset(), *(frozenset(kinds[written]) for written in ordered)]

    def token(self, folded: str, at: int) -> tuple[int, frozenset[str]]:
        """The end of the longest phrase at a place, and what it may be; the place itself when there is none."""
        expression, kinds = self._tokens
        match = expression.match(folded, at)
        return (match.end(), kinds[match.lastindex or 0]) if match else (at, frozenset())

    @cached_property
    def any_status(self) -> re.Pattern[str]:
        """Any word of a status, anywhere."""
        written = {
            each
            for subject in ("status", "weak")
            for name in self.names(subject)
            for each in self.phrases(subject, name)
        }
        return find_any(sorted(written))


class Words:
    """All languages. Cheap to make: expressions are built when they are first asked for."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.languages = tuple(Language(name, subjects) for name, subjects in table.items())
        self._cache: dict[tuple[str, str], re.Pattern[str]] = {}

    def extend(self, more: Table) -> Words:
        """These words and others, which may bring a language of their own."""
        merged: dict[str, dict[str, dict[str, list[str]]]] = {
            language: {
                subject: {name: list(held) for name, held in names.items()} for subject, names in subjects.items()
            }
            for language, subjects in self._table.items()
        }
        for language, subjects in more.items():
            for subject, names in subjects.items():
                for name, held in names.items():
                    merged.setdefault(language, {}).setdefault(subject, {}).setdefault(name, []).extend(held)
        return Words(merged)

    def all(self, subject: str, name: str) -> list[str]:
        """The phrases of all languages, the longest first."""
        found = {written for language in self.languages for written in language.phrases(subject, name)}
        return sorted(found, key=lambda written: (-len(written), written))

    def names(self, subject: str) -> list[str]:
        return list(dict.fromkeys(name for language in self.languages for name in language.names(subject)))

    def expression(self, subject: str, name: str) -> re.Pattern[str]:
        """Finds any phrase of this subject and name in folded text."""
        key = (subject, name)
        if key not in self._cache:
            self._cache[key] = find_any(self.all(subject, name))
        return self._cache[key]

    def meaning(self, name: str) -> str | None:
        """What the name of a field stands for: "Decided by" for `people`."""
        return self._fields.get(normalise_name(name.replace("-", " ")), (None, 0))[0] if name.strip() else None

    def rank(self, name: str) -> int:
        """How far down a name stands in its language's list: those before it say the same with more weight."""
        return self._fields.get(normalise_name(name.replace("-", " ")), (None, 0))[1]

    @cached_property
    def _fields(self) -> Mapping[str, tuple[str, int]]:
        found: dict[str, tuple[str, int]] = {}
        for language in self.languages:
            for name in language.names("field"):
                for rank, written in enumerate(language.phrases("field", name)):
                    found.setdefault(normalise_name(written.replace("-", " ")), (name, rank))
        return found

    def is_section(self, name: str, subject: str = "names") -> bool:
        """Whether a heading is one of a template's."""
        return normalise_name(name) in self._sections(subject)

    def _sections(self, subject: str) -> frozenset[str]:
        found = self._section_names.get(subject)
        if found is None:
            found = frozenset(normalise_name(written) for written in self.all("section", subject))
            self._section_names[subject] = found
        return found

    @cached_property
    def _section_names(self) -> dict[str, frozenset[str]]:
        return {}

    @cached_property
    def label(self) -> re.Pattern[str]:
        """What stands before the number of a record: "ADR-", "Decision "."""
        said, _ = in_one(self.all("section", "label"), open_end=True)
        number = r"(?:\s?(?:no\.?|nr\.?|№|n°|#))?[-_ #:]{0,3}"
        return re.compile(rf"\[?(?:[a-z]{{2,8}}[-_])?(?:{said})(?![a-z]){number}")

    def speaks_of_this(self, clause: str) -> bool:
        """Whether the subject of a clause, given up to its verb, is this record: "we hereby", "diese Entscheidung
        wird", or nothing. A guideline that extends another record is not this one."""
        ends = [match.end() for match in self.expression("clause", "this").finditer(clause)]
        tail = clause[max(ends, default=0) :]
        return re.search(r"[^\W\d_]", self._small.sub(" ", tail)) is None

    @cached_property
    def _small(self) -> re.Pattern[str]:
        """Words that may stand between a subject and its verb, and words of a status before "and supersedes"."""
        named = [("modifier", name) for name in ("filler", "now", "past", "partly", "or")]
        named += [("clause", name) for name in ("and", "partly", "not")]
        named += [(subject, name) for subject in ("status", "weak") for name in self.names(subject)]
        small = {written for subject, name in named for written in self.all(subject, name)}
        return find_any(sorted(small, key=lambda each: (-len(each), each)))

    def mark_unreal(self, folded: str, text: str) -> str:
        """The folded text with a mark for each character of "would", "if" and their like. They are looked for with
        their accents, which alone tell "würde" from "wurde" and the Spanish "si" from "sí"."""
        parts: list[str] = []
        at = 0
        for match in self._unreal.finditer(text):
            if DATE not in folded[match.start() : match.end()]:
                mark = CONDITION if match["condition"] else UNREAL
                parts += folded[at : match.start()], mark * len(match[0])
                at = match.end()
        return "".join([*parts, folded[at:]])

    @cached_property
    def _unreal(self) -> re.Pattern[str]:
        def bind(name: str) -> str:
            said = map(re.escape, self.all("modifier", name))
            return "|".join(each if re.match(f"[{WIDE}]", each) else rf"\b{each}\b" for each in said) or "(?!)"

        return re.compile(f"(?P<condition>{bind('condition')})|{bind('unreal')}", re.IGNORECASE)

    @cached_property
    def months(self) -> Mapping[str, int]:
        """Folded names of months, and their numbers."""
        found: dict[str, int] = {}
        for kind in ("names", "short"):
            for language in self.languages:
                for at, written in enumerate(language.phrases("month", kind), 1):
                    found.setdefault(fold(written), at)
        return found


_DECORATION = re.compile(r"^[\W\d_]+(?=\D)|[\s:*#.\-–—?!=_]+$")
_NUMBERED = re.compile(r"^\s*(?:\d{1,3}|[ivx]{1,4})(?:\.\d{1,3}){0,3}[.):]?\s+")


def normalise_name(name: str) -> str:
    """The name of a field or a section without its number, its decoration and its accents."""
    folded = fold(" ".join(name[:200].split()))
    folded = _NUMBERED.sub("", folded)
    plain = _DECORATION.sub("", folded).strip()
    return plain or folded.strip()


def load(path: Path) -> Table:
    with path.open("rb") as file:
        table: dict[str, Any] = tomllib.load(file)
    return table


WORDS: Final = Words(load(Path(__file__).with_name("words.toml")))
"""What the reader knows when a tenant adds nothing."""
