"""Words of a query in the languages that the tenant's texts are in, by their stems: "Entscheidungen", "Entscheidung".

Owns which stems a query asks for. Of a query in a language that is known, all that the tenant has; of one that is in
none, a stem that more sources have than the word itself: where they do not, the word finds all that the stem would, and
texts of that language would only be favoured for every name. An English query has none. Refuses to recognise languages
(`schemas/languages.py`) and to stem (`schemas/stems.py`).

The stems are looked up in the tenant's own dictionary. A tenant of English texts pays for one look-up of each language,
since it has no stem of any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from api.db import Connection
from schemas.analysis import analyse_phrase, analyse_query
from schemas.languages import ENGLISH, is_function_word, read_language
from schemas.stems import LANGUAGES, LAST, MARK, find_words, mark_stems, unmark

WORDS_MAX: Final = 32
"""Words of a query that are looked up, each in every language that the tenant has: a search goes by as many."""

_FIRST: Final = [MARK + each for each in LANGUAGES]
_ABOVE: Final = [first + LAST for first in _FIRST]
"""The stems of each language are between these two."""

LANGUAGES_OF: Final = """
  select l.language
  from unnest($1::text[], $2::text[], $3::text[]) as l (language, first, above)
  where exists (
    select
    from mv.word_totals t
    cross join lateral (
      select
      from mv.word_stats s
      where s.tenant_id = app.current_tenant()
        and s.kind = t.kind
        and s.lexeme >= l.first collate "C"
        and s.lexeme < l.above collate "C"
      limit 1
    ) as had
    where t.tenant_id = app.current_tenant()
  )
"""
"""The languages that the tenant has a stem of."""
ASKED_FOR: Final = """
  select w.word, w.stem
  from unnest($1::text[], $2::text[], $3::text[], $4::boolean[]) as w (word, form, stem, is_certain)
  cross join lateral (
    select sum(s.sources) as sources
    from mv.word_totals t
    cross join lateral (select mv.word_key(w.stem) as key offset 0) as k
    join mv.word_stats s on s.tenant_id = t.tenant_id and s.kind = t.kind and s.lexeme = k.key collate "C"
    where t.tenant_id = app.current_tenant()
  ) as by_stem
  cross join lateral (
    select coalesce(sum(s.sources), 0) as sources
    from unnest(to_tsvector('pg_catalog.english', w.form)) as l
    cross join mv.word_totals t
    cross join lateral (select mv.word_key(l.lexeme) as key offset 0) as k
    join mv.word_stats s on s.tenant_id = t.tenant_id and s.kind = t.kind and s.lexeme = k.key collate "C"
    where t.tenant_id = app.current_tenant()
  ) as by_word
  where by_stem.sources > 0 and (w.is_certain or by_stem.sources > by_word.sources)
"""
"""Stems to ask for: each with its word, that word as it is analysed, and whether the query is in its language."""


async def find_stems(connection: Connection, text: str, words: Iterable[str]) -> dict[str, list[str]]:
    """The stems by which these words of a query are asked for, as they are indexed, by the word as it was typed."""
    language = read_language(text)
    if language == ENGLISH:
        return {}
    every = ((word, part) for word in dict.fromkeys(words) for part in find_words(word))
    parts = [each for each in every if not is_function_word(each[1], language)][:WORDS_MAX]
    if not parts:
        return {}
    rows = await connection.fetch(LANGUAGES_OF, LANGUAGES, _FIRST, _ABOVE)
    asked = [
        (word, analyse_phrase(part), stem, row["language"] == language)
        for word, part in parts
        for row in rows
        for stem in mark_stems(row["language"], part)
    ]
    if not asked:
        return {}
    found: dict[str, list[str]] = {}
    for row in await connection.fetch(ASKED_FOR, *map(list, zip(*asked, strict=True))):
        found.setdefault(row["word"], []).append(row["stem"])
    return {word: found[word] for word, _ in parts if word in found}


def find_forms(texts: Sequence[str], terms: Iterable[str]) -> Mapping[str, str]:
    """The words of texts that have one of the stems among the terms, as they are analysed, each with its term."""
    stems = {term: named[0] for term in terms if (named := unmark(term))}
    languages = {*stems.values()}
    words = {run for text in texts for run in text.split()} if stems else ()
    found: dict[str, str] = {}
    for run in words:
        for word in find_words(run):
            term = next((each for one in languages for each in mark_stems(one, word) if each in stems), None)
            if term is not None:
                found |= dict.fromkeys(analyse_query(word).lower().split(), term)
    return found


def show_term(term: str) -> str:
    """A word of the index for whoever reads an explanation: a stem with its language."""
    named = unmark(term)
    return f"{named[1]} ({named[0]})" if named else term
