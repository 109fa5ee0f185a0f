-- Agents: a goal that a job pursues in steps. Each call of a model and each call of a tool is a row before it is done, and again when it is
-- over, so that whoever takes the task up goes on behind the last one that is over. Goal, steps and result are the tenant's content, of
-- the user who asked, and are deleted when that user says so; the job's row says nothing of them.
create table app.agent_tasks (
    tenant_id  uuid not null,
    task_id    uuid not null,                      -- the job's
    asked_by   uuid not null,                      -- the user, as whom it runs; others of the tenant do not see it
    key_id     text check (length(key_id) between 1 and 255),  -- the credential that it spends with
    goal       text not null check (length(goal) between 1 and 4000),
    request    jsonb not null,                     -- as it was sent, with the bounds that hold
    result     jsonb,                              -- null: not yet
    created_at timestamptz not null default now(),
    primary key (tenant_id, task_id),
    foreign key (tenant_id, task_id) references app.jobs
);
create index agent_tasks_recent on app.agent_tasks (tenant_id, asked_by, created_at desc, task_id desc);
call app.protect('app.agent_tasks');
grant select, insert, delete on app.agent_tasks to adriatic_api;
grant update (result), delete on app.agent_tasks to adriatic_flows;

create table app.agent_steps (
    tenant_id   uuid not null,
    task_id     uuid not null,
    number      integer not null check (number >= 1),
    step_id     uuid not null,                     -- what it does beside reading is keyed by this
    kind        text not null check (kind in ('model', 'tool')),
    name        text not null check (length(name) between 1 and 200),  -- of the tool; of a model the name that was asked for
    input       jsonb not null,
    output      jsonb,                             -- null: it is not over
    state       text not null default 'begun' check (state in ('begun', 'done', 'failed')),
    attempt_id  uuid,                              -- of the last time that a model was asked; in the ledger by this
    begun_at    timestamptz not null default now(),
    finished_at timestamptz,
    primary key (tenant_id, task_id, number),
    check ((state = 'begun') = (output is null)),
    check ((state = 'begun') = (finished_at is null)),
    foreign key (tenant_id, task_id) references app.agent_tasks on delete cascade
);
call app.protect('app.agent_steps');
grant select, insert, update (output, state, attempt_id, finished_at) on app.agent_steps to adriatic_api;

-- What an agent would write. It is a proposal until a person says so, outlives the task, and has the id of the step that made it: a step
-- that is done again proposes nothing new.
create table app.proposals (
    tenant_id   uuid not null references app.tenants,
    proposal_id uuid not null,
    task_id     uuid not null,
    proposed_by uuid not null,                     -- the user whose task it was
    kind        text not null check (kind in ('adr', 'link', 'tag')),
    adr_id      uuid,                              -- what it is about; null: a new ADR
    content     jsonb not null,                    -- what would be written, in the kind's own form
    reason      text not null check (length(reason) <= 1000),
    state       text not null default 'open' check (state in ('open', 'accepted', 'dismissed')),
    answered_by text,                              -- as the history names them
    answered_id uuid,
    answered_at timestamptz,
    became_id   uuid,                              -- the ADR that was made, or that has it now
    created_at  timestamptz not null default now(),
    primary key (tenant_id, proposal_id),
    foreign key (tenant_id, adr_id) references app.adrs,
    check ((kind = 'adr') = (adr_id is null)),
    check ((state = 'open') = (answered_at is null)),
    check (num_nulls(answered_by, answered_id, answered_at) in (0, 3)),
    check ((state = 'accepted') = (became_id is not null))
);
create index proposals_recent on app.proposals (tenant_id, created_at desc, proposal_id desc);
create index proposals_by_task on app.proposals (tenant_id, task_id);
create index proposals_by_adr on app.proposals (tenant_id, adr_id);
call app.protect('app.proposals');
grant select, insert, update (state, answered_by, answered_id, answered_at, became_id) on app.proposals to adriatic_api;

-- Says that a task is over, however it ended and whoever ended it, in the transaction that ends its job.
create function app.tell_agent_task_over() returns trigger
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as
$$
begin
    perform app.emit(
        'agent.task.completed',
        jsonb_build_object('tenant_id', new.tenant_id, 'id', new.job_id),
        new.tenant_id,
        jsonb_build_object(
            'event_id', gen_random_uuid(), 'tenant_id', new.tenant_id,
            'occurred_at', (extract(epoch from clock_timestamp()) * 1000000)::bigint,
            'task_id', new.job_id, 'state', new.state,
            'code', case when new.state = 'failed' then coalesce(new.last_error ->> 'code', '') else '' end,
            'steps', (
                select count(*)
                from app.agent_steps s
                where s.tenant_id = new.tenant_id and s.task_id = new.job_id and s.state <> 'begun'),
            'proposals', (
                select count(*)
                from app.proposals p
                where p.tenant_id = new.tenant_id and p.task_id = new.job_id)),
        case when new.traceparent is null then '{}'::jsonb else jsonb_build_object('traceparent', new.traceparent) end);
    return null;
end
$$;
create trigger agent_task_over
    after update of state on app.jobs
    for each row
    when (new.kind = 'agent_task' and new.finished_at is not null and old.finished_at is null)
    execute function app.tell_agent_task_over();

insert into app.emitters
values ('adriatic_api', 'agent.task.completed'), ('adriatic_flows', 'agent.task.completed');
