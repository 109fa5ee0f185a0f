-- What the migrations make, written by `adriatic schemas generate`. Change a migration, not this file.

create schema app;
grant usage on schema app to adriatic_api;
grant usage on schema app to adriatic_cdc;
grant usage on schema app to adriatic_flows;
grant usage on schema app to adriatic_search;
create schema mv;
grant usage on schema mv to adriatic_api;
grant usage on schema mv to adriatic_cdc;
grant usage on schema mv to adriatic_flows;
grant usage on schema mv to adriatic_search;
create schema ops;
grant usage on schema ops to adriatic_api;
grant usage on schema ops to adriatic_cdc;
grant usage on schema ops to adriatic_flows;

create table app.adr_links (
    tenant_id uuid not null,
    adr_id uuid not null,
    kind text not null,
    target text not null,
    target_id uuid,
    origin text not null default 'text'::text,
    created_at timestamp with time zone not null default now(),
    constraint adr_links_pkey PRIMARY KEY (tenant_id, adr_id, kind, target),
    constraint adr_links_tenant_id_adr_id_fkey FOREIGN KEY (tenant_id, adr_id) REFERENCES app.adrs(tenant_id, adr_id),
    constraint adr_links_tenant_id_target_id_fkey FOREIGN KEY (tenant_id, target_id) REFERENCES app.adrs(tenant_id, adr_id),
    constraint adr_links_kind_check CHECK ((kind = ANY (ARRAY['relates-to'::text, 'supersedes'::text, 'superseded-by'::text, 'amends'::text, 'amended-by'::text, 'depends-on'::text]))),
    constraint adr_links_origin_check CHECK ((origin = ANY (ARRAY['text'::text, 'user'::text])))
);
CREATE INDEX adr_links_target ON app.adr_links USING btree (tenant_id, target_id) WHERE (target_id IS NOT NULL);
alter table app.adr_links enable row level security;
alter table app.adr_links force row level security;
create policy cdc on app.adr_links for select to adriatic_cdc using (true);
create policy flows on app.adr_links to adriatic_flows using (true) with check (true);
create policy tenant on app.adr_links to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on app.adr_links to adriatic_api;
grant select on app.adr_links to adriatic_cdc;
grant select on app.adr_links to adriatic_flows;
grant select on app.adr_links to adriatic_search;

create table app.adr_tags (
    tenant_id uuid not null,
    adr_id uuid not null,
    tag text not null,
    created_at timestamp with time zone not null default now(),
    constraint adr_tags_pkey PRIMARY KEY (tenant_id, adr_id, tag),
    constraint adr_tags_tenant_id_adr_id_fkey FOREIGN KEY (tenant_id, adr_id) REFERENCES app.adrs(tenant_id, adr_id),
    constraint adr_tags_tag_check CHECK ((tag ~ '^[^[:cntrl:],]{1,64}$'::text))
);
CREATE INDEX adr_tags_tag ON app.adr_tags USING btree (tenant_id, tag);
alter table app.adr_tags enable row level security;
alter table app.adr_tags force row level security;
create policy cdc on app.adr_tags for select to adriatic_cdc using (true);
create policy flows on app.adr_tags to adriatic_flows using (true) with check (true);
create policy tenant on app.adr_tags to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on app.adr_tags to adriatic_api;
grant select on app.adr_tags to adriatic_cdc;
grant select on app.adr_tags to adriatic_flows;
grant select on app.adr_tags to adriatic_search;

create table app.adr_versions (
    tenant_id uuid not null,
    adr_id uuid not null,
    version integer not null,
    change text not null,
    title text not null,
    status text not null,
    body text not null,
    original bytea,
    message text not null default ''::text,
    author text not null default ''::text,
    author_id uuid,
    source_key text,
    source_ref text,
    traceparent text,
    effective_at timestamp with time zone not null,
    recorded_at timestamp with time zone not null default now(),
    constraint adr_versions_pkey PRIMARY KEY (tenant_id, adr_id, version),
    constraint adr_versions_tenant_id_adr_id_fkey FOREIGN KEY (tenant_id, adr_id) REFERENCES app.adrs(tenant_id, adr_id) DEFERRABLE INITIALLY DEFERRED,
    constraint adr_versions_change_check CHECK ((change = ANY (ARRAY['create'::text, 'update'::text, 'rename'::text, 'rollback'::text, 'delete'::text, 'restore'::text]))),
    constraint adr_versions_version_check CHECK ((version > 0))
);
CREATE INDEX adr_versions_as_of ON app.adr_versions USING btree (tenant_id, adr_id, effective_at, version);
CREATE UNIQUE INDEX adr_versions_source ON app.adr_versions USING btree (tenant_id, source_ref, source_key, adr_id) WHERE (source_ref IS NOT NULL);
alter table app.adr_versions enable row level security;
alter table app.adr_versions force row level security;
create policy cdc on app.adr_versions for select to adriatic_cdc using (true);
create policy flows on app.adr_versions to adriatic_flows using (true) with check (true);
create policy tenant on app.adr_versions to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant insert, select on app.adr_versions to adriatic_api;
grant select on app.adr_versions to adriatic_cdc;
grant select on app.adr_versions to adriatic_flows;
grant select on app.adr_versions to adriatic_search;

create table app.adrs (
    tenant_id uuid not null,
    adr_id uuid not null,
    log_id uuid not null,
    number integer,
    title text not null,
    status text not null,
    version integer not null,
    source_key text,
    created_at timestamp with time zone not null,
    updated_at timestamp with time zone not null,
    deleted_at timestamp with time zone,
    constraint adrs_pkey PRIMARY KEY (tenant_id, adr_id),
    constraint adrs_tenant_id_log_id_fkey FOREIGN KEY (tenant_id, log_id) REFERENCES app.logs(tenant_id, log_id),
    constraint adrs_version_check CHECK ((version > 0))
);
CREATE UNIQUE INDEX adrs_number ON app.adrs USING btree (tenant_id, log_id, number) WHERE (number IS NOT NULL);
CREATE INDEX adrs_recent ON app.adrs USING btree (tenant_id, updated_at DESC, adr_id DESC);
CREATE UNIQUE INDEX adrs_source ON app.adrs USING btree (tenant_id, log_id, source_key) WHERE ((source_key IS NOT NULL) AND (deleted_at IS NULL));
alter table app.adrs enable row level security;
alter table app.adrs force row level security;
create policy cdc on app.adrs for select to adriatic_cdc using (true);
create policy flows on app.adrs to adriatic_flows using (true) with check (true);
create policy tenant on app.adrs to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant insert, select, update on app.adrs to adriatic_api;
grant select on app.adrs to adriatic_cdc;
grant select on app.adrs to adriatic_flows;
grant select on app.adrs to adriatic_search;

create table app.document_versions (
    tenant_id uuid not null,
    document_id uuid not null,
    version bigint not null,
    kind text not null,
    origin text not null,
    feed_id uuid,
    external_id text,
    title text not null,
    media_type text not null,
    uri text,
    body text not null,
    effective_at timestamp with time zone not null,
    recorded_at timestamp with time zone not null default now(),
    traceparent text,
    constraint document_versions_pkey PRIMARY KEY (tenant_id, document_id, version),
    constraint document_versions_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id),
    constraint document_versions_body_check CHECK ((octet_length(body) <= 1048576)),
    constraint document_versions_check CHECK (((kind <> 'delete'::text) OR (body = ''::text))),
    constraint document_versions_check1 CHECK (((origin = 'feed'::text) = ((feed_id IS NOT NULL) AND (external_id IS NOT NULL)))),
    constraint document_versions_external_id_check CHECK (((length(external_id) >= 1) AND (length(external_id) <= 1024))),
    constraint document_versions_kind_check CHECK ((kind = ANY (ARRAY['create'::text, 'update'::text, 'delete'::text]))),
    constraint document_versions_media_type_check CHECK (((length(media_type) >= 1) AND (length(media_type) <= 255))),
    constraint document_versions_origin_check CHECK ((origin = ANY (ARRAY['upload'::text, 'feed'::text]))),
    constraint document_versions_title_check CHECK ((length(title) <= 1000)),
    constraint document_versions_uri_check CHECK ((length(uri) <= 2048)),
    constraint document_versions_version_check CHECK ((version > 0))
);
alter table app.document_versions enable row level security;
alter table app.document_versions force row level security;
create policy cdc on app.document_versions for select to adriatic_cdc using (true);
create policy flows on app.document_versions to adriatic_flows using (true) with check (true);
create policy tenant on app.document_versions to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant insert, select on app.document_versions to adriatic_api;
grant insert, select on app.document_versions to adriatic_flows;
grant select on app.document_versions to adriatic_cdc;
grant select on app.document_versions to adriatic_search;

create table app.documents (
    tenant_id uuid not null,
    document_id uuid not null,
    job_id uuid not null,
    content_hash bytea not null,
    size_bytes bigint not null,
    file_name text not null,
    media_type text not null default ''::text,
    title text not null default ''::text,
    state text not null default 'stored'::text,
    reason jsonb,
    pages integer,
    version bigint not null default 0,
    uploaded_by uuid,
    traceparent text,
    created_at timestamp with time zone not null default now(),
    updated_at timestamp with time zone not null default now(),
    deleted_at timestamp with time zone,
    constraint documents_pkey PRIMARY KEY (tenant_id, document_id),
    constraint documents_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id),
    constraint documents_tenant_id_job_id_fkey FOREIGN KEY (tenant_id, job_id) REFERENCES app.jobs(tenant_id, job_id) DEFERRABLE INITIALLY DEFERRED,
    constraint documents_check CHECK (((state = 'refused'::text) = (reason IS NOT NULL))),
    constraint documents_content_hash_check CHECK ((length(content_hash) = 32)),
    constraint documents_file_name_check CHECK (((length(file_name) >= 1) AND (length(file_name) <= 255))),
    constraint documents_size_bytes_check CHECK ((size_bytes >= 0)),
    constraint documents_state_check CHECK ((state = ANY (ARRAY['stored'::text, 'processing'::text, 'processed'::text, 'refused'::text])))
);
CREATE UNIQUE INDEX documents_content ON app.documents USING btree (tenant_id, content_hash) WHERE (deleted_at IS NULL);
CREATE INDEX documents_recent ON app.documents USING btree (tenant_id, created_at DESC, document_id DESC) WHERE (deleted_at IS NULL);
alter table app.documents enable row level security;
alter table app.documents force row level security;
create policy cdc on app.documents for select to adriatic_cdc using (true);
create policy flows on app.documents to adriatic_flows using (true) with check (true);
create policy tenant on app.documents to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant insert, select, update on app.documents to adriatic_api;
grant select on app.documents to adriatic_cdc;
grant select on app.documents to adriatic_search;
grant select, update on app.documents to adriatic_flows;

create table app.feed_doors (
    tenant_id uuid not null,
    feed_id uuid not null,
    minute timestamp with time zone not null,
    minute_items bigint not null,
    day date not null,
    day_items bigint not null,
    day_bytes bigint not null,
    constraint feed_doors_pkey PRIMARY KEY (tenant_id, feed_id),
    constraint feed_doors_tenant_id_feed_id_fkey FOREIGN KEY (tenant_id, feed_id) REFERENCES app.feeds(tenant_id, feed_id)
);
alter table app.feed_doors enable row level security;
alter table app.feed_doors force row level security;
create policy cdc on app.feed_doors for select to adriatic_cdc using (true);
create policy flows on app.feed_doors to adriatic_flows using (true) with check (true);
create policy tenant on app.feed_doors to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant insert, select, update on app.feed_doors to adriatic_api;
grant select on app.feed_doors to adriatic_cdc;
grant select on app.feed_doors to adriatic_flows;
grant select on app.feed_doors to adriatic_search;

create table app.feed_keys (
    tenant_id uuid not null,
    feed_id uuid not null,
    key_id text not null,
    public_key bytea not null,
    name text not null default ''::text,
    created_at timestamp with time zone not null default now(),
    revoked_at timestamp with time zone,
    constraint feed_keys_pkey PRIMARY KEY (tenant_id, key_id),
    constraint feed_keys_tenant_id_feed_id_fkey FOREIGN KEY (tenant_id, feed_id) REFERENCES app.feeds(tenant_id, feed_id),
    constraint feed_keys_public_key_check CHECK ((length(public_key) = 32))
);
CREATE INDEX feed_keys_feed ON app.feed_keys USING btree (tenant_id, feed_id);
alter table app.feed_keys enable row level security;
alter table app.feed_keys force row level security;
create policy cdc on app.feed_keys for select to adriatic_cdc using (true);
create policy flows on app.feed_keys to adriatic_flows using (true) with check (true);
create policy tenant on app.feed_keys to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant insert, select, update on app.feed_keys to adriatic_api;
grant select on app.feed_keys to adriatic_cdc;
grant select on app.feed_keys to adriatic_flows;
grant select on app.feed_keys to adriatic_search;

create table app.feeds (
    tenant_id uuid not null,
    feed_id uuid not null,
    slug text not null,
    name text not null,
    items_per_day bigint not null,
    bytes_per_day bigint not null,
    items_per_minute integer not null,
    paused boolean not null default false,
    created_at timestamp with time zone not null default now(),
    deleted_at timestamp with time zone,
    constraint feeds_pkey PRIMARY KEY (tenant_id, feed_id),
    constraint feeds_tenant_id_slug_key UNIQUE (tenant_id, slug),
    constraint feeds_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id),
    constraint feeds_bytes_per_day_check CHECK ((bytes_per_day >= 0)),
    constraint feeds_items_per_day_check CHECK ((items_per_day >= 0)),
    constraint feeds_items_per_minute_check CHECK ((items_per_minute >= 0)),
    constraint feeds_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    constraint feeds_slug_check CHECK ((slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'::text))
);
alter table app.feeds enable row level security;
alter table app.feeds force row level security;
create policy cdc on app.feeds for select to adriatic_cdc using (true);
create policy flows on app.feeds to adriatic_flows using (true) with check (true);
create policy tenant on app.feeds to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant insert, select, update on app.feeds to adriatic_api;
grant select on app.feeds to adriatic_cdc;
grant select on app.feeds to adriatic_flows;
grant select on app.feeds to adriatic_search;

create table app.idempotency_keys (
    tenant_id uuid not null,
    key text not null,
    request_hash bytea not null,
    adr_id uuid not null,
    created_at timestamp with time zone not null default now(),
    constraint idempotency_keys_pkey PRIMARY KEY (tenant_id, key),
    constraint idempotency_keys_tenant_id_adr_id_fkey FOREIGN KEY (tenant_id, adr_id) REFERENCES app.adrs(tenant_id, adr_id) DEFERRABLE INITIALLY DEFERRED,
    constraint idempotency_keys_key_check CHECK (((length(key) >= 1) AND (length(key) <= 200)))
);
CREATE INDEX idempotency_keys_age ON app.idempotency_keys USING btree (tenant_id, created_at);
alter table app.idempotency_keys enable row level security;
alter table app.idempotency_keys force row level security;
create policy cdc on app.idempotency_keys for select to adriatic_cdc using (true);
create policy flows on app.idempotency_keys to adriatic_flows using (true) with check (true);
create policy tenant on app.idempotency_keys to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on app.idempotency_keys to adriatic_api;
grant select on app.idempotency_keys to adriatic_cdc;
grant select on app.idempotency_keys to adriatic_flows;
grant select on app.idempotency_keys to adriatic_search;

create table app.import_refusals (
    tenant_id uuid not null,
    log_id uuid not null,
    source_ref text not null,
    source_key text not null,
    code text not null,
    detail text not null,
    constraint import_refusals_pkey PRIMARY KEY (tenant_id, log_id, source_ref, source_key),
    constraint import_refusals_tenant_id_log_id_fkey FOREIGN KEY (tenant_id, log_id) REFERENCES app.logs(tenant_id, log_id)
);
alter table app.import_refusals enable row level security;
alter table app.import_refusals force row level security;
create policy cdc on app.import_refusals for select to adriatic_cdc using (true);
create policy flows on app.import_refusals to adriatic_flows using (true) with check (true);
create policy tenant on app.import_refusals to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant insert, select on app.import_refusals to adriatic_api;
grant select on app.import_refusals to adriatic_cdc;
grant select on app.import_refusals to adriatic_flows;
grant select on app.import_refusals to adriatic_search;

create table app.imports (
    tenant_id uuid not null,
    import_id uuid not null,
    log_id uuid not null,
    source text not null,
    snapshot boolean not null default false,
    events integer not null default 0,
    applied integer not null default 0,
    skipped integer not null default 0,
    versions integer not null default 0,
    refused jsonb not null default '{}'::jsonb,
    odd jsonb not null default '{}'::jsonb,
    started_at timestamp with time zone not null default now(),
    finished_at timestamp with time zone,
    constraint imports_pkey PRIMARY KEY (tenant_id, import_id),
    constraint imports_tenant_id_log_id_fkey FOREIGN KEY (tenant_id, log_id) REFERENCES app.logs(tenant_id, log_id)
);
alter table app.imports enable row level security;
alter table app.imports force row level security;
create policy cdc on app.imports for select to adriatic_cdc using (true);
create policy flows on app.imports to adriatic_flows using (true) with check (true);
create policy tenant on app.imports to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant insert, select, update on app.imports to adriatic_api;
grant select on app.imports to adriatic_cdc;
grant select on app.imports to adriatic_flows;
grant select on app.imports to adriatic_search;

create table app.jobs (
    tenant_id uuid not null,
    job_id uuid not null,
    kind text not null,
    params jsonb not null default '{}'::jsonb,
    state text not null default 'queued'::text,
    phase text not null default ''::text,
    done bigint not null default 0,
    total bigint,
    unit text not null default 'items'::text,
    "position" jsonb not null default '{}'::jsonb,
    sequence bigint not null default 0,
    attempts integer not null default 0,
    due_at timestamp with time zone not null default now(),
    lease_owner text,
    lease_until timestamp with time zone,
    heartbeat_at timestamp with time zone,
    served_at timestamp with time zone,
    cancel_requested_at timestamp with time zone,
    last_error jsonb,
    idempotency_key text,
    request_hash bytea,
    requested_by uuid,
    traceparent text,
    created_at timestamp with time zone not null default now(),
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    constraint jobs_pkey PRIMARY KEY (tenant_id, job_id),
    constraint jobs_tenant_id_idempotency_key_key UNIQUE (tenant_id, idempotency_key),
    constraint jobs_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id),
    constraint jobs_check CHECK (((lease_owner IS NULL) = (lease_until IS NULL))),
    constraint jobs_check1 CHECK (((finished_at IS NOT NULL) = (state = ANY (ARRAY['succeeded'::text, 'failed'::text, 'cancelled'::text])))),
    constraint jobs_idempotency_key_check CHECK (((length(idempotency_key) >= 1) AND (length(idempotency_key) <= 200))),
    constraint jobs_kind_check CHECK (((length(kind) >= 1) AND (length(kind) <= 63))),
    constraint jobs_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'succeeded'::text, 'failed'::text, 'cancelled'::text])))
);
CREATE INDEX jobs_open ON app.jobs USING btree (tenant_id, due_at) WHERE (state = ANY (ARRAY['queued'::text, 'running'::text]));
CREATE INDEX jobs_recent ON app.jobs USING btree (tenant_id, created_at DESC, job_id DESC);
alter table app.jobs enable row level security;
alter table app.jobs force row level security;
create policy cdc on app.jobs for select to adriatic_cdc using (true);
create policy flows on app.jobs to adriatic_flows using (true) with check (true);
create policy tenant on app.jobs to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant insert, select, update on app.jobs to adriatic_api;
grant select on app.jobs to adriatic_cdc;
grant select on app.jobs to adriatic_search;
grant select, update on app.jobs to adriatic_flows;

create table app.logs (
    tenant_id uuid not null,
    log_id uuid not null,
    slug text not null,
    name text not null,
    next_number integer not null default 1,
    created_at timestamp with time zone not null default now(),
    constraint logs_pkey PRIMARY KEY (tenant_id, log_id),
    constraint logs_tenant_id_slug_key UNIQUE (tenant_id, slug),
    constraint logs_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id),
    constraint logs_next_number_check CHECK ((next_number > 0)),
    constraint logs_slug_check CHECK ((slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'::text))
);
alter table app.logs enable row level security;
alter table app.logs force row level security;
create policy cdc on app.logs for select to adriatic_cdc using (true);
create policy flows on app.logs to adriatic_flows using (true) with check (true);
create policy tenant on app.logs to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant insert, select, update on app.logs to adriatic_api;
grant select on app.logs to adriatic_cdc;
grant select on app.logs to adriatic_flows;
grant select on app.logs to adriatic_search;

create table app.tenants (
    tenant_id uuid not null,
    slug text not null,
    name text not null,
    created_at timestamp with time zone not null default now(),
    constraint tenants_pkey PRIMARY KEY (tenant_id),
    constraint tenants_slug_key UNIQUE (slug),
    constraint tenants_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    constraint tenants_slug_check CHECK ((slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'::text))
);
alter table app.tenants enable row level security;
alter table app.tenants force row level security;
create policy cdc on app.tenants for select to adriatic_cdc using (true);
create policy flows on app.tenants to adriatic_flows using (true) with check (true);
create policy provision on app.tenants to adriatic_owner using (true) with check (true);
create policy tenant on app.tenants to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant select on app.tenants to adriatic_api;
grant select on app.tenants to adriatic_cdc;
grant select on app.tenants to adriatic_flows;
grant select on app.tenants to adriatic_search;

create table app.usage_events (
    tenant_id uuid not null,
    attempt_id uuid not null,
    session_id uuid not null,
    user_id uuid not null,
    provider text not null,
    model text not null,
    input_uncached bigint not null,
    cache_read bigint not null,
    cache_write_5m bigint not null,
    cache_write_1h bigint not null,
    output_visible bigint not null,
    reasoning bigint not null,
    cost_micro_usd bigint,
    usage_source text not null,
    outcome text not null,
    code text not null default ''::text,
    first_token_ms integer,
    started_at timestamp with time zone not null,
    finished_at timestamp with time zone not null,
    key_id text,
    constraint usage_events_pkey PRIMARY KEY (tenant_id, attempt_id),
    constraint usage_events_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id),
    constraint usage_events_tenant_id_user_id_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES app.users(tenant_id, user_id),
    constraint usage_events_cache_read_check CHECK ((cache_read >= 0)),
    constraint usage_events_cache_write_1h_check CHECK ((cache_write_1h >= 0)),
    constraint usage_events_cache_write_5m_check CHECK ((cache_write_5m >= 0)),
    constraint usage_events_check CHECK ((finished_at >= started_at)),
    constraint usage_events_cost_micro_usd_check CHECK ((cost_micro_usd > 0)),
    constraint usage_events_first_token_ms_check CHECK ((first_token_ms >= 0)),
    constraint usage_events_input_uncached_check CHECK ((input_uncached >= 0)),
    constraint usage_events_key_id_check CHECK (((length(key_id) >= 1) AND (length(key_id) <= 255))),
    constraint usage_events_outcome_check CHECK ((outcome = ANY (ARRAY['completed'::text, 'failed'::text, 'cancelled'::text]))),
    constraint usage_events_output_visible_check CHECK ((output_visible >= 0)),
    constraint usage_events_reasoning_check CHECK ((reasoning >= 0)),
    constraint usage_events_usage_source_check CHECK ((usage_source = ANY (ARRAY['provider'::text, 'partial'::text, 'estimated'::text])))
);
CREATE INDEX usage_events_recent ON app.usage_events USING btree (tenant_id, started_at DESC, attempt_id);
alter table app.usage_events enable row level security;
alter table app.usage_events force row level security;
create policy cdc on app.usage_events for select to adriatic_cdc using (true);
create policy flows on app.usage_events to adriatic_flows using (true) with check (true);
create policy tenant on app.usage_events to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant insert, select on app.usage_events to adriatic_api;
grant select on app.usage_events to adriatic_cdc;
grant select on app.usage_events to adriatic_flows;
grant select on app.usage_events to adriatic_search;

create table app.users (
    tenant_id uuid not null,
    user_id uuid not null,
    subject text not null,
    name text not null default ''::text,
    email text not null default ''::text,
    created_at timestamp with time zone not null default now(),
    constraint users_pkey PRIMARY KEY (tenant_id, user_id),
    constraint users_tenant_id_subject_key UNIQUE (tenant_id, subject),
    constraint users_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id)
);
alter table app.users enable row level security;
alter table app.users force row level security;
create policy cdc on app.users for select to adriatic_cdc using (true);
create policy flows on app.users to adriatic_flows using (true) with check (true);
create policy tenant on app.users to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant insert, select, update on app.users to adriatic_api;
grant select on app.users to adriatic_cdc;
grant select on app.users to adriatic_flows;
grant select on app.users to adriatic_search;

create table mv.activity (
    tenant_id uuid not null,
    adr_id uuid not null,
    version integer not null,
    change text not null,
    title text not null,
    status text not null,
    author text not null,
    effective_at timestamp with time zone not null,
    recorded_at timestamp with time zone not null,
    constraint activity_pkey PRIMARY KEY (tenant_id, adr_id, version)
);
alter table mv.activity enable row level security;
alter table mv.activity force row level security;
create policy cdc on mv.activity for select to adriatic_cdc using (true);
create policy flows on mv.activity to adriatic_flows using (true) with check (true);
create policy tenant on mv.activity to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.activity to adriatic_flows;
grant select on mv.activity to adriatic_api;
grant select on mv.activity to adriatic_cdc;
grant select on mv.activity to adriatic_search;

create table mv.activity_ledger (
    tenant_id uuid not null,
    adr_id uuid not null,
    version integer not null,
    change text not null,
    title text not null,
    status text not null,
    author text not null,
    effective_at timestamp with time zone not null,
    recorded_at timestamp with time zone not null,
    constraint activity_ledger_pkey PRIMARY KEY (tenant_id, adr_id, version)
);
CREATE INDEX activity_ledger_day ON mv.activity_ledger USING btree (tenant_id, (((effective_at AT TIME ZONE 'UTC'::text))::date), author);
CREATE INDEX activity_ledger_newest ON mv.activity_ledger USING btree (tenant_id, recorded_at DESC, effective_at DESC, adr_id DESC, version DESC);
alter table mv.activity_ledger enable row level security;
alter table mv.activity_ledger force row level security;
create policy cdc on mv.activity_ledger for select to adriatic_cdc using (true);
create policy flows on mv.activity_ledger to adriatic_flows using (true) with check (true);
create policy tenant on mv.activity_ledger to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.activity_ledger to adriatic_flows;
grant select on mv.activity_ledger to adriatic_cdc;
grant select on mv.activity_ledger to adriatic_search;

create table mv.chunks (
    tenant_id uuid not null,
    kind text not null,
    source_id uuid not null,
    version bigint not null,
    ordinal integer not null,
    heading_path text not null,
    body text not null,
    char_start integer not null,
    char_end integer not null,
    text_hash bytea not null,
    tsv tsvector storage main not null,
    length integer not null,
    constraint chunks_pkey PRIMARY KEY (tenant_id, kind, source_id, version, ordinal)
);
CREATE INDEX chunks_hash ON mv.chunks USING btree (tenant_id, text_hash) INCLUDE (kind, source_id, version, ordinal);
CREATE INDEX chunks_length ON mv.chunks USING btree (tenant_id, kind, source_id, version) INCLUDE (length);
CREATE INDEX chunks_tsv ON mv.chunks USING gin (tsv);
alter table mv.chunks enable row level security;
alter table mv.chunks force row level security;
create policy cdc on mv.chunks for select to adriatic_cdc using (true);
create policy flows on mv.chunks to adriatic_flows using (true) with check (true);
create policy search on mv.chunks for select to adriatic_search using (true);
create policy tenant on mv.chunks to adriatic_api using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
comment on policy search on mv.chunks is 'Only through the functions of 0010_search_functions.sql, which name the tenant.';
grant delete, insert, select, update on mv.chunks to adriatic_flows;
grant select on mv.chunks to adriatic_api;
grant select on mv.chunks to adriatic_cdc;
grant select on mv.chunks to adriatic_search;

create table mv.daily_active_users (
    tenant_id uuid not null,
    day date not null,
    users bigint not null,
    constraint daily_active_users_pkey PRIMARY KEY (tenant_id, day),
    constraint daily_active_users_users_check CHECK ((users > 0))
);
alter table mv.daily_active_users enable row level security;
alter table mv.daily_active_users force row level security;
create policy cdc on mv.daily_active_users for select to adriatic_cdc using (true);
create policy flows on mv.daily_active_users to adriatic_flows using (true) with check (true);
create policy tenant on mv.daily_active_users to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.daily_active_users to adriatic_flows;
grant select on mv.daily_active_users to adriatic_api;
grant select on mv.daily_active_users to adriatic_cdc;
grant select on mv.daily_active_users to adriatic_search;

create table mv.embedding_spaces (
    space text not null,
    provider text not null,
    model text not null,
    revision text not null,
    dimension integer not null,
    active boolean not null default false,
    created_at timestamp with time zone not null default now(),
    constraint embedding_spaces_pkey PRIMARY KEY (space),
    constraint embedding_spaces_dimension_check CHECK ((dimension > 0))
);
CREATE UNIQUE INDEX embedding_spaces_active ON mv.embedding_spaces USING btree (active) WHERE active;
grant insert, select, update on mv.embedding_spaces to adriatic_flows;
grant select on mv.embedding_spaces to adriatic_api;
grant select on mv.embedding_spaces to adriatic_search;

create table mv.embedding_stats (
    tenant_id uuid not null,
    firsts bigint not null default 0,
    first_chunks bigint not null default 0,
    first_chunks_known bigint not null default 0,
    edits bigint not null default 0,
    edit_chunks bigint not null default 0,
    edit_chunks_known bigint not null default 0,
    embedded bigint not null default 0,
    reused bigint not null default 0,
    constraint embedding_stats_pkey PRIMARY KEY (tenant_id)
);
alter table mv.embedding_stats enable row level security;
alter table mv.embedding_stats force row level security;
create policy cdc on mv.embedding_stats for select to adriatic_cdc using (true);
create policy flows on mv.embedding_stats to adriatic_flows using (true) with check (true);
create policy tenant on mv.embedding_stats to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.embedding_stats to adriatic_flows;
grant select on mv.embedding_stats to adriatic_api;
grant select on mv.embedding_stats to adriatic_cdc;
grant select on mv.embedding_stats to adriatic_search;

create table mv.embeddings (
    tenant_id uuid not null,
    space text not null,
    text_hash bytea not null,
    embedding vector not null,
    created_at timestamp with time zone not null default now(),
    constraint embeddings_pkey PRIMARY KEY (tenant_id, space, text_hash),
    constraint embeddings_space_fkey FOREIGN KEY (space) REFERENCES mv.embedding_spaces(space)
);
alter table mv.embeddings enable row level security;
alter table mv.embeddings force row level security;
create policy cdc on mv.embeddings for select to adriatic_cdc using (true);
create policy flows on mv.embeddings to adriatic_flows using (true) with check (true);
create policy tenant on mv.embeddings to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.embeddings to adriatic_flows;
grant select on mv.embeddings to adriatic_api;
grant select on mv.embeddings to adriatic_cdc;
grant select on mv.embeddings to adriatic_search;

create table mv.entity_counts (
    tenant_id uuid not null,
    kind text not null,
    label text not null,
    count bigint not null,
    constraint entity_counts_pkey PRIMARY KEY (tenant_id, kind, label)
);
alter table mv.entity_counts enable row level security;
alter table mv.entity_counts force row level security;
create policy cdc on mv.entity_counts for select to adriatic_cdc using (true);
create policy flows on mv.entity_counts to adriatic_flows using (true) with check (true);
create policy tenant on mv.entity_counts to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.entity_counts to adriatic_flows;
grant select on mv.entity_counts to adriatic_api;
grant select on mv.entity_counts to adriatic_cdc;
grant select on mv.entity_counts to adriatic_search;

create table mv.feed_days (
    tenant_id uuid not null,
    feed_id uuid not null,
    day date not null,
    items bigint not null,
    bytes bigint not null,
    constraint feed_days_pkey PRIMARY KEY (tenant_id, feed_id, day)
);
alter table mv.feed_days enable row level security;
alter table mv.feed_days force row level security;
create policy cdc on mv.feed_days for select to adriatic_cdc using (true);
create policy flows on mv.feed_days to adriatic_flows using (true) with check (true);
create policy tenant on mv.feed_days to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.feed_days to adriatic_flows;
grant select on mv.feed_days to adriatic_api;
grant select on mv.feed_days to adriatic_cdc;
grant select on mv.feed_days to adriatic_search;

create table mv.feed_ledger (
    tenant_id uuid not null,
    feed_id uuid not null,
    external_id text not null,
    version bigint not null,
    outcome text not null,
    deleted boolean not null,
    repeats bigint not null default 0,
    constraint feed_ledger_pkey PRIMARY KEY (tenant_id, feed_id, external_id, version),
    constraint feed_ledger_outcome_check CHECK ((outcome = ANY (ARRAY['accepted'::text, 'superseded'::text])))
);
alter table mv.feed_ledger enable row level security;
alter table mv.feed_ledger force row level security;
create policy cdc on mv.feed_ledger for select to adriatic_cdc using (true);
create policy flows on mv.feed_ledger to adriatic_flows using (true) with check (true);
create policy tenant on mv.feed_ledger to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.feed_ledger to adriatic_flows;
grant select on mv.feed_ledger to adriatic_cdc;
grant select on mv.feed_ledger to adriatic_search;

create table mv.feed_rejections (
    tenant_id uuid not null,
    feed_id uuid not null,
    topic text not null,
    partition integer not null,
    record_offset bigint not null,
    reason text not null,
    detail text not null,
    key_id text,
    external_id text,
    version bigint,
    received_at timestamp with time zone not null,
    constraint feed_rejections_pkey PRIMARY KEY (tenant_id, feed_id, topic, partition, record_offset)
);
alter table mv.feed_rejections enable row level security;
alter table mv.feed_rejections force row level security;
create policy cdc on mv.feed_rejections for select to adriatic_cdc using (true);
create policy flows on mv.feed_rejections to adriatic_flows using (true) with check (true);
create policy tenant on mv.feed_rejections to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.feed_rejections to adriatic_flows;
grant select on mv.feed_rejections to adriatic_api;
grant select on mv.feed_rejections to adriatic_cdc;
grant select on mv.feed_rejections to adriatic_search;

create table mv.feed_status (
    tenant_id uuid not null,
    feed_id uuid not null,
    received bigint not null default 0,
    accepted bigint not null default 0,
    deleted bigint not null default 0,
    duplicates bigint not null default 0,
    superseded bigint not null default 0,
    rejected bigint not null default 0,
    redriven bigint not null default 0,
    not_kept bigint not null default 0,
    rejected_by jsonb not null default '{}'::jsonb,
    last_item_at timestamp with time zone,
    last_accepted_at timestamp with time zone,
    constraint feed_status_pkey PRIMARY KEY (tenant_id, feed_id)
);
alter table mv.feed_status enable row level security;
alter table mv.feed_status force row level security;
create policy cdc on mv.feed_status for select to adriatic_cdc using (true);
create policy flows on mv.feed_status to adriatic_flows using (true) with check (true);
create policy tenant on mv.feed_status to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.feed_status to adriatic_flows;
grant select on mv.feed_status to adriatic_api;
grant select on mv.feed_status to adriatic_cdc;
grant select on mv.feed_status to adriatic_search;

create table mv.job_status (
    tenant_id uuid not null,
    job_id uuid not null,
    kind text not null,
    state text not null,
    stage text not null,
    done bigint not null,
    total bigint,
    unit text not null,
    code text not null,
    message text not null,
    sequence bigint not null,
    occurred_at timestamp with time zone not null,
    constraint job_status_pkey PRIMARY KEY (tenant_id, job_id)
);
alter table mv.job_status enable row level security;
alter table mv.job_status force row level security;
create policy cdc on mv.job_status for select to adriatic_cdc using (true);
create policy flows on mv.job_status to adriatic_flows using (true) with check (true);
create policy tenant on mv.job_status to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.job_status to adriatic_flows;
grant select on mv.job_status to adriatic_api;
grant select on mv.job_status to adriatic_cdc;
grant select on mv.job_status to adriatic_search;

create table mv.related (
    tenant_id uuid not null,
    kind text not null,
    source_id uuid not null,
    related_id uuid not null,
    score double precision not null,
    words double precision not null,
    terms text[] not null,
    meaning double precision not null,
    links_to text[] not null,
    links_from text[] not null,
    constraint related_pkey PRIMARY KEY (tenant_id, kind, source_id, related_id)
);
CREATE INDEX related_back ON mv.related USING btree (tenant_id, kind, related_id);
alter table mv.related enable row level security;
alter table mv.related force row level security;
create policy cdc on mv.related for select to adriatic_cdc using (true);
create policy flows on mv.related to adriatic_flows using (true) with check (true);
create policy tenant on mv.related to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.related to adriatic_flows;
grant select on mv.related to adriatic_api;
grant select on mv.related to adriatic_cdc;
grant select on mv.related to adriatic_search;

create table mv.related_features (
    tenant_id uuid not null,
    kind text not null,
    source_id uuid not null,
    version bigint not null,
    words bytea storage external not null,
    terms text[] not null,
    passages bytea storage external not null,
    dimension integer not null,
    constraint related_features_pkey PRIMARY KEY (tenant_id, kind, source_id)
);
alter table mv.related_features enable row level security;
alter table mv.related_features force row level security;
create policy cdc on mv.related_features for select to adriatic_cdc using (true);
create policy flows on mv.related_features to adriatic_flows using (true) with check (true);
create policy tenant on mv.related_features to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.related_features to adriatic_flows;
grant select (tenant_id, kind, source_id, version) on mv.related_features to adriatic_api;
grant select on mv.related_features to adriatic_cdc;
grant select on mv.related_features to adriatic_search;

create table mv.search_state (
    tenant_id uuid not null,
    kind text not null,
    source_id uuid not null,
    words_version bigint not null,
    meaning_version bigint,
    deleted boolean not null default false,
    title text not null,
    status text not null,
    effective_at timestamp with time zone not null,
    recorded_at timestamp with time zone not null,
    words_at timestamp with time zone not null,
    meaning_at timestamp with time zone,
    chunks integer not null,
    constraint search_state_pkey PRIMARY KEY (tenant_id, kind, source_id)
);
CREATE INDEX search_state_waiting ON mv.search_state USING btree (tenant_id, recorded_at) WHERE ((NOT deleted) AND (meaning_version IS DISTINCT FROM words_version));
alter table mv.search_state enable row level security;
alter table mv.search_state force row level security;
create policy cdc on mv.search_state for select to adriatic_cdc using (true);
create policy flows on mv.search_state to adriatic_flows using (true) with check (true);
create policy tenant on mv.search_state to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.search_state to adriatic_flows;
grant select on mv.search_state to adriatic_api;
grant select on mv.search_state to adriatic_cdc;
grant select on mv.search_state to adriatic_search;

create table mv.usage_by_day (
    tenant_id uuid not null,
    day date not null,
    attempts bigint not null,
    completed bigint not null,
    failed bigint not null,
    cancelled bigint not null,
    input_uncached bigint not null,
    cache_read bigint not null,
    cache_write_5m bigint not null,
    cache_write_1h bigint not null,
    output_visible bigint not null,
    reasoning bigint not null,
    cost_micro_usd bigint not null,
    unpriced bigint not null,
    partial bigint not null,
    estimated bigint not null,
    constraint usage_by_day_pkey PRIMARY KEY (tenant_id, day)
);
alter table mv.usage_by_day enable row level security;
alter table mv.usage_by_day force row level security;
create policy cdc on mv.usage_by_day for select to adriatic_cdc using (true);
create policy flows on mv.usage_by_day to adriatic_flows using (true) with check (true);
create policy tenant on mv.usage_by_day to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.usage_by_day to adriatic_flows;
grant select on mv.usage_by_day to adriatic_api;
grant select on mv.usage_by_day to adriatic_cdc;
grant select on mv.usage_by_day to adriatic_search;

create table mv.usage_by_hour (
    tenant_id uuid not null,
    hour timestamp with time zone not null,
    attempts bigint not null,
    completed bigint not null,
    failed bigint not null,
    cancelled bigint not null,
    input_uncached bigint not null,
    cache_read bigint not null,
    cache_write_5m bigint not null,
    cache_write_1h bigint not null,
    output_visible bigint not null,
    reasoning bigint not null,
    cost_micro_usd bigint not null,
    unpriced bigint not null,
    partial bigint not null,
    estimated bigint not null,
    constraint usage_by_hour_pkey PRIMARY KEY (tenant_id, hour)
);
alter table mv.usage_by_hour enable row level security;
alter table mv.usage_by_hour force row level security;
create policy cdc on mv.usage_by_hour for select to adriatic_cdc using (true);
create policy flows on mv.usage_by_hour to adriatic_flows using (true) with check (true);
create policy tenant on mv.usage_by_hour to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.usage_by_hour to adriatic_flows;
grant select on mv.usage_by_hour to adriatic_api;
grant select on mv.usage_by_hour to adriatic_cdc;
grant select on mv.usage_by_hour to adriatic_search;

create table mv.usage_by_key (
    tenant_id uuid not null,
    day date not null,
    key_id text not null,
    attempts bigint not null,
    completed bigint not null,
    failed bigint not null,
    cancelled bigint not null,
    input_uncached bigint not null,
    cache_read bigint not null,
    cache_write_5m bigint not null,
    cache_write_1h bigint not null,
    output_visible bigint not null,
    reasoning bigint not null,
    cost_micro_usd bigint not null,
    unpriced bigint not null,
    partial bigint not null,
    estimated bigint not null,
    constraint usage_by_key_pkey PRIMARY KEY (tenant_id, day, key_id)
);
alter table mv.usage_by_key enable row level security;
alter table mv.usage_by_key force row level security;
create policy cdc on mv.usage_by_key for select to adriatic_cdc using (true);
create policy flows on mv.usage_by_key to adriatic_flows using (true) with check (true);
create policy tenant on mv.usage_by_key to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.usage_by_key to adriatic_flows;
grant select on mv.usage_by_key to adriatic_api;
grant select on mv.usage_by_key to adriatic_cdc;
grant select on mv.usage_by_key to adriatic_search;

create table mv.usage_by_model (
    tenant_id uuid not null,
    day date not null,
    provider text not null,
    model text not null,
    attempts bigint not null,
    completed bigint not null,
    failed bigint not null,
    cancelled bigint not null,
    input_uncached bigint not null,
    cache_read bigint not null,
    cache_write_5m bigint not null,
    cache_write_1h bigint not null,
    output_visible bigint not null,
    reasoning bigint not null,
    cost_micro_usd bigint not null,
    unpriced bigint not null,
    partial bigint not null,
    estimated bigint not null,
    constraint usage_by_model_pkey PRIMARY KEY (tenant_id, day, provider, model)
);
alter table mv.usage_by_model enable row level security;
alter table mv.usage_by_model force row level security;
create policy cdc on mv.usage_by_model for select to adriatic_cdc using (true);
create policy flows on mv.usage_by_model to adriatic_flows using (true) with check (true);
create policy tenant on mv.usage_by_model to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.usage_by_model to adriatic_flows;
grant select on mv.usage_by_model to adriatic_api;
grant select on mv.usage_by_model to adriatic_cdc;
grant select on mv.usage_by_model to adriatic_search;

create table mv.usage_by_user (
    tenant_id uuid not null,
    day date not null,
    user_id uuid not null,
    attempts bigint not null,
    completed bigint not null,
    failed bigint not null,
    cancelled bigint not null,
    input_uncached bigint not null,
    cache_read bigint not null,
    cache_write_5m bigint not null,
    cache_write_1h bigint not null,
    output_visible bigint not null,
    reasoning bigint not null,
    cost_micro_usd bigint not null,
    unpriced bigint not null,
    partial bigint not null,
    estimated bigint not null,
    constraint usage_by_user_pkey PRIMARY KEY (tenant_id, day, user_id)
);
alter table mv.usage_by_user enable row level security;
alter table mv.usage_by_user force row level security;
create policy cdc on mv.usage_by_user for select to adriatic_cdc using (true);
create policy flows on mv.usage_by_user to adriatic_flows using (true) with check (true);
create policy tenant on mv.usage_by_user to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.usage_by_user to adriatic_flows;
grant select on mv.usage_by_user to adriatic_api;
grant select on mv.usage_by_user to adriatic_cdc;
grant select on mv.usage_by_user to adriatic_search;

create table mv.usage_ledger (
    tenant_id uuid not null,
    attempt_id uuid not null,
    started_at timestamp with time zone not null,
    user_id uuid not null,
    key_id text,
    provider text not null,
    model text not null,
    outcome text not null,
    usage_source text not null,
    input_uncached bigint not null,
    cache_read bigint not null,
    cache_write_5m bigint not null,
    cache_write_1h bigint not null,
    output_visible bigint not null,
    reasoning bigint not null,
    cost_micro_usd bigint,
    constraint usage_ledger_pkey PRIMARY KEY (tenant_id, attempt_id)
);
alter table mv.usage_ledger enable row level security;
alter table mv.usage_ledger force row level security;
create policy cdc on mv.usage_ledger for select to adriatic_cdc using (true);
create policy flows on mv.usage_ledger to adriatic_flows using (true) with check (true);
create policy tenant on mv.usage_ledger to adriatic_api, adriatic_search using ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) with check ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));
grant delete, insert, select, update on mv.usage_ledger to adriatic_flows;
grant select on mv.usage_ledger to adriatic_cdc;
grant select on mv.usage_ledger to adriatic_search;

create table mv.watermarks (
    view text not null,
    topic text not null,
    partition integer not null,
    lsn pg_lsn not null,
    source_at timestamp with time zone not null,
    applied_at timestamp with time zone not null default now(),
    constraint watermarks_pkey PRIMARY KEY (view, topic, partition)
);
grant insert, select, update on mv.watermarks to adriatic_flows;
grant select on mv.watermarks to adriatic_api;
grant select on mv.watermarks to adriatic_search;

create table ops.audit (
    audit_id bigint generated always as identity not null,
    at timestamp with time zone not null default clock_timestamp(),
    actor text not null,
    action text not null,
    target text not null,
    result text not null,
    reason text not null default ''::text,
    detail jsonb not null default '{}'::jsonb,
    constraint audit_pkey PRIMARY KEY (audit_id),
    constraint audit_result_check CHECK ((result = ANY (ARRAY['done'::text, 'failed'::text])))
);
CREATE INDEX audit_target ON ops.audit USING btree (target, at);
grant insert, select on ops.audit to adriatic_flows;

create table ops.cdc_progress (
    slot text not null,
    system_id text not null,
    lsn pg_lsn not null,
    committed_at timestamp with time zone not null,
    snapshot_after pg_lsn not null default '0/0'::pg_lsn,
    snapshot_lsn pg_lsn,
    updated_at timestamp with time zone not null default now(),
    read_at timestamp with time zone,
    constraint cdc_progress_pkey PRIMARY KEY (slot)
);
grant delete, insert, select, update on ops.cdc_progress to adriatic_cdc;
grant select on ops.cdc_progress to adriatic_api;
grant select on ops.cdc_progress to adriatic_flows;

create table ops.cdc_tables (
    slot text not null,
    table_name text not null,
    state text not null,
    code text not null default ''::text,
    detail text not null default ''::text,
    hint text not null default ''::text,
    since timestamp with time zone not null default now(),
    constraint cdc_tables_pkey PRIMARY KEY (slot, table_name),
    constraint cdc_tables_state_check CHECK ((state = ANY (ARRAY['streaming'::text, 'snapshot'::text, 'stopped'::text])))
);
grant delete, insert, select, update on ops.cdc_tables to adriatic_cdc;
grant select on ops.cdc_tables to adriatic_api;
grant select on ops.cdc_tables to adriatic_flows;

create table ops.consumer_offsets (
    flow text not null,
    topic text not null,
    partition integer not null,
    next_offset bigint not null,
    updated_at timestamp with time zone not null default now(),
    constraint consumer_offsets_pkey PRIMARY KEY (flow, topic, partition),
    constraint consumer_offsets_next_offset_check CHECK ((next_offset >= 0))
);
grant insert, select, update on ops.consumer_offsets to adriatic_flows;
grant select on ops.consumer_offsets to adriatic_api;
grant select on ops.consumer_offsets to adriatic_cdc;

create table ops.dlq (
    flow text not null,
    topic text not null,
    partition integer not null,
    record_offset bigint not null,
    tenant_id uuid,
    stage text not null,
    code text not null,
    detail text not null,
    hint text not null default ''::text,
    key bytea,
    value bytea,
    headers jsonb not null default '[]'::jsonb,
    record_at timestamp with time zone,
    failed_at timestamp with time zone not null default now(),
    attempts integer not null default 1,
    state text not null default 'new'::text,
    constraint dlq_pkey PRIMARY KEY (flow, topic, partition, record_offset),
    constraint dlq_state_check CHECK ((state = ANY (ARRAY['new'::text, 'redriven'::text, 'dropped'::text])))
);
CREATE INDEX dlq_state ON ops.dlq USING btree (state, failed_at);
alter table ops.dlq enable row level security;
alter table ops.dlq force row level security;
create policy cdc on ops.dlq to adriatic_cdc using (true) with check (true);
create policy flows on ops.dlq to adriatic_flows using (true) with check (true);
grant insert, select on ops.dlq to adriatic_cdc;
grant insert, select, update on ops.dlq to adriatic_flows;

create table ops.feed_letters (
    day date not null,
    feed_id uuid not null,
    proven boolean not null,
    kept bigint not null,
    dropped bigint not null,
    constraint feed_letters_pkey PRIMARY KEY (day, feed_id, proven)
);
grant delete, insert, select, update on ops.feed_letters to adriatic_flows;

create table ops.feed_positions (
    topic text not null,
    partition integer not null,
    counted_to bigint not null,
    constraint feed_positions_pkey PRIMARY KEY (topic, partition)
);
grant delete, insert, select, update on ops.feed_positions to adriatic_flows;

create table ops.flow_progress (
    flow text not null,
    topic text not null,
    partition integer not null,
    seen_at timestamp with time zone,
    sampled_at timestamp with time zone not null default clock_timestamp(),
    constraint flow_progress_pkey PRIMARY KEY (flow, topic, partition)
);
grant insert, select, update on ops.flow_progress to adriatic_flows;

create table ops.freshness_minute (
    view text not null,
    stage text not null,
    minute timestamp with time zone not null,
    samples integer not null,
    p50_s double precision not null,
    p95_s double precision not null,
    p99_s double precision not null,
    max_s double precision not null,
    constraint freshness_minute_pkey PRIMARY KEY (view, stage, minute),
    constraint freshness_minute_samples_check CHECK ((samples > 0)),
    constraint freshness_minute_stage_check CHECK ((stage = ANY (ARRAY['total'::text, 'wal'::text, 'capture'::text, 'topic'::text, 'flow'::text])))
);
CREATE INDEX freshness_minute_age ON ops.freshness_minute USING btree (minute);
grant delete, insert, select, update on ops.freshness_minute to adriatic_flows;
grant select on ops.freshness_minute to adriatic_api;

create table ops.migrations (
    number integer not null,
    name text not null,
    checksum text not null,
    applied_at timestamp with time zone not null default now(),
    constraint migrations_pkey PRIMARY KEY (number),
    constraint migrations_number_check CHECK ((number > 0))
);
grant select on ops.migrations to adriatic_api;

create table ops.pipeline (
    only_row boolean not null default true,
    sampled_at timestamp with time zone not null,
    found jsonb not null,
    constraint pipeline_pkey PRIMARY KEY (only_row),
    constraint pipeline_only_row_check CHECK (only_row)
);
grant insert, select, update on ops.pipeline to adriatic_flows;
grant select on ops.pipeline to adriatic_api;

create view app.source_versions with (security_invoker=true) as
 SELECT adr_versions.tenant_id,
    'adr'::text AS kind,
    adr_versions.adr_id AS source_id,
    (adr_versions.version)::bigint AS version,
    (adr_versions.change = 'delete'::text) AS deleted,
    adr_versions.title,
    adr_versions.status,
    adr_versions.effective_at,
    adr_versions.body
   FROM app.adr_versions
UNION ALL
 SELECT document_versions.tenant_id,
    'document'::text AS kind,
    document_versions.document_id AS source_id,
    document_versions.version,
    (document_versions.kind = 'delete'::text) AS deleted,
    document_versions.title,
    ''::text AS status,
    document_versions.effective_at,
    document_versions.body
   FROM app.document_versions;
grant select on app.source_versions to adriatic_api;
grant select on app.source_versions to adriatic_flows;

CREATE OR REPLACE FUNCTION app.current_tenant()
 RETURNS uuid
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN (SELECT (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid AS "nullif");
alter routine app.current_tenant() owner to adriatic_owner;

CREATE OR REPLACE FUNCTION app.emit(topic text, key jsonb, tenant_id uuid, value jsonb, headers jsonb DEFAULT '{}'::jsonb)
 RETURNS pg_lsn
 LANGUAGE sql
RETURN pg_logical_emit_message(true, 'outbox'::text, (jsonb_build_object('topic', topic, 'key', key, 'tenant_id', tenant_id, 'value', value, 'headers', headers))::text);
alter routine app.emit(text,jsonb,uuid,jsonb,jsonb) owner to adriatic_owner;

CREATE OR REPLACE FUNCTION app.emit_job_progress(of_tenant uuid, of_job uuid)
 RETURNS pg_lsn
 LANGUAGE sql
BEGIN ATOMIC
 SELECT app.emit('job.progress'::text, jsonb_build_object('tenant_id', j.tenant_id, 'id', j.job_id), j.tenant_id, jsonb_build_object('event_id', gen_random_uuid(), 'tenant_id', j.tenant_id, 'occurred_at', ((EXTRACT(epoch FROM clock_timestamp()) * (1000000)::numeric))::bigint, 'job_id', j.job_id, 'job_kind', j.kind, 'sequence', j.sequence, 'state', j.state, 'stage', j.phase, 'done', j.done, 'total', j.total, 'unit', j.unit, 'code', COALESCE((j.last_error ->> 'code'::text), ''::text), 'message', COALESCE((j.last_error ->> 'detail'::text), ''::text)),
         CASE
             WHEN (j.traceparent IS NULL) THEN '{}'::jsonb
             ELSE jsonb_build_object('traceparent', j.traceparent)
         END) AS emit
    FROM app.jobs j
   WHERE ((j.tenant_id = emit_job_progress.of_tenant) AND (j.job_id = emit_job_progress.of_job));
END;
alter routine app.emit_job_progress(uuid,uuid) owner to adriatic_owner;

CREATE OR REPLACE FUNCTION app.emit_raw(topic text, key bytea, tenant_id uuid, value bytea, headers jsonb DEFAULT '{}'::jsonb)
 RETURNS pg_lsn
 LANGUAGE sql
RETURN pg_logical_emit_message(true, 'outbox'::text, (jsonb_build_object('topic', topic, 'key_b64', encode(key, 'base64'::text), 'tenant_id', tenant_id, 'value_b64', encode(value, 'base64'::text), 'headers', headers))::text);
alter routine app.emit_raw(text,bytea,uuid,bytea,jsonb) owner to adriatic_owner;

CREATE OR REPLACE PROCEDURE app.protect(IN target regclass)
 LANGUAGE plpgsql
AS $procedure$
begin
    execute format('alter table %s enable row level security', target);
    execute format('alter table %s force row level security', target);
    execute format('create policy tenant on %s to adriatic_api, adriatic_search '
                   'using (tenant_id = (select app.current_tenant())) '
                   'with check (tenant_id = (select app.current_tenant()))', target);
    execute format('create policy flows on %s to adriatic_flows using (true) with check (true)', target);
    execute format('create policy cdc on %s for select to adriatic_cdc using (true)', target);
    execute format('grant select on %s to adriatic_flows, adriatic_cdc, adriatic_search', target);
end
$procedure$;
alter routine app.protect(regclass) owner to adriatic_owner;

CREATE OR REPLACE FUNCTION mv.chunk_length(tsv tsvector)
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
RETURN (SELECT COALESCE(sum(cardinality(unnest.positions)), (0)::bigint) AS "coalesce" FROM unnest(chunk_length.tsv) unnest(lexeme, positions, weights));
alter routine mv.chunk_length(tsvector) owner to adriatic_owner;

CREATE OR REPLACE FUNCTION mv.chunk_tsv(ordinal integer, title text, heading_path text, body text)
 RETURNS tsvector
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
RETURN ((setweight(to_tsvector('english'::regconfig, CASE WHEN (ordinal = 0) THEN title ELSE ''::text END), 'A'::"char") || setweight(to_tsvector('english'::regconfig, heading_path), 'B'::"char")) || to_tsvector('english'::regconfig, body));
alter routine mv.chunk_tsv(integer,text,text,text) owner to adriatic_owner;

CREATE OR REPLACE FUNCTION mv.lexeme_count(tsv tsvector, query tsquery, buckets double precision[])
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
RETURN width_bucket((ts_rank('{1,1,1,1}'::real[], tsv, query))::double precision, buckets);
alter routine mv.lexeme_count(tsvector,tsquery,double precision[]) owner to adriatic_owner;

CREATE OR REPLACE FUNCTION mv.lexeme_count_buckets()
 RETURNS double precision[]
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN ARRAY(SELECT (((sum((1.0 / ((n.n * n.n))::numeric)) OVER (ORDER BY n.n) - (0.5 / ((n.n * n.n))::numeric)))::double precision / (1.64493406685)::double precision) FROM generate_series(1, 64) n(n) ORDER BY n.n);
alter routine mv.lexeme_count_buckets() owner to adriatic_owner;

CREATE OR REPLACE FUNCTION mv.lexeme_query(lexeme text)
 RETURNS tsquery
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
RETURN (((''''::text || replace(replace(lexeme, '\'::text, '\\'::text), ''''::text, ''''''::text)) || ''''::text))::tsquery;
alter routine mv.lexeme_query(text) owner to adriatic_owner;

CREATE OR REPLACE FUNCTION mv.search_meaning(embedding_space text, embedding vector, kinds text[], ids uuid[], chunks_max integer)
 RETURNS TABLE(kind text, source_id uuid, version bigint, ordinal integer, score double precision)
 LANGUAGE plpgsql
 STABLE ROWS 100
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
#variable_conflict use_column
declare
    tenant constant uuid := app.current_tenant();
begin
    return query
    with nearest as (
        select candidate.*
        from (select distinct kind from mv.search_state where tenant_id = tenant) k
        cross join lateral (
            select c.kind, c.source_id, c.version, c.ordinal, (e.embedding <=> search_meaning.embedding) + 0 as distance
            from mv.search_state s
            join mv.chunks c
                on c.tenant_id = s.tenant_id and c.kind = s.kind and c.source_id = s.source_id
                and c.version = s.meaning_version
            join mv.embeddings e on e.tenant_id = c.tenant_id and e.text_hash = c.text_hash
            where s.tenant_id = tenant and c.tenant_id = tenant and e.tenant_id = tenant
                and s.kind = k.kind and e.space = embedding_space and not s.deleted
                and (ids is null or (s.kind, s.source_id) in (select * from unnest(kinds, ids)))
            order by distance, c.source_id, c.ordinal
            limit chunks_max
        ) candidate
    )
    select distinct on (kind, source_id) kind, source_id, version, ordinal, 1 - distance
    from nearest order by kind, source_id, distance, ordinal;
end
$function$;
alter routine mv.search_meaning(text,vector,text[],uuid[],integer) owner to adriatic_owner;

CREATE OR REPLACE FUNCTION mv.search_sources_with(query tsquery)
 RETURNS TABLE(kind text, source_id uuid)
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER ROWS 100
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
#variable_conflict use_column
declare
    tenant constant uuid := app.current_tenant();
begin
    if tenant is null then
        return;
    end if;
    return query
    with matching as materialized (
        select c.kind, c.source_id, c.version from mv.chunks c where c.tenant_id = tenant and c.tsv @@ query
    )
    select distinct s.kind, s.source_id
    from matching m
    join mv.search_state s
        on s.tenant_id = tenant and s.kind = m.kind and s.source_id = m.source_id and s.words_version = m.version
    where not s.deleted;
end
$function$;
alter routine mv.search_sources_with(tsquery) owner to adriatic_search;
revoke execute on routine mv.search_sources_with(tsquery) from public;
grant execute on routine mv.search_sources_with(tsquery) to adriatic_api;

CREATE OR REPLACE FUNCTION mv.search_terms(query text)
 RETURNS text[]
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
RETURN ARRAY(SELECT unnest.lexeme FROM unnest(to_tsvector('english'::regconfig, search_terms.query)) unnest(lexeme, positions, weights) ORDER BY unnest.positions[1], unnest.lexeme LIMIT 32);
alter routine mv.search_terms(text) owner to adriatic_owner;

CREATE OR REPLACE FUNCTION mv.search_words(query text, kinds text[], ids uuid[], sources_max integer)
 RETURNS TABLE(kind text, source_id uuid, version bigint, ordinal integer, score double precision, terms text[])
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER ROWS 100
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
#variable_conflict use_column
declare
    k1 constant double precision := 1.2;
    b constant double precision := 0.75;
    tenant constant uuid := app.current_tenant();
    buckets constant double precision[] := mv.lexeme_count_buckets();
    wanted constant text[] := mv.search_terms(query);
    queries constant tsquery[] := array(select mv.lexeme_query(lexeme) from unnest(wanted) as lexeme);
    in_titles constant tsquery[] := array(select (one::text || ':A')::tsquery from unnest(queries) as one);
    any_wanted constant tsquery := (select string_agg(one::text, ' | ') from unnest(queries) as one)::tsquery;
begin
    if tenant is null or cardinality(wanted) = 0 then
        return;
    end if;
    return query
    with lengths as materialized (
        select c.kind, c.source_id, sum(c.length)::double precision as length
        from mv.chunks c
        join mv.search_state s
            on s.tenant_id = c.tenant_id and s.kind = c.kind and s.source_id = c.source_id and s.words_version = c.version
        where c.tenant_id = tenant and not s.deleted
        group by c.kind, c.source_id
    ),
    corpus as materialized (
        select kind, count(*)::double precision as texts, greatest(avg(length), 1) as length
        from lengths group by kind
    ),
    matching as materialized (
        select c.kind, c.source_id, c.version, c.ordinal, c.length, term.lexeme,
               mv.lexeme_count(c.tsv, term.query, buckets)
                   + case when c.ordinal = 0 and c.tsv @@ term.in_title then 2 else 0 end as count
        from (
            -- One look-up for all words, planned by itself; `offset 0` keeps it from becoming one for each word, whose
            -- cost would be that of all tenants' chunks.
            select kind, source_id, version, ordinal, length, tsv from mv.chunks
            where tenant_id = tenant and tsv @@ any_wanted offset 0
        ) c
        join unnest(wanted, queries, in_titles) as term (lexeme, query, in_title) on c.tsv @@ term.query
    ),
    found as materialized (
        select m.*
        from matching m
        join mv.search_state s
            on s.tenant_id = tenant and s.kind = m.kind and s.source_id = m.source_id and s.words_version = m.version
        where not s.deleted
    ),
    counts as (
        select kind, source_id, lexeme, sum(count)::double precision as count
        from found group by kind, source_id, lexeme
    ),
    rarity as materialized (
        select kind, lexeme, ln(1 + (min(corpus.texts) - count(*) + 0.5) / (count(*) + 0.5)) as idf
        from counts join corpus using (kind) group by kind, lexeme
    ),
    ranked as materialized (
        -- Rounded, so that the order in which a plan adds up cannot decide a tie.
        select kind, source_id, array_agg(lexeme order by lexeme) as terms, round(sum(
                   idf * count * (k1 + 1) / (count + k1 * (1 - b + b * lengths.length / corpus.length))
               )::numeric, 9)::double precision as score
        from counts join rarity using (kind, lexeme) join lengths using (kind, source_id) join corpus using (kind)
        where ids is null or (kind, source_id) in (select * from unnest(kinds, ids))
        group by kind, source_id
        order by score desc, kind, source_id
        limit sources_max
    )
    select distinct on (score, kind, source_id) kind, source_id, version, ordinal, score, terms
    from (
        -- A chunk that is hardly more than a heading says nothing to whoever reads it.
        select ranked.kind, ranked.source_id, ranked.score, ranked.terms, version, ordinal, length < 20 as short,
               round(sum(idf * count / (count + k1))::numeric, 9) as weight
        from ranked join found using (kind, source_id) join rarity using (kind, lexeme)
        group by ranked.kind, ranked.source_id, ranked.score, ranked.terms, version, ordinal, length
    ) chunk
    order by score desc, kind, source_id, short, weight desc, ordinal;
end
$function$;
alter routine mv.search_words(text,text[],uuid[],integer) owner to adriatic_search;
revoke execute on routine mv.search_words(text,text[],uuid[],integer) from public;
grant execute on routine mv.search_words(text,text[],uuid[],integer) to adriatic_api;

create publication adriatic for table
    app.adr_links,
    app.adr_tags,
    app.adr_versions,
    app.adrs,
    app.document_versions,
    app.logs,
    app.tenants,
    app.usage_events,
    mv.activity,
    mv.daily_active_users,
    mv.entity_counts,
    mv.feed_status,
    mv.job_status,
    mv.related,
    mv.search_state,
    mv.usage_by_day,
    mv.usage_by_hour,
    mv.usage_by_key,
    mv.usage_by_model,
    mv.usage_by_user;
