-- Where a tenant lets its crawls and the tools of its agents go: a list that an admin sets. Each time it is set is a version of its own, so
-- that it can be read who opened what, and when; the newest one holds.
create table app.allowed_hosts (
    tenant_id uuid not null references app.tenants,
    version   bigint not null check (version > 0),
    hosts     text[] not null check (cardinality(hosts) <= 200),  -- host, *.host, host/path with *
    set_by    uuid not null,
    set_name  text not null check (length(set_name) <= 255),      -- as the history names them
    set_at    timestamptz not null default now(),
    primary key (tenant_id, version)
);
call app.protect('app.allowed_hosts');
grant select, insert, delete on app.allowed_hosts to adriatic_api;
