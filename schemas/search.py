"""What several rooms must say alike of the search: the names of its views, and what it waits for.

Owns these words and this query. Refuses to keep or to read anything: the flows `index` and `embed` keep it, the API
reads it.
"""

from __future__ import annotations

WORDS_VIEW = "search.words"
MEANING_VIEW = "search.meaning"

WAITING_FOR_VECTORS = """
  select min(recorded_at)
  from mv.search_state
  where not deleted and meaning_version is distinct from words_version
"""
"""When the oldest version was written that a search by words finds and one by meaning does not yet; null: there is
none. Of one tenant, or of all, as the role sees them."""
