"""Makes the crawls of schedules whose time has come, in the process of the agent `jobs`.

Owns when to look, when a schedule is due again, and what holds a crawl up: the one before that is not over, or too many
of the tenant that are not. The crawl, its job, its event and the schedule's next time are one transaction, so that a
process that dies makes none twice. Times that were missed are not made up for: one crawl is made, and the next time is
the first that is yet to come. Refuses to crawl (`job`), and to say which schedules there are (`api/crawls`).
"""

from __future__ import annotations

from typing import Final

from psycopg.types.json import Jsonb

from connectors.postgres.connections import Connection
from connectors.postgres.sink import TransactionalSink
from runtime import metrics
from runtime.errors import OperatingError
from runtime.ids import new_id
from runtime.lifecycle import Lifecycle
from runtime.logs import get_logger
from runtime.settings import Settings
from schemas.jobs import CRAWL, CRAWLS_OPEN_MAX
from streams.watching import PeriodicWatch

log = get_logger("crawls")

LOOK_S: Final = 15.0
"""How often to look, in seconds: a schedule is due every hour at most."""
CRAWLS_MAX: Final = 200
"""Crawls that one look makes. What is left waits for the next one."""

_FIND_DUE: Final = """
  select tenant_id, schedule_id, last_crawl_id
  from app.crawl_schedules
  where not paused and next_at <= clock_timestamp()
  order by next_at
  limit 1
  for update skip locked
"""

_LOCK: Final = "select pg_advisory_xact_lock(hashtextextended(%s, 0))"

_COUNT_OPEN: Final = """
  select
    count(*),
    count(*) filter (
      where j.job_id = (select c.job_id from app.crawls c where c.tenant_id = j.tenant_id and c.crawl_id = %s)
    )
  from app.jobs j
  where j.tenant_id = %s and j.kind = %s and j.state in ('queued', 'running')
"""

_INSERT_JOB: Final = """
  insert into app.jobs (tenant_id, job_id, kind, params, requested_by)
  select tenant_id, %s, %s, %s, made_by
  from app.crawl_schedules
  where tenant_id = %s and schedule_id = %s
"""

_INSERT_CRAWL: Final = """
  insert into app.crawls (
    tenant_id, crawl_id, job_id, start_urls, hosts, include, exclude, depth_max, pages_max, bytes_max,
    seconds_max, gone_after, render, requested_by
  )
  select
    tenant_id, %s, %s, start_urls, hosts, include, exclude, depth_max, pages_max, bytes_max, seconds_max,
    gone_after, render, made_by
  from app.crawl_schedules
  where tenant_id = %s and schedule_id = %s
"""

_EMIT: Final = """
  select
    app.emit(
      'crawl.submitted', jsonb_build_object('tenant_id', tenant_id, 'id', crawl_id), tenant_id,
      jsonb_build_object(
        'event_id', gen_random_uuid(), 'tenant_id', tenant_id,
        'occurred_at', (extract(epoch from clock_timestamp()) * 1000000)::bigint, 'crawl_id', crawl_id,
        'start_urls', start_urls, 'depth_max', depth_max, 'pages_max', pages_max, 'hosts', hosts,
        'respect_robots', true, 'requested_by', requested_by
      )
    ),
    app.emit_job_progress(tenant_id, job_id)
  from app.crawls
  where tenant_id = %s and crawl_id = %s
"""

_MOVE_ON: Final = """
  update app.crawl_schedules s
  set
    next_at = s.next_at + n.times * s.every_s * interval '1 s',
    passed_over = s.passed_over + n.times - %(made)s,
    last_crawl_id = coalesce(%(crawl_id)s, s.last_crawl_id),
    told = %(told)s
  from (
    select
      schedule_id,
      1 + floor(greatest(0, extract(epoch from clock_timestamp() - next_at)) / every_s)::bigint as times
    from app.crawl_schedules
    where tenant_id = %(tenant_id)s and schedule_id = %(schedule_id)s
  ) n
  where s.tenant_id = %(tenant_id)s and s.schedule_id = n.schedule_id
"""


class CrawlSchedules(PeriodicWatch):
    """See `PeriodicWatch`."""

    def __init__(self, settings: Settings, life: Lifecycle) -> None:
        super().__init__(settings, life, "crawl-schedules", LOOK_S)

    def look(self, store: TransactionalSink) -> None:
        try:
            for _ in range(CRAWLS_MAX):
                with store.transaction() as connection:
                    outcome = make_next(connection)
                if outcome is None:
                    return
                metrics.CRAWL_SCHEDULES.labels(outcome).inc()
        except OperatingError as error:
            log.info("crawls of schedules are made later", detail=error.detail)


def make_next(connection: Connection) -> str | None:
    """Make the crawl of the schedule that is due for longest, or pass it over, and set its next time. How it went; None
    when none is due."""
    due = connection.execute(_FIND_DUE).fetchone()
    if due is None:
        return None
    tenant_id, schedule_id, last_crawl_id = due
    # The lock under which the API makes crawls, so that their number is exact.
    connection.execute(_LOCK, [f"crawls:{tenant_id}"])
    opened, running = connection.execute(_COUNT_OPEN, [last_crawl_id, tenant_id, CRAWL]).fetchone() or (0, 0)
    crawl_id, told, outcome = None, "", "made"
    if running:
        told, outcome = "the crawl before is not over", "running"
    elif opened >= CRAWLS_OPEN_MAX:
        told, outcome = f"{opened} crawls of the tenant are not over", "full"
    else:
        crawl_id, job_id = new_id(), new_id()
        params = Jsonb({"crawl_id": str(crawl_id)})
        connection.execute(_INSERT_JOB, [job_id, CRAWL, params, tenant_id, schedule_id])
        connection.execute(_INSERT_CRAWL, [crawl_id, job_id, tenant_id, schedule_id])
        connection.execute(_EMIT, [tenant_id, crawl_id])
    moved = {"tenant_id": tenant_id, "schedule_id": schedule_id, "crawl_id": crawl_id, "told": told}
    connection.execute(_MOVE_ON, {**moved, "made": int(crawl_id is not None)})
    return outcome
