-- Events are rows (law 1). Whoever may write to a topic inserts a row of app.outbox in the transaction that it speaks of; change
-- capture encodes it by the topic's contract and produces it. Row security and app.emitters say who may speak to which topic for
-- whom: a role that is not ours has no right at all, and ours none without a tenant, or for another one.
--
-- Before, an event was a logical message in the WAL. Anybody who can connect may write one of those for any tenant, and with a
-- lost slot it is gone. A row is copied again by a snapshot.

-- Which role may speak to which topic. Changed by migrations alone.
create table app.emitters (
    role  name not null,
    topic text not null,
    primary key (role, topic)
);
grant select on app.emitters to adriatic_api, adriatic_flows;
insert into app.emitters
select 'adriatic_api', unnest('{agent.task.submitted,document.uploaded,feed.received,job.progress}'::text[])
union all
select 'adriatic_flows', unnest('{document.processed,embeddings.requested,job.progress}'::text[]);
insert into app.emitters
select 'adriatic_flows', topic || '.dlq'
from unnest('{adriatic.app.adr_links,adriatic.app.adr_versions,adriatic.app.document_versions,adriatic.app.usage_events,
adriatic.mv.search_state,agent.task.submitted,crawl.submitted,document.uploaded,embeddings.requested,feed.documents,
feed.received,job.progress,rag.search.requested}'::text[]) as topic;

-- Partitioned by the day (UTC) on which an event was emitted; a day is dropped when everybody has passed it (ops.tend_outbox).
create table app.outbox (
    event_id    bigint generated always as identity,
    emitted_at  timestamptz not null default clock_timestamp(),
    emitted_by  name not null default current_user,
    topic       text not null,
    tenant_id   uuid,                              -- null: of a dead letter whose tenant nobody knows
    key         jsonb,                             -- key and value are encoded by the topic's contract …
    value       jsonb,
    key_bytes   bytea,                             -- … or are these bytes, as they are
    value_bytes bytea,
    headers     jsonb not null default '{}',
    primary key (emitted_at, event_id),
    -- Readers believe the tenant that the record says. It is the one that row security let pass.
    constraint names_its_tenant check (
        coalesce(value ->> 'tenant_id', tenant_id::text) is not distinct from tenant_id::text
        and coalesce(key ->> 'tenant_id', tenant_id::text) is not distinct from tenant_id::text),
    constraint is_either check (value is null or (value_bytes is null and key_bytes is null))
) partition by range (emitted_at);
-- Days that nobody made in time. Kept empty by ops.tend_outbox.
create table app.outbox_rest partition of app.outbox default;

alter table app.outbox enable row level security;
alter table app.outbox force row level security;
alter table app.outbox_rest enable row level security;
alter table app.outbox_rest force row level security;
create policy keeping on app.outbox_rest to adriatic_owner using (true);  -- ops.tend_outbox deletes there
-- Not the columns that say who and when: those are what the database knows.
grant insert (topic, tenant_id, key, value, key_bytes, value_bytes, headers) on app.outbox to adriatic_api, adriatic_flows;
grant select on app.outbox to adriatic_cdc;
create policy tenant on app.outbox to adriatic_api
    using (tenant_id = (select app.current_tenant())) with check (tenant_id = (select app.current_tenant()));
create policy emitters on app.outbox as restrictive for insert to adriatic_api, adriatic_flows
    with check (exists (select from app.emitters e where e.role = current_user and e.topic = outbox.topic));
create policy flows on app.outbox for insert to adriatic_flows with check (true);
create policy cdc on app.outbox for select to adriatic_cdc using (true);

-- The functions keep their names and arguments. True: it is written.
drop function app.emit_job_progress(uuid, uuid);
drop function app.emit(text, jsonb, uuid, jsonb, jsonb);
drop function app.emit_raw(text, bytea, uuid, bytea, jsonb);

create function app.emit(topic text, key jsonb, tenant_id uuid, value jsonb, headers jsonb default '{}') returns boolean
    language sql volatile
    begin atomic
    insert into app.outbox (topic, tenant_id, key, value, headers)
    values (emit.topic, emit.tenant_id, emit.key, emit.value, emit.headers);
    select true;
    end;

create function app.emit_raw(topic text, key bytea, tenant_id uuid, value bytea, headers jsonb default '{}')
    returns boolean
    language sql volatile
    begin atomic
    insert into app.outbox (topic, tenant_id, key_bytes, value_bytes, headers)
    values (emit_raw.topic, emit_raw.tenant_id, emit_raw.key, emit_raw.value, emit_raw.headers);
    select true;
    end;

-- Written again as it was: it calls app.emit.
create function app.emit_job_progress(of_tenant uuid, of_job uuid) returns boolean
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

-- Makes the days to come, and drops those that everybody has passed: capture (all of it is in Kafka) and the flows that read
-- events (their watermarks), and that are older than the topics keep their records: a broker that lost them can be filled again.
-- Rows of a day that nobody made in time are in app.outbox_rest; such a day is not made any more, and its rows are deleted.
create function ops.tend_outbox(keep interval default '7 days', out made integer, out dropped integer)
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set lock_timeout = '2s'
    set timezone = 'UTC'
as $$
declare
    passed constant timestamptz := least(
        now() - keep,
        (select coalesce(min(committed_at), '-infinity') from ops.cdc_progress),  -- least() leaves out what is null
        (select min(source_at) from mv.watermarks where topic in (select topic from app.emitters)));
    day timestamptz;
    partition record;
begin
    made := 0;
    dropped := 0;
    for partition in
        select c.oid::regclass as name, to_timestamp(right(c.relname, 8), 'YYYYMMDD') as day
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'app.outbox'::regclass and c.relname ~ '^outbox_\d{8}$'
    loop
        if partition.day + interval '1 day' <= passed then
            execute format('drop table %s', partition.name);
            dropped := dropped + 1;
        end if;
    end loop;
    delete from app.outbox_rest where emitted_at < passed;
    for day in select generate_series(date_trunc('day', now()), now() + interval '7 days', interval '1 day')
    loop
        continue when to_regclass(format('app.outbox_%s', to_char(day, 'YYYYMMDD'))) is not null
            or exists (select from app.outbox_rest where emitted_at >= day and emitted_at < day + interval '1 day');
        execute format('create table app.outbox_%s partition of app.outbox for values from (%L) to (%L)',
                       to_char(day, 'YYYYMMDD'), day, day + interval '1 day');
        execute format('alter table app.outbox_%s enable row level security', to_char(day, 'YYYYMMDD'));
        execute format('alter table app.outbox_%s force row level security', to_char(day, 'YYYYMMDD'));
        made := made + 1;
    end loop;
end
$$;
revoke execute on function ops.tend_outbox from public;
grant execute on function ops.tend_outbox to adriatic_cdc;
select ops.tend_outbox();

-- Through the root: a day's table is not one that anybody reads.
alter publication adriatic set (publish_via_partition_root = true);
alter publication adriatic add table app.outbox;
