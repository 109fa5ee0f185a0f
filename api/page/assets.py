"""The files that the page is made of, in memory: read once when the process starts, packed once, named by a hash.

Owns the address of an asset. All of them lie under one hash of everything, so that a module that imports its neighbour
gets the one it was tested with, and a browser may keep each file for ever. Refuses to read the disk for a request: a
name is looked up in a table, so no path of a caller's ever reaches a file system.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping, Set
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, get_args

import jinja2
import msgspec

from api.adrs.document import Status
from api.agents.schemas import GOAL_CHARS_MAX
from api.crawls import schemas as crawls
from api.drafts.schemas import BRIEF_CHARS_MAX
from api.search.query import QUERY_CHARS_MAX
from api.search.schemas import VALUE_CHARS_MAX
from runtime import __version__
from runtime.setting_agents import SECONDS_MAX, STEPS_MAX, TOKENS_MAX
from runtime.setting_crawler import RenderMode
from schemas import sources

PREFIX = "/assets"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    "": "text/plain; charset=utf-8",
}
"""Media types by suffix. A file of another kind is not served; licences have no suffix."""
PACK_BYTES_MIN = 512
"""What is smaller does not get smaller."""
DIGEST_CHARS = 16
"""64 bits of SHA-256 tell apart more builds than there will be."""

WORK_KINDS = (
    ("research", "Question", "/v1/research"),
    ("task", "Task", "/v1/agents/tasks"),
    ("crawl", "Site", "/v1/crawls"),
    ("document", "Files", "/v1/documents"),
)
"""What can be begun on the page: its name there, its word, and the route that there must be."""
RENDER_WORDS: Mapping[RenderMode, str] = {"never": "never", "auto": "when needed", "always": "always"}
"""Which pages a browser renders, for people."""
WORK_BOUNDS: Mapping[str, Any] = {
    "statuses": get_args(Status),
    "value_chars_max": VALUE_CHARS_MAX,
    "goal_chars_max": GOAL_CHARS_MAX,
    "steps_max": STEPS_MAX,
    "tokens_max": TOKENS_MAX,
    "task_seconds_max": SECONDS_MAX,
    "depth_max": crawls.DEPTH_MAX,
    "pages_max": crawls.PAGES_MAX,
    "megabytes_max": crawls.BYTES_MAX // 1_048_576,
    "minutes_max": crawls.SECONDS_MAX // 60,
    "render_modes": tuple((mode, RENDER_WORDS[mode]) for mode in get_args(RenderMode)),
}
"""What its forms take: the API's own bounds."""


class Asset(msgspec.Struct, frozen=True):
    """One file. `packed` is its gzip, None where that would not be smaller."""

    body: bytes
    packed: bytes | None
    media_type: str
    etag: str


class Assets(msgspec.Struct, frozen=True):
    """Every file by its name, the hash of all of them, and the document that names them."""

    digest: str
    files: dict[str, Asset]
    document: Asset

    @classmethod
    def load(cls, paths: Set[str]) -> Assets:
        """Read, pack and render everything, once for each process.

        `paths` are the templates of the API's routes: the page has a panel for what can be asked.
        """
        static = resources.files("api.page") / "static"
        bodies = dict(sorted(_walk(static, "")))
        digest = hashlib.sha256()
        for name, body in bodies.items():
            digest.update(f"{name}\0{len(body)}\0".encode() + body)
        address = digest.hexdigest()[:DIGEST_CHARS]
        files = {name: _asset(body, MEDIA_TYPES[_suffix(name)]) for name, body in bodies.items()}
        return cls(address, files, _asset(_document(address, paths), "text/html; charset=utf-8"))


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found = []
    for each in folder.iterdir():
        if each.is_dir():
            found += _walk(each, f"{prefix}{each.name}/")
        elif _suffix(each.name) in MEDIA_TYPES:
            found.append((f"{prefix}{each.name}", each.read_bytes()))
    return found


def _suffix(name: str) -> str:
    dot = name.rfind(".")
    return name[dot:] if dot > 0 else ""


def _asset(body: bytes, media_type: str) -> Asset:
    # mtime 0: the same file packs to the same bytes in every process.
    packed = gzip.compress(body, mtime=0) if len(body) >= PACK_BYTES_MIN else None
    # Weak: packed or not, it is the same file.
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
    return Asset(body, packed if packed and len(packed) < len(body) else None, media_type, etag)


def _document(digest: str, paths: Set[str]) -> bytes:
    """The page. It is the same for everybody, so it is rendered once; what is whose comes by `/v1`."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("api.page"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    page = templates.get_template("page.html").render(
        assets=f"{PREFIX}/{digest}",
        paths=paths,
        kinds=sources.KINDS,
        version=__version__,
        query_chars_max=QUERY_CHARS_MAX,
        brief_chars_max=BRIEF_CHARS_MAX,
        work_kinds=WORK_KINDS,
        **WORK_BOUNDS,
    )
    return page.encode()
