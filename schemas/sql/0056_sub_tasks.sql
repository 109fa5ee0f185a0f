-- Tasks that a task of an agent starts: each is a job like any other, has the id of the step that started it, so that a step which is done
-- again starts no second one, and spends what its parent may spend.
alter table app.agent_tasks
    add column parent_id uuid,                     -- null: a person asked for it
    add column depth integer not null default 0,   -- tasks above it
    add constraint agent_tasks_depth check (depth between 0 and 2 and (parent_id is null) = (depth = 0)),
    add constraint agent_tasks_parent foreign key (tenant_id, parent_id) references app.agent_tasks on delete cascade;
create index agent_tasks_children on app.agent_tasks (tenant_id, parent_id) where parent_id is not null;

-- Whoever cancels a task, and whoever ends it in whatever way, cancels what it started, in the same transaction: at once what nobody works
-- on, and the rest by its worker, which looks several times a second.
create function app.cancel_sub_tasks() returns trigger
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as
$$
declare
    child uuid;
begin
    for child in
        select j.job_id
        from app.agent_tasks t
        join app.jobs j on j.tenant_id = t.tenant_id and j.job_id = t.task_id
        where t.tenant_id = new.tenant_id and t.parent_id = new.job_id and j.state in ('queued', 'running')
            and j.cancel_requested_at is null
        for update of j
    loop
        update app.jobs j
        set cancel_requested_at = clock_timestamp(),
            sequence = j.sequence + 1,
            state = case when idle then 'cancelled' else j.state end,
            finished_at = case when idle then clock_timestamp() end,
            lease_owner = case when idle then null else j.lease_owner end,
            lease_until = case when idle then null else j.lease_until end
        from (
            select lease_until is null or lease_until <= clock_timestamp() as idle
            from app.jobs
            where tenant_id = new.tenant_id and job_id = child) found
        where j.tenant_id = new.tenant_id and j.job_id = child;
        perform app.emit_job_progress(new.tenant_id, child);
    end loop;
    return null;
end
$$;
create trigger agent_task_ends_others
    after update of state, cancel_requested_at on app.jobs
    for each row
    when (new.kind = 'agent_task' and (
        (new.finished_at is not null and old.finished_at is null)
        or (new.cancel_requested_at is not null and old.cancel_requested_at is null)))
    execute function app.cancel_sub_tasks();
