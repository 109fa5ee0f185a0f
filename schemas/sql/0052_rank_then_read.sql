-- A search by words ranks sources first, and looks for the passage that is shown only in those that are shown: of a hundred candidates
-- with twenty passages each, ten are. `mv.search_words` is both of all candidates, as the reference is compared with.

-- The sources with the best scores by words. `wanted`: the words that they were ranked by, which `mv.word_passages` takes. `ordinal`
-- and `terms`: the passage to show and its words, where the ranking knows them already; null elsewhere.
create function mv.rank_words(query text, kinds text[], ids uuid[], filter jsonb, sources_max integer)
    returns table (
        kind text, source_id uuid, score double precision, candidates integer, proved boolean, wanted text[], ordinal integer,
        terms text[])
    language plpgsql stable rows 100
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    proved_max constant integer := 10;
    -- Candidates that a filter is asked about, best first: each is a look-up of its own.
    filtered_max constant integer := 2000;
    -- Sources of a tenant for which the loose forms are what they are in the reference.
    exact_max constant integer := 4000;
    tenant constant uuid := app.current_tenant();
    exact constant text[] := mv.search_terms(query);
    asked text[] := exact;
    loose boolean := exists (select from unnest(exact) as lexeme where mv.is_half_a_pair(lexeme));
begin
    loop
        if loose then
            if (select sum(t.sources) from mv.word_totals t where t.tenant_id = tenant) <= exact_max then
                return query
                select e.kind, e.source_id, e.score, null::integer, true, asked, e.ordinal, e.terms
                from mv.search_words_exact(query, kinds, ids, case when filter is null then sources_max else exact_max end) as e
                where filter is null or mv.search_passes(filter, e.kind, e.source_id)
                order by e.score desc, e.kind, e.source_id
                limit sources_max;
                return;
            end if;
            asked := mv.word_beginnings(
                case when asked = exact and exists (select from unnest(exact) as lexeme where mv.is_half_a_pair(lexeme))
                    then exact else mv.search_beginnings(exact) end);
        end if;
        return query
        select r.kind, r.source_id, r.score, r.candidates, r.proved and filter is null, asked, null::integer, null::text[]
        from mv.rank_by_words(
            asked, kinds, ids, filter ->> 'kind',
            case when filter is null then sources_max else filtered_max end,
            case when filter is null then proved_max else filtered_max end) as r
        where filter is null or mv.search_passes(filter, r.kind, r.source_id)
        order by r.score desc, r.kind, r.source_id
        limit sources_max;
        exit when found or loose;
        loose := true;
    end loop;
end
$$;
revoke execute on function mv.rank_words(text, text[], uuid[], jsonb, integer) from public;
grant execute on function mv.rank_words(text, text[], uuid[], jsonb, integer) to adriatic_api;

-- The passage of each of these sources that says most of the words, and which of the words its passages have. A source without any of
-- them has no row.
create function mv.word_passages(wanted text[], kinds text[], ids uuid[])
    returns table (kind text, source_id uuid, version bigint, ordinal integer, terms text[])
    language plpgsql stable rows 100
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    tenant constant uuid := app.current_tenant();
    buckets constant double precision[] := mv.lexeme_count_buckets();
begin
    return query
    with known as materialized (
        select t.kind, t.idf, one.lexeme, one.query, (one.query::text || ':A')::tsquery as in_title
        from mv.word_terms(wanted, null) as t
        cross join lateral (
            select wanted[t.n] as lexeme, mv.lexeme_query(wanted[t.n]) as query offset 0
        ) as one
    ),
    chunks as materialized (
        select s.kind, s.source_id, c.version, c.ordinal, c.length, c.tsv
        from unnest(kinds, ids) as shown (kind, source_id)
        join mv.search_state s on s.tenant_id = tenant and s.kind = shown.kind and s.source_id = shown.source_id
        join mv.chunks c on c.tenant_id = tenant
            and c.kind = s.kind and c.source_id = s.source_id and c.version = s.words_version
    ),
    passages as materialized (
        select c.kind, c.source_id, c.version, c.ordinal, c.length, k.lexeme, k.idf,
            greatest(mv.lexeme_count(c.tsv, k.query, buckets), 0.25)
                + case when c.ordinal = 0 and c.tsv @@ k.in_title then 2 else 0 end as count
        from chunks c
        join known k on k.kind = c.kind and c.tsv @@ k.query
    ),
    weighed as materialized (
        -- A chunk that is hardly more than a heading says nothing to whoever reads it.
        select p.kind, p.source_id, p.version, p.ordinal, p.length < 20 as short,
            round(sum(p.idf * p.count / (p.count + 1.2))::numeric, 9) as weight
        from passages p
        group by p.kind, p.source_id, p.version, p.ordinal, p.length
    ),
    said as materialized (
        select p.kind, p.source_id, array_agg(distinct p.lexeme order by p.lexeme) as terms
        from passages p group by p.kind, p.source_id
    )
    select distinct on (w.kind, w.source_id) w.kind, w.source_id, w.version, w.ordinal, said.terms
    from weighed w
    join said on said.kind = w.kind and said.source_id = w.source_id
    order by w.kind, w.source_id, w.short, w.weight desc, w.ordinal;
end
$$;
revoke execute on function mv.word_passages(text[], text[], uuid[]) from public;
grant execute on function mv.word_passages(text[], text[], uuid[]) to adriatic_api;

create or replace function mv.search_words(query text, kinds text[], ids uuid[], filter jsonb, sources_max integer)
    returns table (
        kind text, source_id uuid, version bigint, ordinal integer, score double precision, terms text[], candidates integer,
        proved boolean)
    language sql stable rows 100
    set search_path = pg_catalog, pg_temp
as $$
    with ranked as materialized (
        select * from mv.rank_words(query, kinds, ids, filter, sources_max)
    ),
    listed as materialized (
        select min(r.wanted) as wanted, array_agg(r.kind) as kinds, array_agg(r.source_id) as ids from ranked r
    ),
    said as materialized (
        select p.* from listed l, mv.word_passages(l.wanted, l.kinds, l.ids) as p
    )
    select r.kind, r.source_id, s.words_version, coalesce(r.ordinal, p.ordinal), r.score, coalesce(r.terms, p.terms),
        r.candidates, r.proved
    from ranked r
    join mv.search_state s on s.tenant_id = app.current_tenant() and s.kind = r.kind and s.source_id = r.source_id
    left join said p on p.kind = r.kind and p.source_id = r.source_id
    where coalesce(r.ordinal, p.ordinal) is not null
    order by r.score desc, r.kind, r.source_id
$$;

-- As before, with fewer look-ups: each takes 30 microseconds, more than half of what a search by meaning of a million passages took.
create or replace function mv.search_meaning(
        embedding_space text, embedding vector, kinds text[], ids uuid[], filter jsonb, chunks_max integer)
    returns table (
        kind text, source_id uuid, version bigint, ordinal integer, score double precision, route text, second double precision)
    language plpgsql stable rows 100
    set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    tenant constant uuid := app.current_tenant();
    half constant halfvec := search_meaning.embedding::halfvec;
    -- Texts that are looked up in full precision: what half precision puts in another place is near the last of them. The walk
    -- through the graph has 400 candidates for these (mv.vectors_by_graph).
    texts_max constant integer := chunks_max + 20;
    one text := '';
    allowed uuid[];
    slot integer;
    there bigint;
    sources uuid[];
    hashes bytea[];
    way text;
begin
    loop
        -- Kind by kind through the key: a tenant's rows are not counted to find out which kinds they are of.
        one := (select min(s.kind) from mv.search_state s where s.tenant_id = tenant and s.kind > one);
        exit when one is null;
        continue when filter ->> 'kind' <> one;
        if ids is not null then
            allowed := array(select p.id from unnest(kinds, ids) as p (kind, id) where p.kind = one);
            continue when cardinality(allowed) = 0;
        end if;
        slot := null;
        select i.slot, i.passages into slot, there from mv.vector_indexes i
        where i.tenant_id = tenant and i.kind = one and i.space = embedding_space and i.state = 'live';
        if slot is null then
            return query
            select distinct on (n.source_id) one, n.source_id, n.version, n.ordinal, 1 - n.distance, 'exact',
                1 - case when n.alone then n.distance else coalesce(lead(n.distance) over near, max(n.distance) over ()) end
            from mv.nearest_exact(one, embedding_space, search_meaning.embedding, allowed, filter, chunks_max) n
            window near as (partition by n.source_id order by n.distance, n.ordinal)
            order by n.source_id, n.distance, n.ordinal;
            continue;
        end if;
        way := 'exact';
        if ids is null then
            way := 'index';
            select array_agg(v.source_id), array_agg(v.text_hash) into sources, hashes
            from mv.vectors_by_graph(tenant, slot, vector_dims(search_meaning.embedding), one, half, filter, texts_max) v;
            if coalesce(cardinality(sources), 0) < least(chunks_max, there) then
                way := 'index, then exact';
            end if;
        end if;
        if way <> 'index' then
            select array_agg(v.source_id), array_agg(v.text_hash) into sources, hashes
            from mv.vectors_by_scan(tenant, slot, one, half, allowed, filter, texts_max) v;
        end if;
        return query
        select distinct on (n.source_id) one, n.source_id, n.version, n.ordinal, 1 - n.distance, way,
            1 - case when n.alone then n.distance else coalesce(lead(n.distance) over near, max(n.distance) over ()) end
        from mv.measured_passages(one, embedding_space, search_meaning.embedding, sources, hashes, chunks_max) n
        window near as (partition by n.source_id order by n.distance, n.ordinal)
        order by n.source_id, n.distance, n.ordinal;
    end loop;
end
$$;

-- As before, with twice as many candidates in the walk: a query that lies far from every passage is found its neighbours by no fewer.
create or replace function mv.vectors_by_graph(
        tenant uuid, of_slot integer, dimension integer, of_kind text, query halfvec, filter jsonb, texts_max integer)
    returns table (source_id uuid, text_hash bytea)
    language plpgsql stable rows 200
    -- Any plan that sorts reads everything.
    set enable_sort = off
    set enable_seqscan = off
    set enable_bitmapscan = off
as $$
begin
    perform set_config('hnsw.ef_search', '400', true), set_config('hnsw.iterative_scan', 'relaxed_order', true),
        set_config('hnsw.max_scan_tuples', '20000', true), set_config('hnsw.scan_mem_multiplier', '8', true);
    return query execute format(
        'select v.source_id, v.text_hash from mv.vectors v '
        'where v.slot = %1$s and v.tenant_id = $1 %3$s '
        'order by v.embedding::halfvec(%2$s) <=> $4::halfvec(%2$s) limit $5',
        of_slot, dimension, case when filter is not null then 'and mv.search_passes($2, $3, v.source_id)' end)
        using tenant, filter, of_kind, query, texts_max;
end
$$;

-- As before, with more neighbours for each passage: what lies far from all others is found too. A graph that is there stays as it is.
create or replace function mv.build_vector_graph(slot integer, dimension integer, memory_mb integer) returns void
    language plpgsql security definer
    set search_path = pg_catalog, public, pg_temp
    set max_parallel_maintenance_workers = 1
as $$
begin
    perform set_config('maintenance_work_mem', memory_mb || 'MB', true);
    execute format(
        'create index if not exists vectors_%1$s_graph on mv.vectors_%1$s '
        'using hnsw ((embedding::halfvec(%2$s)) halfvec_cosine_ops) with (m = 24, ef_construction = 128)', slot, dimension);
end
$$;
