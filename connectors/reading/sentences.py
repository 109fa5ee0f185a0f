"""What a sentence says of another record: that it supersedes this one, is amended by it, and so on.

Owns the direction of a link. The phrases of `words.toml` say it, each with the place of the other record; a negation
makes it a mere mention, and so does another record as the subject, for then the sentence is not about this one. Records
in a row share what is said of the first. Refuses to know where a sentence stands (`api/adrs/mentions.py`). Pure.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, get_args

from connectors.reading.dates import mask_dates
from connectors.reading.references import Reference
from connectors.reading.words import CONDITION, DEED, GAP_CHARS, REFERENCE, UNREAL, WORDS, Words, fold

LinkKind = Literal["relates-to", "supersedes", "superseded-by", "amends", "amended-by", "depends-on"]

KINDS: Final[tuple[LinkKind, ...]] = get_args(LinkKind)
NEGATION_CHARS_MAX: Final = 30
"""How far before a verb its negation may stand."""
_SENTENCE_END = re.compile(r"[.;!?](?=\s|$)|[。；！？]|\n\n")
_FIELD_LINE = re.compile(r"\n(?=\s{0,3}[^\s:：\n][^:：\n]{0,40}[:：]|\s{0,3}[-*+] )")
_SUBJECT = re.compile(r"^[\s(–—:-]*(?:,?\s*(?:which|that|who)\s)?\s*$")
_ASIDE = re.compile(r"\s?[(（][^()（）\n]{1,120}[)）]")
_CLAUSE_END = re.compile(r"[,，、\n:：(（|\[]|[–—→⇒>\ue001]|->|\s-\s")
_ACCENTED_END = re.compile(r"é(?:es|e|s)?[\s:(\[]*(?:l['’])?$")
_ROW_GAP = re.compile(r"^[\s,;&/+、，]*$")


def mark_references(folded: str, references: Sequence[Reference]) -> str:
    """The text with a mark for each character of a reference, as `phrase` expects it."""
    parts: list[str] = []
    at = 0
    for each in references:
        parts += folded[at : each.start], REFERENCE * (each.end - each.start)
        at = max(at, each.end)
    return "".join([*parts, folded[at:]])


def fold_sentence(text: str, words: Words = WORDS) -> str:
    """The text as its sentences are read: folded, with marks for dates and for what makes it a mere possibility."""
    return words.mark_unreal(mask_dates(fold(text), text, words), text)


def join_lines(folded: str) -> str:
    """The text with its wrapped lines in one; a line that begins a field or an item begins a sentence."""
    folded = _FIELD_LINE.sub("\x00", folded)
    return re.sub(r"(?<!\n)\n(?!\n)", " ", folded).replace("\x00", "\n")


class _Said(NamedTuple):
    """A phrase about a reference."""

    kind: LinkKind
    match: re.Match[str]


def _find_phrases(text: str, references: Sequence[Reference], words: Words, written: str) -> dict[int, _Said]:
    """The longest phrase about each reference, by where that begins."""
    starts = {each.start for each in references}
    said: dict[int, _Said] = {}
    for kind in KINDS[1:]:
        for match in words.expression("link", kind).finditer(text):
            at = match.start() + match[0].index(REFERENCE)
            if at not in starts or (at in said and len(match[0]) <= len(said[at].match[0])):
                continue
            if kind in ("supersedes", "amends") and _is_participle(text, match, at, words, written):
                continue
            said[at] = _Said(kind, match)
    return said


def _is_participle(text: str, match: re.Match[str], at: int, words: Words, written: str) -> bool:
    """Whether what looks like a verb says what was done to this record: "Remplacé : ADR-9", "Ersetzt (ADR-9)"."""
    if _ACCENTED_END.search(written[match.start() : at]):
        return True
    verb, bracket, _ = re.sub("[（[]", "(", text[match.start() : at]).partition("(")
    return bool(bracket) and words.expression("status", "superseded").fullmatch(verb.strip()) is not None


def relations(
    folded: str,
    references: Sequence[Reference],
    words: Words = WORDS,
    lead: LinkKind | None = None,
    written: str = "",
) -> list[LinkKind]:
    """What is said of each reference, in marked text. `lead` is what the heading or the line before says of all.
    `written` is the text with its accents."""
    text = join_lines(folded)
    ends = [match.start() for match in _SENTENCE_END.finditer(text)]
    kinds: list[LinkKind] = []
    said = _find_phrases(text, references, words, written)
    previous: Reference | None = None
    for each in references:
        kind: LinkKind = lead or "relates-to"
        if found := said.get(each.start):
            holds = _is_affirmed(text, found.match, ends, words)
            holds = holds and not _is_about_another(text, found.match, references)
            holds = holds and not (found.kind == "superseded-by" and _is_preferred(text, found.match, ends, words))
            kind = found.kind if holds else "relates-to"
        elif previous is not None and _is_row(text[previous.end : each.start], words):
            kind = kinds[-1]
        elif _follows_ended(text, each, ends, words):
            kind = "superseded-by"
        kinds.append(kind)
        previous = each
    return kinds


def _is_preferred(text: str, match: re.Match[str], ends: Sequence[int], words: Words) -> bool:
    """Whether another record was chosen, and this one never held: "abgelehnt zugunsten von ADR-9"."""
    if any(words.expression("status", name).search(match[0]) for name in ("superseded", "deprecated", "rejected")):
        return False
    start = max(_sentence_start(match.start(), ends), match.start() - GAP_CHARS)
    return words.expression("status", "rejected").search(text[start : match.start()]) is not None


def mark_deeds(folded: str, references: Sequence[Reference], words: Words = WORDS, written: str = "") -> str:
    """The marked text with marks for what this record does to others: "ersetzt ADR-3" says nothing of its own state,
    though "ersetzt" alone does."""
    spans = [
        each.match.span()
        for each in _find_phrases(join_lines(folded), references, words, written).values()
        if each.kind in ("supersedes", "amends")
    ]
    for start, end in spans:
        deed = re.sub(f"[^{REFERENCE}]", DEED, folded[start:end])
        folded = folded[:start] + deed + folded[end:]
    return folded


def lead_of(text: str, words: Words = WORDS) -> LinkKind | None:
    """What a heading, a field's name or a line before a list says of the records that follow: "Superseded by:"."""
    folded = fold(text[:200]).strip().rstrip(":：").strip()
    if not folded or _SENTENCE_END.search(folded):
        return None
    at = len(folded) + 1
    found = relations(f"{folded} {REFERENCE}", [Reference(at, at + 1, "", "")], words)[0]
    return None if found == "relates-to" else found


def _sentence_start(at: int, ends: Sequence[int]) -> int:
    place = bisect_left(ends, at)
    return ends[place - 1] + 1 if place else 0


def _is_affirmed(text: str, match: re.Match[str], ends: Sequence[int], words: Words) -> bool:
    start = max(_sentence_start(match.start(), ends), match.start() - GAP_CHARS)
    clause = _CLAUSE_END.split(text[start : match.start()])[-1]
    if not words.speaks_of_this(clause):
        return False
    before = clause[-NEGATION_CHARS_MAX:]
    negation = words.expression("clause", "not")
    inside = re.sub(f"{REFERENCE}+", " ", match[0])
    after = text[match.end() : match.end() + 12]
    return not (
        negation.search(before)
        or negation.search(inside)
        or UNREAL in before + inside
        or CONDITION in before + inside
        or (
            re.search(r"[\u3040-\u30ff]", match[0] + after[:4])
            and words.expression("clause", "not_after").search(match[0][-6:] + after)
        )
    )


def _is_about_another(text: str, match: re.Match[str], references: Sequence[Reference]) -> bool:
    """Whether another record stands where the subject does: "ADR-3 was superseded by ADR-5"."""
    place = bisect_right(references, match.start(), key=lambda each: each.end)
    if not place:
        return False
    gap = text[references[place - 1].end : match.start()][: GAP_CHARS + 1]
    plain = re.sub(
        r"\b(?:is|was|were|has|had|been|have|be|wurde|wird|ist|a|ete|est|fue|ha|sido|foi|e|stata|stato|zostala|zostal|jest)\b",
        "",
        gap,
    )
    return "\n" not in gap and _SUBJECT.match(plain) is not None


def _is_row(gap: str, words: Words) -> bool:
    gap = _ASIDE.sub("", gap)
    if "\n" in gap or len(gap) > 20:
        return False
    return _ROW_GAP.match(words.expression("clause", "and").sub("", gap)) is not None


def _follows_ended(text: str, each: Reference, ends: Sequence[int], words: Words) -> bool:
    """Whether the record stands for the reason of an end: "Superseded (ADR-9)", "Superseded, see ADR-9"."""
    start = max(_sentence_start(each.start, ends), each.start - GAP_CHARS)
    before = text[start : each.start].rpartition("\n")[2]
    words_before = words.expression("status", "superseded")
    last = next(iter(reversed(list(words_before.finditer(before)))), None)
    if last is None or (start > 0 and before[: last.start()].strip() and start == each.start - GAP_CHARS):
        return False
    if words.expression("clause", "not").search(before[: last.start()]):
        return False
    gap = before[last.end() :]
    rest = words.expression("clause", "by").sub("", re.sub("[\ue000\\d]", "", gap))
    return bool(gap.strip()) and not re.sub(r"[\s:：,(（\[→>–—-]", "", rest)
