"""What a search takes and gives, on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api.adrs.document import Status
from api.search.query import QUERY_CHARS_MAX
from api.watermarks import AsOf
from schemas import sources, text

Mode = Literal["words", "meaning", "hybrid"]
Facet = Literal["status", "tag", "log", "author", "kind", "year"]
Arm = Literal["words", "meaning"]

LIMIT_DEFAULT = 10
LIMIT_MAX = 50
"""Hits of one answer. Each arm gives a hundred candidates; further down a ranking nobody finds anything."""
PAGE_MARK = "#page="
"""Stands in the address of a PDF before the page at which programs that show it open it (RFC 8118)."""
VALUES_MAX = 32
"""Values of one filter."""
VALUE_CHARS_MAX = 200
TYPING = "The last word is still being typed: what begins so is found too."
FACETS = "Count what is found by these, each by its values."
FACETS_MAX = 6
"""Each facet once."""
CORRECT = "Take a word that the tenant does not have for the nearest that it has, and say so."

_Text = Annotated[str, Meta(max_length=VALUE_CHARS_MAX)]


class SearchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A query, how to rank, and what may be found at all. Filters are joined by and."""

    q: Annotated[
        str,
        Meta(
            pattern=text.BODY,
            min_length=1,
            max_length=QUERY_CHARS_MAX,
            description='Words, "required phrases", -exclusions, or the name of an ADR like ADR-12.',
        ),
    ]
    mode: Annotated[Mode, Meta(description="By words (BM25), by meaning (vectors), or both joined.")] = "hybrid"
    status: Annotated[list[Status], Meta(max_length=VALUES_MAX, description="One of these.")] = []
    tag: Annotated[list[_Text], Meta(max_length=VALUES_MAX, description="All of these.")] = []
    log: Annotated[_Text | None, Meta(description="Slug of the log.")] = None
    author: Annotated[_Text | None, Meta(description="Somebody who wrote a version, as the history names them.")] = None
    since: Annotated[datetime, Meta(description="In effect at or after this time.", tz=True)] | None = None
    until: Annotated[datetime, Meta(description="In effect before this time.", tz=True)] | None = None
    limit: Annotated[int, Meta(ge=1, le=LIMIT_MAX, description="Hits at most.")] = LIMIT_DEFAULT
    explain: Annotated[bool, Meta(description="Say how each hit got its place.")] = False
    kind: Annotated[sources.Kind | None, Meta(description="Sources of this kind only. Null: of all.")] = None
    typing: Annotated[bool, Meta(description=TYPING)] = False
    correct: Annotated[bool, Meta(description=CORRECT)] = True
    facets: Annotated[list[Facet], Meta(max_length=FACETS_MAX, description=FACETS)] = []


class Snippet(msgspec.Struct, frozen=True):
    """A piece of the chunk that matched best. `highlights` are words of the query: [start, end) in characters of
    `text`."""

    text: str
    highlights: list[tuple[int, int]]


class ChunkPlace(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where in the text the snippet is from: characters [start, end) of this version's body. `pages`: the first and the
    last page, of a document whose file has pages."""

    version: int
    ordinal: int
    heading_path: str
    char_start: int
    char_end: int
    pages: tuple[int, int] | None = None


class ArmRank(msgspec.Struct, frozen=True, omit_defaults=True):
    """A hit's place in one arm. `score` is BM25's, or the cosine similarity of its nearest passage; `second` is that of
    the one behind it, and meaning ranks by the mean of the two. `contribution` is its part of the hit's score. `terms`
    are the words that matched, as they are indexed; a stem of another language than English has that in brackets."""

    rank: int
    score: float
    contribution: float
    version: int
    ordinal: int
    terms: list[str] | None = None
    second: float | None = None


class HitExplanation(msgspec.Struct, frozen=True):
    """None: the arm did not find the source among its hundred. `named`: the query names this ADR; `exact`: the query is
    a name, such as of a function, and the source has it as it is written. `unlisted`: what its score has of an arm that
    did not find it, which is what the last that it found would have at most."""

    words: ArmRank | None
    meaning: ArmRank | None
    named: bool
    exact: bool = False
    unlisted: float = 0.0


class HitDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a hit that is a document or a page has beside its text. `uri`: where its original is, when not here.
    `partial`: what its file shows and its text has not."""

    origin: Literal["upload", "feed", "crawl"]
    media_type: str
    uri: str | None
    partial: str | None = None


class Hit(msgspec.Struct, frozen=True, omit_defaults=True):
    """One source. Title, status and time are those of the version that is searchable by words.

    Only an ADR has number, log, status and tags; only a document or a page has `document`. `path`: where the API shows
    it, a PDF at the page of the passage; null for an item of a feed, whose original is elsewhere.
    """

    kind: sources.Kind
    source_id: UUID
    number: int | None
    log: str | None
    title: str
    status: str
    tags: list[str]
    version: int
    effective_at: datetime
    score: float
    snippet: Snippet
    chunk: ChunkPlace
    document: HitDocument | None = None
    path: str | None = None
    explain: HitExplanation | None = None


class Degraded(msgspec.Struct, frozen=True):
    """An arm that was asked for and did not take part, and why."""

    arm: Arm
    code: str
    detail: str
    hint: str


class SearchFreshness(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far each arm that took part is."""

    words: AsOf | None = None
    meaning: AsOf | None = None


Route = Literal["exact", "index", "index, then exact"]
"""How an arm found what is nearest: by comparing all, by an index, or both because the index gave too few."""


WordsRoute = Literal["segments", "lists"]
"""How a kind was ranked by words: by packed segments, or by bounded look-ups."""


class IndexRecall(msgspec.Struct, frozen=True):
    """What was last found out about a kind's index by meaning: its share of the ten nearest. Null: not measured yet."""

    kind: sources.Kind
    recall: float | None
    measured_at: datetime | None


class SearchExplanation(msgspec.Struct, frozen=True):
    """How the query was read, and how the answer was made.

    `filtered_to`: how many sources pass the filters; null where there is no filter, or where `filtered_each` says that
    too many pass to list them, and each candidate is asked. `bounded`: a phrase or an exclusion is in more sources than
    a search takes up, and some of them were left out. `meaning_routes`: by kind, where the arm found something.
    `words_looked_at`: how many sources were ranked by words; null where all were that have one of the words, or none
    was found. `words_proved`: whether the first ten by words are known to be the best ten there are; null where none
    was found. `words_routes`: by kind, where a kind has segments: `segments`, where all that have a word were added up,
    `lists`, where a bounded part was looked at. Empty where no kind has segments, and where nothing has the words.
    `words_share`: how much of a score is by words, as a share of the best score by words; the rest is by meaning.
    """

    text: str
    terms: list[str]
    required: list[str]
    excluded: list[str]
    numbers: list[int]
    space: str | None
    filtered_to: int | None
    filtered_each: bool
    bounded: bool
    candidates_words: int
    candidates_meaning: int
    words_looked_at: int | None
    words_proved: bool | None
    words_routes: dict[str, WordsRoute]
    meaning_routes: dict[str, Route]
    indexes: list[IndexRecall]
    words_share: float
    embed_ms: float
    query_ms: float


class Correction(msgspec.Struct, frozen=True, rename={"typed": "from", "called": "to"}):
    """A word that nobody here has written, and the one that was searched for in its place."""

    typed: str
    called: str


class FacetValue(msgspec.Struct, frozen=True):
    """One value, and in how many sources it is."""

    value: str
    count: int


class FacetCounts(msgspec.Struct, frozen=True):
    """The most frequent values of a facet, and how many more there are."""

    values: list[FacetValue]
    more: int


class Facets(msgspec.Struct, frozen=True):
    """What is found, counted. A source without the facet (a document has no tags) is counted in none of its values.

    `of`: what is counted; what only lies near in meaning has no word and is not, unless the search is by meaning alone.
    `at_least`: there are too many sources to look at each, so `sources` and each count are of the best of them alone,
    and in truth as high or higher. Otherwise they are exact.
    """

    of: Literal["sources with a word", "all that pass"]
    sources: int
    at_least: bool
    by: dict[Facet, FacetCounts]


Wordless = Literal["no word counts", "no word is found"]
"""Why nothing was found by words: the query has none, or nothing that may be found has one of them."""


class SearchResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The best hits, best first. `degraded` is not empty when an arm that was asked for could not take part.

    `corrected`: the words for which others were searched; `correct: false` asks for what was typed. `by_meaning_alone`:
    why all hits are only near in meaning, where words were asked for. A query of which no word counts is answered so in
    every mode.
    """

    mode: Mode
    hits: list[Hit]
    degraded: list[Degraded]
    as_of: SearchFreshness
    explain: SearchExplanation | None = None
    corrected: list[Correction] = []
    facets: Facets | None = None
    by_meaning_alone: Wordless | None = None
