"""Does a newer decision supersede an older one, or conflict with it, though nobody linked them? Pure.

Owns the rule, and its evidence: words of the newer text that leave what the older one decided; a title that ends or
refuses what the other chose; two options for one question. It is asked of decisions that are near and in force, and
says nothing rather than something doubtful: a negation, a mere possibility, another matter, an option that stands
beside the other. Refuses to read tables: `dataflows/suggested.py` does. What sentences say is read as links are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Final, NamedTuple

from connectors.reading.outcomes import (
    SAID,
    Decision,
    DecisionText,
    Option,
    Outcome,
    follows_about,
    words_of,
)
from connectors.reading.references import Reference
from connectors.reading.sentences import fold_sentence, join_lines, mark_references, relations
from connectors.reading.words import CONDITION, REFERENCE, UNREAL, WORDS, Words, fold
from schemas.suggestions import QUOTE_CHARS_MAX, TERMS_MAX, Evidence, Suggestion, SuggestionKind, SuggestionPassage

TITLE_WORDS_MIN: Final = 3
"""Words of a title before its mention alone says which decision is meant: "Logging" is said of much."""
ABOUT_SHARE_MIN: Final = 0.6
"""Share of the words that two matters have in common before they are one. "CI builds" and "CI" are two."""
FOLDED_MAX: Final = 1_000
"""Passages that are kept folded, and expressions of names, for the next pair that has the same: a few megabytes."""
NEGATION_CHARS_MAX: Final = 30
"""How far before a phrase its negation may stand, as for links."""
_MARKUP = str.maketrans(dict.fromkeys('*_`"“”„«»', " "))
_SENTENCE_END = re.compile(r"[.;!?](?=\s|$)|\n\n|\n(?=\s*[-*#|])")


def suggest(newer: Decision, older: Decision) -> Suggestion | None:
    """What is suggested of the two, by the strongest evidence that there is; None when there is none."""
    mine, theirs = newer.outcome, older.outcome
    mentions = list(_find_mentions(newer, older, mine, theirs))
    if any(each.beside for each in mentions):
        return None
    left = next((each for each in mentions if each.left), None)
    if left is not None:
        older_passage = SuggestionPassage("title", 0, len(older.title), older.title[:QUOTE_CHARS_MAX])
        return _suggestion("supersedes", "words", left.passage, older_passage, _terms(theirs) or words_of(older.title))
    return _by_negation(mine, theirs) or _by_outcome(newer, mine, theirs)


def _suggestion(
    kind: SuggestionKind, evidence: Evidence, newer: SuggestionPassage, older: SuggestionPassage, terms: frozenset[str]
) -> Suggestion:
    return Suggestion(kind, evidence, tuple(sorted(terms)[:TERMS_MAX]), newer, older)


def _terms(outcome: Outcome) -> frozenset[str]:
    options = (outcome.chosen, outcome.left, outcome.refused)
    return frozenset().union(outcome.about, *(option.words for option in options if option))


# --- by what titles say ---------------------------------------------------------------------------------------------


def _by_negation(mine: Outcome, theirs: Outcome) -> Suggestion | None:
    """One ends or refuses what the other chose: for everything, or for the same matter."""
    if _same(mine.left, theirs.chosen) and _covers(mine, theirs):
        return _of_options("supersedes", "negation", mine.left, theirs.chosen, mine.about | theirs.about)
    if _same(mine.refused, theirs.chosen) and _covers(mine, theirs):
        return _of_options("conflicts", "negation", mine.refused, theirs.chosen, mine.about | theirs.about)
    if _same(mine.chosen, theirs.refused) and _covers(theirs, mine):
        return _of_options("conflicts", "negation", mine.chosen, theirs.refused, mine.about | theirs.about)
    return None


def _by_outcome(newer: Decision, mine: Outcome, theirs: Outcome) -> Suggestion | None:
    """Both choose for one matter, and not the same. Who speaks of the other's option knows it, and leaves it."""
    if mine.chosen is None or theirs.chosen is None or not is_same_matter(mine.about, theirs.about):
        return None
    shared = mine.chosen.words & theirs.chosen.words
    if shared in (mine.chosen.words, theirs.chosen.words) or 2 * len(shared) > len(mine.chosen.words):
        return None
    known = any(any(_spans(text.body, theirs.chosen.spelled)) for text in newer.texts)
    if not (known or mine.chosen.is_name or theirs.chosen.is_name):
        return None  # linters and formatters are both for Python; of two tools of a kind, one at least has a name
    return _of_options("supersedes" if known else "conflicts", "outcome", mine.chosen, theirs.chosen, mine.about)


def _of_options(
    kind: SuggestionKind, evidence: Evidence, mine: Option | None, theirs: Option | None, about: frozenset[str]
) -> Suggestion | None:
    if mine is None or theirs is None:
        return None
    return _suggestion(kind, evidence, mine.passage, theirs.passage, about | mine.words | theirs.words)


def _same(one: Option | None, other: Option | None) -> bool:
    return one is not None and other is not None and one.words == other.words


def _covers(general: Outcome, special: Outcome) -> bool:
    """Whether what one says of everything, or of the same matter, holds for the other."""
    return not general.about or is_same_matter(general.about, special.about)


def is_same_matter(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two matters are one: neither has a word that the other lacks where the other has one, too."""
    shared = one & other
    return bool(shared) and shared in (one, other) and len(shared) >= ABOUT_SHARE_MIN * len(one | other)


# --- by what sentences say ------------------------------------------------------------------------------------------


class DecisionMention(NamedTuple):
    """Where the newer text speaks of the older decision, or of what that chose."""

    passage: SuggestionPassage
    left: bool
    beside: bool


def _find_mentions(newer: Decision, older: Decision, mine: Outcome, theirs: Outcome) -> Iterator[DecisionMention]:
    named = [(older.title, False)] if len(words_of(older.title)) >= TITLE_WORDS_MIN else []
    named += [(theirs.chosen.spelled, True)] if theirs.chosen else []
    for text in newer.texts:
        if _is_of_others(text.heading):
            continue
        body = text.body.translate(_MARKUP)
        for name, is_option in named:
            found = [Reference(*span, "", "") for span in _spans(body, name)]
            yield from _read(text, body, found, (mine, theirs, words_of(newer.title)) if is_option else None)


def _read(
    text: DecisionText, body: str, found: Sequence[Reference], option: tuple[Outcome, Outcome, frozenset[str]] | None
) -> Iterator[DecisionMention]:
    """What is said of each of these mentions. `option`: they are of what the older decision chose, which says which
    decision is meant only where it is about the same."""
    if not found:
        return
    folded = mark_references(fold_sentence(body, _words()), found)
    kinds = relations(folded, found, _words(), written=body)
    joined = join_lines(folded)
    for each, kind in zip(found, kinds, strict=True):
        start, end = _sentence(joined, each)
        deed = kind == "supersedes"
        meant = option is None or _is_about(body, each, body[start:end], *option, whole=deed)
        left = deed or _is_said(joined, each, "leave", start)
        quote = text.body[start:end][:QUOTE_CHARS_MAX]
        passage = SuggestionPassage("body", text.start + start, text.start + end, quote)
        beside = meant and _is_said(joined, each, "beside", start)
        yield DecisionMention(passage, meant and left, beside)


def _is_about(
    body: str, at: Reference, sentence: str, mine: Outcome, theirs: Outcome, title: frozenset[str], *, whole: bool
) -> bool:
    """Whether an option is spoken of in the other decision's matter. `whole`: the sentence leaves it as such, and not
    only for what this decision is about."""
    if theirs.about:
        return is_same_matter(mine.about, theirs.about) or theirs.about <= words_of(sentence) | title
    return (whole or not mine.about) and not follows_about(body, at.end)


def _is_said(joined: str, at: Reference, subject: str, start: int) -> bool:
    """Whether one of our own phrases is said of a mention, and neither denied nor merely thought of."""
    for match in SAID.expression(subject, "this").finditer(joined, start):
        if match.start() > at.end:
            return False
        if REFERENCE in match[0] and match.start() <= at.start + (match[0][0] != REFERENCE) and match.end() >= at.end:
            before = joined[start : match.start()]
            denied = WORDS.expression("clause", "not").search(before[-NEGATION_CHARS_MAX:])
            return not (denied or UNREAL in before or CONDITION in before)
    return False


def _sentence(joined: str, at: Reference) -> tuple[int, int]:
    start = max((match.end() for match in _SENTENCE_END.finditer(joined, 0, at.start)), default=0)
    match = _SENTENCE_END.search(joined, at.end)
    end = match.start() + (joined[match.start()] in ".;!?") if match else len(joined)
    while start < at.start and joined[start].isspace():
        start += 1
    return start, end


@lru_cache(maxsize=1_000)
def _is_of_others(heading: str) -> bool:
    """Whether a section is about what was thought of, or is past: it leaves nothing."""
    return any(_words().is_section(part, "rejected") for part in heading.split(" > "))


def _spans(body: str, name: str) -> Iterator[tuple[int, int]]:
    """Where a name stands in a text, whatever its case, its accents and its line ends."""
    return (match.span() for match in _of_name(name).finditer(_fold_body(body)) if match[0])


@lru_cache(maxsize=FOLDED_MAX)
def _of_name(name: str) -> re.Pattern[str]:
    parts = r"\s+".join(map(re.escape, fold(name.translate(_MARKUP)).split()))
    return re.compile(rf"(?<!\w){parts}(?!\w)")


@lru_cache(maxsize=FOLDED_MAX)
def _fold_body(body: str) -> str:
    return fold(body)


@cache
def _words() -> Words:
    """The words that find links, and ours beside them."""
    return WORDS.extend(
        {
            language.name: {
                "link": {"supersedes": language.phrases("link", "supersedes")},
                "section": {"rejected": language.phrases("section", "rejected")},
            }
            for language in SAID.languages
        }
    )
