-- Tenants, people, logs, and ADRs with their append-only versions.
-- Every primary key of a tenant table starts with tenant_id: indexes serve one tenant, a foreign key cannot cross from one
-- tenant to another, and a captured delete (which carries the key only) still says whose row it was.

create table app.tenants (
    tenant_id  uuid primary key,
    slug       text not null unique check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name       text not null check (length(name) between 1 and 200),
    created_at timestamptz not null default now()
);

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

-- The head of each ADR: what the newest version says, for lists and filters.
create table app.adrs (
    tenant_id  uuid not null,
    adr_id     uuid not null,
    log_id     uuid not null,
    number     integer,                            -- null: the source had none, or it was taken (kept, and reported)
    title      text not null,
    status     text not null,                      -- normalised; the text keeps what its author wrote
    version    integer not null check (version > 0),
    source_key text,                               -- where an import found it (path); follows renames
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    primary key (tenant_id, adr_id),
    foreign key (tenant_id, log_id) references app.logs
);
create unique index adrs_number on app.adrs (tenant_id, log_id, number) where number is not null;
create unique index adrs_source on app.adrs (tenant_id, log_id, source_key) where source_key is not null and deleted_at is null;
create index adrs_recent on app.adrs (tenant_id, updated_at desc, adr_id desc);

-- Append-only. A rollback is a new version with an old text, a delete is a new version that says so.
create table app.adr_versions (
    tenant_id   uuid not null,
    adr_id      uuid not null,
    version     integer not null check (version > 0),
    change      text not null check (change in ('create', 'update', 'rename', 'rollback', 'delete', 'restore')),
    title       text not null,
    status      text not null,
    body        text not null,                     -- the whole text as written, front matter and title included
    original    bytea,                             -- the very bytes, when `body` cannot hold them (not UTF-8, or NUL)
    message     text not null default '',
    author      text not null default '',
    author_id   uuid,
    source_key  text,                              -- path, for an import
    source_ref  text,                              -- commit, for an import: with the key it makes imports idempotent
    traceparent text,
    effective_at timestamptz not null,             -- when it was decided: the commit's time for an import
    recorded_at timestamptz not null default now(),
    primary key (tenant_id, adr_id, version),
    foreign key (tenant_id, adr_id) references app.adrs deferrable initially deferred
);
create index adr_versions_as_of on app.adr_versions (tenant_id, adr_id, effective_at, version);
-- Led by the commit: an import asks with one lookup which of a batch's changes are here already.
create unique index adr_versions_source on app.adr_versions (tenant_id, source_ref, source_key, adr_id)
    where source_ref is not null;

create table app.adr_links (
    tenant_id  uuid not null,
    adr_id     uuid not null,
    kind       text not null check (kind in ('relates-to', 'supersedes', 'superseded-by', 'amends', 'amended-by', 'depends-on')),
    target     text not null,                      -- as written: path, number, URL
    target_id  uuid,                               -- the ADR it resolves to, when it does
    origin     text not null default 'text' check (origin in ('text', 'user')),
    created_at timestamptz not null default now(),
    primary key (tenant_id, adr_id, kind, target),
    foreign key (tenant_id, adr_id) references app.adrs,
    foreign key (tenant_id, target_id) references app.adrs
);
create index adr_links_target on app.adr_links (tenant_id, target_id) where target_id is not null;

create table app.adr_tags (
    tenant_id  uuid not null,
    adr_id     uuid not null,
    tag        text not null check (tag ~ '^[^[:cntrl:],]{1,64}$'),
    created_at timestamptz not null default now(),
    primary key (tenant_id, adr_id, tag),
    foreign key (tenant_id, adr_id) references app.adrs
);
create index adr_tags_tag on app.adr_tags (tenant_id, tag);

-- What a client's Idempotency-Key made, written with what it made: a repeated create answers with the first one's ADR.
create table app.idempotency_keys (
    tenant_id    uuid not null,
    key          text not null check (length(key) between 1 and 200),
    request_hash bytea not null,                   -- sha-256: the same key with another request is an error
    adr_id       uuid not null,
    created_at   timestamptz not null default now(),
    primary key (tenant_id, key),
    foreign key (tenant_id, adr_id) references app.adrs deferrable initially deferred
);
create index idempotency_keys_age on app.idempotency_keys (tenant_id, created_at);

-- One row an import, so that it can be resumed and its end reported.
create table app.imports (
    tenant_id   uuid not null,
    import_id   uuid not null,
    log_id      uuid not null,
    source      text not null,
    snapshot    boolean not null default false,    -- the source knows the present only
    events      integer not null default 0,        -- received
    applied     integer not null default 0,
    skipped     integer not null default 0,        -- already here: the import is idempotent
    versions    integer not null default 0,        -- written
    refused     jsonb not null default '{}',       -- {code: {count, examples}}, a few examples of each
    odd         jsonb not null default '{}',       -- accepted, and worth a look; likewise
    started_at  timestamptz not null default now(),
    finished_at timestamptz,
    primary key (tenant_id, import_id),
    foreign key (tenant_id, log_id) references app.logs
);

-- Changes that an import refused. A later run must not apply them after the changes that came next: a deletion that
-- found nothing would then delete what was made since.
create table app.import_refusals (
    tenant_id  uuid not null,
    log_id     uuid not null,
    source_ref text not null,
    source_key text not null,
    code       text not null,
    detail     text not null,
    primary key (tenant_id, log_id, source_ref, source_key),
    foreign key (tenant_id, log_id) references app.logs
);

call app.protect('app.tenants');
call app.protect('app.users');
call app.protect('app.logs');
call app.protect('app.adrs');
call app.protect('app.adr_versions');
call app.protect('app.adr_links');
call app.protect('app.adr_tags');
call app.protect('app.imports');
call app.protect('app.import_refusals');
call app.protect('app.idempotency_keys');

-- Tenants are made by whoever runs the platform, never by a tenant.
create policy provision on app.tenants to adriatic_owner using (true) with check (true);

grant select on app.tenants to adriatic_api;
grant select, insert, update on app.users, app.logs, app.adrs, app.imports to adriatic_api;
grant select, insert on app.adr_versions to adriatic_api;              -- append-only, by right
grant select, insert on app.import_refusals to adriatic_api;
grant select, insert, update, delete on app.adr_links, app.adr_tags, app.idempotency_keys to adriatic_api;
