-- Whether a source passes a filter of a search: by kind, status, tags (all of them), log (its slug), author, since and until. A
-- key that is not there asks for nothing; only ADRs have tags, a log and authors, so nothing else passes a filter by one. What
-- a large tenant finds is filtered by this, source by source: a list of all that passes would be longer than any search.
create function mv.search_passes(filter jsonb, kind text, source_id uuid) returns boolean
    language sql stable
    set search_path = pg_catalog, pg_temp
as $$
    select filter is null or exists (
        select
        from mv.search_state s
        left join app.adrs a on s.kind = 'adr' and a.tenant_id = s.tenant_id and a.adr_id = s.source_id
        where s.tenant_id = app.current_tenant()
            and s.kind = search_passes.kind
            and s.source_id = search_passes.source_id
            and not s.deleted
            and (filter -> 'kind' is null or s.kind = filter ->> 'kind')
            and (filter -> 'status' is null or filter -> 'status' ? s.status)
            and (filter -> 'since' is null or s.effective_at >= (filter ->> 'since')::timestamptz)
            and (filter -> 'until' is null or s.effective_at < (filter ->> 'until')::timestamptz)
            and (
                filter -> 'log' is null
                or a.log_id = (select l.log_id from app.logs l where l.tenant_id = s.tenant_id and l.slug = filter ->> 'log')
            )
            and (
                filter -> 'tags' is null
                or not exists (
                    select from jsonb_array_elements_text(filter -> 'tags') as wanted (tag)
                    where not exists (
                        select from app.adr_tags t
                        where t.tenant_id = s.tenant_id and t.adr_id = a.adr_id and t.tag = wanted.tag
                    )
                )
            )
            and (
                filter -> 'author' is null
                or exists (
                    select from app.adr_versions v
                    where v.tenant_id = s.tenant_id and v.adr_id = a.adr_id and lower(v.author) = lower(filter ->> 'author')
                )
            )
    )
$$;
grant execute on function mv.search_passes(jsonb, text, uuid) to adriatic_api;
