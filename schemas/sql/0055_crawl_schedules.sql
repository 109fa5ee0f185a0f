-- Crawls that are made again and again: what is to be crawled, how often, and when next. The agent that does the jobs makes a crawl of
-- each whose time has come; a time that nobody was there for is passed over.
create table app.crawl_schedules (
    tenant_id     uuid not null references app.tenants,
    schedule_id   uuid not null,
    start_urls    text[] not null,                 -- this and the next eight as in app.crawls
    hosts         text[] not null,
    include       text[] not null,
    exclude       text[] not null,
    depth_max     integer not null check (depth_max >= 0),
    pages_max     integer not null check (pages_max > 0),
    bytes_max     bigint not null check (bytes_max > 0),
    seconds_max   integer not null check (seconds_max > 0),
    gone_after    integer not null check (gone_after > 0),
    every_s       integer not null check (every_s between 3600 and 31622400),
    paused        boolean not null default false,
    next_at       timestamptz not null default now(),
    last_crawl_id uuid,                            -- the crawl that was made last
    passed_over   bigint not null default 0,       -- times at which no crawl was made
    told          text not null default '',        -- why none was made the last time; empty: one was
    made_by       uuid not null,
    created_at    timestamptz not null default now(),
    primary key (tenant_id, schedule_id),
    foreign key (tenant_id, last_crawl_id) references app.crawls
);
create index crawl_schedules_due on app.crawl_schedules (tenant_id, next_at) where not paused;
create index crawl_schedules_last on app.crawl_schedules (tenant_id, last_crawl_id);
call app.protect('app.crawl_schedules');
grant select, insert, delete, update (paused, next_at) on app.crawl_schedules to adriatic_api;
grant update on app.crawl_schedules to adriatic_flows;

-- Whoever makes a crawl of a schedule records it as the API records one.
grant insert on app.crawls, app.jobs to adriatic_flows;
insert into app.emitters
values ('adriatic_flows', 'crawl.submitted');
