-- What a step of an agent gave to read, and what a proposal stands on, by kind and id: once one of these is deleted, what was made of it is
-- withheld (`api/agents/withholding.py`), and asking that must not read every output. Steps from before say nothing, and are withheld;
-- proposals from before wait for people, and stand on what they are about alone.
alter table app.agent_steps
    add column sources jsonb check (jsonb_typeof(sources) = 'array');  -- null: it is not over, or from before
grant update (sources) on app.agent_steps to adriatic_api;

alter table app.proposals
    add column sources jsonb not null default '[]' check (jsonb_typeof(sources) = 'array');
