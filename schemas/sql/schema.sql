-- What the migrations make, written by `adriatic schemas generate`. Change a migration, not this file.

CREATE SCHEMA app;

CREATE SCHEMA mv;

CREATE SCHEMA ops;

CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;

COMMENT ON EXTENSION vector IS 'vector data type and ivfflat and hnsw access methods';

CREATE PUBLICATION adriatic WITH (publish = 'insert, update, delete, truncate');

GRANT USAGE ON SCHEMA app TO adriatic_api;
GRANT USAGE ON SCHEMA app TO adriatic_flows;
GRANT USAGE ON SCHEMA app TO adriatic_cdc;
GRANT USAGE ON SCHEMA app TO adriatic_search;

GRANT USAGE ON SCHEMA mv TO adriatic_api;
GRANT USAGE ON SCHEMA mv TO adriatic_flows;
GRANT USAGE ON SCHEMA mv TO adriatic_cdc;
GRANT USAGE ON SCHEMA mv TO adriatic_search;

GRANT USAGE ON SCHEMA ops TO adriatic_api;
GRANT USAGE ON SCHEMA ops TO adriatic_flows;
GRANT USAGE ON SCHEMA ops TO adriatic_cdc;

CREATE TABLE app.adr_links (
    tenant_id uuid NOT NULL,
    adr_id uuid NOT NULL,
    kind text NOT NULL,
    target text NOT NULL,
    target_id uuid,
    origin text DEFAULT 'text'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT adr_links_kind_check CHECK ((kind = ANY (ARRAY['relates-to'::text, 'supersedes'::text, 'superseded-by'::text, 'amends'::text, 'amended-by'::text, 'depends-on'::text]))),
    CONSTRAINT adr_links_origin_check CHECK ((origin = ANY (ARRAY['text'::text, 'user'::text])))
);

ALTER TABLE ONLY app.adr_links FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.adr_links
    ADD CONSTRAINT adr_links_pkey PRIMARY KEY (tenant_id, adr_id, kind, target);

CREATE INDEX adr_links_target ON app.adr_links USING btree (tenant_id, target_id) WHERE (target_id IS NOT NULL);

ALTER TABLE ONLY app.adr_links
    ADD CONSTRAINT adr_links_tenant_id_adr_id_fkey FOREIGN KEY (tenant_id, adr_id) REFERENCES app.adrs(tenant_id, adr_id);

ALTER TABLE ONLY app.adr_links
    ADD CONSTRAINT adr_links_tenant_id_target_id_fkey FOREIGN KEY (tenant_id, target_id) REFERENCES app.adrs(tenant_id, adr_id);

ALTER TABLE app.adr_links ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON app.adr_links FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.adr_links TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.adr_links TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER PUBLICATION adriatic ADD TABLE ONLY app.adr_links;

GRANT SELECT ON TABLE app.adr_links TO adriatic_flows;
GRANT SELECT ON TABLE app.adr_links TO adriatic_cdc;
GRANT SELECT ON TABLE app.adr_links TO adriatic_search;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE app.adr_links TO adriatic_api;

CREATE TABLE app.adr_tags (
    tenant_id uuid NOT NULL,
    adr_id uuid NOT NULL,
    tag text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT adr_tags_tag_check CHECK ((tag ~ '^[^[:cntrl:],]{1,64}$'::text))
);

ALTER TABLE ONLY app.adr_tags FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.adr_tags
    ADD CONSTRAINT adr_tags_pkey PRIMARY KEY (tenant_id, adr_id, tag);

CREATE INDEX adr_tags_tag ON app.adr_tags USING btree (tenant_id, tag);

ALTER TABLE ONLY app.adr_tags
    ADD CONSTRAINT adr_tags_tenant_id_adr_id_fkey FOREIGN KEY (tenant_id, adr_id) REFERENCES app.adrs(tenant_id, adr_id);

ALTER TABLE app.adr_tags ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON app.adr_tags FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.adr_tags TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.adr_tags TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER PUBLICATION adriatic ADD TABLE ONLY app.adr_tags;

GRANT SELECT ON TABLE app.adr_tags TO adriatic_flows;
GRANT SELECT ON TABLE app.adr_tags TO adriatic_cdc;
GRANT SELECT ON TABLE app.adr_tags TO adriatic_search;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE app.adr_tags TO adriatic_api;

CREATE TABLE app.adr_versions (
    tenant_id uuid NOT NULL,
    adr_id uuid NOT NULL,
    version integer NOT NULL,
    change text NOT NULL,
    title text NOT NULL,
    status text NOT NULL,
    body text NOT NULL,
    original bytea,
    message text DEFAULT ''::text NOT NULL,
    author text DEFAULT ''::text NOT NULL,
    author_id uuid,
    source_key text,
    source_ref text,
    traceparent text,
    effective_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT adr_versions_change_check CHECK ((change = ANY (ARRAY['create'::text, 'update'::text, 'rename'::text, 'rollback'::text, 'delete'::text, 'restore'::text]))),
    CONSTRAINT adr_versions_version_check CHECK ((version > 0))
);

ALTER TABLE ONLY app.adr_versions FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.adr_versions
    ADD CONSTRAINT adr_versions_pkey PRIMARY KEY (tenant_id, adr_id, version);

CREATE INDEX adr_versions_as_of ON app.adr_versions USING btree (tenant_id, adr_id, effective_at, version);

CREATE UNIQUE INDEX adr_versions_source ON app.adr_versions USING btree (tenant_id, source_ref, source_key, adr_id) WHERE (source_ref IS NOT NULL);

ALTER TABLE ONLY app.adr_versions
    ADD CONSTRAINT adr_versions_tenant_id_adr_id_fkey FOREIGN KEY (tenant_id, adr_id) REFERENCES app.adrs(tenant_id, adr_id) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE app.adr_versions ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON app.adr_versions FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.adr_versions TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.adr_versions TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER PUBLICATION adriatic ADD TABLE ONLY app.adr_versions;

GRANT SELECT ON TABLE app.adr_versions TO adriatic_flows;
GRANT SELECT ON TABLE app.adr_versions TO adriatic_cdc;
GRANT SELECT ON TABLE app.adr_versions TO adriatic_search;
GRANT SELECT,INSERT ON TABLE app.adr_versions TO adriatic_api;

CREATE TABLE app.adrs (
    tenant_id uuid NOT NULL,
    adr_id uuid NOT NULL,
    log_id uuid NOT NULL,
    number integer,
    title text NOT NULL,
    status text NOT NULL,
    version integer NOT NULL,
    source_key text,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT adrs_version_check CHECK ((version > 0))
);

ALTER TABLE ONLY app.adrs FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.adrs
    ADD CONSTRAINT adrs_pkey PRIMARY KEY (tenant_id, adr_id);

CREATE UNIQUE INDEX adrs_number ON app.adrs USING btree (tenant_id, log_id, number) WHERE (number IS NOT NULL);

CREATE INDEX adrs_recent ON app.adrs USING btree (tenant_id, updated_at DESC, adr_id DESC);

CREATE UNIQUE INDEX adrs_source ON app.adrs USING btree (tenant_id, log_id, source_key) WHERE ((source_key IS NOT NULL) AND (deleted_at IS NULL));

ALTER TABLE ONLY app.adrs
    ADD CONSTRAINT adrs_tenant_id_log_id_fkey FOREIGN KEY (tenant_id, log_id) REFERENCES app.logs(tenant_id, log_id);

ALTER TABLE app.adrs ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON app.adrs FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.adrs TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.adrs TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER PUBLICATION adriatic ADD TABLE ONLY app.adrs;

GRANT SELECT ON TABLE app.adrs TO adriatic_flows;
GRANT SELECT ON TABLE app.adrs TO adriatic_cdc;
GRANT SELECT ON TABLE app.adrs TO adriatic_search;
GRANT SELECT,INSERT,UPDATE ON TABLE app.adrs TO adriatic_api;

CREATE FUNCTION app.current_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (SELECT (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid AS "nullif");

CREATE TABLE app.document_versions (
    tenant_id uuid NOT NULL,
    document_id uuid NOT NULL,
    version bigint NOT NULL,
    kind text NOT NULL,
    origin text NOT NULL,
    feed_id uuid,
    external_id text,
    title text NOT NULL,
    media_type text NOT NULL,
    uri text,
    body text NOT NULL,
    effective_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL,
    traceparent text,
    CONSTRAINT document_versions_body_check CHECK ((octet_length(body) <= 1048576)),
    CONSTRAINT document_versions_check CHECK (((kind <> 'delete'::text) OR (body = ''::text))),
    CONSTRAINT document_versions_check1 CHECK (((origin = 'feed'::text) = ((feed_id IS NOT NULL) AND (external_id IS NOT NULL)))),
    CONSTRAINT document_versions_external_id_check CHECK (((length(external_id) >= 1) AND (length(external_id) <= 1024))),
    CONSTRAINT document_versions_kind_check CHECK ((kind = ANY (ARRAY['create'::text, 'update'::text, 'delete'::text]))),
    CONSTRAINT document_versions_media_type_check CHECK (((length(media_type) >= 1) AND (length(media_type) <= 255))),
    CONSTRAINT document_versions_origin_check CHECK ((origin = ANY (ARRAY['upload'::text, 'feed'::text]))),
    CONSTRAINT document_versions_title_check CHECK ((length(title) <= 1000)),
    CONSTRAINT document_versions_uri_check CHECK ((length(uri) <= 2048)),
    CONSTRAINT document_versions_version_check CHECK ((version > 0))
);

ALTER TABLE ONLY app.document_versions FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.document_versions
    ADD CONSTRAINT document_versions_pkey PRIMARY KEY (tenant_id, document_id, version);

ALTER TABLE ONLY app.document_versions
    ADD CONSTRAINT document_versions_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

CREATE POLICY cdc ON app.document_versions FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE app.document_versions ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON app.document_versions TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.document_versions TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER PUBLICATION adriatic ADD TABLE ONLY app.document_versions;

GRANT SELECT,INSERT ON TABLE app.document_versions TO adriatic_flows;
GRANT SELECT ON TABLE app.document_versions TO adriatic_cdc;
GRANT SELECT ON TABLE app.document_versions TO adriatic_search;
GRANT SELECT,INSERT ON TABLE app.document_versions TO adriatic_api;

CREATE TABLE app.documents (
    tenant_id uuid NOT NULL,
    document_id uuid NOT NULL,
    job_id uuid NOT NULL,
    content_hash bytea NOT NULL,
    size_bytes bigint NOT NULL,
    file_name text NOT NULL,
    media_type text DEFAULT ''::text NOT NULL,
    title text DEFAULT ''::text NOT NULL,
    state text DEFAULT 'stored'::text NOT NULL,
    reason jsonb,
    pages integer,
    version bigint DEFAULT 0 NOT NULL,
    uploaded_by uuid,
    traceparent text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT documents_check CHECK (((state = 'refused'::text) = (reason IS NOT NULL))),
    CONSTRAINT documents_content_hash_check CHECK ((length(content_hash) = 32)),
    CONSTRAINT documents_file_name_check CHECK (((length(file_name) >= 1) AND (length(file_name) <= 255))),
    CONSTRAINT documents_size_bytes_check CHECK ((size_bytes >= 0)),
    CONSTRAINT documents_state_check CHECK ((state = ANY (ARRAY['stored'::text, 'processing'::text, 'processed'::text, 'refused'::text])))
);

ALTER TABLE ONLY app.documents FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.documents
    ADD CONSTRAINT documents_pkey PRIMARY KEY (tenant_id, document_id);

CREATE UNIQUE INDEX documents_content ON app.documents USING btree (tenant_id, content_hash) WHERE (deleted_at IS NULL);

CREATE INDEX documents_recent ON app.documents USING btree (tenant_id, created_at DESC, document_id DESC) WHERE (deleted_at IS NULL);

ALTER TABLE ONLY app.documents
    ADD CONSTRAINT documents_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

ALTER TABLE ONLY app.documents
    ADD CONSTRAINT documents_tenant_id_job_id_fkey FOREIGN KEY (tenant_id, job_id) REFERENCES app.jobs(tenant_id, job_id) DEFERRABLE INITIALLY DEFERRED;

CREATE POLICY cdc ON app.documents FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE app.documents ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON app.documents TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.documents TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,UPDATE ON TABLE app.documents TO adriatic_flows;
GRANT SELECT ON TABLE app.documents TO adriatic_cdc;
GRANT SELECT ON TABLE app.documents TO adriatic_search;
GRANT SELECT,INSERT,UPDATE ON TABLE app.documents TO adriatic_api;

CREATE FUNCTION app.emit(topic text, key jsonb, tenant_id uuid, value jsonb, headers jsonb DEFAULT '{}'::jsonb) RETURNS pg_lsn
    LANGUAGE sql
    RETURN pg_logical_emit_message(true, 'outbox'::text, (jsonb_build_object('topic', topic, 'key', key, 'tenant_id', tenant_id, 'value', value, 'headers', headers))::text);

CREATE FUNCTION app.emit_job_progress(of_tenant uuid, of_job uuid) RETURNS pg_lsn
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

CREATE FUNCTION app.emit_raw(topic text, key bytea, tenant_id uuid, value bytea, headers jsonb DEFAULT '{}'::jsonb) RETURNS pg_lsn
    LANGUAGE sql
    RETURN pg_logical_emit_message(true, 'outbox'::text, (jsonb_build_object('topic', topic, 'key_b64', encode(key, 'base64'::text), 'tenant_id', tenant_id, 'value_b64', encode(value, 'base64'::text), 'headers', headers))::text);

CREATE TABLE app.feed_doors (
    tenant_id uuid NOT NULL,
    feed_id uuid NOT NULL,
    minute timestamp with time zone NOT NULL,
    minute_items bigint NOT NULL,
    day date NOT NULL,
    day_items bigint NOT NULL,
    day_bytes bigint NOT NULL
);

ALTER TABLE ONLY app.feed_doors FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.feed_doors
    ADD CONSTRAINT feed_doors_pkey PRIMARY KEY (tenant_id, feed_id);

ALTER TABLE ONLY app.feed_doors
    ADD CONSTRAINT feed_doors_tenant_id_feed_id_fkey FOREIGN KEY (tenant_id, feed_id) REFERENCES app.feeds(tenant_id, feed_id);

CREATE POLICY cdc ON app.feed_doors FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE app.feed_doors ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON app.feed_doors TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.feed_doors TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT ON TABLE app.feed_doors TO adriatic_flows;
GRANT SELECT ON TABLE app.feed_doors TO adriatic_cdc;
GRANT SELECT ON TABLE app.feed_doors TO adriatic_search;
GRANT SELECT,INSERT,UPDATE ON TABLE app.feed_doors TO adriatic_api;

CREATE TABLE app.feed_keys (
    tenant_id uuid NOT NULL,
    feed_id uuid NOT NULL,
    key_id text NOT NULL,
    public_key bytea NOT NULL,
    name text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    revoked_at timestamp with time zone,
    CONSTRAINT feed_keys_public_key_check CHECK ((length(public_key) = 32))
);

ALTER TABLE ONLY app.feed_keys FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.feed_keys
    ADD CONSTRAINT feed_keys_pkey PRIMARY KEY (tenant_id, key_id);

CREATE INDEX feed_keys_feed ON app.feed_keys USING btree (tenant_id, feed_id);

ALTER TABLE ONLY app.feed_keys
    ADD CONSTRAINT feed_keys_tenant_id_feed_id_fkey FOREIGN KEY (tenant_id, feed_id) REFERENCES app.feeds(tenant_id, feed_id);

CREATE POLICY cdc ON app.feed_keys FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE app.feed_keys ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON app.feed_keys TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.feed_keys TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT ON TABLE app.feed_keys TO adriatic_flows;
GRANT SELECT ON TABLE app.feed_keys TO adriatic_cdc;
GRANT SELECT ON TABLE app.feed_keys TO adriatic_search;
GRANT SELECT,INSERT,UPDATE ON TABLE app.feed_keys TO adriatic_api;

CREATE TABLE app.feeds (
    tenant_id uuid NOT NULL,
    feed_id uuid NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    items_per_day bigint NOT NULL,
    bytes_per_day bigint NOT NULL,
    items_per_minute integer NOT NULL,
    paused boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT feeds_bytes_per_day_check CHECK ((bytes_per_day >= 0)),
    CONSTRAINT feeds_items_per_day_check CHECK ((items_per_day >= 0)),
    CONSTRAINT feeds_items_per_minute_check CHECK ((items_per_minute >= 0)),
    CONSTRAINT feeds_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT feeds_slug_check CHECK ((slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'::text))
);

ALTER TABLE ONLY app.feeds FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.feeds
    ADD CONSTRAINT feeds_pkey PRIMARY KEY (tenant_id, feed_id);

ALTER TABLE ONLY app.feeds
    ADD CONSTRAINT feeds_tenant_id_slug_key UNIQUE (tenant_id, slug);

ALTER TABLE ONLY app.feeds
    ADD CONSTRAINT feeds_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

CREATE POLICY cdc ON app.feeds FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE app.feeds ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON app.feeds TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.feeds TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT ON TABLE app.feeds TO adriatic_flows;
GRANT SELECT ON TABLE app.feeds TO adriatic_cdc;
GRANT SELECT ON TABLE app.feeds TO adriatic_search;
GRANT SELECT,INSERT,UPDATE ON TABLE app.feeds TO adriatic_api;

CREATE TABLE app.idempotency_keys (
    tenant_id uuid NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    adr_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT idempotency_keys_key_check CHECK (((length(key) >= 1) AND (length(key) <= 200)))
);

ALTER TABLE ONLY app.idempotency_keys FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (tenant_id, key);

CREATE INDEX idempotency_keys_age ON app.idempotency_keys USING btree (tenant_id, created_at);

ALTER TABLE ONLY app.idempotency_keys
    ADD CONSTRAINT idempotency_keys_tenant_id_adr_id_fkey FOREIGN KEY (tenant_id, adr_id) REFERENCES app.adrs(tenant_id, adr_id) DEFERRABLE INITIALLY DEFERRED;

CREATE POLICY cdc ON app.idempotency_keys FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.idempotency_keys TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE app.idempotency_keys ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON app.idempotency_keys TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT ON TABLE app.idempotency_keys TO adriatic_flows;
GRANT SELECT ON TABLE app.idempotency_keys TO adriatic_cdc;
GRANT SELECT ON TABLE app.idempotency_keys TO adriatic_search;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE app.idempotency_keys TO adriatic_api;

CREATE TABLE app.import_refusals (
    tenant_id uuid NOT NULL,
    log_id uuid NOT NULL,
    source_ref text NOT NULL,
    source_key text NOT NULL,
    code text NOT NULL,
    detail text NOT NULL
);

ALTER TABLE ONLY app.import_refusals FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.import_refusals
    ADD CONSTRAINT import_refusals_pkey PRIMARY KEY (tenant_id, log_id, source_ref, source_key);

ALTER TABLE ONLY app.import_refusals
    ADD CONSTRAINT import_refusals_tenant_id_log_id_fkey FOREIGN KEY (tenant_id, log_id) REFERENCES app.logs(tenant_id, log_id);

CREATE POLICY cdc ON app.import_refusals FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.import_refusals TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE app.import_refusals ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON app.import_refusals TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT ON TABLE app.import_refusals TO adriatic_flows;
GRANT SELECT ON TABLE app.import_refusals TO adriatic_cdc;
GRANT SELECT ON TABLE app.import_refusals TO adriatic_search;
GRANT SELECT,INSERT ON TABLE app.import_refusals TO adriatic_api;

CREATE TABLE app.imports (
    tenant_id uuid NOT NULL,
    import_id uuid NOT NULL,
    log_id uuid NOT NULL,
    source text NOT NULL,
    snapshot boolean DEFAULT false NOT NULL,
    events integer DEFAULT 0 NOT NULL,
    applied integer DEFAULT 0 NOT NULL,
    skipped integer DEFAULT 0 NOT NULL,
    versions integer DEFAULT 0 NOT NULL,
    refused jsonb DEFAULT '{}'::jsonb NOT NULL,
    odd jsonb DEFAULT '{}'::jsonb NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone
);

ALTER TABLE ONLY app.imports FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.imports
    ADD CONSTRAINT imports_pkey PRIMARY KEY (tenant_id, import_id);

ALTER TABLE ONLY app.imports
    ADD CONSTRAINT imports_tenant_id_log_id_fkey FOREIGN KEY (tenant_id, log_id) REFERENCES app.logs(tenant_id, log_id);

CREATE POLICY cdc ON app.imports FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.imports TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE app.imports ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON app.imports TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT ON TABLE app.imports TO adriatic_flows;
GRANT SELECT ON TABLE app.imports TO adriatic_cdc;
GRANT SELECT ON TABLE app.imports TO adriatic_search;
GRANT SELECT,INSERT,UPDATE ON TABLE app.imports TO adriatic_api;

CREATE TABLE app.jobs (
    tenant_id uuid NOT NULL,
    job_id uuid NOT NULL,
    kind text NOT NULL,
    params jsonb DEFAULT '{}'::jsonb NOT NULL,
    state text DEFAULT 'queued'::text NOT NULL,
    phase text DEFAULT ''::text NOT NULL,
    done bigint DEFAULT 0 NOT NULL,
    total bigint,
    unit text DEFAULT 'items'::text NOT NULL,
    "position" jsonb DEFAULT '{}'::jsonb NOT NULL,
    sequence bigint DEFAULT 0 NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    due_at timestamp with time zone DEFAULT now() NOT NULL,
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
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    CONSTRAINT jobs_check CHECK (((lease_owner IS NULL) = (lease_until IS NULL))),
    CONSTRAINT jobs_check1 CHECK (((finished_at IS NOT NULL) = (state = ANY (ARRAY['succeeded'::text, 'failed'::text, 'cancelled'::text])))),
    CONSTRAINT jobs_idempotency_key_check CHECK (((length(idempotency_key) >= 1) AND (length(idempotency_key) <= 200))),
    CONSTRAINT jobs_kind_check CHECK (((length(kind) >= 1) AND (length(kind) <= 63))),
    CONSTRAINT jobs_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'succeeded'::text, 'failed'::text, 'cancelled'::text])))
);

ALTER TABLE ONLY app.jobs FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (tenant_id, job_id);

ALTER TABLE ONLY app.jobs
    ADD CONSTRAINT jobs_tenant_id_idempotency_key_key UNIQUE (tenant_id, idempotency_key);

CREATE INDEX jobs_open ON app.jobs USING btree (tenant_id, due_at) WHERE (state = ANY (ARRAY['queued'::text, 'running'::text]));

CREATE INDEX jobs_recent ON app.jobs USING btree (tenant_id, created_at DESC, job_id DESC);

ALTER TABLE ONLY app.jobs
    ADD CONSTRAINT jobs_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

CREATE POLICY cdc ON app.jobs FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.jobs TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE app.jobs ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON app.jobs TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,UPDATE ON TABLE app.jobs TO adriatic_flows;
GRANT SELECT ON TABLE app.jobs TO adriatic_cdc;
GRANT SELECT ON TABLE app.jobs TO adriatic_search;
GRANT SELECT,INSERT,UPDATE ON TABLE app.jobs TO adriatic_api;

CREATE TABLE app.logs (
    tenant_id uuid NOT NULL,
    log_id uuid NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    next_number integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT logs_next_number_check CHECK ((next_number > 0)),
    CONSTRAINT logs_slug_check CHECK ((slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'::text))
);

ALTER TABLE ONLY app.logs FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.logs
    ADD CONSTRAINT logs_pkey PRIMARY KEY (tenant_id, log_id);

ALTER TABLE ONLY app.logs
    ADD CONSTRAINT logs_tenant_id_slug_key UNIQUE (tenant_id, slug);

ALTER TABLE ONLY app.logs
    ADD CONSTRAINT logs_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

CREATE POLICY cdc ON app.logs FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.logs TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE app.logs ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON app.logs TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER PUBLICATION adriatic ADD TABLE ONLY app.logs;

GRANT SELECT ON TABLE app.logs TO adriatic_flows;
GRANT SELECT ON TABLE app.logs TO adriatic_cdc;
GRANT SELECT ON TABLE app.logs TO adriatic_search;
GRANT SELECT,INSERT,UPDATE ON TABLE app.logs TO adriatic_api;

CREATE PROCEDURE app.protect(IN target regclass)
    LANGUAGE plpgsql
    AS $$
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
$$;

CREATE VIEW app.source_versions WITH (security_invoker='true') AS
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

GRANT SELECT ON TABLE app.source_versions TO adriatic_api;
GRANT SELECT ON TABLE app.source_versions TO adriatic_flows;

CREATE TABLE app.tenants (
    tenant_id uuid NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenants_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT tenants_slug_check CHECK ((slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'::text))
);

ALTER TABLE ONLY app.tenants FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.tenants
    ADD CONSTRAINT tenants_pkey PRIMARY KEY (tenant_id);

ALTER TABLE ONLY app.tenants
    ADD CONSTRAINT tenants_slug_key UNIQUE (slug);

CREATE POLICY cdc ON app.tenants FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.tenants TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY provision ON app.tenants TO adriatic_owner USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.tenants TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE app.tenants ENABLE ROW LEVEL SECURITY;

ALTER PUBLICATION adriatic ADD TABLE ONLY app.tenants;

GRANT SELECT ON TABLE app.tenants TO adriatic_flows;
GRANT SELECT ON TABLE app.tenants TO adriatic_cdc;
GRANT SELECT ON TABLE app.tenants TO adriatic_search;
GRANT SELECT ON TABLE app.tenants TO adriatic_api;

CREATE TABLE app.usage_events (
    tenant_id uuid NOT NULL,
    attempt_id uuid NOT NULL,
    session_id uuid NOT NULL,
    user_id uuid NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    input_uncached bigint NOT NULL,
    cache_read bigint NOT NULL,
    cache_write_5m bigint NOT NULL,
    cache_write_1h bigint NOT NULL,
    output_visible bigint NOT NULL,
    reasoning bigint NOT NULL,
    cost_micro_usd bigint,
    usage_source text NOT NULL,
    outcome text NOT NULL,
    code text DEFAULT ''::text NOT NULL,
    first_token_ms integer,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone NOT NULL,
    key_id text,
    CONSTRAINT usage_events_cache_read_check CHECK ((cache_read >= 0)),
    CONSTRAINT usage_events_cache_write_1h_check CHECK ((cache_write_1h >= 0)),
    CONSTRAINT usage_events_cache_write_5m_check CHECK ((cache_write_5m >= 0)),
    CONSTRAINT usage_events_check CHECK ((finished_at >= started_at)),
    CONSTRAINT usage_events_cost_micro_usd_check CHECK ((cost_micro_usd > 0)),
    CONSTRAINT usage_events_first_token_ms_check CHECK ((first_token_ms >= 0)),
    CONSTRAINT usage_events_input_uncached_check CHECK ((input_uncached >= 0)),
    CONSTRAINT usage_events_key_id_check CHECK (((length(key_id) >= 1) AND (length(key_id) <= 255))),
    CONSTRAINT usage_events_outcome_check CHECK ((outcome = ANY (ARRAY['completed'::text, 'failed'::text, 'cancelled'::text]))),
    CONSTRAINT usage_events_output_visible_check CHECK ((output_visible >= 0)),
    CONSTRAINT usage_events_reasoning_check CHECK ((reasoning >= 0)),
    CONSTRAINT usage_events_usage_source_check CHECK ((usage_source = ANY (ARRAY['provider'::text, 'partial'::text, 'estimated'::text])))
);

ALTER TABLE ONLY app.usage_events FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.usage_events
    ADD CONSTRAINT usage_events_pkey PRIMARY KEY (tenant_id, attempt_id);

CREATE INDEX usage_events_recent ON app.usage_events USING btree (tenant_id, started_at DESC, attempt_id);

ALTER TABLE ONLY app.usage_events
    ADD CONSTRAINT usage_events_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

ALTER TABLE ONLY app.usage_events
    ADD CONSTRAINT usage_events_tenant_id_user_id_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES app.users(tenant_id, user_id);

CREATE POLICY cdc ON app.usage_events FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.usage_events TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.usage_events TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE app.usage_events ENABLE ROW LEVEL SECURITY;

ALTER PUBLICATION adriatic ADD TABLE ONLY app.usage_events;

GRANT SELECT ON TABLE app.usage_events TO adriatic_flows;
GRANT SELECT ON TABLE app.usage_events TO adriatic_cdc;
GRANT SELECT ON TABLE app.usage_events TO adriatic_search;
GRANT SELECT,INSERT ON TABLE app.usage_events TO adriatic_api;

CREATE TABLE app.users (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    subject text NOT NULL,
    name text DEFAULT ''::text NOT NULL,
    email text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY app.users FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (tenant_id, user_id);

ALTER TABLE ONLY app.users
    ADD CONSTRAINT users_tenant_id_subject_key UNIQUE (tenant_id, subject);

ALTER TABLE ONLY app.users
    ADD CONSTRAINT users_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

CREATE POLICY cdc ON app.users FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.users TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.users TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE app.users ENABLE ROW LEVEL SECURITY;

GRANT SELECT ON TABLE app.users TO adriatic_flows;
GRANT SELECT ON TABLE app.users TO adriatic_cdc;
GRANT SELECT ON TABLE app.users TO adriatic_search;
GRANT SELECT,INSERT,UPDATE ON TABLE app.users TO adriatic_api;

CREATE TABLE mv.activity (
    tenant_id uuid NOT NULL,
    adr_id uuid NOT NULL,
    version integer NOT NULL,
    change text NOT NULL,
    title text NOT NULL,
    status text NOT NULL,
    author text NOT NULL,
    effective_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone NOT NULL
);

ALTER TABLE ONLY mv.activity FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.activity
    ADD CONSTRAINT activity_pkey PRIMARY KEY (tenant_id, adr_id, version);

ALTER TABLE mv.activity ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON mv.activity FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.activity TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.activity TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER PUBLICATION adriatic ADD TABLE ONLY mv.activity;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.activity TO adriatic_flows;
GRANT SELECT ON TABLE mv.activity TO adriatic_cdc;
GRANT SELECT ON TABLE mv.activity TO adriatic_search;
GRANT SELECT ON TABLE mv.activity TO adriatic_api;

CREATE TABLE mv.activity_ledger (
    tenant_id uuid NOT NULL,
    adr_id uuid NOT NULL,
    version integer NOT NULL,
    change text NOT NULL,
    title text NOT NULL,
    status text NOT NULL,
    author text NOT NULL,
    effective_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone NOT NULL
);

ALTER TABLE ONLY mv.activity_ledger FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.activity_ledger
    ADD CONSTRAINT activity_ledger_pkey PRIMARY KEY (tenant_id, adr_id, version);

CREATE INDEX activity_ledger_day ON mv.activity_ledger USING btree (tenant_id, (((effective_at AT TIME ZONE 'UTC'::text))::date), author);

CREATE INDEX activity_ledger_newest ON mv.activity_ledger USING btree (tenant_id, recorded_at DESC, effective_at DESC, adr_id DESC, version DESC);

ALTER TABLE mv.activity_ledger ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON mv.activity_ledger FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.activity_ledger TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.activity_ledger TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.activity_ledger TO adriatic_flows;
GRANT SELECT ON TABLE mv.activity_ledger TO adriatic_cdc;
GRANT SELECT ON TABLE mv.activity_ledger TO adriatic_search;

CREATE FUNCTION mv.chunk_length(tsv tsvector) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (SELECT COALESCE(sum(cardinality(unnest.positions)), (0)::bigint) AS "coalesce" FROM unnest(chunk_length.tsv) unnest(lexeme, positions, weights));

CREATE FUNCTION mv.chunk_tsv(ordinal integer, title text, heading_path text, body text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ((setweight(to_tsvector('english'::regconfig, CASE WHEN (ordinal = 0) THEN title ELSE ''::text END), 'A'::"char") || setweight(to_tsvector('english'::regconfig, heading_path), 'B'::"char")) || to_tsvector('english'::regconfig, body));

CREATE TABLE mv.chunks (
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    source_id uuid NOT NULL,
    version bigint NOT NULL,
    ordinal integer NOT NULL,
    heading_path text NOT NULL,
    body text NOT NULL,
    char_start integer NOT NULL,
    char_end integer NOT NULL,
    text_hash bytea NOT NULL,
    tsv tsvector NOT NULL,
    length integer NOT NULL
);
ALTER TABLE ONLY mv.chunks ALTER COLUMN tsv SET STORAGE MAIN;

ALTER TABLE ONLY mv.chunks FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.chunks
    ADD CONSTRAINT chunks_pkey PRIMARY KEY (tenant_id, kind, source_id, version, ordinal);

CREATE INDEX chunks_hash ON mv.chunks USING btree (tenant_id, text_hash) INCLUDE (kind, source_id, version, ordinal);

CREATE INDEX chunks_tsv ON mv.chunks USING gin (tsv);

CREATE POLICY cdc ON mv.chunks FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE mv.chunks ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON mv.chunks TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY search ON mv.chunks FOR SELECT TO adriatic_search USING (true);

COMMENT ON POLICY search ON mv.chunks IS 'Only through the functions of 0010_search_functions.sql, which name the tenant.';

CREATE POLICY tenant ON mv.chunks TO adriatic_api USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.chunks TO adriatic_flows;
GRANT SELECT ON TABLE mv.chunks TO adriatic_cdc;
GRANT SELECT ON TABLE mv.chunks TO adriatic_search;
GRANT SELECT ON TABLE mv.chunks TO adriatic_api;

CREATE TABLE mv.daily_active_users (
    tenant_id uuid NOT NULL,
    day date NOT NULL,
    users bigint NOT NULL,
    CONSTRAINT daily_active_users_users_check CHECK ((users > 0))
);

ALTER TABLE ONLY mv.daily_active_users FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.daily_active_users
    ADD CONSTRAINT daily_active_users_pkey PRIMARY KEY (tenant_id, day);

CREATE POLICY cdc ON mv.daily_active_users FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE mv.daily_active_users ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON mv.daily_active_users TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.daily_active_users TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER PUBLICATION adriatic ADD TABLE ONLY mv.daily_active_users;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.daily_active_users TO adriatic_flows;
GRANT SELECT ON TABLE mv.daily_active_users TO adriatic_cdc;
GRANT SELECT ON TABLE mv.daily_active_users TO adriatic_search;
GRANT SELECT ON TABLE mv.daily_active_users TO adriatic_api;

CREATE TABLE mv.embedding_spaces (
    space text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    revision text NOT NULL,
    dimension integer NOT NULL,
    active boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT embedding_spaces_dimension_check CHECK ((dimension > 0))
);

ALTER TABLE ONLY mv.embedding_spaces
    ADD CONSTRAINT embedding_spaces_pkey PRIMARY KEY (space);

CREATE UNIQUE INDEX embedding_spaces_active ON mv.embedding_spaces USING btree (active) WHERE active;

GRANT SELECT ON TABLE mv.embedding_spaces TO adriatic_api;
GRANT SELECT ON TABLE mv.embedding_spaces TO adriatic_search;
GRANT SELECT,INSERT,UPDATE ON TABLE mv.embedding_spaces TO adriatic_flows;

CREATE TABLE mv.embedding_stats (
    tenant_id uuid NOT NULL,
    firsts bigint DEFAULT 0 NOT NULL,
    first_chunks bigint DEFAULT 0 NOT NULL,
    first_chunks_known bigint DEFAULT 0 NOT NULL,
    edits bigint DEFAULT 0 NOT NULL,
    edit_chunks bigint DEFAULT 0 NOT NULL,
    edit_chunks_known bigint DEFAULT 0 NOT NULL,
    embedded bigint DEFAULT 0 NOT NULL,
    reused bigint DEFAULT 0 NOT NULL
);

ALTER TABLE ONLY mv.embedding_stats FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.embedding_stats
    ADD CONSTRAINT embedding_stats_pkey PRIMARY KEY (tenant_id);

CREATE POLICY cdc ON mv.embedding_stats FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE mv.embedding_stats ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON mv.embedding_stats TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.embedding_stats TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.embedding_stats TO adriatic_flows;
GRANT SELECT ON TABLE mv.embedding_stats TO adriatic_cdc;
GRANT SELECT ON TABLE mv.embedding_stats TO adriatic_search;
GRANT SELECT ON TABLE mv.embedding_stats TO adriatic_api;

CREATE TABLE mv.embeddings (
    tenant_id uuid NOT NULL,
    space text NOT NULL,
    text_hash bytea NOT NULL,
    embedding public.vector NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY mv.embeddings FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.embeddings
    ADD CONSTRAINT embeddings_pkey PRIMARY KEY (tenant_id, space, text_hash);

ALTER TABLE ONLY mv.embeddings
    ADD CONSTRAINT embeddings_space_fkey FOREIGN KEY (space) REFERENCES mv.embedding_spaces(space);

CREATE POLICY cdc ON mv.embeddings FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE mv.embeddings ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON mv.embeddings TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.embeddings TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.embeddings TO adriatic_flows;
GRANT SELECT ON TABLE mv.embeddings TO adriatic_cdc;
GRANT SELECT ON TABLE mv.embeddings TO adriatic_search;
GRANT SELECT ON TABLE mv.embeddings TO adriatic_api;

CREATE TABLE mv.entity_counts (
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    label text NOT NULL,
    count bigint NOT NULL
);

ALTER TABLE ONLY mv.entity_counts FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.entity_counts
    ADD CONSTRAINT entity_counts_pkey PRIMARY KEY (tenant_id, kind, label);

CREATE POLICY cdc ON mv.entity_counts FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE mv.entity_counts ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON mv.entity_counts TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.entity_counts TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER PUBLICATION adriatic ADD TABLE ONLY mv.entity_counts;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.entity_counts TO adriatic_flows;
GRANT SELECT ON TABLE mv.entity_counts TO adriatic_cdc;
GRANT SELECT ON TABLE mv.entity_counts TO adriatic_search;
GRANT SELECT ON TABLE mv.entity_counts TO adriatic_api;

CREATE TABLE mv.feed_days (
    tenant_id uuid NOT NULL,
    feed_id uuid NOT NULL,
    day date NOT NULL,
    items bigint NOT NULL,
    bytes bigint NOT NULL
);

ALTER TABLE ONLY mv.feed_days FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.feed_days
    ADD CONSTRAINT feed_days_pkey PRIMARY KEY (tenant_id, feed_id, day);

CREATE POLICY cdc ON mv.feed_days FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE mv.feed_days ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON mv.feed_days TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.feed_days TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.feed_days TO adriatic_flows;
GRANT SELECT ON TABLE mv.feed_days TO adriatic_cdc;
GRANT SELECT ON TABLE mv.feed_days TO adriatic_search;
GRANT SELECT ON TABLE mv.feed_days TO adriatic_api;

CREATE TABLE mv.feed_ledger (
    tenant_id uuid NOT NULL,
    feed_id uuid NOT NULL,
    external_id text NOT NULL,
    version bigint NOT NULL,
    outcome text NOT NULL,
    deleted boolean NOT NULL,
    repeats bigint DEFAULT 0 NOT NULL,
    CONSTRAINT feed_ledger_outcome_check CHECK ((outcome = ANY (ARRAY['accepted'::text, 'superseded'::text])))
);

ALTER TABLE ONLY mv.feed_ledger FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.feed_ledger
    ADD CONSTRAINT feed_ledger_pkey PRIMARY KEY (tenant_id, feed_id, external_id, version);

CREATE POLICY cdc ON mv.feed_ledger FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE mv.feed_ledger ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON mv.feed_ledger TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.feed_ledger TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.feed_ledger TO adriatic_flows;
GRANT SELECT ON TABLE mv.feed_ledger TO adriatic_cdc;
GRANT SELECT ON TABLE mv.feed_ledger TO adriatic_search;

CREATE TABLE mv.feed_rejections (
    tenant_id uuid NOT NULL,
    feed_id uuid NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    record_offset bigint NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    key_id text,
    external_id text,
    version bigint,
    received_at timestamp with time zone NOT NULL
);

ALTER TABLE ONLY mv.feed_rejections FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.feed_rejections
    ADD CONSTRAINT feed_rejections_pkey PRIMARY KEY (tenant_id, feed_id, topic, partition, record_offset);

CREATE POLICY cdc ON mv.feed_rejections FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE mv.feed_rejections ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON mv.feed_rejections TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.feed_rejections TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.feed_rejections TO adriatic_flows;
GRANT SELECT ON TABLE mv.feed_rejections TO adriatic_cdc;
GRANT SELECT ON TABLE mv.feed_rejections TO adriatic_search;
GRANT SELECT ON TABLE mv.feed_rejections TO adriatic_api;

CREATE TABLE mv.feed_status (
    tenant_id uuid NOT NULL,
    feed_id uuid NOT NULL,
    received bigint DEFAULT 0 NOT NULL,
    accepted bigint DEFAULT 0 NOT NULL,
    deleted bigint DEFAULT 0 NOT NULL,
    duplicates bigint DEFAULT 0 NOT NULL,
    superseded bigint DEFAULT 0 NOT NULL,
    rejected bigint DEFAULT 0 NOT NULL,
    redriven bigint DEFAULT 0 NOT NULL,
    not_kept bigint DEFAULT 0 NOT NULL,
    rejected_by jsonb DEFAULT '{}'::jsonb NOT NULL,
    last_item_at timestamp with time zone,
    last_accepted_at timestamp with time zone
);

ALTER TABLE ONLY mv.feed_status FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.feed_status
    ADD CONSTRAINT feed_status_pkey PRIMARY KEY (tenant_id, feed_id);

CREATE POLICY cdc ON mv.feed_status FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE mv.feed_status ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON mv.feed_status TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.feed_status TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER PUBLICATION adriatic ADD TABLE ONLY mv.feed_status;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.feed_status TO adriatic_flows;
GRANT SELECT ON TABLE mv.feed_status TO adriatic_cdc;
GRANT SELECT ON TABLE mv.feed_status TO adriatic_search;
GRANT SELECT ON TABLE mv.feed_status TO adriatic_api;

CREATE TABLE mv.job_status (
    tenant_id uuid NOT NULL,
    job_id uuid NOT NULL,
    kind text NOT NULL,
    state text NOT NULL,
    stage text NOT NULL,
    done bigint NOT NULL,
    total bigint,
    unit text NOT NULL,
    code text NOT NULL,
    message text NOT NULL,
    sequence bigint NOT NULL,
    occurred_at timestamp with time zone NOT NULL
);

ALTER TABLE ONLY mv.job_status FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.job_status
    ADD CONSTRAINT job_status_pkey PRIMARY KEY (tenant_id, job_id);

CREATE POLICY cdc ON mv.job_status FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.job_status TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE mv.job_status ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON mv.job_status TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER PUBLICATION adriatic ADD TABLE ONLY mv.job_status;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.job_status TO adriatic_flows;
GRANT SELECT ON TABLE mv.job_status TO adriatic_cdc;
GRANT SELECT ON TABLE mv.job_status TO adriatic_search;
GRANT SELECT ON TABLE mv.job_status TO adriatic_api;

CREATE FUNCTION mv.lexeme_count(tsv tsvector, query tsquery, buckets double precision[]) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN width_bucket((ts_rank('{1,1,1,1}'::real[], tsv, query))::double precision, buckets);

CREATE FUNCTION mv.lexeme_count_buckets() RETURNS double precision[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY(SELECT (((sum((1.0 / ((n.n * n.n))::numeric)) OVER (ORDER BY n.n) - (0.5 / ((n.n * n.n))::numeric)))::double precision / (1.64493406685)::double precision) FROM generate_series(1, 64) n(n) ORDER BY n.n);

CREATE FUNCTION mv.lexeme_query(lexeme text) RETURNS tsquery
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (((''''::text || replace(replace(lexeme, '\'::text, '\\'::text), ''''::text, ''''''::text)) || ''''::text))::tsquery;

CREATE TABLE mv.related (
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    source_id uuid NOT NULL,
    related_id uuid NOT NULL,
    score double precision NOT NULL,
    words double precision NOT NULL,
    terms text[] NOT NULL,
    meaning double precision NOT NULL,
    links_to text[] NOT NULL,
    links_from text[] NOT NULL
);

ALTER TABLE ONLY mv.related FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.related
    ADD CONSTRAINT related_pkey PRIMARY KEY (tenant_id, kind, source_id, related_id);

CREATE INDEX related_back ON mv.related USING btree (tenant_id, kind, related_id);

CREATE POLICY cdc ON mv.related FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.related TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE mv.related ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON mv.related TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER PUBLICATION adriatic ADD TABLE ONLY mv.related;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.related TO adriatic_flows;
GRANT SELECT ON TABLE mv.related TO adriatic_cdc;
GRANT SELECT ON TABLE mv.related TO adriatic_search;
GRANT SELECT ON TABLE mv.related TO adriatic_api;

CREATE TABLE mv.related_features (
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    source_id uuid NOT NULL,
    version bigint NOT NULL,
    words bytea NOT NULL,
    terms text[] NOT NULL,
    passages bytea NOT NULL,
    dimension integer NOT NULL
);
ALTER TABLE ONLY mv.related_features ALTER COLUMN words SET STORAGE EXTERNAL;
ALTER TABLE ONLY mv.related_features ALTER COLUMN passages SET STORAGE EXTERNAL;

ALTER TABLE ONLY mv.related_features FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.related_features
    ADD CONSTRAINT related_features_pkey PRIMARY KEY (tenant_id, kind, source_id);

CREATE POLICY cdc ON mv.related_features FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.related_features TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE mv.related_features ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON mv.related_features TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.related_features TO adriatic_flows;
GRANT SELECT ON TABLE mv.related_features TO adriatic_cdc;
GRANT SELECT ON TABLE mv.related_features TO adriatic_search;

GRANT SELECT(tenant_id) ON TABLE mv.related_features TO adriatic_api;

GRANT SELECT(kind) ON TABLE mv.related_features TO adriatic_api;

GRANT SELECT(source_id) ON TABLE mv.related_features TO adriatic_api;

GRANT SELECT(version) ON TABLE mv.related_features TO adriatic_api;

CREATE FUNCTION mv.search_meaning(embedding_space text, embedding public.vector, kinds text[], ids uuid[], chunks_max integer) RETURNS TABLE(kind text, source_id uuid, version bigint, ordinal integer, score double precision)
    LANGUAGE plpgsql STABLE ROWS 100
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
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
$$;

CREATE FUNCTION mv.search_sources_with(query tsquery) RETURNS TABLE(kind text, source_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
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
$$;


ALTER FUNCTION mv.search_sources_with(query tsquery) OWNER TO adriatic_search;

REVOKE ALL ON FUNCTION mv.search_sources_with(query tsquery) FROM PUBLIC;
GRANT ALL ON FUNCTION mv.search_sources_with(query tsquery) TO adriatic_api;

CREATE TABLE mv.search_state (
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    source_id uuid NOT NULL,
    words_version bigint NOT NULL,
    meaning_version bigint,
    deleted boolean DEFAULT false NOT NULL,
    title text NOT NULL,
    status text NOT NULL,
    effective_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    words_at timestamp with time zone NOT NULL,
    meaning_at timestamp with time zone,
    chunks integer NOT NULL,
    length integer NOT NULL
);

ALTER TABLE ONLY mv.search_state FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.search_state
    ADD CONSTRAINT search_state_pkey PRIMARY KEY (tenant_id, kind, source_id);

CREATE INDEX search_state_waiting ON mv.search_state USING btree (tenant_id, recorded_at) WHERE ((NOT deleted) AND (meaning_version IS DISTINCT FROM words_version));

CREATE POLICY cdc ON mv.search_state FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.search_state TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE mv.search_state ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON mv.search_state TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER PUBLICATION adriatic ADD TABLE ONLY mv.search_state;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.search_state TO adriatic_flows;
GRANT SELECT ON TABLE mv.search_state TO adriatic_cdc;
GRANT SELECT ON TABLE mv.search_state TO adriatic_search;
GRANT SELECT ON TABLE mv.search_state TO adriatic_api;

CREATE FUNCTION mv.search_terms(query text) RETURNS text[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ARRAY(SELECT unnest.lexeme FROM unnest(to_tsvector('english'::regconfig, search_terms.query)) unnest(lexeme, positions, weights) ORDER BY unnest.positions[1], unnest.lexeme LIMIT 32);

CREATE FUNCTION mv.search_words(query text, kinds text[], ids uuid[], sources_max integer) RETURNS TABLE(kind text, source_id uuid, version bigint, ordinal integer, score double precision, terms text[])
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
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
        select kind, source_id, length::double precision as length
        from mv.search_state
        where tenant_id = tenant and not deleted and chunks > 0
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
$$;


ALTER FUNCTION mv.search_words(query text, kinds text[], ids uuid[], sources_max integer) OWNER TO adriatic_search;

REVOKE ALL ON FUNCTION mv.search_words(query text, kinds text[], ids uuid[], sources_max integer) FROM PUBLIC;
GRANT ALL ON FUNCTION mv.search_words(query text, kinds text[], ids uuid[], sources_max integer) TO adriatic_api;

CREATE TABLE mv.usage_by_day (
    tenant_id uuid NOT NULL,
    day date NOT NULL,
    attempts bigint CONSTRAINT usage_counts_attempts_not_null NOT NULL,
    completed bigint CONSTRAINT usage_counts_completed_not_null NOT NULL,
    failed bigint CONSTRAINT usage_counts_failed_not_null NOT NULL,
    cancelled bigint CONSTRAINT usage_counts_cancelled_not_null NOT NULL,
    input_uncached bigint CONSTRAINT usage_counts_input_uncached_not_null NOT NULL,
    cache_read bigint CONSTRAINT usage_counts_cache_read_not_null NOT NULL,
    cache_write_5m bigint CONSTRAINT usage_counts_cache_write_5m_not_null NOT NULL,
    cache_write_1h bigint CONSTRAINT usage_counts_cache_write_1h_not_null NOT NULL,
    output_visible bigint CONSTRAINT usage_counts_output_visible_not_null NOT NULL,
    reasoning bigint CONSTRAINT usage_counts_reasoning_not_null NOT NULL,
    cost_micro_usd bigint CONSTRAINT usage_counts_cost_micro_usd_not_null NOT NULL,
    unpriced bigint CONSTRAINT usage_counts_unpriced_not_null NOT NULL,
    partial bigint CONSTRAINT usage_counts_partial_not_null NOT NULL,
    estimated bigint CONSTRAINT usage_counts_estimated_not_null NOT NULL
);

ALTER TABLE ONLY mv.usage_by_day FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.usage_by_day
    ADD CONSTRAINT usage_by_day_pkey PRIMARY KEY (tenant_id, day);

CREATE POLICY cdc ON mv.usage_by_day FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.usage_by_day TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.usage_by_day TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE mv.usage_by_day ENABLE ROW LEVEL SECURITY;

ALTER PUBLICATION adriatic ADD TABLE ONLY mv.usage_by_day;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.usage_by_day TO adriatic_flows;
GRANT SELECT ON TABLE mv.usage_by_day TO adriatic_cdc;
GRANT SELECT ON TABLE mv.usage_by_day TO adriatic_search;
GRANT SELECT ON TABLE mv.usage_by_day TO adriatic_api;

CREATE TABLE mv.usage_by_hour (
    tenant_id uuid NOT NULL,
    hour timestamp with time zone NOT NULL,
    attempts bigint CONSTRAINT usage_counts_attempts_not_null NOT NULL,
    completed bigint CONSTRAINT usage_counts_completed_not_null NOT NULL,
    failed bigint CONSTRAINT usage_counts_failed_not_null NOT NULL,
    cancelled bigint CONSTRAINT usage_counts_cancelled_not_null NOT NULL,
    input_uncached bigint CONSTRAINT usage_counts_input_uncached_not_null NOT NULL,
    cache_read bigint CONSTRAINT usage_counts_cache_read_not_null NOT NULL,
    cache_write_5m bigint CONSTRAINT usage_counts_cache_write_5m_not_null NOT NULL,
    cache_write_1h bigint CONSTRAINT usage_counts_cache_write_1h_not_null NOT NULL,
    output_visible bigint CONSTRAINT usage_counts_output_visible_not_null NOT NULL,
    reasoning bigint CONSTRAINT usage_counts_reasoning_not_null NOT NULL,
    cost_micro_usd bigint CONSTRAINT usage_counts_cost_micro_usd_not_null NOT NULL,
    unpriced bigint CONSTRAINT usage_counts_unpriced_not_null NOT NULL,
    partial bigint CONSTRAINT usage_counts_partial_not_null NOT NULL,
    estimated bigint CONSTRAINT usage_counts_estimated_not_null NOT NULL
);

ALTER TABLE ONLY mv.usage_by_hour FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.usage_by_hour
    ADD CONSTRAINT usage_by_hour_pkey PRIMARY KEY (tenant_id, hour);

CREATE POLICY cdc ON mv.usage_by_hour FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.usage_by_hour TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.usage_by_hour TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE mv.usage_by_hour ENABLE ROW LEVEL SECURITY;

ALTER PUBLICATION adriatic ADD TABLE ONLY mv.usage_by_hour;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.usage_by_hour TO adriatic_flows;
GRANT SELECT ON TABLE mv.usage_by_hour TO adriatic_cdc;
GRANT SELECT ON TABLE mv.usage_by_hour TO adriatic_search;
GRANT SELECT ON TABLE mv.usage_by_hour TO adriatic_api;

CREATE TABLE mv.usage_by_key (
    tenant_id uuid NOT NULL,
    day date NOT NULL,
    key_id text NOT NULL,
    attempts bigint CONSTRAINT usage_counts_attempts_not_null NOT NULL,
    completed bigint CONSTRAINT usage_counts_completed_not_null NOT NULL,
    failed bigint CONSTRAINT usage_counts_failed_not_null NOT NULL,
    cancelled bigint CONSTRAINT usage_counts_cancelled_not_null NOT NULL,
    input_uncached bigint CONSTRAINT usage_counts_input_uncached_not_null NOT NULL,
    cache_read bigint CONSTRAINT usage_counts_cache_read_not_null NOT NULL,
    cache_write_5m bigint CONSTRAINT usage_counts_cache_write_5m_not_null NOT NULL,
    cache_write_1h bigint CONSTRAINT usage_counts_cache_write_1h_not_null NOT NULL,
    output_visible bigint CONSTRAINT usage_counts_output_visible_not_null NOT NULL,
    reasoning bigint CONSTRAINT usage_counts_reasoning_not_null NOT NULL,
    cost_micro_usd bigint CONSTRAINT usage_counts_cost_micro_usd_not_null NOT NULL,
    unpriced bigint CONSTRAINT usage_counts_unpriced_not_null NOT NULL,
    partial bigint CONSTRAINT usage_counts_partial_not_null NOT NULL,
    estimated bigint CONSTRAINT usage_counts_estimated_not_null NOT NULL
);

ALTER TABLE ONLY mv.usage_by_key FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.usage_by_key
    ADD CONSTRAINT usage_by_key_pkey PRIMARY KEY (tenant_id, day, key_id);

CREATE POLICY cdc ON mv.usage_by_key FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.usage_by_key TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.usage_by_key TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE mv.usage_by_key ENABLE ROW LEVEL SECURITY;

ALTER PUBLICATION adriatic ADD TABLE ONLY mv.usage_by_key;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.usage_by_key TO adriatic_flows;
GRANT SELECT ON TABLE mv.usage_by_key TO adriatic_cdc;
GRANT SELECT ON TABLE mv.usage_by_key TO adriatic_search;
GRANT SELECT ON TABLE mv.usage_by_key TO adriatic_api;

CREATE TABLE mv.usage_by_model (
    tenant_id uuid NOT NULL,
    day date NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    attempts bigint CONSTRAINT usage_counts_attempts_not_null NOT NULL,
    completed bigint CONSTRAINT usage_counts_completed_not_null NOT NULL,
    failed bigint CONSTRAINT usage_counts_failed_not_null NOT NULL,
    cancelled bigint CONSTRAINT usage_counts_cancelled_not_null NOT NULL,
    input_uncached bigint CONSTRAINT usage_counts_input_uncached_not_null NOT NULL,
    cache_read bigint CONSTRAINT usage_counts_cache_read_not_null NOT NULL,
    cache_write_5m bigint CONSTRAINT usage_counts_cache_write_5m_not_null NOT NULL,
    cache_write_1h bigint CONSTRAINT usage_counts_cache_write_1h_not_null NOT NULL,
    output_visible bigint CONSTRAINT usage_counts_output_visible_not_null NOT NULL,
    reasoning bigint CONSTRAINT usage_counts_reasoning_not_null NOT NULL,
    cost_micro_usd bigint CONSTRAINT usage_counts_cost_micro_usd_not_null NOT NULL,
    unpriced bigint CONSTRAINT usage_counts_unpriced_not_null NOT NULL,
    partial bigint CONSTRAINT usage_counts_partial_not_null NOT NULL,
    estimated bigint CONSTRAINT usage_counts_estimated_not_null NOT NULL
);

ALTER TABLE ONLY mv.usage_by_model FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.usage_by_model
    ADD CONSTRAINT usage_by_model_pkey PRIMARY KEY (tenant_id, day, provider, model);

CREATE POLICY cdc ON mv.usage_by_model FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.usage_by_model TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.usage_by_model TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE mv.usage_by_model ENABLE ROW LEVEL SECURITY;

ALTER PUBLICATION adriatic ADD TABLE ONLY mv.usage_by_model;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.usage_by_model TO adriatic_flows;
GRANT SELECT ON TABLE mv.usage_by_model TO adriatic_cdc;
GRANT SELECT ON TABLE mv.usage_by_model TO adriatic_search;
GRANT SELECT ON TABLE mv.usage_by_model TO adriatic_api;

CREATE TABLE mv.usage_by_user (
    tenant_id uuid NOT NULL,
    day date NOT NULL,
    user_id uuid NOT NULL,
    attempts bigint CONSTRAINT usage_counts_attempts_not_null NOT NULL,
    completed bigint CONSTRAINT usage_counts_completed_not_null NOT NULL,
    failed bigint CONSTRAINT usage_counts_failed_not_null NOT NULL,
    cancelled bigint CONSTRAINT usage_counts_cancelled_not_null NOT NULL,
    input_uncached bigint CONSTRAINT usage_counts_input_uncached_not_null NOT NULL,
    cache_read bigint CONSTRAINT usage_counts_cache_read_not_null NOT NULL,
    cache_write_5m bigint CONSTRAINT usage_counts_cache_write_5m_not_null NOT NULL,
    cache_write_1h bigint CONSTRAINT usage_counts_cache_write_1h_not_null NOT NULL,
    output_visible bigint CONSTRAINT usage_counts_output_visible_not_null NOT NULL,
    reasoning bigint CONSTRAINT usage_counts_reasoning_not_null NOT NULL,
    cost_micro_usd bigint CONSTRAINT usage_counts_cost_micro_usd_not_null NOT NULL,
    unpriced bigint CONSTRAINT usage_counts_unpriced_not_null NOT NULL,
    partial bigint CONSTRAINT usage_counts_partial_not_null NOT NULL,
    estimated bigint CONSTRAINT usage_counts_estimated_not_null NOT NULL
);

ALTER TABLE ONLY mv.usage_by_user FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.usage_by_user
    ADD CONSTRAINT usage_by_user_pkey PRIMARY KEY (tenant_id, day, user_id);

CREATE POLICY cdc ON mv.usage_by_user FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.usage_by_user TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.usage_by_user TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE mv.usage_by_user ENABLE ROW LEVEL SECURITY;

ALTER PUBLICATION adriatic ADD TABLE ONLY mv.usage_by_user;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.usage_by_user TO adriatic_flows;
GRANT SELECT ON TABLE mv.usage_by_user TO adriatic_cdc;
GRANT SELECT ON TABLE mv.usage_by_user TO adriatic_search;
GRANT SELECT ON TABLE mv.usage_by_user TO adriatic_api;

CREATE TABLE mv.usage_ledger (
    tenant_id uuid NOT NULL,
    attempt_id uuid NOT NULL,
    started_at timestamp with time zone NOT NULL,
    user_id uuid NOT NULL,
    key_id text,
    provider text NOT NULL,
    model text NOT NULL,
    outcome text NOT NULL,
    usage_source text NOT NULL,
    input_uncached bigint NOT NULL,
    cache_read bigint NOT NULL,
    cache_write_5m bigint NOT NULL,
    cache_write_1h bigint NOT NULL,
    output_visible bigint NOT NULL,
    reasoning bigint NOT NULL,
    cost_micro_usd bigint
);

ALTER TABLE ONLY mv.usage_ledger FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.usage_ledger
    ADD CONSTRAINT usage_ledger_pkey PRIMARY KEY (tenant_id, attempt_id);

CREATE POLICY cdc ON mv.usage_ledger FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.usage_ledger TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.usage_ledger TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE mv.usage_ledger ENABLE ROW LEVEL SECURITY;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.usage_ledger TO adriatic_flows;
GRANT SELECT ON TABLE mv.usage_ledger TO adriatic_cdc;
GRANT SELECT ON TABLE mv.usage_ledger TO adriatic_search;

CREATE TABLE mv.watermarks (
    view text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    lsn pg_lsn NOT NULL,
    source_at timestamp with time zone NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY mv.watermarks
    ADD CONSTRAINT watermarks_pkey PRIMARY KEY (view, topic, partition);

GRANT SELECT,INSERT,UPDATE ON TABLE mv.watermarks TO adriatic_flows;
GRANT SELECT ON TABLE mv.watermarks TO adriatic_api;
GRANT SELECT ON TABLE mv.watermarks TO adriatic_search;

CREATE TABLE ops.audit (
    audit_id bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    result text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT audit_result_check CHECK ((result = ANY (ARRAY['done'::text, 'failed'::text])))
);

ALTER TABLE ops.audit ALTER COLUMN audit_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ops.audit_audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY ops.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (audit_id);

CREATE INDEX audit_target ON ops.audit USING btree (target, at);

GRANT SELECT,INSERT ON TABLE ops.audit TO adriatic_flows;

CREATE TABLE ops.cdc_progress (
    slot text NOT NULL,
    system_id text NOT NULL,
    lsn pg_lsn NOT NULL,
    committed_at timestamp with time zone NOT NULL,
    snapshot_after pg_lsn DEFAULT '0/0'::pg_lsn NOT NULL,
    snapshot_lsn pg_lsn,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    read_at timestamp with time zone
);

ALTER TABLE ONLY ops.cdc_progress
    ADD CONSTRAINT cdc_progress_pkey PRIMARY KEY (slot);

GRANT SELECT ON TABLE ops.cdc_progress TO adriatic_flows;
GRANT SELECT ON TABLE ops.cdc_progress TO adriatic_api;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE ops.cdc_progress TO adriatic_cdc;

CREATE TABLE ops.cdc_tables (
    slot text NOT NULL,
    table_name text NOT NULL,
    state text NOT NULL,
    code text DEFAULT ''::text NOT NULL,
    detail text DEFAULT ''::text NOT NULL,
    hint text DEFAULT ''::text NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT cdc_tables_state_check CHECK ((state = ANY (ARRAY['streaming'::text, 'snapshot'::text, 'stopped'::text])))
);

ALTER TABLE ONLY ops.cdc_tables
    ADD CONSTRAINT cdc_tables_pkey PRIMARY KEY (slot, table_name);

GRANT SELECT ON TABLE ops.cdc_tables TO adriatic_flows;
GRANT SELECT ON TABLE ops.cdc_tables TO adriatic_api;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE ops.cdc_tables TO adriatic_cdc;

CREATE TABLE ops.consumer_offsets (
    flow text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT consumer_offsets_next_offset_check CHECK ((next_offset >= 0))
);

ALTER TABLE ONLY ops.consumer_offsets
    ADD CONSTRAINT consumer_offsets_pkey PRIMARY KEY (flow, topic, partition);

GRANT SELECT,INSERT,UPDATE ON TABLE ops.consumer_offsets TO adriatic_flows;
GRANT SELECT ON TABLE ops.consumer_offsets TO adriatic_cdc;
GRANT SELECT ON TABLE ops.consumer_offsets TO adriatic_api;

CREATE TABLE ops.dlq (
    flow text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    record_offset bigint NOT NULL,
    tenant_id uuid,
    stage text NOT NULL,
    code text NOT NULL,
    detail text NOT NULL,
    hint text DEFAULT ''::text NOT NULL,
    key bytea,
    value bytea,
    headers jsonb DEFAULT '[]'::jsonb NOT NULL,
    record_at timestamp with time zone,
    failed_at timestamp with time zone DEFAULT now() NOT NULL,
    attempts integer DEFAULT 1 NOT NULL,
    state text DEFAULT 'new'::text NOT NULL,
    CONSTRAINT dlq_state_check CHECK ((state = ANY (ARRAY['new'::text, 'redriven'::text, 'dropped'::text])))
);

ALTER TABLE ONLY ops.dlq FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY ops.dlq
    ADD CONSTRAINT dlq_pkey PRIMARY KEY (flow, topic, partition, record_offset);

CREATE INDEX dlq_state ON ops.dlq USING btree (state, failed_at);

CREATE POLICY cdc ON ops.dlq TO adriatic_cdc USING (true) WITH CHECK (true);

ALTER TABLE ops.dlq ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON ops.dlq TO adriatic_flows USING (true) WITH CHECK (true);

GRANT SELECT,INSERT,UPDATE ON TABLE ops.dlq TO adriatic_flows;
GRANT SELECT,INSERT ON TABLE ops.dlq TO adriatic_cdc;

CREATE TABLE ops.feed_letters (
    day date NOT NULL,
    feed_id uuid NOT NULL,
    proven boolean NOT NULL,
    kept bigint NOT NULL,
    dropped bigint NOT NULL
);

ALTER TABLE ONLY ops.feed_letters
    ADD CONSTRAINT feed_letters_pkey PRIMARY KEY (day, feed_id, proven);

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE ops.feed_letters TO adriatic_flows;

CREATE TABLE ops.feed_positions (
    topic text NOT NULL,
    partition integer NOT NULL,
    counted_to bigint NOT NULL
);

ALTER TABLE ONLY ops.feed_positions
    ADD CONSTRAINT feed_positions_pkey PRIMARY KEY (topic, partition);

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE ops.feed_positions TO adriatic_flows;

CREATE TABLE ops.flow_progress (
    flow text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    seen_at timestamp with time zone,
    sampled_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE ONLY ops.flow_progress
    ADD CONSTRAINT flow_progress_pkey PRIMARY KEY (flow, topic, partition);

GRANT SELECT,INSERT,UPDATE ON TABLE ops.flow_progress TO adriatic_flows;

CREATE TABLE ops.freshness_minute (
    view text NOT NULL,
    stage text NOT NULL,
    minute timestamp with time zone NOT NULL,
    samples integer NOT NULL,
    p50_s double precision NOT NULL,
    p95_s double precision NOT NULL,
    p99_s double precision NOT NULL,
    max_s double precision NOT NULL,
    CONSTRAINT freshness_minute_samples_check CHECK ((samples > 0)),
    CONSTRAINT freshness_minute_stage_check CHECK ((stage = ANY (ARRAY['total'::text, 'wal'::text, 'capture'::text, 'topic'::text, 'flow'::text])))
);

ALTER TABLE ONLY ops.freshness_minute
    ADD CONSTRAINT freshness_minute_pkey PRIMARY KEY (view, stage, minute);

CREATE INDEX freshness_minute_age ON ops.freshness_minute USING btree (minute);

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE ops.freshness_minute TO adriatic_flows;
GRANT SELECT ON TABLE ops.freshness_minute TO adriatic_api;

CREATE TABLE ops.migrations (
    number integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT migrations_number_check CHECK ((number > 0))
);

ALTER TABLE ONLY ops.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (number);

GRANT SELECT ON TABLE ops.migrations TO adriatic_api;

CREATE TABLE ops.pipeline (
    only_row boolean DEFAULT true NOT NULL,
    sampled_at timestamp with time zone NOT NULL,
    found jsonb NOT NULL,
    CONSTRAINT pipeline_only_row_check CHECK (only_row)
);

ALTER TABLE ONLY ops.pipeline
    ADD CONSTRAINT pipeline_pkey PRIMARY KEY (only_row);

GRANT SELECT,INSERT,UPDATE ON TABLE ops.pipeline TO adriatic_flows;
GRANT SELECT ON TABLE ops.pipeline TO adriatic_api;
