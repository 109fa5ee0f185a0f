"""`GET /v1/live/{view}`: a view's rows and each change of them, as server-sent events.

Owns what happens before the first byte: an unknown view, a token that is none, and everything that keeps a read from
beginning are problem responses. Refuses Litestar's `ServerSentEvent`, whose generator is not closed when a caller
leaves early.
"""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Controller, Request, Response
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, PathParameter, QueryParameter
from litestar.response import Stream

from api import watermarks
from api.edge import HEAD_STATE
from api.live import events
from api.live.hub import Hub
from api.live.join import TOKEN_CHARS_MAX
from api.live.reader import Reader, require_token
from api.live.rows import RowDelta
from api.routes import By, Db, get
from api.sse import HEADERS, MEDIA_TYPE
from runtime.errors import NotFound

_EXAMPLE = """\
id: WzEsImVudGl0eV9jb3VudHMiLDQyXQ
event: snapshot
data: {"rows":[{"kind":"adrs","label":"accepted","count":12}],"more":false,"as_of":{"state":"fresh","lsn":"0/1A2B3C8",\
"time":"2026-01-15T09:00:00Z","age_s":0.8}}

id: WzEsImVudGl0eV9jb3VudHMiLDQzXQ
event: delta
data: {"op":"upsert","key":{"kind":"adrs","label":"accepted"},"row":{"kind":"adrs","label":"accepted","count":13}}

"""
_DESCRIPTION = """Server-sent events, without end. `snapshot`: at most 500 rows each, `more` until the last. `delta`: \
one change, `op` is `upsert` or `delete`; a column that is not in `row` did not change. `watermark`: about once a \
second, how far the picture is (`as_of`), and what does not answer (`waits_for`). `reset`: forget every row, a \
snapshot follows; `reason` says why. `end`: the last event, with its `reason`; ask again with the last `id`. The `id` \
of each event resumes there."""
_EVENTS = {
    "snapshot": events.SnapshotEvent,
    "delta": RowDelta,
    "watermark": events.WatermarkEvent,
    "reset": events.ResetEvent,
    "end": events.EndEvent,
}
_Token = Annotated[
    str | None,
    HeaderParameter(
        name="Last-Event-ID",
        max_length=TOKEN_CHARS_MAX,
        description="The `id` of the last event that was seen: go on behind it. Where that cannot be, `reset` comes.",
    ),
]
_TokenInQuery = Annotated[
    str | None, QueryParameter(max_length=TOKEN_CHARS_MAX, description="The same, for clients that cannot set headers.")
]


class LiveController(Controller):
    """Views that move."""

    path = "/v1/live"
    tags = ("live",)

    @get(
        "/{view:str}",
        "Read a view, and each change of it",
        _EXAMPLE,
        _DESCRIPTION,
        answer=str,
        errors=(404, 413, 429),
        media_type=MEDIA_TYPE,
        opt={"events": _EVENTS},
    )
    async def read_live(
        self,
        request: Request[Any, Any, Any],
        database: Db,
        live: NamedDependency[Hub],
        principal: By,
        view: Annotated[str, PathParameter(description="Its name.")],
        token: _Token = None,
        last_event_id: _TokenInQuery = None,
        position: watermarks.Position = None,
    ) -> Response[Any]:
        """Each change is shown once, in order, and the rows with all changes applied are the table.

        A change that a newer one of the same row replaced while nobody read may be left out when the topic is
        compacted. The stream ends when the bearer token does; with an API key after a minute, when the key may be
        revoked: go on behind the last `id`.
        """
        found = live.views.get(view)
        if found is None:
            raise NotFound(f"there is no view {view[:64]!r}", hint=f"there are: {', '.join(sorted(live.views))}")
        last = require_token(token or last_event_id)
        if request.scope["state"].get(HEAD_STATE):
            return Response(None, media_type=MEDIA_TYPE, headers=HEADERS)
        await watermarks.wait_until_shown(database, principal.tenant_id, found.name, position)
        reader = Reader(live, found, principal.tenant_id, request.auth.expires_at)
        await reader.begin(last)
        return Stream(reader.frames(), media_type=MEDIA_TYPE, headers=HEADERS)
