-- An attempt has one moment in which it began: the one in which it came into the books. The window that it reserved in is the window
-- that it is settled in, also where midnight, or a budget that begins, comes while its row is being written, and where the clock of a
-- process is not that of the database. What never came into the books has the moment that its process says.
create or replace function app.settle_attempt(
    tenant uuid, attempt uuid, session uuid, asker uuid, credential text, provider text, model text, input_uncached bigint,
    cache_read bigint, cache_write_5m bigint, cache_write_1h bigint, output_visible bigint, reasoning bigint, price text, cost bigint,
    unseen_cost_max bigint, usage_source text, unseen_tokens_max bigint, outcome text, code text, first_token_ms integer,
    started_at timestamptz, finished_at timestamptz
)
    returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = auto
as
$$
declare
    begun timestamptz;
begin
    perform set_config('app.tenant_id', tenant::text, true);
    delete from app.attempts a where a.tenant_id = tenant and a.attempt_id = attempt returning a.begun_at into begun;
    insert into app.usage_events (
        tenant_id, attempt_id, session_id, user_id, key_id, provider, model, input_uncached, cache_read, cache_write_5m, cache_write_1h,
        output_visible, reasoning, price_id, cost_micro_usd, unseen_cost_max_micro_usd, usage_source, unseen_tokens_max, outcome, code,
        first_token_ms, started_at, finished_at
    ) values (
        tenant, attempt, session, asker, credential, provider, model, input_uncached, cache_read, cache_write_5m, cache_write_1h,
        output_visible, reasoning, price, cost, unseen_cost_max, usage_source, unseen_tokens_max, outcome, code, first_token_ms,
        coalesce(begun, started_at), greatest(begun, started_at, finished_at)
    ) on conflict (tenant_id, attempt_id) do nothing;
end
$$;
