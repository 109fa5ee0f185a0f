-- Feeds: documents of outside producers. What they may do is in app, what came of it in mv.

create table app.feeds (
    tenant_id        uuid not null references app.tenants,
    feed_id          uuid not null,
    slug             text not null check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name             text not null check (length(name) between 1 and 200),
    items_per_day    bigint not null check (items_per_day >= 0),
    bytes_per_day    bigint not null check (bytes_per_day >= 0),
    items_per_minute integer not null check (items_per_minute >= 0),  -- over HTTP
    paused           boolean not null default false,
    created_at       timestamptz not null default now(),
    deleted_at       timestamptz,                  -- the slug stays: made anew, it is this feed again, with its documents
    primary key (tenant_id, feed_id),
    unique (tenant_id, slug)
);
call app.protect('app.feeds');
grant select, insert, update on app.feeds to adriatic_api;

-- The public half of each key: nobody who reads this can write to a feed.
create table app.feed_keys (
    tenant_id  uuid not null,
    feed_id    uuid not null,
    key_id     text not null,                      -- in the header of each record; no secret. Begins with the tenant
    public_key bytea not null check (length(public_key) = 32),  -- Ed25519
    name       text not null default '',
    created_at timestamptz not null default now(),
    revoked_at timestamptz,
    primary key (tenant_id, key_id),
    foreign key (tenant_id, feed_id) references app.feeds
);
create index feed_keys_feed on app.feed_keys (tenant_id, feed_id);
call app.protect('app.feed_keys');
grant select, insert, update on app.feed_keys to adriatic_api;

-- What came in over HTTP: the minute and the day that are under way, by feed.
create table app.feed_doors (
    tenant_id    uuid not null,
    feed_id      uuid not null,
    minute       timestamptz not null,
    minute_items bigint not null,
    day          date not null,                    -- UTC
    day_items    bigint not null,
    day_bytes    bigint not null,
    primary key (tenant_id, feed_id),
    foreign key (tenant_id, feed_id) references app.feeds
);
call app.protect('app.feed_doors');
grant select, insert, update on app.feed_doors to adriatic_api;

-- The ledger: one row for each version of each item that came, and how often it came again.
create table mv.feed_ledger (
    tenant_id   uuid not null,
    feed_id     uuid not null,
    external_id text not null,
    version     bigint not null,
    outcome     text not null check (outcome in ('accepted', 'superseded')),
    deleted     boolean not null,
    repeats     bigint not null default 0,
    primary key (tenant_id, feed_id, external_id, version)
);
call app.protect('mv.feed_ledger');
grant insert, update, delete on mv.feed_ledger to adriatic_flows;

-- What a producer wants to know. received + redriven = accepted + duplicates + superseded + rejected.
create table mv.feed_status (
    tenant_id        uuid not null,
    feed_id          uuid not null,
    received         bigint not null default 0,
    accepted         bigint not null default 0,    -- each is a version of a document
    deleted          bigint not null default 0,    -- of the accepted ones
    duplicates       bigint not null default 0,    -- the same version again
    superseded       bigint not null default 0,    -- an older version, after a newer one
    rejected         bigint not null default 0,
    redriven         bigint not null default 0,    -- rejected once, and processed since
    not_kept         bigint not null default 0,    -- of the rejected ones: too many on a day, so their bytes are only in the topic
    rejected_by      jsonb not null default '{}',  -- {reason: count}
    last_item_at     timestamptz,                  -- when the newest one came, by the broker's clock
    last_accepted_at timestamptz,
    primary key (tenant_id, feed_id)
);
call app.protect('mv.feed_status');
grant select on mv.feed_status to adriatic_api;
grant insert, update, delete on mv.feed_status to adriatic_flows;

-- The newest rejections of each feed and reason (dataflows/feeds.py: REJECTIONS_MAX). No text of an item.
create table mv.feed_rejections (
    tenant_id     uuid not null,
    feed_id       uuid not null,
    topic         text not null,
    partition     integer not null,
    record_offset bigint not null,
    reason        text not null,
    detail        text not null,
    key_id        text,
    external_id   text,                            -- null: the record does not say, or nobody proved that it is the producer's
    version       bigint,
    received_at   timestamptz not null,
    primary key (tenant_id, feed_id, topic, partition, record_offset)
);
call app.protect('mv.feed_rejections');
grant select on mv.feed_rejections to adriatic_api;
grant insert, update, delete on mv.feed_rejections to adriatic_flows;

-- What counts against the quota of a day (UTC, by the broker's clock).
create table mv.feed_days (
    tenant_id uuid not null,
    feed_id   uuid not null,
    day       date not null,
    items     bigint not null,
    bytes     bigint not null,
    primary key (tenant_id, feed_id, day)
);
call app.protect('mv.feed_days');
grant select on mv.feed_days to adriatic_api;
grant insert, update, delete on mv.feed_days to adriatic_flows;

-- Up to where each partition was counted: a record below was counted already, and is read again.
create table ops.feed_positions (
    topic      text not null,
    partition  integer not null,
    counted_to bigint not null,
    primary key (topic, partition)
);
grant select, insert, update, delete on ops.feed_positions to adriatic_flows;

-- How many rejected records of a day were kept as dead letters. feed_id zero: nobody's.
create table ops.feed_letters (
    day     date not null,
    feed_id uuid not null,
    proven  boolean not null,                      -- its producer sent them; others must not use up its share
    kept    bigint not null,
    dropped bigint not null,
    primary key (day, feed_id, proven)
);
grant select, insert, update, delete on ops.feed_letters to adriatic_flows;
