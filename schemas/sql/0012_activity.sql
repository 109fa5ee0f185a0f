-- What happened, and how much there is: kept by the flow `activity`, a function of app.adr_versions alone.

-- The ledger: what the flow has counted, once for each version. A record that comes again finds its row here and changes nothing.
-- No text: title and author are what the feed shows.
create table mv.activity_ledger (
    tenant_id    uuid not null,
    adr_id       uuid not null,
    version      integer not null,
    change       text not null,
    title        text not null,
    status       text not null,
    author       text not null,
    effective_at timestamptz not null,
    recorded_at  timestamptz not null,
    primary key (tenant_id, adr_id, version)
);
create index activity_ledger_newest
    on mv.activity_ledger (tenant_id, recorded_at desc, effective_at desc, adr_id desc, version desc);
create index activity_ledger_day on mv.activity_ledger (tenant_id, ((effective_at at time zone 'UTC')::date), author);
call app.protect('mv.activity_ledger');
grant insert, update, delete on mv.activity_ledger to adriatic_flows;

-- The newest 200 versions of each tenant (dataflows/activity.py: EVENTS_MAX), newest first by recorded_at, then effective_at.
create table mv.activity (
    tenant_id    uuid not null,
    adr_id       uuid not null,
    version      integer not null,
    change       text not null,                    -- create | update | rename | rollback | delete | restore
    title        text not null,
    status       text not null,
    author       text not null,                    -- empty: not known
    effective_at timestamptz not null,             -- when it was so, by the version
    recorded_at  timestamptz not null,             -- when it was written here
    primary key (tenant_id, adr_id, version)
);
call app.protect('mv.activity');
grant select on mv.activity to adriatic_api;
grant insert, update, delete on mv.activity to adriatic_flows;

-- No row counts zero: it is deleted then.
create table mv.entity_counts (
    tenant_id uuid not null,
    kind      text not null,                       -- adrs | deleted_adrs | versions
    label     text not null,                       -- status of the newest version; of versions: their kind of change
    count     bigint not null,
    primary key (tenant_id, kind, label)
);
call app.protect('mv.entity_counts');
grant select on mv.entity_counts to adriatic_api;
grant insert, update, delete on mv.entity_counts to adriatic_flows;

-- Of each day (UTC) with versions that took effect: how many authors they have, by name. Versions without one count nobody.
-- By when they took effect, so that an imported history shows when its authors worked, and not when it was imported.
create table mv.daily_active_users (
    tenant_id uuid not null,
    day       date not null,
    users     bigint not null check (users > 0),
    primary key (tenant_id, day)
);
call app.protect('mv.daily_active_users');
grant select on mv.daily_active_users to adriatic_api;
grant insert, update, delete on mv.daily_active_users to adriatic_flows;
