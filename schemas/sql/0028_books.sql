-- An attempt comes into the books in one statement, and leaves them in another: what is asked of the database a hundred times a second
-- is one round trip each time. Both are the API's own and run with its rights, under row security: they begin by saying whose rows
-- they write. Their plans are kept, since they reach each table by its key, whoever the tenant is.

-- Counts one question of a user: in its minute, and while the user is new in its first day. Gives what is used of requests, with this
-- one, and of the subjects' tokens, where anything is, and when each window is over. The row of the user's minute is locked from here to
-- the commit: of two questions at the same moment, the second sees the attempt of the first. An API key was made by an admin, so its user
-- is no stranger on the first day.
create function app.count_question(asker uuid, subjects text[])
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
        select app.current_tenant(), 'user:' || asker, 'requests', w.time_window, w.window_start, 1
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

-- Puts an attempt into the books, all of it or nothing: notes it, counts the question against `limits` (null: it is not counted), reserves
-- what it takes at first (`is_free`: nothing; an amount of null: the price is not known), and notes the answer, where one is kept. What
-- is refused is an exception, with JSON as its detail: AT001 a limit is used up, and what is used; AT002 too many answers of the user
-- are being written, and their number; AT003 a budget has too little, and the row of app.reserve. A second time changes nothing. Without
-- an attempt nobody is asked: the question counts all the same, and the answer is noted.
create function app.begin_attempt(
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
        from app.count_question(asker, array(select distinct l ->> 'subject' from jsonb_array_elements(limits) l)) u;
        if exists (
            select
            from jsonb_to_recordset(limits) as l (subject text, unit text, time_window text, most bigint)
            join jsonb_to_recordset(uses) as u (subject text, unit text, time_window text, used bigint)
                using (subject, unit, time_window)
            where u.used > l.most or (l.unit = 'tokens' and u.used = l.most)
        ) then
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

-- app.reserve of a further piece, for an attempt that runs out: one round trip too.
create function app.reserve_more(tenant uuid, attempt uuid, amount bigint)
    returns table (budget_id uuid, level text, period text, limit_micro_usd bigint, unspent_micro_usd bigint,
                   left_micro_usd bigint, resets_at timestamptz, is_refused boolean)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = auto
as
$$
begin
    perform set_config('app.tenant_id', tenant::text, true);
    return query select * from app.reserve(attempt, amount);
end
$$;

-- Settles an attempt: its row goes, and its row in the ledger comes, which moves the counters (0026, 0027). A second time changes nothing.
create function app.settle_attempt(
    tenant uuid, attempt uuid, session uuid, asker uuid, credential text, provider text, model text, input_uncached bigint,
    cache_read bigint, cache_write_5m bigint, cache_write_1h bigint, output_visible bigint, reasoning bigint, price text, cost bigint,
    unseen_cost_max bigint, usage_source text, unseen_tokens_max bigint, outcome text, code text, first_token_ms integer,
    started_at timestamptz, finished_at timestamptz
)
    returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = auto
as
$$
begin
    perform set_config('app.tenant_id', tenant::text, true);
    delete from app.attempts a where a.tenant_id = tenant and a.attempt_id = attempt;
    insert into app.usage_events (
        tenant_id, attempt_id, session_id, user_id, key_id, provider, model, input_uncached, cache_read, cache_write_5m, cache_write_1h,
        output_visible, reasoning, price_id, cost_micro_usd, unseen_cost_max_micro_usd, usage_source, unseen_tokens_max, outcome, code,
        first_token_ms, started_at, finished_at
    ) values (
        tenant, attempt, session, asker, credential, provider, model, input_uncached, cache_read, cache_write_5m, cache_write_1h,
        output_visible, reasoning, price, cost, unseen_cost_max, usage_source, unseen_tokens_max, outcome, code, first_token_ms,
        started_at, finished_at
    ) on conflict (tenant_id, attempt_id) do nothing;
end
$$;
