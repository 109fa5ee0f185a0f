-- Run by the admin before the first migration, and safe to run again: roles, and the extension that needs a superuser.
-- `adriatic migrate` sets the passwords afterwards; the database itself is made by it too.
-- None of the roles may bypass row security (law 4): what each of them sees is a policy, readable in the catalogue.
do $$
declare
    wanted record;
begin
    for wanted in
        select *
        from (values
            ('adriatic_owner', 'login'),             -- owns the schemas; runs migrations only
            ('adriatic_api', 'login'),               -- serves one tenant per transaction
            ('adriatic_flows', 'login'),             -- keeps mv.*, for all tenants
            ('adriatic_cdc', 'login replication'),   -- reads the WAL and the first snapshot
            ('adriatic_search', 'nologin')           -- owns the search functions
        ) as roles (name, attributes)
    loop
        if not exists (select from pg_roles where rolname = wanted.name) then
            execute format('create role %I %s nosuperuser nobypassrls noinherit', wanted.name, wanted.attributes);
        end if;
    end loop;
end
$$;

-- The owner hands functions to this role, and does not get its sight of all rows.
grant adriatic_search to adriatic_owner with inherit false, set true;

-- Whoever cannot connect cannot speak: logical messages and advisory locks ask for no other right. By default everybody may.
do $$
begin
    execute format('revoke all on database %I from public', current_database());
    execute format('grant connect on database %I to adriatic_owner, adriatic_api, adriatic_flows, adriatic_cdc',
                   current_database());
    execute format('grant create on database %I to adriatic_owner', current_database());
end
$$;

create extension if not exists vector;
