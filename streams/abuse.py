"""Flags use that looks like abuse, in the process of the agent `jobs`: for a person to look at, nothing else.

Owns when to look, and that what cannot be read is not a number, and never 0. Refuses the statements, and what is
counted (`connectors/postgres/abuse.py`). No request waits for it.
"""

from __future__ import annotations

import math

from connectors.postgres import abuse
from connectors.postgres.connections import Connection
from connectors.postgres.sink import TransactionalSink
from runtime import metrics
from runtime.errors import OperatingError
from runtime.lifecycle import Lifecycle
from runtime.logs import get_logger
from runtime.settings import Settings
from streams.watching import PeriodicWatch

log = get_logger("abuse")

LOOK_S = 15.0
"""How often to look: a person who watches is told within it, and it reads the last minutes of the ledger each time."""
STATEMENT_S_MAX = 10
"""One of the statements, in seconds. One that takes longer is given up, and tried at the next look."""
BACK_MORE_S = 120.0
"""How much further to look back than the longest answer takes, in seconds: its row comes when it has ended."""
KINDS = ("rapid-calls", "new-user-use", "users-of-one-address")


class AbuseWatch(PeriodicWatch):
    """See `PeriodicWatch`."""

    def __init__(self, settings: Settings, life: Lifecycle) -> None:
        super().__init__(settings, life, "abuse", LOOK_S)

    def look(self, store: TransactionalSink) -> None:
        try:
            with store.transaction() as connection:
                connection.execute("select set_config('statement_timeout', %s, true)", [f"{STATEMENT_S_MAX}s"])
                raised = self._flag(connection)
                found = {kind: float(count) for kind, count in abuse.count_open(connection).items()}
        except OperatingError as error:
            log.info("whether use looks like abuse is not known", detail=error.detail)
            raised, found = 0, dict.fromkeys(KINDS, math.nan)
        for kind in KINDS:
            metrics.ABUSE_FLAGS_OPEN.labels(kind).set(found.get(kind, 0.0))
        if raised:
            log.warning("use that looks like abuse is flagged, or more of it", flags=raised)

    def _flag(self, connection: Connection) -> int:
        looked_for, raised = self._settings.abuse, 0
        if looked_for.calls_per_minute:
            back_s = self._settings.llm.total_s + BACK_MORE_S
            raised += abuse.flag_rapid_calls(connection, looked_for.calls_per_minute, back_s)
        if looked_for.new_user_tokens:
            raised += abuse.flag_new_users(connection, looked_for.new_user_tokens)
        if looked_for.users_per_address:
            raised += abuse.flag_addresses(connection, looked_for.users_per_address)
        return raised
