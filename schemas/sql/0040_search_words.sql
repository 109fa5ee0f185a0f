-- Search by words whose cost does not grow with the tenant: statistics that are kept, a posting list for each tenant, and bounded
-- candidates with a proof. The flow `index` keeps the three tables in its transaction; docs/decisions/0057 says why they are so.

-- One row for each source that is found by words, as it is on show. `words` has a lexeme for each word of it:
--     five characters that tell tenant and kind, the word, U+0001, its tier
-- so that a posting list is one tenant's, and says how much the word weighs there. Its positions say how often the word is there,
-- as BM25 counts it: n of them are n times, one with the label C a quarter. What cannot be said so is in `counts`.
-- 8000 different words of a source are kept, those that it says most: more is a book, and a tsvector holds no more than a megabyte.
create table mv.source_words (
    tenant_id uuid not null,
    kind      text not null,
    source_id uuid not null,
    version   bigint not null,
    length    integer not null,
    words     tsvector storage main not null,
    counts    jsonb,
    primary key (tenant_id, kind, source_id)
) with (toast_tuple_target = 8160);  -- Ranking reads `words` of every candidate, several times: not compressed where it fits.
-- Without a list of what waits to be sorted in: every search would read all of it, whoever's it is.
create index source_words_words on mv.source_words using gin (words) with (fastupdate = off);
call app.protect('mv.source_words');
alter policy tenant on mv.source_words to adriatic_api;
create policy search on mv.source_words for select to adriatic_search using (true);
comment on policy search on mv.source_words is 'Only through mv.rank_by_words, which names the tenant.';
grant insert, update, delete on mv.source_words to adriatic_flows;

-- How many sources have a word, by the tier of its weight: the frequencies of BM25, and the tenant's own dictionary.
create table mv.word_stats (
    tenant_id uuid not null,
    kind      text not null,
    lexeme    text collate "C" not null,
    tier      smallint not null,
    sources   integer not null,
    primary key (tenant_id, kind, lexeme, tier)
) with (fillfactor = 80);
call app.protect('mv.word_stats');
grant select on mv.word_stats to adriatic_api;
grant insert, update, delete on mv.word_stats to adriatic_flows;

-- How many sources there are, and how long they are together. Its row is locked before any other of its tenant and kind.
create table mv.word_totals (
    tenant_id uuid not null,
    kind      text not null,
    sources   bigint not null,
    length    bigint not null,
    primary key (tenant_id, kind)
) with (fillfactor = 50);
call app.protect('mv.word_totals');
grant select on mv.word_totals to adriatic_api;
grant insert, update, delete on mv.word_totals to adriatic_flows;

-- What a tenant's lexemes of one kind begin with. Two that have the same would only read each other's lists, and drop what they read.
create function mv.word_prefix(tenant uuid, kind text) returns text
    language sql immutable parallel safe strict
    return left(encode(sha256(uuid_send(tenant) || convert_to(kind, 'UTF8')), 'base64'), 5);

-- A word in these tables: an address or a hash that is longer than any word is known by its digest.
create function mv.word_key(lexeme text) returns text
    language sql immutable parallel safe strict
    return case when octet_length(lexeme) > 40 then md5(lexeme) else lexeme end;

-- Tiers of the weight that BM25 gives a word in a text: count / norm, where the norm is that of a text among texts of 100 words.
-- What the real norm is changes with every text; by how much it can differ from this one is known (mv.rank_by_words).
create function mv.word_tier_floors() returns double precision[]
    language sql immutable parallel safe
    return '{0.125,0.25,0.5,1,2,4,8}'::double precision[];

create function mv.word_tier(count double precision, length integer) returns integer
    language sql immutable parallel safe strict
    return width_bucket(count / (0.3 + 0.009 * length), mv.word_tier_floors());

-- A lexeme of mv.source_words as a query; without a tier, of all tiers.
create function mv.word_query(prefix text, key text, tier integer) returns tsquery
    language sql immutable parallel safe
    return ('''' || replace(replace(prefix || key, '\', '\\'), '''', '''''') || E'\x01' || coalesce(chr(97 + tier) || '''', ''':*'))::tsquery;

-- What mv.source_words is to have of these sources: a function of mv.search_state and of the chunks on show.
create function mv.derive_words(tenants uuid[], kinds text[], ids uuid[])
    returns table (
        tenant_id uuid, kind text, source_id uuid, version bigint, length integer, words tsvector, counts jsonb)
    language sql stable
    set search_path = pg_catalog, pg_temp
as $$
    select s.tenant_id, s.kind, s.source_id, s.words_version, s.length, found.words, found.counts
    from (
        select distinct w.tenant_id, w.kind, w.source_id
        from unnest(tenants, kinds, ids) as w (tenant_id, kind, source_id)
    ) as w
    join mv.search_state s on s.tenant_id = w.tenant_id and s.kind = w.kind and s.source_id = w.source_id
    cross join lateral (
        select
            mv.word_prefix(w.tenant_id, w.kind) as prefix,
            (select array_agg(said order by n) from (
                select n, string_agg(n::text, ',') over (order by n) as said from generate_series(1, 31) as n) as one) as places
        offset 0
    ) as own
    cross join lateral (
        select
            coalesce(string_agg(
                '''' || own.prefix || replace(replace(lexeme, '\', '\\'), '''', '''''') || E'\x01'
                    || chr(97 + mv.word_tier(count, s.length)) || ''':'
                    || case when count = 0.25 then '1C' else coalesce(own.places[count::integer], '1') end,
                ' '), '')::tsvector as words,
            jsonb_object_agg(lexeme, count)
                filter (where count <> 0.25 and (count > 31 or count <> trunc(count))) as counts
        from (
            -- As mv.search_words_exact counts: 64 times in a chunk at most, a quarter for what stands only beside the words,
            -- two more in the title.
            select
                mv.word_key(t.lexeme) as lexeme,
                sum(
                    case
                        when 'C' = any (t.weights)
                        then greatest(
                            least(cardinality(t.positions) - cardinality(array_positions(t.weights, 'C')), 64), 0.25)
                        else least(cardinality(t.positions), 64)
                    end
                    + case when c.ordinal = 0 and 'A' = any (t.weights) then 2 else 0 end
                )::double precision as count
            from mv.chunks c, unnest(c.tsv) as t (lexeme, positions, weights)
            where c.tenant_id = s.tenant_id and c.kind = s.kind and c.source_id = s.source_id
                and c.version = s.words_version
            group by t.lexeme
            order by count desc, t.lexeme collate "C"
            limit 8000
        ) as counted
    ) as found
    where not s.deleted and s.chunks > 0
$$;

-- Makes the three tables agree with what is on show of these sources; a second time it changes nothing. Whoever calls it has the
-- rows of mv.search_state locked. Rows of mv.word_totals are locked next, in order: two that write for one tenant take turns.
create function mv.keep_words(tenants uuid[], kinds text[], ids uuid[]) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    gone record;
begin
    insert into mv.word_totals (tenant_id, kind, sources, length)
    select distinct w.tenant_id, w.kind, 0, 0
    from unnest(tenants, kinds) as w (tenant_id, kind)
    order by w.tenant_id, w.kind
    on conflict do nothing;
    perform
    from mv.word_totals t
    where (t.tenant_id, t.kind) in (select w.tenant_id, w.kind from unnest(tenants, kinds) as w (tenant_id, kind))
    order by t.tenant_id, t.kind
    for update;

    with after as materialized (
        select d.* from mv.derive_words(tenants, kinds, ids) as d
    ),
    before as materialized (
        select o.tenant_id, o.kind, o.source_id, o.length, o.words
        from (
            select distinct w.tenant_id, w.kind, w.source_id
            from unnest(tenants, kinds, ids) as w (tenant_id, kind, source_id)
        ) as w
        join mv.source_words o on o.tenant_id = w.tenant_id and o.kind = w.kind and o.source_id = w.source_id
    ),
    removed as (
        delete from mv.source_words o
        using before b
        where o.tenant_id = b.tenant_id and o.kind = b.kind and o.source_id = b.source_id
            and not exists (
                select from after a where a.tenant_id = b.tenant_id and a.kind = b.kind and a.source_id = b.source_id)
    ),
    written as (
        insert into mv.source_words as o (tenant_id, kind, source_id, version, length, words, counts)
        select a.tenant_id, a.kind, a.source_id, a.version, a.length, a.words, a.counts from after a
        on conflict (tenant_id, kind, source_id)
        do update set
            version = excluded.version, length = excluded.length, words = excluded.words, counts = excluded.counts
        where (o.version, o.length, o.words, o.counts)
            is distinct from (excluded.version, excluded.length, excluded.words, excluded.counts)
    ),
    totalled as (
        update mv.word_totals t
        set sources = t.sources + d.sources, length = t.length + d.length
        from (
            select one.tenant_id, one.kind, sum(one.n) as sources, sum(one.n * one.length) as length
            from (
                select a.tenant_id, a.kind, 1 as n, a.length from after a
                union all
                select b.tenant_id, b.kind, -1, b.length from before b
            ) as one
            group by one.tenant_id, one.kind
        ) as d
        where t.tenant_id = d.tenant_id and t.kind = d.kind and (d.sources <> 0 or d.length <> 0)
    ),
    counted as (
        insert into mv.word_stats as s (tenant_id, kind, lexeme, tier, sources)
        select one.tenant_id, one.kind, left(substr(one.key, 6), -2), ascii(right(one.key, 1)) - 97, sum(one.n)
        from (
            select a.tenant_id, a.kind, 1 as n, unnest(tsvector_to_array(a.words)) as key from after a
            union all
            select b.tenant_id, b.kind, -1, unnest(tsvector_to_array(b.words)) from before b
        ) as one
        group by one.tenant_id, one.kind, one.key
        having sum(one.n) <> 0
        order by 1, 2, 3, 4
        on conflict (tenant_id, kind, lexeme, tier) do update set sources = s.sources + excluded.sources
        returning s.tenant_id, s.kind, s.lexeme, s.tier, s.sources
    )
    select
        array_agg(c.tenant_id) as tenants, array_agg(c.kind) as kinds, array_agg(c.lexeme) as lexemes, array_agg(c.tier) as tiers
    into gone
    from counted c where c.sources = 0;

    delete from mv.word_stats s
    using unnest(gone.tenants, gone.kinds, gone.lexemes, gone.tiers) as g (tenant_id, kind, lexeme, tier)
    where s.tenant_id = g.tenant_id and s.kind = g.kind and s.lexeme = g.lexeme collate "C" and s.tier = g.tier;
end
$$;
grant execute on function mv.keep_words(uuid[], text[], uuid[]) to adriatic_flows;
revoke execute on function mv.keep_words(uuid[], text[], uuid[]) from public;

-- --- what finds ------------------------------------------------------------------------------------------------------

-- The words of a query that somebody has, in each kind: the place of the word in `wanted`, its rarity, and what a text of the kind
-- is measured by.
create function mv.word_terms(wanted text[], only_kind text)
    returns table (
        kind text, n integer, prefix text, key text, idf double precision, texts bigint, average double precision)
    language sql stable rows 8
    set search_path = pg_catalog, pg_temp
as $$
    select
        t.kind, w.n::integer, p.prefix, w.key, ln(1 + (t.sources::double precision - s.df + 0.5) / (s.df + 0.5)),
        t.sources, greatest(t.length::double precision / t.sources, 1)
    from mv.word_totals t
    cross join lateral (select mv.word_prefix(t.tenant_id, t.kind) as prefix offset 0) as p
    cross join lateral (
        select mv.word_key(one.lexeme) as key, one.n from unnest(wanted) with ordinality as one (lexeme, n) offset 0
    ) as w
    cross join lateral (
        select sum(s.sources)::double precision as df
        from mv.word_stats s
        where s.tenant_id = app.current_tenant() and s.kind = t.kind and s.lexeme = w.key collate "C"
    ) as s
    where t.tenant_id = app.current_tenant() and t.sources > 0 and s.df > 0 and (only_kind is null or t.kind = only_kind)
$$;

-- What each posting list (a word of a kind, in one tier) can add to a score at most, and whether it is looked up first: the most
-- weighty ones are, as many as hold `first_max` sources, and one in any case. A text of the tier has
-- count / norm < the next floor, where the norm is 0.3 + 0.9 · length / 100. The real norm has the average length in the place of
-- 100, so it is smaller by the quotient of the two at most.
create function mv.word_postings(wanted text[], only_kind text, first_max integer)
    returns table (kind text, n integer, key text, upper double precision, sources integer, texts bigint, first boolean)
    language sql stable rows 32
    set search_path = pg_catalog, pg_temp
as $$
    select one.kind, one.n, one.key, one.upper, one.sources, one.texts,
        sum(one.sources) over ranking <= first_max or row_number() over ranking = 1
    from (
        select
            t.kind, t.n, s.sources, t.texts, mv.word_query(t.prefix, t.key, s.tier)::text as key,
            t.idf * 2.2 * coalesce(1 - 1 / (1 + f.floors[s.tier + 1] * greatest(1, t.average / 100)), 1) as upper
        from mv.word_terms(wanted, only_kind) as t
        cross join (select mv.word_tier_floors() as floors offset 0) as f
        join mv.word_stats s on s.tenant_id = app.current_tenant() and s.kind = t.kind and s.lexeme = t.key collate "C"
    ) as one
    window ranking as (order by one.upper desc, one.sources, one.kind, one.n, one.key rows unbounded preceding)
$$;

-- What else could reach a score of `need`, of what was not looked up: combinations of words, each in a tier at least, as queries.
-- A text in none of them stays below. Those are taken that give most for what they read, as long as they find `found_max` sources
-- by estimate and read `read_max` postings; `complete` says whether that was all of them.
create function mv.word_combinations(
        kinds text[], ns integer[], keys text[], uppers double precision[], sources integer[], texts bigint[],
        need double precision, found_max integer, read_max integer, out queries tsquery[], out complete boolean)
    language sql stable
    set search_path = pg_catalog, pg_temp
as $$
    with recursive lists as (
        select p.*,
            sum(p.sources) over (partition by p.kind, p.n order by p.upper desc) as above,
            sum(p.sources) over (partition by p.kind, p.n) as together
        from unnest(kinds, ns, keys, uppers, sources, texts) as p (kind, n, key, upper, sources, texts)
    ),
    -- Three steps of each word: its best tenth, its better half, all of it.
    levels as (
        select l.kind, l.n, s.level, max(l.upper) as upper, sum(l.sources) as sources, string_agg(l.key, '|') as keys,
            max(l.texts) as texts
        from lists l
        cross join lateral (
            select case when l.above <= 0.1 * l.together then 1 when l.above <= 0.5 * l.together then 2 else 3 end as level
        ) as s
        group by l.kind, l.n, s.level
    ),
    steps as (
        select l.kind, l.n, l.level, l.upper, l.texts,
            lead(l.upper) over word as below,
            max(l.upper) over (partition by l.kind, l.n) as best,
            sum(l.sources) over word as sources,
            '(' || string_agg(l.keys, '|') over word || ')' as keys
        from levels l
        window word as (partition by l.kind, l.n order by l.level)
    ),
    ordered as (
        select o.kind, o.n, row_number() over word as place, sum(o.best) over word - o.best as before,
            sum(o.best) over (partition by o.kind) as together, o.best
        from (select distinct s.kind, s.n, s.best from steps s) as o
        window word as (partition by o.kind order by o.best desc, o.n rows unbounded preceding)
    ),
    -- `later` is what all words behind this one can add. Six words make combinations; what is behind them only adds.
    elements as (
        select s.kind, o.place, s.upper, s.below, s.sources, s.keys, s.texts,
            o.together - o.before - o.best - coalesce(t.tail, 0) as later, need - coalesce(t.tail, 0) as goal
        from steps s
        join ordered o on o.kind = s.kind and o.n = s.n
        left join (select kind, sum(best) as tail from ordered where place > 6 group by kind) as t on t.kind = s.kind
        where o.place <= 6
    ),
    combinations as (
        select e.kind, e.place, e.later, e.goal, e.upper as reached, e.below as reached_below, e.keys as query,
            e.sources::double precision as found, e.sources::double precision as read
        from elements e
        where e.upper + e.later >= e.goal
        union all
        select e.kind, e.place, e.later, e.goal, c.reached + e.upper, c.reached + e.below, c.query || '&' || e.keys,
            c.found * e.sources / e.texts, least(c.read, e.sources)
        from combinations c
        join elements e on e.kind = c.kind and e.place > c.place
        where c.reached < e.goal and c.reached + e.upper + e.later >= e.goal
    ),
    ends as (
        select c.query, c.found, c.read
        from combinations c
        where c.reached >= c.goal and (c.reached_below is null or c.reached_below < c.goal)
    ),
    chosen as (
        select e.query,
            sum(e.found) over yield <= found_max and sum(e.read) over yield <= read_max
                and row_number() over yield <= 40 as taken
        from ends e
        window yield as (order by e.read / e.found, e.query rows unbounded preceding)
    )
    select
        array_agg(c.query::tsquery) filter (where c.taken),
        coalesce(bool_and(c.taken), true)
    from chosen c
$$;

grant create on schema mv to adriatic_search;
set role adriatic_search;

-- The reference, which reads all that there is: what the bounded search is compared with.
alter function mv.search_words(text, text[], uuid[], integer) rename to search_words_exact;

-- By words, within bounds: the sources with the highest scores of mv.search_words_exact, as far as they are among those that are
-- looked at. First the weightiest posting lists are, then the combinations that could still reach the score of the one that is
-- `proved_max`-th; `proved` says that nothing else can be before that one. With `kinds` and `ids`, pair by pair, these sources alone
-- are ranked, all of them.
create function mv.rank_by_words(
        wanted text[], kinds text[], ids uuid[], only_kind text, sources_max integer, proved_max integer)
    returns table (
        kind text, source_id uuid, version bigint, score double precision, candidates integer, proved boolean)
    language plpgsql stable security definer rows 100
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_custom_plan
    set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    first_max constant integer := 2000;
    second_max constant integer := 2500;
    read_max constant integer := 150000;
    candidates_max constant integer := 6000;
    tenant constant uuid := app.current_tenant();
    terms record;
    lists record;
    asked tsquery[];
    complete boolean;
    others record;
    factor double precision;
    factors constant double precision[] := '{1, 1.2, 1.4}';
    need double precision;
    places text;
    new_ids uuid[];
    new_kinds text[];
    new_versions bigint[];
    new_scores double precision[];
    found_ids uuid[] := '{}';
    found_kinds text[] := '{}';
    found_versions bigint[] := '{}';
    found_scores double precision[] := '{}';
begin
    if tenant is null then
        return;
    end if;
    select array_agg(t.kind) as kinds, array_agg(t.key) as keys, array_agg(mv.word_query(t.prefix, t.key, null)) as queries,
        array_agg(t.idf) as idfs, array_agg(t.average) as averages
    into terms
    from mv.word_terms(wanted, only_kind) as t;
    if terms.kinds is null then
        return;
    end if;
    if ids is null then
        select array_agg(p.key::tsquery) filter (where p.first) as firsts, bool_and(p.first) as complete,
            array_agg(p.kind) filter (where not p.first) as kinds, array_agg(p.n) filter (where not p.first) as ns,
            array_agg(p.key) filter (where not p.first) as keys, array_agg(p.upper) filter (where not p.first) as uppers,
            array_agg(p.sources) filter (where not p.first) as sources, array_agg(p.texts) filter (where not p.first) as texts
        into lists
        from mv.word_postings(wanted, only_kind, first_max) as p;
        asked := lists.firsts;
        complete := lists.complete;
    else
        complete := true;
    end if;
    loop
        -- One bitmap of one look-up each: as alternatives of one query, all would be looked at for each source of any. The
        -- tenant is asked for outside, lest a bitmap of all that it has be made beside them.
        places := case when ids is null
            then (
                select format('(select * from mv.source_words where %s offset 0)', string_agg(format('words @@ $10[%s]', n), ' or '))
                from generate_subscripts(asked, 1) as n)
            else '(select s.* from mv.source_words s where s.tenant_id = $1 and (s.kind, s.source_id) in (select * from unnest($11, $12)))'
            end;
        execute format($query$
            select array_agg(kind), array_agg(source_id), array_agg(version), array_agg(score)
            from (
                select c.kind, c.source_id, c.version,
                    sum(t.idf * n.count * 2.2 / (n.count + 1.2 * (0.25 + 0.75 * c.length / t.average))) as score
                from (
                    select w.kind, w.source_id, w.version, w.length, w.words, w.counts
                    from %s as w
                    where w.tenant_id = $1
                    limit $2
                ) as c
                join unnest($3, $4, $5, $6, $7) as t (kind, key, query, idf, average)
                    on t.kind = c.kind and c.words @@ t.query
                cross join lateral (
                    select coalesce(
                        (c.counts ->> t.key)::double precision, greatest(mv.lexeme_count(c.words, t.query, $8), 0.25)) as count
                    offset 0
                ) as n
                group by c.kind, c.source_id, c.version
            ) as scored
            where (kind, source_id) not in (select * from unnest($9, $13))
            $query$, places)
        into new_kinds, new_ids, new_versions, new_scores
        using tenant, case when ids is null then candidates_max end, terms.kinds, terms.keys, terms.queries, terms.idfs,
            terms.averages, mv.lexeme_count_buckets(), found_kinds, asked, kinds, ids, found_ids;
        exit when new_ids is null and found_ids = '{}';
        complete := complete and coalesce(cardinality(new_ids), 0) < candidates_max;
        found_kinds := found_kinds || new_kinds;
        found_ids := found_ids || new_ids;
        found_versions := found_versions || new_versions;
        found_scores := found_scores || new_scores;
        exit when complete or need is not null;
        need := coalesce((select s from unnest(found_scores) as s order by s desc offset proved_max - 1 limit 1), 0) - 1e-9;
        -- Whatever could reach it, which proves the rest worse; where that is too much to read, what could reach somewhat more.
        foreach factor in array factors loop
            select c.queries, c.complete into others
            from mv.word_combinations(
                lists.kinds, lists.ns, lists.keys, lists.uppers, lists.sources, lists.texts, need * factor, second_max, read_max) as c;
            exit when factor > 1 and others.queries is null;
            asked := others.queries;
            complete := factor = 1 and others.complete;
            exit when others.complete;
        end loop;
        exit when asked is null;
    end loop;
    return query
    -- Rounded, so that the order in which a plan adds up cannot decide a tie.
    select f.kind, f.source_id, f.version, round(f.score::numeric, 9)::double precision, cardinality(found_ids), complete
    from unnest(found_kinds, found_ids, found_versions, found_scores) as f (kind, source_id, version, score)
    join mv.search_state s
        on s.tenant_id = tenant and s.kind = f.kind and s.source_id = f.source_id and s.words_version = f.version
    where not s.deleted
        and f.score >= coalesce(
            (select x from unnest(found_scores) as x order by x desc offset sources_max - 1 limit 1), 0) - 1e-8
    order by 4 desc, f.kind, f.source_id
    limit sources_max;
end
$$;
revoke execute on function mv.rank_by_words(text[], text[], uuid[], text, integer, integer) from public;
grant execute on function mv.rank_by_words(text[], text[], uuid[], text, integer, integer) to adriatic_api;

reset role;
revoke create on schema mv from adriatic_search;

-- Words of the tenant's own that begin so: of each beginning, the eight that most sources have.
create function mv.word_beginnings(beginnings text[]) returns text[]
    language sql stable
    set search_path = pg_catalog, pg_temp
    return array(
        select distinct w.lexeme
        from unnest(beginnings) as b (beginning)
        cross join lateral (
            select s.lexeme
            from mv.word_totals t
            join mv.word_stats s on s.tenant_id = t.tenant_id and s.kind = t.kind
                and s.lexeme >= b.beginning collate "C" and s.lexeme < (b.beginning || U&'\+10FFFF') collate "C"
            where t.tenant_id = app.current_tenant()
            group by s.lexeme
            order by sum(s.sources) desc, s.lexeme
            limit 8
        ) as w
        limit 32);

-- By words, with the caller's rights: what mv.rank_by_words finds and `filter` lets pass (mv.search_passes), with the chunk that the
-- words are in most. Statistics are of all sources whatever may be found, so a filter does not change a score. Where no source has
-- any of the words, those count that begin like one of them. `candidates` is how many sources were looked at, `proved` whether the
-- first ten are known to be the best ten there are; with a filter that is never said.
create function mv.search_words(query text, kinds text[], ids uuid[], filter jsonb, sources_max integer)
    returns table (
        kind text, source_id uuid, version bigint, ordinal integer, score double precision, terms text[],
        candidates integer, proved boolean)
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
    buckets constant double precision[] := mv.lexeme_count_buckets();
    exact constant text[] := mv.search_terms(query);
    wanted text[] := exact;
    loose boolean := exists (select from unnest(exact) as lexeme where mv.is_half_a_pair(lexeme));
begin
    loop
        if loose then
            if (select sum(t.sources) from mv.word_totals t where t.tenant_id = tenant) <= exact_max then
                return query
                select e.kind, e.source_id, e.version, e.ordinal, e.score, e.terms, null::integer, true
                from mv.search_words_exact(query, kinds, ids, case when filter is null then sources_max else exact_max end) as e
                where filter is null or mv.search_passes(filter, e.kind, e.source_id)
                order by e.score desc, e.kind, e.source_id
                limit sources_max;
                return;
            end if;
            wanted := mv.word_beginnings(
                case when wanted = exact and exists (select from unnest(exact) as lexeme where mv.is_half_a_pair(lexeme))
                    then exact else mv.search_beginnings(exact) end);
        end if;
        return query
        with ranked as materialized (
            select r.*
            from mv.rank_by_words(
                wanted, kinds, ids, filter ->> 'kind',
                case when filter is null then sources_max else filtered_max end,
                case when filter is null then proved_max else filtered_max end) as r
            where filter is null or mv.search_passes(filter, r.kind, r.source_id)
            order by r.score desc, r.kind, r.source_id
            limit sources_max
        ),
        known as materialized (
            select t.kind, t.idf, one.lexeme, one.query, (one.query::text || ':A')::tsquery as in_title
            from mv.word_terms(wanted, filter ->> 'kind') as t
            cross join lateral (
                select wanted[t.n] as lexeme, mv.lexeme_query(wanted[t.n]) as query offset 0
            ) as one
        ),
        chunks as materialized (
            select r.kind, r.source_id, r.score, r.candidates, r.proved, c.version, c.ordinal, c.length, c.tsv
            from ranked r
            join mv.chunks c on c.tenant_id = tenant
                and c.kind = r.kind and c.source_id = r.source_id and c.version = r.version
        ),
        passages as materialized (
            select c.kind, c.source_id, c.version, c.score, c.candidates, c.proved, c.ordinal, c.length, k.lexeme, k.idf,
                greatest(mv.lexeme_count(c.tsv, k.query, buckets), 0.25)
                    + case when c.ordinal = 0 and c.tsv @@ k.in_title then 2 else 0 end as count
            from chunks c
            join known k on k.kind = c.kind and c.tsv @@ k.query
        ),
        weighed as materialized (
            -- A chunk that is hardly more than a heading says nothing to whoever reads it.
            select p.kind, p.source_id, p.version, p.score, p.candidates, p.proved, p.ordinal, p.length < 20 as short,
                round(sum(p.idf * p.count / (p.count + 1.2))::numeric, 9) as weight
            from passages p
            group by p.kind, p.source_id, p.version, p.score, p.candidates, p.proved, p.ordinal, p.length
        ),
        said as materialized (
            select p.kind, p.source_id, array_agg(distinct p.lexeme order by p.lexeme) as terms
            from passages p group by p.kind, p.source_id
        )
        select distinct on (w.score, w.kind, w.source_id)
            w.kind, w.source_id, w.version, w.ordinal, w.score, said.terms, w.candidates, w.proved and filter is null
        from weighed w
        join said on said.kind = w.kind and said.source_id = w.source_id
        order by w.score desc, w.kind, w.source_id, w.short, w.weight desc, w.ordinal;
        exit when found or loose;
        loose := true;
    end loop;
end
$$;
revoke execute on function mv.search_words(text, text[], uuid[], jsonb, integer) from public;
grant execute on function mv.search_words(text, text[], uuid[], jsonb, integer) to adriatic_api;

-- What is there already. The owner is bound by row security too, but for this moment.
alter table mv.search_state no force row level security;
alter table mv.chunks no force row level security;
alter table mv.source_words no force row level security;
alter table mv.word_stats no force row level security;
alter table mv.word_totals no force row level security;
select count(mv.keep_words(page.tenants, page.kinds, page.ids))
from (
    select array_agg(tenant_id) as tenants, array_agg(kind) as kinds, array_agg(source_id) as ids
    from (
        select tenant_id, kind, source_id, row_number() over (order by tenant_id, kind, source_id) as n from mv.search_state
    ) as each
    group by n / 1000
) as page;
alter table mv.search_state force row level security;
alter table mv.chunks force row level security;
alter table mv.source_words force row level security;
alter table mv.word_stats force row level security;
alter table mv.word_totals force row level security;
