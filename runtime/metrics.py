"""Every metric that Adriatic exports: the one registry.

Owns names, types, labels and meaning; `docs/reference/metrics.md` is generated from it and a test holds the two
together. Refuses unbounded labels: no key, offset, tenant, raw path. Base units are in the names.
"""

from __future__ import annotations

from functools import partial

from prometheus_client import Counter, Gauge, Histogram

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
PARTITION = ("group", "topic", "partition")

_histogram = partial(Histogram, buckets=LATENCY_BUCKETS_S)

# --- change capture -------------------------------------------------------------------------------------------------
CDC_EVENTS = Counter("adriatic_cdc_events_total", "Records acknowledged by the broker.", ["topic"])
CDC_SKIPPED = Counter(
    "adriatic_cdc_skipped_total", "Records skipped after a restart: the topic had them already.", ["topic"]
)
CDC_BEHIND_SECONDS = Gauge(
    "adriatic_cdc_behind_seconds", "Age of the newest commit known to be in Kafka. Growing: broker or capture is down."
)
CDC_SLOT_WAL_BYTES = Gauge(
    "adriatic_cdc_slot_wal_bytes", "WAL that Postgres keeps for the slot. Growing without end fills the disk."
)
CDC_TABLE_STOPPED = Gauge("adriatic_cdc_table_stopped", "1: this table stopped, the others go on.", ["table"])
CDC_DEAD_LETTERS = Counter(
    "adriatic_cdc_dead_letters_total", "Events that could not be encoded: they are in ops.dlq.", ["topic"]
)
CDC_SESSIONS = Counter(
    "adriatic_cdc_sessions_total", "Times that streaming started, by why the last one ended.", ["after"]
)

# --- dataflows ------------------------------------------------------------------------------------------------------
FLOW_RECORDS = Counter("adriatic_flow_records_total", "Records whose effects are committed.", ["flow", "topic"])
FLOW_TOMBSTONES = Counter(
    "adriatic_flow_tombstones_total", "Records without a value: they move the offset only.", ["flow", "topic"]
)
FLOW_DEAD_LETTERS = Counter(
    "adriatic_flow_dead_letters_total", "Records sent to the dead-letter queue.", ["flow", "topic", "code"]
)
FLOW_RETRIES = Counter(
    "adriatic_flow_retries_total", "Attempts repeated because a dependency was away.", ["flow", "dependency"]
)
FLOW_BATCH_SECONDS = _histogram(
    "adriatic_flow_batch_seconds", "One batch, by step (transform, commit).", ["flow", "step"]
)
FLOW_WATERMARK_SECONDS = Gauge(
    "adriatic_flow_watermark_timestamp_seconds", "Commits up to this time are in the view.", ["view"]
)
CONSUMER_LAG = Gauge("kafka_consumer_lag", "Records between the committed offset and the end.", PARTITION)
CONSUMER_LAG_SECONDS = Gauge("kafka_consumer_lag_seconds", "Age of the oldest record not yet processed.", PARTITION)

# --- the whole pipeline: exported by the watcher alone, so that nothing is counted twice ---------------------------
GROUP_OFFSET = Gauge("kafka_consumergroup_group_offset", "Committed offset of a group.", PARTITION)
GROUP_LAG = Gauge("kafka_consumergroup_group_lag", "Records between the committed offset and the end.", PARTITION)
GROUP_LAG_SECONDS = Gauge(
    "kafka_consumergroup_group_lag_seconds",
    "Age of the record at the committed offset; 0 at the end, not a number when it is not known.",
    PARTITION,
)
GROUP_MAX_LAG = Gauge("kafka_consumergroup_group_max_lag", "Lag of a group's worst partition, in records.", ["group"])
GROUP_MAX_LAG_SECONDS = Gauge(
    "kafka_consumergroup_group_max_lag_seconds", "Lag of a group's worst partition, in seconds.", ["group"]
)
GROUP_SUM_LAG = Gauge("kafka_consumergroup_group_sum_lag", "Lag of all partitions of a group, in records.", ["group"])
GROUP_TOPIC_SUM_LAG = Gauge(
    "kafka_consumergroup_group_topic_sum_lag", "Lag of a group in one topic, in records.", ["group", "topic"]
)
GROUP_STATUS = Gauge(
    "adriatic_group_status", "1 for the word that a group has now, 0 for the others.", ["group", "status"]
)
GROUP_TREND = Gauge(
    "adriatic_group_lag_trend", "Records a second by which a group's lag grows; negative while it shrinks.", ["group"]
)
GROUP_ETA_SECONDS = Gauge(
    "adriatic_group_eta_seconds", "Until a group has caught up, if it goes on like this; else not a number.", ["group"]
)
GROUP_RETENTION_SHARE = Gauge(
    "adriatic_group_retention_share",
    "How much of what the log holds waits for a group; at 1 the next record to expire is unread.",
    ["group"],
)
VIEW_AGE_SECONDS = Gauge(
    "adriatic_view_age_seconds", "How far a view is behind the source; not a number when unknown.", ["view"]
)
VIEW_STAGE_SECONDS = Gauge(
    "adriatic_view_stage_seconds", "The part of a view's age that one stage of its path has.", ["view", "stage"]
)
DEAD_LETTERS_OPEN = Gauge(
    "adriatic_dead_letters_open", "Dead letters that wait for a decision.", ["flow", "topic", "code"]
)
SLOT_ACTIVE = Gauge("adriatic_slot_active", "1: somebody reads the replication slot.", ["slot"])
SLOT_RETAINED_BYTES = Gauge("adriatic_slot_retained_bytes", "WAL that Postgres keeps for the slot.", ["slot"])
SLOT_SAFE_BYTES = Gauge(
    "adriatic_slot_safe_bytes",
    "WAL that may be written before Postgres gives the slot up; not a number where there is no limit, or no slot.",
    ["slot"],
)
WATCH_SAMPLED_SECONDS = Gauge(
    "adriatic_watch_sampled_timestamp_seconds",
    "When the watcher last looked at everything. Old: nothing here is of now.",
)

# --- embeddings -----------------------------------------------------------------------------------------------------
EMBED_TEXTS = Counter(
    "adriatic_embed_texts_total", "Texts by outcome: embedded, or reused because they were known.", ["outcome"]
)
EMBED_SECONDS = _histogram("adriatic_embed_seconds", "One call of the embedder.", ["space"])

# --- jobs -----------------------------------------------------------------------------------------------------------
JOB_CLAIMS = Counter(
    "adriatic_job_claims_total",
    "Claims of jobs, by how they ended: succeeded, failed, cancelled, retry, released, fenced.",
    ["kind", "outcome"],
)
JOB_STEPS = Counter("adriatic_job_steps_total", "Committed steps of jobs.", ["kind"])

# --- API ------------------------------------------------------------------------------------------------------------
HTTP_REQUESTS = Counter(
    "adriatic_http_requests_total", "Requests by route template and status.", ["method", "route", "status"]
)
HTTP_SECONDS = _histogram("adriatic_http_request_seconds", "Request duration.", ["method", "route"])
SEARCHES = Counter("searches_total", "Searches by type.", ["type"])
IMPORT_CHANGES = Counter(
    "adriatic_import_changes_total", "Changes of imported histories: applied, skipped, refused.", ["outcome"]
)
ADRS_CREATED = Counter("adrs_created_total", "ADRs created.")

SECRET_READS = Counter(
    "adriatic_secret_reads_total",
    "Readings of secrets that are kept elsewhere: read, changed since the last time, failed.",
    ["source", "outcome"],
)

# --- live reads -----------------------------------------------------------------------------------------------------
LIVE_READERS = Gauge(
    "adriatic_live_readers", "Live reads being streamed. Must come back to 0.", multiprocess_mode="livesum"
)
LIVE_DELTAS = Counter("adriatic_live_deltas_total", "Changes sent to live readers.", ["view"])
LIVE_RESETS = Counter(
    "adriatic_live_resets_total", "Live readers that had to start anew, by the reason that they were told.", ["reason"]
)

# --- chat -----------------------------------------------------------------------------------------------------------
CHATS = Counter(
    "adriatic_chats_total", "Answers by how they ended: completed, failed, cancelled.", ["provider", "outcome"]
)
CHAT_SESSIONS = Counter("chat_sessions_total", "Conversations that began.")
CHATS_ACTIVE = Gauge(
    "adriatic_chats_active", "Answers being streamed. Must come back to 0.", multiprocess_mode="livesum"
)
CHAT_STARTS_WAITING = Gauge(
    "adriatic_chat_starts_waiting",
    "Questions that wait for their turn to begin, so that answers stay smooth, or for a place to be prepared. Long "
    "above 0: too few processes.",
    multiprocess_mode="livesum",
)
CHAT_STARTS_REFUSED = Counter(
    "adriatic_chat_starts_refused_total",
    "Questions that had no turn or place to begin, by why: `unavailable`, too many waited or for too long; `share`, "
    "most that waited were of this tenant.",
    ["reason"],
)
CHAT_START_WAIT_SECONDS = _histogram("adriatic_chat_start_wait_seconds", "Wait of a question for its turn to begin.")
CHAT_LOOP_LATE_SECONDS = Gauge(
    "adriatic_chat_loop_late_seconds",
    "How late the loop of the API came to its last beat while answers began. Of several workers, the worst.",
    multiprocess_mode="livemax",
)
CHAT_LEAVING_SECONDS = _histogram(
    "adriatic_chat_leaving_seconds",
    "From when the last reader of an answer was seen to leave until its provider's connection was closed.",
)
CHATS_UNSETTLED = Gauge(
    "adriatic_chats_unsettled",
    "Answers that ended and wait for their row in the ledger. Growing: no database.",
    multiprocess_mode="livesum",
)
CHATS_UNRECORDED = Counter(
    "adriatic_chats_unrecorded_total", "Answers whose row was given up; the log has them. Not 0: money is missing."
)
CHATS_LOST = Counter(
    "adriatic_chats_lost_total", "Answers whose process died; what they may have cost is in the ledger, by its bound."
)
BUDGET_REFUSALS = Counter(
    "adriatic_budget_refusals_total",
    "Attempts that a budget of the level refused, or ended: exceeded, or unpriced, whose price is not known.",
    ["level", "reason"],
)
CHAT_CACHE = Counter(
    "adriatic_chat_cache_total",
    "Questions whose answer could be one of before, by what became of them: hit, it was; follow, it was being written; "
    "miss, a provider was asked; bypass, the caller wanted that.",
    ["outcome"],
)
CHAT_CACHE_SAVED = Counter(
    "adriatic_chat_cache_saved_micro_usd_total",
    "What answers that were given again had cost, in micro-USD, where the price is known.",
)
SPEND_SWITCH_UNREAD = Gauge(
    "adriatic_spend_switch_unread",
    "1: answers are in flight, and whether spending is stopped cannot be read. Of several workers, how many.",
    multiprocess_mode="livesum",
)
SPEND_DRIFT = Gauge(
    "adriatic_spend_drift_micro_usd",
    "How far the books are apart, by which two: counter and ledger, leases and what is reserved, aggregate and what it "
    "was made from. Not a number when it is not known; not 0: a fault.",
    ["between"],
)
ALERT_DELIVERIES = Counter(
    "adriatic_alert_deliveries_total",
    "Deliveries of alerts by how a try ended: delivered, retried, failed.",
    ["channel", "outcome"],
)
BUDGET_LEASES = Gauge(
    "adriatic_budget_leases_open",
    "Attempts that hold back something of a budget. Must come back to 0.",
    multiprocess_mode="livesum",
)
CHAT_CITATIONS = Counter(
    "adriatic_chat_citations_total", "Citations in answers: verified, or unsupported and dropped.", ["verdict"]
)
CHAT_TOOLS = Counter(
    "adriatic_chat_tools_total", "Tools of ours that models had run: done or failed.", ["tool", "outcome"]
)
MCP_TOOLS = Counter(
    "adriatic_mcp_tools_total",
    "Tools that clients of `/mcp` and agents had run to read: done or failed.",
    ["tool", "outcome"],
)
AI_FIRST_TOKEN_MS = Histogram(
    "ai_first_token_duration_ms",
    "From asking the provider to its first text.",
    ["provider", "model"],
    buckets=(10, 25, 50, 100, 200, 350, 500, 750, 1_000, 2_000, 5_000, 10_000, 20_000),
)
AI_INTER_TOKEN_MS = Histogram(
    "ai_inter_token_duration_ms",
    "Between two pieces of text.",
    ["provider", "model"],
    buckets=(1, 2, 5, 10, 20, 40, 60, 100, 200, 500, 1_000, 5_000, 20_000),
)
LLM_BREAKER_STATE = Gauge(
    "adriatic_llm_breaker_state",
    "Whether a target is asked: 0 it is, 1 it is tried, 2 it is left alone. Of several workers, the worst.",
    ["target"],
    multiprocess_mode="livemax",
)
LLM_IN_FLIGHT = Gauge(
    "adriatic_llm_in_flight",
    "Slots of a target that are taken. Must come back to 0.",
    ["target"],
    multiprocess_mode="livesum",
)
LLM_QUEUE_DEPTH = Gauge(
    "adriatic_llm_queue_depth", "Questions that wait for a slot of a target.", ["target"], multiprocess_mode="livesum"
)
LLM_FAILURES = Counter("adriatic_llm_failures_total", "What went wrong with a target, by kind.", ["target", "kind"])
LLM_FAILOVERS = Counter(
    "adriatic_llm_failovers_total",
    "Times that the next target was asked, by what went wrong with the one before, and by whether the answer had "
    "begun: before or after its first content.",
    ["kind", "moment"],
)
ABUSE_FLAGS_OPEN = Gauge(
    "adriatic_abuse_flags_open", "Flags of use that looks like abuse which nobody has looked at, by kind.", ["kind"]
)
CRAWL_SCHEDULES = Counter(
    "adriatic_crawl_schedules_total",
    "Schedules of crawls whose time had come: made, or passed over because the crawl before is not over (running) or "
    "the tenant has too many (full).",
    ["outcome"],
)
CRAWL_RENDERS = Counter(
    "adriatic_crawl_renders_total",
    "Pages of crawls that a browser was to render, by what came of them: rendered, or why not (no-browser, busy, "
    "too-slow, memory, crashed, too-large).",
    ["outcome"],
)
CRAWL_BROWSER = Gauge(
    "adriatic_crawl_browser",
    "1: so stands the browser that renders pages of crawls (off, unknown until one was seen to start, ready, failing).",
    ["state"],
)
CRAWL_RENDER_SECONDS = Histogram(
    "adriatic_crawl_render_seconds",
    "How long a page took in the browser, with the wait for one and for what it asked for.",
    buckets=(0.5, 1, 2, 5, 10, 20, 40, 80, 160),
)
CRAWL_RESOURCES = Counter(
    "adriatic_crawl_resources_total",
    "What pages in the browser asked for: asked, kept (it was there already), or refused.",
    ["outcome"],
)
ROWS_FORGOTTEN = Counter(
    "adriatic_rows_forgotten_total", "Rows of the chat and of spending whose time had passed.", ["table"]
)
VECTOR_INDEXES = Gauge(
    "adriatic_vector_indexes", "Indexes of tenants that outgrew the exact search by meaning, by state.", ["state"]
)
SEARCH_RECALL = Gauge(
    "adriatic_search_recall_ratio",
    "What the worst of these indexes finds of the ten nearest, when last measured. NaN: not known of all of them.",
)
WORD_PACKS = Gauge(
    "adriatic_word_packs", "Kinds of tenants that have segments for the search by words, by state.", ["state"]
)
WORD_CHANGES = Gauge(
    "adriatic_word_changes",
    "Sources that changed and that no segment has taken up yet, of the kind with most. Beyond 2000 a search looks at a "
    "bounded part.",
)
LLM_HEDGES = Counter(
    "adriatic_llm_hedges_total",
    "Times that a second target was due beside a slow one: it won, lost, failed, or was unavailable.",
    ["outcome"],
)
AI_TOKENS = Counter("ai_tokens_total", "Tokens by bucket; each token is in one.", ["provider", "model", "bucket"])
AI_TOKENS_PER_SECOND = Histogram(
    "ai_tokens_per_second",
    "How fast an answer was written, from its first text to its last.",
    ["provider", "model"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000),
)
AI_COST = Counter(
    "ai_cost_total",
    "What attempts cost that were settled here, in units of the currency. The ledger has it exactly.",
    ["provider", "model", "currency"],
)
