-- Answers that are given again: to exactly the same prompt, within one tenant, for llm.cache_s seconds. No topic has them.
create table app.cached_answers (
    tenant_id      uuid not null references app.tenants,
    prompt_key     bytea not null check (length(prompt_key) = 32),   -- SHA-256 of everything that makes the answer
    answer_id      uuid,                         -- the kept answer that it was; null: its conversation is the client's own
    provider       text not null,
    model          text not null,
    events         text not null check (octet_length(events) <= 262144),   -- as in app.answer_parts: JSON, as text
    cost_micro_usd bigint check (cost_micro_usd >= 0),                -- what it cost once; null: the price is not known
    created_at     timestamptz not null default now(),
    primary key (tenant_id, prompt_key),
    -- Who deletes a conversation takes its answers back from everybody.
    foreign key (tenant_id, answer_id) references app.answers on delete cascade
);
create index cached_answers_of_answer on app.cached_answers (tenant_id, answer_id);
create index cached_answers_by_age on app.cached_answers (tenant_id, created_at);
call app.protect('app.cached_answers');
grant select, insert, update, delete on app.cached_answers to adriatic_api;
grant select, delete on app.cached_answers to adriatic_flows;
