-- What was used of requests and tokens, in the window that runs: by a user, a credential, and a whole tenant. A window that is over is
-- overwritten by the next.
create table app.limit_uses (
    tenant_id    uuid not null references app.tenants,
    subject      text not null check (length(subject) between 1 and 300),   -- tenant, user:<id>, key:<id>
    unit         text not null check (unit in ('requests', 'tokens')),
    time_window  text not null check (time_window in ('minute', 'day', 'month', 'first-day')),
    window_start timestamptz not null,
    used         bigint not null check (used >= 0),
    primary key (tenant_id, subject, unit, time_window)
);
call app.protect('app.limit_uses');
grant select, insert, update on app.limit_uses to adriatic_api, adriatic_flows;

-- Tokens are counted where an attempt is settled, whoever settles it, in the same transaction. The tenant's rows come first: whoever
-- settles many attempts of it has all others wait there, where they hold nothing yet.
create function app.count_used_tokens() returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
    as $$
begin
    insert into app.limit_uses as u (tenant_id, subject, unit, time_window, window_start, used)
    select new.tenant_id, s.subject, 'tokens', w.time_window, date_trunc(w.time_window, now(), 'UTC'),
        new.input_uncached + new.cache_read + new.cache_write_5m + new.cache_write_1h + new.output_visible + new.reasoning
    from (values ('key:' || new.key_id), ('tenant'), ('user:' || new.user_id)) as s (subject)
    cross join (values ('day'), ('month')) as w (time_window)
    where s.subject is not null
    order by s.subject <> 'tenant', s.subject, w.time_window
    on conflict (tenant_id, subject, unit, time_window) do update
    set
        used = excluded.used + case when u.window_start = excluded.window_start then u.used else 0 end,
        window_start = excluded.window_start;
    return null;
end
$$;
create trigger count_used_tokens after insert on app.usage_events
    for each row when (new.provider <> 'extractive') execute function app.count_used_tokens();

-- How many answers of a user are being written.
create index attempts_of_user on app.attempts (tenant_id, user_id);
