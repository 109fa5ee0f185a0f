-- Segments for the search by words in large tenants: the posting lists of some ten thousand sources each, packed, so that a search
-- reads a list of all that have a word at the cost of copying it. Who ranks them is the API (api/search/packed.py), who writes them
-- the agent `jobs` (connectors/postgres/word_segments.py); the flow `index` only notes what changed.

-- The kinds of tenants that have segments. `filling`: every source is taken once, in the order of ids, up to `filled_to`; from the
-- commit of the row on, changes are noted. `live`: each source on show is in one segment and not dead there, or in mv.word_changes.
create table mv.word_packs (
    tenant_id uuid not null,
    kind      text not null,
    state     text not null check (state in ('filling', 'live')),
    filled_to uuid,
    primary key (tenant_id, kind)
);
call app.protect('mv.word_packs');
grant select on mv.word_packs to adriatic_api;
grant insert, update, delete on mv.word_packs to adriatic_flows;

create sequence mv.word_segment_ids as bigint;
grant usage on sequence mv.word_segment_ids to adriatic_flows;

-- A segment never changes, but for what is dead in it: a source that changed since. Its number is never used again. A source is
-- known in its lists by its place among `ids`, from 0. At most 32768, the numbers of two bytes from 0 on.
create table mv.word_segments (
    tenant_id uuid not null,
    kind      text not null,
    segment   bigint not null,
    sources   integer not null check (sources between 1 and 32768),
    ids       bytea storage external not null,       -- 16 bytes for each source, in their order
    lengths   bytea storage external not null,       -- 4 bytes for each source
    dead      bytea not null default '',             -- places, 2 bytes for each, in the order in which they died
    primary key (tenant_id, segment),
    foreign key (tenant_id, kind) references mv.word_packs on delete cascade
);
create index word_segments_kind on mv.word_segments (tenant_id, kind);
call app.protect('mv.word_segments');
grant select on mv.word_segments to adriatic_api;
grant insert, update, delete on mv.word_segments to adriatic_flows;

-- Posting lists of a segment: those of neighbouring words lie in one row, up to about `mv.word_page_max()` postings, a longer one
-- begins the last of its row. The list of lexemes[n] ends before posting ends[n] of the row.
create table mv.word_pages (
    tenant_id uuid not null,
    segment   bigint not null,
    first     text collate "C" not null,
    lexemes   text[] collate "C" not null,
    ends      integer[] not null,
    places    bytea storage external not null,       -- 2 bytes for each posting
    counts    bytea storage external not null,       -- a real for each posting: how often the word is there, as BM25 counts
    primary key (tenant_id, segment, first),
    foreign key (tenant_id, segment) references mv.word_segments on delete cascade
);
call app.protect('mv.word_pages');
grant select on mv.word_pages to adriatic_api;
grant insert, update, delete on mv.word_pages to adriatic_flows;

-- Sources that changed since they were packed, or were never packed: no segment counts for them. A later change has a higher number.
create table mv.word_changes (
    tenant_id uuid not null,
    kind      text not null,
    source_id uuid not null,
    change    bigint not null,
    primary key (tenant_id, kind, source_id)
);
call app.protect('mv.word_changes');
grant select on mv.word_changes to adriatic_api;
grant insert, update, delete on mv.word_changes to adriatic_flows;
create sequence mv.word_change_numbers as bigint;
grant usage on sequence mv.word_change_numbers to adriatic_flows;

create function mv.word_page_max() returns integer language sql immutable parallel safe return 4096;

-- The flow calls what it called before, which now notes what changed too, where there are segments. The row of mv.word_totals is
-- locked by then, so a kind that gets segments gets them before this or after its commit, and nothing falls between.
alter function mv.keep_words(uuid[], text[], uuid[]) rename to keep_source_words;
create function mv.keep_words(tenants uuid[], kinds text[], ids uuid[]) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform mv.keep_source_words(tenants, kinds, ids);
    insert into mv.word_changes (tenant_id, kind, source_id, change)
    select w.tenant_id, w.kind, w.source_id, nextval('mv.word_change_numbers')
    from (
        select distinct k.tenant_id, k.kind, k.source_id
        from unnest(tenants, kinds, ids) as k (tenant_id, kind, source_id)
        join mv.word_packs p on p.tenant_id = k.tenant_id and p.kind = k.kind
        order by 1, 2, 3
    ) as w
    on conflict (tenant_id, kind, source_id) do update set change = excluded.change;
end
$$;
grant execute on function mv.keep_words(uuid[], text[], uuid[]) to adriatic_flows;
revoke execute on function mv.keep_words(uuid[], text[], uuid[]) from public;

create function mv.lock_word_totals(tenant uuid, of_kind text) returns void
    language sql volatile
begin atomic
    select from mv.word_totals t where t.tenant_id = tenant and t.kind = of_kind for update;
end;

-- A kind gets segments, none at first. It waits for who writes it now; who comes next notes what changes.
create function mv.begin_word_pack(tenant uuid, of_kind text) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform mv.lock_word_totals(tenant, of_kind);
    insert into mv.word_packs (tenant_id, kind, state) values (tenant, of_kind, 'filling');
end
$$;

-- A kind has no segments any more: searches go on with the lists of mv.source_words.
create function mv.leave_word_pack(tenant uuid, of_kind text) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform mv.lock_word_totals(tenant, of_kind);
    delete from mv.word_changes c where c.tenant_id = tenant and c.kind = of_kind;
    delete from mv.word_packs p where p.tenant_id = tenant and p.kind = of_kind;
end
$$;

-- How often each word is in these sources, each known by its place in the array, from 0. Those that are not on show have none.
create function mv.pack_words(tenant uuid, of_kind text, sources uuid[])
    returns table (place integer, key text, count real)
    language sql stable rows 1000000
    set search_path = pg_catalog, pg_temp
as $$
    select t.place, u.key,
        coalesce(
            (t.counts ->> u.key)::real, case when u.weights[1] = 'C' then 0.25 else cardinality(u.positions) end::real)
    from (
        select (a.n - 1)::integer as place, w.words, w.counts
        from unnest(sources) with ordinality as a (source_id, n)
        join mv.source_words w on w.tenant_id = tenant and w.kind = of_kind and w.source_id = a.source_id
        offset 0
    ) as t
    cross join lateral (
        select left(substr(one.lexeme, 6), -2) as key, one.positions, one.weights
        from unnest(t.words) as one (lexeme, positions, weights)
        offset 0
    ) as u
$$;

-- Write a segment of these sources as they are on show; null when none is. What changes meanwhile is in mv.word_changes.
create function mv.write_word_segment(tenant uuid, of_kind text, chosen uuid[]) returns bigint
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_custom_plan
    set work_mem = '128MB'
    set jit = off
as $$
declare
    made constant bigint := nextval('mv.word_segment_ids');
    present record;
begin
    select array_agg(w.source_id order by w.source_id) as sources,
        string_agg(uuid_send(w.source_id), '' order by w.source_id) as ids,
        string_agg(int4send(w.length), '' order by w.source_id) as lengths
    into present
    from mv.source_words w
    where w.tenant_id = tenant and w.kind = of_kind and w.source_id = any (chosen);
    if present.sources is null then
        return null;
    end if;
    insert into mv.word_segments (tenant_id, kind, segment, sources, ids, lengths)
    values (tenant, of_kind, made, cardinality(present.sources), present.ids, present.lengths);
    insert into mv.word_pages (tenant_id, segment, first, lexemes, ends, places, counts)
    select tenant, made, min(l.key), array_agg(l.key order by l.key), array_agg(l.upto - l.begins order by l.key),
        string_agg(l.places, '' order by l.key), string_agg(l.counts, '' order by l.key)
    from (
        select o.*, min(o.upto - o.postings) over (partition by o.page) as begins
        from (
            select a.*, (a.upto - a.postings) / mv.word_page_max() as page
            from (
                select p.key collate "C" as key, count(*)::integer as postings,
                    string_agg(int2send(p.place::smallint), '') as places, string_agg(float4send(p.count), '') as counts,
                    (sum(count(*)) over (order by p.key collate "C" rows unbounded preceding))::integer as upto
                from mv.pack_words(tenant, of_kind, present.sources) as p
                group by p.key collate "C"
            ) as a
        ) as o
    ) as l
    group by l.page;
    return made;
end
$$;
