-- API keys: credentials that a tenant makes, and takes back. A key has a user of its own, whose use is counted like anybody's.
create table app.api_keys (
    tenant_id    uuid not null references app.tenants,
    key_id       text not null check (length(key_id) between 1 and 255),  -- no secret. Begins with the tenant
    user_id      uuid not null,
    name         text not null check (length(name) between 1 and 200),
    scopes       text[] not null check (cardinality(scopes) > 0 and scopes <@ array['read', 'write', 'chat', 'ingest', 'admin']),
    days         integer not null check (days between 1 and 366),         -- how long a new secret of it is good
    created_by   uuid not null,
    created_at   timestamptz not null default now(),
    last_used_at timestamptz,                                             -- to the minute
    revoked_at   timestamptz,
    revoked_by   uuid,
    primary key (tenant_id, key_id),
    foreign key (tenant_id, user_id) references app.users,
    foreign key (tenant_id, created_by) references app.users,
    foreign key (tenant_id, revoked_by) references app.users,
    check ((revoked_at is null) = (revoked_by is null))
);
call app.protect('app.api_keys');
grant select, insert, update (last_used_at, revoked_at, revoked_by) on app.api_keys to adriatic_api;

-- Hashes of the secrets of each key: nobody who reads this can use one. While a key is rotated it has more than one.
create table app.api_key_secrets (
    tenant_id    uuid not null,
    key_id       text not null,
    secret_hash  bytea not null check (length(secret_hash) = 32),         -- SHA-256
    created_at   timestamptz not null default now(),
    good_until   timestamptz not null,
    last_used_at timestamptz,                                             -- to the minute
    primary key (tenant_id, key_id, secret_hash),
    foreign key (tenant_id, key_id) references app.api_keys
);
call app.protect('app.api_key_secrets');
grant select, insert, update (good_until, last_used_at), delete on app.api_key_secrets to adriatic_api;
