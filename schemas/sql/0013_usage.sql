-- What was asked of language models, and what that cost: the ledger, and what the flow `usage` makes of it.

-- One row for each attempt, written once, when it ended (law 6: bounded by the attempts themselves). Append-only: nobody may
-- update or delete.
create table app.usage_events (
    tenant_id        uuid not null references app.tenants,
    attempt_id       uuid not null,                -- exactly once: a second insert of an attempt does nothing
    session_id       uuid not null,                -- the conversation that it belongs to
    user_id          uuid not null,
    provider         text not null,
    model            text not null,                -- as the provider named it, else as the settings do
    -- Disjoint buckets. Their sum is all tokens, whatever the provider's own sums contain.
    input_uncached   bigint not null check (input_uncached >= 0),
    cache_read       bigint not null check (cache_read >= 0),
    cache_write_5m   bigint not null check (cache_write_5m >= 0),
    cache_write_1h   bigint not null check (cache_write_1h >= 0),
    output_visible   bigint not null check (output_visible >= 0),
    reasoning        bigint not null check (reasoning >= 0),
    cost_micro_usd   bigint check (cost_micro_usd > 0),  -- null: the price is not known; never 0 instead
    usage_source     text not null check (usage_source in ('provider', 'partial', 'estimated')),
    outcome          text not null check (outcome in ('completed', 'failed', 'cancelled')),
    code             text not null default '',     -- of the error, where it failed
    first_token_ms   integer check (first_token_ms >= 0),  -- null: not one word came
    started_at       timestamptz not null,
    finished_at      timestamptz not null check (finished_at >= started_at),
    -- The credential of the attempt (api/auth/tokens.py says how it is found). Null: the token does not say.
    key_id           text check (length(key_id) between 1 and 255),
    primary key (tenant_id, attempt_id),
    foreign key (tenant_id, user_id) references app.users
);
create index usage_events_recent on app.usage_events (tenant_id, started_at desc, attempt_id);
call app.protect('app.usage_events');
grant select, insert on app.usage_events to adriatic_api;

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
call app.protect('mv.usage_ledger');
grant insert, update, delete on mv.usage_ledger to adriatic_flows;

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

call app.protect('mv.usage_by_hour');
call app.protect('mv.usage_by_day');
call app.protect('mv.usage_by_model');
call app.protect('mv.usage_by_user');
call app.protect('mv.usage_by_key');
grant select on mv.usage_by_hour, mv.usage_by_day, mv.usage_by_model, mv.usage_by_user, mv.usage_by_key
    to adriatic_api;
grant insert, update, delete on mv.usage_by_hour, mv.usage_by_day, mv.usage_by_model, mv.usage_by_user, mv.usage_by_key
    to adriatic_flows;
