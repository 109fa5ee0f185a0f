-- Answers are kept for a while: what was asked, and what was shown. A reader who was cut goes on, whichever process it reaches, and a
-- conversation remembers. No topic has them: what people ask stays in these two tables, and goes when they say so.
create table app.answers (
    tenant_id  uuid not null references app.tenants,
    answer_id  uuid not null,
    user_id    uuid not null,
    session_id uuid not null,
    process_id uuid not null,                 -- who writes it; ops.api_processes
    question   text not null,
    begun_at   timestamptz not null,
    ended_at   timestamptz,
    primary key (tenant_id, answer_id),
    foreign key (tenant_id, user_id) references app.users
);
create index answers_of_user on app.answers (tenant_id, user_id, session_id, begun_at);
call app.protect('app.answers');
grant select, insert, update, delete on app.answers to adriatic_api;
grant select, delete on app.answers to adriatic_flows;

-- The events of an answer, in their order, some at a time: a JSON array of [name, data].
create table app.answer_parts (
    tenant_id   uuid not null,
    answer_id   uuid not null,
    first_event integer not null check (first_event >= 0),
    event_count integer not null check (event_count > 0),
    events      text not null,                -- JSON, as text: jsonb takes no U+0000
    primary key (tenant_id, answer_id, first_event),
    foreign key (tenant_id, answer_id) references app.answers on delete cascade
);
call app.protect('app.answer_parts');
grant select, insert, update on app.answer_parts to adriatic_api;

-- What is said to the process that writes an answer: that somebody reads it elsewhere (so it writes down what it has), or that it is to
-- stop. Nobody's data: a process is told of answers that it writes itself, and takes each word out as it reads it.
create table ops.answer_calls (
    process_id uuid not null references ops.api_processes on delete cascade,
    answer_id  uuid not null,
    stop       boolean not null,
    primary key (process_id, answer_id, stop)
);

-- Functions of the owner, since the API's role writes no table that is not a tenant's. Who calls must know both ids: the process's is
-- in the answer's row, which only its tenant sees. A process that is forgotten is told nothing.
create function ops.call_answer(process_id uuid, answer_id uuid, stop boolean) returns void
    language sql volatile security definer
    set search_path = pg_catalog, pg_temp
    begin atomic
    insert into ops.answer_calls (process_id, answer_id, stop)
    select p.process_id, call_answer.answer_id, call_answer.stop
    from ops.api_processes p
    where p.process_id = call_answer.process_id
    on conflict do nothing;
    end;
revoke execute on function ops.call_answer from public;
grant execute on function ops.call_answer to adriatic_api;

create function ops.take_answer_calls(process_id uuid) returns table (answer_id uuid, stop boolean)
    language sql volatile security definer
    set search_path = pg_catalog, pg_temp
    begin atomic
    delete from ops.answer_calls c
    where c.process_id = take_answer_calls.process_id
    returning c.answer_id, c.stop;
    end;
revoke execute on function ops.take_answer_calls from public;
grant execute on function ops.take_answer_calls to adriatic_api;

-- Whether a process still says that it lives: its answers come to an end, or they do not.
create function ops.api_process_lives(process_id uuid) returns boolean
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
    begin atomic
    select exists (
        select
        from ops.api_processes p
        where p.process_id = api_process_lives.process_id and p.lease_until >= now()
    );
    end;
revoke execute on function ops.api_process_lives from public;
grant execute on function ops.api_process_lives to adriatic_api;
