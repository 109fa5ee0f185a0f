-- Crawls: pages of sites that a tenant named, each a source with versions. What is asked for, what came of each address, and the
-- pages are of the tenant; when a host may be asked again is of the whole installation.

create table app.crawls (
    tenant_id    uuid not null references app.tenants,
    crawl_id     uuid not null,
    job_id       uuid not null,
    start_urls   text[] not null,
    hosts        text[] not null,                  -- where links may lead; *.example.org is all below it
    include      text[] not null,                  -- paths that may be asked for, with *; empty: all
    exclude      text[] not null,                  -- paths that may not
    depth_max    integer not null check (depth_max >= 0),
    pages_max    integer not null check (pages_max > 0),
    bytes_max    bigint not null check (bytes_max > 0),
    seconds_max  integer not null check (seconds_max > 0),
    gone_after   integer not null check (gone_after > 0),  -- crawls in a row in which a page was not there, until it is deleted
    asked        integer not null default 0,       -- pages that were asked for, whatever came of it
    received     bigint not null default 0,        -- bytes of answers
    found        integer not null default 0,       -- rows of app.crawl_urls
    dropped      bigint not null default 0,        -- links of pages for which there was no room
    stopped      text not null default '',         -- the bound that ended it: pages | bytes | time; empty: nothing was left
    recalled     boolean not null default false,   -- whether pages of earlier crawls that nothing led to were added
    requested_by uuid,
    traceparent  text,
    created_at   timestamptz not null default now(),
    ends_at      timestamptz,                      -- set when it begins
    primary key (tenant_id, crawl_id),
    foreign key (tenant_id, job_id) references app.jobs deferrable initially deferred
);
create index crawls_recent on app.crawls (tenant_id, created_at desc, crawl_id desc);
call app.protect('app.crawls');
grant select, insert on app.crawls to adriatic_api;
grant update on app.crawls to adriatic_flows;

-- The frontier, and what came of each address. The order of ids is that in which they were found.
create table app.crawl_urls (
    tenant_id  uuid not null,
    crawl_id   uuid not null,
    url_id     bigint generated always as identity,
    url        text not null check (length(url) <= 2048),  -- in its normal form (connectors/fetching/urls.py)
    host       text not null,
    kind       text not null check (kind in ('page', 'sitemap', 'recalled')),
    depth      integer not null,                   -- links from a start page
    hops       integer not null default 0,         -- redirects that led here
    state      text not null default 'waiting'
        check (state in ('waiting', 'stored', 'unchanged', 'duplicate', 'redirected', 'refused', 'failed', 'gone', 'read')),
    code       text not null default '',           -- why it is refused, failed or a duplicate
    detail     text not null default '',           -- the same for people
    status     integer,                            -- of the last answer
    tries      integer not null default 0,
    refers_to  text,                               -- where it leads, or which address has its text
    page_id    uuid,
    text_hash  bytea,                              -- of the words of its text, in their order
    simhash    bigint,                             -- near texts have near ones; null: too short to tell
    asked_at   timestamptz,
    primary key (tenant_id, crawl_id, url_id),
    unique (tenant_id, crawl_id, url),
    foreign key (tenant_id, crawl_id) references app.crawls on delete cascade
);
create index crawl_urls_waiting on app.crawl_urls (tenant_id, crawl_id, host, depth, url_id) where state = 'waiting';
call app.protect('app.crawl_urls');
grant select on app.crawl_urls to adriatic_api;
grant insert, update, delete on app.crawl_urls to adriatic_flows;

-- A page as the last crawl saw it. Its text is in app.page_versions.
create table app.pages (
    tenant_id     uuid not null references app.tenants,
    page_id       uuid not null,
    url           text not null check (length(url) <= 2048),
    title         text not null,
    media_type    text not null,
    version       bigint not null,
    etag          text not null default '',
    last_modified text not null default '',
    content_hash  bytea not null,                  -- sha-256 of title and text
    text_hash     bytea not null,                  -- as in app.crawl_urls, and so is the next
    simhash       bigint,
    links         text[] not null,                 -- where it leads: what has not changed is not sent again
    gone          integer not null default 0,      -- crawls in a row in which it was not there
    crawl_id      uuid not null,                   -- the last that asked for it
    fetched_at    timestamptz not null,
    deleted_at    timestamptz,
    primary key (tenant_id, page_id),
    unique (tenant_id, url)
);
create index pages_crawl on app.pages (tenant_id, crawl_id);
call app.protect('app.pages');
grant select, update on app.pages to adriatic_api;
grant insert, update on app.pages to adriatic_flows;

-- Append-only, like app.document_versions.
create table app.page_versions (
    tenant_id    uuid not null references app.tenants,
    page_id      uuid not null,
    version      bigint not null check (version > 0),
    kind         text not null check (kind in ('create', 'update', 'delete')),
    crawl_id     uuid,                             -- null: a person deleted it
    url          text not null check (length(url) <= 2048),
    title        text not null check (length(title) <= 1000),
    media_type   text not null check (length(media_type) between 1 and 255),
    body         text not null check (octet_length(body) <= 1048576),
    effective_at timestamptz not null,             -- when it was fetched
    recorded_at  timestamptz not null default now(),
    traceparent  text,
    primary key (tenant_id, page_id, version),
    check (kind <> 'delete' or body = '')
);
call app.protect('app.page_versions');
grant select, insert on app.page_versions to adriatic_api;
grant insert on app.page_versions to adriatic_flows;

create or replace view app.source_versions with (security_invoker = true) as
select tenant_id, 'adr' as kind, adr_id as source_id, version::bigint, change = 'delete' as deleted, title, status,
       effective_at, body
  from app.adr_versions
union all
select tenant_id, 'document', document_id, version, kind = 'delete', title, '', effective_at, body
  from app.document_versions
union all
select tenant_id, 'page', page_id, version, kind = 'delete', title, '', effective_at, body
  from app.page_versions;

-- Whose turn it is at a host, over all tenants and processes: one request at a time, and none before `next_at`. A job that is not at
-- work any more has no turn.
create table ops.crawl_hosts (
    host        text primary key,
    turn_tenant uuid,
    turn_job    uuid,
    turn_until  timestamptz,
    last_job    uuid,                              -- whose turn it was last: it is not the next, while another wants it
    wanted_by   uuid,
    wanted_until timestamptz,
    next_at     timestamptz not null default now(),
    delay_s     double precision not null default 0,  -- that its robots.txt asks for
    failures    integer not null default 0,        -- in a row
    open_until  timestamptz,                       -- nobody asks before: it failed too often
    used_at     timestamptz not null default now()
);
grant select, insert, update, delete on ops.crawl_hosts to adriatic_flows;

-- What robots.txt said last, for each scheme, host and port.
create table ops.crawl_robots (
    origin     text primary key,
    state      text not null check (state in ('read', 'none', 'closed')),
    body       text not null check (octet_length(body) <= 524288),
    expires_at timestamptz not null
);
grant select, insert, update, delete on ops.crawl_robots to adriatic_flows;

insert into app.emitters values
    ('adriatic_api', 'crawl.submitted'),
    ('adriatic_flows', 'crawl.completed'),
    ('adriatic_flows', 'adriatic.app.page_versions.dlq');

-- As before, with the text of a page.
create or replace procedure ops.bound_rows()
    language plpgsql as
$$
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

alter publication adriatic add table app.page_versions;
call ops.bound_rows();

create or replace procedure ops.make_publication()
    language plpgsql as
$$
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
