-- Making anew everything that is derived from the database (`adriatic recover`): which step it is at, so that whoever was killed
-- half-way goes on there, and so that capture and the flows hold until their turn comes.

create table ops.recovery (
    number      bigint generated always as identity primary key,
    asked_by    text not null,                     -- user@host of whoever ran the command
    asked_at    timestamptz not null default clock_timestamp(),
    step        text not null default 'hold'
        check (step in ('hold', 'forget', 'empty', 'topics', 'copy', 'catch-up', 'verify')),
    since       timestamptz not null default clock_timestamp(),  -- of the step
    done        bigint not null default 0,         -- of the step, in its own unit
    total       bigint,                            -- null: not known
    finished_at timestamptz                        -- null: it is under way, or waits for somebody to go on with it
);
create unique index recovery_unfinished on ops.recovery ((true)) where finished_at is null;
-- Written by the owner alone, as which an operator runs the command.
grant select on ops.recovery to adriatic_flows, adriatic_cdc;

-- A process that has not seen it, because it hangs or is of an earlier release, moves no offset meanwhile. The error is one that
-- flows wait out, like an outage.
create function ops.refuse_while_recovering() returns trigger
    language plpgsql as
$$
begin
    if exists (select from ops.recovery
               where finished_at is null and step in ('hold', 'forget', 'empty', 'topics', 'copy')) then
        raise exception 'the system is being recovered' using errcode = '57P03', hint = 'it goes on by itself afterwards';
    end if;
    return null;
end
$$;
create trigger recovery before insert or update on ops.consumer_offsets
    for each statement execute function ops.refuse_while_recovering();
