-- Search: what finds and ranks, for the tenant of the transaction and for nobody else.
--
-- Under row security `tsv @@ query` cannot use its index: the operator is not leakproof, so Postgres runs the policy first,
-- on every row (measured: 19 998 rows read to find 10). Two functions therefore run as `adriatic_search`, a role that nobody
-- can log in as and whose policy on mv.chunks lets every row pass, so that no policy stands before the index. In exchange
-- 1. each of them names the tenant of the transaction in its own predicate, and gives nothing when there is none;
-- 2. each joins mv.search_state, where the policy does bind the role: a forgotten predicate would still find one tenant's
--    rows only. (The join stands apart from the look-up: in one query, the policy of the one table would stand before the
--    index of the other.)
-- 3. nobody inherits the role's rights, not even the owner, and only the API may call the functions.
-- Plans are made for the tenant and the words at hand: a rare word goes through the index, a small tenant through its key.

-- The words of a query, as they are indexed, in the order in which they were written; at most 32, since a query is a
-- sentence and each of them costs a look-up.
create function mv.search_terms(query text) returns text[]
    language sql immutable parallel safe strict
    return array(
        select lexeme from unnest(to_tsvector('pg_catalog.english', query)) order by positions[1], lexeme limit 32);

-- A lexeme as a query for itself, whatever characters it has.
create function mv.lexeme_query(lexeme text) returns tsquery
    language sql immutable parallel safe strict
    return ('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''')::tsquery;

-- How often a lexeme is in a text, up to 64 (BM25 hardly tells 20 from 64).
-- ts_rank with equal weights gives (1 + 1/4 + 1/9 + … + 1/n²) · 6/π² for a lexeme that is there n times; the buckets turn that
-- into n again. Looking into the tsvector with unnest gives the same number at eight times the cost.
create function mv.lexeme_count(tsv tsvector, query tsquery, buckets double precision[]) returns integer
    language sql immutable parallel safe strict
    return width_bucket(ts_rank('{1,1,1,1}'::real[], tsv, query)::double precision, buckets);

create function mv.lexeme_count_buckets() returns double precision[]
    language sql immutable parallel safe
    return array(
        select (sum(1.0 / (n * n)) over (order by n) - 0.5 / (n * n))::double precision / 1.64493406685
        from generate_series(1, 64) as n order by n);

-- By words: Okapi BM25 (k1 = 1.2, b = 0.75) over sources, with the frequencies and lengths of the tenant's own. A word in the
-- title counts three times. `kinds` and `ids`, pair by pair, are what may be found; null is everything. The statistics are of
-- all sources either way, so a filter does not change a score. The chunk named is the one that the words are in most.
-- Measured on 357 ADRs of six repositories, nDCG@10 of finding an ADR by its removed title: ADRs as documents 0.882, chunks
-- as documents 0.870.
-- Each kind has the frequencies and lengths of its own: a thousand pages of manuals leave every score of an ADR as it was.
create function mv.search_words(query text, kinds text[], ids uuid[], sources_max integer)
    returns table (kind text, source_id uuid, version bigint, ordinal integer, score double precision, terms text[])
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
        select kind, source_id, length::double precision as length
        from mv.search_state
        where tenant_id = tenant and not deleted and chunks > 0
    ),
    corpus as materialized (
        select kind, count(*)::double precision as texts, greatest(avg(length), 1) as length
        from lengths group by kind
    ),
    matching as materialized (
        select c.kind, c.source_id, c.version, c.ordinal, c.length, term.lexeme,
               mv.lexeme_count(c.tsv, term.query, buckets)
                   + case when c.ordinal = 0 and c.tsv @@ term.in_title then 2 else 0 end as count
        from (
            -- One look-up for all words, planned by itself; `offset 0` keeps it from becoming one for each word, whose
            -- cost would be that of all tenants' chunks.
            select kind, source_id, version, ordinal, length, tsv from mv.chunks
            where tenant_id = tenant and tsv @@ any_wanted offset 0
        ) c
        join unnest(wanted, queries, in_titles) as term (lexeme, query, in_title) on c.tsv @@ term.query
    ),
    found as materialized (
        select m.*
        from matching m
        join mv.search_state s
            on s.tenant_id = tenant and s.kind = m.kind and s.source_id = m.source_id and s.words_version = m.version
        where not s.deleted
    ),
    counts as (
        select kind, source_id, lexeme, sum(count)::double precision as count
        from found group by kind, source_id, lexeme
    ),
    rarity as materialized (
        select kind, lexeme, ln(1 + (min(corpus.texts) - count(*) + 0.5) / (count(*) + 0.5)) as idf
        from counts join corpus using (kind) group by kind, lexeme
    ),
    ranked as materialized (
        -- Rounded, so that the order in which a plan adds up cannot decide a tie.
        select kind, source_id, array_agg(lexeme order by lexeme) as terms, round(sum(
                   idf * count * (k1 + 1) / (count + k1 * (1 - b + b * lengths.length / corpus.length))
               )::numeric, 9)::double precision as score
        from counts join rarity using (kind, lexeme) join lengths using (kind, source_id) join corpus using (kind)
        where ids is null or (kind, source_id) in (select * from unnest(kinds, ids))
        group by kind, source_id
        order by score desc, kind, source_id
        limit sources_max
    )
    select distinct on (score, kind, source_id) kind, source_id, version, ordinal, score, terms
    from (
        -- A chunk that is hardly more than a heading says nothing to whoever reads it.
        select ranked.kind, ranked.source_id, ranked.score, ranked.terms, version, ordinal, length < 20 as short,
               round(sum(idf * count / (count + k1))::numeric, 9) as weight
        from ranked join found using (kind, source_id) join rarity using (kind, lexeme)
        group by ranked.kind, ranked.source_id, ranked.score, ranked.terms, version, ordinal, length
    ) chunk
    order by score desc, kind, source_id, short, weight desc, ordinal;
end
$$;

-- The sources that have a chunk for which the query holds: what a quoted phrase asks for, and what a minus sign excludes.
create function mv.search_sources_with(query tsquery) returns table (kind text, source_id uuid)
    language plpgsql stable security definer rows 100
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    tenant constant uuid := app.current_tenant();
begin
    if tenant is null then
        return;
    end if;
    return query
    with matching as materialized (
        select c.kind, c.source_id, c.version from mv.chunks c where c.tenant_id = tenant and c.tsv @@ query
    )
    select distinct s.kind, s.source_id
    from matching m
    join mv.search_state s
        on s.tenant_id = tenant and s.kind = m.kind and s.source_id = m.source_id and s.words_version = m.version
    where not s.deleted;
end
$$;

-- By meaning: cosine similarity to the nearest chunk of each source, exact within the tenant, in one embedding space. Runs with
-- the caller's rights: ordering is no condition, so row security costs it nothing. `+ 0` keeps an approximate index out of
-- the plan, which would find neighbours among all tenants first and filter afterwards. A tenant that outgrows the exact
-- scan gets its branch here.
-- The nearest chunks are taken of each kind: one long document about a matter is not to leave the ADRs about it without a place.
create function mv.search_meaning(
        embedding_space text, embedding vector, kinds text[], ids uuid[], chunks_max integer)
    returns table (kind text, source_id uuid, version bigint, ordinal integer, score double precision)
    language plpgsql stable rows 100
    set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    tenant constant uuid := app.current_tenant();
begin
    return query
    with nearest as (
        select candidate.*
        from (select distinct kind from mv.search_state where tenant_id = tenant) k
        cross join lateral (
            select c.kind, c.source_id, c.version, c.ordinal, (e.embedding <=> search_meaning.embedding) + 0 as distance
            from mv.search_state s
            join mv.chunks c
                on c.tenant_id = s.tenant_id and c.kind = s.kind and c.source_id = s.source_id
                and c.version = s.meaning_version
            join mv.embeddings e on e.tenant_id = c.tenant_id and e.text_hash = c.text_hash
            where s.tenant_id = tenant and c.tenant_id = tenant and e.tenant_id = tenant
                and s.kind = k.kind and e.space = embedding_space and not s.deleted
                and (ids is null or (s.kind, s.source_id) in (select * from unnest(kinds, ids)))
            order by distance, c.source_id, c.ordinal
            limit chunks_max
        ) candidate
    )
    select distinct on (kind, source_id) kind, source_id, version, ordinal, 1 - distance
    from nearest order by kind, source_id, distance, ordinal;
end
$$;

revoke execute on function mv.search_words(text, text[], uuid[], integer), mv.search_sources_with(tsquery) from public;
grant execute on function mv.search_words(text, text[], uuid[], integer), mv.search_sources_with(tsquery) to adriatic_api;

-- The owner of a definer function needs to be able to create in its schema, for the moment in which it becomes the owner.
grant create on schema mv to adriatic_search;
alter function mv.search_words(text, text[], uuid[], integer) owner to adriatic_search;
alter function mv.search_sources_with(tsquery) owner to adriatic_search;
revoke create on schema mv from adriatic_search;
