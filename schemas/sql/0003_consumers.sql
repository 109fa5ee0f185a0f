-- What keeps topic → table exactly once: offsets, dead letters, watermarks (law 2); and what operators did by hand.

-- The fence. A flow moves its offset with `where next_offset = $expected`: zero rows means that another writer was here.
create table ops.consumer_offsets (
    flow        text not null,
    topic       text not null,
    partition   integer not null,
    next_offset bigint not null check (next_offset >= 0),
    updated_at  timestamptz not null default now(),
    primary key (flow, topic, partition)
);
grant select, insert, update on ops.consumer_offsets to adriatic_flows;
grant select on ops.consumer_offsets to adriatic_cdc, adriatic_api;

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
-- Dead letters carry tenants' bytes. No policy for the API's role: it sees none of them.
alter table ops.dlq enable row level security;
alter table ops.dlq force row level security;
create policy flows on ops.dlq to adriatic_flows using (true) with check (true);
create policy cdc on ops.dlq to adriatic_cdc using (true) with check (true);
grant select, insert, update on ops.dlq to adriatic_flows;
grant select, insert on ops.dlq to adriatic_cdc;

-- Every commit up to (lsn, source_at) that reached this partition is in the view. At 0/0: its flow reads it, and nothing has been
-- said of it yet.
create table mv.watermarks (
    view       text not null,
    topic      text not null,
    partition  integer not null,
    lsn        pg_lsn not null,
    source_at  timestamptz not null,
    applied_at timestamptz not null default now(),
    primary key (view, topic, partition)
);
grant select, insert, update on mv.watermarks to adriatic_flows;
grant select on mv.watermarks to adriatic_api, adriatic_search;

-- What people did by hand, and what came of it. Append-only, by right: nobody may update or delete.
create table ops.audit (
    audit_id bigint generated always as identity primary key,
    at       timestamptz not null default clock_timestamp(),
    actor    text not null,                        -- user@host of whoever ran the command
    action   text not null,                        -- dlq.redrive | dlq.drop | …
    target   text not null,                        -- what it was done to; a dead letter: flow/topic/partition/offset
    result   text not null check (result in ('done', 'failed')),
    reason   text not null default '',             -- why, in the words of who did it
    detail   jsonb not null default '{}'           -- never payload values
);
create index audit_target on ops.audit (target, at);
grant select, insert on ops.audit to adriatic_flows;
