-- Search by meaning in a tenant that has outgrown the exact scan: an index of its own for each (tenant, kind, space), kept by the
-- flows in the transaction in which they make a source findable. Decision 0056 says why it is a table for each, and not one index
-- for all tenants with a filter behind it.

-- The indexes that there are, and how far each of them is. A search takes the one that is `live`; the exact scan without one.
--     filling ─▶ building ─▶ live          Another row of the same tenant, kind and space may be on its way beside a live one.
-- `filling`: sources are written in order, and every change beside it. `building`: nobody writes the table, changes are noted in
-- mv.vector_changes. Whoever changes a state holds mv.vectors_lock() alone; flows hold it shared from keeping to their commit.
create table mv.vector_indexes (
    tenant_id  uuid not null,
    slot       integer not null,                   -- the partition of mv.vectors; never used again
    kind       text not null,
    space      text not null references mv.embedding_spaces,
    state      text not null check (state in ('filling', 'building', 'live')),
    filled_to  uuid,                               -- sources up to this one are in it; null: none so far
    passages   bigint not null default 0,          -- rows in the partition: texts of a source that are equal are one
    removed    bigint not null default 0,          -- rows deleted since it was filled: the graph has lost as many
    begun_at   timestamptz not null default clock_timestamp(),
    live_at    timestamptz,
    build_ms   bigint,                             -- of the graph alone
    bytes      bigint,                             -- of the graph, when it was built; null: it is not
    primary key (tenant_id, slot)
);
create unique index vector_indexes_live on mv.vector_indexes (tenant_id, kind, space) where state = 'live';
create unique index vector_indexes_coming on mv.vector_indexes (tenant_id, kind, space) where state <> 'live';
call app.protect('mv.vector_indexes');
grant select on mv.vector_indexes to adriatic_api;
grant insert, update, delete on mv.vector_indexes to adriatic_flows;

create sequence mv.vector_slots as integer;
grant usage on sequence mv.vector_slots to adriatic_flows;

-- The vectors of what a kind's sources show by meaning, by text: an edit that leaves a passage as it was leaves its row and
-- its place in the graph. Half precision finds candidates; their order is made with mv.embeddings.
create table mv.vectors (
    tenant_id uuid not null,
    slot      integer not null,
    source_id uuid not null,
    text_hash bytea not null,
    embedding halfvec not null,
    primary key (tenant_id, slot, source_id, text_hash)
) partition by list (slot);
call app.protect('mv.vectors');
grant select on mv.vectors to adriatic_api;
grant insert, update, delete on mv.vectors to adriatic_flows;

-- Sources that changed while their index was built.
create table mv.vector_changes (
    tenant_id uuid not null,
    slot      integer not null,
    source_id uuid not null,
    primary key (tenant_id, slot, source_id)
);
call app.protect('mv.vector_changes');
grant insert, update, delete on mv.vector_changes to adriatic_flows;

-- What the index finds of what the exact scan finds, measured with passages of the tenant itself as queries; the newest look.
create table mv.search_recall (
    tenant_id   uuid not null,
    kind        text not null,
    space       text not null references mv.embedding_spaces,
    slot        integer not null,
    queries     integer not null,
    recall      double precision not null,         -- of the ten nearest, on average
    measured_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, kind, space)
);
call app.protect('mv.search_recall');
grant select on mv.search_recall to adriatic_api;
grant insert, update, delete on mv.search_recall to adriatic_flows;

-- The advisory lock of all states in mv.vector_indexes.
create function mv.vectors_lock() returns bigint language sql immutable return 4271003;

-- --- tables and graphs, which the owner alone may make ----------------------------------------------------------------

create function mv.make_vector_table(slot integer) returns void
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    name constant text := format('mv.vectors_%s', slot);
begin
    -- Made beside the parent and then attached: nobody who reads another partition waits.
    execute format('create table %s (like mv.vectors including all)', name);
    execute format('call app.protect(%L)', name);
    execute format('alter table mv.vectors attach partition %s for values in (%s)', name, slot);
end
$$;

-- The graph, with as much memory as it needs and is allowed: one that does not fit is built many times slower.
create function mv.build_vector_graph(slot integer, dimension integer, memory_mb integer) returns void
    language plpgsql security definer
    set search_path = pg_catalog, public, pg_temp
    set max_parallel_maintenance_workers = 1
as $$
begin
    perform set_config('maintenance_work_mem', memory_mb || 'MB', true);
    execute format(
        'create index if not exists vectors_%1$s_graph on mv.vectors_%1$s '
        'using hnsw ((embedding::halfvec(%2$s)) halfvec_cosine_ops) with (m = 16, ef_construction = 64)', slot, dimension);
end
$$;

-- Drop a table that no row of mv.vector_indexes names any more. False when somebody reads: nobody waits behind it for long.
create function mv.drop_vector_table(slot integer) returns boolean
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set lock_timeout = '200ms'
as $$
begin
    execute format('drop table mv.vectors_%s', slot);
    return true;
exception when lock_not_available then
    return false;
end
$$;

-- The size of an index's graph; null: it is not built.
create function mv.vector_graph_bytes(slot integer) returns bigint
    language sql stable
    set search_path = pg_catalog, pg_temp
    return pg_relation_size(to_regclass(format('mv.vectors_%s_graph', slot)));

revoke execute on function
    mv.make_vector_table(integer), mv.build_vector_graph(integer, integer, integer), mv.drop_vector_table(integer) from public;
grant execute on function
    mv.make_vector_table(integer), mv.build_vector_graph(integer, integer, integer), mv.drop_vector_table(integer)
    to adriatic_flows;

-- --- keeping ----------------------------------------------------------------------------------------------------------

-- Make the rows of these sources what they show by meaning, and count. Again changes nothing.
create function mv.write_vectors(tenant uuid, of_slot integer, of_kind text, of_space text, sources uuid[]) returns void
    language plpgsql volatile
    set plan_cache_mode = force_custom_plan
as $$
begin
    with wanted as materialized (
        select distinct c.source_id, c.text_hash
        from mv.search_state s
        join mv.chunks c
            on c.tenant_id = s.tenant_id and c.kind = s.kind and c.source_id = s.source_id and c.version = s.meaning_version
        where s.tenant_id = tenant and s.kind = of_kind and s.source_id = any (sources) and not s.deleted
    ),
    gone as (
        delete from mv.vectors v
        where v.tenant_id = tenant and v.slot = of_slot and v.source_id = any (sources)
            and not exists (select from wanted w where w.source_id = v.source_id and w.text_hash = v.text_hash)
        returning 1
    ),
    come as (
        insert into mv.vectors (tenant_id, slot, source_id, text_hash, embedding)
        select tenant, of_slot, w.source_id, w.text_hash, e.embedding::halfvec
        from wanted w
        join mv.embeddings e on e.tenant_id = tenant and e.space = of_space and e.text_hash = w.text_hash
        join mv.embedding_spaces p on p.space = e.space and p.dimension = vector_dims(e.embedding)
        on conflict do nothing
        returning 1
    ),
    counted as (select (select count(*) from come) as come, (select count(*) from gone) as gone)
    update mv.vector_indexes i
    set passages = i.passages + counted.come - counted.gone,
        removed = i.removed + case i.state when 'filling' then 0 else counted.gone end
    from counted
    where i.tenant_id = tenant and i.slot = of_slot and counted.come + counted.gone > 0;
end
$$;

-- What a flow calls last, with every source whose passages or state it has changed, in the transaction that changed them.
create function mv.keep_vectors(tenants uuid[], kinds text[], sources uuid[]) returns void
    language plpgsql volatile
as $$
declare
    one record;
    changed uuid[];
begin
    perform pg_advisory_xact_lock_shared(mv.vectors_lock());
    for one in
        select i.* from mv.vector_indexes i where i.tenant_id = any (tenants) order by i.tenant_id, i.slot
    loop
        changed := array(
            select distinct c.source_id
            from unnest(tenants, kinds, sources) as c (tenant_id, kind, source_id)
            where c.tenant_id = one.tenant_id and c.kind = one.kind
        );
        continue when cardinality(changed) = 0;
        if one.state = 'building' then
            insert into mv.vector_changes (tenant_id, slot, source_id)
            select one.tenant_id, one.slot, unnest(changed)
            on conflict do nothing;
        else
            perform mv.write_vectors(one.tenant_id, one.slot, one.kind, one.space, changed);
        end if;
    end loop;
end
$$;

-- --- building: each function is one step, in one transaction, and can be called again ---------------------------------

-- Begin an index. From its commit on every flow keeps it: the lock waits for those that did not see it.
create function mv.begin_vectors(tenant uuid, of_kind text, of_space text) returns integer
    language plpgsql volatile
as $$
declare
    made integer;
begin
    perform pg_advisory_xact_lock(mv.vectors_lock());
    made := nextval('mv.vector_slots');
    perform mv.make_vector_table(made);
    insert into mv.vector_indexes (tenant_id, slot, kind, space, state) values (tenant, made, of_kind, of_space, 'filling');
    return made;
end
$$;

-- Lock sources in the order that every flow locks them in.
create function mv.lock_sources(tenant uuid, of_kind text, sources uuid[]) returns void
    language plpgsql volatile
as $$
begin
    perform from mv.search_state s
    where s.tenant_id = tenant and s.kind = of_kind and s.source_id = any (sources)
    order by s.tenant_id, s.kind, s.source_id
    for update of s;
end
$$;

-- Fill in the next sources. False when there are none left: then the table waits for its graph, and nobody writes it.
create function mv.fill_vectors(tenant uuid, of_slot integer, sources_max integer) returns boolean
    language plpgsql volatile
as $$
declare
    one mv.vector_indexes;
    next uuid[];
begin
    select * into one from mv.vector_indexes i where i.tenant_id = tenant and i.slot = of_slot and i.state = 'filling';
    if not found then
        return false;
    end if;
    next := array(
        select s.source_id
        from mv.search_state s
        where s.tenant_id = tenant and s.kind = one.kind and (one.filled_to is null or s.source_id > one.filled_to)
        order by s.source_id
        limit sources_max
    );
    if cardinality(next) = 0 then
        perform pg_advisory_xact_lock(mv.vectors_lock());
        update mv.vector_indexes set state = 'building' where tenant_id = tenant and slot = of_slot;
        return false;
    end if;
    perform mv.lock_sources(tenant, one.kind, next);
    perform mv.keep_vectors(array_fill(tenant, array[cardinality(next)]), array_fill(one.kind, array[cardinality(next)]), next);
    update mv.vector_indexes set filled_to = next[cardinality(next)] where tenant_id = tenant and slot = of_slot;
    return true;
end
$$;

-- Write what changed meanwhile. False when so little is left that flows may wait for it.
create function mv.catch_up_vectors(tenant uuid, of_slot integer, sources_max integer) returns boolean
    language plpgsql volatile
as $$
declare
    one mv.vector_indexes;
    next uuid[];
begin
    select * into one from mv.vector_indexes i where i.tenant_id = tenant and i.slot = of_slot and i.state = 'building';
    next := array(
        select c.source_id from mv.vector_changes c
        where c.tenant_id = tenant and c.slot = of_slot
        order by c.source_id
        limit sources_max + 1
    );
    if cardinality(next) <= sources_max then
        return false;
    end if;
    -- First the source and then its note, as flows do.
    perform mv.lock_sources(tenant, one.kind, next);
    delete from mv.vector_changes where tenant_id = tenant and slot = of_slot and source_id = any (next);
    perform mv.write_vectors(tenant, of_slot, one.kind, one.space, next);
    return true;
end
$$;

-- Write the last changes, and let searches take it instead of the one before. False when more came: catch up again. No source
-- is locked here: a flow that has changed one and not kept it yet waits for the lock, and then finds the index live.
create function mv.put_live_vectors(tenant uuid, of_slot integer, sources_max integer) returns boolean
    language plpgsql volatile
as $$
declare
    one mv.vector_indexes;
    next uuid[];
begin
    perform pg_advisory_xact_lock(mv.vectors_lock());
    select * into one from mv.vector_indexes i where i.tenant_id = tenant and i.slot = of_slot and i.state = 'building';
    if not found then
        return true;
    end if;
    next := array(
        select c.source_id from mv.vector_changes c where c.tenant_id = tenant and c.slot = of_slot limit sources_max + 1);
    if cardinality(next) > sources_max then
        return false;
    end if;
    perform mv.write_vectors(tenant, of_slot, one.kind, one.space, next);
    delete from mv.vector_changes where tenant_id = tenant and slot = of_slot;
    delete from mv.vector_indexes
    where tenant_id = tenant and kind = one.kind and space = one.space and state = 'live';
    update mv.vector_indexes
    set state = 'live', removed = 0, live_at = clock_timestamp()
    where tenant_id = tenant and slot = of_slot;
    return true;
end
$$;

-- Leave an index: searches are exact again from the commit on. Its table is dropped when nobody reads it.
create function mv.leave_vectors(tenant uuid, of_slot integer) returns void
    language plpgsql volatile
as $$
begin
    perform pg_advisory_xact_lock(mv.vectors_lock());
    delete from mv.vector_changes where tenant_id = tenant and slot = of_slot;
    delete from mv.search_recall where tenant_id = tenant and slot = of_slot;
    delete from mv.vector_indexes where tenant_id = tenant and slot = of_slot;
end
$$;

-- --- finding ----------------------------------------------------------------------------------------------------------

-- The nearest texts by the graph of one index, about in order. The ordering is no condition, so row security costs nothing here,
-- and every row that the graph gives is this tenant's. With a filter the graph is walked on until enough pass, or until
-- 20 000 rows were looked at.
create function mv.vectors_by_graph(
        tenant uuid, of_slot integer, dimension integer, of_kind text, query halfvec, filter jsonb, texts_max integer)
    returns table (source_id uuid, text_hash bytea)
    language plpgsql stable rows 200
    -- Any plan that sorts reads everything.
    set enable_sort = off
    set enable_seqscan = off
    set enable_bitmapscan = off
as $$
begin
    perform set_config('hnsw.ef_search', '200', true), set_config('hnsw.iterative_scan', 'relaxed_order', true),
        set_config('hnsw.max_scan_tuples', '20000', true), set_config('hnsw.scan_mem_multiplier', '8', true);
    return query execute format(
        'select v.source_id, v.text_hash from mv.vectors v '
        'where v.slot = %1$s and v.tenant_id = $1 %3$s '
        'order by v.embedding::halfvec(%2$s) <=> $4::halfvec(%2$s) limit $5',
        of_slot, dimension, case when filter is not null then 'and mv.search_passes($2, $3, v.source_id)' end)
        using tenant, filter, of_kind, query, texts_max;
end
$$;

-- The nearest texts of one index by comparing all, or those of `ids`. A filter is asked from the nearest on, 100 000 times at
-- most: a search that asks more often than that takes longer than anybody waits.
create function mv.vectors_by_scan(
        tenant uuid, of_slot integer, of_kind text, query halfvec, ids uuid[], filter jsonb, texts_max integer)
    returns table (source_id uuid, text_hash bytea)
    language plpgsql stable rows 200
    set plan_cache_mode = force_custom_plan
as $$
begin
    if ids is not null then
        return query
        select v.source_id, v.text_hash
        from mv.vectors v
        where v.slot = of_slot and v.tenant_id = tenant and v.source_id = any (ids)
        order by (v.embedding <=> query) + 0
        limit texts_max;
    else
        return query
        select near.source_id, near.text_hash
        from (
            select v.source_id, v.text_hash
            from mv.vectors v
            where v.slot = of_slot and v.tenant_id = tenant
            order by (v.embedding <=> query) + 0
            limit case when filter is null then texts_max else 100000 end
        ) near
        where mv.search_passes(filter, of_kind, near.source_id)
        limit texts_max;
    end if;
end
$$;

-- The nearest passages of one kind without an index: exact.
create function mv.nearest_exact(
        of_kind text, of_space text, query vector, ids uuid[], filter jsonb, chunks_max integer)
    returns table (source_id uuid, version bigint, ordinal integer, distance double precision)
    language plpgsql stable rows 100
    set plan_cache_mode = force_custom_plan
as $$
declare
    tenant constant uuid := app.current_tenant();
begin
    -- `+ 0`: of no index's order, whatever indexes there are.
    return query
    select near.source_id, near.version, near.ordinal, near.distance
    from (
        select c.source_id, c.version, c.ordinal, (e.embedding <=> query) + 0 as distance
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
    returns table (source_id uuid, version bigint, ordinal integer, distance double precision)
    language sql stable rows 100
as $$
    select c.source_id, c.version, c.ordinal, (e.embedding <=> query) + 0 as distance
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

-- By meaning: cosine similarity to the nearest chunk of each source, in one embedding space. `kinds` and `ids`, pair by pair, are
-- what may be found, null is everything; else `filter` (mv.search_passes) is asked of each candidate. Of each kind the nearest chunks
-- are taken: one long document about a matter is not to leave the ADRs about it without a place.
-- `route`: `exact`; `index`, where the kind has a live one (mv.vector_indexes); `index, then exact`, where it gave too few.
-- Runs with the caller's rights.
drop function mv.search_meaning(text, vector, text[], uuid[], integer);
create function mv.search_meaning(
        embedding_space text, embedding vector, kinds text[], ids uuid[], filter jsonb, chunks_max integer)
    returns table (kind text, source_id uuid, version bigint, ordinal integer, score double precision, route text)
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
            select distinct on (n.source_id) one, n.source_id, n.version, n.ordinal, 1 - n.distance, 'exact'
            from mv.nearest_exact(one, embedding_space, search_meaning.embedding, allowed, filter, chunks_max) n
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
        select distinct on (n.source_id) one, n.source_id, n.version, n.ordinal, 1 - n.distance, way
        from mv.measured_passages(one, embedding_space, search_meaning.embedding, sources, hashes, chunks_max) n
        order by n.source_id, n.distance, n.ordinal;
    end loop;
end
$$;

-- --- knowing ----------------------------------------------------------------------------------------------------------

-- Recall of a live index: for texts of its own, drawn by chance, how many of the ten others that are nearest it finds. One as
-- near as the tenth counts, whichever it is: equal texts are equally right.
create function mv.measure_recall(tenant uuid, of_slot integer, queries_max integer)
    returns table (queries integer, recall double precision)
    language plpgsql volatile
    set plan_cache_mode = force_custom_plan
as $$
declare
    one mv.vector_indexes;
    dimension integer;
begin
    select * into one from mv.vector_indexes i where i.tenant_id = tenant and i.slot = of_slot and i.state = 'live';
    select p.dimension into dimension from mv.embedding_spaces p where p.space = one.space;
    return query
    with drawn as materialized (
        select v.source_id, v.text_hash, v.embedding
        from mv.vectors v tablesample system (least(100, 1000.0 * queries_max / greatest(one.passages, 1)))
        where v.slot = of_slot and v.tenant_id = tenant
        order by random()
        limit queries_max
    ),
    compared as materialized (
        select
            (
                select max(best.distance)
                from (
                    select (v.embedding <=> d.embedding) + 0 as distance
                    from mv.vectors v
                    where v.slot = of_slot and v.tenant_id = tenant
                        and (v.source_id, v.text_hash) <> (d.source_id, d.text_hash)
                    order by 1
                    limit 10
                ) best
            ) as tenth,
            array(
                select f.embedding <=> d.embedding
                from mv.vectors_by_graph(tenant, of_slot, dimension, one.kind, d.embedding, null, 200) g
                join mv.vectors f
                    on f.tenant_id = tenant and f.slot = of_slot and f.source_id = g.source_id and f.text_hash = g.text_hash
                where (g.source_id, g.text_hash) <> (d.source_id, d.text_hash)
                order by 1
                limit 10
            ) as distances
        from drawn d
    )
    select
        count(*)::integer,
        avg((select count(*) from unnest(c.distances) as near (distance) where near.distance <= c.tenth + 1e-6)
            / least(10.0, one.passages - 1))::double precision
    from compared c;
end
$$;
