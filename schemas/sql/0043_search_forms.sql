-- The words of an analysed query, as they are indexed, in the order in which they were written; at most 32, since a query is a
-- sentence and each of them costs a look-up. Where there is nothing but stop words, they are the words. Behind the text, each after
-- U+001E, stand words of the index itself: what an unfinished word may become, and what a misspelt one was taken for. These are not
-- analysed again, since the stem of a stem is another word.
create or replace function mv.search_terms(query text) returns text[]
    language sql immutable parallel safe strict
    return array(
        select lexeme
        from (
            select lexeme, positions[1]::integer as place
            from unnest(
                case to_tsvector('pg_catalog.english', split_part(query, E'\x1e', 1))
                    when ''::tsvector then to_tsvector('pg_catalog.simple', split_part(query, E'\x1e', 1))
                    else to_tsvector('pg_catalog.english', split_part(query, E'\x1e', 1))
                end)
            union all
            select lexeme, 100000 + place::integer
            from unnest(string_to_array(query, E'\x1e')) with ordinality as given (lexeme, place)
            where place > 1
        ) as every
        group by lexeme
        order by min(place), lexeme limit 32);

-- A name as it is written: its parts one behind the other, or all in one, as names of two or three parts are indexed too. Parts that
-- the dictionary leaves out make a phrase of less than the name ("a/b"), which then does not count.
create function mv.name_query(phrase text, in_one text) returns tsquery
    language sql immutable parallel safe strict
    return (
        case numnode(phraseto_tsquery('pg_catalog.english', phrase))
            when numnode(phraseto_tsquery('pg_catalog.simple', phrase)) then phraseto_tsquery('pg_catalog.english', phrase)
            else ''::tsquery
        end || phraseto_tsquery('pg_catalog.english', in_one));
