-- Documents beside ADRs: what is searched. Uploads and feeds write their texts here, and the flow `index` makes them searchable
-- through the very tables of the ADRs.

-- Append-only, like app.adr_versions. A delete is a new version that says so, with no text.
create table app.document_versions (
    tenant_id    uuid not null references app.tenants,
    document_id  uuid not null,
    version      bigint not null check (version > 0),  -- grows with every change at the source; need not be without gaps
    kind         text not null check (kind in ('create', 'update', 'delete')),
    origin       text not null check (origin in ('upload', 'feed')),
    feed_id      uuid,                             -- of a feed's item: which feed
    external_id  text check (length(external_id) between 1 and 1024),  -- and its name there
    title        text not null check (length(title) <= 1000),
    media_type   text not null check (length(media_type) between 1 and 255),  -- of the original
    uri          text check (length(uri) <= 2048),     -- where people find the original, when it is not here
    body         text not null check (octet_length(body) <= 1048576),  -- plain text or Markdown: 1 MiB, as for an ADR
    effective_at timestamptz not null,
    recorded_at  timestamptz not null default now(),
    traceparent  text,
    primary key (tenant_id, document_id, version),
    check (kind <> 'delete' or body = ''),
    check ((origin = 'feed') = (feed_id is not null and external_id is not null))
);
call app.protect('app.document_versions');
grant select, insert on app.document_versions to adriatic_api;
grant insert on app.document_versions to adriatic_flows;

-- Empty here, so no copy of it is needed: every row that it will have comes after this in the WAL.
alter publication adriatic add table app.document_versions;

-- A text that is searched is an ADR or a document: `adr_id` names either: they are UUIDs, so
-- they never meet. The version of a document is its source's, and may be a time in milliseconds; here, where versions are small numbers,
-- words_version and meaning_version count the versions that were applied, and `source_version` is the one of the source.
alter table mv.search_state
    add column kind text not null default 'adr' check (kind in ('adr', 'document')),
    add column source_version bigint,              -- of words_version, at the source of a document; null for an ADR
    add check ((kind = 'document') = (source_version is not null));
alter table mv.chunks add column source_version bigint;  -- likewise
create index search_state_kind on mv.search_state (tenant_id, adr_id) where kind = 'document';

-- As in 0006_search_functions.sql, but that each kind has the frequencies and lengths of its own: a thousand pages of manuals
-- leave every score of an ADR as it was. Replaced by the role that owns it, which may create in its schema for that moment.
grant create on schema mv to adriatic_search;
set local role adriatic_search;
create or replace function mv.search_words(query text, allowed uuid[], adrs_max integer)
    returns table (adr_id uuid, version integer, ordinal integer, score double precision, terms text[])
    language plpgsql stable security definer rows 100
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    k1 constant double precision := 1.2;
    b constant double precision := 0.75;
    tenant constant uuid := app.current_tenant();
    buckets constant double precision[] := mv.lexeme_count_buckets();
    wanted constant text[] := mv.search_terms(query);
    queries constant tsquery[] := array(select mv.lexeme_query(lexeme) from unnest(wanted) as lexeme);
    in_titles constant tsquery[] := array(select (one::text || ':A')::tsquery from unnest(queries) as one);
    any_wanted constant tsquery := (select string_agg(one::text, ' | ') from unnest(queries) as one)::tsquery;
begin
    if tenant is null or cardinality(wanted) = 0 then
        return;
    end if;
    return query
    with lengths as materialized (
        select c.adr_id, s.kind, sum(c.length)::double precision as length
        from mv.chunks c
        join mv.search_state s on s.tenant_id = c.tenant_id and s.adr_id = c.adr_id and s.words_version = c.version
        where c.tenant_id = tenant and not s.deleted
        group by c.adr_id, s.kind
    ),
    corpus as materialized (
        select kind, count(*)::double precision as texts, greatest(avg(length), 1) as length
        from lengths group by kind
    ),
    matching as materialized (
        select c.adr_id, c.version, c.ordinal, c.length, term.lexeme,
               mv.lexeme_count(c.tsv, term.query, buckets)
                   + case when c.ordinal = 0 and c.tsv @@ term.in_title then 2 else 0 end as count
        from (
            -- One look-up for all words, planned by itself; `offset 0` keeps it from becoming one for each word, whose
            -- cost would be that of all tenants' chunks.
            select adr_id, version, ordinal, length, tsv from mv.chunks
            where tenant_id = tenant and tsv @@ any_wanted offset 0
        ) c
        join unnest(wanted, queries, in_titles) as term (lexeme, query, in_title) on c.tsv @@ term.query
    ),
    found as materialized (
        select m.*, s.kind
        from matching m
        join mv.search_state s on s.tenant_id = tenant and s.adr_id = m.adr_id and s.words_version = m.version
        where not s.deleted
    ),
    counts as (
        select adr_id, kind, lexeme, sum(count)::double precision as count
        from found group by adr_id, kind, lexeme
    ),
    rarity as materialized (
        select kind, lexeme, ln(1 + (min(corpus.texts) - count(*) + 0.5) / (count(*) + 0.5)) as idf
        from counts join corpus using (kind) group by kind, lexeme
    ),
    ranked as materialized (
        -- Rounded, so that the order in which a plan adds up cannot decide a tie.
        select adr_id, array_agg(lexeme order by lexeme) as terms, round(sum(
                   idf * count * (k1 + 1) / (count + k1 * (1 - b + b * lengths.length / corpus.length))
               )::numeric, 9)::double precision as score
        from counts join rarity using (kind, lexeme) join lengths using (adr_id, kind) join corpus using (kind)
        where allowed is null or adr_id = any (allowed)
        group by adr_id
        order by score desc, adr_id
        limit adrs_max
    )
    select distinct on (score, adr_id) adr_id, version, ordinal, score, terms
    from (
        -- A chunk that is hardly more than a heading says nothing to whoever reads it.
        select ranked.adr_id, ranked.score, ranked.terms, version, ordinal, length < 20 as short,
               round(sum(idf * count / (count + k1))::numeric, 9) as weight
        from ranked join found using (adr_id) join rarity using (kind, lexeme)
        group by ranked.adr_id, ranked.score, ranked.terms, version, ordinal, length
    ) chunk
    order by score desc, adr_id, short, weight desc, ordinal;
end
$$;
reset role;
revoke create on schema mv from adriatic_search;

-- As in 0006_search_functions.sql, but that the nearest chunks are taken of each kind: one long document about a matter is not to
-- leave the ADRs about it without a place.
create or replace function mv.search_meaning(embedding_space text, embedding vector, allowed uuid[], chunks_max integer)
    returns table (adr_id uuid, version integer, ordinal integer, score double precision)
    language plpgsql stable rows 100
    set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    tenant constant uuid := app.current_tenant();
begin
    return query
    with candidates as not materialized (
        select s.kind, c.adr_id, c.version, c.ordinal, (e.embedding <=> search_meaning.embedding) + 0 as distance
        from mv.search_state s
        join mv.chunks c on c.tenant_id = s.tenant_id and c.adr_id = s.adr_id and c.version = s.meaning_version
        join mv.embeddings e on e.tenant_id = c.tenant_id and e.text_hash = c.text_hash
        where s.tenant_id = tenant and c.tenant_id = tenant and e.tenant_id = tenant
            and e.space = embedding_space and not s.deleted
            and (allowed is null or s.adr_id = any (allowed))
    ),
    nearest as (
        (select * from candidates where kind = 'adr' order by distance, adr_id, ordinal limit chunks_max)
        union all
        (select * from candidates where kind = 'document' order by distance, adr_id, ordinal limit chunks_max)
    )
    select distinct on (adr_id) adr_id, version, ordinal, 1 - distance
    from nearest order by adr_id, distance, ordinal;
end
$$;
