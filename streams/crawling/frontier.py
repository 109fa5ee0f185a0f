"""The frontier of a crawl: what is to be asked for, and what came of it.

Owns the rows of `app.crawls` and `app.crawl_urls` that a worker writes, in the transaction of its job's step. Refuses
to decide what is in scope (`rules`) and whose turn it is (`turns`). An address is in a crawl once, so a page that was
stored is not asked for again, whoever goes on after a crash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from connectors.fetching.reach import HostList
from connectors.fetching.urls import host_of
from connectors.postgres.connections import Connection
from connectors.postgres.jobs import ClaimedJob
from streams.crawling.rules import NEAR_BITS_MAX, Scope

FOUND_FACTOR, FOUND_MORE = 4, 1_000
"""Room of a frontier: so many addresses for each page that may be asked for, and so many more."""
SITEMAPS_MAX = 50
"""Most sitemaps of one crawl."""
HOPS_MAX = 5
"""Most redirects in a row."""
HELD_S = 0.5
"""How long a host counts as not ready while it is another job's turn."""
TRIES_MAX = 3
"""Requests for one page that may end in nothing."""
RECALLED_MAX = 10_000
"""Most pages of earlier crawls that are asked for again though nothing led to them."""


@dataclass(frozen=True, slots=True)
class CrawlState:
    """A crawl as its row says. `left_s` is what its bound on time has left; null before it begins."""

    tenant_id: UUID
    crawl_id: UUID
    start_urls: list[str]
    hosts: list[str]
    include: list[str]
    exclude: list[str]
    depth_max: int
    pages_max: int
    bytes_max: int
    gone_after: int
    asked: int
    received: int
    found: int
    recalled: bool
    traceparent: str | None
    left_s: float | None
    render: str | None
    """Which pages a browser renders; None: as settings say."""
    allowed: list[str]
    """The tenant's list of hosts, as it is now; empty: it has none."""

    @property
    def scope(self) -> Scope:
        return Scope(tuple(self.hosts), tuple(self.include), tuple(self.exclude), self.reach)

    @property
    def reach(self) -> HostList | None:
        """What the tenant allows to be asked for; None: it has no list, and whatever is public may be."""
        return HostList(tuple(self.allowed)) if self.allowed else None

    @property
    def room(self) -> int:
        """How many addresses the frontier still takes."""
        return max(0, FOUND_FACTOR * self.pages_max + FOUND_MORE - self.found)


@dataclass(frozen=True, slots=True)
class FrontierUrl:
    """An address that waits."""

    url_id: int
    url: str
    host: str
    kind: str
    depth: int
    hops: int
    tries: int


_READ = """
  select
    tenant_id, crawl_id, start_urls, hosts, include, exclude, depth_max, pages_max, bytes_max, gone_after,
    asked, received, found, recalled, traceparent, render,
    extract(epoch from ends_at - clock_timestamp())::float8 as left_s,
    coalesce(
      (
        select l.hosts
        from app.allowed_hosts l
        where l.tenant_id = c.tenant_id
        order by l.version desc
        limit 1
      ), '{}'
    ) as allowed
  from app.crawls c
  where tenant_id = %s and crawl_id = %s
"""


def read(connection: Connection, job: ClaimedJob) -> CrawlState:
    with connection.cursor(row_factory=class_row(CrawlState)) as cursor:
        found = cursor.execute(_READ, [job.tenant_id, job.params["crawl_id"]]).fetchone()
    assert found, "a crawl is recorded with its job"
    return found


_BEGIN = """
  update app.crawls
  set ends_at = clock_timestamp() + seconds_max * interval '1 s'
  where tenant_id = %s and crawl_id = %s
"""


def begin(connection: Connection, crawl: CrawlState) -> None:
    """Let its time run, and put its start pages in."""
    connection.execute(_BEGIN, [crawl.tenant_id, crawl.crawl_id])
    add(connection, crawl, crawl.start_urls, depth=0)


_ADD = """
  with added as (
    insert into app.crawl_urls (tenant_id, crawl_id, url, host, kind, depth, hops)
    select %(tenant_id)s, %(crawl_id)s, link.url, link.host, %(kind)s, %(depth)s, %(hops)s
    from unnest(%(urls)s::text[], %(hosts)s::text[]) with ordinality as link (url, host, number)
    where not exists (
      select
      from app.crawl_urls there
      where there.tenant_id = %(tenant_id)s and there.crawl_id = %(crawl_id)s and there.url = link.url
    )
    order by link.number
    limit %(room)s
    on conflict (tenant_id, crawl_id, url) do nothing
    returning url
  )
  update app.crawls
  set found = found + (select count(*) from added)
  where tenant_id = %(tenant_id)s and crawl_id = %(crawl_id)s
  returning (select count(*) from added)
"""


def add(
    connection: Connection, crawl: CrawlState, urls: Sequence[str], *, depth: int, hops: int = 0, kind: str = "page"
) -> None:
    """Put addresses in that are not there yet, as far as there is room. Those without are counted."""
    if not urls:
        return
    row = connection.execute(
        _ADD,
        {
            "tenant_id": crawl.tenant_id,
            "crawl_id": crawl.crawl_id,
            "urls": list(urls),
            "hosts": [host_of(url) for url in urls],
            "kind": kind,
            "depth": depth,
            "hops": hops,
            "room": crawl.room,
        },
    ).fetchone()
    if row and row[0] >= crawl.room:
        connection.execute(_COUNT_DROPPED, [len(urls) - row[0], crawl.tenant_id, crawl.crawl_id])


_COUNT_DROPPED = "update app.crawls set dropped = dropped + %s where tenant_id = %s and crawl_id = %s"

_COUNT_SITEMAPS = """
  select count(*)
  from app.crawl_urls
  where tenant_id = %s and crawl_id = %s and kind = 'sitemap'
"""


def add_sitemaps(connection: Connection, crawl: CrawlState, urls: Sequence[str]) -> None:
    """Put sitemaps in, as many as one crawl may have."""
    (there,) = connection.execute(_COUNT_SITEMAPS, [crawl.tenant_id, crawl.crawl_id]).fetchone() or (0,)
    add(connection, crawl, urls[: max(0, SITEMAPS_MAX - there)], depth=0, kind="sitemap")


_RECALL = """
  with recalled as (
    select p.url
    from app.pages p
    join app.crawls c on c.tenant_id = p.tenant_id and c.crawl_id = p.crawl_id
    where p.tenant_id = %(tenant_id)s
      and c.start_urls = %(start_urls)s
      and c.crawl_id <> %(crawl_id)s
      and p.deleted_at is null
    order by p.url
    limit %(most)s
  )
  select url
  from recalled
"""


def recall(connection: Connection, crawl: CrawlState) -> None:
    """Put in what earlier crawls from the same start pages stored and nothing led to now: it may be gone."""
    asked = {"tenant_id": crawl.tenant_id, "crawl_id": crawl.crawl_id, "start_urls": crawl.start_urls}
    rows = connection.execute(_RECALL, {**asked, "most": RECALLED_MAX}).fetchall()
    connection.execute(
        "update app.crawls set recalled = true where tenant_id = %s and crawl_id = %s",
        [crawl.tenant_id, crawl.crawl_id],
    )
    add(connection, crawl, crawl.scope.take([url for (url,) in rows]), depth=crawl.depth_max, kind="recalled")


_FIND_READY = """
  select u.url_id, u.url, u.host, u.kind, u.depth, u.hops, u.tries, u.ready_s, u.is_open
  from (
    select distinct on (u.host)
      u.url_id, u.url, u.host, u.kind, u.depth, u.hops, u.tries,
      h.open_until is not null and h.open_until > clock_timestamp() as is_open,
      greatest(
        0, extract(epoch from h.next_at - clock_timestamp()),
        case when h.turn_job <> %(job_id)s and h.turn_until > clock_timestamp() then %(held_s)s else 0 end
      )::float8 as ready_s
    from app.crawl_urls u
    left join ops.crawl_hosts h on h.host = u.host
    where u.tenant_id = %(tenant_id)s and u.crawl_id = %(crawl_id)s and u.state = 'waiting'
    order by u.host, u.depth, u.url_id
  ) u
  order by u.is_open desc, u.ready_s, u.depth, u.url_id
"""


@dataclass(frozen=True, slots=True)
class ReadyUrl:
    """The next address of a host, and in how many seconds it may be asked; `is_open`: its breaker is."""

    next: FrontierUrl
    ready_s: float
    is_open: bool


def find_ready(connection: Connection, crawl: CrawlState, job: ClaimedJob) -> list[ReadyUrl]:
    """The next address of each host, those first that nobody has to wait for."""
    asked = {"tenant_id": crawl.tenant_id, "crawl_id": crawl.crawl_id, "job_id": job.job_id, "held_s": HELD_S}
    rows = connection.execute(_FIND_READY, asked).fetchall()
    return [ReadyUrl(FrontierUrl(*row[:-2]), row[-2], row[-1]) for row in rows]


_READ_URL = """
  select url_id, url, host, kind, depth, hops, tries
  from app.crawl_urls
  where tenant_id = %s and crawl_id = %s and url_id = %s and state = 'waiting'
"""


def read_url(connection: Connection, crawl: CrawlState, url_id: int) -> FrontierUrl | None:
    with connection.cursor(row_factory=class_row(FrontierUrl)) as cursor:
        return cursor.execute(_READ_URL, [crawl.tenant_id, crawl.crawl_id, url_id]).fetchone()


@dataclass(frozen=True, slots=True)
class UrlOutcome:
    """What came of an address. `code` and `detail` say why it is no page, or whose text it has."""

    state: str
    code: str = ""
    detail: str = ""
    status: int | None = None
    refers_to: str | None = None
    page_id: UUID | None = None
    text_hash: bytes | None = None
    simhash: int | None = None
    rendered: bool = False


_NOTE = """
  update app.crawl_urls
  set
    state = %(state)s,
    code = %(code)s,
    detail = %(detail)s,
    status = %(status)s,
    refers_to = %(refers_to)s,
    page_id = %(page_id)s,
    text_hash = %(text_hash)s,
    simhash = %(simhash)s,
    rendered = %(rendered)s,
    tries = tries + %(tried)s,
    asked_at = case when %(tried)s = 0 then asked_at else clock_timestamp() end
  where tenant_id = %(tenant_id)s and crawl_id = %(crawl_id)s and url_id = %(url_id)s
"""


def note(connection: Connection, crawl: CrawlState, url_id: int, outcome: UrlOutcome, *, tried: bool = True) -> None:
    """Write what came of an address. `tried`: it was asked for."""
    key = {"tenant_id": crawl.tenant_id, "crawl_id": crawl.crawl_id, "url_id": url_id, "tried": int(tried)}
    said: Mapping[str, Any] = {name: getattr(outcome, name) for name in UrlOutcome.__dataclass_fields__}
    connection.execute(_NOTE, {**said, **key})


_COUNT = """
  update app.crawls
  set asked = asked + %s, received = received + %s
  where tenant_id = %s and crawl_id = %s
"""


def count(connection: Connection, crawl: CrawlState, *, asked: int, received: int) -> None:
    connection.execute(_COUNT, [asked, received, crawl.tenant_id, crawl.crawl_id])


_GIVE_UP_HOST = """
  update app.crawl_urls
  set state = 'failed', code = 'host-down', detail = %s
  where tenant_id = %s and crawl_id = %s and host = %s and state = 'waiting'
"""


def give_up_host(connection: Connection, crawl: CrawlState, host: str, detail: str) -> None:
    """End all that waits for a host which is left alone for longer than this crawl has."""
    connection.execute(_GIVE_UP_HOST, [detail, crawl.tenant_id, crawl.crawl_id, host])


_FIND_SAME = """
  select url, case when text_hash = %(text_hash)s then 'same-text' else 'near-duplicate' end
  from app.crawl_urls
  where tenant_id = %(tenant_id)s
    and crawl_id = %(crawl_id)s
    and url_id <> %(url_id)s
    and state in ('stored', 'unchanged')
    and (text_hash = %(text_hash)s or bit_count((simhash # %(simhash)s::bigint)::bit(64)) <= %(bits_max)s)
  order by text_hash <> %(text_hash)s, url_id
  limit 1
"""


def find_same(
    connection: Connection, crawl: CrawlState, url_id: int, text_hash: bytes, simhash: int | None
) -> tuple[str, str] | None:
    """An address of this crawl that has this text already, or nearly, and which of the two."""
    asked = {"tenant_id": crawl.tenant_id, "crawl_id": crawl.crawl_id, "url_id": url_id, "bits_max": NEAR_BITS_MAX}
    return connection.execute(_FIND_SAME, {**asked, "text_hash": text_hash, "simhash": simhash}).fetchone()


_FIND_STATE = "select state from app.crawl_urls where tenant_id = %s and crawl_id = %s and url = %s"


def find_state(connection: Connection, crawl: CrawlState, url: str) -> str | None:
    """What came of an address so far; None when it is not in this crawl."""
    row = connection.execute(_FIND_STATE, [crawl.tenant_id, crawl.crawl_id, url]).fetchone()
    return None if row is None else str(row[0])


_COUNT_LEFT = """
  select count(*)
  from app.crawl_urls
  where tenant_id = %s and crawl_id = %s and state = 'waiting' and kind <> 'sitemap'
"""


def count_left(connection: Connection, crawl: CrawlState) -> int:
    (left,) = connection.execute(_COUNT_LEFT, [crawl.tenant_id, crawl.crawl_id]).fetchone() or (0,)
    return int(left)


_END = """
  update app.crawls
  set stopped = %s
  where tenant_id = %s and crawl_id = %s
"""

_EMIT_COMPLETED = """
  select app.emit(
    'crawl.completed', jsonb_build_object('tenant_id', c.tenant_id, 'id', c.crawl_id), c.tenant_id,
    jsonb_build_object(
      'event_id', gen_random_uuid(), 'tenant_id', c.tenant_id,
      'occurred_at', (extract(epoch from clock_timestamp()) * 1000000)::bigint, 'crawl_id', c.crawl_id,
      'job_id', c.job_id, 'stopped', c.stopped, 'asked', c.asked, 'stored', u.stored,
      'unchanged', u.unchanged, 'duplicates', u.duplicates, 'refused', u.refused, 'failed', u.failed,
      'gone', u.gone, 'received', c.received
    ),
    case when c.traceparent is null then '{}'::jsonb else jsonb_build_object('traceparent', c.traceparent) end
  )
  from app.crawls c
  cross join lateral (
    select
      count(*) filter (where state = 'stored') as stored,
      count(*) filter (where state = 'unchanged') as unchanged,
      count(*) filter (where state = 'duplicate') as duplicates,
      count(*) filter (where state = 'refused') as refused,
      count(*) filter (where state = 'failed') as failed, count(*) filter (where state = 'gone') as gone
    from app.crawl_urls u
    where u.tenant_id = c.tenant_id and u.crawl_id = c.crawl_id
  ) u
  where c.tenant_id = %s and c.crawl_id = %s
"""


def end(connection: Connection, crawl: CrawlState, stopped: str) -> None:
    """The end of a crawl, with its event. `stopped`: the bound that ended it."""
    connection.execute(_END, [stopped, crawl.tenant_id, crawl.crawl_id])
    connection.execute(_EMIT_COMPLETED, [crawl.tenant_id, crawl.crawl_id])
