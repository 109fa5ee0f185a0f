"""Writes ADRs as the API and the flows would, straight into a database: what a test of search needs to find."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg

from connectors.embedders import Embedder
from dataflows.chunker import analyse_chunks, chunk
from runtime.ids import new_id
from runtime.settings import Settings
from schemas.suggestions import suggestion_id
from tests.connectors.embedders.stand_in import FakeEmbedder

BEGINNING = datetime(2026, 1, 15, 9, tzinfo=UTC)

_CHUNKS = """
insert into mv.chunks (
    tenant_id, kind, source_id, version, ordinal, heading_path, body, char_start, char_end, text_hash, tsv, length)
select %s, %s, %s, %s, v.ordinal, v.heading_path, v.body, v.char_start, v.char_end, v.text_hash, t.tsv,
       mv.chunk_length(t.tsv)
  from (values (%s, %s, %s, %s, %s, %s)) as v (ordinal, heading_path, body, char_start, char_end, text_hash),
       lateral (select mv.chunk_tsv(v.ordinal, %s, %s, %s) as tsv) t
"""

MEASURE = """
update mv.search_state s
   set length = (
       select coalesce(sum(c.length), 0) from mv.chunks c
        where (c.tenant_id, c.kind, c.source_id, c.version) = (s.tenant_id, s.kind, s.source_id, s.words_version))
 where s.tenant_id = %s and s.length = 0
"""


KEEP = "select mv.keep_words(array[%s::uuid], array[%s], array[%s::uuid])"
"""After whatever else is written of a source, as the flow `index` does."""


_STEP = """
insert into app.agent_steps (tenant_id, task_id, number, step_id, kind, name, input)
values (%s, %s, 1, %s, 'tool', 'propose_tag', jsonb_build_object('arguments', %s::text))
"""
_PROPOSAL = """
insert into app.proposals (tenant_id, proposal_id, task_id, proposed_by, kind, adr_id, content, reason)
values (%s, %s, %s, gen_random_uuid(), 'tag', %s, jsonb_build_object('tag', %s::text), %s)
"""


class Corpus:
    """A connection that row security does not bind. Vectors are those of `embedder`."""

    def __init__(self, connection: psycopg.Connection[Any], embedder: Embedder) -> None:
        self.connection = connection
        self.embedder = embedder
        space = embedder.space
        connection.execute(
            "insert into mv.embedding_spaces (space, provider, model, revision, dimension, active) "
            "values (%s, %s, %s, %s, %s, true)",
            [space.name, space.provider, space.model, space.revision, space.dimension],
        )

    def tenant(self, slug: str) -> UUID:
        tenant_id = new_id()
        self.connection.execute("insert into app.tenants values (%s, %s, %s)", [tenant_id, slug, slug])
        self.log(tenant_id, "default")
        return tenant_id

    def log(self, tenant_id: UUID, slug: str) -> UUID:
        log_id = new_id()
        self.connection.execute(
            "insert into app.logs (tenant_id, log_id, slug, name) values (%s, %s, %s, %s)",
            [tenant_id, log_id, slug, slug],
        )
        return log_id

    def agent(self, tenant_id: UUID, task_id: UUID, adr_id: UUID, word: str) -> UUID:
        """A step of a task, and a tag that it proposes; the id of both."""
        step_id = new_id()
        self.connection.execute(_STEP, [tenant_id, task_id, step_id, word])
        self.connection.execute(_PROPOSAL, [tenant_id, step_id, task_id, adr_id, word, word])
        return step_id

    def adr(
        self,
        tenant_id: UUID,
        title: str,
        text: str,
        *,
        number: int | None = None,
        status: str = "accepted",
        tags: Sequence[str] = (),
        log: str = "default",
        author: str = "Ada",
        at: datetime = BEGINNING,
        by_meaning: bool = True,
    ) -> UUID:
        """Version 1 of a new ADR, findable by words and, unless told otherwise, by meaning."""
        adr_id = new_id()
        execute = self.connection.execute
        execute(
            "insert into app.adrs (tenant_id, adr_id, log_id, number, title, status, version, created_at, updated_at) "
            "select tenant_id, %s, log_id, %s, %s, %s, 1, %s, %s from app.logs where tenant_id = %s and slug = %s",
            [adr_id, number, title, status, at, at, tenant_id, log],
        )
        execute(
            "insert into app.adr_versions (tenant_id, adr_id, version, change, title, status, body, author, "
            "effective_at) values (%s, %s, 1, 'create', %s, %s, %s, %s, %s)",
            [tenant_id, adr_id, title, status, text, author, at],
        )
        for tag in tags:
            execute("insert into app.adr_tags (tenant_id, adr_id, tag) values (%s, %s, %s)", [tenant_id, adr_id, tag])
        parts = chunk(title, text)
        execute(
            "insert into mv.search_state (tenant_id, kind, source_id, words_version, meaning_version, title, status, "
            "effective_at, recorded_at, words_at, meaning_at, chunks, length) "
            "values (%s, 'adr', %s, 1, %s, %s, %s, %s, %s, %s, %s, %s, 0)",
            [tenant_id, adr_id, 1 if by_meaning else None, title, status, at, at, at, at, len(parts)],
        )
        for part, words in zip(parts, analyse_chunks(title, parts), strict=True):
            execute(
                _CHUNKS,
                [
                    *(tenant_id, "adr", adr_id, 1),
                    *(part.ordinal, part.heading_path, part.body, part.char_start, part.char_end, part.text_hash),
                    *words,
                ],
            )
        execute(MEASURE, [tenant_id])
        execute(KEEP, [tenant_id, "adr", adr_id])
        if by_meaning:
            self.embed(tenant_id, [(part.text_hash, part.text) for part in parts])
        return adr_id

    def document(self, tenant_id: UUID, title: str, text: str, *, version: int = 1_790_000_000_000) -> UUID:
        """The first version that is here of a new document, findable by words and by meaning."""
        document_id = new_id()
        execute = self.connection.execute
        execute(
            "insert into app.document_versions (tenant_id, document_id, version, kind, origin, title, media_type, uri, "
            "body, effective_at) values (%s, %s, %s, 'create', 'upload', %s, 'text/markdown', %s, %s, %s)",
            [tenant_id, document_id, version, title, "https://docs.example/" + title.split()[0], text, BEGINNING],
        )
        self.index(tenant_id, "document", document_id, version, title, text)
        return document_id

    def index(self, tenant_id: UUID, kind: str, source_id: UUID, version: int, title: str, text: str) -> None:
        """Have a document or a page that is here found, as the flows do."""
        execute = self.connection.execute
        parts = chunk(title, text)
        execute(
            "insert into mv.search_state (tenant_id, kind, source_id, words_version, meaning_version, title, status, "
            "effective_at, recorded_at, words_at, meaning_at, chunks, length) "
            "values (%s, %s, %s, %s, %s, %s, '', %s, %s, %s, %s, %s, 0)",
            [tenant_id, kind, source_id, version, version, title, *[BEGINNING] * 4, len(parts)],
        )
        for part, words in zip(parts, analyse_chunks(title, parts), strict=True):
            execute(
                _CHUNKS,
                [
                    *(tenant_id, kind, source_id, version),
                    *(part.ordinal, part.heading_path, part.body, part.char_start, part.char_end, part.text_hash),
                    *words,
                ],
            )
        execute(MEASURE, [tenant_id])
        execute(KEEP, [tenant_id, kind, source_id])
        self.embed(tenant_id, [(part.text_hash, part.text) for part in parts])

    def page(self, tenant_id: UUID, crawl_id: UUID, title: str) -> UUID:
        """A page as a crawl left it, with the address that it had found."""
        page_id, url = new_id(), f"https://{title.split()[-1].lower()}.example/{title.replace(' ', '-')}"
        execute = self.connection.execute
        execute(
            "insert into app.crawl_urls (tenant_id, crawl_id, url, host, kind, depth, state, page_id) "
            "values (%s, %s, %s, 'docs.example', 'page', 0, 'stored', %s)",
            [tenant_id, crawl_id, url, page_id],
        )
        execute(
            "insert into app.pages (tenant_id, page_id, url, title, media_type, version, content_hash, text_hash, "
            "links, crawl_id, fetched_at) values (%s, %s, %s, %s, 'text/html', 1, '', '', '{}', %s, now())",
            [tenant_id, page_id, url, title, crawl_id],
        )
        execute(
            "insert into app.page_versions (tenant_id, page_id, version, kind, crawl_id, url, title, media_type, body, "
            "effective_at) values (%s, %s, 1, 'create', %s, %s, %s, 'text/html', %s, now())",
            [tenant_id, page_id, crawl_id, url, title, f"What {title} says."],
        )
        return page_id

    def embed(self, tenant_id: UUID, texts: Sequence[tuple[bytes, str]]) -> None:
        vectors = self.embedder.embed([text for _, text in texts])
        for (text_hash, _), vector in zip(texts, vectors, strict=True):
            self.connection.execute(
                "insert into mv.embeddings values (%s, %s, %s, %s::vector) on conflict do nothing",
                [tenant_id, self.embedder.space.name, text_hash, str(vector.tolist())],
            )

    def flag(self, tenant_id: UUID, note: str) -> UUID:
        """A flag of use that looked like abuse, which somebody has looked at."""
        flag_id = new_id()
        self.connection.execute(
            "insert into app.abuse_flags (tenant_id, kind, subject, day, flag_id, measured, threshold, note) "
            "values (%s, 'rapid-calls', %s, now()::date, %s, 2, 1, %s)",
            [tenant_id, str(flag_id), flag_id, note],
        )
        return flag_id

    def near(
        self,
        tenant_id: UUID,
        adr_id: UUID,
        related_id: UUID,
        *,
        score: float = 0.5,
        meaning: float = 0.5,
        terms: Sequence[str] = ("ledger",),
        links_to: Sequence[str] = (),
        links_from: Sequence[str] = (),
    ) -> None:
        """A row of `mv.related`."""
        self.connection.execute(
            "insert into mv.related (tenant_id, kind, source_id, related_id, score, words, terms, meaning, links_to, "
            "links_from) values (%s, 'adr', %s, %s, %s, 0.5, %s, %s, %s, %s)",
            [tenant_id, adr_id, related_id, score, list(terms), meaning, list(links_to), list(links_from)],
        )

    def suggestion(
        self,
        tenant_id: UUID,
        newer_id: UUID,
        older_id: UUID,
        kind: str = "supersedes",
        evidence: str = "words",
        *,
        quote: str = "We move away from it.",
    ) -> UUID:
        """A row of `mv.suggestions`, as the flow leaves it."""
        found = suggestion_id(newer_id, older_id)
        self.connection.execute(
            "insert into mv.suggestions "
            "values (%s, %s, %s, %s, %s, %s, '{ledger}', 'body', 0, 21, %s, 'title', 0, 5, %s) "
            "on conflict (tenant_id, suggestion_id) do update set kind = excluded.kind, evidence = excluded.evidence",
            [tenant_id, found, newer_id, older_id, kind, evidence, quote, quote],
        )
        return found

    def views(self, tenant_id: UUID) -> None:
        """What flows keep beside the search, of the tenant's ADRs and of one answer that it asked for."""
        columns = "tenant_id, adr_id, version, change, title, status, author, effective_at, recorded_at"
        self.connection.execute(
            f"insert into mv.activity ({columns}) select {columns} from app.adr_versions where tenant_id = %s",
            [tenant_id],
        )
        self.connection.execute("insert into mv.entity_counts values (%s, 'adrs', 'accepted', 2)", [tenant_id])
        self.connection.execute("insert into mv.daily_active_users values (%s, current_date, 1)", [tenant_id])
        self.connection.execute(
            "insert into mv.job_status values "
            "(%s, gen_random_uuid(), 'reindex', 'running', '', 0, null, 'ADRs', '', '', 1, now())",
            [tenant_id],
        )
        counts = "1, 1, 0, 0, 10, 0, 0, 0, 5, 0, 7, 0, 0, 0"
        for by, key in (
            ("hour", "date_trunc('hour', now())"),
            ("day", "current_date"),
            ("model", "current_date, 'p', 'm'"),
            ("user", "current_date, gen_random_uuid()"),
            ("key", "current_date, ''"),
        ):
            self.connection.execute(f"insert into mv.usage_by_{by} values (%s, {key}, {counts})", [tenant_id])

    def watermark(self, at: datetime) -> None:
        """Everything committed up to `at` is searchable by words."""
        self.connection.execute(
            "insert into mv.watermarks (view, topic, partition, lsn, source_at) "
            "select 'search.words', topic, p, '0/1A2B3C8', %s from generate_series(0, 7) p, "
            "unnest(array['adriatic.app.adr_versions', 'adriatic.app.document_versions']) topic "
            "on conflict (view, topic, partition) do update set source_at = excluded.source_at",
            [at],
        )


@contextmanager
def writing(settings: Settings, embedder: Embedder | None = None) -> Iterator[Corpus]:
    """Each statement is committed at once."""
    with psycopg.connect(settings.postgres.dsn("admin"), autocommit=True) as connection:
        yield Corpus(connection, embedder or FakeEmbedder())
