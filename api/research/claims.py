"""Whether a passage says what is claimed of it: words, numbers, negations and words that mean the opposite. Pure.

Owns the rules. A claim is held against the sentence of the passage that speaks of most of what it speaks of, together
with its neighbour where that says more. It must speak of enough of it (`SUPPORT_MIN`, measured by `adriatic eval
citations`); each number of the claim must stand there, with its unit; a negation must be in both or in neither; and
where one of two opposite words stands in the claim, the other must not stand alone in its place. Refuses to look
anything up (`api/research/citing.py`), and to understand: what two texts mean is not known here, so what passes is
what no rule speaks against.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

from api.research.sentences import Sentence, split_sentences
from api.research.words import WORD, stem, stems_of
from connectors.reading.words import fold

Fault = Literal["words", "numbers", "negation", "opposite"]

SUPPORT_MIN: Final = 0.6
"""The share of a claim's words that its evidence must have. Measured with `adriatic eval citations`."""
NEIGHBOUR_GAIN_MIN: Final = 0.15
"""How much more of the claim a neighbouring sentence must add to count as evidence too."""
CLAIM_CHARS_MAX: Final = 2_000
"""Characters of a claim that are looked at; a sentence has some hundred."""

_NEGATION: Final = re.compile(
    r"\b(?:not|never|no|none|nobody|nothing|neither|nor|without|cannot|no longer|\w+n['’]t|"
    r"nicht|nie|niemals|kein\w*|ohne|weder|ne|pas|jamais|sans|aucune?|no|nunca|sin|ningun\w*)\b",
    re.IGNORECASE,
)
_FALSE_NEGATION: Final = re.compile(r"\bno\.\s*\d", re.IGNORECASE)
_CLAUSE: Final = re.compile(
    r"[,;:()–—]\s|\s-\s|\b(?:but|because|while|whereas|although|though|which|aber|weil|während|obwohl|sondern|mais|car)\b",
    re.IGNORECASE,
)
_NUMBER: Final = re.compile(
    r"(?<![\w.])(?P<sign>[-−](?=\d))?(?P<before>[$€])?(?P<value>\d+(?:[,’']\d{3}(?!\d))*(?:\.\d+)*)\s*"
    r"(?P<unit>%|percent|prozent|°c|[kmgt]i?b(?:/s)?|[µmn]?s\b|ms\b|sec(?:ond)?s?\b|min(?:ute)?s?\b|hours?\b|h\b|days?\b|"
    r"weeks?\b|months?\b|years?\b|usd|eur|€|\$)?",
    re.IGNORECASE,
)
_UNITS: Final = {
    "percent": "%",
    "prozent": "%",
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "day"),
    **dict.fromkeys(("week", "weeks"), "week"),
    **dict.fromkeys(("month", "months"), "month"),
    **dict.fromkeys(("year", "years"), "year"),
    "€": "eur",
    "$": "usd",
}
_NUMERALS: Final = (
    *("zero null", "", "two zwei deux", "three drei trois", "four vier quatre", "five fünf cinq", "six sechs"),
    *("seven sieben sept", "eight acht huit", "nine neun neuf", "ten zehn dix", "eleven elf onze"),
    "twelve zwölf douze",
)
_SPELLED: Final = {fold(name): str(value) for value, names in enumerate(_NUMERALS) for name in names.split()}
"""Numbers that are words; one is left out, which is an article in most languages."""
_OPPOSITES: Final = (
    "accept approve adopt keep | reject decline refuse supersede deprecate replace abandon drop",
    "allow permit | forbid prohibit deny disallow",
    "enable | disable",
    "increase raise grow | decrease reduce lower shrink",
    "synchronous | asynchronous",
    "required mandatory | optional",
    "public | private",
    "internal | external",
    "always | never",
    "before | after",
    "more | less fewer",
    "maximum most | minimum least",
    "stateful | stateless",
    "mutable | immutable",
    "include | exclude",
    "add | remove delete",
    "success succeed | fail failure",
    "faster fast | slower slow",
    "higher high | lower low",
    "proposed draft | accepted rejected superseded deprecated",
    "angenommen akzeptiert | abgelehnt verworfen ersetzt veraltet",
    "accepté adopté | rejeté refusé remplacé",
)


class ClaimVerdict(NamedTuple):
    """What came of a check. `support`: the share of the claim's words that the evidence has; `evidence`: where that
    stands in the passage."""

    fault: Fault | None
    support: float
    evidence: tuple[int, int]

    @property
    def supported(self) -> bool:
        return self.fault is None


def _read_opposites() -> tuple[tuple[frozenset[str], frozenset[str]], ...]:
    sides = (line.split(" | ") for line in _OPPOSITES)
    found = [(_stem_all(one), _stem_all(other)) for one, other in sides]
    return (*found, *((other, one) for one, other in found))


def _stem_all(words: str) -> frozenset[str]:
    return frozenset(map(stem, words.split()))


_PAIRS: Final = _read_opposites()


def check_claim(claim: str, passage: str, support_min: float = SUPPORT_MIN) -> ClaimVerdict:
    """Hold a claim against a passage. What stands in the passage as whole sentences is said by it."""
    claim = claim.strip()[:CLAIM_CHARS_MAX]
    sentences = split_sentences(passage)
    if (place := _find_quoted(claim, sentences, passage)) is not None:
        return ClaimVerdict(None, 1.0, place)
    wanted = _stems(claim)
    at, evidence = _find_evidence(wanted, sentences)
    if evidence is None:
        return ClaimVerdict("words", 0.0, (0, 0))
    support = len(wanted & _stems(evidence.text)) / len(wanted)
    place = evidence.start, evidence.end
    single = sentences[at]
    checks: tuple[tuple[Fault, bool], ...] = (
        ("numbers", not _has_numbers(claim, evidence.text)),
        ("negation", _is_negated(claim, single.text, wanted)),
        ("opposite", _says_opposite(claim, single.text)),
        ("words", support < support_min),
    )
    return ClaimVerdict(next((fault for fault, found in checks if found), None), support, place)


def _find_quoted(claim: str, sentences: Sequence[Sentence], passage: str) -> tuple[int, int] | None:
    """Where the claim stands as it is, if it begins and ends where sentences do."""
    starts = {each.start for each in sentences} | {each.end - len(each.plain) for each in sentences}
    ends = {each.end for each in sentences}
    at = passage.find(claim) if claim else -1
    while at >= 0:
        if at in starts and at + len(claim) in ends:
            return at, at + len(claim)
        at = passage.find(claim, at + 1)
    return None


def _find_evidence(wanted: frozenset[str], sentences: Sequence[Sentence]) -> tuple[int, Sentence | None]:
    """The sentence that has most of what is wanted, with a neighbour where that adds enough, and its place."""
    if not wanted or not sentences:
        return 0, None
    spoken = [_stems(each.text) for each in sentences]
    at = max(range(len(sentences)), key=lambda place: (len(wanted & spoken[place]), -len(spoken[place])))
    best, gains = sentences[at], []
    for other in (at - 1, at + 1):
        if 0 <= other < len(sentences):
            gains.append((len((wanted & spoken[other]) - spoken[at]) / len(wanted), other))
    gain, other = max(gains, default=(0.0, at))
    if gain < NEIGHBOUR_GAIN_MIN:
        return at, best
    first, last = sorted((at, other))
    text = f"{sentences[first].text}\n{sentences[last].text}"
    return at, Sentence(sentences[first].start, sentences[last].end, text)


def _stems(text: str) -> frozenset[str]:
    """What a text speaks of, without its numbers: those have a rule of their own."""
    return stems_of(_NUMBER.sub(" ", text))


def read_numbers(text: str) -> Counter[tuple[str, str]]:
    """Each number of a text with its unit, spelt out or not. One that is part of a name is none."""
    found: Counter[tuple[str, str]] = Counter()
    for match in _NUMBER.finditer(text):
        if re.match(r"[^\W\d_]", text[match.end("value") : match.end("value") + 1]) and not match["unit"]:
            continue
        value = re.sub(r"[,’']", "", match["value"])
        value = value.lstrip("0") or "0" if "." not in value else value
        unit = (match["before"] or match["unit"] or "").lower()
        found[("-" if match["sign"] else "") + value, _UNITS.get(unit, unit)] += 1
    for word in WORD.finditer(text):
        if (spelled := _SPELLED.get(fold(word[0]))) is not None:
            found[spelled, ""] += 1
    return found


def _has_numbers(claim: str, evidence: str) -> bool:
    """Whether each number of the claim stands in the evidence, with the same unit where both have one."""
    there = read_numbers(evidence)
    return all(
        any(value == other and (unit == its_unit or not unit or not its_unit) for other, its_unit in there)
        for value, unit in read_numbers(claim)
    )


def _is_negated(claim: str, evidence: str, wanted: frozenset[str]) -> bool:
    """Whether one of the two denies what the other says. Of the evidence, only clauses count that speak of what the
    claim speaks of."""
    spoken = [clause for clause in _clauses(evidence) if stems_of(clause) & wanted]
    return _count_negations(claim) % 2 != _count_negations("; ".join(spoken)) % 2


def _clauses(text: str) -> Iterator[str]:
    start = 0
    for match in _CLAUSE.finditer(text):
        yield text[start : match.start()]
        start = match.start()
    yield text[start:]


def _count_negations(text: str) -> int:
    return len(_NEGATION.findall(_FALSE_NEGATION.sub(" ", text)))


def _says_opposite(claim: str, evidence: str) -> bool:
    """Whether the claim has one of two opposite words in the place of the other: more of the one than the evidence, and
    fewer of the other."""
    mine, theirs = (Counter(stem(word[0]) for word in WORD.finditer(text)) for text in (claim, evidence))

    def more(words: frozenset[str], counts: Counter[str], others: Counter[str]) -> bool:
        return sum(counts[word] for word in words) > sum(others[word] for word in words)

    return any(more(one, mine, theirs) and more(other, theirs, mine) for one, other in _PAIRS)
