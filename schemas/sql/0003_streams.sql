-- What keeps topic → table exactly once: offsets, dead letters, watermarks (law 2).

-- The fence. A flow moves its offset with `where next_offset = $expected`: zero rows means that another writer was here.
create table ops.consumer_offsets (
    flow        text not null,
    topic       text not null,
    partition   integer not null,
    next_offset bigint not null check (next_offset >= 0),
    updated_at  timestamptz not null default now(),
    primary key (flow, topic, partition)
);

-- One row per record that could not be processed, written in the transaction that moves the offset past it.
create table ops.dlq (
    flow          text not null,
    topic         text not null,
    partition     integer not null,
    record_offset bigint not null,
    tenant_id     uuid,                            -- null: not known, the record does not decode
    stage         text not null,                   -- decode | process | encode
    code          text not null,
    detail        text not null,                   -- at most 1 KiB, never payload values
    hint          text not null default '',
    key           bytea,
    value         bytea,                           -- the original bytes
    headers       jsonb not null default '[]',     -- [[name, base64]], the original order
    record_at     timestamptz,
    failed_at     timestamptz not null default now(),
    attempts      integer not null default 1,
    state         text not null default 'new' check (state in ('new', 'redriven', 'dropped')),
    primary key (flow, topic, partition, record_offset)
);
create index dlq_state on ops.dlq (state, failed_at);

-- How far change capture is: every commit up to (lsn, committed_at) is in Kafka.
create table ops.cdc_progress (
    slot         text primary key,
    system_id    text not null,
    lsn          pg_lsn not null,
    committed_at timestamptz not null,             -- the source's clock, at a heartbeat or a commit
    snapshot_after pg_lsn not null default '0/0',  -- a snapshot that was taken later than this is wanted
    snapshot_lsn pg_lsn,                           -- and is in Kafka, with the rows as of here; null: not yet
    updated_at   timestamptz not null default now()
);

-- A table that capture stopped (R11), and why; the others go on.
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

-- Every commit up to (lsn, source_at) that reached this partition is in the view.
create table mv.watermarks (
    view       text not null,
    topic      text not null,
    partition  integer not null,
    lsn        pg_lsn not null,
    source_at  timestamptz not null,
    applied_at timestamptz not null default now(),
    primary key (view, topic, partition)
);

-- Dead letters carry tenants' bytes. No policy for the API's role: it sees none of them.
alter table ops.dlq enable row level security;
alter table ops.dlq force row level security;
create policy flows on ops.dlq to adriatic_flows using (true) with check (true);
create policy cdc on ops.dlq to adriatic_cdc using (true) with check (true);

grant select, insert, update on ops.consumer_offsets, ops.dlq, mv.watermarks to adriatic_flows;
grant select on ops.cdc_progress, ops.cdc_tables to adriatic_flows;
grant select, insert, update, delete on ops.cdc_progress, ops.cdc_tables to adriatic_cdc;
grant select, insert on ops.dlq to adriatic_cdc;
grant select on ops.consumer_offsets to adriatic_cdc;
grant select on mv.watermarks to adriatic_api, adriatic_search;
grant select on ops.cdc_progress, ops.consumer_offsets to adriatic_api;
