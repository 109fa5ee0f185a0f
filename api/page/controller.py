"""`/` and the files that it loads: public, and empty of anybody's data.

Owns the headers: what the browser may run, load and talk to. Everything is refused but our own files and our own
routes, and no text can become markup (`require-trusted-types-for`): an ADR whose title is a script stays a title.
"""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, PathParameter, QueryParameter

from api.auth.middleware import PUBLIC
from api.page.assets import PREFIX, WORK_KINDS, Asset, Assets
from api.routes import IfNoneMatch, get
from api.search.query import QUERY_CHARS_MAX
from runtime.errors import NotFound

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
SAFE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
DOCUMENT = SAFE | {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "x-frame-options": "DENY",
    # It names the hash of its files, so it must be asked for each time; mostly the answer is 304.
    "cache-control": "no-cache",
}
FILE = SAFE | {"cache-control": "public, max-age=31536000, immutable"}

WORK = rf"^({'|'.join(kind for kind, *_ in WORK_KINDS)})\.[0-9a-f-]{{36}}$"
WORK_CHARS_MAX = 64
"""A kind of work and an id."""

Accepted = Annotated[
    str | None, HeaderParameter(name="Accept-Encoding", description="With gzip the answer is a fifth of its size.")
]


class PageController(Controller):
    """The page for people: it reads `/v1` with their token, and is the example of a web app that does."""

    tags = ("page",)
    opt = PUBLIC

    @get("/", "The page", "<!doctype html>…", "An HTML document.", answer=str, media_type="text/html", public=True)
    async def get_page(
        self,
        assets: NamedDependency[Assets],
        q: Annotated[str | None, QueryParameter(max_length=QUERY_CHARS_MAX, description="Search for it.")] = None,
        adr: Annotated[UUID | None, QueryParameter(description="Show this ADR.")] = None,
        view: Annotated[
            Literal["spend", "work"] | None,
            QueryParameter(description="Show what is spent, for admins, or the work that was begun."),
        ] = None,
        work: Annotated[
            str | None,
            QueryParameter(pattern=WORK, max_length=WORK_CHARS_MAX, description="Show what came of it: `research.ID`."),
        ] = None,
        if_none_match: IfNoneMatch = None,
        accept_encoding: Accepted = None,
    ) -> Response[bytes | None]:
        """Search, ADRs with their history, questions with cited answers, and what is happening now.

        The document is the same for everybody; its script reads `q`, `adr`, `view` and `work`. A token comes in the
        fragment of the address, `/#token=…`, which is never sent to a server.
        """
        return _answer(assets.document, DOCUMENT, if_none_match, accept_encoding)

    @get(
        f"{PREFIX}/{{digest:str}}/{{name:path}}",
        "A file of the page",
        ":root { color-scheme: light dark; }",
        "The file, which never changes.",
        answer=str,
        errors=(404,),
        media_type="*/*",
        public=True,
    )
    async def get_asset(
        self,
        assets: NamedDependency[Assets],
        digest: Annotated[str, PathParameter(description="The hash of all files, as the page names it.")],
        name: Annotated[str, PathParameter(description="The file's name.")],
        if_none_match: IfNoneMatch = None,
        accept_encoding: Accepted = None,
    ) -> Response[bytes | None]:
        """Keep it for ever: other contents have another address."""
        asset = assets.files.get(str(name).lstrip("/")) if digest == assets.digest else None
        if asset is None:
            raise NotFound("the page has no such file", hint="load / again: it names the files that there are now")
        return _answer(asset, FILE, if_none_match, accept_encoding)


def _answer(asset: Asset, headers: dict[str, str], known: str | None, accepted: str | None) -> Response[bytes | None]:
    headers = headers | {"etag": asset.etag, "vary": "accept-encoding"}
    if known is not None and asset.etag in known.split(", "):
        return Response(None, status_code=304, headers=headers)
    headers["content-type"] = asset.media_type
    if asset.packed is not None and "gzip" in (accepted or ""):
        return Response(asset.packed, headers=headers | {"content-encoding": "gzip"}, media_type=asset.media_type)
    return Response(asset.body, headers=headers, media_type=asset.media_type)
