-- How near a source is in meaning is said by its two nearest passages: one alone may be near by chance.

drop function mv.nearest_exact(text, text, vector, uuid[], jsonb, integer);
drop function mv.measured_passages(text, text, vector, uuid[], bytea[], integer);
drop function mv.search_meaning(text, vector, text[], uuid[], jsonb, integer);

-- The nearest passages of one kind without an index: exact. `alone`: the source has no other passage.
create function mv.nearest_exact(
        of_kind text, of_space text, query vector, ids uuid[], filter jsonb, chunks_max integer)
    returns table (source_id uuid, version bigint, ordinal integer, distance double precision, alone boolean)
    language plpgsql stable rows 100
    set plan_cache_mode = force_custom_plan
as $$
declare
    tenant constant uuid := app.current_tenant();
begin
    -- `+ 0`: of no index's order, whatever indexes there are.
    return query
    select near.source_id, near.version, near.ordinal, near.distance, near.alone
    from (
        select c.source_id, c.version, c.ordinal, (e.embedding <=> query) + 0 as distance, s.chunks = 1 as alone
        from mv.search_state s
        join mv.chunks c
            on c.tenant_id = s.tenant_id and c.kind = s.kind and c.source_id = s.source_id and c.version = s.meaning_version
        join mv.embeddings e on e.tenant_id = c.tenant_id and e.text_hash = c.text_hash
        where s.tenant_id = tenant and c.tenant_id = tenant and e.tenant_id = tenant
            and s.kind = of_kind and e.space = of_space and not s.deleted
            and (ids is null or s.source_id = any (ids))
        order by distance, c.source_id, c.ordinal
        limit case when filter is null then chunks_max else 100000 end
    ) near
    where filter is null or mv.search_passes(filter, of_kind, near.source_id)
    limit chunks_max;
end
$$;

-- The passages of these texts, with their exact distance.
create function mv.measured_passages(
        of_kind text, of_space text, query vector, sources uuid[], hashes bytea[], chunks_max integer)
    returns table (source_id uuid, version bigint, ordinal integer, distance double precision, alone boolean)
    language sql stable rows 100
as $$
    select c.source_id, c.version, c.ordinal, (e.embedding <=> query) + 0 as distance, s.chunks = 1
    from unnest(sources, hashes) as near (source_id, text_hash)
    join mv.search_state s on s.tenant_id = app.current_tenant() and s.kind = of_kind and s.source_id = near.source_id
    join mv.chunks c
        on c.tenant_id = s.tenant_id and c.kind = s.kind and c.source_id = s.source_id and c.version = s.meaning_version
        and c.text_hash = near.text_hash
    join mv.embeddings e on e.tenant_id = s.tenant_id and e.space = of_space and e.text_hash = near.text_hash
    where not s.deleted
    order by distance, c.source_id, c.ordinal
    limit chunks_max
$$;

-- By meaning: cosine similarity to the nearest chunk of each source (`score`) and to the one behind it (`second`), in one embedding
-- space. A source that has one chunk is as near by it twice; one whose second is not among the chunks that are taken is at most as near
-- as the last of these. `kinds` and `ids`, pair by pair, are what may be found, null is everything; else `filter` (mv.search_passes) is
-- asked of each candidate. Of each kind the nearest chunks are taken: one long document about a matter is not to leave the ADRs about it
-- without a place. `route`: `exact`; `index`, where the kind has a live one (mv.vector_indexes); `index, then exact`, where it gave too
-- few. Runs with the caller's rights.
create function mv.search_meaning(
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
            from mv.vectors_by_graph(
                tenant, slot, vector_dims(search_meaning.embedding), one, half, filter, chunks_max * 2) v;
            if coalesce(cardinality(sources), 0) < least(chunks_max, there) then
                way := 'index, then exact';
            end if;
        end if;
        if way <> 'index' then
            select array_agg(v.source_id), array_agg(v.text_hash) into sources, hashes
            from mv.vectors_by_scan(tenant, slot, one, half, allowed, filter, chunks_max * 2) v;
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
