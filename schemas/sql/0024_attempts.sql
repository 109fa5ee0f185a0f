-- An attempt is in the books before its provider is asked: whatever is killed afterwards, what it may have cost is not forgotten.

-- Who serves answers at the moment: a process renews its lease while it lives. Nobody's data.
create table ops.api_processes (
    process_id  uuid primary key,
    lease_until timestamptz not null
);
grant select, delete on ops.api_processes to adriatic_flows;

-- A process says that it lives for so many seconds more; 0: that it has ended. A function of the owner, since the API's role writes no
-- table that is not a tenant's: it learns nothing by it, and can only speak for a process whose id it knows.
create function ops.keep_api_process(process_id uuid, lease_s double precision) returns void
    language sql volatile security definer
    set search_path = pg_catalog, pg_temp
    begin atomic
    insert into ops.api_processes as p (process_id, lease_until)
    values (keep_api_process.process_id, clock_timestamp() + make_interval(secs => least(lease_s, 3600)))
    on conflict on constraint api_processes_pkey do update set lease_until = excluded.lease_until;
    end;
revoke execute on function ops.keep_api_process from public;
grant execute on function ops.keep_api_process to adriatic_api;

-- Attempts that are not settled yet. Settling one is one transaction: its row here goes, and its row in app.usage_events comes. A
-- process that died leaves its rows; they are settled by the bound when its lease has run out.
create table app.attempts (
    tenant_id         uuid not null references app.tenants,
    attempt_id        uuid not null,
    process_id        uuid not null,               -- ops.api_processes; no reference: a process that is gone is the point
    session_id        uuid not null,
    user_id           uuid not null,
    key_id            text check (length(key_id) between 1 and 255),
    provider          text not null,
    model             text not null,
    input_bytes       bigint not null check (input_bytes >= 0),             -- what the provider is given to read
    output_tokens_max bigint not null check (output_tokens_max >= 0),       -- what it may write at most
    begun_at          timestamptz not null,
    primary key (tenant_id, attempt_id),
    foreign key (tenant_id, user_id) references app.users
);
call app.protect('app.attempts');
grant select, insert, delete on app.attempts to adriatic_api, adriatic_flows;
grant update (process_id) on app.attempts to adriatic_flows;  -- what it takes to lock a row; nobody changes one
grant insert on app.usage_events to adriatic_flows;

-- How wrong a row can be: at most this many tokens were charged beside those that it has. 0: the provider counted.
alter table app.usage_events add column unseen_tokens_max bigint not null default 0 check (unseen_tokens_max >= 0);

call ops.bound_rows();
