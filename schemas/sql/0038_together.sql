-- One attempt is settled as several are, by app.settle_attempts.
drop function app.settle_attempt(
    uuid, uuid, uuid, uuid, text, text, text, bigint, bigint, bigint, bigint, bigint, bigint, text, bigint, bigint, text, bigint, text,
    text, integer, timestamptz, timestamptz
);

-- When a threshold was crossed: while the counter's row is held, so that a higher one of a window is never raised before a lower one. A
-- transaction that has waited for the row began earlier than the one that it waited for.
alter table app.spend_alerts alter raised_at set default clock_timestamp();

-- Who users are that a process sees for the first time: those of one tenant, each with its place in all of the lists. A new one gets a row,
-- and its address with it. AT005: there is no such tenant.
create function app.see_users(tenant uuid, ids uuid[], subjects text[], names text[], emails text[], addresses bytea[])
    returns table (user_id uuid, subject text, name text)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = auto
as
$$
#variable_conflict use_column
begin
    perform set_config('app.tenant_id', tenant::text, true);
    return query
    with seen as (
        select distinct on (s.subject) s.user_id, s.subject, s.name, s.email, s.address_hash
        from unnest(ids, subjects, names, emails, addresses) as s (user_id, subject, name, email, address_hash)
        order by s.subject
    ),
    known as (
        insert into app.users as known (tenant_id, user_id, subject, name, email)
        select tenant, s.user_id, s.subject, s.name, s.email
        from seen s
        order by s.subject
        on conflict (tenant_id, subject)
        do update set
            name = coalesce(nullif(excluded.name, ''), known.name),
            email = coalesce(nullif(excluded.email, ''), known.email)
        returning known.user_id, known.subject, known.name, known.xmax = 0 as is_new
    ),
    came as (
        insert into app.user_addresses (tenant_id, address_hash, user_id)
        select tenant, s.address_hash, k.user_id
        from known k
        join seen s on s.subject = k.subject
        where k.is_new and s.address_hash is not null
        on conflict do nothing
    )
    select k.user_id, k.subject, k.name
    from known k;
exception when foreign_key_violation then
    raise exception using errcode = 'AT005', message = 'there is no such tenant';
end
$$;
