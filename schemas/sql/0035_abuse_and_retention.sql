-- Use that looks like abuse is flagged for review, and what no book needs is forgotten after a while.

-- Where a user came from when it was new: a keyed hash, never the address. One row for each new user, kept for two days.
create table app.user_addresses (
    tenant_id    uuid not null,
    address_hash bytea not null check (length(address_hash) = 16),   -- HMAC with a key of the tenant; api/auth/addresses.py
    user_id      uuid not null,
    seen_at      timestamptz not null default now(),
    primary key (tenant_id, address_hash, user_id),
    foreign key (tenant_id, user_id) references app.users
);
call app.protect('app.user_addresses');
grant select, insert on app.user_addresses to adriatic_api;
grant delete on app.user_addresses to adriatic_flows;

-- What somebody should look at: once a day for each kind and subject, with the most that was seen. Nobody is refused anything for it.
create table app.abuse_flags (
    tenant_id   uuid not null references app.tenants,
    kind        text not null check (kind in ('rapid-calls', 'new-user-use', 'users-of-one-address')),
    subject     text not null check (length(subject) between 1 and 64),   -- a user's id; of an address, its hash in hex
    day         date not null,                     -- in UTC
    flag_id     uuid not null default gen_random_uuid(),
    measured    bigint not null check (measured >= threshold),
    threshold   bigint not null check (threshold > 0),                    -- as it was set when it was passed
    raised_at   timestamptz not null default now(),
    seen_at     timestamptz not null default now(),                       -- when it was last more than before
    reviewed_by uuid,
    reviewed_at timestamptz,
    note        text not null default '' check (length(note) <= 500),
    primary key (tenant_id, kind, subject, day),
    unique (tenant_id, flag_id),
    check ((reviewed_by is null) = (reviewed_at is null)),
    foreign key (tenant_id, reviewed_by) references app.users
);
create index abuse_flags_recent on app.abuse_flags (tenant_id, raised_at, flag_id);
create index abuse_flags_open on app.abuse_flags (tenant_id, kind) where reviewed_at is null;
call app.protect('app.abuse_flags');
grant select, update (reviewed_by, reviewed_at, note) on app.abuse_flags to adriatic_api;
grant insert, update (measured, seen_at), delete on app.abuse_flags to adriatic_flows;

-- Users of the last day are looked at several times a minute.
create index users_by_age on app.users (tenant_id, created_at);

-- Retention. What has no line here and in connectors/postgres/retention.py stays: the ledger, the counters of budgets, the aggregates.
grant delete on app.spend_alerts, app.alert_deliveries, app.budget_overrides, app.spend_stops, app.api_keys, app.api_key_secrets,
    app.limit_uses to adriatic_flows;
