-- BM25 saturates later: `k1` 1.5 instead of 1.2 (docs/decisions/0012). A whole record is ranked, and the fifth time that a word stands in it
-- still says something. The bound of a posting list follows: its tiers have the norm of 1.2, and count / (1.5 · x) is 0.8 · count / (1.2 · x).
--
-- The words of a long text are stored compressed, and every function that is asked something about them unpacked them anew: a query of
-- sixteen words did so forty times for each candidate. Joined with nothing, they are unpacked once.
grant create on schema mv to adriatic_search;

do $$
declare
    edit record;
    before text;
    after text;
begin
    for edit in
        select * from (values
            ('mv.search_words_exact(text, text[], uuid[], integer)'::regprocedure,
                'k1 constant double precision := 1.2', 'k1 constant double precision := 1.5'),
            ('mv.rank_by_words(text[], text[], uuid[], text, integer, integer)'::regprocedure,
                'n.count * 2.2 / (n.count + 1.2 * (', 'n.count * 2.5 / (n.count + 1.5 * ('),
            ('mv.rank_by_words(text[], text[], uuid[], text, integer, integer)'::regprocedure,
                'w.length, w.words, w.counts',
                'w.length, w.words || ''''::tsvector as words, w.counts || ''{}''::jsonb as counts'),
            ('mv.word_postings(text[], text, integer)'::regprocedure,
                't.idf * 2.2 * coalesce(1 - 1 / (1 + f.floors[', 't.idf * 2.5 * coalesce(1 - 1 / (1 + 0.8 * f.floors[')
        ) as edits (function, old, new)
    loop
        before := pg_get_functiondef(edit.function);
        after := replace(before, edit.old, edit.new);
        if after = before then
            raise exception '% is not what this migration changes', edit.function;
        end if;
        -- Only its owner may replace it.
        perform set_config('role', (select pg_get_userbyid(p.proowner) from pg_proc p where p.oid = edit.function), true);
        execute after;
        perform set_config('role', 'none', true);
    end loop;
end
$$;

revoke create on schema mv from adriatic_search;
