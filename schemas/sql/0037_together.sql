-- One attempt is settled as several are, by app.settle_attempts.
drop function app.settle_attempt(
    uuid, uuid, uuid, uuid, text, text, text, bigint, bigint, bigint, bigint, bigint, bigint, text, bigint, bigint, text, bigint, text,
    text, integer, timestamptz, timestamptz
);

-- When a threshold was crossed: while the counter's row is held, so that a higher one of a window is never raised before a lower one. A
-- transaction that has waited for the row began earlier than the one that it waited for.
alter table app.spend_alerts alter raised_at set default clock_timestamp();
