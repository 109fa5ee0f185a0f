-- Jobs: work that takes longer than a request and must outlive the process that does it.

create table app.jobs (
    tenant_id    uuid not null references app.tenants,
    job_id       uuid not null,
    kind         text not null check (length(kind) between 1 and 63),
    params       jsonb not null default '{}',
    state        text not null default 'queued'
        check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    phase        text not null default '',         -- what it is at, in the kind's own words
    done         bigint not null default 0,        -- in `unit`
    total        bigint,                           -- in `unit`; null: not known yet
    unit         text not null default 'items',
    position     jsonb not null default '{}',      -- where the next step goes on; the kind's own
    sequence     bigint not null default 0,        -- of what job.progress says; grows with every change
    attempts     integer not null default 0,       -- failures and lost workers in a row, since the last step that committed
    due_at       timestamptz not null default now(),  -- not to be claimed before
    lease_owner  text,                             -- of one claim, never used again; null: nobody works on it
    lease_until  timestamptz,
    heartbeat_at timestamptz,
    served_at    timestamptz,                      -- when it was last claimed: whoever waits longest is next
    cancel_requested_at timestamptz,
    last_error   jsonb,                            -- {code, detail, hint}
    idempotency_key text check (length(idempotency_key) between 1 and 200),
    request_hash bytea,                            -- sha-256: the same key with another request is an error
    requested_by uuid,
    traceparent  text,
    created_at   timestamptz not null default now(),
    started_at   timestamptz,
    finished_at  timestamptz,
    primary key (tenant_id, job_id),
    unique (tenant_id, idempotency_key),
    check ((lease_owner is null) = (lease_until is null)),
    check ((finished_at is not null) = (state in ('succeeded', 'failed', 'cancelled')))
);
create index jobs_recent on app.jobs (tenant_id, created_at desc, job_id desc);
create index jobs_open on app.jobs (tenant_id, due_at) where state in ('queued', 'running');
call app.protect('app.jobs');
grant select, insert, update on app.jobs to adriatic_api;
grant update on app.jobs to adriatic_flows;

-- Says on job.progress what the row says now. Called in the transaction that changed the row.
create function app.emit_job_progress(of_tenant uuid, of_job uuid) returns pg_lsn
    language sql volatile
    begin atomic
    select app.emit(
        'job.progress',
        jsonb_build_object('tenant_id', j.tenant_id, 'id', j.job_id),
        j.tenant_id,
        jsonb_build_object(
            'event_id', gen_random_uuid(), 'tenant_id', j.tenant_id,
            'occurred_at', (extract(epoch from clock_timestamp()) * 1000000)::bigint,
            'job_id', j.job_id, 'job_kind', j.kind, 'sequence', j.sequence, 'state', j.state, 'stage', j.phase,
            'done', j.done, 'total', j.total, 'unit', j.unit,
            'code', coalesce(j.last_error ->> 'code', ''), 'message', coalesce(j.last_error ->> 'detail', '')),
        case when j.traceparent is null then '{}'::jsonb else jsonb_build_object('traceparent', j.traceparent) end)
    from app.jobs j where j.tenant_id = of_tenant and j.job_id = of_job;
    end;

-- What job.progress said last of each job: all that are open, and of those that are over the newest 500 of each tenant
-- (dataflows/job_status.py: FINISHED_MAX), by their id, which begins with the time at which they were asked for.
create table mv.job_status (
    tenant_id   uuid not null,
    job_id      uuid not null,
    kind        text not null,
    state       text not null,                     -- queued | running | succeeded | failed | cancelled
    stage       text not null,                     -- what it is at, in the kind's own words
    done        bigint not null,                   -- in `unit`
    total       bigint,                            -- in `unit`; null: not known yet
    unit        text not null,
    code        text not null,                     -- why it failed, for machines; else empty
    message     text not null,                     -- and for people
    sequence    bigint not null,                   -- of the event; a smaller one is old news
    occurred_at timestamptz not null,              -- when that was so
    primary key (tenant_id, job_id)
);
call app.protect('mv.job_status');
grant select on mv.job_status to adriatic_api;
grant insert, update, delete on mv.job_status to adriatic_flows;
