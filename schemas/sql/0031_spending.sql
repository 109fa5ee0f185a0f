-- What keeps an eye on money: alerts, the switch that stops everything, and limits that are raised for a while.

-- A raise has an actor, a reason, an amount and an end. Rows stay: they are the audit. No reference to the budget, which may go before.
create table app.budget_overrides (
    tenant_id        uuid not null references app.tenants,
    override_id      uuid not null,
    budget_id        uuid not null,
    level            text not null,                -- as the budget was: it says what was raised when the budget is gone
    subject          text not null,
    period           text not null,
    amount_micro_usd bigint not null check (amount_micro_usd between 1 and 1000000000000000),
    reason           text not null check (length(reason) between 1 and 500),
    created_by       uuid not null,
    created_at       timestamptz not null default now(),
    expires_at       timestamptz not null check (expires_at > created_at),
    ended_by         uuid,                         -- who ended it before
    ended_at         timestamptz,
    primary key (tenant_id, override_id),
    check ((ended_by is null) = (ended_at is null)),
    foreign key (tenant_id, created_by) references app.users,
    foreign key (tenant_id, ended_by) references app.users
);
create index budget_overrides_in_force on app.budget_overrides (tenant_id, budget_id, expires_at) where ended_at is null;
call app.protect('app.budget_overrides');
grant select, insert, update (ended_by, ended_at) on app.budget_overrides to adriatic_api;

-- What a budget allows now.
create function app.limit_of(budget app.budgets) returns bigint
    language sql stable
    set search_path = pg_catalog, pg_temp
    return (budget).limit_micro_usd + coalesce(
        (select sum(o.amount_micro_usd)::bigint
         from app.budget_overrides o
         where o.tenant_id = (budget).tenant_id and o.budget_id = (budget).budget_id and o.ended_at is null
             and o.expires_at > now()), 0);

-- Orders to stop: by hand, or by a budget that is far over its limit. One is in force until somebody resumes it, and one of a budget
-- no longer than the budget's window. Rows stay.
create table app.spend_stops (
    tenant_id       uuid not null references app.tenants,
    stop_id         uuid not null default gen_random_uuid(),
    level           text not null check (level in ('org', 'user', 'key')),
    subject         text not null check (length(subject) <= 255),
    reason          text not null check (length(reason) between 1 and 500),
    stopped_by      uuid,                          -- null: the budget did it
    budget_id       uuid,                          -- no reference: it may go before
    begins          timestamptz,                   -- the budget's window
    stopped_at      timestamptz not null default now(),
    ends_at         timestamptz,                   -- with the window; null: it does not end by itself
    resumed_by      uuid,
    resumed_at      timestamptz,
    resume_reason   text not null default '' check (length(resume_reason) <= 500),
    primary key (tenant_id, stop_id),
    check ((level = 'org') = (subject = '')),
    check ((stopped_by is null) = (budget_id is not null) and (budget_id is null) = (begins is null)),
    check ((resumed_by is null) = (resumed_at is null)),
    foreign key (tenant_id, stopped_by) references app.users,
    foreign key (tenant_id, resumed_by) references app.users
);
create unique index spend_stops_by_hand on app.spend_stops (tenant_id, level, subject)
    where budget_id is null and resumed_at is null;
create unique index spend_stops_of_budgets on app.spend_stops (tenant_id, budget_id, begins)
    where budget_id is not null and resumed_at is null;
call app.protect('app.spend_stops');
create policy telling on app.spend_stops for select to adriatic_owner using (true);  -- ops.tell_stops
grant select, insert, update (resumed_by, resumed_at, resume_reason) on app.spend_stops to adriatic_api;
grant insert on app.spend_stops to adriatic_flows;  -- it settles what processes left

create function app.is_in_force(stop app.spend_stops) returns boolean
    language sql stable
    set search_path = pg_catalog, pg_temp
    return (stop).resumed_at is null and ((stop).ends_at is null or (stop).ends_at > now());

-- What is in force of the tenants whose answers a process writes: it looks several times a second, and once for all of them. It learns
-- nothing of a tenant whose id it does not know.
create function ops.tell_stops(tenants uuid[])
    returns table (tenant_id uuid, level text, subject text, reason text, stopped_at timestamptz)
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
    begin atomic
    select s.tenant_id, s.level, s.subject, s.reason, s.stopped_at
    from app.spend_stops s
    where s.tenant_id = any (tenants) and app.is_in_force(s)
    order by s.stopped_at;
    end;
revoke execute on function ops.tell_stops from public;
grant execute on function ops.tell_stops to adriatic_api;

-- No attempt begins where a stop covers it, whoever puts it into the books and however. The code is one of ours: see
-- connectors/postgres/errors.py.
create function app.refuse_stopped() returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
    as $$
declare
    stop app.spend_stops;
begin
    select s.* into stop
    from app.spend_stops s
    where s.tenant_id = new.tenant_id and s.resumed_at is null and app.is_in_force(s)
        and app.budget_covers(s.level, s.subject, new.user_id, new.key_id)
    order by s.stopped_at
    limit 1;
    if stop.stop_id is not null then
        raise exception 'spending is stopped since %: %',
            to_char(stop.stopped_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), stop.reason
            using errcode = 'AD001';
    end if;
    return new;
end
$$;
create trigger refuse_stopped before insert on app.attempts for each row execute function app.refuse_stopped();

-- An alert is its key: once for each budget, window and threshold, whoever settles.
create table app.spend_alerts (
    tenant_id       uuid not null references app.tenants,
    budget_id       uuid not null,                 -- no reference: it may go before
    begins          timestamptz not null,
    percent         integer not null check (percent in (70, 85, 95, 110)),
    alert_id        uuid not null default gen_random_uuid(),
    level           text not null,
    subject         text not null,
    period          text not null,
    limit_micro_usd bigint not null,               -- with what it was raised by
    spent_micro_usd bigint not null,
    raised_at       timestamptz not null default now(),
    routed_at       timestamptz,                   -- when its deliveries were put down
    primary key (tenant_id, budget_id, begins, percent),
    unique (tenant_id, alert_id)
);
create index spend_alerts_recent on app.spend_alerts (tenant_id, raised_at, percent, alert_id);
create index spend_alerts_unrouted on app.spend_alerts (tenant_id, raised_at) where routed_at is null;
call app.protect('app.spend_alerts');
grant select, insert on app.spend_alerts to adriatic_api, adriatic_flows;
grant update (routed_at) on app.spend_alerts to adriatic_flows;

-- What became of it on each way out.
create table app.alert_deliveries (
    tenant_id    uuid not null,
    alert_id     uuid not null,
    channel      text not null check (channel in ('log', 'webhook', 'slack', 'email')),
    state        text not null default 'waiting' check (state in ('waiting', 'delivered', 'failed')),
    tries        integer not null default 0 check (tries >= 0),
    next_at      timestamptz not null default now(),
    last_error   text not null default '' check (length(last_error) <= 500),
    delivered_at timestamptz,
    primary key (tenant_id, alert_id, channel),
    check ((state = 'delivered') = (delivered_at is not null)),
    foreign key (tenant_id, alert_id) references app.spend_alerts (tenant_id, alert_id)
);
create index alert_deliveries_waiting on app.alert_deliveries (tenant_id, next_at) where state = 'waiting';
call app.protect('app.alert_deliveries');
grant select on app.alert_deliveries to adriatic_api;
grant insert, update (state, tries, next_at, last_error, delivered_at) on app.alert_deliveries to adriatic_flows;

insert into app.emitters
select role, 'spend.alert'
from unnest('{adriatic_api,adriatic_flows}'::name[]) as role;

-- Whether what is spent of a window now is worth an alert, or a stop. In the transaction that moved the counter, which holds its row.
create function app.judge_spending(budget app.budgets, begins timestamptz, spent bigint) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    as $$
declare
    allowed constant bigint := app.limit_of(budget);
    ends constant timestamptz := app.window_end(budget.period, begins);
    crossed app.spend_alerts;
begin
    if spent <= 0 then
        return;
    end if;
    for crossed in
        insert into app.spend_alerts
            (tenant_id, budget_id, begins, percent, level, subject, period, limit_micro_usd, spent_micro_usd)
        select budget.tenant_id, budget.budget_id, judge_spending.begins, t.percent, budget.level, budget.subject, budget.period,
            allowed, spent
        from unnest('{70,85,95,110}'::integer[]) as t (percent)
        where spent::numeric * 100 >= allowed::numeric * t.percent
        on conflict do nothing
        returning *
    loop
        perform app.emit(
            'spend.alert',
            jsonb_build_object('tenant_id', crossed.tenant_id, 'id', crossed.alert_id),
            crossed.tenant_id,
            jsonb_build_object(
                'event_id', gen_random_uuid(), 'tenant_id', crossed.tenant_id,
                'occurred_at', (extract(epoch from clock_timestamp()) * 1000000)::bigint,
                'alert_id', crossed.alert_id, 'budget_id', crossed.budget_id, 'level', crossed.level,
                'subject', crossed.subject, 'period', crossed.period,
                'begins', (extract(epoch from crossed.begins) * 1000000)::bigint, 'percent', crossed.percent,
                'limit_micro_usd', crossed.limit_micro_usd, 'spent_micro_usd', crossed.spent_micro_usd));
    end loop;
    if spent::numeric * 100 >= allowed::numeric * 110 and (ends is null or ends > now()) then
        insert into app.spend_stops (tenant_id, level, subject, reason, budget_id, begins, ends_at)
        values (budget.tenant_id, budget.level, budget.subject,
                format('%s micro-USD are spent of %s', spent, allowed), budget.budget_id, judge_spending.begins, ends)
        on conflict do nothing;
    end if;
end
$$;

create function app.judge_window() returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform app.judge_spending(b, new.begins, new.spent_micro_usd)
    from app.budgets b
    where b.tenant_id = new.tenant_id and b.budget_id = new.budget_id;
    return null;
end
$$;
create trigger judge_new after insert on app.budget_windows
    for each row when (new.spent_micro_usd > 0) execute function app.judge_window();
create trigger judge_spent after update of spent_micro_usd on app.budget_windows
    for each row when (new.spent_micro_usd > old.spent_micro_usd) execute function app.judge_window();

create function app.judge_limit() returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform app.judge_spending(new, w.begins, w.spent_micro_usd)
    from app.budget_windows w
    where w.tenant_id = new.tenant_id and w.budget_id = new.budget_id
        and w.begins = app.window_begin(new.period, new.created_at, now());
    return null;
end
$$;
create trigger judge_limit after update of limit_micro_usd on app.budgets
    for each row when (new.limit_micro_usd < old.limit_micro_usd) execute function app.judge_limit();

-- Explaining shows what of the ledger the flow has counted.
grant select on mv.usage_ledger to adriatic_api;

-- As it was, but that a limit is what it is raised to.
create or replace function app.reserve(attempt uuid, amount bigint)
    returns table (budget_id uuid, level text, period text, limit_micro_usd bigint, unspent_micro_usd bigint,
                   left_micro_usd bigint, resets_at timestamptz, is_refused boolean)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as
$$
#variable_conflict use_column
declare
    asked app.attempts;
    bound record;
    tightest record;
    remaining bigint;
begin
    -- Whoever settles it for a process that counts as dead waits, or was here first: a lease must not come after the row.
    select * into asked from app.attempts a where a.tenant_id = app.current_tenant() and a.attempt_id = attempt for key share;
    if asked.attempt_id is null then
        is_refused := true;
        return next;
        return;
    end if;
    perform pg_advisory_xact_lock_shared(app.budgets_lock(asked.tenant_id));
    insert into app.budget_windows (tenant_id, budget_id, begins)
    select b.tenant_id, b.budget_id, app.window_begin(b.period, b.created_at, asked.begun_at)
    from app.budgets b
    where b.tenant_id = asked.tenant_id and app.budget_covers(b.level, b.subject, asked.user_id, asked.key_id)
        and app.window_begin(b.period, b.created_at, asked.begun_at) is not null
    order by b.budget_id
    on conflict do nothing;
    for bound in
        select b.*, w.begins, app.limit_of(b) as allowed, app.limit_of(b) - w.spent_micro_usd as unspent,
               app.limit_of(b) - w.spent_micro_usd - w.reserved_micro_usd as remaining
        from app.budgets b join app.budget_windows w on w.tenant_id = b.tenant_id and w.budget_id = b.budget_id
            and w.begins = app.window_begin(b.period, b.created_at, asked.begun_at)
        where b.tenant_id = asked.tenant_id and app.budget_covers(b.level, b.subject, asked.user_id, asked.key_id)
        order by b.budget_id
        for update of w
    loop
        if remaining is null or bound.remaining < remaining then
            tightest := bound;
            remaining := bound.remaining;
        end if;
    end loop;
    if remaining is null then
        return;
    end if;
    is_refused := amount is null or remaining < amount;
    if not is_refused then
        with moved as (
            update app.budget_windows w
            set reserved_micro_usd = w.reserved_micro_usd + amount
            from app.budgets b
            where b.tenant_id = asked.tenant_id and app.budget_covers(b.level, b.subject, asked.user_id, asked.key_id)
                and w.tenant_id = b.tenant_id and w.budget_id = b.budget_id
                and w.begins = app.window_begin(b.period, b.created_at, asked.begun_at)
            returning w.tenant_id, w.budget_id, w.begins
        )
        insert into app.leases as l (tenant_id, attempt_id, budget_id, begins, reserved_micro_usd)
        select m.tenant_id, attempt, m.budget_id, m.begins, amount from moved m
        on conflict on constraint leases_pkey
        do update set reserved_micro_usd = l.reserved_micro_usd + excluded.reserved_micro_usd;
    end if;
    budget_id := tightest.budget_id;
    level := tightest.level;
    period := tightest.period;
    limit_micro_usd := tightest.allowed;
    unspent_micro_usd := tightest.unspent;
    left_micro_usd := remaining;
    resets_at := app.window_end(tightest.period, tightest.begins);
    return next;
end
$$;
