-- Money: what an attempt costs by which price, budgets that hold on all their levels at once, and what is reserved of them.

-- A price of zero is known, and a cost of zero with it: null alone says that a price is not known.
alter table app.usage_events
    drop constraint usage_events_cost_micro_usd_check,
    add constraint usage_events_cost_micro_usd_check check (cost_micro_usd >= 0),
    add column price_id text,                      -- the row of schemas/prices/prices.toml; null: the price is not known
    add column unseen_cost_max_micro_usd bigint check (unseen_cost_max_micro_usd >= 0);  -- at most so much more was charged

-- What an attempt costs at least and at most, so that whoever settles it for a process that died needs no price list.
alter table app.attempts
    add column price_id text,                                                          -- null, like the others: not known
    add column cost_read_micro_usd bigint check (cost_read_micro_usd >= 0),            -- of what it reads, by the bytes
    add column cost_max_micro_usd bigint check (cost_max_micro_usd >= 0);

grant update (process_id) on app.attempts to adriatic_api;  -- what it takes to lock a row; nobody changes one

create table app.budgets (
    tenant_id       uuid not null references app.tenants,
    budget_id       uuid not null,
    level           text not null check (level in ('org', 'user', 'key')),
    subject         text not null check (length(subject) <= 255),  -- the user's id, the key's id; empty for the organisation
    period          text not null check (period in ('day', 'month', 'prepaid')),  -- in UTC
    limit_micro_usd bigint not null check (limit_micro_usd between 0 and 1000000000000000),
    created_by      uuid not null,
    created_at      timestamptz not null default now(),
    primary key (tenant_id, budget_id),
    unique (tenant_id, level, subject, period),
    check ((level = 'org') = (subject = '')),
    foreign key (tenant_id, created_by) references app.users
);
call app.protect('app.budgets');
grant select, insert, update (limit_micro_usd, created_by), delete on app.budgets to adriatic_api;

-- The counters. Spent is the sum of cost_micro_usd in app.usage_events over the attempts that began in the window; reserved is
-- the sum of its leases. A prepaid budget has one window, which begins with it.
create table app.budget_windows (
    tenant_id          uuid not null,
    budget_id          uuid not null,
    begins             timestamptz not null,
    spent_micro_usd    bigint not null default 0 check (spent_micro_usd >= 0),
    reserved_micro_usd bigint not null default 0 check (reserved_micro_usd >= 0),
    primary key (tenant_id, budget_id, begins),
    foreign key (tenant_id, budget_id) references app.budgets on delete cascade
);
call app.protect('app.budget_windows');
grant select, insert, update (spent_micro_usd, reserved_micro_usd) on app.budget_windows to adriatic_api, adriatic_flows;

-- What an attempt holds of a budget until it is settled. It lives as long as its row in app.attempts, and so ends with the lease of
-- the process. The window is the one in which the attempt began: midnight moves nothing.
create table app.leases (
    tenant_id          uuid not null,
    attempt_id         uuid not null,
    budget_id          uuid not null,
    begins             timestamptz not null,
    reserved_micro_usd bigint not null check (reserved_micro_usd >= 0),
    primary key (tenant_id, attempt_id, budget_id),
    foreign key (tenant_id, budget_id) references app.budgets on delete cascade
);
create index leases_by_budget on app.leases (tenant_id, budget_id);
call app.protect('app.leases');
grant select, insert, update (reserved_micro_usd), delete on app.leases to adriatic_api, adriatic_flows;

-- The window that a moment is in; null: a prepaid budget that did not exist then.
create function app.window_begin(period text, created_at timestamptz, moment timestamptz) returns timestamptz
    language sql stable parallel safe
    set search_path = pg_catalog, pg_temp
    return case when period <> 'prepaid' then date_trunc(period, moment, 'UTC') when moment >= created_at then created_at end;

-- When the window ends; null: never.
create function app.window_end(period text, begins timestamptz) returns timestamptz
    language sql stable parallel safe
    set search_path = pg_catalog, pg_temp
    return case when period <> 'prepaid' then
        (begins at time zone 'UTC' + ('1 ' || period)::interval) at time zone 'UTC' end;

create function app.budget_covers(level text, subject text, user_id uuid, key_id text) returns boolean
    language sql immutable parallel safe
    set search_path = pg_catalog, pg_temp
    return level = 'org' or (level = 'user' and subject = user_id::text) or (level = 'key' and subject = coalesce(key_id, ''));

-- Whoever reserves or settles takes the lock of the tenant together with others, whoever makes or removes a budget takes it alone: so
-- a new budget begins with the sum of all rows, and misses none that is being written.
create function app.budgets_lock(tenant_id uuid) returns bigint
    language sql immutable parallel safe
    set search_path = pg_catalog, pg_temp
    return hashtextextended(tenant_id::text || '/budgets', 0);

-- Reserves `amount` more for an attempt, of every budget that covers it or of none. Gives no row where none covers it, else the
-- budget that leaves least: what it left before, and whether that is too little. An amount of null is a price that is not known, which
-- no budget can bear. An attempt that is not in app.attempts any more was settled: it is refused by a row without a budget.
create function app.reserve(attempt uuid, amount bigint)
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
        select b.*, w.begins, b.limit_micro_usd - w.spent_micro_usd as unspent,
               b.limit_micro_usd - w.spent_micro_usd - w.reserved_micro_usd as remaining
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
    limit_micro_usd := tightest.limit_micro_usd;
    unspent_micro_usd := tightest.unspent;
    left_micro_usd := remaining;
    resets_at := app.window_end(tightest.period, tightest.begins);
    return next;
end
$$;

-- Settles with the ledger: in the transaction in which a row comes into app.usage_events, and only then, the counters of the budgets
-- that cover it move, and its leases end. A second row of an attempt never comes, so neither does a second move. Whoever writes the row,
-- the API or the agent that settles for the dead, need know nothing of budgets.
create function app.settle_budgets() returns trigger
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as
$$
begin
    perform pg_advisory_xact_lock_shared(app.budgets_lock(t.tenant_id))
    from (select distinct n.tenant_id from settled n order by 1) t;
    if not exists (select from app.budgets b join settled n on n.tenant_id = b.tenant_id) then
        return null;
    end if;
    insert into app.budget_windows (tenant_id, budget_id, begins)
    select distinct b.tenant_id, b.budget_id, app.window_begin(b.period, b.created_at, n.started_at)
    from app.budgets b join settled n on n.tenant_id = b.tenant_id
    where app.budget_covers(b.level, b.subject, n.user_id, n.key_id)
        and app.window_begin(b.period, b.created_at, n.started_at) is not null
    order by 1, 2, 3
    on conflict do nothing;
    -- In the order in which everybody locks them.
    perform
    from app.budget_windows w
    where (w.tenant_id, w.budget_id, w.begins) in (
        select b.tenant_id, b.budget_id, app.window_begin(b.period, b.created_at, n.started_at)
        from app.budgets b join settled n on n.tenant_id = b.tenant_id
        where app.budget_covers(b.level, b.subject, n.user_id, n.key_id)
        union
        select l.tenant_id, l.budget_id, l.begins
        from app.leases l join settled n on n.tenant_id = l.tenant_id and n.attempt_id = l.attempt_id)
    order by w.tenant_id, w.budget_id, w.begins
    for update;
    update app.budget_windows w
    set spent_micro_usd = w.spent_micro_usd + moved.cost
    from (
        select b.tenant_id, b.budget_id, app.window_begin(b.period, b.created_at, n.started_at) as begins,
               sum(n.cost_micro_usd)::bigint as cost
        from app.budgets b join settled n on n.tenant_id = b.tenant_id
        where app.budget_covers(b.level, b.subject, n.user_id, n.key_id) and n.cost_micro_usd > 0
        group by 1, 2, 3
    ) moved
    where w.tenant_id = moved.tenant_id and w.budget_id = moved.budget_id and w.begins = moved.begins;
    with ended as (
        delete from app.leases l
        using settled n
        where l.tenant_id = n.tenant_id and l.attempt_id = n.attempt_id
        returning l.tenant_id, l.budget_id, l.begins, l.reserved_micro_usd
    )
    update app.budget_windows w
    set reserved_micro_usd = w.reserved_micro_usd - moved.reserved
    from (select e.tenant_id, e.budget_id, e.begins, sum(e.reserved_micro_usd)::bigint as reserved
          from ended e group by 1, 2, 3) moved
    where w.tenant_id = moved.tenant_id and w.budget_id = moved.budget_id and w.begins = moved.begins;
    return null;
end
$$;
create trigger budgets after insert on app.usage_events
    referencing new table as settled for each statement execute function app.settle_budgets();

call ops.bound_rows();
