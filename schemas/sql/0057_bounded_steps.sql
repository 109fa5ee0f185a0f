-- A step of an index holds the rows of its sources, and the flow that embeds waits for them: bounded by passages, because a source may have
-- one of them or thousands. And a look-up stays one while the statistics of a table that is being filled are those of an empty one.

-- Make the rows of these sources what they show by meaning, and count. Again changes nothing.
create or replace function mv.write_vectors(tenant uuid, of_slot integer, of_kind text, of_space text, sources uuid[]) returns void
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
        cross join lateral (
            select e.embedding
            from mv.embeddings e
            where e.tenant_id = tenant and e.space = of_space and e.text_hash = w.text_hash
            offset 0                   -- not joined in another order
        ) e
        join mv.embedding_spaces p on p.space = of_space and p.dimension = vector_dims(e.embedding)
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

-- The first of these sources, in order: one, and as many more as begin below `passages_max`.
create function mv.within_passages(tenant uuid, of_kind text, sources uuid[], passages_max integer) returns uuid[]
    language sql stable
as $$
    select coalesce(array_agg(b.source_id order by b.source_id) filter (where b.passages_before < passages_max), '{}')
    from (
        select u.source_id,
            sum(greatest(s.chunks, 1)) over (order by u.source_id) - greatest(s.chunks, 1) as passages_before
        from unnest(sources) as u (source_id)
        left join mv.search_state s on s.tenant_id = tenant and s.kind = of_kind and s.source_id = u.source_id
    ) b
$$;

-- Fill in the next sources: the first, and as many more as begin below `passages_max`. False when there are none left: then the table
-- waits for its graph, and nobody writes it.
drop function mv.fill_vectors(uuid, integer, integer);
create function mv.fill_vectors(tenant uuid, of_slot integer, passages_max integer) returns boolean
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
    next := mv.within_passages(tenant, one.kind, array(
        select s.source_id
        from mv.search_state s
        where s.tenant_id = tenant and s.kind = one.kind and (one.filled_to is null or s.source_id > one.filled_to)
        order by s.source_id
        limit passages_max
    ), passages_max);
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

-- Sources that changed while a graph was built, in order: as many as a step could take, and one more.
create function mv.changed_vectors(tenant uuid, of_slot integer, passages_max integer) returns uuid[]
    language sql stable
    return array(
        select c.source_id
        from mv.vector_changes c
        where c.tenant_id = tenant and c.slot = of_slot
        order by c.source_id
        limit passages_max + 1
    );

-- Write what changed meanwhile. False when so little is left that flows may wait for it.
drop function mv.catch_up_vectors(uuid, integer, integer);
create function mv.catch_up_vectors(tenant uuid, of_slot integer, passages_max integer) returns boolean
    language plpgsql volatile
as $$
declare
    one mv.vector_indexes;
    changed constant uuid[] := mv.changed_vectors(tenant, of_slot, passages_max);
    next uuid[];
begin
    select * into one from mv.vector_indexes i where i.tenant_id = tenant and i.slot = of_slot and i.state = 'building';
    next := mv.within_passages(tenant, one.kind, changed, passages_max);
    if cardinality(next) = cardinality(changed) then
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
drop function mv.put_live_vectors(uuid, integer, integer);
create function mv.put_live_vectors(tenant uuid, of_slot integer, passages_max integer) returns boolean
    language plpgsql volatile
as $$
declare
    one mv.vector_indexes;
    changed uuid[];
    next uuid[];
begin
    perform pg_advisory_xact_lock(mv.vectors_lock());
    select * into one from mv.vector_indexes i where i.tenant_id = tenant and i.slot = of_slot and i.state = 'building';
    if not found then
        return true;
    end if;
    changed := mv.changed_vectors(tenant, of_slot, passages_max);
    next := mv.within_passages(tenant, one.kind, changed, passages_max);
    if cardinality(next) < cardinality(changed) then
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
