"""A standby of ours that keeps nothing and answers late, for what Postgres does while it waits for one.

Speaks the replication protocol through libpq: it takes the WAL, and says after `delay_s` that it has it. A server whose
`synchronous_standby_names` has its name answers a commit, and shows it to other sessions, no sooner than that; logical
decoding does not wait.
"""

from __future__ import annotations

import select
import struct
import threading
import time
from collections import deque

from psycopg import pq

from connectors.postgres import lsn
from runtime.settings import PostgresSettings
from tests.patience import PATIENCE_S

NAME = "late"
STATUS = struct.Struct(">cQQQqB")
TICK_S = 0.01


class LateStandby:
    """Runs in a thread, from entering until leaving."""

    def __init__(self, settings: PostgresSettings, delay_s: float) -> None:
        self.delay_s = delay_s
        dsn = f"{settings.dsn('admin')}&replication=true&application_name={NAME}"
        self._connection = pq.PGconn.connect(dsn.encode())
        assert self._connection.status == pq.ConnStatus.OK, self._connection.get_error_message()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="standby", daemon=True)

    def __enter__(self) -> LateStandby:
        identity = self._connection.exec_(b"IDENTIFY_SYSTEM")
        at = identity.get_value(0, 2)
        assert at is not None
        started = self._connection.exec_(b"START_REPLICATION PHYSICAL " + at)
        assert started.status == pq.ExecStatus.COPY_BOTH, self._connection.get_error_message()
        self._connection.nonblocking = 1
        self._say(lsn.parse(at.decode()))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(PATIENCE_S)
        self._connection.finish()

    def _run(self) -> None:
        waiting: deque[tuple[float, int]] = deque()
        received = answered = 0
        while not self._end.is_set():
            select.select([self._connection.socket], [], [], TICK_S)
            self._connection.consume_input()
            length, frame = self._connection.get_copy_data(1)
            while length > 0:
                content = bytes(frame)
                if content[:1] == b"w":
                    (start,) = struct.unpack_from(">Q", content, 1)
                    received = max(received, start + len(content) - 25)
                    waiting.append((time.monotonic() + self.delay_s, received))
                length, frame = self._connection.get_copy_data(1)
            if length < 0:
                return
            while waiting and waiting[0][0] <= time.monotonic():
                answered = waiting.popleft()[1]
                self._say(answered)

    def _say(self, at: int) -> None:
        self._connection.put_copy_data(STATUS.pack(b"r", at, at, at, 0, 0))
        self._connection.flush()
