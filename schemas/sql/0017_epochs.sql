-- Which log belongs to this database, and which database to a log. Neither system id nor timeline nor position can say that the
-- database went back to an earlier state: after a while its WAL has passed the old end, with other transactions.

-- Sessions of change capture, and the beat that each has come to. A beat is here before any record carries it
-- (`adriatic.session`), so a record whose session or beat is not here is of another future. Kept: the newest record of a
-- partition may be years old, and a row is a hundred bytes.
create table ops.cdc_sessions (
    session    uuid primary key,
    slot       text not null,
    beat       bigint not null check (beat > 0),
    started_at timestamptz not null default clock_timestamp(),
    started_lsn pg_lsn not null,                   -- the end of the WAL then
    process    text not null default '',           -- runtime/processes.py: what another one needs to see whether it has ended
    ended      boolean not null default false      -- all that it handed over is in Kafka, or never comes there
);
create index cdc_sessions_first on ops.cdc_sessions (slot, started_lsn);
grant select on ops.cdc_sessions to adriatic_flows, adriatic_api;
grant select, insert, update on ops.cdc_sessions to adriatic_cdc;

-- The topics that a capture fills: which ones (Kafka's id of a topic; empty: the broker has none), over how many partitions
-- keys are spread, and how far each partition is filled: one past the highest offset that the broker has acknowledged. A log that
-- went back and grew again may be as long as before; its last record is another one.
create table ops.cdc_topics (
    slot       text not null,
    topic      text not null,
    topic_id   text not null,
    partitions integer not null check (partitions > 0),
    ends       bigint[] not null default '{}',
    lasts      text[] not null default '{}',       -- of each partition the last record that is known: <offset>@<position>
    may_differ boolean not null default false,     -- a reset: whatever the topic is now is the one
    primary key (slot, topic)
);
grant select on ops.cdc_topics to adriatic_flows, adriatic_api;
grant select, insert, update, delete on ops.cdc_topics to adriatic_cdc;

-- Which snapshot of a slot's tables is wanted, or was taken (ops.cdc_progress.snapshot_lsn says where). Its records carry this id,
-- and "it is in Kafka" is believed of it alone.
create table ops.cdc_snapshots (
    slot        text primary key,
    snapshot_id uuid not null,
    wanted_at   timestamptz not null default clock_timestamp()
);
grant select on ops.cdc_snapshots to adriatic_flows, adriatic_api;
grant select, insert, update, delete on ops.cdc_snapshots to adriatic_cdc;

-- Locked by the capture that runs. Nothing is in it: a lock on a table needs a right on that table, an advisory lock needs none,
-- so that whoever can connect could keep capture from running.
create table ops.cdc_lock (only_row boolean primary key check (only_row));
grant update on ops.cdc_lock to adriatic_cdc;
