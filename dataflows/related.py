"""The flow `related`: for each ADR the ten nearest others, by links, words and meaning, and why; and which of two that
are near may supersede the other, or conflict with it.

Reads `adriatic.mv.search_state` (words or meaning of an ADR changed) and `adriatic.app.adr_links`; keeps `mv.related`,
`mv.suggestions` and, for itself, `mv.related_features`. Refuses to know how near two ADRs are (`dataflows/nearness.py`)
and what suggests something of them (`connectors/reading/suggesting.py`).

A record only says what to look at: `apply` reads the tables as they are by then, so order and repetition are
indifferent. The score of a pair depends on these two alone, so what changed moves the pairs of its ADR and no others:
its own list is made anew, each other list takes it in or not. Only a list out of which it fell is made anew as well.
What a change costs is one read of the tenant's features and one comparison with all for each list made anew
(docs/decisions/0022 has figures); in a large tenant, of those of candidates (`dataflows/related_candidates.py`).

A version counts once it is findable by words and by meaning; until then the one before it does, as in a search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from connectors.kafka.source import BatchLimits
from connectors.postgres.connections import Connection
from dataflows.comparison import Comparison
from dataflows.flow import Event, Flow
from dataflows.related_features import KIND, find_relinked, refresh
from dataflows.related_lists import update_lists
from dataflows.spaces import require_space
from dataflows.suggested import keep_suggestions
from runtime.errors import Unprocessable
from schemas import sources
from schemas.flows import KeptTable, KeptView
from schemas.search import WAITING_FOR_VECTORS, WORDS_VIEW
from schemas.sources import SourceKey

STATE_TOPIC = "adriatic.mv.search_state"
LINKS_TOPIC = "adriatic.app.adr_links"


@dataclass(frozen=True, slots=True)
class RelatedEffects:
    """What to look at again, each sorted: ADRs whose text may be another, and ADRs whose links may be others."""

    texts: tuple[SourceKey, ...]
    links: tuple[SourceKey, ...]


class Related(Flow[RelatedEffects]):
    name = "related"
    about = "what is findable, and links → the nearest other ADRs of each, and what is suggested of them"
    topics = (STATE_TOPIC, LINKS_TOPIC)
    tables = (
        KeptTable("mv.related_features", compared="words and vectors of each ADR, made anew"),
        KeptTable("mv.related", compared="every pair of a tenant, compared one by one"),
        KeptTable("mv.related_routes", not_compared="says which lists are of candidates: how a tenant once was"),
        KeptTable("mv.suggestions", compared="every pair of the lists, read anew"),
    )
    views = (
        KeptView(
            "related",
            "The nearest other ADRs of each.",
            table="mv.related",
            key=("kind", "source_id", "related_id"),
            columns=("score", "words", "terms", "meaning", "links_to", "links_from"),
            source_view=WORDS_VIEW,
            waiting=WAITING_FOR_VECTORS,
        ),
        KeptView(
            "suggestions",
            "What is suggested of decisions that are near: that one supersedes the other, or conflicts with it.",
            table="mv.suggestions",
            key=("suggestion_id",),
            columns=("newer_id", "older_id", "kind", "evidence", "terms", "newer_quote", "older_quote"),
            source_view=WORDS_VIEW,
            waiting=WAITING_FOR_VECTORS,
        ),
    )
    limits = BatchLimits(records_max=100, bytes_max=524_288)
    """Limits of a batch: at 5 000 ADRs a list takes about 50 ms to make anew, so the largest batch takes seconds."""

    @classmethod
    def compare(cls, comparison: Comparison) -> None:
        from dataflows.oracle_related import unlike  # it is written in terms of this module

        connection, tenant_id = comparison.connection, comparison.tenant.tenant_id
        found = unlike(connection, space_of(connection, tenant_id), tenant_id)
        comparison.add_unlike(found, "is not what texts, vectors and links give")

    def start(self, connection: Connection) -> None:
        require_space(connection)

    def transform(self, events: Sequence[Event]) -> RelatedEffects:
        texts: set[SourceKey] = set()
        links: set[SourceKey] = set()
        for event in events:
            op = event.value["op"]
            if op not in ("c", "r", "u", "d"):
                raise Unprocessable(f"a change of kind {op} on a table that is never emptied")
            row = event.value["before"] if op == "d" else event.value["after"]
            if event.contract == LINKS_TOPIC:
                links.add(sources.key_of(KIND, row))
            elif row["kind"] == KIND and (
                op == "d" or row["deleted"] or row["meaning_version"] == row["words_version"]
            ):
                texts.add(SourceKey(UUID(row["tenant_id"]), KIND, UUID(row["source_id"])))
        return RelatedEffects(tuple(sorted(texts)), tuple(sorted(links)))

    def apply(self, connection: Connection, effects: RelatedEffects) -> None:
        for tenant_id in sorted({source.tenant_id for source in (*effects.texts, *effects.links)}):
            # One writer a tenant, whichever of the two topics it comes from.
            connection.execute(LOCK_TENANT, [tenant_id])
            space = space_of(connection, tenant_id)
            texts = [source.source_id for source in effects.texts if source.tenant_id == tenant_id]
            links = [source.source_id for source in effects.links if source.tenant_id == tenant_id]
            changed = refresh(connection, space, tenant_id, texts)
            changed |= find_relinked(connection, tenant_id, links)
            moved = update_lists(connection, space, tenant_id, changed)
            # A new status is no other feature, so it moves no list; it may end a suggestion all the same.
            keep_suggestions(connection, tenant_id, {*texts, *links}, moved)


LOCK_TENANT = "select pg_advisory_xact_lock(hashtextextended('related ' || %s::text, 0))"
SPACE = "select mv.related_space(%s)"


def space_of(connection: Connection, tenant_id: UUID) -> str:
    """The space whose vectors a tenant's ADRs are compared by: it stays the same when another one is searched in, until
    it is dropped."""
    row = connection.execute(SPACE, [tenant_id]).fetchone()
    assert row is not None
    return row[0] or ""
