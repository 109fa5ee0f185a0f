-- Schemas, rights, and the tenant of the transaction.

create schema app;   -- what users write; append-only where history matters
create schema mv;    -- what flows maintain; the API never writes here
create schema ops;   -- offsets, dead letters, progress of the machinery; no tenant reads it

grant usage on schema app, mv to adriatic_api, adriatic_flows, adriatic_cdc, adriatic_search;
grant usage on schema ops to adriatic_api, adriatic_flows, adriatic_cdc;

-- Which of these files this database has; `adriatic migrate` writes it and refuses a file that changed afterwards.
create table ops.migrations (
    number     integer primary key check (number > 0),
    name       text not null,
    checksum   text not null,                      -- sha-256 of the file, in hex
    applied_at timestamptz not null default now()
);
grant select on ops.migrations to adriatic_api;

-- The one reader of the setting. Unset and empty are the same: no tenant, so no rows.
create function app.current_tenant() returns uuid
    language sql stable parallel safe
    return (select nullif(current_setting('app.tenant_id', true), '')::uuid);

-- Puts a tenant table under the law: forced row security, the tenant's own rows for the API, everything for the flows
-- and for change capture. The owner is not exempt and has no policy: it sees nothing. `tests/schemas/test_isolation.py`
-- walks the catalogue and fails on a table with a tenant_id that did not come through here.
create procedure app.protect(target regclass)
    language plpgsql as
$$
begin
    execute format('alter table %s enable row level security', target);
    execute format('alter table %s force row level security', target);
    execute format('create policy tenant on %s to adriatic_api, adriatic_search '
                   'using (tenant_id = (select app.current_tenant())) '
                   'with check (tenant_id = (select app.current_tenant()))', target);
    execute format('create policy flows on %s to adriatic_flows using (true) with check (true)', target);
    execute format('create policy cdc on %s for select to adriatic_cdc using (true)', target);
    execute format('grant select on %s to adriatic_flows, adriatic_cdc, adriatic_search', target);
end
$$;

-- An event: it enters the WAL with the rows of this transaction, or not at all (law 1). Change capture encodes `value`
-- by the topic's Avro schema and produces it. Timestamps in `value` are microseconds since 1970, UTC.
create function app.emit(topic text, key jsonb, tenant_id uuid, value jsonb, headers jsonb default '{}')
    returns pg_lsn
    language sql volatile
    return pg_logical_emit_message(true, 'outbox', jsonb_build_object(
        'topic', topic, 'key', key, 'tenant_id', tenant_id, 'value', value, 'headers', headers)::text);

-- The same for bytes that are produced as they are: a dead letter keeps the record's own key and value.
create function app.emit_raw(topic text, key bytea, tenant_id uuid, value bytea, headers jsonb default '{}')
    returns pg_lsn
    language sql volatile
    return pg_logical_emit_message(true, 'outbox', jsonb_build_object(
        'topic', topic, 'key_b64', encode(key, 'base64'), 'tenant_id', tenant_id,
        'value_b64', encode(value, 'base64'), 'headers', headers)::text);
