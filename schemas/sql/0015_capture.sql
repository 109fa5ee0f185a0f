-- Change capture: how far it is, which tables it stopped, and what it reads.

-- How far change capture is: every commit up to (lsn, committed_at) is in Kafka.
create table ops.cdc_progress (
    slot         text primary key,
    system_id    text not null,
    lsn          pg_lsn not null,
    committed_at timestamptz not null,             -- the source's clock, at a heartbeat or a commit
    snapshot_after pg_lsn not null default '0/0',  -- a snapshot that was taken later than this is wanted
    snapshot_lsn pg_lsn,                           -- and is in Kafka, with the rows as of here; null: not yet
    updated_at   timestamptz not null default now(),
    -- How far capture has read the WAL, by the source's clock; committed_at is how far all of it is in Kafka.
    read_at      timestamptz
);
grant select on ops.cdc_progress to adriatic_flows, adriatic_api;
grant select, insert, update, delete on ops.cdc_progress to adriatic_cdc;

-- A table that capture stopped (R11), and why; the others go on. The API reads it: a live read says how far it is, and of a
-- stopped table the changes are missing, however far the rest is.
create table ops.cdc_tables (
    slot       text not null,
    table_name text not null,
    state      text not null check (state in ('streaming', 'snapshot', 'stopped')),
    code       text not null default '',
    detail     text not null default '',
    hint       text not null default '',
    since      timestamptz not null default now(),
    primary key (slot, table_name)
);
grant select on ops.cdc_tables to adriatic_flows, adriatic_api;
grant select, insert, update, delete on ops.cdc_tables to adriatic_cdc;

-- The publication exists before the slot does (R5). No copy is taken of a table that joins it later: a later migration that adds
-- one which has rows writes each of them again as it is, so that its topic has all of them.
create publication adriatic for table
    app.tenants, app.logs, app.adrs, app.adr_versions, app.adr_links, app.adr_tags, app.document_versions, app.usage_events,
    mv.search_state, mv.related, mv.activity, mv.entity_counts, mv.daily_active_users, mv.feed_status, mv.job_status,
    mv.usage_by_hour, mv.usage_by_day, mv.usage_by_model, mv.usage_by_user, mv.usage_by_key;
