"""The SQL of a search. Both statements run with the API's rights, in the tenant's transaction.

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

HITS: Final = r"""
  with unwanted as materialized (select * from unnest($13::text[], $14::uuid[]) as x (kind, source_id)),
  words as materialized (
    select *, row_number() over (order by score desc, kind, source_id) as rank
    from mv.search_words(
      $1, coalesce($18::text[], $2), coalesce($19::uuid[], $3), $12::jsonb,
      case when cardinality($13::text[]) = 0 then $9 else $9 * 20 end
    ) as w
    where $4 and (w.kind, w.source_id) not in (select x.kind, x.source_id from unwanted x)
    order by score desc, kind, source_id
    limit $9
  ),
  meaning as materialized (
    select
      *, (score + second) / 2 as nearness,
      row_number() over (order by round(((score + second) / 2)::numeric, 9) desc, kind, source_id) as rank
    from mv.search_meaning($5, $6::vector, $2, $3, $12::jsonb, $9)
    where $6 is not null and (kind, source_id) not in (select x.kind, x.source_id from unwanted x)
  ),
  -- What an arm did not list is at most as good as the last that it did.
  last_words as (
    select max(score) as best, case when count(*) < $9 then 0 else min(score) end as least
    from words
  ),
  last_meaning as (select kind, min(second) as least from meaning group by kind),
  named as materialized (
    select s.kind, s.source_id, s.words_version as version, 0 as ordinal
    from app.adrs a
    join mv.search_state s on s.tenant_id = a.tenant_id and s.kind = 'adr' and s.source_id = a.adr_id
    where $4
      and a.number = any ($7::integer[])
      and not s.deleted
      and ($3::uuid[] is null or (s.kind, s.source_id) in (select * from unnest($2::text[], $3)))
      and mv.search_passes($12, s.kind, s.source_id)
      and (s.kind, s.source_id) not in (select x.kind, x.source_id from unwanted x)
  ),
  exact as materialized (
    select
      x.kind, x.source_id, s.words_version as version,
      (
        select min(c.ordinal)
        from mv.chunks c
        where c.tenant_id = s.tenant_id
          and c.kind = s.kind
          and c.source_id = s.source_id
          and c.version = s.words_version
          and c.tsv @@ mv.name_query($15, $16)
      ) as ordinal
    from mv.search_sources_with(mv.name_query($15, $16)) as x
    join mv.search_state s on s.tenant_id = app.current_tenant()
      and s.kind = x.kind
      and s.source_id = x.source_id
    left join words w on w.kind = x.kind and w.source_id = x.source_id
    where $4
      and $15 is not null
      and ($3::uuid[] is null or (x.kind, x.source_id) in (select * from unnest($2::text[], $3)))
      and mv.search_passes($12, x.kind, x.source_id)
      and (x.kind, x.source_id) not in (select u.kind, u.source_id from unwanted u)
    order by w.rank, x.kind, x.source_id
    limit $9
  ),
  fused as (
    select
      kind, source_id, n.source_id is not null as named, e.source_id is not null as exact, w.terms,
      w.rank as words_rank, w.score as words_score, w.version as words_version, w.ordinal as words_ordinal,
      m.rank as meaning_rank, m.score as meaning_score, m.route, m.version as meaning_version,
      m.ordinal as meaning_ordinal, m.second as meaning_second,
      $10::float8 * w.score / nullif(l.best, 0) as words_part, (1 - $10) * m.nearness as meaning_part,
      case
        when w.score is null then coalesce($10 * l.least / nullif(l.best, 0), 0)
        else 0
      end + case
        when m.score is null then (1 - $10) * coalesce(k.least, (select min(o.least) from last_meaning o), 0)
        else 0
      end as unlisted_part,
      -- The chunk that is shown is that of the arm that ranks the source higher.
      coalesce(m.rank < w.rank, w.rank is null and m.rank is not null) as by_meaning,
      n.version as named_version, n.ordinal as named_ordinal, e.version as exact_version,
      e.ordinal as exact_ordinal
    from words w
    full join meaning m using (kind, source_id)
    full join named n using (kind, source_id)
    full join exact e using (kind, source_id)
    left join last_meaning k using (kind)
    cross join last_words l
  ),
  scored as materialized (
    select
      *,
      coalesce(words_part, 0) + coalesce(meaning_part, 0) + unlisted_part + case
        when named then $11::float8
        else 0
      end + case when exact then $17::float8 else 0 end as score,
      case
        when exact then exact_version
        when by_meaning then meaning_version
        else coalesce(words_version, named_version)
      end as version,
      case
        when exact then exact_ordinal
        when by_meaning then meaning_ordinal
        else coalesce(words_ordinal, named_ordinal)
      end as ordinal
    from fused
  ),
  best as materialized (
    select f.*, s.tenant_id, s.title, s.status, s.effective_at, s.words_version as shown_version
    from scored f
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
    order by round(f.score::numeric, 9) desc, f.kind, f.source_id
    limit $8
  )
  select
    best.*, a.number, l.slug as log, c.heading_path, c.char_start, c.char_end,
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
    (select count(*) from words) as words_candidates, (select count(*) from meaning) as meaning_candidates,
    (select max(candidates) from words) as words_looked_at,
    (select bool_and(proved) from words) as words_proved,
    (select jsonb_object_agg(m.kind, m.route) from meaning m) as meaning_routes,
    -- Without headings, whose place the heading path has taken, unless there is nothing else.
    coalesce(nullif(btrim(regexp_replace(c.body, '^ {0,3}#+ .*$', '', 'gn'), E' \n\r\t'), ''), c.body) as body
  from best
  join mv.chunks c on c.tenant_id = best.tenant_id
    and c.kind = best.kind
    and c.source_id = best.source_id
    and c.version = best.version
    and c.ordinal = best.ordinal
  left join app.adrs a on best.kind = 'adr' and a.tenant_id = best.tenant_id and a.adr_id = best.source_id
  left join app.logs l on l.tenant_id = a.tenant_id and l.log_id = a.log_id
  left join app.document_versions d on best.kind = 'document'
    and d.tenant_id = best.tenant_id
    and d.document_id = best.source_id
    and d.version = best.shown_version
  left join app.document_pages p on best.kind = 'document'
    and p.tenant_id = best.tenant_id
    and p.document_id = best.source_id
    and p.version = best.version
  left join app.page_versions g on best.kind = 'page'
    and g.tenant_id = best.tenant_id
    and g.page_id = best.source_id
    and g.version = best.shown_version
  left join app.documents u on d.origin = 'upload'
    and u.tenant_id = d.tenant_id
    and u.document_id = d.document_id
  order by round(best.score::numeric, 9) desc, best.kind, best.source_id
"""
"""The best hits with all that is shown of them: words of the query, kinds and ids of what is allowed or null, whether
by words, embedding space, vector or null, numbers that are named, hits at most, candidates of each arm, the share of
words in a score, the score of a named ADR, the filter that each candidate is asked by or null, kinds and ids of what is
unwanted, a name as a phrase and in one or nulls, the score of what has it, and kinds and ids of what may be found by
words where it was chosen already."""
