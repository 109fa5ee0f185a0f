-- Imports of histories of ADRs: how far each is, and what it refused.

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
call app.protect('app.imports');
grant select, insert, update on app.imports to adriatic_api;

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
call app.protect('app.import_refusals');
grant select, insert on app.import_refusals to adriatic_api;
