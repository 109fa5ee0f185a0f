"""Makes an answer of ranked passages without a model: quotes by question, each checked before it is shown. Pure.

Owns which sentences are quoted, when a question has no answer in the sources, and the text that people read. A question
is answered when the best of its passages fits it well enough; where that is, was measured (`adriatic eval research`
prints the curve). Refuses to search and to read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from api.research.citing import CitationVerdict, CitedPlace, Pages, check_citation
from api.research.passes import FoundPassage
from api.research.schemas import (
    AnsweredPart,
    CheckedClaim,
    CitedSource,
    DroppedClaims,
    ResearchPass,
    ResearchResult,
    WrittenAnswer,
)
from api.research.sentences import Sentence, split_sentences
from api.research.words import coverage, stems_of
from api.search.schemas import PAGE_MARK
from api.withdrawn import SourceName

if TYPE_CHECKING:
    from api.research.writing import CheckedDraft

CONTEXT_TOKENS_MAX: Final = 6_000
"""Tokens of passages that an answer is made from: what every model reads, and thirty passages."""
CHARS_PER_TOKEN: Final = 4
"""Characters of English text, roughly, as everywhere here where nobody counted."""
CLAIMS_EACH: Final = 3
"""Quotes for one question: what a person reads before they open a source instead."""
QUOTE_CHARS_MAX: Final = 600
"""Longest quote: a sentence is far shorter, a row of a table may be as long."""
PASSAGES_EACH: Final = 5
"""Passages that are looked at for one question."""
ANSWERED_MIN: Final = 0.6
"""The share of a question's words that its best passage must have, title and heading included. Below it the sources do
not hold the answer. On six real histories, of questions about one's own titles, which were taken out of the texts, 87 %
have such a passage, and 8 % of those about the titles of others."""
NOTHING: Final = "The sources here do not hold an answer to this."

Check = Callable[[str, CitedPlace, Mapping[CitedPlace, str]], CitationVerdict]


class PassageText(NamedTuple):
    """A passage and its text, as it stands in the cited version."""

    passage: FoundPassage
    text: str

    @property
    def place(self) -> CitedPlace:
        key = self.passage.key
        return CitedPlace(key.kind, key.source_id, key.version, self.passage.char_start, self.passage.char_end)

    @property
    def context(self) -> str:
        """The text with what it stands under."""
        return f"{self.passage.title}\n{self.passage.heading}\n{self.text}"


class ComposedAnswer(NamedTuple):
    """Sources in the order of their numbers, and what they say."""

    sources: list[CitedSource]
    parts: list[AnsweredPart]
    text: str


class NumberedSources:
    """The sources that are cited, by the order in which they come first. A version is one source."""

    def __init__(self, sources: Sequence[CitedSource] = ()) -> None:
        self.sources = list(sources)
        self._numbers = {(each.kind, each.source_id, each.version): each.number for each in sources}

    def cite(self, text: str, passage: FoundPassage, verdict: CitationVerdict) -> CheckedClaim:
        """A claim that holds, with the number of its source."""
        version = (passage.key.kind, passage.key.source_id, passage.key.version)
        number = self._numbers.setdefault(version, len(self.sources) + 1)
        if number > len(self.sources):
            self.sources.append(_source(number, passage))
        return CheckedClaim(text, number, verdict.char_start, verdict.char_end, round(verdict.support, 3))


def place_claim(claim: CheckedClaim, sources: Sequence[CitedSource]) -> CitedPlace:
    """Where a claim stands. What it cites is in `sources`, in the order of their numbers."""
    source = sources[claim.source - 1]
    return CitedPlace(source.kind, source.source_id, source.version, claim.char_start, claim.char_end)


def open_at_pages(
    claims: Sequence[CheckedClaim], sources: Sequence[CitedSource], pages: Mapping[CitedPlace, Pages]
) -> list[CheckedClaim]:
    """The claims with their pages, and the addresses that open their sources there. A passage may be on several pages,
    and a source is cited from many: so it is said of each claim."""
    opened = []
    for each in claims:
        found = pages.get(place_claim(each, sources))
        path = _open_at(sources[each.source - 1].path, found)
        opened.append(msgspec.structs.replace(each, pages=found, path=path))
    return opened


def _open_at(path: str | None, pages: Pages | None) -> str | None:
    """The address of a source at a page, where what shows it can be told one."""
    if path is None or pages is None or PAGE_MARK not in path:
        return path
    return f"{path.partition(PAGE_MARK)[0]}{PAGE_MARK}{pages[0]}"


def place_of(passage: FoundPassage) -> CitedPlace:
    """Where a passage stands."""
    return PassageText(passage, "").place


def assemble(ranked: Sequence[PassageText], sources_max: int) -> list[PassageText]:
    """The passages that an answer is made from: the best first, of so many sources, within the budget of tokens. One
    that does not fit is left out, and a shorter one behind it may still fit."""
    left = CONTEXT_TOKENS_MAX * CHARS_PER_TOKEN
    sources: set[tuple[str, object]] = set()
    taken = []
    for each in ranked:
        source = (each.passage.key.kind, each.passage.key.source_id)
        if len(each.text) > left or (source not in sources and len(sources) >= sources_max):
            continue
        sources.add(source)
        left -= len(each.text)
        taken.append(each)
    return taken


def fit(question: str, passage: PassageText) -> float:
    """How well a passage fits a question: the share of its words that the passage has."""
    return coverage(stems_of(question), passage.context)


def compose(
    parts: Sequence[str],
    context: Sequence[PassageText],
    check: Check = check_citation,
    answered_min: float = ANSWERED_MIN,
) -> ComposedAnswer:
    """The answer. `check` holds each quote against its place; what does not hold is taken out and counted."""
    texts = {each.place: each.text for each in context}
    cited = NumberedSources()
    answered = []
    for part in parts:
        claims: list[CheckedClaim] = []
        dropped = 0
        for passage, quote in _find_quotes(part, context, answered_min):
            verdict = check(quote.text, passage.place, texts)
            if verdict.fault is not None:
                dropped += 1
                continue
            claims.append(cited.cite(quote.text, passage.passage, verdict))
        answered.append(AnsweredPart(part, bool(claims), claims, dropped))
    return ComposedAnswer(cited.sources, answered, "\n".join(_write(answered, cited.sources)))


def merge_written(composed: ComposedAnswer, model: str, draft: CheckedDraft) -> tuple[ComposedAnswer, WrittenAnswer]:
    """The answer with a model's text in the place of the quotes', where anything of it holds. What the sources do not
    hold is said all the same."""
    cited = NumberedSources(composed.sources)
    claims = [cited.cite(text, passage.passage, verdict) for text, passage, verdict in draft.claims]
    dropped = [DroppedClaims(fault, count) for fault, count in sorted(draft.dropped.items())]
    written = WrittenAnswer(model, claims, dropped)
    if not claims:
        return composed, written
    text = _write_all(composed.parts, cited.sources, claims)
    return ComposedAnswer(cited.sources, composed.parts, text), written


def stands_on(result: ResearchResult) -> frozenset[SourceName]:
    """The sources that a result says anything of."""
    lenders = (each.name for told in result.passes for each in told.words_of)
    return frozenset([*((each.kind, each.source_id) for each in result.sources), *lenders])


def withdraw(result: ResearchResult, lost: Collection[SourceName]) -> ResearchResult:
    """A result that was kept, without these sources and without what stood on them."""
    gone = {each.number for each in result.sources if (each.kind, each.source_id) in lost}
    sources = [each for each in result.sources if each.number not in gone]

    def keep(claims: Sequence[CheckedClaim]) -> list[CheckedClaim]:
        return [each for each in claims if each.source not in gone]

    left = [(each, keep(each.claims)) for each in result.parts]
    parts = [msgspec.structs.replace(each, claims=claims, answered=bool(claims)) for each, claims in left]
    written = result.written and msgspec.structs.replace(result.written, claims=keep(result.written.claims))
    return msgspec.structs.replace(
        result,
        answered=is_answered(parts, written),
        sources=sources,
        parts=parts,
        written=written,
        text=_write_all(parts, sources, written.claims if written else ()) if gone else result.text,
        passes=[_withdraw_words(each, lost) for each in result.passes],
        withdrawn=len(result.sources) - len(sources),
    )


def _withdraw_words(told: ResearchPass, lost: Collection[SourceName]) -> ResearchPass:
    """A round without its queries, where they have words of what is gone."""
    lent = any(each.name in lost for each in told.words_of)
    return msgspec.structs.replace(told, queries=[], words_of=[]) if lent else told


def is_answered(parts: Sequence[AnsweredPart], written: WrittenAnswer | None) -> bool:
    """Whether anything of a question is answered: by quotes, or by what a model wrote."""
    return any(part.answered for part in parts) or bool(written and written.claims)


def _write_all(parts: Sequence[AnsweredPart], sources: Sequence[CitedSource], written: Sequence[CheckedClaim]) -> str:
    """The text of an answer: that of a model where anything of it is left, else quotes."""
    if not written:
        return "\n".join(_write(parts, sources))
    lines = [*_write_claims(written, sources)]
    if len(parts) > 1:
        lines += [f"{part.question}\n\n{NOTHING}\n" for part in parts if not part.answered]
    return "\n".join(lines)


def _find_quotes(
    part: str, context: Sequence[PassageText], answered_min: float
) -> Iterator[tuple[PassageText, Sentence]]:
    """The sentences to quote for a question; none where no passage fits it well enough."""
    wanted = stems_of(part)
    fits = [(fit(part, each), -place, each) for place, each in enumerate(context)]
    best = [each for score, _, each in sorted(fits, key=lambda item: item[:2], reverse=True) if score >= answered_min]
    quoted = 0
    for passage in best[:PASSAGES_EACH]:
        sentences = [each for each in split_sentences(passage.text) if len(each.text) <= QUOTE_CHARS_MAX]
        if not sentences or quoted == CLAIMS_EACH:
            continue
        # Of sentences that say equally much of it, the longer says more about it.
        yield passage, max(sentences, key=lambda each: (len(wanted & stems_of(each.text)), min(len(each.text), 200)))
        quoted += 1


def _source(number: int, passage: FoundPassage) -> CitedSource:
    return CitedSource(
        number=number,
        kind=passage.key.kind,
        source_id=passage.key.source_id,
        version=passage.key.version,
        label=passage.label,
        log=passage.log,
        title=passage.title,
        status=passage.status,
        heading=passage.heading,
        path=passage.path,
    )


def _write(parts: Sequence[AnsweredPart], sources: Sequence[CitedSource]) -> Iterator[str]:
    """What people read: each question, and beneath it what the sources say."""
    for part in parts:
        if len(parts) > 1:
            yield f"{part.question}\n"
        if not part.answered:
            yield f"{NOTHING}\n"
        yield from _write_claims(part.claims, sources)


def _write_claims(claims: Sequence[CheckedClaim], sources: Sequence[CitedSource]) -> Iterator[str]:
    """Each with its source, and the status of one that does not stand any more."""
    stale = {each.number: each.status for each in sources if each.status in ("superseded", "deprecated", "rejected")}
    for claim in claims:
        said = stale.get(claim.source)
        yield f"{claim.text} [{claim.source}]" + (f" ({said})" if said else "") + "\n"
