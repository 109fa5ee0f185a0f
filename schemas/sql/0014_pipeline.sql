-- How the pipeline is: what the watcher (adriatic/watch/watcher.py) last saw, and how fresh views were, minute by minute.
-- No tenant's data: names of groups, topics and views, and numbers.

-- One row. Whoever reads it looks at sampled_at first: an old look says nothing about now.
create table ops.pipeline (
    only_row   boolean primary key default true check (only_row),
    sampled_at timestamptz not null,
    found      jsonb not null                      -- adriatic/watch/pipeline.py: Pipeline
);
grant select, insert, update on ops.pipeline to adriatic_flows;
grant select on ops.pipeline to adriatic_api;

-- What the sampler of the process that has a partition saw: every commit up to seen_at was taken from it, whether or not it
-- is in the view. Of a partition that nobody has, sampled_at stands still.
create table ops.flow_progress (
    flow       text not null,
    topic      text not null,
    partition  integer not null,
    seen_at    timestamptz,                        -- the source's clock; null: not known yet
    sampled_at timestamptz not null default clock_timestamp(),
    primary key (flow, topic, partition)
);
grant select, insert, update on ops.flow_progress to adriatic_flows;

-- Seconds that a view was behind, in all and by stage, over the looks of one minute. The watcher deletes what is older than
-- KEPT_DAYS (connectors/postgres/watch.py).
create table ops.freshness_minute (
    view    text not null,
    stage   text not null check (stage in ('total', 'wal', 'capture', 'topic', 'flow')),
    minute  timestamptz not null,
    samples integer not null check (samples > 0),
    p50_s   double precision not null,
    p95_s   double precision not null,
    p99_s   double precision not null,
    max_s   double precision not null,
    primary key (view, stage, minute)
);
create index freshness_minute_age on ops.freshness_minute (minute);
grant select, insert, update, delete on ops.freshness_minute to adriatic_flows;
grant select on ops.freshness_minute to adriatic_api;
