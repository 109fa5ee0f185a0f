"""Words that the tenant does not have, taken for the nearest that it has.

Owns which words may be misspelt, how far two words are apart, and what the right one is called. The dictionary is the
tenant's own, `mv.word_stats`, which has stems: a stem is compared with stems, and an ending is put back. Refuses to
correct what the tenant has, whatever holds a digit, a sign or a capital inside, since such names are meant as they are
written, and scripts other than Latin.

One slip is forgiven in a word of four letters, two from eight: a letter too many, missing or wrong, or two that changed
places. Candidates are looked up by their first letters, with one slip at most in these, so that what is read stays
small in a dictionary of any size.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from string import ascii_lowercase
from typing import Final, NamedTuple

from api.db import Connection
from schemas.analysis import analyse_phrase, analyse_query

CORRECTED_MAX: Final = 4
"""Words of one query that are corrected. Where more are unknown, it is of another subject, or in another language."""
ONE_SLIP_CHARS_MIN: Final = 4
TWO_SLIPS_CHARS_MIN: Final = 8
LONG_BASE_CHARS_MIN: Final = 7
"""Letters of a stem in which two slips are forgiven: it is shorter than its word."""
WORD_CHARS_MAX: Final = 40
"""A longer word is an address or a hash."""
HEAD_CHARS: Final = 4
"""First letters by which candidates are looked up. Three letters have ten times as many candidates."""
CANDIDATES_MAX: Final = 4_000
"""Candidates that are compared, those that most sources have: 200 000 words have some hundred that begin alike."""
LAST: Final = "\U0010ffff"
"""No word goes on with this character, so each that begins so is below it."""
FORMS_MAX: Final = 16
"""Nearest candidates that are looked at more closely."""
ENDINGS: Final = (
    *("s", "es", "ed", "er", "ers", "or", "ors", "ing", "ings", "ion", "ions", "ioning", "ation", "ations", "ment"),
    *("ments", "ly", "al", "able", "ible", "ability", "ity", "ness", "ive", "ance", "ances", "ence", "ences", "ent"),
    *("ents", "ant", "ator", "ators", "ism", "ist", "ization", "ized", "ize"),
)
"""What the English dictionary takes off a word."""

KNOWN: Final = """
  select
    w.word, t.lexeme,
    exists (
      select
      from mv.word_totals k
      cross join lateral (
        select
        from mv.word_stats s
        where s.tenant_id = app.current_tenant() and s.kind = k.kind and s.lexeme = t.lexeme collate "C"
        limit 1
      ) as had
      where k.tenant_id = app.current_tenant()
    ) as known
  from unnest($1::text[]) as w (word), unnest(to_tsvector('pg_catalog.english', w.word)) as t
"""
CANDIDATES: Final = """
  select s.lexeme, sum(s.sources)::bigint as sources
  from unnest($1::text[], $2::text[]) as h (first, above)
  cross join mv.word_totals t
  cross join lateral (
    select s.lexeme, s.sources
    from mv.word_stats s
    where s.tenant_id = app.current_tenant()
      and s.kind = t.kind
      and s.lexeme >= h.first collate "C"
      and s.lexeme < h.above collate "C"
    offset 0
  ) as s
  where t.tenant_id = app.current_tenant()
    and (length(s.lexeme) between $3 and $4 or s.lexeme = any ($5::text[]))
  group by s.lexeme
  order by sources desc, s.lexeme
  limit $6
"""
"""Words of the tenant that begin so and have so many letters, or are one of these. Each range is a look-up of its own,
with both ends given: what is computed in the statement could tell of rows of others, and is no bound of an index under
row security."""

STEMS: Final = """
  select w.word, array(select t.lexeme from unnest(to_tsvector('pg_catalog.english', w.word)) as t) as lexemes
  from unnest($1::text[]) as w (word)
"""
SAID_IN_MAX: Final = 8
"""Passages that a word's name is looked for in: of so many may the sources be deleted, and the flow not know it yet."""
SAID_IN: Final = r"""
  select concat_ws(' ', s.title, c.heading_path, c.body) as text
  from mv.search_words(U&'\001E' || $1::text, null, null, null, $2) as w
  join mv.search_state s on s.tenant_id = app.current_tenant()
    and s.kind = w.kind
    and s.source_id = w.source_id
  join mv.chunks c on c.tenant_id = s.tenant_id
    and c.kind = w.kind
    and c.source_id = w.source_id
    and c.version = w.version
    and c.ordinal = w.ordinal
  -- A delete is seen at once, as among the hits.
  where not coalesce(
    (
      select v.deleted
      from app.source_versions v
      where v.tenant_id = s.tenant_id and v.kind = s.kind and v.source_id = s.source_id
      order by v.version desc
      limit 1
    ), true
  )
  order by w.score desc, w.kind, w.source_id
  limit 1
"""
"""The passage that has a word of the index most."""

_CORE = re.compile(r"[^\W\d_]+")
_SAID = re.compile(r"[^\W_][\w'-]*")


class Corrected(NamedTuple):
    """A word as it was typed, the word of the index that it was taken for, and what that is called in the texts."""

    typed: str
    lexeme: str
    called: str


class NearWord(NamedTuple):
    """Ordered: the nearest first, of these the one that has most of the word at its ends, then that of most sources."""

    slips: int
    other_head: bool
    unlike: int
    fewer: int
    lexeme: str
    form: str
    is_checked: bool


def find_correctable(words: Iterable[str]) -> dict[str, str]:
    """What may be misspelt of the words of a query: the word without the signs around it, and its analysed form."""
    found: dict[str, str] = {}
    for word in words:
        core = word.strip("()[]{}<>,;:!?'`*_|=~^.…\\&%$§\"")
        if not _CORE.fullmatch(core) or not (core.islower() or core.istitle()):
            continue
        form = analyse_phrase(core)
        if form.isascii() and form.isalpha() and ONE_SLIP_CHARS_MIN <= len(form) <= WORD_CHARS_MAX:
            found[core] = form.lower()
    return found


async def correct(connection: Connection, words: Sequence[str], left_alone: Sequence[str] = ()) -> list[Corrected]:
    """What each word was meant to be that the tenant does not have, in the order of the words."""
    correctable = {word: form for word, form in find_correctable(words).items() if word not in left_alone}
    if not correctable:
        return []
    rows = await connection.fetch(KNOWN, list(set(correctable.values())))
    unknown = {row["word"]: row["lexeme"] for row in rows if not row["known"]}
    corrected: list[Corrected] = []
    for word, form in correctable.items():
        if form in unknown and len(corrected) < CORRECTED_MAX:
            nearest = await _find_nearest(connection, form, unknown[form])
            called = await _find_name(connection, word, nearest) if nearest else None
            if nearest and called:
                corrected.append(Corrected(word, nearest.lexeme, called))
    return corrected


async def _find_nearest(connection: Connection, word: str, stem: str) -> NearWord | None:
    slips_max = 1 if len(word) < TWO_SLIPS_CHARS_MIN else 2
    bases = list(_bases(word, stem))
    lengths = [len(base) for base, _ in bases]
    # A slip in the ending leaves a stem that the word begins with.
    begun = [word[:size] for size in range(ONE_SLIP_CHARS_MIN, len(word) - 1)]
    heads = dict.fromkeys(_heads(stem))
    rows = await connection.fetch(
        CANDIDATES,
        [*heads, *begun],
        [*(head + LAST for head in heads), *(each + " " for each in begun)],
        max(min(lengths) - slips_max, ONE_SLIP_CHARS_MIN),
        max(lengths) + slips_max,
        begun,
        CANDIDATES_MAX,
    )
    near = sorted(_compare(word, bases, rows, slips_max))[:FORMS_MAX]
    unchecked = list({candidate.form for candidate in near if not candidate.is_checked})
    stems = {row["word"]: row["lexemes"] for row in await connection.fetch(STEMS, unchecked)} if unchecked else {}
    return next((each for each in near if each.is_checked or stems[each.form] == [each.lexeme]), None)


def _bases(word: str, stem: str) -> Iterator[tuple[str, str]]:
    """What may be the misspelt stem of a word, and the ending that goes with it. The dictionary's own is the first; a
    slip can hide an ending from it, and it writes y as i."""
    yield stem, word[len(stem) :] if word.startswith(stem) else ""
    if word[-1] == "y":
        yield word[:-1] + "i", ""
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= ONE_SLIP_CHARS_MIN and word[: -len(ending)] != stem:
            yield word[: -len(ending)], ending


def _heads(stem: str) -> Iterator[str]:
    """The first letters, and all that one slip makes of them."""
    yield stem[:HEAD_CHARS]
    for at in range(min(HEAD_CHARS, len(stem))):
        before, behind = stem[:at], stem[at + 1 :]
        yield (before + behind)[:HEAD_CHARS]
        yield (before + behind[:1] + stem[at] + behind[1:])[:HEAD_CHARS]
        for letter in ascii_lowercase:
            yield (before + letter + behind)[:HEAD_CHARS]
            yield (before + letter + stem[at:])[:HEAD_CHARS]


def _compare(
    word: str, bases: Sequence[tuple[str, str]], rows: Iterable[Sequence[object]], slips_max: int
) -> Iterator[NearWord]:
    """Candidates that are near enough. The stem is compared with a stem, so nothing is left to check there."""
    measures = [
        (
            base,
            ending,
            {*base},
            Distance(base),
            slips_max if len(base) >= LONG_BASE_CHARS_MIN else 1,
            number > 0 and ending != "",
        )
        for number, (base, ending) in enumerate(bases)
    ]
    whole = Distance(word)
    for row in rows:
        lexeme, sources = str(row[0]), int(str(row[1]))
        size, letters = len(lexeme), {*lexeme}
        forms = [
            (slips, is_unchecked, lexeme + ending)
            for base, ending, own, measure, most, is_unchecked in measures
            # The cheap tests first: most candidates share no more than their first letters.
            if abs(len(base) - size) <= most
            and len(own ^ letters) <= 2 * most
            and (slips := measure.to(lexeme, most)) <= most
        ]
        if word.startswith(lexeme):
            forms += [(whole.to(lexeme + ending, slips_max), True, lexeme + ending) for ending in ("", *ENDINGS)]
        if not forms:
            continue
        slips, is_unchecked, form = min(forms)
        if slips <= slips_max and (slips_max > 1 or _begins_alike(word, lexeme)):
            unlike = -_count_alike(word, form) - _count_alike(word[::-1], form[::-1])
            yield NearWord(slips, lexeme[0] != word[0], unlike, -sources, lexeme, form, not is_unchecked)


def _count_alike(word: str, other: str) -> int:
    """The letters before the first that differs."""
    return next((at for at, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), min(len(word), len(other)))


def _begins_alike(word: str, lexeme: str) -> bool:
    """Whether a short word has the right first letter, or its first two changed places: other first letters make other
    words of it more often than right ones."""
    return word[0] == lexeme[0] or word[1::-1] == lexeme[:2]


class Distance:
    """How many slips are between a word and others: letters too many, missing or wrong, and neighbours that changed
    places. Bits stand for the rows of the usual table, of which all are computed at once (Hyyrö 2003)."""

    def __init__(self, word: str) -> None:
        self._size = len(word)
        self._places: dict[str, int] = {}
        for at, letter in enumerate(word):
            self._places[letter] = self._places.get(letter, 0) | 1 << at

    def to(self, other: str, most: int) -> int:
        """The slips; some number above `most` when there are more."""
        if abs(self._size - len(other)) > most:
            return most + 1
        every = (1 << self._size) - 1
        last = 1 << self._size - 1
        up, down, diagonal, before = every, 0, 0, 0
        slips = self._size
        for letter in other:
            places = self._places.get(letter, 0)
            swapped = ((~diagonal & places) << 1) & before
            diagonal = ((((places & up) + up) ^ up) | places | down | swapped) & every
            more = (down | ~(diagonal | up)) & every
            less = diagonal & up
            slips += bool(more & last) - bool(less & last)
            more = more << 1 | 1
            up = (less << 1 | ~(diagonal | more)) & every
            down = more & diagonal & every
            before = places
        return slips


async def _find_name(connection: Connection, typed: str, found: NearWord) -> str | None:
    """What a word of the index is called: of what the passage says that has it most, the nearest to what was typed.
    None where nothing that is there says it any more."""
    text = await connection.fetchval(SAID_IN, found.lexeme, SAID_IN_MAX)
    if text is None:
        return None
    names: Counter[str] = Counter()
    for word in _SAID.findall(text):
        names.update({word, *analyse_query(word).split()})
    forms = {name: analyse_phrase(name).lower() for name in names}
    like = {name: form for name, form in forms.items() if form[:2] == found.lexeme[:2] and form.isalpha()}
    stems = {row["word"]: row["lexemes"] for row in await connection.fetch(STEMS, list({*like.values()}))}
    named = [name for name in like if stems[like[name]] == [found.lexeme]]
    distance = Distance(typed)
    return min(named, key=lambda name: (distance.to(name, len(typed)), -names[name], name), default=found.form)
