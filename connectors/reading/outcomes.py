"""What a decision decides: what its title chooses, leaves or refuses, and what that is about. Pure.

Owns the forms of titles, in English, German and French (`suggestion_words.toml`), and a chosen option that the text
names. A title that has none of the forms decides nothing that could be held against another. Refuses to compare:
`connectors/reading/suggesting.py` does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

from connectors.reading.words import Words, find_any, fold, load
from schemas.suggestions import Field, SuggestionPassage

SAID: Final = Words(load(Path(__file__).with_name("suggestion_words.toml")))
"""Phrases of titles and sentences, beside those that find links."""
TITLE_CHARS_MAX: Final = 200
"""Characters of a title that are read. A longer one is a paragraph."""
OPTION_WORDS_MAX: Final = 6
"""Words of an option. What is longer describes a way to do something, of which two can hold at once."""
CHOSEN_CHARS_MAX: Final = 80

_WORD = re.compile(r"[^\W_]+(?:[.+#]+[^\W_]+)*[+#]*")
_SLOT = re.compile(r"\b([XYNS])\b")
_SLOTS: Final = {"X": "chosen", "Y": "left", "N": "refused", "S": "about"}
_CHOSEN_END = re.compile(r"[\"”*`'\n.,;(\[]|\s(?:because|weil|da|car|parce)\b|$")
_NOISE: Final = "\"“”„'`*_.,:; "

Way = Literal["chosen", "left", "refused"]
WAYS: Final[tuple[Way, ...]] = get_args(Way)


class DecisionText(NamedTuple):
    """A passage as search has it. `heading` is the path to it, `start` where it begins in the whole text."""

    heading: str
    start: int
    body: str


@dataclass(frozen=True)
class Decision:
    """One decision: its title, and its text in passages, in order."""

    title: str
    texts: Sequence[DecisionText]

    @cached_property
    def outcome(self) -> Outcome:
        """See `read_outcome`. Read once, however many others the decision is compared with."""
        return read_outcome(self)


class Option(NamedTuple):
    """Something that is chosen, left or refused: its words, as they are compared, and where it stands."""

    words: frozenset[str]
    spelled: str
    passage: SuggestionPassage

    @property
    def is_name(self) -> bool:
        """Whether all words look like the name of a thing: "with Helm", and not "with care"."""
        return all(word[0].isupper() or any(map(str.isdigit, word)) for word in _WORD.findall(self.spelled))


class Outcome(NamedTuple):
    """What a decision says. `about`: words of what it is about; none where it is about everything."""

    chosen: Option | None = None
    left: Option | None = None
    refused: Option | None = None
    about: frozenset[str] = frozenset()


def read_outcome(decision: Decision) -> Outcome:
    """What a decision chooses, leaves or refuses, as far as its title or its text has a form for it."""
    title = decision.title[:TITLE_CHARS_MAX]
    for expression, named in _forms():
        if (match := expression.fullmatch(fold(title))) and (found := _from_title(title, match, named=named)):
            return found
    chosen = _find_chosen(decision)
    return Outcome(chosen=chosen, about=words_of(title)) if chosen else Outcome()


def words_of(text: str) -> frozenset[str]:
    """The words of a text, without small ones, as they are compared: folded, and without an s at the end."""
    found = (word for word in _WORD.findall(fold(text)) if word not in _small())
    return frozenset(word[:-1] if re.search(r"[^s]{3}s$", word) else word for word in found)


def follows_about(text: str, at: int) -> bool:
    """Whether what stands at a place goes on with what it is for: "Redis for sessions"."""
    return _about().match(fold(text), at) is not None


def _from_title(title: str, match: re.Match[str], *, named: bool) -> Outcome | None:
    options: dict[str, Option] = {}
    said: list[str] = []
    for way in (way for way in WAYS if way in match.groupdict()):
        start, end = match.span(way)
        if inside := _about().search(fold(title), start, end):  # "Kafka für Ereignisse verwenden"
            said.append(title[inside.end() : end])
            end = inside.start()
        option = _option(title, start, end, "title")
        if option is None or (named and not option.is_name):
            return None
        options[way] = option
    said += filter(None, (match.groupdict().get(name) for name in ("about", "tail")))
    return Outcome(**options, about=words_of(" ".join(said)))


def _option(text: str, start: int, end: int, field: Field, offset: int = 0) -> Option | None:
    while start < end and text[start] in _NOISE:
        start += 1
    while end > start and text[end - 1] in _NOISE:
        end -= 1
    spelled = text[start:end]
    words = words_of(spelled)
    if not words or len(words) > OPTION_WORDS_MAX:
        return None
    return Option(words, spelled, SuggestionPassage(field, offset + start, offset + end, spelled))


def _find_chosen(decision: Decision) -> Option | None:
    """The option that the text calls the chosen one: "Chosen option: Postgres, because …"."""
    for text in decision.texts:
        for match in _begin_chosen().finditer(fold(text.body)):
            start = match.end()
            end = _CHOSEN_END.search(text.body, start, start + CHOSEN_CHARS_MAX)
            if end is not None and (found := _option(text.body, start, end.start(), "body", text.start)):
                return found
    return None


# --- expressions ----------------------------------------------------------------------------------------------------


@cache
def _small() -> frozenset[str]:
    return frozenset(SAID.all("small", "word"))


@cache
def _begin_chosen() -> re.Pattern[str]:
    return re.compile(rf"(?:{find_any(SAID.all('chosen', 'option')).pattern})[*_]*\s*[:：]?[*_\s]*[\"“„'`]?")


@cache
def _about() -> re.Pattern[str]:
    """What stands between an option and what it is for."""
    return re.compile(rf"\s+(?:{'|'.join(map(re.escape, SAID.all('title', 'about')))})\s+")


@cache
def _forms() -> tuple[tuple[re.Pattern[str], bool], ...]:
    """The forms of titles, and whether they are for names alone. The more certain first: those that say more, then
    those that begin with what they say."""
    leads = "|".join(map(re.escape, SAID.all("title", "lead")))
    end = rf"(?:{_about().pattern}(?P<tail>.+?))?[\s.!]*"
    return tuple(
        (re.compile(rf"\s*(?:(?:{leads})\s+)?{_as_expression(form)}{end}"), name == "named")
        for name in ("forms", "named")
        for form in sorted(SAID.all("title", name), key=_certainty)
    )


def _certainty(form: str) -> tuple[int, bool, int]:
    return -len(_SLOT.findall(form)), bool(re.match(r"[XYNS]\b", form)), -len(form)


def _as_expression(form: str) -> str:
    parts = _SLOT.split(form)
    return "".join(
        rf"(?P<{_SLOTS[part]}>\S.*?)" if at % 2 else re.escape(part).replace(r"\ ", r"\s+")
        for at, part in enumerate(parts)
    )
