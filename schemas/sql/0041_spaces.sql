-- Embedding spaces of a tenant: another one is built beside that which it searches in, and then taken instead of it. A tenant without
-- a row searches in the space that is active for everybody (mv.embedding_spaces).

--     building ─▶ ready ─▶ active ─▶ former          `ready` and `former` may become active, and any but the active one may be left.
--         ▲         │                    │
--         └── behind ◀───────────────────┘           its embedder was away: flows did not wait for it
-- Flows keep what is `building`, `ready`, `active` or `former`: no version becomes findable by meaning before it has its vectors in all
-- of these. So the walk of the job that builds one ends, and whichever of them is active, the same is found by meaning.
-- Who adds a space to them, or takes one for good, holds mv.spaces_lock() alone; flows hold it shared from before they read this
-- table to their commit.
create table app.tenant_spaces (
    tenant_id  uuid not null references app.tenants,
    space      text not null references mv.embedding_spaces,
    state      text not null check (state in ('building', 'ready', 'active', 'former', 'behind', 'dropping')),
    related    boolean not null default false,     -- the one whose vectors related decisions are compared by
    job_id     uuid,                               -- what builds or drops it, the newest
    changed_at timestamptz not null default now(),
    changed_by uuid,                               -- a user; null: a flow, or the space was there before
    primary key (tenant_id, space)
);
create unique index tenant_spaces_active on app.tenant_spaces (tenant_id) where state = 'active';
create unique index tenant_spaces_former on app.tenant_spaces (tenant_id) where state = 'former';
create unique index tenant_spaces_related on app.tenant_spaces (tenant_id) where related;
call app.protect('app.tenant_spaces');
grant select, insert, update on app.tenant_spaces to adriatic_api;
grant update, delete on app.tenant_spaces to adriatic_flows;

-- How well the titles of a tenant's sources find them in two spaces, with the same questions: the newest look.
create table app.space_evaluations (
    tenant_id    uuid not null,
    space        text not null,
    against      text not null,
    ranks        integer[] not null,               -- place of the right source, question by question; 0: not among the first ten
    against_ranks integer[] not null check (cardinality(against_ranks) = cardinality(ranks)),
    evaluated_at timestamptz not null default now(),
    primary key (tenant_id, space, against),
    foreign key (tenant_id, space) references app.tenant_spaces on delete cascade
);
call app.protect('app.space_evaluations');
grant select on app.space_evaluations to adriatic_api;
grant insert, update, delete on app.space_evaluations to adriatic_flows;

-- The advisory lock of what flows keep, above.
create function mv.spaces_lock() returns bigint language sql immutable return 4271010;

-- The space that a tenant searches in; null: there is none yet.
create function mv.active_space(tenant uuid) returns text
    language sql stable
as $$
    select coalesce(
        (select t.space from app.tenant_spaces t where t.tenant_id = tenant and t.state = 'active'),
        (select p.space from mv.embedding_spaces p where p.active))
$$;

-- The spaces that flows keep for a tenant. `complete`: whatever is findable by meaning is so in this one.
create function mv.kept_spaces(tenant uuid) returns table (space text, complete boolean)
    language sql stable rows 2
as $$
    select t.space, t.state <> 'building'
    from app.tenant_spaces t
    where t.tenant_id = tenant and t.state in ('building', 'ready', 'active', 'former')
    union all
    select p.space, true
    from mv.embedding_spaces p
    where p.active and not exists (select from app.tenant_spaces t where t.tenant_id = tenant and t.state = 'active')
$$;

-- The space whose vectors a tenant's related decisions are compared by.
create function mv.related_space(tenant uuid) returns text
    language sql stable
as $$
    select coalesce(
        (select t.space from app.tenant_spaces t where t.tenant_id = tenant and t.related),
        (select p.space from mv.embedding_spaces p where p.active))
$$;
