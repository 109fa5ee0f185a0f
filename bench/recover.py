"""How long a recovery takes, by how many sources there are.

Owns the load (documents, in tenants of `TENANT_SOURCES`, written as the API's role) and the reading of the clock. The
command itself is run, on the running system: it is not ready meanwhile. Bodies repeat, so that the model that embeds is
no part of the figure: a recovery keeps vectors.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from typing import Any

import psycopg

from bench.path import new_tenant
from dataflows.oracle import verify
from runtime.deadline import Deadline
from runtime.settings import Settings

SOURCES = (1_000, 100_000)
"""A team's, and a company's."""
TENANT_SOURCES = 1_000
ROWS_AT_ONCE = 500
BODIES = 50
"""Different texts of a tenant: so many vectors are computed while the load is taken in."""
SETTLE_S_MAX = 7_200.0
"""Until the load is in every view."""
_INSERT = """
  insert into app.document_versions (
    tenant_id, document_id, version, kind, origin, title, media_type, body, effective_at
  )
  select
    %(tenant)s, gen_random_uuid(), 1, 'create', 'upload', 'Note ' || n %% %(bodies)s, 'text/markdown',
    'What was measured of pump ' || n %% %(bodies)s || ', and what follows for its maintenance.', now()
  from generate_series(1, %(rows)s) n
"""


def figures(settings: Settings) -> list[dict[str, Any]]:
    """Seconds of each step, with 10³ and then 10⁵ sources more than before."""
    rows = []
    loaded = 0
    for count in SOURCES:
        _load(settings, count - loaded)
        loaded = count
        found = _recover(settings)
        steps = {took["step"]: took["seconds"] for took in found["steps"]}
        clean = found["verify"]["clean"]
        rows.append({"sources": count, "seconds": found["seconds"], **steps, "clean": "yes" if clean else "no"})
    return rows


def _load(settings: Settings, count: int) -> None:
    """Write so many documents, and wait until every view has them."""
    for _ in range(0, count, TENANT_SOURCES):
        _slug, tenant_id = new_tenant(settings)
        _write(settings, uuid.UUID(str(tenant_id)), min(count, TENANT_SOURCES))
    report = verify(settings, None, Deadline.after(SETTLE_S_MAX), sample=0)
    if not report.clean:
        raise RuntimeError(f"the load is not in the views: {report.stuck or report.differences[:3]}")


def _write(settings: Settings, tenant_id: uuid.UUID, count: int) -> None:
    with psycopg.connect(settings.postgres.dsn("api")) as connection:
        for start in range(0, count, ROWS_AT_ONCE):
            with connection.transaction():
                connection.execute("select set_config('app.tenant_id', %s, true)", [str(tenant_id)])
                rows = min(ROWS_AT_ONCE, count - start)
                connection.execute(_INSERT, {"tenant": tenant_id, "bodies": BODIES, "rows": rows})


def _recover(settings: Settings) -> dict[str, Any]:
    began_s = time.monotonic()
    command = [sys.executable, "-m", "adriatic", "recover", "--yes", "--json", "--sample", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise RuntimeError(f"no recovery after {time.monotonic() - began_s:.0f} s: {done.stderr[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
