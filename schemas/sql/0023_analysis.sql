-- What a passage and a query are found by was analysed before (schemas/analysis.py): characters of one form, no accents, pairs
-- of characters where a script has no spaces, the parts of names. Here are the dictionary and the two rules that need it.

-- Words of titles that the dictionary leaves out, so that a title of nothing else is found: "Who may do what", "IT".
create function mv.stop_words(analysed text) returns text
    language sql immutable parallel safe strict
    return coalesce((
        select string_agg(lexeme, ' ' order by lexeme) from unnest(to_tsvector('pg_catalog.simple', analysed))
        where to_tsvector('pg_catalog.english', lexeme) = ''), '');

-- What a chunk is found by, of analysed texts: its own, the headings above it, and, for the first chunk of a text, its title.
-- The title is counted once for the source and not once a chunk. Labels A and B tell title and headings from the text; C is what
-- stands beside the words (behind U+001F): the parts of names, and other spellings.
create or replace function mv.chunk_tsv(ordinal integer, title text, heading_path text, body text) returns tsvector
    language sql immutable parallel safe strict
    return (
        select setweight(to_tsvector('pg_catalog.english', split_part(shown, E'\x1f', 1)), 'A')
            || setweight(to_tsvector('pg_catalog.english', split_part(heading_path, E'\x1f', 1)), 'B')
            || to_tsvector('pg_catalog.english', split_part(body, E'\x1f', 1))
            || setweight(to_tsvector('pg_catalog.simple', mv.stop_words(split_part(shown, E'\x1f', 1))), 'A')
            || setweight(to_tsvector('pg_catalog.english', concat_ws(
                ' ', split_part(shown, E'\x1f', 2), split_part(heading_path, E'\x1f', 2), split_part(body, E'\x1f', 2))), 'C')
        from (select case when ordinal = 0 then title else '' end as shown) as one);

-- How long a chunk is to BM25: its words, stop words left out, each occurrence counted, and nothing beside them.
create or replace function mv.chunk_length(tsv tsvector) returns integer
    language sql immutable parallel safe strict
    return (
        select coalesce(sum(cardinality(positions) - cardinality(array_positions(weights, 'C'))), 0) from unnest(tsv));

-- As before, of words alone: what is only beside them is not counted.
create or replace function mv.lexeme_count(tsv tsvector, query tsquery, buckets double precision[]) returns integer
    language sql immutable parallel safe strict
    return width_bucket(ts_rank('{1,0,1,1}'::real[], tsv, query)::double precision, buckets);

-- The words of an analysed query, as they are indexed, in the order in which they were written; at most 32, since a query is a
-- sentence and each of them costs a look-up. Where there is nothing but stop words, they are the words.
create or replace function mv.search_terms(query text) returns text[]
    language sql immutable parallel safe strict
    return array(
        select lexeme
        from unnest(
            case to_tsvector('pg_catalog.english', query)
                when ''::tsvector then to_tsvector('pg_catalog.simple', query)
                else to_tsvector('pg_catalog.english', query)
            end)
        order by positions[1], lexeme limit 32);

-- A character of a script without spaces, by itself: in the index it begins a pair, or ends a text.
create function mv.is_half_a_pair(lexeme text) returns boolean
    language sql immutable parallel safe strict
    return length(lexeme) = 1 and ascii(lexeme) >= 12288;  -- U+3000

-- The beginnings of words that are long enough to mean one: three quarters, and four letters at least. What has a digit means
-- itself.
create function mv.search_beginnings(terms text[]) returns text[]
    language sql immutable parallel safe strict
    return array(
        select distinct left(term, greatest(4, ceil(0.75 * length(term))::integer)) from unnest(terms) as term
        where term !~ '[0-9]' and length(term) >= 4);

grant create on schema mv to adriatic_search;
set role adriatic_search;

-- By words: Okapi BM25 (k1 = 1.2, b = 0.75) over sources, as 0010_search_functions.sql says. Where no source has any of the words,
-- those count that begin like one of them.
create or replace function mv.search_words(query text, kinds text[], ids uuid[], sources_max integer)
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
    exact constant text[] := mv.search_terms(query);
    wanted text[] := exact;
    ending text := '';
    queries tsquery[];
    in_titles tsquery[];
    any_wanted tsquery;
begin
    if tenant is null or cardinality(wanted) = 0 then
        return;
    end if;
    loop
        queries := array(
            select (mv.lexeme_query(lexeme)::text || case when mv.is_half_a_pair(lexeme) then ':*' else ending end)::tsquery
            from unnest(wanted) as lexeme);
        in_titles := array(
            select (one::text || case when one::text like '%:*' then 'A' else ':A' end)::tsquery
            from unnest(queries) as one);
        any_wanted := (select string_agg(one::text, ' | ') from unnest(queries) as one)::tsquery;
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
                   -- What stands beside the words alone counts a quarter of one.
                   greatest(mv.lexeme_count(c.tsv, term.query, buckets), 0.25)
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
        exit when found or ending <> '';
        -- Nobody has any of these words: whatever begins like one, which forgives endings, compounds and slips of the hand.
        wanted := mv.search_beginnings(exact);
        ending := ':*';
        exit when cardinality(wanted) = 0;
    end loop;
end
$$;

reset role;
revoke create on schema mv from adriatic_search;
