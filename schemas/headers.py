"""Names of the headers that our records carry, and what each one holds.

Owns the names alone: change capture writes these headers, and whoever reads a topic reads them. What outside
producers write is beside their contract, in `schemas/feeds.py`.
"""

from __future__ import annotations

POSITION_HEADER = "adriatic.pos"
"""Commit LSN and ordinal in its transaction: `%016X/%08d`. Grows in each partition."""
COMMITTED_AT_HEADER = "adriatic.committed_at"
"""When the source committed it, in microseconds since 1970, by the source's clock."""
TENANT_HEADER = "adriatic.tenant"
"""The tenant: a UUID as text."""
TRACEPARENT_HEADER = "traceparent"
"""W3C trace context of the request that wrote it."""
TRANSACTION_HEADER = "adriatic.xid"
"""The transaction that wrote it: the whole id (Postgres' xid8, with its epoch), in decimal. Records of a snapshot have
none: what they tell is visible to everybody. A reader that looks at tables waits until it can see that transaction."""
SESSION_HEADER = "adriatic.session"
"""Which session of change capture produced it, and at which beat: `<uuid>/<beat>`. The database that it comes from has
a row of that session in ops.cdc_sessions with that beat or a later one. Without such a row the record is of another
future: the database, or the log, went back to an earlier state."""
SNAPSHOT_HEADER = "adriatic.snapshot"
"""The position that a snapshot was taken at, on its records, as 16 hex digits."""
SNAPSHOT_ID_HEADER = "adriatic.snapshot_id"
"""Which snapshot that was: the UUID that it was asked for by."""
OUR_PREFIX = "adriatic."
"""All of the names above but the standard one begin with it; nobody else's header may."""
NEW_KEY_HEADER = "__debezium.newkey"
"""The new key, on the delete of a row whose key changed. Debezium's name."""
OLD_KEY_HEADER = "__debezium.oldkey"
"""The old key, on the create that follows it. Debezium's name."""
