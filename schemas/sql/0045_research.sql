-- Research: a question that takes several searches, done by a job. The question and what came of it are the tenant's content, of the
-- user who asked, and are deleted when that user says so; the job's row says nothing of them.
create table app.research (
    tenant_id   uuid not null,
    research_id uuid not null,                     -- the job's
    asked_by    uuid not null,                     -- the user; others of the tenant do not see it
    question    text not null check (length(question) between 1 and 1000),
    request     jsonb not null,                    -- as it was sent
    progress    jsonb not null default '{}',       -- what the rounds so far have found; empty again at the end
    result      jsonb,                             -- null: not yet
    created_at  timestamptz not null default now(),
    primary key (tenant_id, research_id),
    foreign key (tenant_id, research_id) references app.jobs
);
create index research_recent on app.research (tenant_id, asked_by, created_at desc, research_id desc);
call app.protect('app.research');
grant select, insert, delete on app.research to adriatic_api;
grant update (progress, result), delete on app.research to adriatic_flows;

insert into app.emitters
values ('adriatic_api', 'rag.search.requested'), ('adriatic_flows', 'rag.search.completed');
