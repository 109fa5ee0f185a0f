-- Drafts: answers that are meant for ADRs. What each was made from, and what it became; its text is the answer's.
create table app.drafts (
    tenant_id        uuid not null,
    answer_id        uuid not null,
    task             text not null check (task in ('write', 'summarise', 'expand', 'review')),
    prompt_version   integer not null check (prompt_version > 0),
    adr_id           uuid,                    -- what it was made from; null: a new ADR
    version          integer,
    accepted_adr_id  uuid,                    -- what it became; null: nothing yet
    accepted_version integer,
    accepted_at      timestamptz,
    primary key (tenant_id, answer_id),
    foreign key (tenant_id, answer_id) references app.answers on delete cascade,
    check ((task = 'write') = (adr_id is null)),
    check ((adr_id is null) = (version is null)),
    check (num_nulls(accepted_adr_id, accepted_version, accepted_at) in (0, 3))
);
call app.protect('app.drafts');
grant select, insert, update (accepted_adr_id, accepted_version, accepted_at) on app.drafts to adriatic_api;
