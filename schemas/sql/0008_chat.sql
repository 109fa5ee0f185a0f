-- The ledger of what was asked of language models: one row for each attempt, written once, when it ended (law 6: bounded by
-- the attempts themselves). Append-only: nobody may update or delete.

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
    primary key (tenant_id, attempt_id),
    foreign key (tenant_id, user_id) references app.users
);
create index usage_events_recent on app.usage_events (tenant_id, started_at desc, attempt_id);

call app.protect('app.usage_events');
grant select, insert on app.usage_events to adriatic_api;
