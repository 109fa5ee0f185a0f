-- ADRs with their append-only versions, their links and tags.

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
call app.protect('app.adrs');
grant select, insert, update on app.adrs to adriatic_api;

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
call app.protect('app.adr_versions');
grant select, insert on app.adr_versions to adriatic_api;  -- append-only, by right

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
call app.protect('app.adr_links');
grant select, insert, update, delete on app.adr_links to adriatic_api;

create table app.adr_tags (
    tenant_id  uuid not null,
    adr_id     uuid not null,
    tag        text not null check (tag ~ '^[^[:cntrl:],]{1,64}$'),
    created_at timestamptz not null default now(),
    primary key (tenant_id, adr_id, tag),
    foreign key (tenant_id, adr_id) references app.adrs
);
create index adr_tags_tag on app.adr_tags (tenant_id, tag);
call app.protect('app.adr_tags');
grant select, insert, update, delete on app.adr_tags to adriatic_api;

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
call app.protect('app.idempotency_keys');
grant select, insert, update, delete on app.idempotency_keys to adriatic_api;
