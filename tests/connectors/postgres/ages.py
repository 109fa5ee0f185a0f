"""Ages for tests of what is forgotten: for ever, but for what a test says."""

from __future__ import annotations

from connectors.postgres.retention import KeptAges

EVER_DAYS = 36_500


def kept_for(
    *,
    kept_days: int = EVER_DAYS,
    cache_s: float = EVER_DAYS * 86_400.0,
    alerts_days: int = EVER_DAYS,
    audit_days: int = EVER_DAYS,
    keys_days: int = EVER_DAYS,
    flags_days: int = EVER_DAYS,
) -> KeptAges:
    return KeptAges(kept_days, cache_s, alerts_days, audit_days, keys_days, flags_days)
