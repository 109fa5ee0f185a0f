create table app.document_versions (
    tenant_id uuid not null, document_id uuid not null, version bigint not null, kind text not null, origin text not null,
    feed_id uuid, external_id text, title text not null, media_type text not null, uri text, body text not null,
    effective_at timestamptz not null, recorded_at timestamptz not null default now(), traceparent text,
    primary key (tenant_id, document_id, version));
call app.protect('app.document_versions');
grant insert on app.document_versions to adriatic_flows;
