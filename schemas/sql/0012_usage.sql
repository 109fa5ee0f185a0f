-- What was asked of models and what that cost, what jobs are at, and who was active: kept by the flows `usage` and `activity`.

-- With which credential an attempt was made (api/auth/tokens.py says how it is found). Null: the token does not say.
alter table app.usage_events add column key_id text check (length(key_id) between 1 and 255);

-- The ledger has rows already, and no copy of the table is taken for it: each row is written again as it is, after the table is
-- published, so that the topic has all of them. The owner is bound by row security like everybody, but for this one statement.
alter publication adriatic add table app.usage_events;
alter table app.usage_events no force row level security;
update app.usage_events set attempt_id = attempt_id;
alter table app.usage_events force row level security;

-- What the flow has counted, once for each attempt. A record that comes again finds its row here and changes nothing.
create table mv.usage_ledger (
    tenant_id      uuid not null,
    attempt_id     uuid not null,
    started_at     timestamptz not null,
    user_id        uuid not null,
    key_id         text,
    provider       text not null,
    model          text not null,
    outcome        text not null,
    usage_source   text not null,
    input_uncached bigint not null,
    cache_read     bigint not null,
    cache_write_5m bigint not null,
    cache_write_1h bigint not null,
    output_visible bigint not null,
    reasoning      bigint not null,
    cost_micro_usd bigint,                         -- null: the price is not known
    primary key (tenant_id, attempt_id)
);

-- The aggregates differ in what they are by, and count alike. An attempt counts when it began, in UTC.
create table mv.usage_counts (
    attempts       bigint not null,
    completed      bigint not null,
    failed         bigint not null,
    cancelled      bigint not null,
    input_uncached bigint not null,                -- disjoint buckets: their sum is all tokens
    cache_read     bigint not null,
    cache_write_5m bigint not null,
    cache_write_1h bigint not null,
    output_visible bigint not null,
    reasoning      bigint not null,
    cost_micro_usd bigint not null,                -- of the attempts whose price is known
    unpriced       bigint not null,                -- attempts whose price is not known: they are not free
    partial        bigint not null,                -- attempts whose output was counted here, by the bytes
    estimated      bigint not null                 -- attempts whose input was, too
);
create table mv.usage_by_hour (
    tenant_id uuid not null, hour timestamptz not null, like mv.usage_counts, primary key (tenant_id, hour));
create table mv.usage_by_day (
    tenant_id uuid not null, day date not null, like mv.usage_counts, primary key (tenant_id, day));
create table mv.usage_by_model (
    tenant_id uuid not null, day date not null, provider text not null, model text not null,
    like mv.usage_counts, primary key (tenant_id, day, provider, model));
create table mv.usage_by_user (
    tenant_id uuid not null, day date not null, user_id uuid not null,
    like mv.usage_counts, primary key (tenant_id, day, user_id));
create table mv.usage_by_key (
    tenant_id uuid not null, day date not null, key_id text not null,  -- empty: not known
    like mv.usage_counts, primary key (tenant_id, day, key_id));
drop table mv.usage_counts;

-- What job.progress said last of each job: all that are open, and of those that are over the newest 500 of each tenant
-- (dataflows/job_status.py: FINISHED_MAX), by their id, which begins with the time at which they were asked for.
create table mv.job_status (
    tenant_id   uuid not null,
    job_id      uuid not null,
    kind        text not null,
    state       text not null,                     -- queued | running | succeeded | failed | cancelled
    stage       text not null,                     -- what it is at, in the kind's own words
    done        bigint not null,                   -- in `unit`
    total       bigint,                            -- in `unit`; null: not known yet
    unit        text not null,
    code        text not null,                     -- why it failed, for machines; else empty
    message     text not null,                     -- and for people
    sequence    bigint not null,                   -- of the event; a smaller one is old news
    occurred_at timestamptz not null,              -- when that was so
    primary key (tenant_id, job_id)
);

-- Of each day (UTC) with versions that took effect: how many authors they have, by name. Versions without one count nobody.
-- By when they took effect, so that an imported history shows when its authors worked, and not when it was imported.
create table mv.daily_active_users (
    tenant_id uuid not null,
    day       date not null,
    users     bigint not null check (users > 0),
    primary key (tenant_id, day)
);
create index activity_ledger_day on mv.activity_ledger (tenant_id, ((effective_at at time zone 'UTC')::date), author);

alter publication adriatic add table mv.usage_by_hour, mv.usage_by_day, mv.usage_by_model, mv.usage_by_user, mv.usage_by_key,
    mv.job_status, mv.daily_active_users;

-- The flow `activity` has counted versions before this file: their days are made from its ledger.
alter table mv.activity_ledger no force row level security;
insert into mv.daily_active_users (tenant_id, day, users)
    select tenant_id, (effective_at at time zone 'UTC')::date, count(distinct author) from mv.activity_ledger
    where author <> '' group by 1, 2;
alter table mv.activity_ledger force row level security;

call app.protect('mv.usage_ledger');
call app.protect('mv.usage_by_hour');
call app.protect('mv.usage_by_day');
call app.protect('mv.usage_by_model');
call app.protect('mv.usage_by_user');
call app.protect('mv.usage_by_key');
call app.protect('mv.job_status');
call app.protect('mv.daily_active_users');
grant select on mv.usage_by_hour, mv.usage_by_day, mv.usage_by_model, mv.usage_by_user, mv.usage_by_key, mv.job_status,
    mv.daily_active_users to adriatic_api;
grant insert, update, delete on mv.usage_ledger, mv.usage_by_hour, mv.usage_by_day, mv.usage_by_model, mv.usage_by_user,
    mv.usage_by_key, mv.job_status, mv.daily_active_users to adriatic_flows;
