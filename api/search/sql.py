"""The SQL of a search. Every statement runs with the API's rights, in the tenant's transaction.

Read next: `schemas/sql/0010_search_functions.sql`, whose functions find and rank.
"""

from __future__ import annotations

from typing import Final

ALLOWED: Final = """
  with required as (
    select wanted.n, found.kind, found.source_id
    from
      unnest($7::text[]) with ordinality as wanted (text, n),
      mv.search_sources_with(websearch_to_tsquery('pg_catalog.english', wanted.text)) as found
    where numnode(websearch_to_tsquery('pg_catalog.english', wanted.text)) > 0
  ),
  excluded as (
    select found.kind, found.source_id
    from
      unnest($8::text[]) as unwanted (text),
      mv.search_sources_with(websearch_to_tsquery('pg_catalog.english', unwanted.text)) as found
    where numnode(websearch_to_tsquery('pg_catalog.english', unwanted.text)) > 0
  ),
  demanded as (
    select count(*) as n
    from unnest($7::text[]) as wanted (text)
    where numnode(websearch_to_tsquery('pg_catalog.english', wanted.text)) > 0
  )
  select
    array_agg(p.kind) as kinds, array_agg(p.source_id) as ids, coalesce(sum(p.chunks), 0)::bigint as passages
  from (
    select s.kind, s.source_id, s.chunks
    from mv.search_state s
    left join app.adrs a on s.kind = 'adr' and a.tenant_id = s.tenant_id and a.adr_id = s.source_id
    where s.tenant_id = app.current_tenant()
      and not s.deleted
      and ($9::text is null or s.kind = $9)
      and (cardinality($1::text[]) = 0 or s.status = any ($1))
      and (
        cardinality($2::text[]) = 0
        or not exists (
          select
          from unnest($2) as wanted (tag)
          where not exists (
            select
            from app.adr_tags t
            where t.tenant_id = a.tenant_id and t.adr_id = a.adr_id and t.tag = wanted.tag
          )
        )
      )
      and (
        $3::text is null
        or a.log_id = (select l.log_id from app.logs l where l.tenant_id = s.tenant_id and l.slug = $3)
      )
      and (
        $4::text is null
        or exists (
          select
          from app.adr_versions v
          where v.tenant_id = a.tenant_id and v.adr_id = a.adr_id and lower(v.author) = lower($4)
        )
      )
      and ($5::timestamptz is null or s.effective_at >= $5)
      and ($6::timestamptz is null or s.effective_at < $6)
      and (
        (select n from demanded) = 0
          or (s.kind, s.source_id) in (
            select r.kind, r.source_id
            from required r
            group by r.kind, r.source_id
            having count(*) = (select n from demanded)
          )
      )
      and (s.kind, s.source_id) not in (select x.kind, x.source_id from excluded x)
    limit $10
  ) p
"""
"""What passes the filters: statuses, tags, log, author, since, until, required phrases, excluded ones, kind; up to a
bound. Only ADRs have tags, log and author, so nothing else passes a filter by one.

A phrase of nothing but stop words asks for nothing.
"""

EXCLUDED: Final = """
  select distinct found.kind, found.source_id
  from
    unnest($1::text[]) as unwanted (text),
    mv.search_sources_with(websearch_to_tsquery('pg_catalog.english', unwanted.text)) as found
  where numnode(websearch_to_tsquery('pg_catalog.english', unwanted.text)) > 0
  limit $2
"""
"""What has an excluded phrase, where too much passes to list it: these are taken out of what the arms find."""

INDEXES: Final = """
  select i.kind, r.recall, r.measured_at
  from mv.vector_indexes i
  left join mv.search_recall r on r.tenant_id = i.tenant_id and r.slot = i.slot
  where i.tenant_id = app.current_tenant()
    and i.state = 'live'
    and i.space = (select mv.active_space(app.current_tenant()))
"""
"""The tenant's indexes by meaning, and what is known of them."""

SPACE: Final = "select mv.active_space($1)"
"""The embedding space that a tenant searches in."""
RANKED: Final = """
  select kind, source_id, score, candidates, proved, wanted, ordinal, terms
  from mv.rank_words($1, $2, $3, $4::text::jsonb, $5)
"""
"""The best by words: words of the query, kinds and ids of what may be found or nulls, the filter that each candidate is
asked by or null, sources at most."""

PASSING: Final = """
  select f.n
  from unnest($1::text[], $2::uuid[]) with ordinality as f (kind, source_id, n)
  where mv.search_passes($3::text::jsonb, f.kind, f.source_id)
  order by f.n
"""
"""Which of these pass a filter, by their places from 1 on."""

NEAREST: Final = """
  select kind, source_id, version, ordinal, score, route, second
  from mv.search_meaning($1, $2::vector, $3, $4, $5::text::jsonb, $6)
"""
"""The nearest in meaning: embedding space, vector, kinds and ids of what may be found or nulls, filter or null,
passages of each kind at most."""

NAMED: Final = """
  select s.kind, s.source_id
  from app.adrs a
  join mv.search_state s on s.tenant_id = a.tenant_id and s.kind = 'adr' and s.source_id = a.adr_id
  where a.tenant_id = app.current_tenant()
    and a.number = any ($1::integer[])
    and not s.deleted
    and ($3::uuid[] is null or (s.kind, s.source_id) in (select * from unnest($2::text[], $3)))
    and mv.search_passes($4::text::jsonb, s.kind, s.source_id)
"""
"""ADRs that are named by their numbers, and may be found."""

EXACT: Final = """
  select x.kind, x.source_id
  from mv.search_sources_with(mv.name_query($1, $2)) as x
  where ($4::uuid[] is null or (x.kind, x.source_id) in (select * from unnest($3::text[], $4)))
    and mv.search_passes($5::text::jsonb, x.kind, x.source_id)
    and (x.kind, x.source_id) not in (select * from unnest($6::text[], $7::uuid[]))
  order by array_position($8::uuid[], x.source_id), x.kind, x.source_id
  limit $9
"""
"""Sources that have a name as it is written, as a phrase or in one: those that were ranked by words first, in their
order."""

SHOWN: Final = r"""
  with best as materialized (
    select
      f.n, f.version, f.ordinal, f.exact, f.by_words, s.tenant_id, s.kind, s.source_id, s.title, s.status,
      s.effective_at, s.words_version
    from unnest(
      $1::text[], $2::uuid[], $3::bigint[], $4::integer[], $5::boolean[], $6::boolean[]
    ) with ordinality as f (kind, source_id, version, ordinal, exact, by_words, n)
    join mv.search_state s on s.tenant_id = app.current_tenant()
      and s.kind = f.kind
      and s.source_id = f.source_id
    -- A delete is seen at once, whatever the flow has done with it; and so is that the rows are gone.
    where not coalesce(
      (
        select v.deleted
        from app.source_versions v
        where v.tenant_id = s.tenant_id and v.kind = s.kind and v.source_id = s.source_id
        order by v.version desc
        limit 1
      ), true
    )
    order by f.n
    limit $7
  ),
  said as materialized (
    select p.kind, p.source_id, p.ordinal, p.terms
    from
      (
        select array_agg(b.kind) as kinds, array_agg(b.source_id) as ids
        from best b
        where b.by_words
      ) as every,
      mv.word_passages($8::text[], every.kinds, every.ids) as p
  )
  select
    best.*, said.ordinal as said_ordinal, said.terms, a.number, l.slug as log, c.version as chunk_version,
    c.ordinal as chunk_ordinal, c.heading_path, c.char_start, c.char_end,
    coalesce(d.media_type, g.media_type) as media_type, coalesce(d.uri, g.url) as uri,
    coalesce(d.origin, case when g.url is not null then 'crawl' end) as origin,
    width_bucket(c.char_start, p.starts) as first_page,
    width_bucket(greatest(c.char_start, c.char_end - 1), p.starts) as last_page,
    case u.state when 'partial' then u.reason ->> 'detail' end as partial,
    array(
      select t.tag
      from app.adr_tags t
      where t.tenant_id = a.tenant_id and t.adr_id = a.adr_id
      order by t.tag
    ) as tags,
    -- Without headings, whose place the heading path has taken, unless there is nothing else.
    coalesce(nullif(btrim(regexp_replace(c.body, '^ {0,3}#+ .*$', '', 'gn'), E' \n\r\t'), ''), c.body) as body
  from best
  left join said on said.kind = best.kind and said.source_id = best.source_id
  cross join lateral (
    select case
      when best.exact then
        (
          select min(e.ordinal)
          from mv.chunks e
          where e.tenant_id = best.tenant_id
            and e.kind = best.kind
            and e.source_id = best.source_id
            and e.version = best.words_version
            and e.tsv @@ mv.name_query($9, $10)
        )
      else coalesce(best.ordinal, said.ordinal)
    end as ordinal
    offset 0
  ) as place
  join mv.chunks c on c.tenant_id = best.tenant_id
    and c.kind = best.kind
    and c.source_id = best.source_id
    and c.version = coalesce(best.version, best.words_version)
    and c.ordinal = place.ordinal
  left join app.adrs a on best.kind = 'adr' and a.tenant_id = best.tenant_id and a.adr_id = best.source_id
  left join app.logs l on l.tenant_id = a.tenant_id and l.log_id = a.log_id
  left join app.document_versions d on best.kind = 'document'
    and d.tenant_id = best.tenant_id
    and d.document_id = best.source_id
    and d.version = best.words_version
  left join app.document_pages p on best.kind = 'document'
    and p.tenant_id = best.tenant_id
    and p.document_id = best.source_id
    and p.version = c.version
  left join app.page_versions g on best.kind = 'page'
    and g.tenant_id = best.tenant_id
    and g.page_id = best.source_id
    and g.version = best.words_version
  left join app.documents u on d.origin = 'upload'
    and u.tenant_id = d.tenant_id
    and u.document_id = d.document_id
  order by best.n
"""
"""The first of the candidates with all that is shown of them: kinds, ids, versions (null: that on show), ordinals of
the passages to show (null: that with the name, or which says most of the words), whether they have the name, whether
they have words; hits at most; words that were ranked by; the name as a phrase and in one, or nulls."""
