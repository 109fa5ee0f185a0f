-- Documents: what was uploaded and what became of it, and the texts of uploads and of feeds' items.

-- What was stored. Its text is in app.document_versions, its bytes in object storage under the tenant and the content's hash.
create table app.documents (
    tenant_id    uuid not null references app.tenants,
    document_id  uuid not null,
    job_id       uuid not null,                    -- the newest that parses it
    content_hash bytea not null check (length(content_hash) = 32),  -- sha-256 of the original
    size_bytes   bigint not null check (size_bytes >= 0),
    file_name    text not null check (length(file_name) between 1 and 255),  -- as the uploader named it
    media_type   text not null default '',         -- what the bytes are, not what the name says; empty: not looked at yet
    title        text not null default '',
    state        text not null default 'stored' check (state in ('stored', 'processing', 'processed', 'refused')),
    reason       jsonb,                            -- of a refusal: {code, detail, hint}
    pages        integer,                          -- of a PDF
    version      bigint not null default 0,        -- the newest in app.document_versions; 0: none
    uploaded_by  uuid,
    traceparent  text,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),
    deleted_at   timestamptz,
    primary key (tenant_id, document_id),
    foreign key (tenant_id, job_id) references app.jobs deferrable initially deferred,
    check ((state = 'refused') = (reason is not null))
);
-- The same bytes are the same document, as long as it is there.
create unique index documents_content on app.documents (tenant_id, content_hash) where deleted_at is null;
create index documents_recent on app.documents (tenant_id, created_at desc, document_id desc) where deleted_at is null;
call app.protect('app.documents');
grant select, insert, update on app.documents to adriatic_api;
grant update on app.documents to adriatic_flows;

-- Append-only, like app.adr_versions. A delete is a new version that says so, with no text.
create table app.document_versions (
    tenant_id    uuid not null references app.tenants,
    document_id  uuid not null,
    version      bigint not null check (version > 0),  -- grows with every change at the source; need not be without gaps
    kind         text not null check (kind in ('create', 'update', 'delete')),
    origin       text not null check (origin in ('upload', 'feed')),
    feed_id      uuid,                             -- of a feed's item: which feed
    external_id  text check (length(external_id) between 1 and 1024),  -- and its name there
    title        text not null check (length(title) <= 1000),
    media_type   text not null check (length(media_type) between 1 and 255),  -- of the original
    uri          text check (length(uri) <= 2048),     -- where people find the original, when it is not here
    body         text not null check (octet_length(body) <= 1048576),  -- plain text or Markdown: 1 MiB, as for an ADR
    effective_at timestamptz not null,
    recorded_at  timestamptz not null default now(),
    traceparent  text,
    primary key (tenant_id, document_id, version),
    check (kind <> 'delete' or body = ''),
    check ((origin = 'feed') = (feed_id is not null and external_id is not null))
);
call app.protect('app.document_versions');
grant select, insert on app.document_versions to adriatic_api;
grant insert on app.document_versions to adriatic_flows;
