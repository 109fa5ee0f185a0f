-- What the migrations make, written by `adriatic schemas generate`. Change a migration, not this file.

CREATE SCHEMA app;

CREATE SCHEMA mv;

CREATE SCHEMA ops;

CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;

COMMENT ON EXTENSION vector IS 'vector data type and ivfflat and hnsw access methods';

CREATE PUBLICATION adriatic WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);

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

CREATE TABLE app.abuse_flags (
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    day date NOT NULL,
    flag_id uuid DEFAULT gen_random_uuid() NOT NULL,
    measured bigint NOT NULL,
    threshold bigint NOT NULL,
    raised_at timestamp with time zone DEFAULT now() NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL,
    reviewed_by uuid,
    reviewed_at timestamp with time zone,
    note text DEFAULT ''::text NOT NULL,
    CONSTRAINT abuse_flags_check CHECK ((measured >= threshold)),
    CONSTRAINT abuse_flags_check1 CHECK (((reviewed_by IS NULL) = (reviewed_at IS NULL))),
    CONSTRAINT abuse_flags_kind_check CHECK ((kind = ANY (ARRAY['rapid-calls'::text, 'new-user-use'::text, 'users-of-one-address'::text]))),
    CONSTRAINT abuse_flags_note_check CHECK ((length(note) <= 500)),
    CONSTRAINT abuse_flags_subject_check CHECK (((length(subject) >= 1) AND (length(subject) <= 64))),
    CONSTRAINT abuse_flags_threshold_check CHECK ((threshold > 0))
);

ALTER TABLE ONLY app.abuse_flags FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.abuse_flags
    ADD CONSTRAINT abuse_flags_pkey PRIMARY KEY (tenant_id, kind, subject, day);

ALTER TABLE ONLY app.abuse_flags
    ADD CONSTRAINT abuse_flags_tenant_id_flag_id_key UNIQUE (tenant_id, flag_id);

CREATE INDEX abuse_flags_open ON app.abuse_flags USING btree (tenant_id, kind) WHERE (reviewed_at IS NULL);

CREATE INDEX abuse_flags_recent ON app.abuse_flags USING btree (tenant_id, raised_at, flag_id);

ALTER TABLE ONLY app.abuse_flags
    ADD CONSTRAINT abuse_flags_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

ALTER TABLE ONLY app.abuse_flags
    ADD CONSTRAINT abuse_flags_tenant_id_reviewed_by_fkey FOREIGN KEY (tenant_id, reviewed_by) REFERENCES app.users(tenant_id, user_id);

ALTER TABLE app.abuse_flags ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON app.abuse_flags FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.abuse_flags TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.abuse_flags TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE ON TABLE app.abuse_flags TO adriatic_flows;
GRANT SELECT ON TABLE app.abuse_flags TO adriatic_cdc;
GRANT SELECT ON TABLE app.abuse_flags TO adriatic_search;
GRANT SELECT ON TABLE app.abuse_flags TO adriatic_api;

GRANT UPDATE(measured) ON TABLE app.abuse_flags TO adriatic_flows;

GRANT UPDATE(seen_at) ON TABLE app.abuse_flags TO adriatic_flows;

GRANT UPDATE(reviewed_by) ON TABLE app.abuse_flags TO adriatic_api;

GRANT UPDATE(reviewed_at) ON TABLE app.abuse_flags TO adriatic_api;

GRANT UPDATE(note) ON TABLE app.abuse_flags TO adriatic_api;

CREATE TABLE app.adr_links (
    tenant_id uuid NOT NULL,
    adr_id uuid NOT NULL,
    kind text NOT NULL,
    target text NOT NULL,
    target_id uuid,
    origin text DEFAULT 'text'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT adr_links_kind_check CHECK ((kind = ANY (ARRAY['relates-to'::text, 'supersedes'::text, 'superseded-by'::text, 'amends'::text, 'amended-by'::text, 'depends-on'::text]))),
    CONSTRAINT adr_links_origin_check CHECK ((origin = ANY (ARRAY['text'::text, 'user'::text]))),
    CONSTRAINT is_bounded CHECK ((((COALESCE(octet_length(kind), 0) + COALESCE(octet_length(target), 0)) + COALESCE(octet_length(origin), 0)) <= 983040))
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

GRANT SELECT,INSERT,DELETE ON TABLE app.adr_links TO adriatic_flows;
GRANT SELECT ON TABLE app.adr_links TO adriatic_cdc;
GRANT SELECT ON TABLE app.adr_links TO adriatic_search;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE app.adr_links TO adriatic_api;

GRANT UPDATE(target_id) ON TABLE app.adr_links TO adriatic_flows;

CREATE TABLE app.adr_readings (
    tenant_id uuid NOT NULL,
    adr_id uuid NOT NULL,
    reader integer NOT NULL,
    number integer,
    label text DEFAULT ''::text NOT NULL,
    oddities jsonb DEFAULT '[]'::jsonb NOT NULL,
    read_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT adr_readings_reader_check CHECK ((reader > 0))
);

ALTER TABLE ONLY app.adr_readings FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.adr_readings
    ADD CONSTRAINT adr_readings_pkey PRIMARY KEY (tenant_id, adr_id);

CREATE INDEX adr_readings_reader ON app.adr_readings USING btree (tenant_id, reader);

ALTER TABLE ONLY app.adr_readings
    ADD CONSTRAINT adr_readings_tenant_id_adr_id_fkey FOREIGN KEY (tenant_id, adr_id) REFERENCES app.adrs(tenant_id, adr_id) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE app.adr_readings ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON app.adr_readings FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.adr_readings TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.adr_readings TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,UPDATE ON TABLE app.adr_readings TO adriatic_flows;
GRANT SELECT ON TABLE app.adr_readings TO adriatic_cdc;
GRANT SELECT ON TABLE app.adr_readings TO adriatic_search;
GRANT SELECT,INSERT,UPDATE ON TABLE app.adr_readings TO adriatic_api;

CREATE TABLE app.adr_tags (
    tenant_id uuid NOT NULL,
    adr_id uuid NOT NULL,
    tag text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT adr_tags_tag_check CHECK ((tag ~ '^[^[:cntrl:],]{1,64}$'::text)),
    CONSTRAINT is_bounded CHECK ((COALESCE(octet_length(tag), 0) <= 983040))
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
    reading integer DEFAULT 1 NOT NULL,
    title_given boolean DEFAULT false NOT NULL,
    status_given boolean DEFAULT false NOT NULL,
    CONSTRAINT adr_versions_change_check CHECK ((change = ANY (ARRAY['create'::text, 'update'::text, 'rename'::text, 'rollback'::text, 'delete'::text, 'restore'::text]))),
    CONSTRAINT adr_versions_version_check CHECK ((version > 0)),
    CONSTRAINT is_bounded CHECK (((((((((((COALESCE(octet_length(change), 0) + COALESCE(octet_length(title), 0)) + COALESCE(octet_length(status), 0)) + COALESCE(octet_length(body), 0)) + COALESCE(octet_length(original), 0)) + COALESCE(octet_length(message), 0)) + COALESCE(octet_length(author), 0)) + COALESCE(octet_length(source_key), 0)) + COALESCE(octet_length(source_ref), 0)) + COALESCE(octet_length(traceparent), 0)) <= 4128768))
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

GRANT UPDATE(title) ON TABLE app.adr_versions TO adriatic_flows;

GRANT UPDATE(status) ON TABLE app.adr_versions TO adriatic_flows;

GRANT UPDATE(body) ON TABLE app.adr_versions TO adriatic_flows;

GRANT UPDATE(original) ON TABLE app.adr_versions TO adriatic_flows;

GRANT UPDATE(reading) ON TABLE app.adr_versions TO adriatic_flows;

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
    label text,
    CONSTRAINT adrs_version_check CHECK ((version > 0)),
    CONSTRAINT is_bounded CHECK (((((COALESCE(octet_length(title), 0) + COALESCE(octet_length(status), 0)) + COALESCE(octet_length(source_key), 0)) + COALESCE(octet_length(label), 0)) <= 983040))
);

ALTER TABLE ONLY app.adrs FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.adrs
    ADD CONSTRAINT adrs_pkey PRIMARY KEY (tenant_id, adr_id);

CREATE INDEX adrs_label ON app.adrs USING btree (tenant_id, log_id, label) WHERE (label IS NOT NULL);

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

GRANT UPDATE(number) ON TABLE app.adrs TO adriatic_flows;

GRANT UPDATE(title) ON TABLE app.adrs TO adriatic_flows;

GRANT UPDATE(status) ON TABLE app.adrs TO adriatic_flows;

GRANT UPDATE(label) ON TABLE app.adrs TO adriatic_flows;

CREATE TABLE app.agent_steps (
    tenant_id uuid NOT NULL,
    task_id uuid NOT NULL,
    number integer NOT NULL,
    step_id uuid NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    input jsonb NOT NULL,
    output jsonb,
    state text DEFAULT 'begun'::text NOT NULL,
    attempt_id uuid,
    begun_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    sources jsonb,
    CONSTRAINT agent_steps_check CHECK (((state = 'begun'::text) = (output IS NULL))),
    CONSTRAINT agent_steps_check1 CHECK (((state = 'begun'::text) = (finished_at IS NULL))),
    CONSTRAINT agent_steps_kind_check CHECK ((kind = ANY (ARRAY['model'::text, 'tool'::text]))),
    CONSTRAINT agent_steps_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT agent_steps_number_check CHECK ((number >= 1)),
    CONSTRAINT agent_steps_sources_check CHECK ((jsonb_typeof(sources) = 'array'::text)),
    CONSTRAINT agent_steps_state_check CHECK ((state = ANY (ARRAY['begun'::text, 'done'::text, 'failed'::text])))
);

ALTER TABLE ONLY app.agent_steps FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.agent_steps
    ADD CONSTRAINT agent_steps_pkey PRIMARY KEY (tenant_id, task_id, number);

ALTER TABLE ONLY app.agent_steps
    ADD CONSTRAINT agent_steps_tenant_id_task_id_fkey FOREIGN KEY (tenant_id, task_id) REFERENCES app.agent_tasks(tenant_id, task_id) ON DELETE CASCADE;

ALTER TABLE app.agent_steps ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON app.agent_steps FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.agent_steps TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.agent_steps TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT ON TABLE app.agent_steps TO adriatic_flows;
GRANT SELECT ON TABLE app.agent_steps TO adriatic_cdc;
GRANT SELECT ON TABLE app.agent_steps TO adriatic_search;
GRANT SELECT,INSERT ON TABLE app.agent_steps TO adriatic_api;

GRANT UPDATE(output) ON TABLE app.agent_steps TO adriatic_api;

GRANT UPDATE(state) ON TABLE app.agent_steps TO adriatic_api;

GRANT UPDATE(attempt_id) ON TABLE app.agent_steps TO adriatic_api;

GRANT UPDATE(finished_at) ON TABLE app.agent_steps TO adriatic_api;

GRANT UPDATE(sources) ON TABLE app.agent_steps TO adriatic_api;

CREATE TABLE app.agent_tasks (
    tenant_id uuid NOT NULL,
    task_id uuid NOT NULL,
    asked_by uuid NOT NULL,
    key_id text,
    goal text NOT NULL,
    request jsonb NOT NULL,
    result jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    parent_id uuid,
    depth integer DEFAULT 0 NOT NULL,
    CONSTRAINT agent_tasks_depth CHECK ((((depth >= 0) AND (depth <= 2)) AND ((parent_id IS NULL) = (depth = 0)))),
    CONSTRAINT agent_tasks_goal_check CHECK (((length(goal) >= 1) AND (length(goal) <= 4000))),
    CONSTRAINT agent_tasks_key_id_check CHECK (((length(key_id) >= 1) AND (length(key_id) <= 255)))
);

ALTER TABLE ONLY app.agent_tasks FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.agent_tasks
    ADD CONSTRAINT agent_tasks_pkey PRIMARY KEY (tenant_id, task_id);

CREATE INDEX agent_tasks_children ON app.agent_tasks USING btree (tenant_id, parent_id) WHERE (parent_id IS NOT NULL);

CREATE INDEX agent_tasks_recent ON app.agent_tasks USING btree (tenant_id, asked_by, created_at DESC, task_id DESC);

ALTER TABLE ONLY app.agent_tasks
    ADD CONSTRAINT agent_tasks_parent FOREIGN KEY (tenant_id, parent_id) REFERENCES app.agent_tasks(tenant_id, task_id) ON DELETE CASCADE;

ALTER TABLE ONLY app.agent_tasks
    ADD CONSTRAINT agent_tasks_tenant_id_task_id_fkey FOREIGN KEY (tenant_id, task_id) REFERENCES app.jobs(tenant_id, job_id);

ALTER TABLE app.agent_tasks ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON app.agent_tasks FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.agent_tasks TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.agent_tasks TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,DELETE ON TABLE app.agent_tasks TO adriatic_flows;
GRANT SELECT ON TABLE app.agent_tasks TO adriatic_cdc;
GRANT SELECT ON TABLE app.agent_tasks TO adriatic_search;
GRANT SELECT,INSERT,DELETE ON TABLE app.agent_tasks TO adriatic_api;

GRANT UPDATE(result) ON TABLE app.agent_tasks TO adriatic_flows;

CREATE TABLE app.alert_deliveries (
    tenant_id uuid NOT NULL,
    alert_id uuid NOT NULL,
    channel text NOT NULL,
    state text DEFAULT 'waiting'::text NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    next_at timestamp with time zone DEFAULT now() NOT NULL,
    last_error text DEFAULT ''::text NOT NULL,
    delivered_at timestamp with time zone,
    CONSTRAINT alert_deliveries_channel_check CHECK ((channel = ANY (ARRAY['log'::text, 'webhook'::text, 'slack'::text, 'email'::text]))),
    CONSTRAINT alert_deliveries_check CHECK (((state = 'delivered'::text) = (delivered_at IS NOT NULL))),
    CONSTRAINT alert_deliveries_last_error_check CHECK ((length(last_error) <= 500)),
    CONSTRAINT alert_deliveries_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'delivered'::text, 'failed'::text]))),
    CONSTRAINT alert_deliveries_tries_check CHECK ((tries >= 0))
);

ALTER TABLE ONLY app.alert_deliveries FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.alert_deliveries
    ADD CONSTRAINT alert_deliveries_pkey PRIMARY KEY (tenant_id, alert_id, channel);

CREATE INDEX alert_deliveries_waiting ON app.alert_deliveries USING btree (tenant_id, next_at) WHERE (state = 'waiting'::text);

ALTER TABLE ONLY app.alert_deliveries
    ADD CONSTRAINT alert_deliveries_tenant_id_alert_id_fkey FOREIGN KEY (tenant_id, alert_id) REFERENCES app.spend_alerts(tenant_id, alert_id);

ALTER TABLE app.alert_deliveries ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON app.alert_deliveries FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.alert_deliveries TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.alert_deliveries TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE ON TABLE app.alert_deliveries TO adriatic_flows;
GRANT SELECT ON TABLE app.alert_deliveries TO adriatic_cdc;
GRANT SELECT ON TABLE app.alert_deliveries TO adriatic_search;
GRANT SELECT ON TABLE app.alert_deliveries TO adriatic_api;

GRANT UPDATE(state) ON TABLE app.alert_deliveries TO adriatic_flows;

GRANT UPDATE(tries) ON TABLE app.alert_deliveries TO adriatic_flows;

GRANT UPDATE(next_at) ON TABLE app.alert_deliveries TO adriatic_flows;

GRANT UPDATE(last_error) ON TABLE app.alert_deliveries TO adriatic_flows;

GRANT UPDATE(delivered_at) ON TABLE app.alert_deliveries TO adriatic_flows;

CREATE TABLE app.allowed_hosts (
    tenant_id uuid NOT NULL,
    version bigint NOT NULL,
    hosts text[] NOT NULL,
    set_by uuid NOT NULL,
    set_name text NOT NULL,
    set_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT allowed_hosts_hosts_check CHECK ((cardinality(hosts) <= 200)),
    CONSTRAINT allowed_hosts_set_name_check CHECK ((length(set_name) <= 255)),
    CONSTRAINT allowed_hosts_version_check CHECK ((version > 0))
);

ALTER TABLE ONLY app.allowed_hosts FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.allowed_hosts
    ADD CONSTRAINT allowed_hosts_pkey PRIMARY KEY (tenant_id, version);

ALTER TABLE ONLY app.allowed_hosts
    ADD CONSTRAINT allowed_hosts_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

ALTER TABLE app.allowed_hosts ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON app.allowed_hosts FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.allowed_hosts TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.allowed_hosts TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT ON TABLE app.allowed_hosts TO adriatic_flows;
GRANT SELECT ON TABLE app.allowed_hosts TO adriatic_cdc;
GRANT SELECT ON TABLE app.allowed_hosts TO adriatic_search;
GRANT SELECT,INSERT,DELETE ON TABLE app.allowed_hosts TO adriatic_api;

CREATE TABLE app.answer_parts (
    tenant_id uuid NOT NULL,
    answer_id uuid NOT NULL,
    first_event integer NOT NULL,
    event_count integer NOT NULL,
    events text NOT NULL,
    CONSTRAINT answer_parts_event_count_check CHECK ((event_count > 0)),
    CONSTRAINT answer_parts_first_event_check CHECK ((first_event >= 0))
);

ALTER TABLE ONLY app.answer_parts FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.answer_parts
    ADD CONSTRAINT answer_parts_pkey PRIMARY KEY (tenant_id, answer_id, first_event);

ALTER TABLE ONLY app.answer_parts
    ADD CONSTRAINT answer_parts_tenant_id_answer_id_fkey FOREIGN KEY (tenant_id, answer_id) REFERENCES app.answers(tenant_id, answer_id) ON DELETE CASCADE;

ALTER TABLE app.answer_parts ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON app.answer_parts FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.answer_parts TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.answer_parts TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT ON TABLE app.answer_parts TO adriatic_flows;
GRANT SELECT ON TABLE app.answer_parts TO adriatic_cdc;
GRANT SELECT ON TABLE app.answer_parts TO adriatic_search;
GRANT SELECT,INSERT,UPDATE ON TABLE app.answer_parts TO adriatic_api;

CREATE TABLE app.answers (
    tenant_id uuid NOT NULL,
    answer_id uuid NOT NULL,
    user_id uuid NOT NULL,
    session_id uuid NOT NULL,
    process_id uuid NOT NULL,
    question text NOT NULL,
    begun_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone
);

ALTER TABLE ONLY app.answers FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.answers
    ADD CONSTRAINT answers_pkey PRIMARY KEY (tenant_id, answer_id);

CREATE INDEX answers_of_user ON app.answers USING btree (tenant_id, user_id, session_id, begun_at);

ALTER TABLE ONLY app.answers
    ADD CONSTRAINT answers_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

ALTER TABLE ONLY app.answers
    ADD CONSTRAINT answers_tenant_id_user_id_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES app.users(tenant_id, user_id);

ALTER TABLE app.answers ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON app.answers FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.answers TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.answers TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,DELETE ON TABLE app.answers TO adriatic_flows;
GRANT SELECT ON TABLE app.answers TO adriatic_cdc;
GRANT SELECT ON TABLE app.answers TO adriatic_search;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE app.answers TO adriatic_api;

CREATE TABLE app.api_key_secrets (
    tenant_id uuid NOT NULL,
    key_id text NOT NULL,
    secret_hash bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    good_until timestamp with time zone NOT NULL,
    last_used_at timestamp with time zone,
    CONSTRAINT api_key_secrets_secret_hash_check CHECK ((length(secret_hash) = 32))
);

ALTER TABLE ONLY app.api_key_secrets FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.api_key_secrets
    ADD CONSTRAINT api_key_secrets_pkey PRIMARY KEY (tenant_id, key_id, secret_hash);

ALTER TABLE ONLY app.api_key_secrets
    ADD CONSTRAINT api_key_secrets_tenant_id_key_id_fkey FOREIGN KEY (tenant_id, key_id) REFERENCES app.api_keys(tenant_id, key_id);

ALTER TABLE app.api_key_secrets ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON app.api_key_secrets FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.api_key_secrets TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.api_key_secrets TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,DELETE ON TABLE app.api_key_secrets TO adriatic_flows;
GRANT SELECT ON TABLE app.api_key_secrets TO adriatic_cdc;
GRANT SELECT ON TABLE app.api_key_secrets TO adriatic_search;
GRANT SELECT,INSERT,DELETE ON TABLE app.api_key_secrets TO adriatic_api;

GRANT UPDATE(good_until) ON TABLE app.api_key_secrets TO adriatic_api;

GRANT UPDATE(last_used_at) ON TABLE app.api_key_secrets TO adriatic_api;

CREATE TABLE app.api_keys (
    tenant_id uuid NOT NULL,
    key_id text NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    days integer NOT NULL,
    created_by uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone,
    revoked_by uuid,
    CONSTRAINT api_keys_check CHECK (((revoked_at IS NULL) = (revoked_by IS NULL))),
    CONSTRAINT api_keys_days_check CHECK (((days >= 1) AND (days <= 366))),
    CONSTRAINT api_keys_key_id_check CHECK (((length(key_id) >= 1) AND (length(key_id) <= 255))),
    CONSTRAINT api_keys_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT api_keys_scopes_check CHECK (((cardinality(scopes) > 0) AND (scopes <@ ARRAY['read'::text, 'write'::text, 'chat'::text, 'ingest'::text, 'admin'::text])))
);

ALTER TABLE ONLY app.api_keys FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (tenant_id, key_id);

ALTER TABLE ONLY app.api_keys
    ADD CONSTRAINT api_keys_tenant_id_created_by_fkey FOREIGN KEY (tenant_id, created_by) REFERENCES app.users(tenant_id, user_id);

ALTER TABLE ONLY app.api_keys
    ADD CONSTRAINT api_keys_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

ALTER TABLE ONLY app.api_keys
    ADD CONSTRAINT api_keys_tenant_id_revoked_by_fkey FOREIGN KEY (tenant_id, revoked_by) REFERENCES app.users(tenant_id, user_id);

ALTER TABLE ONLY app.api_keys
    ADD CONSTRAINT api_keys_tenant_id_user_id_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES app.users(tenant_id, user_id);

ALTER TABLE app.api_keys ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON app.api_keys FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.api_keys TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.api_keys TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,DELETE ON TABLE app.api_keys TO adriatic_flows;
GRANT SELECT ON TABLE app.api_keys TO adriatic_cdc;
GRANT SELECT ON TABLE app.api_keys TO adriatic_search;
GRANT SELECT,INSERT ON TABLE app.api_keys TO adriatic_api;

GRANT UPDATE(last_used_at) ON TABLE app.api_keys TO adriatic_api;

GRANT UPDATE(revoked_at) ON TABLE app.api_keys TO adriatic_api;

GRANT UPDATE(revoked_by) ON TABLE app.api_keys TO adriatic_api;

CREATE TABLE app.attempts (
    tenant_id uuid NOT NULL,
    attempt_id uuid NOT NULL,
    process_id uuid NOT NULL,
    session_id uuid NOT NULL,
    user_id uuid NOT NULL,
    key_id text,
    provider text NOT NULL,
    model text NOT NULL,
    input_bytes bigint NOT NULL,
    output_tokens_max bigint NOT NULL,
    begun_at timestamp with time zone NOT NULL,
    price_id text,
    cost_read_micro_usd bigint,
    cost_max_micro_usd bigint,
    CONSTRAINT attempts_cost_max_micro_usd_check CHECK ((cost_max_micro_usd >= 0)),
    CONSTRAINT attempts_cost_read_micro_usd_check CHECK ((cost_read_micro_usd >= 0)),
    CONSTRAINT attempts_input_bytes_check CHECK ((input_bytes >= 0)),
    CONSTRAINT attempts_key_id_check CHECK (((length(key_id) >= 1) AND (length(key_id) <= 255))),
    CONSTRAINT attempts_output_tokens_max_check CHECK ((output_tokens_max >= 0))
);

ALTER TABLE ONLY app.attempts FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (tenant_id, attempt_id);

CREATE INDEX attempts_of_user ON app.attempts USING btree (tenant_id, user_id);

CREATE TRIGGER refuse_stopped BEFORE INSERT ON app.attempts FOR EACH ROW EXECUTE FUNCTION app.refuse_stopped();

ALTER TABLE ONLY app.attempts
    ADD CONSTRAINT attempts_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

ALTER TABLE ONLY app.attempts
    ADD CONSTRAINT attempts_tenant_id_user_id_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES app.users(tenant_id, user_id);

ALTER TABLE app.attempts ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON app.attempts FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.attempts TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.attempts TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE ON TABLE app.attempts TO adriatic_flows;
GRANT SELECT ON TABLE app.attempts TO adriatic_cdc;
GRANT SELECT ON TABLE app.attempts TO adriatic_search;
GRANT SELECT,INSERT,DELETE ON TABLE app.attempts TO adriatic_api;

GRANT UPDATE(process_id) ON TABLE app.attempts TO adriatic_flows;
GRANT UPDATE(process_id) ON TABLE app.attempts TO adriatic_api;

CREATE FUNCTION app.begin_attempt(tenant uuid, attempt uuid, process uuid, session uuid, asker uuid, credential text, provider text, model text, input_bytes bigint, output_tokens_max bigint, price text, cost_read bigint, cost_max bigint, is_free boolean, amount bigint, limits jsonb, streams_max bigint, answer uuid, question text) RETURNS TABLE(uses jsonb, is_bound boolean)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'auto'
    AS $$
declare
    running bigint;
    bound record;
begin
    perform set_config('app.tenant_id', tenant::text, true);
    uses := '[]';
    is_bound := false;
    if attempt is not null then
        insert into app.attempts (
            tenant_id, attempt_id, process_id, session_id, user_id, key_id, provider, model, input_bytes, output_tokens_max, price_id,
            cost_read_micro_usd, cost_max_micro_usd, begun_at
        ) values (
            tenant, attempt, process, session, asker, credential, provider, model, input_bytes, output_tokens_max, price, cost_read,
            cost_max, now()
        ) on conflict (tenant_id, attempt_id) do nothing;
        if not found then
            is_bound := exists (select from app.leases l where l.tenant_id = tenant and l.attempt_id = attempt);
            return next;
            return;
        end if;
    end if;
    if limits is not null then
        select coalesce(jsonb_agg(to_jsonb(u)), '[]') into uses
        from app.count_questions(asker, array(select distinct l ->> 'subject' from jsonb_array_elements(limits) l), 1) u;
        if app.is_over(limits, uses) then
            raise exception using errcode = 'AT001', message = 'a limit is used up', detail = uses::text;
        end if;
        if streams_max > 0 then
            select count(*) into running from app.attempts a
            where a.tenant_id = tenant and a.user_id = asker and a.attempt_id is distinct from attempt;
            if running >= streams_max then
                raise exception using errcode = 'AT002', message = 'too many answers at once', detail = running::text;
            end if;
        end if;
    end if;
    if attempt is not null and not is_free then
        select * into bound from app.reserve(attempt, amount);
        if bound.is_refused then
            raise exception using errcode = 'AT003', message = 'a budget has too little', detail = to_jsonb(bound)::text;
        end if;
        is_bound := bound.is_refused is not null;
    end if;
    if answer is not null then
        insert into app.answers (tenant_id, answer_id, user_id, session_id, process_id, question, begun_at)
        values (tenant, answer, asker, session, process, question, now())
        on conflict (tenant_id, answer_id) do nothing;
    end if;
    return next;
end
$$;

CREATE FUNCTION app.begin_attempts(tenant uuid, process uuid, asked jsonb) RETURNS TABLE(attempt uuid, uses jsonb, is_bound boolean)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'auto'
    AS $$
declare
    who record;
    found_uses jsonb;
    told jsonb := '{}';
begin
    perform set_config('app.tenant_id', tenant::text, true);
    insert into app.attempts (
        tenant_id, attempt_id, process_id, session_id, user_id, key_id, provider, model, input_bytes, output_tokens_max, price_id,
        cost_read_micro_usd, cost_max_micro_usd, begun_at
    )
    select tenant, e.attempt, process, e.session, e.asker, e.credential, e.provider, e.model, e.input_bytes, e.output_tokens_max,
        e.price, e.cost_read, e.cost_max, now()
    from jsonb_to_recordset(asked) as e (
        attempt uuid, session uuid, asker uuid, credential text, provider text, model text, input_bytes bigint,
        output_tokens_max bigint, price text, cost_read bigint, cost_max bigint);
    for who in
        select e.asker, e.credential, e.limits, max(e.streams_max) as streams_max, count(*) as questions
        from jsonb_to_recordset(asked) as e (asker uuid, credential text, limits jsonb, streams_max bigint)
        where jsonb_typeof(e.limits) = 'array'
        group by e.asker, e.credential, e.limits
        order by e.asker, e.credential
    loop
        select coalesce(jsonb_agg(to_jsonb(u)), '[]') into found_uses
        from app.count_questions(
            who.asker, array(select distinct l ->> 'subject' from jsonb_array_elements(who.limits) l), who.questions) u;
        if app.is_over(who.limits, found_uses) then
            raise exception using errcode = 'AT004', message = 'a limit is used up';
        end if;
        if who.streams_max > 0 and (
            select count(*) from app.attempts a where a.tenant_id = tenant and a.user_id = who.asker) > who.streams_max
        then
            raise exception using errcode = 'AT004', message = 'too many answers at once';
        end if;
        told := told || jsonb_build_object(concat(who.asker, who.credential), found_uses);
    end loop;
    perform app.reserve_all(asked);
    insert into app.answers (tenant_id, answer_id, user_id, session_id, process_id, question, begun_at)
    select tenant, e.answer, e.asker, e.session, process, e.question, now()
    from jsonb_to_recordset(asked) as e (asker uuid, session uuid, answer uuid, question text)
    where e.answer is not null
    on conflict (tenant_id, answer_id) do nothing;
    return query
    select e.attempt,
        case jsonb_typeof(e.limits) when 'array' then coalesce(told -> concat(e.asker, e.credential), '[]') else '[]' end,
        exists (select from app.leases l where l.tenant_id = tenant and l.attempt_id = e.attempt)
    from jsonb_to_recordset(asked) as e (attempt uuid, asker uuid, credential text, limits jsonb);
end
$$;

CREATE FUNCTION app.budget_covers(level text, subject text, user_id uuid, key_id text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    RETURN ((level = 'org'::text) OR ((level = 'user'::text) AND (subject = (user_id)::text)) OR ((level = 'key'::text) AND (subject = COALESCE(key_id, ''::text))));

CREATE TABLE app.budget_overrides (
    tenant_id uuid NOT NULL,
    override_id uuid NOT NULL,
    budget_id uuid NOT NULL,
    level text NOT NULL,
    subject text NOT NULL,
    period text NOT NULL,
    amount_micro_usd bigint NOT NULL,
    reason text NOT NULL,
    created_by uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    ended_by uuid,
    ended_at timestamp with time zone,
    CONSTRAINT budget_overrides_amount_micro_usd_check CHECK (((amount_micro_usd >= 1) AND (amount_micro_usd <= '1000000000000000'::bigint))),
    CONSTRAINT budget_overrides_check CHECK ((expires_at > created_at)),
    CONSTRAINT budget_overrides_check1 CHECK (((ended_by IS NULL) = (ended_at IS NULL))),
    CONSTRAINT budget_overrides_reason_check CHECK (((length(reason) >= 1) AND (length(reason) <= 500)))
);

ALTER TABLE ONLY app.budget_overrides FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.budget_overrides
    ADD CONSTRAINT budget_overrides_pkey PRIMARY KEY (tenant_id, override_id);

CREATE INDEX budget_overrides_in_force ON app.budget_overrides USING btree (tenant_id, budget_id, expires_at) WHERE (ended_at IS NULL);

ALTER TABLE ONLY app.budget_overrides
    ADD CONSTRAINT budget_overrides_tenant_id_created_by_fkey FOREIGN KEY (tenant_id, created_by) REFERENCES app.users(tenant_id, user_id);

ALTER TABLE ONLY app.budget_overrides
    ADD CONSTRAINT budget_overrides_tenant_id_ended_by_fkey FOREIGN KEY (tenant_id, ended_by) REFERENCES app.users(tenant_id, user_id);

ALTER TABLE ONLY app.budget_overrides
    ADD CONSTRAINT budget_overrides_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

ALTER TABLE app.budget_overrides ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON app.budget_overrides FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.budget_overrides TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.budget_overrides TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,DELETE ON TABLE app.budget_overrides TO adriatic_flows;
GRANT SELECT ON TABLE app.budget_overrides TO adriatic_cdc;
GRANT SELECT ON TABLE app.budget_overrides TO adriatic_search;
GRANT SELECT,INSERT ON TABLE app.budget_overrides TO adriatic_api;

GRANT UPDATE(ended_by) ON TABLE app.budget_overrides TO adriatic_api;

GRANT UPDATE(ended_at) ON TABLE app.budget_overrides TO adriatic_api;

CREATE TABLE app.budget_windows (
    tenant_id uuid NOT NULL,
    budget_id uuid NOT NULL,
    begins timestamp with time zone NOT NULL,
    spent_micro_usd bigint DEFAULT 0 NOT NULL,
    reserved_micro_usd bigint DEFAULT 0 NOT NULL,
    CONSTRAINT budget_windows_reserved_micro_usd_check CHECK ((reserved_micro_usd >= 0)),
    CONSTRAINT budget_windows_spent_micro_usd_check CHECK ((spent_micro_usd >= 0))
);

ALTER TABLE ONLY app.budget_windows FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.budget_windows
    ADD CONSTRAINT budget_windows_pkey PRIMARY KEY (tenant_id, budget_id, begins);

CREATE TRIGGER judge_new AFTER INSERT ON app.budget_windows FOR EACH ROW WHEN ((new.spent_micro_usd > 0)) EXECUTE FUNCTION app.judge_window();

CREATE TRIGGER judge_spent AFTER UPDATE OF spent_micro_usd ON app.budget_windows FOR EACH ROW WHEN ((new.spent_micro_usd > old.spent_micro_usd)) EXECUTE FUNCTION app.judge_window();

ALTER TABLE ONLY app.budget_windows
    ADD CONSTRAINT budget_windows_tenant_id_budget_id_fkey FOREIGN KEY (tenant_id, budget_id) REFERENCES app.budgets(tenant_id, budget_id) ON DELETE CASCADE;

ALTER TABLE app.budget_windows ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON app.budget_windows FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.budget_windows TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.budget_windows TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT ON TABLE app.budget_windows TO adriatic_flows;
GRANT SELECT ON TABLE app.budget_windows TO adriatic_cdc;
GRANT SELECT ON TABLE app.budget_windows TO adriatic_search;
GRANT SELECT,INSERT ON TABLE app.budget_windows TO adriatic_api;

GRANT UPDATE(spent_micro_usd) ON TABLE app.budget_windows TO adriatic_api;
GRANT UPDATE(spent_micro_usd) ON TABLE app.budget_windows TO adriatic_flows;

GRANT UPDATE(reserved_micro_usd) ON TABLE app.budget_windows TO adriatic_api;
GRANT UPDATE(reserved_micro_usd) ON TABLE app.budget_windows TO adriatic_flows;

CREATE TABLE app.budgets (
    tenant_id uuid NOT NULL,
    budget_id uuid NOT NULL,
    level text NOT NULL,
    subject text NOT NULL,
    period text NOT NULL,
    limit_micro_usd bigint NOT NULL,
    created_by uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT budgets_check CHECK (((level = 'org'::text) = (subject = ''::text))),
    CONSTRAINT budgets_level_check CHECK ((level = ANY (ARRAY['org'::text, 'user'::text, 'key'::text]))),
    CONSTRAINT budgets_limit_micro_usd_check CHECK (((limit_micro_usd >= 0) AND (limit_micro_usd <= '1000000000000000'::bigint))),
    CONSTRAINT budgets_period_check CHECK ((period = ANY (ARRAY['day'::text, 'month'::text, 'prepaid'::text]))),
    CONSTRAINT budgets_subject_check CHECK ((length(subject) <= 255))
);

ALTER TABLE ONLY app.budgets FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.budgets
    ADD CONSTRAINT budgets_pkey PRIMARY KEY (tenant_id, budget_id);

ALTER TABLE ONLY app.budgets
    ADD CONSTRAINT budgets_tenant_id_level_subject_period_key UNIQUE (tenant_id, level, subject, period);

CREATE TRIGGER judge_limit AFTER UPDATE OF limit_micro_usd ON app.budgets FOR EACH ROW WHEN ((new.limit_micro_usd < old.limit_micro_usd)) EXECUTE FUNCTION app.judge_limit();

ALTER TABLE ONLY app.budgets
    ADD CONSTRAINT budgets_tenant_id_created_by_fkey FOREIGN KEY (tenant_id, created_by) REFERENCES app.users(tenant_id, user_id);

ALTER TABLE ONLY app.budgets
    ADD CONSTRAINT budgets_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

ALTER TABLE app.budgets ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON app.budgets FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.budgets TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.budgets TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT ON TABLE app.budgets TO adriatic_flows;
GRANT SELECT ON TABLE app.budgets TO adriatic_cdc;
GRANT SELECT ON TABLE app.budgets TO adriatic_search;
GRANT SELECT,INSERT,DELETE ON TABLE app.budgets TO adriatic_api;

GRANT UPDATE(limit_micro_usd) ON TABLE app.budgets TO adriatic_api;

GRANT UPDATE(created_by) ON TABLE app.budgets TO adriatic_api;

CREATE FUNCTION app.budgets_lock(tenant_id uuid) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    RETURN hashtextextended(((tenant_id)::text || '/budgets'::text), (0)::bigint);

CREATE TABLE app.cached_answers (
    tenant_id uuid NOT NULL,
    prompt_key bytea NOT NULL,
    answer_id uuid,
    provider text NOT NULL,
    model text NOT NULL,
    events text NOT NULL,
    cost_micro_usd bigint,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT cached_answers_cost_micro_usd_check CHECK ((cost_micro_usd >= 0)),
    CONSTRAINT cached_answers_events_check CHECK ((octet_length(events) <= 262144)),
    CONSTRAINT cached_answers_prompt_key_check CHECK ((length(prompt_key) = 32))
);

ALTER TABLE ONLY app.cached_answers FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.cached_answers
    ADD CONSTRAINT cached_answers_pkey PRIMARY KEY (tenant_id, prompt_key);

CREATE INDEX cached_answers_by_age ON app.cached_answers USING btree (tenant_id, created_at);

CREATE INDEX cached_answers_of_answer ON app.cached_answers USING btree (tenant_id, answer_id);

ALTER TABLE ONLY app.cached_answers
    ADD CONSTRAINT cached_answers_tenant_id_answer_id_fkey FOREIGN KEY (tenant_id, answer_id) REFERENCES app.answers(tenant_id, answer_id) ON DELETE CASCADE;

ALTER TABLE ONLY app.cached_answers
    ADD CONSTRAINT cached_answers_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

ALTER TABLE app.cached_answers ENABLE ROW LEVEL SECURITY;

CREATE POLICY cdc ON app.cached_answers FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.cached_answers TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.cached_answers TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,DELETE ON TABLE app.cached_answers TO adriatic_flows;
GRANT SELECT ON TABLE app.cached_answers TO adriatic_cdc;
GRANT SELECT ON TABLE app.cached_answers TO adriatic_search;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE app.cached_answers TO adriatic_api;

CREATE FUNCTION app.cancel_sub_tasks() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    child uuid;
begin
    for child in
        select j.job_id
        from app.agent_tasks t
        join app.jobs j on j.tenant_id = t.tenant_id and j.job_id = t.task_id
        where t.tenant_id = new.tenant_id and t.parent_id = new.job_id and j.state in ('queued', 'running')
            and j.cancel_requested_at is null
        for update of j
    loop
        update app.jobs j
        set cancel_requested_at = clock_timestamp(),
            sequence = j.sequence + 1,
            state = case when idle then 'cancelled' else j.state end,
            finished_at = case when idle then clock_timestamp() end,
            lease_owner = case when idle then null else j.lease_owner end,
            lease_until = case when idle then null else j.lease_until end
        from (
            select lease_until is null or lease_until <= clock_timestamp() as idle
            from app.jobs
            where tenant_id = new.tenant_id and job_id = child) found
        where j.tenant_id = new.tenant_id and j.job_id = child;
        perform app.emit_job_progress(new.tenant_id, child);
    end loop;
    return null;
end
$$;

CREATE FUNCTION app.count_questions(asker uuid, subjects text[], questions bigint) RETURNS TABLE(subject text, unit text, time_window text, used bigint, left_s double precision)
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    BEGIN ATOMIC
 WITH wanted AS (
          SELECT t.time_window,
                 CASE t.time_window
                     WHEN 'minute'::text THEN date_trunc('minute'::text, now(), 'UTC'::text)
                     ELSE u.created_at
                 END AS window_start
            FROM (app.users u
              CROSS JOIN unnest(ARRAY['first-day'::text, 'minute'::text]) t(time_window))
           WHERE ((u.tenant_id = app.current_tenant()) AND (u.user_id = count_questions.asker) AND ((t.time_window = 'minute'::text) OR ((u.created_at > (now() - '1 day'::interval)) AND (NOT starts_with(u.subject, 'api-key:'::text)))))
         ), taken AS (
          INSERT INTO app.limit_uses AS u (tenant_id, subject, unit, time_window, window_start, used)  SELECT app.current_tenant() AS current_tenant,
                     ('user:'::text || count_questions.asker),
                     'requests',
                     w.time_window,
                     w.window_start,
                     count_questions.questions AS questions
                    FROM wanted w
                   ORDER BY w.time_window ON CONFLICT(tenant_id, subject, unit, time_window) DO UPDATE SET used = (excluded.used +
                 CASE
                     WHEN (u.window_start = excluded.window_start) THEN u.used
                     ELSE (0)::bigint
                 END), window_start = excluded.window_start
           RETURNING u.subject,
             u.unit,
             u.time_window,
             u.used,
             u.window_start
         ), found AS (
          SELECT t.subject,
             t.unit,
             t.time_window,
             t.used,
             t.window_start
            FROM taken t
         UNION ALL
          SELECT u.subject,
             u.unit,
             u.time_window,
             u.used,
             u.window_start
            FROM app.limit_uses u
           WHERE ((u.tenant_id = app.current_tenant()) AND (u.unit = 'tokens'::text) AND (u.subject = ANY (count_questions.subjects)) AND (u.window_start = date_trunc(u.time_window, now(), 'UTC'::text)))
         )
  SELECT f.subject,
     f.unit,
     f.time_window,
     f.used,
     EXTRACT(epoch FROM ((f.window_start +
         CASE f.time_window
             WHEN 'minute'::text THEN '00:01:00'::interval
             WHEN 'month'::text THEN '1 mon'::interval
             ELSE '1 day'::interval
         END) - now())) AS "extract"
    FROM found f;
END;

CREATE FUNCTION app.count_used_tokens() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'auto'
    AS $$
begin
    insert into app.limit_uses as u (tenant_id, subject, unit, time_window, window_start, used)
    select n.tenant_id, s.subject, 'tokens', w.time_window, date_trunc(w.time_window, now(), 'UTC'),
        sum(n.input_uncached + n.cache_read + n.cache_write_5m + n.cache_write_1h + n.output_visible + n.reasoning)::bigint
    from settled n
    cross join lateral (values ('key:' || n.key_id), ('tenant'), ('user:' || n.user_id)) as s (subject)
    cross join (values ('day'), ('month')) as w (time_window)
    where s.subject is not null and n.provider <> 'extractive'
    group by n.tenant_id, s.subject, w.time_window
    order by n.tenant_id, s.subject <> 'tenant', s.subject, w.time_window
    on conflict (tenant_id, subject, unit, time_window) do update
    set
        used = excluded.used + case when u.window_start = excluded.window_start then u.used else 0 end,
        window_start = excluded.window_start;
    return null;
end
$$;

CREATE TABLE app.crawl_schedules (
    tenant_id uuid NOT NULL,
    schedule_id uuid NOT NULL,
    start_urls text[] NOT NULL,
    hosts text[] NOT NULL,
    include text[] NOT NULL,
    exclude text[] NOT NULL,
    depth_max integer NOT NULL,
    pages_max integer NOT NULL,
    bytes_max bigint NOT NULL,
    seconds_max integer NOT NULL,
    gone_after integer NOT NULL,
    every_s integer NOT NULL,
    paused boolean DEFAULT false NOT NULL,
    next_at timestamp with time zone DEFAULT now() NOT NULL,
    last_crawl_id uuid,
    passed_over bigint DEFAULT 0 NOT NULL,
    told text DEFAULT ''::text NOT NULL,
    made_by uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    render text,
    CONSTRAINT crawl_schedules_bytes_max_check CHECK ((bytes_max > 0)),
    CONSTRAINT crawl_schedules_depth_max_check CHECK ((depth_max >= 0)),
    CONSTRAINT crawl_schedules_every_s_check CHECK (((every_s >= 3600) AND (every_s <= 31622400))),
    CONSTRAINT crawl_schedules_gone_after_check CHECK ((gone_after > 0)),
    CONSTRAINT crawl_schedules_pages_max_check CHECK ((pages_max > 0)),
    CONSTRAINT crawl_schedules_render_check CHECK ((render = ANY (ARRAY['never'::text, 'auto'::text, 'always'::text]))),
    CONSTRAINT crawl_schedules_seconds_max_check CHECK ((seconds_max > 0))
);

ALTER TABLE ONLY app.crawl_schedules FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.crawl_schedules
    ADD CONSTRAINT crawl_schedules_pkey PRIMARY KEY (tenant_id, schedule_id);

CREATE INDEX crawl_schedules_due ON app.crawl_schedules USING btree (tenant_id, next_at) WHERE (NOT paused);

CREATE INDEX crawl_schedules_last ON app.crawl_schedules USING btree (tenant_id, last_crawl_id);

ALTER TABLE ONLY app.crawl_schedules
    ADD CONSTRAINT crawl_schedules_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

ALTER TABLE ONLY app.crawl_schedules
    ADD CONSTRAINT crawl_schedules_tenant_id_last_crawl_id_fkey FOREIGN KEY (tenant_id, last_crawl_id) REFERENCES app.crawls(tenant_id, crawl_id);

CREATE POLICY cdc ON app.crawl_schedules FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE app.crawl_schedules ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON app.crawl_schedules TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.crawl_schedules TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,UPDATE ON TABLE app.crawl_schedules TO adriatic_flows;
GRANT SELECT ON TABLE app.crawl_schedules TO adriatic_cdc;
GRANT SELECT ON TABLE app.crawl_schedules TO adriatic_search;
GRANT SELECT,INSERT,DELETE ON TABLE app.crawl_schedules TO adriatic_api;

GRANT UPDATE(paused) ON TABLE app.crawl_schedules TO adriatic_api;

GRANT UPDATE(next_at) ON TABLE app.crawl_schedules TO adriatic_api;

CREATE TABLE app.crawl_urls (
    tenant_id uuid NOT NULL,
    crawl_id uuid NOT NULL,
    url_id bigint NOT NULL,
    url text NOT NULL,
    host text NOT NULL,
    kind text NOT NULL,
    depth integer NOT NULL,
    hops integer DEFAULT 0 NOT NULL,
    state text DEFAULT 'waiting'::text NOT NULL,
    code text DEFAULT ''::text NOT NULL,
    detail text DEFAULT ''::text NOT NULL,
    status integer,
    tries integer DEFAULT 0 NOT NULL,
    refers_to text,
    page_id uuid,
    text_hash bytea,
    simhash bigint,
    asked_at timestamp with time zone,
    rendered boolean DEFAULT false NOT NULL,
    CONSTRAINT crawl_urls_kind_check CHECK ((kind = ANY (ARRAY['page'::text, 'sitemap'::text, 'recalled'::text]))),
    CONSTRAINT crawl_urls_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'stored'::text, 'unchanged'::text, 'duplicate'::text, 'redirected'::text, 'refused'::text, 'failed'::text, 'gone'::text, 'read'::text]))),
    CONSTRAINT crawl_urls_url_check CHECK ((length(url) <= 2048))
);

ALTER TABLE ONLY app.crawl_urls FORCE ROW LEVEL SECURITY;

ALTER TABLE app.crawl_urls ALTER COLUMN url_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME app.crawl_urls_url_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY app.crawl_urls
    ADD CONSTRAINT crawl_urls_pkey PRIMARY KEY (tenant_id, crawl_id, url_id);

ALTER TABLE ONLY app.crawl_urls
    ADD CONSTRAINT crawl_urls_tenant_id_crawl_id_url_key UNIQUE (tenant_id, crawl_id, url);

CREATE INDEX crawl_urls_waiting ON app.crawl_urls USING btree (tenant_id, crawl_id, host, depth, url_id) WHERE (state = 'waiting'::text);

ALTER TABLE ONLY app.crawl_urls
    ADD CONSTRAINT crawl_urls_tenant_id_crawl_id_fkey FOREIGN KEY (tenant_id, crawl_id) REFERENCES app.crawls(tenant_id, crawl_id) ON DELETE CASCADE;

CREATE POLICY cdc ON app.crawl_urls FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE app.crawl_urls ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON app.crawl_urls TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.crawl_urls TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE app.crawl_urls TO adriatic_flows;
GRANT SELECT ON TABLE app.crawl_urls TO adriatic_cdc;
GRANT SELECT ON TABLE app.crawl_urls TO adriatic_search;
GRANT SELECT ON TABLE app.crawl_urls TO adriatic_api;

CREATE TABLE app.crawls (
    tenant_id uuid NOT NULL,
    crawl_id uuid NOT NULL,
    job_id uuid NOT NULL,
    start_urls text[] NOT NULL,
    hosts text[] NOT NULL,
    include text[] NOT NULL,
    exclude text[] NOT NULL,
    depth_max integer NOT NULL,
    pages_max integer NOT NULL,
    bytes_max bigint NOT NULL,
    seconds_max integer NOT NULL,
    gone_after integer NOT NULL,
    asked integer DEFAULT 0 NOT NULL,
    received bigint DEFAULT 0 NOT NULL,
    found integer DEFAULT 0 NOT NULL,
    dropped bigint DEFAULT 0 NOT NULL,
    stopped text DEFAULT ''::text NOT NULL,
    recalled boolean DEFAULT false NOT NULL,
    requested_by uuid,
    traceparent text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    ends_at timestamp with time zone,
    render text,
    CONSTRAINT crawls_bytes_max_check CHECK ((bytes_max > 0)),
    CONSTRAINT crawls_depth_max_check CHECK ((depth_max >= 0)),
    CONSTRAINT crawls_gone_after_check CHECK ((gone_after > 0)),
    CONSTRAINT crawls_pages_max_check CHECK ((pages_max > 0)),
    CONSTRAINT crawls_render_check CHECK ((render = ANY (ARRAY['never'::text, 'auto'::text, 'always'::text]))),
    CONSTRAINT crawls_seconds_max_check CHECK ((seconds_max > 0))
);

ALTER TABLE ONLY app.crawls FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.crawls
    ADD CONSTRAINT crawls_pkey PRIMARY KEY (tenant_id, crawl_id);

CREATE INDEX crawls_recent ON app.crawls USING btree (tenant_id, created_at DESC, crawl_id DESC);

ALTER TABLE ONLY app.crawls
    ADD CONSTRAINT crawls_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

ALTER TABLE ONLY app.crawls
    ADD CONSTRAINT crawls_tenant_id_job_id_fkey FOREIGN KEY (tenant_id, job_id) REFERENCES app.jobs(tenant_id, job_id) DEFERRABLE INITIALLY DEFERRED;

CREATE POLICY cdc ON app.crawls FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE app.crawls ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON app.crawls TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.crawls TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,UPDATE ON TABLE app.crawls TO adriatic_flows;
GRANT SELECT ON TABLE app.crawls TO adriatic_cdc;
GRANT SELECT ON TABLE app.crawls TO adriatic_search;
GRANT SELECT,INSERT ON TABLE app.crawls TO adriatic_api;

CREATE FUNCTION app.current_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (SELECT (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid AS "nullif");

CREATE TABLE app.document_pages (
    tenant_id uuid NOT NULL,
    document_id uuid NOT NULL,
    version bigint NOT NULL,
    starts integer[] NOT NULL,
    CONSTRAINT document_pages_starts_check CHECK ((cardinality(starts) > 0))
);

ALTER TABLE ONLY app.document_pages FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.document_pages
    ADD CONSTRAINT document_pages_pkey PRIMARY KEY (tenant_id, document_id, version);

ALTER TABLE ONLY app.document_pages
    ADD CONSTRAINT document_pages_tenant_id_document_id_version_fkey FOREIGN KEY (tenant_id, document_id, version) REFERENCES app.document_versions(tenant_id, document_id, version);

CREATE POLICY cdc ON app.document_pages FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE app.document_pages ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON app.document_pages TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.document_pages TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT ON TABLE app.document_pages TO adriatic_flows;
GRANT SELECT ON TABLE app.document_pages TO adriatic_cdc;
GRANT SELECT ON TABLE app.document_pages TO adriatic_search;
GRANT SELECT ON TABLE app.document_pages TO adriatic_api;

CREATE TABLE app.document_scans (
    tenant_id uuid NOT NULL,
    document_id uuid NOT NULL,
    page integer NOT NULL,
    scanner integer NOT NULL,
    text text DEFAULT ''::text NOT NULL,
    lines integer DEFAULT 0 NOT NULL,
    left_out integer DEFAULT 0 NOT NULL,
    unsure integer DEFAULT 0 NOT NULL,
    confidence double precision DEFAULT 0 NOT NULL,
    script text DEFAULT ''::text NOT NULL,
    fault jsonb,
    CONSTRAINT document_scans_page_check CHECK ((page > 0))
);

ALTER TABLE ONLY app.document_scans FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.document_scans
    ADD CONSTRAINT document_scans_pkey PRIMARY KEY (tenant_id, document_id, page);

ALTER TABLE ONLY app.document_scans
    ADD CONSTRAINT document_scans_tenant_id_document_id_fkey FOREIGN KEY (tenant_id, document_id) REFERENCES app.documents(tenant_id, document_id);

CREATE POLICY cdc ON app.document_scans FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE app.document_scans ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON app.document_scans TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.document_scans TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE app.document_scans TO adriatic_flows;
GRANT SELECT ON TABLE app.document_scans TO adriatic_cdc;
GRANT SELECT ON TABLE app.document_scans TO adriatic_search;
GRANT SELECT ON TABLE app.document_scans TO adriatic_api;

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
    CONSTRAINT document_versions_version_check CHECK ((version > 0)),
    CONSTRAINT is_bounded CHECK (((((((((COALESCE(octet_length(kind), 0) + COALESCE(octet_length(origin), 0)) + COALESCE(octet_length(external_id), 0)) + COALESCE(octet_length(title), 0)) + COALESCE(octet_length(media_type), 0)) + COALESCE(octet_length(uri), 0)) + COALESCE(octet_length(body), 0)) + COALESCE(octet_length(traceparent), 0)) <= 2031616))
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
    gaps jsonb DEFAULT '[]'::jsonb NOT NULL,
    characters jsonb DEFAULT '{}'::jsonb NOT NULL,
    parser integer DEFAULT 0 NOT NULL,
    CONSTRAINT documents_check CHECK (((state = ANY (ARRAY['partial'::text, 'refused'::text])) = (reason IS NOT NULL))),
    CONSTRAINT documents_content_hash_check CHECK ((length(content_hash) = 32)),
    CONSTRAINT documents_file_name_check CHECK (((length(file_name) >= 1) AND (length(file_name) <= 255))),
    CONSTRAINT documents_size_bytes_check CHECK ((size_bytes >= 0)),
    CONSTRAINT documents_state_check CHECK ((state = ANY (ARRAY['stored'::text, 'processing'::text, 'processed'::text, 'partial'::text, 'refused'::text])))
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

CREATE TABLE app.drafts (
    tenant_id uuid NOT NULL,
    answer_id uuid NOT NULL,
    task text NOT NULL,
    prompt_version integer NOT NULL,
    adr_id uuid,
    version integer,
    accepted_adr_id uuid,
    accepted_version integer,
    accepted_at timestamp with time zone,
    CONSTRAINT drafts_check CHECK (((task = 'write'::text) = (adr_id IS NULL))),
    CONSTRAINT drafts_check1 CHECK (((adr_id IS NULL) = (version IS NULL))),
    CONSTRAINT drafts_check2 CHECK ((num_nulls(accepted_adr_id, accepted_version, accepted_at) = ANY (ARRAY[0, 3]))),
    CONSTRAINT drafts_prompt_version_check CHECK ((prompt_version > 0)),
    CONSTRAINT drafts_task_check CHECK ((task = ANY (ARRAY['write'::text, 'summarise'::text, 'expand'::text, 'review'::text])))
);

ALTER TABLE ONLY app.drafts FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.drafts
    ADD CONSTRAINT drafts_pkey PRIMARY KEY (tenant_id, answer_id);

ALTER TABLE ONLY app.drafts
    ADD CONSTRAINT drafts_tenant_id_answer_id_fkey FOREIGN KEY (tenant_id, answer_id) REFERENCES app.answers(tenant_id, answer_id) ON DELETE CASCADE;

CREATE POLICY cdc ON app.drafts FOR SELECT TO adriatic_cdc USING (true);

ALTER TABLE app.drafts ENABLE ROW LEVEL SECURITY;

CREATE POLICY flows ON app.drafts TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.drafts TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT ON TABLE app.drafts TO adriatic_flows;
GRANT SELECT ON TABLE app.drafts TO adriatic_cdc;
GRANT SELECT ON TABLE app.drafts TO adriatic_search;
GRANT SELECT,INSERT ON TABLE app.drafts TO adriatic_api;

GRANT UPDATE(accepted_adr_id) ON TABLE app.drafts TO adriatic_api;

GRANT UPDATE(accepted_version) ON TABLE app.drafts TO adriatic_api;

GRANT UPDATE(accepted_at) ON TABLE app.drafts TO adriatic_api;

CREATE FUNCTION app.emit(topic text, key jsonb, tenant_id uuid, value jsonb, headers jsonb DEFAULT '{}'::jsonb) RETURNS boolean
    LANGUAGE sql
    BEGIN ATOMIC
 INSERT INTO app.outbox (topic, tenant_id, key, value, headers)
   VALUES (emit.topic, emit.tenant_id, emit.key, emit.value, emit.headers);
 SELECT true;
END;

CREATE FUNCTION app.emit_job_progress(of_tenant uuid, of_job uuid) RETURNS boolean
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

CREATE FUNCTION app.emit_raw(topic text, key bytea, tenant_id uuid, value bytea, headers jsonb DEFAULT '{}'::jsonb) RETURNS boolean
    LANGUAGE sql
    BEGIN ATOMIC
 INSERT INTO app.outbox (topic, tenant_id, key_bytes, value_bytes, headers)
   VALUES (emit_raw.topic, emit_raw.tenant_id, emit_raw.key, emit_raw.value, emit_raw.headers);
 SELECT true;
END;

CREATE TABLE app.emitters (
    role name NOT NULL,
    topic text NOT NULL
);

ALTER TABLE ONLY app.emitters
    ADD CONSTRAINT emitters_pkey PRIMARY KEY (role, topic);

GRANT SELECT ON TABLE app.emitters TO adriatic_api;
GRANT SELECT ON TABLE app.emitters TO adriatic_flows;

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

CREATE FUNCTION app.find_api_key(tenant uuid, wanted text, use_s double precision) RETURNS TABLE(user_id uuid, name text, scopes text[], subject text, secret_hash bytea, good_until timestamp with time zone, is_use_due boolean)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'auto'
    AS $$
begin
    perform set_config('app.tenant_id', tenant::text, true);
    return query
    select k.user_id, k.name, k.scopes, u.subject, s.secret_hash, s.good_until,
        s.last_used_at is null or s.last_used_at < now() - make_interval(secs => use_s)
    from app.api_keys k
    join app.api_key_secrets s on s.tenant_id = k.tenant_id and s.key_id = k.key_id
    join app.users u on u.tenant_id = k.tenant_id and u.user_id = k.user_id
    where k.tenant_id = tenant and k.key_id = wanted and k.revoked_at is null and s.good_until > now();
end
$$;

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

CREATE FUNCTION app.is_in_force(stop app.spend_stops) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    RETURN (((stop).resumed_at IS NULL) AND (((stop).ends_at IS NULL) OR ((stop).ends_at > now())));

CREATE FUNCTION app.is_over(limits jsonb, uses jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    BEGIN ATOMIC
 SELECT (EXISTS ( SELECT
            FROM (jsonb_to_recordset(is_over.limits) l(subject text, unit text, time_window text, most bigint)
              JOIN jsonb_to_recordset(is_over.uses) u(subject text, unit text, time_window text, used bigint) USING (subject, unit, time_window))
           WHERE ((u.used > l.most) OR ((l.unit = 'tokens'::text) AND (u.used = l.most))))) AS "exists";
END;

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
    result jsonb DEFAULT '{}'::jsonb NOT NULL,
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

CREATE TRIGGER agent_task_ends_others AFTER UPDATE OF state, cancel_requested_at ON app.jobs FOR EACH ROW WHEN (((new.kind = 'agent_task'::text) AND (((new.finished_at IS NOT NULL) AND (old.finished_at IS NULL)) OR ((new.cancel_requested_at IS NOT NULL) AND (old.cancel_requested_at IS NULL))))) EXECUTE FUNCTION app.cancel_sub_tasks();

CREATE TRIGGER agent_task_over AFTER UPDATE OF state ON app.jobs FOR EACH ROW WHEN (((new.kind = 'agent_task'::text) AND (new.finished_at IS NOT NULL) AND (old.finished_at IS NULL))) EXECUTE FUNCTION app.tell_agent_task_over();

ALTER TABLE ONLY app.jobs
    ADD CONSTRAINT jobs_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

CREATE POLICY cdc ON app.jobs FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.jobs TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE app.jobs ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON app.jobs TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,UPDATE ON TABLE app.jobs TO adriatic_flows;
GRANT SELECT ON TABLE app.jobs TO adriatic_cdc;
GRANT SELECT ON TABLE app.jobs TO adriatic_search;
GRANT SELECT,INSERT,UPDATE ON TABLE app.jobs TO adriatic_api;

CREATE FUNCTION app.judge_limit() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform app.judge_spending(new, w.begins, w.spent_micro_usd)
    from app.budget_windows w
    where w.tenant_id = new.tenant_id and w.budget_id = new.budget_id
        and w.begins = app.window_begin(new.period, new.created_at, now());
    return null;
end
$$;

CREATE FUNCTION app.judge_spending(budget app.budgets, begins timestamp with time zone, spent bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    allowed constant bigint := app.limit_of(budget);
    ends constant timestamptz := app.window_end(budget.period, begins);
    crossed app.spend_alerts;
begin
    if spent <= 0 then
        return;
    end if;
    for crossed in
        insert into app.spend_alerts
            (tenant_id, budget_id, begins, percent, level, subject, period, limit_micro_usd, spent_micro_usd)
        select budget.tenant_id, budget.budget_id, judge_spending.begins, t.percent, budget.level, budget.subject, budget.period,
            allowed, spent
        from unnest('{70,85,95,110}'::integer[]) as t (percent)
        where spent::numeric * 100 >= allowed::numeric * t.percent
        on conflict do nothing
        returning *
    loop
        perform app.emit(
            'spend.alert',
            jsonb_build_object('tenant_id', crossed.tenant_id, 'id', crossed.alert_id),
            crossed.tenant_id,
            jsonb_build_object(
                'event_id', gen_random_uuid(), 'tenant_id', crossed.tenant_id,
                'occurred_at', (extract(epoch from clock_timestamp()) * 1000000)::bigint,
                'alert_id', crossed.alert_id, 'budget_id', crossed.budget_id, 'level', crossed.level,
                'subject', crossed.subject, 'period', crossed.period,
                'begins', (extract(epoch from crossed.begins) * 1000000)::bigint, 'percent', crossed.percent,
                'limit_micro_usd', crossed.limit_micro_usd, 'spent_micro_usd', crossed.spent_micro_usd));
    end loop;
    if spent::numeric * 100 >= allowed::numeric * 110 and (ends is null or ends > now()) then
        insert into app.spend_stops (tenant_id, level, subject, reason, budget_id, begins, ends_at)
        values (budget.tenant_id, budget.level, budget.subject,
                format('%s micro-USD are spent of %s', spent, allowed), budget.budget_id, judge_spending.begins, ends)
        on conflict do nothing;
    end if;
end
$$;

CREATE FUNCTION app.judge_window() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform app.judge_spending(b, new.begins, new.spent_micro_usd)
    from app.budgets b
    where b.tenant_id = new.tenant_id and b.budget_id = new.budget_id;
    return null;
end
$$;

CREATE TABLE app.leases (
    tenant_id uuid NOT NULL,
    attempt_id uuid NOT NULL,
    budget_id uuid NOT NULL,
    begins timestamp with time zone NOT NULL,
    reserved_micro_usd bigint NOT NULL,
    CONSTRAINT leases_reserved_micro_usd_check CHECK ((reserved_micro_usd >= 0))
);

ALTER TABLE ONLY app.leases FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (tenant_id, attempt_id, budget_id);

CREATE INDEX leases_by_budget ON app.leases USING btree (tenant_id, budget_id);

ALTER TABLE ONLY app.leases
    ADD CONSTRAINT leases_tenant_id_budget_id_fkey FOREIGN KEY (tenant_id, budget_id) REFERENCES app.budgets(tenant_id, budget_id) ON DELETE CASCADE;

CREATE POLICY cdc ON app.leases FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.leases TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE app.leases ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON app.leases TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE ON TABLE app.leases TO adriatic_flows;
GRANT SELECT ON TABLE app.leases TO adriatic_cdc;
GRANT SELECT ON TABLE app.leases TO adriatic_search;
GRANT SELECT,INSERT,DELETE ON TABLE app.leases TO adriatic_api;

GRANT UPDATE(reserved_micro_usd) ON TABLE app.leases TO adriatic_api;
GRANT UPDATE(reserved_micro_usd) ON TABLE app.leases TO adriatic_flows;

CREATE FUNCTION app.limit_of(budget app.budgets) RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    RETURN ((budget).limit_micro_usd + COALESCE((SELECT (sum(o.amount_micro_usd))::bigint AS sum FROM app.budget_overrides o WHERE ((o.tenant_id = (limit_of.budget).tenant_id) AND (o.budget_id = (limit_of.budget).budget_id) AND (o.ended_at IS NULL) AND (o.expires_at > now()))), (0)::bigint));

CREATE TABLE app.limit_uses (
    tenant_id uuid NOT NULL,
    subject text NOT NULL,
    unit text NOT NULL,
    time_window text NOT NULL,
    window_start timestamp with time zone NOT NULL,
    used bigint NOT NULL,
    CONSTRAINT limit_uses_subject_check CHECK (((length(subject) >= 1) AND (length(subject) <= 300))),
    CONSTRAINT limit_uses_time_window_check CHECK ((time_window = ANY (ARRAY['minute'::text, 'day'::text, 'month'::text, 'first-day'::text]))),
    CONSTRAINT limit_uses_unit_check CHECK ((unit = ANY (ARRAY['requests'::text, 'tokens'::text]))),
    CONSTRAINT limit_uses_used_check CHECK ((used >= 0))
);

ALTER TABLE ONLY app.limit_uses FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.limit_uses
    ADD CONSTRAINT limit_uses_pkey PRIMARY KEY (tenant_id, subject, unit, time_window);

ALTER TABLE ONLY app.limit_uses
    ADD CONSTRAINT limit_uses_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

CREATE POLICY cdc ON app.limit_uses FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.limit_uses TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE app.limit_uses ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON app.limit_uses TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE app.limit_uses TO adriatic_flows;
GRANT SELECT ON TABLE app.limit_uses TO adriatic_cdc;
GRANT SELECT ON TABLE app.limit_uses TO adriatic_search;
GRANT SELECT,INSERT,UPDATE ON TABLE app.limit_uses TO adriatic_api;

CREATE TABLE app.logs (
    tenant_id uuid NOT NULL,
    log_id uuid NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    next_number integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT is_bounded CHECK (((COALESCE(octet_length(slug), 0) + COALESCE(octet_length(name), 0)) <= 983040)),
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

GRANT UPDATE(next_number) ON TABLE app.logs TO adriatic_flows;

CREATE TABLE app.number_reservations (
    tenant_id uuid NOT NULL,
    log_id uuid NOT NULL,
    number integer NOT NULL,
    holder text NOT NULL,
    reserved_by uuid NOT NULL,
    reserved_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT number_reservations_holder_check CHECK (((length(holder) >= 1) AND (length(holder) <= 200))),
    CONSTRAINT number_reservations_number_check CHECK ((number > 0))
);

ALTER TABLE ONLY app.number_reservations FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.number_reservations
    ADD CONSTRAINT number_reservations_pkey PRIMARY KEY (tenant_id, log_id, number);

ALTER TABLE ONLY app.number_reservations
    ADD CONSTRAINT number_reservations_tenant_id_log_id_holder_key UNIQUE (tenant_id, log_id, holder);

ALTER TABLE ONLY app.number_reservations
    ADD CONSTRAINT number_reservations_tenant_id_log_id_fkey FOREIGN KEY (tenant_id, log_id) REFERENCES app.logs(tenant_id, log_id);

CREATE POLICY cdc ON app.number_reservations FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.number_reservations TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE app.number_reservations ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON app.number_reservations TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT ON TABLE app.number_reservations TO adriatic_flows;
GRANT SELECT ON TABLE app.number_reservations TO adriatic_cdc;
GRANT SELECT ON TABLE app.number_reservations TO adriatic_search;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE app.number_reservations TO adriatic_api;

CREATE TABLE app.outbox (
    event_id bigint NOT NULL,
    emitted_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    emitted_by name DEFAULT CURRENT_USER NOT NULL,
    topic text NOT NULL,
    tenant_id uuid,
    key jsonb,
    value jsonb,
    key_bytes bytea,
    value_bytes bytea,
    headers jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT bytes_are_dead_letters CHECK ((((key_bytes IS NULL) AND (value_bytes IS NULL)) OR (topic ~~ '%.dlq'::text))),
    CONSTRAINT is_bounded CHECK (((((((COALESCE(octet_length(topic), 0) + COALESCE(octet_length((key)::text), 0)) + COALESCE(octet_length((value)::text), 0)) + COALESCE(octet_length(key_bytes), 0)) + COALESCE(octet_length(value_bytes), 0)) + COALESCE(octet_length((headers)::text), 0)) <= 16777216)),
    CONSTRAINT is_either CHECK (((value IS NULL) OR ((value_bytes IS NULL) AND (key_bytes IS NULL)))),
    CONSTRAINT names_its_tenant CHECK (((NOT (COALESCE((value ->> 'tenant_id'::text), (tenant_id)::text) IS DISTINCT FROM (tenant_id)::text)) AND (NOT (COALESCE((key ->> 'tenant_id'::text), (tenant_id)::text) IS DISTINCT FROM (tenant_id)::text))))
)
PARTITION BY RANGE (emitted_at);

ALTER TABLE ONLY app.outbox FORCE ROW LEVEL SECURITY;

ALTER TABLE app.outbox ALTER COLUMN event_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME app.outbox_event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY app.outbox ATTACH PARTITION app.outbox_rest DEFAULT;

ALTER TABLE ONLY app.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (emitted_at, event_id);

CREATE POLICY cdc ON app.outbox FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY emitters ON app.outbox AS RESTRICTIVE FOR INSERT TO adriatic_api, adriatic_flows WITH CHECK ((EXISTS ( SELECT
   FROM app.emitters e
  WHERE ((e.role = CURRENT_USER) AND (e.topic = outbox.topic)))));

CREATE POLICY flows ON app.outbox FOR INSERT TO adriatic_flows WITH CHECK (true);

ALTER TABLE app.outbox ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON app.outbox TO adriatic_api USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER PUBLICATION adriatic ADD TABLE ONLY app.outbox;

GRANT SELECT ON TABLE app.outbox TO adriatic_cdc;

GRANT INSERT(topic) ON TABLE app.outbox TO adriatic_api;
GRANT INSERT(topic) ON TABLE app.outbox TO adriatic_flows;

GRANT INSERT(tenant_id) ON TABLE app.outbox TO adriatic_api;
GRANT INSERT(tenant_id) ON TABLE app.outbox TO adriatic_flows;

GRANT INSERT(key) ON TABLE app.outbox TO adriatic_api;
GRANT INSERT(key) ON TABLE app.outbox TO adriatic_flows;

GRANT INSERT(value) ON TABLE app.outbox TO adriatic_api;
GRANT INSERT(value) ON TABLE app.outbox TO adriatic_flows;

GRANT INSERT(key_bytes) ON TABLE app.outbox TO adriatic_api;
GRANT INSERT(key_bytes) ON TABLE app.outbox TO adriatic_flows;

GRANT INSERT(value_bytes) ON TABLE app.outbox TO adriatic_api;
GRANT INSERT(value_bytes) ON TABLE app.outbox TO adriatic_flows;

GRANT INSERT(headers) ON TABLE app.outbox TO adriatic_api;
GRANT INSERT(headers) ON TABLE app.outbox TO adriatic_flows;

ALTER INDEX app.outbox_pkey ATTACH PARTITION app.outbox_rest_pkey;

CREATE TABLE app.outbox_rest (
    event_id bigint CONSTRAINT outbox_event_id_not_null NOT NULL,
    emitted_at timestamp with time zone DEFAULT clock_timestamp() CONSTRAINT outbox_emitted_at_not_null NOT NULL,
    emitted_by name DEFAULT CURRENT_USER CONSTRAINT outbox_emitted_by_not_null NOT NULL,
    topic text CONSTRAINT outbox_topic_not_null NOT NULL,
    tenant_id uuid,
    key jsonb,
    value jsonb,
    key_bytes bytea,
    value_bytes bytea,
    headers jsonb DEFAULT '{}'::jsonb CONSTRAINT outbox_headers_not_null NOT NULL,
    CONSTRAINT bytes_are_dead_letters CHECK ((((key_bytes IS NULL) AND (value_bytes IS NULL)) OR (topic ~~ '%.dlq'::text))),
    CONSTRAINT is_bounded CHECK (((((((COALESCE(octet_length(topic), 0) + COALESCE(octet_length((key)::text), 0)) + COALESCE(octet_length((value)::text), 0)) + COALESCE(octet_length(key_bytes), 0)) + COALESCE(octet_length(value_bytes), 0)) + COALESCE(octet_length((headers)::text), 0)) <= 16777216)),
    CONSTRAINT is_either CHECK (((value IS NULL) OR ((value_bytes IS NULL) AND (key_bytes IS NULL)))),
    CONSTRAINT names_its_tenant CHECK (((NOT (COALESCE((value ->> 'tenant_id'::text), (tenant_id)::text) IS DISTINCT FROM (tenant_id)::text)) AND (NOT (COALESCE((key ->> 'tenant_id'::text), (tenant_id)::text) IS DISTINCT FROM (tenant_id)::text))))
);

ALTER TABLE ONLY app.outbox_rest FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.outbox_rest
    ADD CONSTRAINT outbox_rest_pkey PRIMARY KEY (emitted_at, event_id);

CREATE POLICY keeping ON app.outbox_rest TO adriatic_owner USING (true);

ALTER TABLE app.outbox_rest ENABLE ROW LEVEL SECURITY;

CREATE TABLE app.page_versions (
    tenant_id uuid NOT NULL,
    page_id uuid NOT NULL,
    version bigint NOT NULL,
    kind text NOT NULL,
    crawl_id uuid,
    url text NOT NULL,
    title text NOT NULL,
    media_type text NOT NULL,
    body text NOT NULL,
    effective_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL,
    traceparent text,
    CONSTRAINT is_bounded CHECK (((((((COALESCE(octet_length(kind), 0) + COALESCE(octet_length(url), 0)) + COALESCE(octet_length(title), 0)) + COALESCE(octet_length(media_type), 0)) + COALESCE(octet_length(body), 0)) + COALESCE(octet_length(traceparent), 0)) <= 2031616)),
    CONSTRAINT page_versions_body_check CHECK ((octet_length(body) <= 1048576)),
    CONSTRAINT page_versions_check CHECK (((kind <> 'delete'::text) OR (body = ''::text))),
    CONSTRAINT page_versions_kind_check CHECK ((kind = ANY (ARRAY['create'::text, 'update'::text, 'delete'::text]))),
    CONSTRAINT page_versions_media_type_check CHECK (((length(media_type) >= 1) AND (length(media_type) <= 255))),
    CONSTRAINT page_versions_title_check CHECK ((length(title) <= 1000)),
    CONSTRAINT page_versions_url_check CHECK ((length(url) <= 2048)),
    CONSTRAINT page_versions_version_check CHECK ((version > 0))
);

ALTER TABLE ONLY app.page_versions FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.page_versions
    ADD CONSTRAINT page_versions_pkey PRIMARY KEY (tenant_id, page_id, version);

ALTER TABLE ONLY app.page_versions
    ADD CONSTRAINT page_versions_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

CREATE POLICY cdc ON app.page_versions FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.page_versions TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE app.page_versions ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON app.page_versions TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER PUBLICATION adriatic ADD TABLE ONLY app.page_versions;

GRANT SELECT,INSERT ON TABLE app.page_versions TO adriatic_flows;
GRANT SELECT ON TABLE app.page_versions TO adriatic_cdc;
GRANT SELECT ON TABLE app.page_versions TO adriatic_search;
GRANT SELECT,INSERT ON TABLE app.page_versions TO adriatic_api;

CREATE TABLE app.pages (
    tenant_id uuid NOT NULL,
    page_id uuid NOT NULL,
    url text NOT NULL,
    title text NOT NULL,
    media_type text NOT NULL,
    version bigint NOT NULL,
    etag text DEFAULT ''::text NOT NULL,
    last_modified text DEFAULT ''::text NOT NULL,
    content_hash bytea NOT NULL,
    text_hash bytea NOT NULL,
    simhash bigint,
    links text[] NOT NULL,
    gone integer DEFAULT 0 NOT NULL,
    crawl_id uuid NOT NULL,
    fetched_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT pages_url_check CHECK ((length(url) <= 2048))
);

ALTER TABLE ONLY app.pages FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.pages
    ADD CONSTRAINT pages_pkey PRIMARY KEY (tenant_id, page_id);

ALTER TABLE ONLY app.pages
    ADD CONSTRAINT pages_tenant_id_url_key UNIQUE (tenant_id, url);

CREATE INDEX pages_crawl ON app.pages USING btree (tenant_id, crawl_id);

ALTER TABLE ONLY app.pages
    ADD CONSTRAINT pages_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

CREATE POLICY cdc ON app.pages FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.pages TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE app.pages ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON app.pages TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,UPDATE ON TABLE app.pages TO adriatic_flows;
GRANT SELECT ON TABLE app.pages TO adriatic_cdc;
GRANT SELECT ON TABLE app.pages TO adriatic_search;
GRANT SELECT,UPDATE ON TABLE app.pages TO adriatic_api;

CREATE TABLE app.proposals (
    tenant_id uuid NOT NULL,
    proposal_id uuid NOT NULL,
    task_id uuid NOT NULL,
    proposed_by uuid NOT NULL,
    kind text NOT NULL,
    adr_id uuid,
    content jsonb NOT NULL,
    reason text NOT NULL,
    state text DEFAULT 'open'::text NOT NULL,
    answered_by text,
    answered_id uuid,
    answered_at timestamp with time zone,
    became_id uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    sources jsonb DEFAULT '[]'::jsonb NOT NULL,
    CONSTRAINT proposals_check CHECK (((kind = 'adr'::text) = (adr_id IS NULL))),
    CONSTRAINT proposals_check1 CHECK (((state = 'open'::text) = (answered_at IS NULL))),
    CONSTRAINT proposals_check2 CHECK ((num_nulls(answered_by, answered_id, answered_at) = ANY (ARRAY[0, 3]))),
    CONSTRAINT proposals_check3 CHECK (((state = 'accepted'::text) = (became_id IS NOT NULL))),
    CONSTRAINT proposals_kind_check CHECK ((kind = ANY (ARRAY['adr'::text, 'link'::text, 'tag'::text]))),
    CONSTRAINT proposals_reason_check CHECK ((length(reason) <= 1000)),
    CONSTRAINT proposals_sources_check CHECK ((jsonb_typeof(sources) = 'array'::text)),
    CONSTRAINT proposals_state_check CHECK ((state = ANY (ARRAY['open'::text, 'accepted'::text, 'dismissed'::text])))
);

ALTER TABLE ONLY app.proposals FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.proposals
    ADD CONSTRAINT proposals_pkey PRIMARY KEY (tenant_id, proposal_id);

CREATE INDEX proposals_by_adr ON app.proposals USING btree (tenant_id, adr_id);

CREATE INDEX proposals_by_task ON app.proposals USING btree (tenant_id, task_id);

CREATE INDEX proposals_recent ON app.proposals USING btree (tenant_id, created_at DESC, proposal_id DESC);

ALTER TABLE ONLY app.proposals
    ADD CONSTRAINT proposals_tenant_id_adr_id_fkey FOREIGN KEY (tenant_id, adr_id) REFERENCES app.adrs(tenant_id, adr_id);

ALTER TABLE ONLY app.proposals
    ADD CONSTRAINT proposals_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

CREATE POLICY cdc ON app.proposals FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.proposals TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE app.proposals ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON app.proposals TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT ON TABLE app.proposals TO adriatic_flows;
GRANT SELECT ON TABLE app.proposals TO adriatic_cdc;
GRANT SELECT ON TABLE app.proposals TO adriatic_search;
GRANT SELECT,INSERT ON TABLE app.proposals TO adriatic_api;

GRANT UPDATE(state) ON TABLE app.proposals TO adriatic_api;

GRANT UPDATE(answered_by) ON TABLE app.proposals TO adriatic_api;

GRANT UPDATE(answered_id) ON TABLE app.proposals TO adriatic_api;

GRANT UPDATE(answered_at) ON TABLE app.proposals TO adriatic_api;

GRANT UPDATE(became_id) ON TABLE app.proposals TO adriatic_api;

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

CREATE TABLE app.reader_words (
    tenant_id uuid NOT NULL,
    subject text NOT NULL,
    name text NOT NULL,
    phrase text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT reader_words_name_check CHECK (((length(name) >= 1) AND (length(name) <= 40))),
    CONSTRAINT reader_words_phrase_check CHECK (((length(phrase) >= 1) AND (length(phrase) <= 80))),
    CONSTRAINT reader_words_subject_check CHECK ((subject = ANY (ARRAY['status'::text, 'field'::text, 'link'::text])))
);

ALTER TABLE ONLY app.reader_words FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.reader_words
    ADD CONSTRAINT reader_words_pkey PRIMARY KEY (tenant_id, subject, name, phrase);

ALTER TABLE ONLY app.reader_words
    ADD CONSTRAINT reader_words_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

CREATE POLICY cdc ON app.reader_words FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.reader_words TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE app.reader_words ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON app.reader_words TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT ON TABLE app.reader_words TO adriatic_flows;
GRANT SELECT ON TABLE app.reader_words TO adriatic_cdc;
GRANT SELECT ON TABLE app.reader_words TO adriatic_search;
GRANT SELECT,INSERT,DELETE ON TABLE app.reader_words TO adriatic_api;

CREATE FUNCTION app.refuse_stopped() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    stop app.spend_stops;
begin
    select s.* into stop
    from app.spend_stops s
    where s.tenant_id = new.tenant_id and s.resumed_at is null and app.is_in_force(s)
        and app.budget_covers(s.level, s.subject, new.user_id, new.key_id)
    order by s.stopped_at
    limit 1;
    if stop.stop_id is not null then
        raise exception 'spending is stopped since %: %',
            to_char(stop.stopped_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), stop.reason
            using errcode = 'AD001';
    end if;
    return new;
end
$$;

CREATE TABLE app.research (
    tenant_id uuid NOT NULL,
    research_id uuid NOT NULL,
    asked_by uuid NOT NULL,
    question text NOT NULL,
    request jsonb NOT NULL,
    progress jsonb DEFAULT '{}'::jsonb NOT NULL,
    result jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    key_id text,
    CONSTRAINT research_key_id_check CHECK (((length(key_id) >= 1) AND (length(key_id) <= 255))),
    CONSTRAINT research_question_check CHECK (((length(question) >= 1) AND (length(question) <= 1000)))
);

ALTER TABLE ONLY app.research FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.research
    ADD CONSTRAINT research_pkey PRIMARY KEY (tenant_id, research_id);

CREATE INDEX research_recent ON app.research USING btree (tenant_id, asked_by, created_at DESC, research_id DESC);

ALTER TABLE ONLY app.research
    ADD CONSTRAINT research_tenant_id_research_id_fkey FOREIGN KEY (tenant_id, research_id) REFERENCES app.jobs(tenant_id, job_id);

CREATE POLICY cdc ON app.research FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.research TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE app.research ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON app.research TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,DELETE ON TABLE app.research TO adriatic_flows;
GRANT SELECT ON TABLE app.research TO adriatic_cdc;
GRANT SELECT ON TABLE app.research TO adriatic_search;
GRANT SELECT,INSERT,DELETE ON TABLE app.research TO adriatic_api;

GRANT UPDATE(progress) ON TABLE app.research TO adriatic_flows;

GRANT UPDATE(result) ON TABLE app.research TO adriatic_flows;

CREATE FUNCTION app.reserve(attempt uuid, amount bigint) RETURNS TABLE(budget_id uuid, level text, period text, limit_micro_usd bigint, unspent_micro_usd bigint, left_micro_usd bigint, resets_at timestamp with time zone, is_refused boolean)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    asked app.attempts;
    bound record;
    tightest record;
    remaining bigint;
begin
    -- Whoever settles it for a process that counts as dead waits, or was here first: a lease must not come after the row.
    select * into asked from app.attempts a where a.tenant_id = app.current_tenant() and a.attempt_id = attempt for key share;
    if asked.attempt_id is null then
        is_refused := true;
        return next;
        return;
    end if;
    perform pg_advisory_xact_lock_shared(app.budgets_lock(asked.tenant_id));
    insert into app.budget_windows (tenant_id, budget_id, begins)
    select b.tenant_id, b.budget_id, app.window_begin(b.period, b.created_at, asked.begun_at)
    from app.budgets b
    where b.tenant_id = asked.tenant_id and app.budget_covers(b.level, b.subject, asked.user_id, asked.key_id)
        and app.window_begin(b.period, b.created_at, asked.begun_at) is not null
    order by b.budget_id
    on conflict do nothing;
    for bound in
        select b.*, w.begins, app.limit_of(b) as allowed, app.limit_of(b) - w.spent_micro_usd as unspent,
               app.limit_of(b) - w.spent_micro_usd - w.reserved_micro_usd as remaining
        from app.budgets b join app.budget_windows w on w.tenant_id = b.tenant_id and w.budget_id = b.budget_id
            and w.begins = app.window_begin(b.period, b.created_at, asked.begun_at)
        where b.tenant_id = asked.tenant_id and app.budget_covers(b.level, b.subject, asked.user_id, asked.key_id)
        order by b.budget_id
        for update of w
    loop
        if remaining is null or bound.remaining < remaining then
            tightest := bound;
            remaining := bound.remaining;
        end if;
    end loop;
    if remaining is null then
        return;
    end if;
    is_refused := amount is null or remaining < amount;
    if not is_refused then
        with moved as (
            update app.budget_windows w
            set reserved_micro_usd = w.reserved_micro_usd + amount
            from app.budgets b
            where b.tenant_id = asked.tenant_id and app.budget_covers(b.level, b.subject, asked.user_id, asked.key_id)
                and w.tenant_id = b.tenant_id and w.budget_id = b.budget_id
                and w.begins = app.window_begin(b.period, b.created_at, asked.begun_at)
            returning w.tenant_id, w.budget_id, w.begins
        )
        insert into app.leases as l (tenant_id, attempt_id, budget_id, begins, reserved_micro_usd)
        select m.tenant_id, attempt, m.budget_id, m.begins, amount from moved m
        on conflict on constraint leases_pkey
        do update set reserved_micro_usd = l.reserved_micro_usd + excluded.reserved_micro_usd;
    end if;
    budget_id := tightest.budget_id;
    level := tightest.level;
    period := tightest.period;
    limit_micro_usd := tightest.allowed;
    unspent_micro_usd := tightest.unspent;
    left_micro_usd := remaining;
    resets_at := app.window_end(tightest.period, tightest.begins);
    return next;
end
$$;

CREATE FUNCTION app.reserve_all(asked jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'auto'
    AS $$
#variable_conflict use_column
declare
    there bigint;
    bound record;
    needs jsonb;
begin
    -- Whoever settles one for a process that counts as dead waits, or was here first: a lease must not come after the row.
    select count(*) into there
    from (
        select a.attempt_id
        from app.attempts a
        join jsonb_to_recordset(asked) as e (attempt uuid) on a.attempt_id = e.attempt
        where a.tenant_id = app.current_tenant()
        order by a.attempt_id
        for key share of a
    ) locked;
    if there < jsonb_array_length(asked) then
        raise exception using errcode = 'AT004', message = 'an attempt was settled';
    end if;
    perform pg_advisory_xact_lock_shared(app.budgets_lock(app.current_tenant()));
    select jsonb_agg(n) into needs
    from (
        select b.budget_id, app.window_begin(b.period, b.created_at, a.begun_at) as begins,
            sum(e.amount)::bigint as amount, count(*) filter (where e.amount is null) as unpriced
        from jsonb_to_recordset(asked) as e (attempt uuid, is_free boolean, amount bigint)
        join app.attempts a on a.tenant_id = app.current_tenant() and a.attempt_id = e.attempt
        join app.budgets b on b.tenant_id = a.tenant_id and app.budget_covers(b.level, b.subject, a.user_id, a.key_id)
        where e.is_free is not true and app.window_begin(b.period, b.created_at, a.begun_at) is not null
        group by 1, 2
    ) n;
    if needs is null then
        return;
    end if;
    insert into app.budget_windows (tenant_id, budget_id, begins)
    select app.current_tenant(), n.budget_id, n.begins
    from jsonb_to_recordset(needs) as n (budget_id uuid, begins timestamptz)
    order by n.budget_id, n.begins
    on conflict do nothing;
    for bound in
        select n.unpriced > 0 or app.limit_of(b) - w.spent_micro_usd - w.reserved_micro_usd < n.amount as is_short
        from jsonb_to_recordset(needs) as n (budget_id uuid, begins timestamptz, amount bigint, unpriced bigint)
        join app.budgets b on b.tenant_id = app.current_tenant() and b.budget_id = n.budget_id
        join app.budget_windows w on w.tenant_id = b.tenant_id and w.budget_id = b.budget_id and w.begins = n.begins
        order by w.budget_id, w.begins
        for update of w
    loop
        if bound.is_short then
            raise exception using errcode = 'AT004', message = 'a budget has too little';
        end if;
    end loop;
    update app.budget_windows w
    set reserved_micro_usd = w.reserved_micro_usd + n.amount
    from jsonb_to_recordset(needs) as n (budget_id uuid, begins timestamptz, amount bigint)
    where w.tenant_id = app.current_tenant() and w.budget_id = n.budget_id and w.begins = n.begins;
    insert into app.leases as l (tenant_id, attempt_id, budget_id, begins, reserved_micro_usd)
    select a.tenant_id, a.attempt_id, b.budget_id, app.window_begin(b.period, b.created_at, a.begun_at), e.amount
    from jsonb_to_recordset(asked) as e (attempt uuid, is_free boolean, amount bigint)
    join app.attempts a on a.tenant_id = app.current_tenant() and a.attempt_id = e.attempt
    join app.budgets b on b.tenant_id = a.tenant_id and app.budget_covers(b.level, b.subject, a.user_id, a.key_id)
    where e.is_free is not true and app.window_begin(b.period, b.created_at, a.begun_at) is not null
    on conflict on constraint leases_pkey
    do update set reserved_micro_usd = l.reserved_micro_usd + excluded.reserved_micro_usd;
end
$$;

CREATE FUNCTION app.reserve_more(tenant uuid, attempt uuid, amount bigint) RETURNS TABLE(budget_id uuid, level text, period text, limit_micro_usd bigint, unspent_micro_usd bigint, left_micro_usd bigint, resets_at timestamp with time zone, is_refused boolean)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'auto'
    AS $$
begin
    perform set_config('app.tenant_id', tenant::text, true);
    return query select * from app.reserve(attempt, amount);
end
$$;

CREATE FUNCTION app.reserve_more_all(tenant uuid, asked jsonb) RETURNS TABLE(attempt uuid, is_bound boolean)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'auto'
    AS $$
begin
    perform set_config('app.tenant_id', tenant::text, true);
    perform app.reserve_all(asked);
    return query
    select e.attempt, exists (select from app.leases l where l.tenant_id = tenant and l.attempt_id = e.attempt)
    from jsonb_to_recordset(asked) as e (attempt uuid);
end
$$;

CREATE FUNCTION app.see_users(tenant uuid, ids uuid[], subjects text[], names text[], emails text[], addresses bytea[]) RETURNS TABLE(user_id uuid, subject text, name text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'auto'
    AS $$
#variable_conflict use_column
begin
    perform set_config('app.tenant_id', tenant::text, true);
    return query
    with seen as (
        select distinct on (s.subject) s.user_id, s.subject, s.name, s.email, s.address_hash
        from unnest(ids, subjects, names, emails, addresses) as s (user_id, subject, name, email, address_hash)
        order by s.subject
    ),
    known as (
        insert into app.users as known (tenant_id, user_id, subject, name, email)
        select tenant, s.user_id, s.subject, s.name, s.email
        from seen s
        order by s.subject
        on conflict (tenant_id, subject)
        do update set
            name = coalesce(nullif(excluded.name, ''), known.name),
            email = coalesce(nullif(excluded.email, ''), known.email)
        returning known.user_id, known.subject, known.name, known.xmax = 0 as is_new
    ),
    came as (
        insert into app.user_addresses (tenant_id, address_hash, user_id)
        select tenant, s.address_hash, k.user_id
        from known k
        join seen s on s.subject = k.subject
        where k.is_new and s.address_hash is not null
        on conflict do nothing
    )
    select k.user_id, k.subject, k.name
    from known k;
exception when foreign_key_violation then
    raise exception using errcode = 'AT005', message = 'there is no such tenant';
end
$$;

CREATE FUNCTION app.settle_attempts(tenant uuid, entries jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'auto'
    AS $$
begin
    perform set_config('app.tenant_id', tenant::text, true);
    with ended as (
        delete from app.attempts a
        using jsonb_to_recordset(entries) as e (attempt_id uuid)
        where a.tenant_id = tenant and a.attempt_id = e.attempt_id
        returning a.attempt_id, a.begun_at
    )
    insert into app.usage_events (
        tenant_id, attempt_id, session_id, user_id, key_id, provider, model, input_uncached, cache_read, cache_write_5m, cache_write_1h,
        output_visible, reasoning, price_id, cost_micro_usd, unseen_cost_max_micro_usd, usage_source, unseen_tokens_max, outcome, code,
        first_token_ms, started_at, finished_at
    )
    select tenant, e.attempt_id, e.session_id, e.user_id, e.key_id, e.provider, e.model, e.input_uncached, e.cache_read,
        e.cache_write_5m, e.cache_write_1h, e.output_visible, e.reasoning, e.price_id, e.cost_micro_usd,
        e.unseen_cost_max_micro_usd, e.usage_source, e.unseen_tokens_max, e.outcome, e.code, e.first_token_ms,
        coalesce(d.begun_at, e.started_at), greatest(d.begun_at, e.started_at, e.finished_at)
    from jsonb_to_recordset(entries) as e (
        attempt_id uuid, session_id uuid, user_id uuid, key_id text, provider text, model text, input_uncached bigint,
        cache_read bigint, cache_write_5m bigint, cache_write_1h bigint, output_visible bigint, reasoning bigint, price_id text,
        cost_micro_usd bigint, unseen_cost_max_micro_usd bigint, usage_source text, unseen_tokens_max bigint, outcome text, code text,
        first_token_ms integer, started_at timestamptz, finished_at timestamptz)
    left join ended d on d.attempt_id = e.attempt_id
    order by e.attempt_id
    on conflict (tenant_id, attempt_id) do nothing;
end
$$;

CREATE FUNCTION app.settle_budgets() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform pg_advisory_xact_lock_shared(app.budgets_lock(t.tenant_id))
    from (select distinct n.tenant_id from settled n order by 1) t;
    if not exists (select from app.budgets b join settled n on n.tenant_id = b.tenant_id) then
        return null;
    end if;
    insert into app.budget_windows (tenant_id, budget_id, begins)
    select distinct b.tenant_id, b.budget_id, app.window_begin(b.period, b.created_at, n.started_at)
    from app.budgets b join settled n on n.tenant_id = b.tenant_id
    where app.budget_covers(b.level, b.subject, n.user_id, n.key_id)
        and app.window_begin(b.period, b.created_at, n.started_at) is not null
    order by 1, 2, 3
    on conflict do nothing;
    -- In the order in which everybody locks them.
    perform
    from app.budget_windows w
    where (w.tenant_id, w.budget_id, w.begins) in (
        select b.tenant_id, b.budget_id, app.window_begin(b.period, b.created_at, n.started_at)
        from app.budgets b join settled n on n.tenant_id = b.tenant_id
        where app.budget_covers(b.level, b.subject, n.user_id, n.key_id)
        union
        select l.tenant_id, l.budget_id, l.begins
        from app.leases l join settled n on n.tenant_id = l.tenant_id and n.attempt_id = l.attempt_id)
    order by w.tenant_id, w.budget_id, w.begins
    for update;
    update app.budget_windows w
    set spent_micro_usd = w.spent_micro_usd + moved.cost
    from (
        select b.tenant_id, b.budget_id, app.window_begin(b.period, b.created_at, n.started_at) as begins,
               sum(n.cost_micro_usd)::bigint as cost
        from app.budgets b join settled n on n.tenant_id = b.tenant_id
        where app.budget_covers(b.level, b.subject, n.user_id, n.key_id) and n.cost_micro_usd > 0
        group by 1, 2, 3
    ) moved
    where w.tenant_id = moved.tenant_id and w.budget_id = moved.budget_id and w.begins = moved.begins;
    with ended as (
        delete from app.leases l
        using settled n
        where l.tenant_id = n.tenant_id and l.attempt_id = n.attempt_id
        returning l.tenant_id, l.budget_id, l.begins, l.reserved_micro_usd
    )
    update app.budget_windows w
    set reserved_micro_usd = w.reserved_micro_usd - moved.reserved
    from (select e.tenant_id, e.budget_id, e.begins, sum(e.reserved_micro_usd)::bigint as reserved
          from ended e group by 1, 2, 3) moved
    where w.tenant_id = moved.tenant_id and w.budget_id = moved.budget_id and w.begins = moved.begins;
    return null;
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
   FROM app.document_versions
UNION ALL
 SELECT page_versions.tenant_id,
    'page'::text AS kind,
    page_versions.page_id AS source_id,
    page_versions.version,
    (page_versions.kind = 'delete'::text) AS deleted,
    page_versions.title,
    ''::text AS status,
    page_versions.effective_at,
    page_versions.body
   FROM app.page_versions;

GRANT SELECT ON TABLE app.source_versions TO adriatic_api;
GRANT SELECT ON TABLE app.source_versions TO adriatic_flows;

CREATE TABLE app.space_evaluations (
    tenant_id uuid NOT NULL,
    space text NOT NULL,
    against text NOT NULL,
    ranks integer[] NOT NULL,
    against_ranks integer[] NOT NULL,
    evaluated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT space_evaluations_check CHECK ((cardinality(against_ranks) = cardinality(ranks)))
);

ALTER TABLE ONLY app.space_evaluations FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.space_evaluations
    ADD CONSTRAINT space_evaluations_pkey PRIMARY KEY (tenant_id, space, against);

ALTER TABLE ONLY app.space_evaluations
    ADD CONSTRAINT space_evaluations_tenant_id_space_fkey FOREIGN KEY (tenant_id, space) REFERENCES app.tenant_spaces(tenant_id, space) ON DELETE CASCADE;

CREATE POLICY cdc ON app.space_evaluations FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.space_evaluations TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE app.space_evaluations ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON app.space_evaluations TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE app.space_evaluations TO adriatic_flows;
GRANT SELECT ON TABLE app.space_evaluations TO adriatic_cdc;
GRANT SELECT ON TABLE app.space_evaluations TO adriatic_search;
GRANT SELECT ON TABLE app.space_evaluations TO adriatic_api;

CREATE TABLE app.spend_alerts (
    tenant_id uuid NOT NULL,
    budget_id uuid NOT NULL,
    begins timestamp with time zone NOT NULL,
    percent integer NOT NULL,
    alert_id uuid DEFAULT gen_random_uuid() NOT NULL,
    level text NOT NULL,
    subject text NOT NULL,
    period text NOT NULL,
    limit_micro_usd bigint NOT NULL,
    spent_micro_usd bigint NOT NULL,
    raised_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    routed_at timestamp with time zone,
    CONSTRAINT spend_alerts_percent_check CHECK ((percent = ANY (ARRAY[70, 85, 95, 110])))
);

ALTER TABLE ONLY app.spend_alerts FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.spend_alerts
    ADD CONSTRAINT spend_alerts_pkey PRIMARY KEY (tenant_id, budget_id, begins, percent);

ALTER TABLE ONLY app.spend_alerts
    ADD CONSTRAINT spend_alerts_tenant_id_alert_id_key UNIQUE (tenant_id, alert_id);

CREATE INDEX spend_alerts_recent ON app.spend_alerts USING btree (tenant_id, raised_at, percent, alert_id);

CREATE INDEX spend_alerts_unrouted ON app.spend_alerts USING btree (tenant_id, raised_at) WHERE (routed_at IS NULL);

ALTER TABLE ONLY app.spend_alerts
    ADD CONSTRAINT spend_alerts_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

CREATE POLICY cdc ON app.spend_alerts FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.spend_alerts TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE app.spend_alerts ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON app.spend_alerts TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE ON TABLE app.spend_alerts TO adriatic_flows;
GRANT SELECT ON TABLE app.spend_alerts TO adriatic_cdc;
GRANT SELECT ON TABLE app.spend_alerts TO adriatic_search;
GRANT SELECT,INSERT ON TABLE app.spend_alerts TO adriatic_api;

GRANT UPDATE(routed_at) ON TABLE app.spend_alerts TO adriatic_flows;

CREATE TABLE app.spend_stops (
    tenant_id uuid NOT NULL,
    stop_id uuid DEFAULT gen_random_uuid() NOT NULL,
    level text NOT NULL,
    subject text NOT NULL,
    reason text NOT NULL,
    stopped_by uuid,
    budget_id uuid,
    begins timestamp with time zone,
    stopped_at timestamp with time zone DEFAULT now() NOT NULL,
    ends_at timestamp with time zone,
    resumed_by uuid,
    resumed_at timestamp with time zone,
    resume_reason text DEFAULT ''::text NOT NULL,
    CONSTRAINT spend_stops_check CHECK (((level = 'org'::text) = (subject = ''::text))),
    CONSTRAINT spend_stops_check1 CHECK ((((stopped_by IS NULL) = (budget_id IS NOT NULL)) AND ((budget_id IS NULL) = (begins IS NULL)))),
    CONSTRAINT spend_stops_check2 CHECK (((resumed_by IS NULL) = (resumed_at IS NULL))),
    CONSTRAINT spend_stops_level_check CHECK ((level = ANY (ARRAY['org'::text, 'user'::text, 'key'::text]))),
    CONSTRAINT spend_stops_reason_check CHECK (((length(reason) >= 1) AND (length(reason) <= 500))),
    CONSTRAINT spend_stops_resume_reason_check CHECK ((length(resume_reason) <= 500)),
    CONSTRAINT spend_stops_subject_check CHECK ((length(subject) <= 255))
);

ALTER TABLE ONLY app.spend_stops FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.spend_stops
    ADD CONSTRAINT spend_stops_pkey PRIMARY KEY (tenant_id, stop_id);

CREATE UNIQUE INDEX spend_stops_by_hand ON app.spend_stops USING btree (tenant_id, level, subject) WHERE ((budget_id IS NULL) AND (resumed_at IS NULL));

CREATE UNIQUE INDEX spend_stops_of_budgets ON app.spend_stops USING btree (tenant_id, budget_id, begins) WHERE ((budget_id IS NOT NULL) AND (resumed_at IS NULL));

ALTER TABLE ONLY app.spend_stops
    ADD CONSTRAINT spend_stops_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

ALTER TABLE ONLY app.spend_stops
    ADD CONSTRAINT spend_stops_tenant_id_resumed_by_fkey FOREIGN KEY (tenant_id, resumed_by) REFERENCES app.users(tenant_id, user_id);

ALTER TABLE ONLY app.spend_stops
    ADD CONSTRAINT spend_stops_tenant_id_stopped_by_fkey FOREIGN KEY (tenant_id, stopped_by) REFERENCES app.users(tenant_id, user_id);

CREATE POLICY cdc ON app.spend_stops FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.spend_stops TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE app.spend_stops ENABLE ROW LEVEL SECURITY;

CREATE POLICY telling ON app.spend_stops FOR SELECT TO adriatic_owner USING (true);

CREATE POLICY tenant ON app.spend_stops TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE ON TABLE app.spend_stops TO adriatic_flows;
GRANT SELECT ON TABLE app.spend_stops TO adriatic_cdc;
GRANT SELECT ON TABLE app.spend_stops TO adriatic_search;
GRANT SELECT,INSERT ON TABLE app.spend_stops TO adriatic_api;

GRANT UPDATE(resumed_by) ON TABLE app.spend_stops TO adriatic_api;

GRANT UPDATE(resumed_at) ON TABLE app.spend_stops TO adriatic_api;

GRANT UPDATE(resume_reason) ON TABLE app.spend_stops TO adriatic_api;

CREATE TABLE app.suggestion_answers (
    tenant_id uuid NOT NULL,
    suggestion_id uuid NOT NULL,
    newer_id uuid NOT NULL,
    older_id uuid NOT NULL,
    kind text NOT NULL,
    evidence text NOT NULL,
    reason jsonb NOT NULL,
    state text NOT NULL,
    answered_by text NOT NULL,
    answered_id uuid NOT NULL,
    answered_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT suggestion_answers_evidence_check CHECK ((evidence = ANY (ARRAY['words'::text, 'negation'::text, 'outcome'::text]))),
    CONSTRAINT suggestion_answers_kind_check CHECK ((kind = ANY (ARRAY['supersedes'::text, 'conflicts'::text]))),
    CONSTRAINT suggestion_answers_state_check CHECK ((state = ANY (ARRAY['accepted'::text, 'dismissed'::text])))
);

ALTER TABLE ONLY app.suggestion_answers FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.suggestion_answers
    ADD CONSTRAINT suggestion_answers_pkey PRIMARY KEY (tenant_id, suggestion_id);

CREATE INDEX suggestion_answers_newer ON app.suggestion_answers USING btree (tenant_id, newer_id);

CREATE INDEX suggestion_answers_older ON app.suggestion_answers USING btree (tenant_id, older_id);

ALTER TABLE ONLY app.suggestion_answers
    ADD CONSTRAINT suggestion_answers_tenant_id_newer_id_fkey FOREIGN KEY (tenant_id, newer_id) REFERENCES app.adrs(tenant_id, adr_id);

ALTER TABLE ONLY app.suggestion_answers
    ADD CONSTRAINT suggestion_answers_tenant_id_older_id_fkey FOREIGN KEY (tenant_id, older_id) REFERENCES app.adrs(tenant_id, adr_id);

CREATE POLICY cdc ON app.suggestion_answers FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.suggestion_answers TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE app.suggestion_answers ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON app.suggestion_answers TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT ON TABLE app.suggestion_answers TO adriatic_flows;
GRANT SELECT ON TABLE app.suggestion_answers TO adriatic_cdc;
GRANT SELECT ON TABLE app.suggestion_answers TO adriatic_search;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE app.suggestion_answers TO adriatic_api;

CREATE FUNCTION app.tell_agent_task_over() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform app.emit(
        'agent.task.completed',
        jsonb_build_object('tenant_id', new.tenant_id, 'id', new.job_id),
        new.tenant_id,
        jsonb_build_object(
            'event_id', gen_random_uuid(), 'tenant_id', new.tenant_id,
            'occurred_at', (extract(epoch from clock_timestamp()) * 1000000)::bigint,
            'task_id', new.job_id, 'state', new.state,
            'code', case when new.state = 'failed' then coalesce(new.last_error ->> 'code', '') else '' end,
            'steps', (
                select count(*)
                from app.agent_steps s
                where s.tenant_id = new.tenant_id and s.task_id = new.job_id and s.state <> 'begun'),
            'proposals', (
                select count(*)
                from app.proposals p
                where p.tenant_id = new.tenant_id and p.task_id = new.job_id)),
        case when new.traceparent is null then '{}'::jsonb else jsonb_build_object('traceparent', new.traceparent) end);
    return null;
end
$$;

CREATE TABLE app.tenant_spaces (
    tenant_id uuid NOT NULL,
    space text NOT NULL,
    state text NOT NULL,
    related boolean DEFAULT false NOT NULL,
    job_id uuid,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    changed_by uuid,
    CONSTRAINT tenant_spaces_state_check CHECK ((state = ANY (ARRAY['building'::text, 'ready'::text, 'active'::text, 'former'::text, 'behind'::text, 'dropping'::text])))
);

ALTER TABLE ONLY app.tenant_spaces FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.tenant_spaces
    ADD CONSTRAINT tenant_spaces_pkey PRIMARY KEY (tenant_id, space);

CREATE UNIQUE INDEX tenant_spaces_active ON app.tenant_spaces USING btree (tenant_id) WHERE (state = 'active'::text);

CREATE UNIQUE INDEX tenant_spaces_former ON app.tenant_spaces USING btree (tenant_id) WHERE (state = 'former'::text);

CREATE UNIQUE INDEX tenant_spaces_related ON app.tenant_spaces USING btree (tenant_id) WHERE related;

ALTER TABLE ONLY app.tenant_spaces
    ADD CONSTRAINT tenant_spaces_space_fkey FOREIGN KEY (space) REFERENCES mv.embedding_spaces(space);

ALTER TABLE ONLY app.tenant_spaces
    ADD CONSTRAINT tenant_spaces_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

CREATE POLICY cdc ON app.tenant_spaces FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.tenant_spaces TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.tenant_spaces TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE app.tenant_spaces ENABLE ROW LEVEL SECURITY;

GRANT SELECT,DELETE,UPDATE ON TABLE app.tenant_spaces TO adriatic_flows;
GRANT SELECT ON TABLE app.tenant_spaces TO adriatic_cdc;
GRANT SELECT ON TABLE app.tenant_spaces TO adriatic_search;
GRANT SELECT,INSERT,UPDATE ON TABLE app.tenant_spaces TO adriatic_api;

CREATE TABLE app.tenants (
    tenant_id uuid NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT is_bounded CHECK (((COALESCE(octet_length(slug), 0) + COALESCE(octet_length(name), 0)) <= 983040)),
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
    unseen_tokens_max bigint DEFAULT 0 NOT NULL,
    price_id text,
    unseen_cost_max_micro_usd bigint,
    CONSTRAINT is_bounded CHECK ((((((((COALESCE(octet_length(provider), 0) + COALESCE(octet_length(model), 0)) + COALESCE(octet_length(usage_source), 0)) + COALESCE(octet_length(outcome), 0)) + COALESCE(octet_length(code), 0)) + COALESCE(octet_length(key_id), 0)) + COALESCE(octet_length(price_id), 0)) <= 983040)),
    CONSTRAINT usage_events_cache_read_check CHECK ((cache_read >= 0)),
    CONSTRAINT usage_events_cache_write_1h_check CHECK ((cache_write_1h >= 0)),
    CONSTRAINT usage_events_cache_write_5m_check CHECK ((cache_write_5m >= 0)),
    CONSTRAINT usage_events_check CHECK ((finished_at >= started_at)),
    CONSTRAINT usage_events_cost_micro_usd_check CHECK ((cost_micro_usd >= 0)),
    CONSTRAINT usage_events_first_token_ms_check CHECK ((first_token_ms >= 0)),
    CONSTRAINT usage_events_input_uncached_check CHECK ((input_uncached >= 0)),
    CONSTRAINT usage_events_key_id_check CHECK (((length(key_id) >= 1) AND (length(key_id) <= 255))),
    CONSTRAINT usage_events_outcome_check CHECK ((outcome = ANY (ARRAY['completed'::text, 'failed'::text, 'cancelled'::text]))),
    CONSTRAINT usage_events_output_visible_check CHECK ((output_visible >= 0)),
    CONSTRAINT usage_events_reasoning_check CHECK ((reasoning >= 0)),
    CONSTRAINT usage_events_unseen_cost_max_micro_usd_check CHECK ((unseen_cost_max_micro_usd >= 0)),
    CONSTRAINT usage_events_unseen_tokens_max_check CHECK ((unseen_tokens_max >= 0)),
    CONSTRAINT usage_events_usage_source_check CHECK ((usage_source = ANY (ARRAY['provider'::text, 'partial'::text, 'estimated'::text])))
);

ALTER TABLE ONLY app.usage_events FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.usage_events
    ADD CONSTRAINT usage_events_pkey PRIMARY KEY (tenant_id, attempt_id);

CREATE INDEX usage_events_recent ON app.usage_events USING btree (tenant_id, started_at DESC, attempt_id);

CREATE TRIGGER add_tokens AFTER INSERT ON app.usage_events REFERENCING NEW TABLE AS settled FOR EACH STATEMENT EXECUTE FUNCTION app.count_used_tokens();

CREATE TRIGGER budgets AFTER INSERT ON app.usage_events REFERENCING NEW TABLE AS settled FOR EACH STATEMENT EXECUTE FUNCTION app.settle_budgets();

ALTER TABLE ONLY app.usage_events
    ADD CONSTRAINT usage_events_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(tenant_id);

ALTER TABLE ONLY app.usage_events
    ADD CONSTRAINT usage_events_tenant_id_user_id_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES app.users(tenant_id, user_id);

CREATE POLICY cdc ON app.usage_events FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.usage_events TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.usage_events TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE app.usage_events ENABLE ROW LEVEL SECURITY;

ALTER PUBLICATION adriatic ADD TABLE ONLY app.usage_events;

GRANT SELECT,INSERT ON TABLE app.usage_events TO adriatic_flows;
GRANT SELECT ON TABLE app.usage_events TO adriatic_cdc;
GRANT SELECT ON TABLE app.usage_events TO adriatic_search;
GRANT SELECT,INSERT ON TABLE app.usage_events TO adriatic_api;

CREATE TABLE app.user_addresses (
    tenant_id uuid NOT NULL,
    address_hash bytea NOT NULL,
    user_id uuid NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT user_addresses_address_hash_check CHECK ((length(address_hash) = 16))
);

ALTER TABLE ONLY app.user_addresses FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY app.user_addresses
    ADD CONSTRAINT user_addresses_pkey PRIMARY KEY (tenant_id, address_hash, user_id);

ALTER TABLE ONLY app.user_addresses
    ADD CONSTRAINT user_addresses_tenant_id_user_id_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES app.users(tenant_id, user_id);

CREATE POLICY cdc ON app.user_addresses FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON app.user_addresses TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON app.user_addresses TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE app.user_addresses ENABLE ROW LEVEL SECURITY;

GRANT SELECT,DELETE ON TABLE app.user_addresses TO adriatic_flows;
GRANT SELECT ON TABLE app.user_addresses TO adriatic_cdc;
GRANT SELECT ON TABLE app.user_addresses TO adriatic_search;
GRANT SELECT,INSERT ON TABLE app.user_addresses TO adriatic_api;

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

CREATE INDEX users_by_age ON app.users USING btree (tenant_id, created_at);

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

CREATE FUNCTION app.window_begin(period text, created_at timestamp with time zone, moment timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    RETURN CASE WHEN (period <> 'prepaid'::text) THEN date_trunc(period, moment, 'UTC'::text) WHEN (moment >= created_at) THEN created_at ELSE NULL::timestamp with time zone END;

CREATE FUNCTION app.window_end(period text, begins timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    RETURN CASE WHEN (period <> 'prepaid'::text) THEN (((begins AT TIME ZONE 'UTC'::text) + (('1 '::text || period))::interval) AT TIME ZONE 'UTC'::text) ELSE NULL::timestamp with time zone END;

CREATE FUNCTION mv.active_space(tenant uuid) RETURNS text
    LANGUAGE sql STABLE
    AS $$
    select coalesce(
        (select t.space from app.tenant_spaces t where t.tenant_id = tenant and t.state = 'active'),
        (select p.space from mv.embedding_spaces p where p.active))
$$;

CREATE TABLE mv.activity (
    tenant_id uuid NOT NULL,
    adr_id uuid NOT NULL,
    version integer NOT NULL,
    change text NOT NULL,
    title text NOT NULL,
    status text NOT NULL,
    author text NOT NULL,
    effective_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    CONSTRAINT is_bounded CHECK (((((COALESCE(octet_length(change), 0) + COALESCE(octet_length(title), 0)) + COALESCE(octet_length(status), 0)) + COALESCE(octet_length(author), 0)) <= 983040))
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

CREATE FUNCTION mv.begin_vectors(tenant uuid, of_kind text, of_space text) RETURNS integer
    LANGUAGE plpgsql
    AS $$
declare
    made integer;
begin
    perform pg_advisory_xact_lock(mv.vectors_lock());
    made := nextval('mv.vector_slots');
    perform mv.make_vector_table(made);
    insert into mv.vector_indexes (tenant_id, slot, kind, space, state) values (tenant, made, of_kind, of_space, 'filling');
    return made;
end
$$;

CREATE FUNCTION mv.begin_word_pack(tenant uuid, of_kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform mv.lock_word_totals(tenant, of_kind);
    insert into mv.word_packs (tenant_id, kind, state) values (tenant, of_kind, 'filling');
end
$$;

CREATE FUNCTION mv.build_vector_graph(slot integer, dimension integer, memory_mb integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    SET max_parallel_maintenance_workers TO '1'
    AS $_$
begin
    perform set_config('maintenance_work_mem', memory_mb || 'MB', true);
    execute format(
        'create index if not exists vectors_%1$s_graph on mv.vectors_%1$s '
        'using hnsw ((embedding::halfvec(%2$s)) halfvec_cosine_ops) with (m = 24, ef_construction = 128)', slot, dimension);
end
$_$;

REVOKE ALL ON FUNCTION mv.build_vector_graph(slot integer, dimension integer, memory_mb integer) FROM PUBLIC;
GRANT ALL ON FUNCTION mv.build_vector_graph(slot integer, dimension integer, memory_mb integer) TO adriatic_flows;

CREATE FUNCTION mv.catch_up_vectors(tenant uuid, of_slot integer, passages_max integer) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
declare
    one mv.vector_indexes;
    changed constant uuid[] := mv.changed_vectors(tenant, of_slot, passages_max);
    next uuid[];
begin
    select * into one from mv.vector_indexes i where i.tenant_id = tenant and i.slot = of_slot and i.state = 'building';
    next := mv.within_passages(tenant, one.kind, changed, passages_max);
    if cardinality(next) = cardinality(changed) then
        return false;
    end if;
    -- First the source and then its note, as flows do.
    perform mv.lock_sources(tenant, one.kind, next);
    delete from mv.vector_changes where tenant_id = tenant and slot = of_slot and source_id = any (next);
    perform mv.write_vectors(tenant, of_slot, one.kind, one.space, next);
    return true;
end
$$;

CREATE FUNCTION mv.changed_vectors(tenant uuid, of_slot integer, passages_max integer) RETURNS uuid[]
    LANGUAGE sql STABLE
    RETURN ARRAY(SELECT c.source_id FROM mv.vector_changes c WHERE ((c.tenant_id = changed_vectors.tenant) AND (c.slot = changed_vectors.of_slot)) ORDER BY c.source_id LIMIT (changed_vectors.passages_max + 1));

CREATE FUNCTION mv.chunk_length(tsv tsvector) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (SELECT COALESCE(sum((cardinality(unnest.positions) - cardinality(array_positions(unnest.weights, 'C'::text)))), (0)::bigint) AS "coalesce" FROM unnest(chunk_length.tsv) unnest(lexeme, positions, weights) WHERE (NOT mv.is_marked_stem(unnest.lexeme)));

CREATE FUNCTION mv.chunk_tsv(ordinal integer, title text, heading_path text, body text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (SELECT (((((((setweight(to_tsvector('english'::regconfig, split_part(one.shown, ''::text, 1)), 'A'::"char") || setweight(to_tsvector('english'::regconfig, split_part(chunk_tsv.heading_path, ''::text, 1)), 'B'::"char")) || to_tsvector('english'::regconfig, split_part(chunk_tsv.body, ''::text, 1))) || setweight(to_tsvector('simple'::regconfig, mv.stop_words(split_part(one.shown, ''::text, 1))), 'A'::"char")) || setweight(to_tsvector('english'::regconfig, concat_ws(' '::text, split_part(one.shown, ''::text, 2), split_part(chunk_tsv.heading_path, ''::text, 2), split_part(chunk_tsv.body, ''::text, 2))), 'C'::"char")) || setweight(to_tsvector('simple'::regconfig, split_part(one.shown, ''::text, 3)), 'A'::"char")) || setweight(to_tsvector('simple'::regconfig, split_part(chunk_tsv.heading_path, ''::text, 3)), 'B'::"char")) || to_tsvector('simple'::regconfig, split_part(chunk_tsv.body, ''::text, 3))) FROM (SELECT CASE WHEN (chunk_tsv.ordinal = 0) THEN chunk_tsv.title ELSE ''::text END AS shown) one);

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

CREATE FUNCTION mv.derive_words(tenants uuid[], kinds text[], ids uuid[]) RETURNS TABLE(tenant_id uuid, kind text, source_id uuid, version bigint, length integer, words tsvector, counts jsonb)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select s.tenant_id, s.kind, s.source_id, s.words_version, s.length, found.words, found.counts
    from (
        select distinct w.tenant_id, w.kind, w.source_id
        from unnest(tenants, kinds, ids) as w (tenant_id, kind, source_id)
    ) as w
    join mv.search_state s on s.tenant_id = w.tenant_id and s.kind = w.kind and s.source_id = w.source_id
    cross join lateral (
        select
            mv.word_prefix(w.tenant_id, w.kind) as prefix,
            (select array_agg(said order by n) from (
                select n, string_agg(n::text, ',') over (order by n) as said from generate_series(1, 31) as n) as one) as places
        offset 0
    ) as own
    cross join lateral (
        select
            coalesce(string_agg(
                '''' || own.prefix || replace(replace(lexeme, '\', '\\'), '''', '''''') || E'\x01'
                    || chr(97 + mv.word_tier(count, s.length)) || ''':'
                    || case when count = 0.25 then '1C' else coalesce(own.places[count::integer], '1') end,
                ' '), '')::tsvector as words,
            jsonb_object_agg(lexeme, count)
                filter (where count <> 0.25 and (count > 31 or count <> trunc(count))) as counts
        from (
            -- As mv.search_words_exact counts: 64 times in a chunk at most, a quarter for what stands only beside the words,
            -- two more in the title.
            select
                mv.word_key(t.lexeme) as lexeme,
                sum(
                    case
                        when 'C' = any (t.weights)
                        then greatest(
                            least(cardinality(t.positions) - cardinality(array_positions(t.weights, 'C')), 64), 0.25)
                        else least(cardinality(t.positions), 64)
                    end
                    + case when c.ordinal = 0 and 'A' = any (t.weights) then 2 else 0 end
                )::double precision as count
            from mv.chunks c, unnest(c.tsv) as t (lexeme, positions, weights)
            where c.tenant_id = s.tenant_id and c.kind = s.kind and c.source_id = s.source_id
                and c.version = s.words_version
            group by t.lexeme
            order by count desc, t.lexeme collate "C"
            limit 8000
        ) as counted
    ) as found
    where not s.deleted and s.chunks > 0
$$;

CREATE FUNCTION mv.drop_vector_table(slot integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '200ms'
    AS $$
begin
    execute format('drop table mv.vectors_%s', slot);
    return true;
exception when lock_not_available then
    return false;
end
$$;

REVOKE ALL ON FUNCTION mv.drop_vector_table(slot integer) FROM PUBLIC;
GRANT ALL ON FUNCTION mv.drop_vector_table(slot integer) TO adriatic_flows;

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
    count bigint NOT NULL,
    CONSTRAINT is_bounded CHECK (((COALESCE(octet_length(kind), 0) + COALESCE(octet_length(label), 0)) <= 983040))
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
    last_accepted_at timestamp with time zone,
    CONSTRAINT is_bounded CHECK ((COALESCE(octet_length((rejected_by)::text), 0) <= 983040))
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

CREATE FUNCTION mv.fill_vectors(tenant uuid, of_slot integer, passages_max integer) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
declare
    one mv.vector_indexes;
    next uuid[];
begin
    select * into one from mv.vector_indexes i where i.tenant_id = tenant and i.slot = of_slot and i.state = 'filling';
    if not found then
        return false;
    end if;
    next := mv.within_passages(tenant, one.kind, array(
        select s.source_id
        from mv.search_state s
        where s.tenant_id = tenant and s.kind = one.kind and (one.filled_to is null or s.source_id > one.filled_to)
        order by s.source_id
        limit passages_max
    ), passages_max);
    if cardinality(next) = 0 then
        perform pg_advisory_xact_lock(mv.vectors_lock());
        update mv.vector_indexes set state = 'building' where tenant_id = tenant and slot = of_slot;
        return false;
    end if;
    perform mv.lock_sources(tenant, one.kind, next);
    perform mv.keep_vectors(array_fill(tenant, array[cardinality(next)]), array_fill(one.kind, array[cardinality(next)]), next);
    update mv.vector_indexes set filled_to = next[cardinality(next)] where tenant_id = tenant and slot = of_slot;
    return true;
end
$$;

CREATE FUNCTION mv.is_half_a_pair(lexeme text) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ((length(lexeme) = 1) AND (ascii(lexeme) >= 12288));

CREATE FUNCTION mv.is_marked_stem(lexeme text) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ("left"(lexeme, 1) = 'þ'::text);

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
    occurred_at timestamp with time zone NOT NULL,
    CONSTRAINT is_bounded CHECK (((((((COALESCE(octet_length(kind), 0) + COALESCE(octet_length(state), 0)) + COALESCE(octet_length(stage), 0)) + COALESCE(octet_length(unit), 0)) + COALESCE(octet_length(code), 0)) + COALESCE(octet_length(message), 0)) <= 983040))
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

CREATE FUNCTION mv.keep_source_words(tenants uuid[], kinds text[], ids uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    gone record;
begin
    insert into mv.word_totals (tenant_id, kind, sources, length)
    select distinct w.tenant_id, w.kind, 0, 0
    from unnest(tenants, kinds) as w (tenant_id, kind)
    order by w.tenant_id, w.kind
    on conflict do nothing;
    perform
    from mv.word_totals t
    where (t.tenant_id, t.kind) in (select w.tenant_id, w.kind from unnest(tenants, kinds) as w (tenant_id, kind))
    order by t.tenant_id, t.kind
    for update;

    with after as materialized (
        select d.* from mv.derive_words(tenants, kinds, ids) as d
    ),
    before as materialized (
        select o.tenant_id, o.kind, o.source_id, o.length, o.words
        from (
            select distinct w.tenant_id, w.kind, w.source_id
            from unnest(tenants, kinds, ids) as w (tenant_id, kind, source_id)
        ) as w
        join mv.source_words o on o.tenant_id = w.tenant_id and o.kind = w.kind and o.source_id = w.source_id
    ),
    removed as (
        delete from mv.source_words o
        using before b
        where o.tenant_id = b.tenant_id and o.kind = b.kind and o.source_id = b.source_id
            and not exists (
                select from after a where a.tenant_id = b.tenant_id and a.kind = b.kind and a.source_id = b.source_id)
    ),
    written as (
        insert into mv.source_words as o (tenant_id, kind, source_id, version, length, words, counts)
        select a.tenant_id, a.kind, a.source_id, a.version, a.length, a.words, a.counts from after a
        on conflict (tenant_id, kind, source_id)
        do update set
            version = excluded.version, length = excluded.length, words = excluded.words, counts = excluded.counts
        where (o.version, o.length, o.words, o.counts)
            is distinct from (excluded.version, excluded.length, excluded.words, excluded.counts)
    ),
    totalled as (
        update mv.word_totals t
        set sources = t.sources + d.sources, length = t.length + d.length
        from (
            select one.tenant_id, one.kind, sum(one.n) as sources, sum(one.n * one.length) as length
            from (
                select a.tenant_id, a.kind, 1 as n, a.length from after a
                union all
                select b.tenant_id, b.kind, -1, b.length from before b
            ) as one
            group by one.tenant_id, one.kind
        ) as d
        where t.tenant_id = d.tenant_id and t.kind = d.kind and (d.sources <> 0 or d.length <> 0)
    ),
    counted as (
        insert into mv.word_stats as s (tenant_id, kind, lexeme, tier, sources)
        select one.tenant_id, one.kind, left(substr(one.key, 6), -2), ascii(right(one.key, 1)) - 97, sum(one.n)
        from (
            select a.tenant_id, a.kind, 1 as n, unnest(tsvector_to_array(a.words)) as key from after a
            union all
            select b.tenant_id, b.kind, -1, unnest(tsvector_to_array(b.words)) from before b
        ) as one
        group by one.tenant_id, one.kind, one.key
        having sum(one.n) <> 0
        order by 1, 2, 3, 4
        on conflict (tenant_id, kind, lexeme, tier) do update set sources = s.sources + excluded.sources
        returning s.tenant_id, s.kind, s.lexeme, s.tier, s.sources
    )
    select
        array_agg(c.tenant_id) as tenants, array_agg(c.kind) as kinds, array_agg(c.lexeme) as lexemes, array_agg(c.tier) as tiers
    into gone
    from counted c where c.sources = 0;

    delete from mv.word_stats s
    using unnest(gone.tenants, gone.kinds, gone.lexemes, gone.tiers) as g (tenant_id, kind, lexeme, tier)
    where s.tenant_id = g.tenant_id and s.kind = g.kind and s.lexeme = g.lexeme collate "C" and s.tier = g.tier;
end
$$;

REVOKE ALL ON FUNCTION mv.keep_source_words(tenants uuid[], kinds text[], ids uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION mv.keep_source_words(tenants uuid[], kinds text[], ids uuid[]) TO adriatic_flows;

CREATE FUNCTION mv.keep_vectors(tenants uuid[], kinds text[], sources uuid[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
    one record;
    changed uuid[];
begin
    perform pg_advisory_xact_lock_shared(mv.vectors_lock());
    for one in
        select i.* from mv.vector_indexes i where i.tenant_id = any (tenants) order by i.tenant_id, i.slot
    loop
        changed := array(
            select distinct c.source_id
            from unnest(tenants, kinds, sources) as c (tenant_id, kind, source_id)
            where c.tenant_id = one.tenant_id and c.kind = one.kind
        );
        continue when cardinality(changed) = 0;
        if one.state = 'building' then
            insert into mv.vector_changes (tenant_id, slot, source_id)
            select one.tenant_id, one.slot, unnest(changed)
            on conflict do nothing;
        else
            perform mv.write_vectors(one.tenant_id, one.slot, one.kind, one.space, changed);
        end if;
    end loop;
end
$$;

CREATE FUNCTION mv.keep_words(tenants uuid[], kinds text[], ids uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform mv.keep_source_words(tenants, kinds, ids);
    insert into mv.word_changes (tenant_id, kind, source_id, change)
    select w.tenant_id, w.kind, w.source_id, nextval('mv.word_change_numbers')
    from (
        select distinct k.tenant_id, k.kind, k.source_id
        from unnest(tenants, kinds, ids) as k (tenant_id, kind, source_id)
        join mv.word_packs p on p.tenant_id = k.tenant_id and p.kind = k.kind
        order by 1, 2, 3
    ) as w
    on conflict (tenant_id, kind, source_id) do update set change = excluded.change;
end
$$;

REVOKE ALL ON FUNCTION mv.keep_words(tenants uuid[], kinds text[], ids uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION mv.keep_words(tenants uuid[], kinds text[], ids uuid[]) TO adriatic_flows;

CREATE FUNCTION mv.kept_spaces(tenant uuid) RETURNS TABLE(space text, complete boolean)
    LANGUAGE sql STABLE ROWS 2
    AS $$
    select t.space, t.state <> 'building'
    from app.tenant_spaces t
    where t.tenant_id = tenant and t.state in ('building', 'ready', 'active', 'former')
    union all
    select p.space, true
    from mv.embedding_spaces p
    where p.active and not exists (select from app.tenant_spaces t where t.tenant_id = tenant and t.state = 'active')
$$;

CREATE FUNCTION mv.leave_vectors(tenant uuid, of_slot integer) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    perform pg_advisory_xact_lock(mv.vectors_lock());
    delete from mv.vector_changes where tenant_id = tenant and slot = of_slot;
    delete from mv.search_recall where tenant_id = tenant and slot = of_slot;
    delete from mv.vector_indexes where tenant_id = tenant and slot = of_slot;
end
$$;

CREATE FUNCTION mv.leave_word_pack(tenant uuid, of_kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform mv.lock_word_totals(tenant, of_kind);
    delete from mv.word_changes c where c.tenant_id = tenant and c.kind = of_kind;
    delete from mv.word_packs p where p.tenant_id = tenant and p.kind = of_kind;
end
$$;

CREATE FUNCTION mv.lexeme_count(tsv tsvector, query tsquery, buckets double precision[]) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN width_bucket((ts_rank('{1,0,1,1}'::real[], tsv, query))::double precision, buckets);

CREATE FUNCTION mv.lexeme_count_buckets() RETURNS double precision[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY(SELECT (((sum((1.0 / ((n.n * n.n))::numeric)) OVER (ORDER BY n.n) - (0.5 / ((n.n * n.n))::numeric)))::double precision / (1.64493406685)::double precision) FROM generate_series(1, 64) n(n) ORDER BY n.n);

CREATE FUNCTION mv.lexeme_query(lexeme text) RETURNS tsquery
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (((''''::text || replace(replace(lexeme, '\'::text, '\\'::text), ''''::text, ''''''::text)) || ''''::text))::tsquery;

CREATE FUNCTION mv.lock_sources(tenant uuid, of_kind text, sources uuid[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    perform from mv.search_state s
    where s.tenant_id = tenant and s.kind = of_kind and s.source_id = any (sources)
    order by s.tenant_id, s.kind, s.source_id
    for update of s;
end
$$;

CREATE FUNCTION mv.lock_word_totals(tenant uuid, of_kind text) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT
    FROM mv.word_totals t
   WHERE ((t.tenant_id = lock_word_totals.tenant) AND (t.kind = lock_word_totals.of_kind))
  FOR UPDATE OF t;
END;

CREATE FUNCTION mv.make_vector_table(slot integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    name constant text := format('mv.vectors_%s', slot);
begin
    -- Made beside the parent and then attached: nobody who reads another partition waits.
    execute format('create table %s (like mv.vectors including all)', name);
    execute format('call app.protect(%L)', name);
    execute format('alter table mv.vectors attach partition %s for values in (%s)', name, slot);
end
$$;

REVOKE ALL ON FUNCTION mv.make_vector_table(slot integer) FROM PUBLIC;
GRANT ALL ON FUNCTION mv.make_vector_table(slot integer) TO adriatic_flows;

CREATE FUNCTION mv.measure_recall(tenant uuid, of_slot integer, queries_max integer) RETURNS TABLE(queries integer, recall double precision)
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    one mv.vector_indexes;
    dimension integer;
begin
    select * into one from mv.vector_indexes i where i.tenant_id = tenant and i.slot = of_slot and i.state = 'live';
    select p.dimension into dimension from mv.embedding_spaces p where p.space = one.space;
    return query
    with drawn as materialized (
        select v.source_id, v.text_hash, v.embedding
        from mv.vectors v tablesample system (least(100, 1000.0 * queries_max / greatest(one.passages, 1)))
        where v.slot = of_slot and v.tenant_id = tenant
        order by random()
        limit queries_max
    ),
    compared as materialized (
        select
            (
                select max(best.distance)
                from (
                    select (v.embedding <=> d.embedding) + 0 as distance
                    from mv.vectors v
                    where v.slot = of_slot and v.tenant_id = tenant
                        and (v.source_id, v.text_hash) <> (d.source_id, d.text_hash)
                    order by 1
                    limit 10
                ) best
            ) as tenth,
            array(
                select f.embedding <=> d.embedding
                from mv.vectors_by_graph(tenant, of_slot, dimension, one.kind, d.embedding, null, 200) g
                join mv.vectors f
                    on f.tenant_id = tenant and f.slot = of_slot and f.source_id = g.source_id and f.text_hash = g.text_hash
                where (g.source_id, g.text_hash) <> (d.source_id, d.text_hash)
                order by 1
                limit 10
            ) as distances
        from drawn d
    )
    select
        count(*)::integer,
        avg((select count(*) from unnest(c.distances) as near (distance) where near.distance <= c.tenth + 1e-6)
            / least(10.0, one.passages - 1))::double precision
    from compared c;
end
$$;

CREATE FUNCTION mv.measured_passages(of_kind text, of_space text, query public.vector, sources uuid[], hashes bytea[], chunks_max integer) RETURNS TABLE(source_id uuid, version bigint, ordinal integer, distance double precision, alone boolean)
    LANGUAGE sql STABLE ROWS 100
    AS $$
    select c.source_id, c.version, c.ordinal, (e.embedding <=> query) + 0 as distance, s.chunks = 1
    from unnest(sources, hashes) as near (source_id, text_hash)
    join mv.search_state s on s.tenant_id = app.current_tenant() and s.kind = of_kind and s.source_id = near.source_id
    join mv.chunks c
        on c.tenant_id = s.tenant_id and c.kind = s.kind and c.source_id = s.source_id and c.version = s.meaning_version
        and c.text_hash = near.text_hash
    join mv.embeddings e on e.tenant_id = s.tenant_id and e.space = of_space and e.text_hash = near.text_hash
    where not s.deleted
    order by distance, c.source_id, c.ordinal
    limit chunks_max
$$;

CREATE FUNCTION mv.name_query(phrase text, in_one text) RETURNS tsquery
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (CASE numnode(phraseto_tsquery('english'::regconfig, phrase)) WHEN numnode(phraseto_tsquery('simple'::regconfig, phrase)) THEN phraseto_tsquery('english'::regconfig, phrase) ELSE ''::tsquery END || phraseto_tsquery('english'::regconfig, in_one));

CREATE FUNCTION mv.nearest_exact(of_kind text, of_space text, query public.vector, ids uuid[], filter jsonb, chunks_max integer) RETURNS TABLE(source_id uuid, version bigint, ordinal integer, distance double precision, alone boolean)
    LANGUAGE plpgsql STABLE ROWS 100
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    tenant constant uuid := app.current_tenant();
begin
    -- `+ 0`: of no index's order, whatever indexes there are.
    return query
    select near.source_id, near.version, near.ordinal, near.distance, near.alone
    from (
        select c.source_id, c.version, c.ordinal, (e.embedding <=> query) + 0 as distance, s.chunks = 1 as alone
        from mv.search_state s
        join mv.chunks c
            on c.tenant_id = s.tenant_id and c.kind = s.kind and c.source_id = s.source_id and c.version = s.meaning_version
        join mv.embeddings e on e.tenant_id = c.tenant_id and e.text_hash = c.text_hash
        where s.tenant_id = tenant and c.tenant_id = tenant and e.tenant_id = tenant
            and s.kind = of_kind and e.space = of_space and not s.deleted
            and (ids is null or s.source_id = any (ids))
        order by distance, c.source_id, c.ordinal
        limit case when filter is null then chunks_max else 100000 end
    ) near
    where filter is null or mv.search_passes(filter, of_kind, near.source_id)
    limit chunks_max;
end
$$;

CREATE FUNCTION mv.pack_words(tenant uuid, of_kind text, sources uuid[]) RETURNS TABLE(place integer, key text, count real)
    LANGUAGE sql STABLE ROWS 1e+06
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select t.place, u.key,
        coalesce(
            (t.counts ->> u.key)::real, case when u.weights[1] = 'C' then 0.25 else cardinality(u.positions) end::real)
    from (
        select (a.n - 1)::integer as place, w.words, w.counts
        from unnest(sources) with ordinality as a (source_id, n)
        join mv.source_words w on w.tenant_id = tenant and w.kind = of_kind and w.source_id = a.source_id
        offset 0
    ) as t
    cross join lateral (
        select left(substr(one.lexeme, 6), -2) as key, one.positions, one.weights
        from unnest(t.words) as one (lexeme, positions, weights)
        offset 0
    ) as u
$$;

CREATE FUNCTION mv.put_live_vectors(tenant uuid, of_slot integer, passages_max integer) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
declare
    one mv.vector_indexes;
    changed uuid[];
    next uuid[];
begin
    perform pg_advisory_xact_lock(mv.vectors_lock());
    select * into one from mv.vector_indexes i where i.tenant_id = tenant and i.slot = of_slot and i.state = 'building';
    if not found then
        return true;
    end if;
    changed := mv.changed_vectors(tenant, of_slot, passages_max);
    next := mv.within_passages(tenant, one.kind, changed, passages_max);
    if cardinality(next) < cardinality(changed) then
        return false;
    end if;
    perform mv.write_vectors(tenant, of_slot, one.kind, one.space, next);
    delete from mv.vector_changes where tenant_id = tenant and slot = of_slot;
    delete from mv.vector_indexes
    where tenant_id = tenant and kind = one.kind and space = one.space and state = 'live';
    update mv.vector_indexes
    set state = 'live', removed = 0, live_at = clock_timestamp()
    where tenant_id = tenant and slot = of_slot;
    return true;
end
$$;

CREATE FUNCTION mv.rank_by_words(wanted text[], kinds text[], ids uuid[], only_kind text, sources_max integer, proved_max integer) RETURNS TABLE(kind text, source_id uuid, version bigint, score double precision, candidates integer, proved boolean)
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    SET enable_seqscan TO 'off'
    AS $_$
#variable_conflict use_column
declare
    first_max constant integer := 2000;
    second_max constant integer := 2500;
    read_max constant integer := 150000;
    candidates_max constant integer := 6000;
    tenant constant uuid := app.current_tenant();
    terms record;
    lists record;
    asked tsquery[];
    complete boolean;
    others record;
    factor double precision;
    factors constant double precision[] := '{1, 1.2, 1.4}';
    need double precision;
    places text;
    new_ids uuid[];
    new_kinds text[];
    new_versions bigint[];
    new_scores double precision[];
    found_ids uuid[] := '{}';
    found_kinds text[] := '{}';
    found_versions bigint[] := '{}';
    found_scores double precision[] := '{}';
begin
    if tenant is null then
        return;
    end if;
    select array_agg(t.kind) as kinds, array_agg(t.key) as keys, array_agg(mv.word_query(t.prefix, t.key, null)) as queries,
        array_agg(t.idf) as idfs, array_agg(t.average) as averages
    into terms
    from mv.word_terms(wanted, only_kind) as t;
    if terms.kinds is null then
        return;
    end if;
    if ids is null then
        select array_agg(p.key::tsquery) filter (where p.first) as firsts, bool_and(p.first) as complete,
            array_agg(p.kind) filter (where not p.first) as kinds, array_agg(p.n) filter (where not p.first) as ns,
            array_agg(p.key) filter (where not p.first) as keys, array_agg(p.upper) filter (where not p.first) as uppers,
            array_agg(p.sources) filter (where not p.first) as sources, array_agg(p.texts) filter (where not p.first) as texts
        into lists
        from mv.word_postings(wanted, only_kind, first_max) as p;
        asked := lists.firsts;
        complete := lists.complete;
    else
        complete := true;
    end if;
    loop
        -- One bitmap of one look-up each: as alternatives of one query, all would be looked at for each source of any. The
        -- tenant is asked for outside, lest a bitmap of all that it has be made beside them.
        places := case when ids is null
            then (
                select format('(select * from mv.source_words where %s offset 0)', string_agg(format('words @@ $10[%s]', n), ' or '))
                from generate_subscripts(asked, 1) as n)
            else '(select s.* from mv.source_words s where s.tenant_id = $1 and (s.kind, s.source_id) in (select * from unnest($11, $12)))'
            end;
        execute format($query$
            select array_agg(kind), array_agg(source_id), array_agg(version), array_agg(score)
            from (
                select c.kind, c.source_id, c.version,
                    sum(t.idf * n.count * 2.5 / (n.count + 1.5 * (0.25 + 0.75 * c.length / t.average))) as score
                from (
                    select w.kind, w.source_id, w.version, w.length, w.words || ''::tsvector as words, w.counts || '{}'::jsonb as counts
                    from %s as w
                    where w.tenant_id = $1
                    limit $2
                ) as c
                join unnest($3, $4, $5, $6, $7) as t (kind, key, query, idf, average)
                    on t.kind = c.kind and c.words @@ t.query
                cross join lateral (
                    select coalesce(
                        (c.counts ->> t.key)::double precision, greatest(mv.lexeme_count(c.words, t.query, $8), 0.25)) as count
                    offset 0
                ) as n
                group by c.kind, c.source_id, c.version
            ) as scored
            where (kind, source_id) not in (select * from unnest($9, $13))
            $query$, places)
        into new_kinds, new_ids, new_versions, new_scores
        using tenant, case when ids is null then candidates_max end, terms.kinds, terms.keys, terms.queries, terms.idfs,
            terms.averages, mv.lexeme_count_buckets(), found_kinds, asked, kinds, ids, found_ids;
        exit when new_ids is null and found_ids = '{}';
        complete := complete and coalesce(cardinality(new_ids), 0) < candidates_max;
        found_kinds := found_kinds || new_kinds;
        found_ids := found_ids || new_ids;
        found_versions := found_versions || new_versions;
        found_scores := found_scores || new_scores;
        exit when complete or need is not null;
        need := coalesce((select s from unnest(found_scores) as s order by s desc offset proved_max - 1 limit 1), 0) - 1e-9;
        -- Whatever could reach it, which proves the rest worse; where that is too much to read, what could reach somewhat more.
        foreach factor in array factors loop
            select c.queries, c.complete into others
            from mv.word_combinations(
                lists.kinds, lists.ns, lists.keys, lists.uppers, lists.sources, lists.texts, need * factor, second_max, read_max) as c;
            exit when factor > 1 and others.queries is null;
            asked := others.queries;
            complete := factor = 1 and others.complete;
            exit when others.complete;
        end loop;
        exit when asked is null;
    end loop;
    return query
    -- Rounded, so that the order in which a plan adds up cannot decide a tie.
    select f.kind, f.source_id, f.version, round(f.score::numeric, 9)::double precision, cardinality(found_ids), complete
    from unnest(found_kinds, found_ids, found_versions, found_scores) as f (kind, source_id, version, score)
    join mv.search_state s
        on s.tenant_id = tenant and s.kind = f.kind and s.source_id = f.source_id and s.words_version = f.version
    where not s.deleted
        and f.score >= coalesce(
            (select x from unnest(found_scores) as x order by x desc offset sources_max - 1 limit 1), 0) - 1e-8
    order by 4 desc, f.kind, f.source_id
    limit sources_max;
end
$_$;


ALTER FUNCTION mv.rank_by_words(wanted text[], kinds text[], ids uuid[], only_kind text, sources_max integer, proved_max integer) OWNER TO adriatic_search;

REVOKE ALL ON FUNCTION mv.rank_by_words(wanted text[], kinds text[], ids uuid[], only_kind text, sources_max integer, proved_max integer) FROM PUBLIC;
GRANT ALL ON FUNCTION mv.rank_by_words(wanted text[], kinds text[], ids uuid[], only_kind text, sources_max integer, proved_max integer) TO adriatic_api;
GRANT ALL ON FUNCTION mv.rank_by_words(wanted text[], kinds text[], ids uuid[], only_kind text, sources_max integer, proved_max integer) TO adriatic_flows;

CREATE FUNCTION mv.rank_words(query text, kinds text[], ids uuid[], filter jsonb, sources_max integer) RETURNS TABLE(kind text, source_id uuid, score double precision, candidates integer, proved boolean, wanted text[], ordinal integer, terms text[])
    LANGUAGE plpgsql STABLE ROWS 100
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
#variable_conflict use_column
declare
    proved_max constant integer := 10;
    -- Candidates that a filter is asked about, best first: each is a look-up of its own.
    filtered_max constant integer := 2000;
    -- Sources of a tenant for which the loose forms are what they are in the reference.
    exact_max constant integer := 4000;
    tenant constant uuid := app.current_tenant();
    exact constant text[] := mv.search_terms(query);
    asked text[] := exact;
    loose boolean := exists (select from unnest(exact) as lexeme where mv.is_half_a_pair(lexeme));
begin
    loop
        if loose then
            if (select sum(t.sources) from mv.word_totals t where t.tenant_id = tenant) <= exact_max then
                return query
                select e.kind, e.source_id, e.score, null::integer, true, asked, e.ordinal, e.terms
                from mv.search_words_exact(query, kinds, ids, case when filter is null then sources_max else exact_max end) as e
                where filter is null or mv.search_passes(filter, e.kind, e.source_id)
                order by e.score desc, e.kind, e.source_id
                limit sources_max;
                return;
            end if;
            asked := mv.word_beginnings(
                case when asked = exact and exists (select from unnest(exact) as lexeme where mv.is_half_a_pair(lexeme))
                    then exact else mv.search_beginnings(exact) end);
        end if;
        return query
        select r.kind, r.source_id, r.score, r.candidates, r.proved and filter is null, asked, null::integer, null::text[]
        from mv.rank_by_words(
            asked, kinds, ids, filter ->> 'kind',
            case when filter is null then sources_max else filtered_max end,
            case when filter is null then proved_max else filtered_max end) as r
        where filter is null or mv.search_passes(filter, r.kind, r.source_id)
        order by r.score desc, r.kind, r.source_id
        limit sources_max;
        exit when found or loose;
        loose := true;
    end loop;
end
$$;

REVOKE ALL ON FUNCTION mv.rank_words(query text, kinds text[], ids uuid[], filter jsonb, sources_max integer) FROM PUBLIC;
GRANT ALL ON FUNCTION mv.rank_words(query text, kinds text[], ids uuid[], filter jsonb, sources_max integer) TO adriatic_api;

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
    links_from text[] NOT NULL,
    CONSTRAINT is_bounded CHECK (((((COALESCE(octet_length(kind), 0) + COALESCE(octet_length((terms)::text), 0)) + COALESCE(octet_length((links_to)::text), 0)) + COALESCE(octet_length((links_from)::text), 0)) <= 983040))
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

CREATE TABLE mv.related_routes (
    tenant_id uuid NOT NULL
);

ALTER TABLE ONLY mv.related_routes FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.related_routes
    ADD CONSTRAINT related_routes_pkey PRIMARY KEY (tenant_id);

CREATE POLICY cdc ON mv.related_routes FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.related_routes TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE mv.related_routes ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON mv.related_routes TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE ON TABLE mv.related_routes TO adriatic_flows;
GRANT SELECT ON TABLE mv.related_routes TO adriatic_cdc;
GRANT SELECT ON TABLE mv.related_routes TO adriatic_search;

CREATE FUNCTION mv.related_space(tenant uuid) RETURNS text
    LANGUAGE sql STABLE
    AS $$
    select coalesce(
        (select t.space from app.tenant_spaces t where t.tenant_id = tenant and t.related),
        (select p.space from mv.embedding_spaces p where p.active))
$$;

CREATE FUNCTION mv.search_beginnings(terms text[]) RETURNS text[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ARRAY(SELECT DISTINCT "left"(term.term, GREATEST(4, (ceil((0.75 * (length(term.term))::numeric)))::integer)) AS "left" FROM unnest(search_beginnings.terms) term(term) WHERE ((term.term !~ '[0-9]'::text) AND (length(term.term) >= 4) AND (NOT mv.is_marked_stem(term.term))));

CREATE FUNCTION mv.search_meaning(embedding_space text, embedding public.vector, kinds text[], ids uuid[], filter jsonb, chunks_max integer) RETURNS TABLE(kind text, source_id uuid, version bigint, ordinal integer, score double precision, route text, second double precision)
    LANGUAGE plpgsql STABLE ROWS 100
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
#variable_conflict use_column
declare
    tenant constant uuid := app.current_tenant();
    half constant halfvec := search_meaning.embedding::halfvec;
    -- Texts that are looked up in full precision: what half precision puts in another place is near the last of them. The walk
    -- through the graph has 400 candidates for these (mv.vectors_by_graph).
    texts_max constant integer := chunks_max + 20;
    one text := '';
    allowed uuid[];
    slot integer;
    there bigint;
    sources uuid[];
    hashes bytea[];
    way text;
begin
    loop
        -- Kind by kind through the key: a tenant's rows are not counted to find out which kinds they are of.
        one := (select min(s.kind) from mv.search_state s where s.tenant_id = tenant and s.kind > one);
        exit when one is null;
        continue when filter ->> 'kind' <> one;
        if ids is not null then
            allowed := array(select p.id from unnest(kinds, ids) as p (kind, id) where p.kind = one);
            continue when cardinality(allowed) = 0;
        end if;
        slot := null;
        select i.slot, i.passages into slot, there from mv.vector_indexes i
        where i.tenant_id = tenant and i.kind = one and i.space = embedding_space and i.state = 'live';
        if slot is null then
            return query
            select distinct on (n.source_id) one, n.source_id, n.version, n.ordinal, 1 - n.distance, 'exact',
                1 - case when n.alone then n.distance else coalesce(lead(n.distance) over near, max(n.distance) over ()) end
            from mv.nearest_exact(one, embedding_space, search_meaning.embedding, allowed, filter, chunks_max) n
            window near as (partition by n.source_id order by n.distance, n.ordinal)
            order by n.source_id, n.distance, n.ordinal;
            continue;
        end if;
        way := 'exact';
        if ids is null then
            way := 'index';
            select array_agg(v.source_id), array_agg(v.text_hash) into sources, hashes
            from mv.vectors_by_graph(tenant, slot, vector_dims(search_meaning.embedding), one, half, filter, texts_max) v;
            if coalesce(cardinality(sources), 0) < least(chunks_max, there) then
                way := 'index, then exact';
            end if;
        end if;
        if way <> 'index' then
            select array_agg(v.source_id), array_agg(v.text_hash) into sources, hashes
            from mv.vectors_by_scan(tenant, slot, one, half, allowed, filter, texts_max) v;
        end if;
        return query
        select distinct on (n.source_id) one, n.source_id, n.version, n.ordinal, 1 - n.distance, way,
            1 - case when n.alone then n.distance else coalesce(lead(n.distance) over near, max(n.distance) over ()) end
        from mv.measured_passages(one, embedding_space, search_meaning.embedding, sources, hashes, chunks_max) n
        window near as (partition by n.source_id order by n.distance, n.ordinal)
        order by n.source_id, n.distance, n.ordinal;
    end loop;
end
$$;

CREATE FUNCTION mv.search_passes(filter jsonb, kind text, source_id uuid) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select filter is null or exists (
        select
        from mv.search_state s
        left join app.adrs a on s.kind = 'adr' and a.tenant_id = s.tenant_id and a.adr_id = s.source_id
        where s.tenant_id = app.current_tenant()
            and s.kind = search_passes.kind
            and s.source_id = search_passes.source_id
            and not s.deleted
            and (filter -> 'kind' is null or s.kind = filter ->> 'kind')
            and (filter -> 'status' is null or filter -> 'status' ? s.status)
            and (filter -> 'since' is null or s.effective_at >= (filter ->> 'since')::timestamptz)
            and (filter -> 'until' is null or s.effective_at < (filter ->> 'until')::timestamptz)
            and (
                filter -> 'log' is null
                or a.log_id = (select l.log_id from app.logs l where l.tenant_id = s.tenant_id and l.slug = filter ->> 'log')
            )
            and (
                filter -> 'tags' is null
                or not exists (
                    select from jsonb_array_elements_text(filter -> 'tags') as wanted (tag)
                    where not exists (
                        select from app.adr_tags t
                        where t.tenant_id = s.tenant_id and t.adr_id = a.adr_id and t.tag = wanted.tag
                    )
                )
            )
            and (
                filter -> 'author' is null
                or exists (
                    select from app.adr_versions v
                    where v.tenant_id = s.tenant_id and v.adr_id = a.adr_id and lower(v.author) = lower(filter ->> 'author')
                )
            )
    )
$$;

GRANT ALL ON FUNCTION mv.search_passes(filter jsonb, kind text, source_id uuid) TO adriatic_api;

CREATE TABLE mv.search_recall (
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    space text NOT NULL,
    slot integer NOT NULL,
    queries integer NOT NULL,
    recall double precision NOT NULL,
    measured_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE ONLY mv.search_recall FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.search_recall
    ADD CONSTRAINT search_recall_pkey PRIMARY KEY (tenant_id, kind, space);

ALTER TABLE ONLY mv.search_recall
    ADD CONSTRAINT search_recall_space_fkey FOREIGN KEY (space) REFERENCES mv.embedding_spaces(space);

CREATE POLICY cdc ON mv.search_recall FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.search_recall TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE mv.search_recall ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON mv.search_recall TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.search_recall TO adriatic_flows;
GRANT SELECT ON TABLE mv.search_recall TO adriatic_cdc;
GRANT SELECT ON TABLE mv.search_recall TO adriatic_search;
GRANT SELECT ON TABLE mv.search_recall TO adriatic_api;

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
    length integer NOT NULL,
    reading integer DEFAULT 0 NOT NULL,
    CONSTRAINT is_bounded CHECK ((((COALESCE(octet_length(kind), 0) + COALESCE(octet_length(title), 0)) + COALESCE(octet_length(status), 0)) <= 983040))
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
    RETURN ARRAY(SELECT every.lexeme FROM (SELECT unnest.lexeme, (unnest.positions[1])::integer AS place FROM unnest(CASE to_tsvector('english'::regconfig, split_part(search_terms.query, ''::text, 1)) WHEN ''::tsvector THEN to_tsvector('simple'::regconfig, split_part(search_terms.query, ''::text, 1)) ELSE to_tsvector('english'::regconfig, split_part(search_terms.query, ''::text, 1)) END) unnest(lexeme, positions, weights) UNION ALL SELECT given.lexeme, (100000 + (given.place)::integer) FROM unnest(string_to_array(search_terms.query, ''::text)) WITH ORDINALITY given(lexeme, place) WHERE (given.place > 1)) every GROUP BY every.lexeme ORDER BY (min(every.place)), every.lexeme LIMIT 32);

CREATE FUNCTION mv.search_words(query text, kinds text[], ids uuid[], filter jsonb, sources_max integer) RETURNS TABLE(kind text, source_id uuid, version bigint, ordinal integer, score double precision, terms text[], candidates integer, proved boolean)
    LANGUAGE sql STABLE ROWS 100
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with ranked as materialized (
        select * from mv.rank_words(query, kinds, ids, filter, sources_max)
    ),
    listed as materialized (
        select min(r.wanted) as wanted, array_agg(r.kind) as kinds, array_agg(r.source_id) as ids from ranked r
    ),
    said as materialized (
        select p.* from listed l, mv.word_passages(l.wanted, l.kinds, l.ids) as p
    )
    select r.kind, r.source_id, s.words_version, coalesce(r.ordinal, p.ordinal), r.score, coalesce(r.terms, p.terms),
        r.candidates, r.proved
    from ranked r
    join mv.search_state s on s.tenant_id = app.current_tenant() and s.kind = r.kind and s.source_id = r.source_id
    left join said p on p.kind = r.kind and p.source_id = r.source_id
    where coalesce(r.ordinal, p.ordinal) is not null
    order by r.score desc, r.kind, r.source_id
$$;

REVOKE ALL ON FUNCTION mv.search_words(query text, kinds text[], ids uuid[], filter jsonb, sources_max integer) FROM PUBLIC;
GRANT ALL ON FUNCTION mv.search_words(query text, kinds text[], ids uuid[], filter jsonb, sources_max integer) TO adriatic_api;

CREATE FUNCTION mv.search_words_exact(query text, kinds text[], ids uuid[], sources_max integer) RETURNS TABLE(kind text, source_id uuid, version bigint, ordinal integer, score double precision, terms text[])
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
#variable_conflict use_column
declare
    k1 constant double precision := 1.5;
    b constant double precision := 0.75;
    tenant constant uuid := app.current_tenant();
    buckets constant double precision[] := mv.lexeme_count_buckets();
    exact constant text[] := mv.search_terms(query);
    wanted text[] := exact;
    ending text := '';
    queries tsquery[];
    in_titles tsquery[];
    any_wanted tsquery;
begin
    if tenant is null or cardinality(wanted) = 0 then
        return;
    end if;
    loop
        queries := array(
            select (mv.lexeme_query(lexeme)::text || case when mv.is_half_a_pair(lexeme) then ':*' else ending end)::tsquery
            from unnest(wanted) as lexeme);
        in_titles := array(
            select (one::text || case when one::text like '%:*' then 'A' else ':A' end)::tsquery
            from unnest(queries) as one);
        any_wanted := (select string_agg(one::text, ' | ') from unnest(queries) as one)::tsquery;
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
                   -- What stands beside the words alone counts a quarter of one.
                   greatest(mv.lexeme_count(c.tsv, term.query, buckets), 0.25)
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
        exit when found or ending <> '';
        -- Nobody has any of these words: whatever begins like one, which forgives endings, compounds and slips of the hand.
        wanted := mv.search_beginnings(exact);
        ending := ':*';
        exit when cardinality(wanted) = 0;
    end loop;
end
$$;


ALTER FUNCTION mv.search_words_exact(query text, kinds text[], ids uuid[], sources_max integer) OWNER TO adriatic_search;

REVOKE ALL ON FUNCTION mv.search_words_exact(query text, kinds text[], ids uuid[], sources_max integer) FROM PUBLIC;
GRANT ALL ON FUNCTION mv.search_words_exact(query text, kinds text[], ids uuid[], sources_max integer) TO adriatic_api;

CREATE TABLE mv.source_words (
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    source_id uuid NOT NULL,
    version bigint NOT NULL,
    length integer NOT NULL,
    words tsvector NOT NULL,
    counts jsonb
)
WITH (toast_tuple_target='8160');
ALTER TABLE ONLY mv.source_words ALTER COLUMN words SET STORAGE MAIN;

ALTER TABLE ONLY mv.source_words FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.source_words
    ADD CONSTRAINT source_words_pkey PRIMARY KEY (tenant_id, kind, source_id);

CREATE INDEX source_words_words ON mv.source_words USING gin (words) WITH (fastupdate=off);

CREATE POLICY cdc ON mv.source_words FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.source_words TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY search ON mv.source_words FOR SELECT TO adriatic_search USING (true);

COMMENT ON POLICY search ON mv.source_words IS 'Only through mv.rank_by_words, which names the tenant.';

ALTER TABLE mv.source_words ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON mv.source_words TO adriatic_api USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.source_words TO adriatic_flows;
GRANT SELECT ON TABLE mv.source_words TO adriatic_cdc;
GRANT SELECT ON TABLE mv.source_words TO adriatic_search;

CREATE FUNCTION mv.spaces_lock() RETURNS bigint
    LANGUAGE sql IMMUTABLE
    RETURN 4271010;

CREATE FUNCTION mv.stop_words(analysed text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN COALESCE((SELECT string_agg(unnest.lexeme, ' '::text ORDER BY unnest.lexeme) AS string_agg FROM unnest(to_tsvector('simple'::regconfig, stop_words.analysed)) unnest(lexeme, positions, weights) WHERE (to_tsvector('english'::regconfig, unnest.lexeme) = ''::tsvector)), ''::text);

CREATE TABLE mv.suggestions (
    tenant_id uuid NOT NULL,
    suggestion_id uuid NOT NULL,
    newer_id uuid NOT NULL,
    older_id uuid NOT NULL,
    kind text NOT NULL,
    evidence text NOT NULL,
    terms text[] NOT NULL,
    newer_field text NOT NULL,
    newer_start integer NOT NULL,
    newer_end integer NOT NULL,
    newer_quote text NOT NULL,
    older_field text NOT NULL,
    older_start integer NOT NULL,
    older_end integer NOT NULL,
    older_quote text NOT NULL,
    CONSTRAINT is_bounded CHECK ((((((((COALESCE(octet_length(kind), 0) + COALESCE(octet_length(evidence), 0)) + COALESCE(octet_length((terms)::text), 0)) + COALESCE(octet_length(newer_field), 0)) + COALESCE(octet_length(newer_quote), 0)) + COALESCE(octet_length(older_field), 0)) + COALESCE(octet_length(older_quote), 0)) <= 983040))
);

ALTER TABLE ONLY mv.suggestions FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.suggestions
    ADD CONSTRAINT suggestions_pkey PRIMARY KEY (tenant_id, suggestion_id);

CREATE INDEX suggestions_newer ON mv.suggestions USING btree (tenant_id, newer_id);

CREATE INDEX suggestions_older ON mv.suggestions USING btree (tenant_id, older_id);

CREATE POLICY cdc ON mv.suggestions FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.suggestions TO adriatic_flows USING (true) WITH CHECK (true);

ALTER TABLE mv.suggestions ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON mv.suggestions TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER PUBLICATION adriatic ADD TABLE ONLY mv.suggestions;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.suggestions TO adriatic_flows;
GRANT SELECT ON TABLE mv.suggestions TO adriatic_cdc;
GRANT SELECT ON TABLE mv.suggestions TO adriatic_search;
GRANT SELECT ON TABLE mv.suggestions TO adriatic_api;

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
    estimated bigint CONSTRAINT usage_counts_estimated_not_null NOT NULL,
    CONSTRAINT is_bounded CHECK ((COALESCE(octet_length(key_id), 0) <= 983040))
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
    estimated bigint CONSTRAINT usage_counts_estimated_not_null NOT NULL,
    CONSTRAINT is_bounded CHECK (((COALESCE(octet_length(provider), 0) + COALESCE(octet_length(model), 0)) <= 983040))
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
GRANT SELECT ON TABLE mv.usage_ledger TO adriatic_api;

CREATE TABLE mv.vector_changes (
    tenant_id uuid NOT NULL,
    slot integer NOT NULL,
    source_id uuid NOT NULL
);

ALTER TABLE ONLY mv.vector_changes FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.vector_changes
    ADD CONSTRAINT vector_changes_pkey PRIMARY KEY (tenant_id, slot, source_id);

CREATE POLICY cdc ON mv.vector_changes FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.vector_changes TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.vector_changes TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE mv.vector_changes ENABLE ROW LEVEL SECURITY;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.vector_changes TO adriatic_flows;
GRANT SELECT ON TABLE mv.vector_changes TO adriatic_cdc;
GRANT SELECT ON TABLE mv.vector_changes TO adriatic_search;

CREATE FUNCTION mv.vector_graph_bytes(slot integer) RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    RETURN pg_relation_size(to_regclass(format('mv.vectors_%s_graph'::text, slot)));

CREATE TABLE mv.vector_indexes (
    tenant_id uuid NOT NULL,
    slot integer NOT NULL,
    kind text NOT NULL,
    space text NOT NULL,
    state text NOT NULL,
    filled_to uuid,
    passages bigint DEFAULT 0 NOT NULL,
    removed bigint DEFAULT 0 NOT NULL,
    begun_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    live_at timestamp with time zone,
    build_ms bigint,
    bytes bigint,
    CONSTRAINT vector_indexes_state_check CHECK ((state = ANY (ARRAY['filling'::text, 'building'::text, 'live'::text])))
);

ALTER TABLE ONLY mv.vector_indexes FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.vector_indexes
    ADD CONSTRAINT vector_indexes_pkey PRIMARY KEY (tenant_id, slot);

CREATE UNIQUE INDEX vector_indexes_coming ON mv.vector_indexes USING btree (tenant_id, kind, space) WHERE (state <> 'live'::text);

CREATE UNIQUE INDEX vector_indexes_live ON mv.vector_indexes USING btree (tenant_id, kind, space) WHERE (state = 'live'::text);

ALTER TABLE ONLY mv.vector_indexes
    ADD CONSTRAINT vector_indexes_space_fkey FOREIGN KEY (space) REFERENCES mv.embedding_spaces(space);

CREATE POLICY cdc ON mv.vector_indexes FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.vector_indexes TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.vector_indexes TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE mv.vector_indexes ENABLE ROW LEVEL SECURITY;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.vector_indexes TO adriatic_flows;
GRANT SELECT ON TABLE mv.vector_indexes TO adriatic_cdc;
GRANT SELECT ON TABLE mv.vector_indexes TO adriatic_search;
GRANT SELECT ON TABLE mv.vector_indexes TO adriatic_api;

CREATE SEQUENCE mv.vector_slots
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

GRANT USAGE ON SEQUENCE mv.vector_slots TO adriatic_flows;

CREATE TABLE mv.vectors (
    tenant_id uuid NOT NULL,
    slot integer NOT NULL,
    source_id uuid NOT NULL,
    text_hash bytea NOT NULL,
    embedding public.halfvec NOT NULL
)
PARTITION BY LIST (slot);

ALTER TABLE ONLY mv.vectors FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.vectors
    ADD CONSTRAINT vectors_pkey PRIMARY KEY (tenant_id, slot, source_id, text_hash);

CREATE POLICY cdc ON mv.vectors FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.vectors TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.vectors TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE mv.vectors ENABLE ROW LEVEL SECURITY;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.vectors TO adriatic_flows;
GRANT SELECT ON TABLE mv.vectors TO adriatic_cdc;
GRANT SELECT ON TABLE mv.vectors TO adriatic_search;
GRANT SELECT ON TABLE mv.vectors TO adriatic_api;

CREATE FUNCTION mv.vectors_by_graph(tenant uuid, of_slot integer, dimension integer, of_kind text, query public.halfvec, filter jsonb, texts_max integer) RETURNS TABLE(source_id uuid, text_hash bytea)
    LANGUAGE plpgsql STABLE ROWS 200
    SET enable_sort TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $_$
begin
    perform set_config('hnsw.ef_search', '400', true), set_config('hnsw.iterative_scan', 'relaxed_order', true),
        set_config('hnsw.max_scan_tuples', '20000', true), set_config('hnsw.scan_mem_multiplier', '8', true);
    return query execute format(
        'select v.source_id, v.text_hash from mv.vectors v '
        'where v.slot = %1$s and v.tenant_id = $1 %3$s '
        'order by v.embedding::halfvec(%2$s) <=> $4::halfvec(%2$s) limit $5',
        of_slot, dimension, case when filter is not null then 'and mv.search_passes($2, $3, v.source_id)' end)
        using tenant, filter, of_kind, query, texts_max;
end
$_$;

CREATE FUNCTION mv.vectors_by_scan(tenant uuid, of_slot integer, of_kind text, query public.halfvec, ids uuid[], filter jsonb, texts_max integer) RETURNS TABLE(source_id uuid, text_hash bytea)
    LANGUAGE plpgsql STABLE ROWS 200
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
begin
    if ids is not null then
        return query
        select v.source_id, v.text_hash
        from mv.vectors v
        where v.slot = of_slot and v.tenant_id = tenant and v.source_id = any (ids)
        order by (v.embedding <=> query) + 0
        limit texts_max;
    else
        return query
        select near.source_id, near.text_hash
        from (
            select v.source_id, v.text_hash
            from mv.vectors v
            where v.slot = of_slot and v.tenant_id = tenant
            order by (v.embedding <=> query) + 0
            limit case when filter is null then texts_max else 100000 end
        ) near
        where mv.search_passes(filter, of_kind, near.source_id)
        limit texts_max;
    end if;
end
$$;

CREATE FUNCTION mv.vectors_lock() RETURNS bigint
    LANGUAGE sql IMMUTABLE
    RETURN 4271003;

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

CREATE FUNCTION mv.within_passages(tenant uuid, of_kind text, sources uuid[], passages_max integer) RETURNS uuid[]
    LANGUAGE sql STABLE
    AS $$
    select coalesce(array_agg(b.source_id order by b.source_id) filter (where b.passages_before < passages_max), '{}')
    from (
        select u.source_id,
            sum(greatest(s.chunks, 1)) over (order by u.source_id) - greatest(s.chunks, 1) as passages_before
        from unnest(sources) as u (source_id)
        left join mv.search_state s on s.tenant_id = tenant and s.kind = of_kind and s.source_id = u.source_id
    ) b
$$;

CREATE FUNCTION mv.word_beginnings(beginnings text[]) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    RETURN ARRAY(SELECT DISTINCT w.lexeme FROM (unnest(word_beginnings.beginnings) b(beginning) CROSS JOIN LATERAL (SELECT s.lexeme FROM (mv.word_totals t JOIN mv.word_stats s ON (((s.tenant_id = t.tenant_id) AND (s.kind = t.kind) AND (s.lexeme >= (b.beginning COLLATE "C")) AND (s.lexeme < ((b.beginning || '􏿿'::text) COLLATE "C"))))) WHERE (t.tenant_id = app.current_tenant()) GROUP BY s.lexeme ORDER BY (sum(s.sources)) DESC, s.lexeme LIMIT 8) w) LIMIT 32);

CREATE SEQUENCE mv.word_change_numbers
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

GRANT USAGE ON SEQUENCE mv.word_change_numbers TO adriatic_flows;

CREATE TABLE mv.word_changes (
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    source_id uuid NOT NULL,
    change bigint NOT NULL
);

ALTER TABLE ONLY mv.word_changes FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.word_changes
    ADD CONSTRAINT word_changes_pkey PRIMARY KEY (tenant_id, kind, source_id);

CREATE POLICY cdc ON mv.word_changes FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.word_changes TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.word_changes TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE mv.word_changes ENABLE ROW LEVEL SECURITY;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.word_changes TO adriatic_flows;
GRANT SELECT ON TABLE mv.word_changes TO adriatic_cdc;
GRANT SELECT ON TABLE mv.word_changes TO adriatic_search;
GRANT SELECT ON TABLE mv.word_changes TO adriatic_api;

CREATE FUNCTION mv.word_combinations(kinds text[], ns integer[], keys text[], uppers double precision[], sources integer[], texts bigint[], need double precision, found_max integer, read_max integer, OUT queries tsquery[], OUT complete boolean) RETURNS record
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with recursive lists as (
        select p.*,
            sum(p.sources) over (partition by p.kind, p.n order by p.upper desc) as above,
            sum(p.sources) over (partition by p.kind, p.n) as together
        from unnest(kinds, ns, keys, uppers, sources, texts) as p (kind, n, key, upper, sources, texts)
    ),
    -- Three steps of each word: its best tenth, its better half, all of it.
    levels as (
        select l.kind, l.n, s.level, max(l.upper) as upper, sum(l.sources) as sources, string_agg(l.key, '|') as keys,
            max(l.texts) as texts
        from lists l
        cross join lateral (
            select case when l.above <= 0.1 * l.together then 1 when l.above <= 0.5 * l.together then 2 else 3 end as level
        ) as s
        group by l.kind, l.n, s.level
    ),
    steps as (
        select l.kind, l.n, l.level, l.upper, l.texts,
            lead(l.upper) over word as below,
            max(l.upper) over (partition by l.kind, l.n) as best,
            sum(l.sources) over word as sources,
            '(' || string_agg(l.keys, '|') over word || ')' as keys
        from levels l
        window word as (partition by l.kind, l.n order by l.level)
    ),
    ordered as (
        select o.kind, o.n, row_number() over word as place, sum(o.best) over word - o.best as before,
            sum(o.best) over (partition by o.kind) as together, o.best
        from (select distinct s.kind, s.n, s.best from steps s) as o
        window word as (partition by o.kind order by o.best desc, o.n rows unbounded preceding)
    ),
    -- `later` is what all words behind this one can add. Six words make combinations; what is behind them only adds.
    elements as (
        select s.kind, o.place, s.upper, s.below, s.sources, s.keys, s.texts,
            o.together - o.before - o.best - coalesce(t.tail, 0) as later, need - coalesce(t.tail, 0) as goal
        from steps s
        join ordered o on o.kind = s.kind and o.n = s.n
        left join (select kind, sum(best) as tail from ordered where place > 6 group by kind) as t on t.kind = s.kind
        where o.place <= 6
    ),
    combinations as (
        select e.kind, e.place, e.later, e.goal, e.upper as reached, e.below as reached_below, e.keys as query,
            e.sources::double precision as found, e.sources::double precision as read
        from elements e
        where e.upper + e.later >= e.goal
        union all
        select e.kind, e.place, e.later, e.goal, c.reached + e.upper, c.reached + e.below, c.query || '&' || e.keys,
            c.found * e.sources / e.texts, least(c.read, e.sources)
        from combinations c
        join elements e on e.kind = c.kind and e.place > c.place
        where c.reached < e.goal and c.reached + e.upper + e.later >= e.goal
    ),
    ends as (
        select c.query, c.found, c.read
        from combinations c
        where c.reached >= c.goal and (c.reached_below is null or c.reached_below < c.goal)
    ),
    chosen as (
        select e.query,
            sum(e.found) over yield <= found_max and sum(e.read) over yield <= read_max
                and row_number() over yield <= 40 as taken
        from ends e
        window yield as (order by e.read / e.found, e.query rows unbounded preceding)
    )
    select
        array_agg(c.query::tsquery) filter (where c.taken),
        coalesce(bool_and(c.taken), true)
    from chosen c
$$;

CREATE FUNCTION mv.word_key(lexeme text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE WHEN (octet_length(lexeme) > 40) THEN md5(lexeme) ELSE lexeme END;

CREATE TABLE mv.word_packs (
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    state text NOT NULL,
    filled_to uuid,
    CONSTRAINT word_packs_state_check CHECK ((state = ANY (ARRAY['filling'::text, 'live'::text])))
);

ALTER TABLE ONLY mv.word_packs FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.word_packs
    ADD CONSTRAINT word_packs_pkey PRIMARY KEY (tenant_id, kind);

CREATE POLICY cdc ON mv.word_packs FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.word_packs TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.word_packs TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE mv.word_packs ENABLE ROW LEVEL SECURITY;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.word_packs TO adriatic_flows;
GRANT SELECT ON TABLE mv.word_packs TO adriatic_cdc;
GRANT SELECT ON TABLE mv.word_packs TO adriatic_search;
GRANT SELECT ON TABLE mv.word_packs TO adriatic_api;

CREATE FUNCTION mv.word_page_max() RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 4096;

CREATE TABLE mv.word_pages (
    tenant_id uuid NOT NULL,
    segment bigint NOT NULL,
    first text NOT NULL COLLATE pg_catalog."C",
    lexemes text[] NOT NULL COLLATE pg_catalog."C",
    ends integer[] NOT NULL,
    places bytea NOT NULL,
    counts bytea NOT NULL
);
ALTER TABLE ONLY mv.word_pages ALTER COLUMN places SET STORAGE EXTERNAL;
ALTER TABLE ONLY mv.word_pages ALTER COLUMN counts SET STORAGE EXTERNAL;

ALTER TABLE ONLY mv.word_pages FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.word_pages
    ADD CONSTRAINT word_pages_pkey PRIMARY KEY (tenant_id, segment, first);

ALTER TABLE ONLY mv.word_pages
    ADD CONSTRAINT word_pages_tenant_id_segment_fkey FOREIGN KEY (tenant_id, segment) REFERENCES mv.word_segments(tenant_id, segment) ON DELETE CASCADE;

CREATE POLICY cdc ON mv.word_pages FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.word_pages TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.word_pages TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE mv.word_pages ENABLE ROW LEVEL SECURITY;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.word_pages TO adriatic_flows;
GRANT SELECT ON TABLE mv.word_pages TO adriatic_cdc;
GRANT SELECT ON TABLE mv.word_pages TO adriatic_search;
GRANT SELECT ON TABLE mv.word_pages TO adriatic_api;

CREATE FUNCTION mv.word_passages(wanted text[], kinds text[], ids uuid[]) RETURNS TABLE(kind text, source_id uuid, version bigint, ordinal integer, terms text[])
    LANGUAGE plpgsql STABLE ROWS 100
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
#variable_conflict use_column
declare
    tenant constant uuid := app.current_tenant();
    buckets constant double precision[] := mv.lexeme_count_buckets();
begin
    return query
    with known as materialized (
        select t.kind, t.idf, one.lexeme, one.query, (one.query::text || ':A')::tsquery as in_title
        from mv.word_terms(wanted, null) as t
        cross join lateral (
            select wanted[t.n] as lexeme, mv.lexeme_query(wanted[t.n]) as query offset 0
        ) as one
    ),
    chunks as materialized (
        select s.kind, s.source_id, c.version, c.ordinal, c.length, c.tsv
        from unnest(kinds, ids) as shown (kind, source_id)
        join mv.search_state s on s.tenant_id = tenant and s.kind = shown.kind and s.source_id = shown.source_id
        join mv.chunks c on c.tenant_id = tenant
            and c.kind = s.kind and c.source_id = s.source_id and c.version = s.words_version
    ),
    passages as materialized (
        select c.kind, c.source_id, c.version, c.ordinal, c.length, k.lexeme, k.idf,
            greatest(mv.lexeme_count(c.tsv, k.query, buckets), 0.25)
                + case when c.ordinal = 0 and c.tsv @@ k.in_title then 2 else 0 end as count
        from chunks c
        join known k on k.kind = c.kind and c.tsv @@ k.query
    ),
    weighed as materialized (
        -- A chunk that is hardly more than a heading says nothing to whoever reads it.
        select p.kind, p.source_id, p.version, p.ordinal, p.length < 20 as short,
            round(sum(p.idf * p.count / (p.count + 1.2))::numeric, 9) as weight
        from passages p
        group by p.kind, p.source_id, p.version, p.ordinal, p.length
    ),
    said as materialized (
        select p.kind, p.source_id, array_agg(distinct p.lexeme order by p.lexeme) as terms
        from passages p group by p.kind, p.source_id
    )
    select distinct on (w.kind, w.source_id) w.kind, w.source_id, w.version, w.ordinal, said.terms
    from weighed w
    join said on said.kind = w.kind and said.source_id = w.source_id
    order by w.kind, w.source_id, w.short, w.weight desc, w.ordinal;
end
$$;

REVOKE ALL ON FUNCTION mv.word_passages(wanted text[], kinds text[], ids uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION mv.word_passages(wanted text[], kinds text[], ids uuid[]) TO adriatic_api;

CREATE FUNCTION mv.word_postings(wanted text[], only_kind text, first_max integer) RETURNS TABLE(kind text, n integer, key text, upper double precision, sources integer, texts bigint, first boolean)
    LANGUAGE sql STABLE ROWS 32
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select one.kind, one.n, one.key, one.upper, one.sources, one.texts,
        sum(one.sources) over ranking <= first_max or row_number() over ranking = 1
    from (
        select
            t.kind, t.n, s.sources, t.texts, mv.word_query(t.prefix, t.key, s.tier)::text as key,
            t.idf * 2.5 * coalesce(1 - 1 / (1 + 0.8 * f.floors[s.tier + 1] * greatest(1, t.average / 100)), 1) as upper
        from mv.word_terms(wanted, only_kind) as t
        cross join (select mv.word_tier_floors() as floors offset 0) as f
        join mv.word_stats s on s.tenant_id = app.current_tenant() and s.kind = t.kind and s.lexeme = t.key collate "C"
    ) as one
    window ranking as (order by one.upper desc, one.sources, one.kind, one.n, one.key rows unbounded preceding)
$$;

CREATE FUNCTION mv.word_prefix(tenant uuid, kind text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN "left"(encode(sha256((uuid_send(tenant) || convert_to(kind, 'UTF8'::name))), 'base64'::text), 5);

CREATE FUNCTION mv.word_query(prefix text, key text, tier integer) RETURNS tsquery
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((((''''::text || replace(replace((prefix || key), '\'::text, '\\'::text), ''''::text, ''''''::text)) || ''::text) || COALESCE((chr((97 + tier)) || ''''::text), ''':*'::text)))::tsquery;

CREATE SEQUENCE mv.word_segment_ids
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

GRANT USAGE ON SEQUENCE mv.word_segment_ids TO adriatic_flows;

CREATE TABLE mv.word_segments (
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    segment bigint NOT NULL,
    sources integer NOT NULL,
    ids bytea NOT NULL,
    lengths bytea NOT NULL,
    dead bytea DEFAULT '\x'::bytea NOT NULL,
    CONSTRAINT word_segments_sources_check CHECK (((sources >= 1) AND (sources <= 32768)))
);
ALTER TABLE ONLY mv.word_segments ALTER COLUMN ids SET STORAGE EXTERNAL;
ALTER TABLE ONLY mv.word_segments ALTER COLUMN lengths SET STORAGE EXTERNAL;

ALTER TABLE ONLY mv.word_segments FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.word_segments
    ADD CONSTRAINT word_segments_pkey PRIMARY KEY (tenant_id, segment);

CREATE INDEX word_segments_kind ON mv.word_segments USING btree (tenant_id, kind);

ALTER TABLE ONLY mv.word_segments
    ADD CONSTRAINT word_segments_tenant_id_kind_fkey FOREIGN KEY (tenant_id, kind) REFERENCES mv.word_packs(tenant_id, kind) ON DELETE CASCADE;

CREATE POLICY cdc ON mv.word_segments FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.word_segments TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.word_segments TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE mv.word_segments ENABLE ROW LEVEL SECURITY;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.word_segments TO adriatic_flows;
GRANT SELECT ON TABLE mv.word_segments TO adriatic_cdc;
GRANT SELECT ON TABLE mv.word_segments TO adriatic_search;
GRANT SELECT ON TABLE mv.word_segments TO adriatic_api;

CREATE TABLE mv.word_stats (
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    lexeme text NOT NULL COLLATE pg_catalog."C",
    tier smallint NOT NULL,
    sources integer NOT NULL
)
WITH (fillfactor='80');

ALTER TABLE ONLY mv.word_stats FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.word_stats
    ADD CONSTRAINT word_stats_pkey PRIMARY KEY (tenant_id, kind, lexeme, tier);

CREATE POLICY cdc ON mv.word_stats FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.word_stats TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.word_stats TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE mv.word_stats ENABLE ROW LEVEL SECURITY;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.word_stats TO adriatic_flows;
GRANT SELECT ON TABLE mv.word_stats TO adriatic_cdc;
GRANT SELECT ON TABLE mv.word_stats TO adriatic_search;
GRANT SELECT ON TABLE mv.word_stats TO adriatic_api;

CREATE FUNCTION mv.word_terms(wanted text[], only_kind text) RETURNS TABLE(kind text, n integer, prefix text, key text, idf double precision, texts bigint, average double precision)
    LANGUAGE sql STABLE ROWS 8
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select
        t.kind, w.n::integer, p.prefix, w.key, ln(1 + (t.sources::double precision - s.df + 0.5) / (s.df + 0.5)),
        t.sources, greatest(t.length::double precision / t.sources, 1)
    from mv.word_totals t
    cross join lateral (select mv.word_prefix(t.tenant_id, t.kind) as prefix offset 0) as p
    cross join lateral (
        select mv.word_key(one.lexeme) as key, one.n from unnest(wanted) with ordinality as one (lexeme, n) offset 0
    ) as w
    cross join lateral (
        select sum(s.sources)::double precision as df
        from mv.word_stats s
        where s.tenant_id = app.current_tenant() and s.kind = t.kind and s.lexeme = w.key collate "C"
    ) as s
    where t.tenant_id = app.current_tenant() and t.sources > 0 and s.df > 0 and (only_kind is null or t.kind = only_kind)
$$;

CREATE FUNCTION mv.word_tier(count double precision, length integer) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN width_bucket((count / ((0.3 + (0.009 * (length)::numeric)))::double precision), mv.word_tier_floors());

CREATE FUNCTION mv.word_tier_floors() RETURNS double precision[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '{0.125,0.25,0.5,1,2,4,8}'::double precision[];

CREATE TABLE mv.word_totals (
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    sources bigint NOT NULL,
    length bigint NOT NULL
)
WITH (fillfactor='50');

ALTER TABLE ONLY mv.word_totals FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY mv.word_totals
    ADD CONSTRAINT word_totals_pkey PRIMARY KEY (tenant_id, kind);

CREATE POLICY cdc ON mv.word_totals FOR SELECT TO adriatic_cdc USING (true);

CREATE POLICY flows ON mv.word_totals TO adriatic_flows USING (true) WITH CHECK (true);

CREATE POLICY tenant ON mv.word_totals TO adriatic_api, adriatic_search USING ((tenant_id = ( SELECT app.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT app.current_tenant() AS current_tenant)));

ALTER TABLE mv.word_totals ENABLE ROW LEVEL SECURITY;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE mv.word_totals TO adriatic_flows;
GRANT SELECT ON TABLE mv.word_totals TO adriatic_cdc;
GRANT SELECT ON TABLE mv.word_totals TO adriatic_search;
GRANT SELECT ON TABLE mv.word_totals TO adriatic_api;

CREATE FUNCTION mv.write_vectors(tenant uuid, of_slot integer, of_kind text, of_space text, sources uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
begin
    with wanted as materialized (
        select distinct c.source_id, c.text_hash
        from mv.search_state s
        join mv.chunks c
            on c.tenant_id = s.tenant_id and c.kind = s.kind and c.source_id = s.source_id and c.version = s.meaning_version
        where s.tenant_id = tenant and s.kind = of_kind and s.source_id = any (sources) and not s.deleted
    ),
    gone as (
        delete from mv.vectors v
        where v.tenant_id = tenant and v.slot = of_slot and v.source_id = any (sources)
            and not exists (select from wanted w where w.source_id = v.source_id and w.text_hash = v.text_hash)
        returning 1
    ),
    come as (
        insert into mv.vectors (tenant_id, slot, source_id, text_hash, embedding)
        select tenant, of_slot, w.source_id, w.text_hash, e.embedding::halfvec
        from wanted w
        cross join lateral (
            select e.embedding
            from mv.embeddings e
            where e.tenant_id = tenant and e.space = of_space and e.text_hash = w.text_hash
            offset 0                   -- not joined in another order
        ) e
        join mv.embedding_spaces p on p.space = of_space and p.dimension = vector_dims(e.embedding)
        on conflict do nothing
        returning 1
    ),
    counted as (select (select count(*) from come) as come, (select count(*) from gone) as gone)
    update mv.vector_indexes i
    set passages = i.passages + counted.come - counted.gone,
        removed = i.removed + case i.state when 'filling' then 0 else counted.gone end
    from counted
    where i.tenant_id = tenant and i.slot = of_slot and counted.come + counted.gone > 0;
end
$$;

CREATE FUNCTION mv.write_word_segment(tenant uuid, of_kind text, chosen uuid[]) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    SET work_mem TO '128MB'
    SET jit TO 'off'
    AS $$
declare
    made constant bigint := nextval('mv.word_segment_ids');
    present record;
begin
    select array_agg(w.source_id order by w.source_id) as sources,
        string_agg(uuid_send(w.source_id), '' order by w.source_id) as ids,
        string_agg(int4send(w.length), '' order by w.source_id) as lengths
    into present
    from mv.source_words w
    where w.tenant_id = tenant and w.kind = of_kind and w.source_id = any (chosen);
    if present.sources is null then
        return null;
    end if;
    insert into mv.word_segments (tenant_id, kind, segment, sources, ids, lengths)
    values (tenant, of_kind, made, cardinality(present.sources), present.ids, present.lengths);
    insert into mv.word_pages (tenant_id, segment, first, lexemes, ends, places, counts)
    select tenant, made, min(l.key), array_agg(l.key order by l.key), array_agg(l.upto - l.begins order by l.key),
        string_agg(l.places, '' order by l.key), string_agg(l.counts, '' order by l.key)
    from (
        select o.*, min(o.upto - o.postings) over (partition by o.page) as begins
        from (
            select a.*, (a.upto - a.postings) / mv.word_page_max() as page
            from (
                select p.key collate "C" as key, count(*)::integer as postings,
                    string_agg(int2send(p.place::smallint), '') as places, string_agg(float4send(p.count), '') as counts,
                    (sum(count(*)) over (order by p.key collate "C" rows unbounded preceding))::integer as upto
                from mv.pack_words(tenant, of_kind, present.sources) as p
                group by p.key collate "C"
            ) as a
        ) as o
    ) as l
    group by l.page;
    return made;
end
$$;

CREATE TABLE ops.answer_calls (
    process_id uuid NOT NULL,
    answer_id uuid NOT NULL,
    stop boolean NOT NULL
);

ALTER TABLE ONLY ops.answer_calls
    ADD CONSTRAINT answer_calls_pkey PRIMARY KEY (process_id, answer_id, stop);

ALTER TABLE ONLY ops.answer_calls
    ADD CONSTRAINT answer_calls_process_id_fkey FOREIGN KEY (process_id) REFERENCES ops.api_processes(process_id) ON DELETE CASCADE;

CREATE FUNCTION ops.api_process_lives(process_id uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    BEGIN ATOMIC
 SELECT (EXISTS ( SELECT
            FROM ops.api_processes p
           WHERE ((p.process_id = api_process_lives.process_id) AND (p.lease_until >= now())))) AS "exists";
END;

REVOKE ALL ON FUNCTION ops.api_process_lives(process_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.api_process_lives(process_id uuid) TO adriatic_api;

CREATE TABLE ops.api_processes (
    process_id uuid NOT NULL,
    lease_until timestamp with time zone NOT NULL
);

ALTER TABLE ONLY ops.api_processes
    ADD CONSTRAINT api_processes_pkey PRIMARY KEY (process_id);

GRANT SELECT,DELETE ON TABLE ops.api_processes TO adriatic_flows;

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

CREATE PROCEDURE ops.bound_rows()
    LANGUAGE plpgsql
    AS $$
declare
    published record;
begin
    for published in
        select format('%I.%I', p.schemaname, p.tablename)::regclass as name,
               case format('%s.%s', p.schemaname, p.tablename)
                   when 'app.adr_versions' then 4128768
                   when 'app.document_versions' then 2031616
                   when 'app.page_versions' then 2031616
                   when 'app.outbox' then 16777216
                   else 983040
               end as bytes_max,
               (select string_agg(
                    format(case when t.typname in ('text', 'bytea') then 'coalesce(octet_length(%I), 0)'
                                else 'coalesce(octet_length(%I::text), 0)' end, a.attname), ' + ' order by a.attnum)
                from pg_attribute a join pg_type t on t.oid = a.atttypid
                where a.attrelid = format('%I.%I', p.schemaname, p.tablename)::regclass and a.attnum > 0
                    and not a.attisdropped and t.typlen = -1 and t.typname <> 'numeric') as bytes
        from pg_publication_tables p where p.pubname = 'adriatic'
    loop
        if published.bytes is not null then
            execute format('alter table %s drop constraint if exists is_bounded, add constraint is_bounded check (%s <= %s)',
                           published.name, published.bytes, published.bytes_max);
        end if;
    end loop;
end
$$;

REVOKE ALL ON PROCEDURE ops.bound_rows() FROM PUBLIC;

CREATE FUNCTION ops.call_answer(process_id uuid, answer_id uuid, stop boolean) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    BEGIN ATOMIC
 INSERT INTO ops.answer_calls (process_id, answer_id, stop)  SELECT p.process_id,
             call_answer.answer_id AS answer_id,
             call_answer.stop AS stop
            FROM ops.api_processes p
           WHERE (p.process_id = call_answer.process_id) ON CONFLICT DO NOTHING;
END;

REVOKE ALL ON FUNCTION ops.call_answer(process_id uuid, answer_id uuid, stop boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.call_answer(process_id uuid, answer_id uuid, stop boolean) TO adriatic_api;

CREATE TABLE ops.cdc_lock (
    only_row boolean NOT NULL,
    CONSTRAINT cdc_lock_only_row_check CHECK (only_row)
);

ALTER TABLE ONLY ops.cdc_lock
    ADD CONSTRAINT cdc_lock_pkey PRIMARY KEY (only_row);

GRANT UPDATE ON TABLE ops.cdc_lock TO adriatic_cdc;

CREATE TABLE ops.cdc_progress (
    slot text NOT NULL,
    system_id text NOT NULL,
    lsn pg_lsn NOT NULL,
    committed_at timestamp with time zone NOT NULL,
    snapshot_after pg_lsn DEFAULT '0/0'::pg_lsn NOT NULL,
    snapshot_lsn pg_lsn,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    read_at timestamp with time zone,
    publication text
);

ALTER TABLE ONLY ops.cdc_progress
    ADD CONSTRAINT cdc_progress_pkey PRIMARY KEY (slot);

GRANT SELECT ON TABLE ops.cdc_progress TO adriatic_flows;
GRANT SELECT ON TABLE ops.cdc_progress TO adriatic_api;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE ops.cdc_progress TO adriatic_cdc;

CREATE TABLE ops.cdc_sessions (
    session uuid NOT NULL,
    slot text NOT NULL,
    beat bigint NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    started_lsn pg_lsn NOT NULL,
    process text DEFAULT ''::text NOT NULL,
    ended boolean DEFAULT false NOT NULL,
    CONSTRAINT cdc_sessions_beat_check CHECK ((beat > 0))
);

ALTER TABLE ONLY ops.cdc_sessions
    ADD CONSTRAINT cdc_sessions_pkey PRIMARY KEY (session);

CREATE INDEX cdc_sessions_first ON ops.cdc_sessions USING btree (slot, started_lsn);

GRANT SELECT ON TABLE ops.cdc_sessions TO adriatic_flows;
GRANT SELECT ON TABLE ops.cdc_sessions TO adriatic_api;
GRANT SELECT,INSERT,UPDATE ON TABLE ops.cdc_sessions TO adriatic_cdc;

CREATE TABLE ops.cdc_snapshots (
    slot text NOT NULL,
    snapshot_id uuid NOT NULL,
    wanted_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE ONLY ops.cdc_snapshots
    ADD CONSTRAINT cdc_snapshots_pkey PRIMARY KEY (slot);

GRANT SELECT ON TABLE ops.cdc_snapshots TO adriatic_flows;
GRANT SELECT ON TABLE ops.cdc_snapshots TO adriatic_api;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE ops.cdc_snapshots TO adriatic_cdc;

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

CREATE TABLE ops.cdc_topics (
    slot text NOT NULL,
    topic text NOT NULL,
    topic_id text NOT NULL,
    partitions integer NOT NULL,
    ends bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    lasts text[] DEFAULT '{}'::text[] NOT NULL,
    may_differ boolean DEFAULT false NOT NULL,
    CONSTRAINT cdc_topics_partitions_check CHECK ((partitions > 0))
);

ALTER TABLE ONLY ops.cdc_topics
    ADD CONSTRAINT cdc_topics_pkey PRIMARY KEY (slot, topic);

GRANT SELECT ON TABLE ops.cdc_topics TO adriatic_flows;
GRANT SELECT ON TABLE ops.cdc_topics TO adriatic_api;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE ops.cdc_topics TO adriatic_cdc;

CREATE TABLE ops.consumer_offsets (
    flow text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    topic_id text,
    partitions integer,
    last_offset bigint,
    last_fingerprint text,
    CONSTRAINT consumer_offsets_next_offset_check CHECK ((next_offset >= 0)),
    CONSTRAINT last_record CHECK (((last_offset IS NULL) = (last_fingerprint IS NULL)))
);

ALTER TABLE ONLY ops.consumer_offsets
    ADD CONSTRAINT consumer_offsets_pkey PRIMARY KEY (flow, topic, partition);

CREATE TRIGGER recovery BEFORE INSERT OR UPDATE ON ops.consumer_offsets FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_while_recovering();

GRANT SELECT,INSERT,UPDATE ON TABLE ops.consumer_offsets TO adriatic_flows;
GRANT SELECT ON TABLE ops.consumer_offsets TO adriatic_cdc;
GRANT SELECT ON TABLE ops.consumer_offsets TO adriatic_api;

CREATE TABLE ops.crawl_hosts (
    host text NOT NULL,
    turn_tenant uuid,
    turn_job uuid,
    turn_until timestamp with time zone,
    last_job uuid,
    wanted_by uuid,
    wanted_until timestamp with time zone,
    next_at timestamp with time zone DEFAULT now() NOT NULL,
    delay_s double precision DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    open_until timestamp with time zone,
    used_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY ops.crawl_hosts
    ADD CONSTRAINT crawl_hosts_pkey PRIMARY KEY (host);

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE ops.crawl_hosts TO adriatic_flows;

CREATE TABLE ops.crawl_robots (
    origin text NOT NULL,
    state text NOT NULL,
    body text NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT crawl_robots_body_check CHECK ((octet_length(body) <= 524288)),
    CONSTRAINT crawl_robots_state_check CHECK ((state = ANY (ARRAY['read'::text, 'none'::text, 'closed'::text])))
);

ALTER TABLE ONLY ops.crawl_robots
    ADD CONSTRAINT crawl_robots_pkey PRIMARY KEY (origin);

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE ops.crawl_robots TO adriatic_flows;

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

CREATE FUNCTION ops.keep_api_process(process_id uuid, lease_s double precision) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    BEGIN ATOMIC
 INSERT INTO ops.api_processes AS p (process_id, lease_until)
   VALUES (keep_api_process.process_id, (clock_timestamp() + make_interval(secs => LEAST(keep_api_process.lease_s, (3600)::double precision)))) ON CONFLICT ON CONSTRAINT api_processes_pkey DO UPDATE SET lease_until = excluded.lease_until;
END;

REVOKE ALL ON FUNCTION ops.keep_api_process(process_id uuid, lease_s double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.keep_api_process(process_id uuid, lease_s double precision) TO adriatic_api;

CREATE PROCEDURE ops.make_publication()
    LANGUAGE plpgsql
    AS $$
begin
    drop publication if exists adriatic;
    create publication adriatic for table
        app.adr_links, app.adr_tags, app.adr_versions, app.adrs, app.document_versions, app.logs, app.outbox,
        app.page_versions, app.tenants, app.usage_events, mv.activity, mv.daily_active_users, mv.entity_counts,
        mv.feed_status, mv.job_status, mv.related, mv.search_state, mv.suggestions, mv.usage_by_day,
        mv.usage_by_hour, mv.usage_by_key, mv.usage_by_model, mv.usage_by_user
    with (publish_via_partition_root = true);
end
$$;

REVOKE ALL ON PROCEDURE ops.make_publication() FROM PUBLIC;

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

CREATE FUNCTION ops.publication_mark(publication text) RETURNS text
    LANGUAGE sql STABLE STRICT
    SET search_path TO 'pg_catalog', 'pg_temp'
    RETURN (SELECT format('%s %s %s %s%s%s%s%s%s %s'::text, b.pubname, b.oid, b.xmin, (b.puballtables)::integer, (b.pubinsert)::integer, (b.pubupdate)::integer, (b.pubdelete)::integer, (b.pubtruncate)::integer, (b.pubviaroot)::integer, (SELECT string_agg((r.oid)::text, ','::text ORDER BY r.oid) AS string_agg FROM pg_publication_rel r WHERE (r.prpubid = b.oid))) AS format FROM pg_publication b WHERE (b.pubname = publication_mark.publication));

CREATE TABLE ops.recovery (
    number bigint NOT NULL,
    asked_by text NOT NULL,
    asked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    step text DEFAULT 'hold'::text NOT NULL,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    done bigint DEFAULT 0 NOT NULL,
    total bigint,
    finished_at timestamp with time zone,
    CONSTRAINT recovery_step_check CHECK ((step = ANY (ARRAY['hold'::text, 'forget'::text, 'empty'::text, 'topics'::text, 'copy'::text, 'catch-up'::text, 'verify'::text])))
);

ALTER TABLE ops.recovery ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ops.recovery_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY ops.recovery
    ADD CONSTRAINT recovery_pkey PRIMARY KEY (number);

CREATE UNIQUE INDEX recovery_unfinished ON ops.recovery USING btree ((true)) WHERE (finished_at IS NULL);

GRANT SELECT ON TABLE ops.recovery TO adriatic_flows;
GRANT SELECT ON TABLE ops.recovery TO adriatic_cdc;

CREATE FUNCTION ops.refuse_while_recovering() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    if exists (select from ops.recovery
               where finished_at is null and step in ('hold', 'forget', 'empty', 'topics', 'copy')) then
        raise exception 'the system is being recovered' using errcode = '57P03', hint = 'it goes on by itself afterwards';
    end if;
    return null;
end
$$;

CREATE FUNCTION ops.stopped_topics() RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    RETURN ARRAY(SELECT ('%.'::text || cdc_tables.table_name) FROM ops.cdc_tables WHERE (cdc_tables.state = 'stopped'::text));

CREATE FUNCTION ops.take_answer_calls(process_id uuid) RETURNS TABLE(answer_id uuid, stop boolean)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    BEGIN ATOMIC
 DELETE FROM ops.answer_calls c
   WHERE (c.process_id = take_answer_calls.process_id)
   RETURNING c.answer_id,
     c.stop;
END;

REVOKE ALL ON FUNCTION ops.take_answer_calls(process_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.take_answer_calls(process_id uuid) TO adriatic_api;

CREATE FUNCTION ops.tell_stops(tenants uuid[]) RETURNS TABLE(tenant_id uuid, level text, subject text, reason text, stopped_at timestamp with time zone)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    BEGIN ATOMIC
 SELECT s.tenant_id,
     s.level,
     s.subject,
     s.reason,
     s.stopped_at
    FROM app.spend_stops s
   WHERE ((s.tenant_id = ANY (tell_stops.tenants)) AND app.is_in_force(s.*))
   ORDER BY s.stopped_at;
END;

REVOKE ALL ON FUNCTION ops.tell_stops(tenants uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.tell_stops(tenants uuid[]) TO adriatic_api;

CREATE FUNCTION ops.tend_outbox(keep interval DEFAULT '7 days'::interval, OUT made integer, OUT dropped integer) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '2s'
    SET "TimeZone" TO 'UTC'
    AS $_$
declare
    passed constant timestamptz := least(
        now() - keep,
        (select coalesce(min(committed_at), '-infinity') from ops.cdc_progress),  -- least() leaves out what is null
        (select min(source_at) from mv.watermarks where topic in (select topic from app.emitters)));
    day timestamptz;
    partition record;
begin
    made := 0;
    dropped := 0;
    for partition in
        select c.oid::regclass as name, to_timestamp(right(c.relname, 8), 'YYYYMMDD') as day
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'app.outbox'::regclass and c.relname ~ '^outbox_\d{8}$'
    loop
        if partition.day + interval '1 day' <= passed then
            execute format('drop table %s', partition.name);
            dropped := dropped + 1;
        end if;
    end loop;
    delete from app.outbox_rest where emitted_at < passed;
    for day in select generate_series(date_trunc('day', now()), now() + interval '7 days', interval '1 day')
    loop
        continue when to_regclass(format('app.outbox_%s', to_char(day, 'YYYYMMDD'))) is not null
            or exists (select from app.outbox_rest where emitted_at >= day and emitted_at < day + interval '1 day');
        execute format('create table app.outbox_%s partition of app.outbox for values from (%L) to (%L)',
                       to_char(day, 'YYYYMMDD'), day, day + interval '1 day');
        execute format('alter table app.outbox_%s enable row level security', to_char(day, 'YYYYMMDD'));
        execute format('alter table app.outbox_%s force row level security', to_char(day, 'YYYYMMDD'));
        made := made + 1;
    end loop;
end
$_$;

REVOKE ALL ON FUNCTION ops.tend_outbox(keep interval, OUT made integer, OUT dropped integer) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.tend_outbox(keep interval, OUT made integer, OUT dropped integer) TO adriatic_cdc;
