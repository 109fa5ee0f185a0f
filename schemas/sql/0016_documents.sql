-- Uploaded documents: what was stored, and what became of it. Their text is in app.document_versions, their bytes in object
-- storage under the tenant and the content's hash.

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
