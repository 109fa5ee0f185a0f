-- Tenants, their people, and the logs that their ADRs are in.
-- Every primary key of a tenant table starts with tenant_id: indexes serve one tenant, a foreign key cannot cross from one
-- tenant to another, and a captured delete (which carries the key only) still says whose row it was.

create table app.tenants (
    tenant_id  uuid primary key,
    slug       text not null unique check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name       text not null check (length(name) between 1 and 200),
    created_at timestamptz not null default now()
);
call app.protect('app.tenants');
-- Tenants are made by whoever runs the platform, never by a tenant.
create policy provision on app.tenants to adriatic_owner using (true) with check (true);
grant select on app.tenants to adriatic_api;

create table app.users (
    tenant_id  uuid not null references app.tenants,
    user_id    uuid not null,
    subject    text not null,                      -- `sub` of the identity provider
    name       text not null default '',
    email      text not null default '',
    created_at timestamptz not null default now(),
    primary key (tenant_id, user_id),
    unique (tenant_id, subject)
);
call app.protect('app.users');
grant select, insert, update on app.users to adriatic_api;

-- A log is where numbers like ADR-12 come from: labels, per log, never identity.
create table app.logs (
    tenant_id   uuid not null references app.tenants,
    log_id      uuid not null,
    slug        text not null check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name        text not null,
    next_number integer not null default 1 check (next_number > 0),
    created_at  timestamptz not null default now(),
    primary key (tenant_id, log_id),
    unique (tenant_id, slug)
);
call app.protect('app.logs');
grant select, insert, update on app.logs to adriatic_api;
