-- Words of other languages than English are found by their stems too, which stand marked behind a second U+001F of an analysed text
-- (schemas/stems.py). They are words of the index: nothing stems them again, and no text has the letter that they begin with.

create function mv.is_marked_stem(lexeme text) returns boolean
    language sql immutable parallel safe strict
    return left(lexeme, 1) = U&'\00FE';

-- As before, with the stems: each counts like the word that it is of, and has its label, so that one of the title is worth as much.
create or replace function mv.chunk_tsv(ordinal integer, title text, heading_path text, body text) returns tsvector
    language sql immutable parallel safe strict
    return (
        select setweight(to_tsvector('pg_catalog.english', split_part(shown, E'\x1f', 1)), 'A')
            || setweight(to_tsvector('pg_catalog.english', split_part(heading_path, E'\x1f', 1)), 'B')
            || to_tsvector('pg_catalog.english', split_part(body, E'\x1f', 1))
            || setweight(to_tsvector('pg_catalog.simple', mv.stop_words(split_part(shown, E'\x1f', 1))), 'A')
            || setweight(to_tsvector('pg_catalog.english', concat_ws(
                ' ', split_part(shown, E'\x1f', 2), split_part(heading_path, E'\x1f', 2), split_part(body, E'\x1f', 2))), 'C')
            || setweight(to_tsvector('pg_catalog.simple', split_part(shown, E'\x1f', 3)), 'A')
            || setweight(to_tsvector('pg_catalog.simple', split_part(heading_path, E'\x1f', 3)), 'B')
            || to_tsvector('pg_catalog.simple', split_part(body, E'\x1f', 3))
        from (select case when ordinal = 0 then title else '' end as shown) as one);

-- As before, without the stems: a text is as long as its words, in any language.
create or replace function mv.chunk_length(tsv tsvector) returns integer
    language sql immutable parallel safe strict
    return (
        select coalesce(sum(cardinality(positions) - cardinality(array_positions(weights, 'C'))), 0)
        from unnest(tsv)
        where not mv.is_marked_stem(lexeme));

-- As before, of words alone: a stem that is asked for is there, and what begins like it is another word.
create or replace function mv.search_beginnings(terms text[]) returns text[]
    language sql immutable parallel safe strict
    return array(
        select distinct left(term, greatest(4, ceil(0.75 * length(term))::integer)) from unnest(terms) as term
        where term !~ '[0-9]' and length(term) >= 4 and not mv.is_marked_stem(term));
