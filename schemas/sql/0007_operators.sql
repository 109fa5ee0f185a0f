-- What people did by hand, and what came of it. Append-only, by right: nobody may update or delete.

create table ops.audit (
    audit_id bigint generated always as identity primary key,
    at       timestamptz not null default clock_timestamp(),
    actor    text not null,                        -- user@host of whoever ran the command
    action   text not null,                        -- dlq.redrive | dlq.drop | …
    target   text not null,                        -- what it was done to; a dead letter: flow/topic/partition/offset
    result   text not null check (result in ('done', 'failed')),
    reason   text not null default '',             -- why, in the words of who did it
    detail   jsonb not null default '{}'           -- never payload values
);
create index audit_target on ops.audit (target, at);

grant select, insert on ops.audit to adriatic_flows;
