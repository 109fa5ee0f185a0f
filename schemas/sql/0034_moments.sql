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

-- Settles attempts of one tenant, each as app.settle_attempt does.
create function app.settle_attempts(tenant uuid, entries jsonb) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = auto
as
$$
begin
    perform set_config('app.tenant_id', tenant::text, true);
    with ended as (
        delete from app.attempts a
        using jsonb_to_recordset(entries) as e (attempt_id uuid)
        where a.tenant_id = tenant and a.attempt_id = e.attempt_id
        returning a.attempt_id, a.begun_at
    )
    insert into app.usage_events (
        tenant_id, attempt_id, session_id, user_id, key_id, provider, model, input_uncached, cache_read, cache_write_5m, cache_write_1h,
        output_visible, reasoning, price_id, cost_micro_usd, unseen_cost_max_micro_usd, usage_source, unseen_tokens_max, outcome, code,
        first_token_ms, started_at, finished_at
    )
    select tenant, e.attempt_id, e.session_id, e.user_id, e.key_id, e.provider, e.model, e.input_uncached, e.cache_read,
        e.cache_write_5m, e.cache_write_1h, e.output_visible, e.reasoning, e.price_id, e.cost_micro_usd,
        e.unseen_cost_max_micro_usd, e.usage_source, e.unseen_tokens_max, e.outcome, e.code, e.first_token_ms,
        coalesce(d.begun_at, e.started_at), greatest(d.begun_at, e.started_at, e.finished_at)
    from jsonb_to_recordset(entries) as e (
        attempt_id uuid, session_id uuid, user_id uuid, key_id text, provider text, model text, input_uncached bigint,
        cache_read bigint, cache_write_5m bigint, cache_write_1h bigint, output_visible bigint, reasoning bigint, price_id text,
        cost_micro_usd bigint, unseen_cost_max_micro_usd bigint, usage_source text, unseen_tokens_max bigint, outcome text, code text,
        first_token_ms integer, started_at timestamptz, finished_at timestamptz)
    left join ended d on d.attempt_id = e.attempt_id
    order by e.attempt_id
    on conflict (tenant_id, attempt_id) do nothing;
end
$$;
