-- Attempts that begin, or end, in the same milliseconds come into the books together: one transaction, one commit, one wait for the locks
-- of their tenant. Each function does all that it is given or nothing; whoever is refused asks for each attempt by itself (0028), and
-- learns there which one it was, and why.

-- As it was, but for several questions of a user at once.
drop function app.count_question(uuid, text[]);
create function app.count_questions(asker uuid, subjects text[], questions bigint)
    returns table (subject text, unit text, time_window text, used bigint, left_s double precision)
    language sql volatile
    set search_path = pg_catalog, pg_temp
    begin atomic
    with wanted as (
        select t.time_window, case t.time_window when 'minute' then date_trunc('minute', now(), 'UTC') else u.created_at end as window_start
        from app.users u
        cross join unnest(array['first-day', 'minute']) as t (time_window)
        where u.tenant_id = app.current_tenant() and u.user_id = asker
            and (t.time_window = 'minute' or (u.created_at > now() - interval '1 day' and not starts_with(u.subject, 'api-key:')))
    ),
    taken as (
        insert into app.limit_uses as u (tenant_id, subject, unit, time_window, window_start, used)
        select app.current_tenant(), 'user:' || asker, 'requests', w.time_window, w.window_start, questions
        from wanted w
        order by w.time_window
        on conflict (tenant_id, subject, unit, time_window)
        do update set
            used = excluded.used + case when u.window_start = excluded.window_start then u.used else 0 end,
            window_start = excluded.window_start
        returning u.subject, u.unit, u.time_window, u.used, u.window_start
    ),
    found as (
        select t.* from taken t
        union all
        select u.subject, u.unit, u.time_window, u.used, u.window_start
        from app.limit_uses u
        where u.tenant_id = app.current_tenant() and u.unit = 'tokens' and u.subject = any (subjects)
            and u.window_start = date_trunc(u.time_window, now(), 'UTC')
    )
    select f.subject, f.unit, f.time_window, f.used,
        extract(epoch from f.window_start + case f.time_window
            when 'minute' then interval '1 minute' when 'month' then interval '1 month' else interval '1 day' end - now())
    from found f;
    end;

-- Whether what is used, as app.count_questions gives it, is more than `limits` allow.
create function app.is_over(limits jsonb, uses jsonb) returns boolean
    language sql immutable
    set search_path = pg_catalog, pg_temp
    begin atomic
    select exists (
        select
        from jsonb_to_recordset(limits) as l (subject text, unit text, time_window text, most bigint)
        join jsonb_to_recordset(uses) as u (subject text, unit text, time_window text, used bigint)
            using (subject, unit, time_window)
        where u.used > l.most or (l.unit = 'tokens' and u.used = l.most));
    end;

-- As it was, by these two.
create or replace function app.begin_attempt(
    tenant uuid, attempt uuid, process uuid, session uuid, asker uuid, credential text, provider text, model text, input_bytes bigint,
    output_tokens_max bigint, price text, cost_read bigint, cost_max bigint, is_free boolean, amount bigint, limits jsonb,
    streams_max bigint, answer uuid, question text
)
    returns table (uses jsonb, is_bound boolean)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = auto
as
$$
declare
    running bigint;
    bound record;
begin
    perform set_config('app.tenant_id', tenant::text, true);
    uses := '[]';
    is_bound := false;
    if attempt is not null then
        insert into app.attempts (
            tenant_id, attempt_id, process_id, session_id, user_id, key_id, provider, model, input_bytes, output_tokens_max, price_id,
            cost_read_micro_usd, cost_max_micro_usd, begun_at
        ) values (
            tenant, attempt, process, session, asker, credential, provider, model, input_bytes, output_tokens_max, price, cost_read,
            cost_max, now()
        ) on conflict (tenant_id, attempt_id) do nothing;
        if not found then
            is_bound := exists (select from app.leases l where l.tenant_id = tenant and l.attempt_id = attempt);
            return next;
            return;
        end if;
    end if;
    if limits is not null then
        select coalesce(jsonb_agg(to_jsonb(u)), '[]') into uses
        from app.count_questions(asker, array(select distinct l ->> 'subject' from jsonb_array_elements(limits) l), 1) u;
        if app.is_over(limits, uses) then
            raise exception using errcode = 'AT001', message = 'a limit is used up', detail = uses::text;
        end if;
        if streams_max > 0 then
            select count(*) into running from app.attempts a
            where a.tenant_id = tenant and a.user_id = asker and a.attempt_id is distinct from attempt;
            if running >= streams_max then
                raise exception using errcode = 'AT002', message = 'too many answers at once', detail = running::text;
            end if;
        end if;
    end if;
    if attempt is not null and not is_free then
        select * into bound from app.reserve(attempt, amount);
        if bound.is_refused then
            raise exception using errcode = 'AT003', message = 'a budget has too little', detail = to_jsonb(bound)::text;
        end if;
        is_bound := bound.is_refused is not null;
    end if;
    if answer is not null then
        insert into app.answers (tenant_id, answer_id, user_id, session_id, process_id, question, begun_at)
        values (tenant, answer, asker, session, process, question, now())
        on conflict (tenant_id, answer_id) do nothing;
    end if;
    return next;
end
$$;

-- Puts attempts of one tenant into the books, each as app.begin_attempt does. AT004: one of them would be refused.
create function app.begin_attempts(tenant uuid, process uuid, asked jsonb)
    returns table (attempt uuid, uses jsonb, is_bound boolean)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = auto
as
$$
declare
    who record;
    found_uses jsonb;
    told jsonb := '{}';
begin
    perform set_config('app.tenant_id', tenant::text, true);
    insert into app.attempts (
        tenant_id, attempt_id, process_id, session_id, user_id, key_id, provider, model, input_bytes, output_tokens_max, price_id,
        cost_read_micro_usd, cost_max_micro_usd, begun_at
    )
    select tenant, e.attempt, process, e.session, e.asker, e.credential, e.provider, e.model, e.input_bytes, e.output_tokens_max,
        e.price, e.cost_read, e.cost_max, now()
    from jsonb_to_recordset(asked) as e (
        attempt uuid, session uuid, asker uuid, credential text, provider text, model text, input_bytes bigint,
        output_tokens_max bigint, price text, cost_read bigint, cost_max bigint);
    for who in
        select e.asker, e.credential, e.limits, max(e.streams_max) as streams_max, count(*) as questions
        from jsonb_to_recordset(asked) as e (asker uuid, credential text, limits jsonb, streams_max bigint)
        where jsonb_typeof(e.limits) = 'array'
        group by e.asker, e.credential, e.limits
        order by e.asker, e.credential
    loop
        select coalesce(jsonb_agg(to_jsonb(u)), '[]') into found_uses
        from app.count_questions(
            who.asker, array(select distinct l ->> 'subject' from jsonb_array_elements(who.limits) l), who.questions) u;
        if app.is_over(who.limits, found_uses) then
            raise exception using errcode = 'AT004', message = 'a limit is used up';
        end if;
        if who.streams_max > 0 and (
            select count(*) from app.attempts a where a.tenant_id = tenant and a.user_id = who.asker) > who.streams_max
        then
            raise exception using errcode = 'AT004', message = 'too many answers at once';
        end if;
        told := told || jsonb_build_object(concat(who.asker, who.credential), found_uses);
    end loop;
    perform app.reserve_all(asked);
    insert into app.answers (tenant_id, answer_id, user_id, session_id, process_id, question, begun_at)
    select tenant, e.answer, e.asker, e.session, process, e.question, now()
    from jsonb_to_recordset(asked) as e (asker uuid, session uuid, answer uuid, question text)
    where e.answer is not null
    on conflict (tenant_id, answer_id) do nothing;
    return query
    select e.attempt,
        case jsonb_typeof(e.limits) when 'array' then coalesce(told -> concat(e.asker, e.credential), '[]') else '[]' end,
        exists (select from app.leases l where l.tenant_id = tenant and l.attempt_id = e.attempt)
    from jsonb_to_recordset(asked) as e (attempt uuid, asker uuid, credential text, limits jsonb);
end
$$;

-- Reserves so much more for each of several attempts, of every budget that covers one of them, or of none. AT004: a budget has too little
-- for all, or an attempt was settled. Each budget's row is locked in the order in which everybody locks them.
create function app.reserve_all(asked jsonb) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = auto
as
$$
#variable_conflict use_column
declare
    there bigint;
    bound record;
    needs jsonb;
begin
    -- Whoever settles one for a process that counts as dead waits, or was here first: a lease must not come after the row.
    select count(*) into there
    from (
        select a.attempt_id
        from app.attempts a
        join jsonb_to_recordset(asked) as e (attempt uuid) on a.attempt_id = e.attempt
        where a.tenant_id = app.current_tenant()
        order by a.attempt_id
        for key share of a
    ) locked;
    if there < jsonb_array_length(asked) then
        raise exception using errcode = 'AT004', message = 'an attempt was settled';
    end if;
    perform pg_advisory_xact_lock_shared(app.budgets_lock(app.current_tenant()));
    select jsonb_agg(n) into needs
    from (
        select b.budget_id, app.window_begin(b.period, b.created_at, a.begun_at) as begins,
            sum(e.amount)::bigint as amount, count(*) filter (where e.amount is null) as unpriced
        from jsonb_to_recordset(asked) as e (attempt uuid, is_free boolean, amount bigint)
        join app.attempts a on a.tenant_id = app.current_tenant() and a.attempt_id = e.attempt
        join app.budgets b on b.tenant_id = a.tenant_id and app.budget_covers(b.level, b.subject, a.user_id, a.key_id)
        where e.is_free is not true and app.window_begin(b.period, b.created_at, a.begun_at) is not null
        group by 1, 2
    ) n;
    if needs is null then
        return;
    end if;
    insert into app.budget_windows (tenant_id, budget_id, begins)
    select app.current_tenant(), n.budget_id, n.begins
    from jsonb_to_recordset(needs) as n (budget_id uuid, begins timestamptz)
    order by n.budget_id, n.begins
    on conflict do nothing;
    for bound in
        select n.unpriced > 0 or app.limit_of(b) - w.spent_micro_usd - w.reserved_micro_usd < n.amount as is_short
        from jsonb_to_recordset(needs) as n (budget_id uuid, begins timestamptz, amount bigint, unpriced bigint)
        join app.budgets b on b.tenant_id = app.current_tenant() and b.budget_id = n.budget_id
        join app.budget_windows w on w.tenant_id = b.tenant_id and w.budget_id = b.budget_id and w.begins = n.begins
        order by w.budget_id, w.begins
        for update of w
    loop
        if bound.is_short then
            raise exception using errcode = 'AT004', message = 'a budget has too little';
        end if;
    end loop;
    update app.budget_windows w
    set reserved_micro_usd = w.reserved_micro_usd + n.amount
    from jsonb_to_recordset(needs) as n (budget_id uuid, begins timestamptz, amount bigint)
    where w.tenant_id = app.current_tenant() and w.budget_id = n.budget_id and w.begins = n.begins;
    insert into app.leases as l (tenant_id, attempt_id, budget_id, begins, reserved_micro_usd)
    select a.tenant_id, a.attempt_id, b.budget_id, app.window_begin(b.period, b.created_at, a.begun_at), e.amount
    from jsonb_to_recordset(asked) as e (attempt uuid, is_free boolean, amount bigint)
    join app.attempts a on a.tenant_id = app.current_tenant() and a.attempt_id = e.attempt
    join app.budgets b on b.tenant_id = a.tenant_id and app.budget_covers(b.level, b.subject, a.user_id, a.key_id)
    where e.is_free is not true and app.window_begin(b.period, b.created_at, a.begun_at) is not null
    on conflict on constraint leases_pkey
    do update set reserved_micro_usd = l.reserved_micro_usd + excluded.reserved_micro_usd;
end
$$;

-- app.reserve_more for several attempts of one tenant. An attempt that is not bound has no budget that covers it any more.
create function app.reserve_more_all(tenant uuid, asked jsonb) returns table (attempt uuid, is_bound boolean)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = auto
as
$$
begin
    perform set_config('app.tenant_id', tenant::text, true);
    perform app.reserve_all(asked);
    return query
    select e.attempt, exists (select from app.leases l where l.tenant_id = tenant and l.attempt_id = e.attempt)
    from jsonb_to_recordset(asked) as e (attempt uuid);
end
$$;

-- Tokens are counted once for all rows of a statement. The trigger's name puts it before that of the budgets, as it was.
drop trigger count_used_tokens on app.usage_events;
create or replace function app.count_used_tokens() returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = auto
    as $$
begin
    insert into app.limit_uses as u (tenant_id, subject, unit, time_window, window_start, used)
    select n.tenant_id, s.subject, 'tokens', w.time_window, date_trunc(w.time_window, now(), 'UTC'),
        sum(n.input_uncached + n.cache_read + n.cache_write_5m + n.cache_write_1h + n.output_visible + n.reasoning)::bigint
    from settled n
    cross join lateral (values ('key:' || n.key_id), ('tenant'), ('user:' || n.user_id)) as s (subject)
    cross join (values ('day'), ('month')) as w (time_window)
    where s.subject is not null and n.provider <> 'extractive'
    group by n.tenant_id, s.subject, w.time_window
    order by n.tenant_id, s.subject <> 'tenant', s.subject, w.time_window
    on conflict (tenant_id, subject, unit, time_window) do update
    set
        used = excluded.used + case when u.window_start = excluded.window_start then u.used else 0 end,
        window_start = excluded.window_start;
    return null;
end
$$;
create trigger add_tokens after insert on app.usage_events
    referencing new table as settled for each statement execute function app.count_used_tokens();

-- The good secrets of an API key, in one round trip: each request that shows one asks. `use_s`: how old a note of its use gets.
create function app.find_api_key(tenant uuid, wanted text, use_s double precision)
    returns table (user_id uuid, name text, scopes text[], subject text, secret_hash bytea, good_until timestamptz, is_use_due boolean)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = auto
as
$$
begin
    perform set_config('app.tenant_id', tenant::text, true);
    return query
    select k.user_id, k.name, k.scopes, u.subject, s.secret_hash, s.good_until,
        s.last_used_at is null or s.last_used_at < now() - make_interval(secs => use_s)
    from app.api_keys k
    join app.api_key_secrets s on s.tenant_id = k.tenant_id and s.key_id = k.key_id
    join app.users u on u.tenant_id = k.tenant_id and u.user_id = k.user_id
    where k.tenant_id = tenant and k.key_id = wanted and k.revoked_at is null and s.good_until > now();
end
$$;
