-- What is suggested of decisions that are near: that the newer supersedes the older, or conflicts with it, and why. Kept by the flow
-- `related`, a function of mv.related, mv.search_state, mv.chunks and app.adr_links (dataflows/suggested.py). At most one a pair.
create table mv.suggestions (
    tenant_id     uuid not null,
    suggestion_id uuid not null,                   -- made of the two ids: the same at every replay
    newer_id      uuid not null,
    older_id      uuid not null,
    kind          text not null,                   -- supersedes | conflicts
    evidence      text not null,                   -- words | negation | outcome, the strongest first (schemas/suggestions.py)
    terms         text[] not null,                 -- what it is about
    newer_field   text not null,                   -- title | body
    newer_start   integer not null,                -- characters of that, as it was written
    newer_end     integer not null,
    newer_quote   text not null,
    older_field   text not null,
    older_start   integer not null,
    older_end     integer not null,
    older_quote   text not null,
    primary key (tenant_id, suggestion_id)
);
create index suggestions_newer on mv.suggestions (tenant_id, newer_id);
create index suggestions_older on mv.suggestions (tenant_id, older_id);
call app.protect('mv.suggestions');
grant select on mv.suggestions to adriatic_api;
grant insert, update, delete on mv.suggestions to adriatic_flows;

-- What people answered. `reason` is what they saw: it stays readable when the suggestion is gone. An answer is to a pair, and holds
-- against evidence of the same kind and of weaker ones, however often the texts are edited or all is made anew.
create table app.suggestion_answers (
    tenant_id     uuid not null,
    suggestion_id uuid not null,
    newer_id      uuid not null,
    older_id      uuid not null,
    kind          text not null check (kind in ('supersedes', 'conflicts')),
    evidence      text not null check (evidence in ('words', 'negation', 'outcome')),
    reason        jsonb not null,
    state         text not null check (state in ('accepted', 'dismissed')),
    answered_by   text not null,                   -- as the history names them
    answered_id   uuid not null,
    answered_at   timestamptz not null default now(),
    primary key (tenant_id, suggestion_id),
    foreign key (tenant_id, newer_id) references app.adrs,
    foreign key (tenant_id, older_id) references app.adrs
);
create index suggestion_answers_newer on app.suggestion_answers (tenant_id, newer_id);
create index suggestion_answers_older on app.suggestion_answers (tenant_id, older_id);
call app.protect('app.suggestion_answers');
grant select, insert, update, delete on app.suggestion_answers to adriatic_api;

-- Tenants whose lists of related decisions are made of candidates, because they are too many to compare all: such lists hang on when
-- they were made. Of the others they are a function of the texts (dataflows/related_candidates.py).
create table mv.related_routes (
    tenant_id uuid not null primary key
);
call app.protect('mv.related_routes');
grant insert, delete on mv.related_routes to adriatic_flows;

set role adriatic_search;
grant execute on function mv.rank_by_words(text[], text[], uuid[], text, integer, integer) to adriatic_flows;
reset role;

alter publication adriatic add table mv.suggestions;
call ops.bound_rows();

create or replace procedure ops.make_publication()
    language plpgsql as
$$
begin
    drop publication if exists adriatic;
    create publication adriatic for table
        app.adr_links, app.adr_tags, app.adr_versions, app.adrs, app.document_versions, app.logs, app.outbox,
        app.tenants, app.usage_events, mv.activity, mv.daily_active_users, mv.entity_counts, mv.feed_status,
        mv.job_status, mv.related, mv.search_state, mv.suggestions, mv.usage_by_day, mv.usage_by_hour,
        mv.usage_by_key, mv.usage_by_model, mv.usage_by_user
    with (publish_via_partition_root = true);
end
$$;

-- The flow looks at every decision once more: each is written again as it is, and comes through the log.
alter table mv.search_state no force row level security;
update mv.search_state set words_version = words_version where kind = 'adr' and not deleted;
alter table mv.search_state force row level security;
