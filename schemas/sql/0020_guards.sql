-- Three things that held only while nobody tried: that the bytes of an event are of its tenant, that the WAL has no row that cannot be
-- read from it, and that the publication has every table.

-- An event is what its contract says, and names its tenant; bytes, which nobody looks into, are of dead letters alone. Before,
-- whoever had one tenant could say anything of another one in bytes.
alter table app.outbox add constraint bytes_are_dead_letters check (
    (key_bytes is null and value_bytes is null) or topic like '%.dlq');

-- A row that makes a larger record than its topic takes stops its table, for every tenant; one whose text is larger than a gigabyte
-- cannot be read from the WAL at all, nor anything behind it. So rows are bounded, in bytes of text: to what their topic takes
-- (max.message.bytes), less 64 KiB for all that has no text. An event that is too large for its topic is a dead letter by itself.
-- A migration that adds a text to a captured table calls it again.
create procedure ops.bound_rows()
    language plpgsql as
$$
declare
    published record;
begin
    for published in
        select format('%I.%I', p.schemaname, p.tablename)::regclass as name,
               case format('%s.%s', p.schemaname, p.tablename)
                   when 'app.adr_versions' then 4128768
                   when 'app.document_versions' then 2031616
                   when 'app.outbox' then 16777216
                   else 983040
               end as bytes_max,
               (select string_agg(
                    format(case when t.typname in ('text', 'bytea') then 'coalesce(octet_length(%I), 0)'
                                else 'coalesce(octet_length(%I::text), 0)' end, a.attname), ' + ' order by a.attnum)
                from pg_attribute a join pg_type t on t.oid = a.atttypid
                where a.attrelid = format('%I.%I', p.schemaname, p.tablename)::regclass and a.attnum > 0
                    and not a.attisdropped and t.typlen = -1 and t.typname <> 'numeric') as bytes
        from pg_publication_tables p where p.pubname = 'adriatic'
    loop
        if published.bytes is not null then
            execute format('alter table %s drop constraint if exists is_bounded, add constraint is_bounded check (%s <= %s)',
                           published.name, published.bytes, published.bytes_max);
        end if;
    end loop;
end
$$;
revoke execute on procedure ops.bound_rows from public;
call ops.bound_rows();

-- What capture reads. Later migrations that add a table replace this one, so that a publication that somebody changed can be made
-- again as it was (`adriatic recover`).
create procedure ops.make_publication()
    language plpgsql as
$$
begin
    drop publication if exists adriatic;
    create publication adriatic for table
        app.adr_links, app.adr_tags, app.adr_versions, app.adrs, app.document_versions, app.logs, app.outbox,
        app.tenants, app.usage_events, mv.activity, mv.daily_active_users, mv.entity_counts, mv.feed_status,
        mv.job_status, mv.related, mv.search_state, mv.usage_by_day, mv.usage_by_hour, mv.usage_by_key,
        mv.usage_by_model, mv.usage_by_user
    with (publish_via_partition_root = true);
end
$$;
revoke execute on procedure ops.make_publication from public;

-- Tells a publication from every other one, and from itself before somebody changed it. A table that left it and came back is another
-- member of it; what was written meanwhile is not in the log.
create function ops.publication_mark(publication text) returns text
    language sql stable strict
    set search_path = pg_catalog, pg_temp
    return (
        select format('%s %s %s %s%s%s%s%s%s %s', b.pubname, b.oid, b.xmin, b.puballtables::integer, b.pubinsert::integer,
                      b.pubupdate::integer, b.pubdelete::integer, b.pubtruncate::integer, b.pubviaroot::integer,
                      (select string_agg(r.oid::text, ',' order by r.oid)
                       from pg_publication_rel r where r.prpubid = b.oid))
        from pg_publication b where b.pubname = publication_mark.publication);

-- The one that capture began with. Null: capture of an earlier release, which takes the one that there is.
alter table ops.cdc_progress add column publication text;

-- Topics of tables that capture stopped, as patterns of `like`: of what is made of one, nobody can say how far it is.
create function ops.stopped_topics() returns text[]
    language sql stable
    set search_path = pg_catalog, pg_temp
    return array(select '%.' || table_name from ops.cdc_tables where state = 'stopped');
