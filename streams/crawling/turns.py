"""Turns at hosts: one request at a time, and a rate, over all tenants and processes.

Owns the rows of `ops.crawl_hosts` and `ops.crawl_robots`, the pauses after failures, and the breaker. Refuses to ask.
Time is the database's. A turn belongs to a job, ends at the latest after `TURN_S`, and at once when its job is not at
work any more.
"""

from __future__ import annotations

from dataclasses import dataclass

from connectors.postgres.connections import Connection
from connectors.postgres.jobs import ClaimedJob

TURN_S = 90
"""Longest turn, in seconds: a pause, a request of `FETCH_S_MAX`, and reading what came."""
FETCH_S_MAX = 30.0
"""One request, all of it. A turn that has less left is given up."""
AHEAD_S_MAX = 2.0
"""How far ahead a turn is taken. Whoever has to wait for longer gives its place to others."""
WANTED_S = 5
"""How long a host is kept for the job that asked for the turn and did not get it. It looks every second."""
BACKOFF_MAX_S = 300.0
"""Longest pause after failures, which doubles with each of them."""
FAILURES_MAX = 5
"""Failures in a row after which a host is not asked any more for a while."""
OPEN_S = 600
"""How long that is."""
ROBOTS_S = 86_400
"""How long a `robots.txt` is believed (RFC 9309: a day)."""
ROBOTS_AWAY_S = 300
"""How long nobody asks again for one that cannot be had."""


@dataclass(frozen=True, slots=True)
class Robots:
    """What is known of an origin's `robots.txt`: `none` allows all, `closed` nothing: it was not to be had, and why."""

    state: str
    body: str = ""
    why: str = ""


_KNOW = """
  insert into ops.crawl_hosts (host)
  values (%s)
  on conflict (host) do nothing
"""

_TAKE = """
  with free as (
    select host
    from ops.crawl_hosts h
    where host = %(host)s
      and next_at <= clock_timestamp() + %(ahead_s)s * interval '1 s'
      and (open_until is null or open_until <= clock_timestamp())
      and (
        turn_until is null
        or turn_until <= clock_timestamp()
        or turn_job = %(job_id)s
        or not exists (
          select
          from app.jobs j
          where j.tenant_id = h.turn_tenant and j.job_id = h.turn_job and j.state = 'running'
        )
      )
      and (
        wanted_by is null
        or wanted_by = %(job_id)s
        or wanted_until <= clock_timestamp()
        or last_job is distinct from %(job_id)s
      )
    for update skip locked
  )
  update ops.crawl_hosts h
  set
    turn_tenant = %(tenant_id)s,
    turn_job = %(job_id)s,
    turn_until = clock_timestamp() + %(turn_s)s * interval '1 s',
    last_job = %(job_id)s,
    wanted_by = nullif(wanted_by, %(job_id)s),
    next_at = greatest(next_at, clock_timestamp()) + greatest(delay_s, %(delay_s)s) * interval '1 s',
    used_at = clock_timestamp()
  from free
  where h.host = free.host
  returning h.host
"""

_WANT = """
  with unwanted as (
    select host
    from ops.crawl_hosts
    where host = %(host)s and (wanted_by is null or wanted_until <= clock_timestamp())
    for update skip locked
  )
  update ops.crawl_hosts h
  set wanted_by = %(job_id)s, wanted_until = clock_timestamp() + %(wanted_s)s * interval '1 s'
  from unwanted
  where h.host = unwanted.host
"""


def take(connection: Connection, job: ClaimedJob, host: str, delay_s: float) -> bool:
    """Take the turn at a host. False when somebody else has it, or it is too early: then whoever had the last turn
    does not have the next one, too. Rows that others have locked are passed by, so that no two wait for each
    other."""
    connection.execute(_KNOW, [host])
    asked = {"host": host, "tenant_id": job.tenant_id, "job_id": job.job_id, "delay_s": delay_s, "ahead_s": AHEAD_S_MAX}
    if connection.execute(_TAKE, {**asked, "turn_s": TURN_S}).fetchone():
        return True
    connection.execute(_WANT, {"host": host, "job_id": job.job_id, "wanted_s": WANTED_S})
    return False


_STILL_MINE = """
  select
  from ops.crawl_hosts
  where host = %s and turn_job = %s and turn_until > clock_timestamp() + %s * interval '1 s'
"""


def is_still_mine(connection: Connection, job: ClaimedJob, host: str) -> bool:
    """Whether the turn lasts for a whole request."""
    return connection.execute(_STILL_MINE, [host, job.job_id, FETCH_S_MAX + 5]).fetchone() is not None


_GO_ON = """
  update ops.crawl_hosts
  set
    turn_until = clock_timestamp() + %(turn_s)s * interval '1 s',
    next_at = greatest(next_at, clock_timestamp()) + greatest(delay_s, %(delay_s)s) * interval '1 s'
  where host = %(host)s and turn_job = %(job_id)s and turn_until > clock_timestamp()
  returning host
"""


def go_on(connection: Connection, job: ClaimedJob, host: str, delay_s: float) -> bool:
    """Keep the turn for one more request. False when it is not this job's."""
    asked = {"host": host, "job_id": job.job_id, "delay_s": delay_s, "turn_s": TURN_S}
    return connection.execute(_GO_ON, asked).fetchone() is not None


_FIND_WAIT = """
  select greatest(
    0, extract(epoch from next_at - greatest(delay_s, %s) * interval '1 s' - clock_timestamp())
  )::float8
  from ops.crawl_hosts
  where host = %s
"""


def find_wait(connection: Connection, host: str, delay_s: float) -> float:
    """Seconds until the request of the turn that was taken last may be made."""
    (wait_s,) = connection.execute(_FIND_WAIT, [delay_s, host]).fetchone() or (0.0,)
    return float(wait_s)


_GIVE_BACK = """
  update ops.crawl_hosts
  set
    turn_tenant = null,
    turn_job = null,
    turn_until = null,
    next_at = clock_timestamp() + interval '1 s' * greatest(
      delay_s, %(delay_s)s, %(pause_s)s,
      case when %(failed)s then least(%(backoff_max_s)s, power(2, failures + 1)) else 0 end
    ),
    failures = case when %(failed)s then failures + 1 else 0 end,
    open_until = case
      when %(failed)s and failures + 1 >= %(failures_max)s then
        clock_timestamp() + %(open_s)s * interval '1 s'
    end
  where host = %(host)s and turn_job = %(job_id)s
"""


def give_back(
    connection: Connection, job: ClaimedJob, host: str, delay_s: float, *, failed: bool, pause_s: float = 0.0
) -> None:
    """End the turn. `pause_s`: how long the host asked to be left alone."""
    ended = {"host": host, "job_id": job.job_id, "delay_s": delay_s, "pause_s": pause_s, "failed": failed}
    bounds = {"failures_max": FAILURES_MAX, "open_s": OPEN_S, "backoff_max_s": BACKOFF_MAX_S}
    connection.execute(_GIVE_BACK, {**ended, **bounds})


def read_robots(connection: Connection, origin: str) -> Robots | None:
    """None when it has to be asked for."""
    row = connection.execute(
        "select state, body from ops.crawl_robots where origin = %s and expires_at > clock_timestamp()", [origin]
    ).fetchone()
    if row is None:
        return None
    state, kept = row
    return Robots(state, why=kept) if state == "closed" else Robots(state, kept)


_KEEP_ROBOTS = """
  insert into ops.crawl_robots (origin, state, body, expires_at)
  values (%(origin)s, %(state)s, %(body)s, clock_timestamp() + %(good_s)s * interval '1 s')
  on conflict (origin)
  do update set state = excluded.state, body = excluded.body, expires_at = excluded.expires_at
"""


def keep_robots(connection: Connection, origin: str, host: str, robots: Robots, delay_s: float) -> None:
    """What an origin said, and how slowly its host wants to be asked."""
    good_s = ROBOTS_AWAY_S if robots.state == "closed" else ROBOTS_S
    kept = {"origin": origin, "state": robots.state, "body": robots.why or robots.body, "good_s": good_s}
    connection.execute(_KEEP_ROBOTS, kept)
    connection.execute("update ops.crawl_hosts set delay_s = %s where host = %s", [delay_s, host])


_LEAVE = """
  update ops.crawl_hosts
  set
    turn_tenant = null,
    turn_job = null,
    turn_until = null,
    next_at = next_at - greatest(delay_s, %s) * interval '1 s'
  where host = %s and turn_job = %s
"""


def leave(connection: Connection, job: ClaimedJob, host: str, delay_s: float) -> None:
    """End a turn in which the host was asked for nothing: the next one may begin when this one could have."""
    connection.execute(_LEAVE, [delay_s, host, job.job_id])
