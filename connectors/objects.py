"""Object storage: the originals of uploaded documents, in a folder or in anything that speaks S3's API.

Owns the keys (`<tenant>/<sha-256>`: no two tenants share an object, whatever they upload) and the mapping of the
library's errors. Refuses to know what an object is of, and to decide when one may go.

Both kinds are obstore's, so that the folder is a stand-in with the very same calls. Methods block; the API calls them
in a thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import UUID

from connectors.http_errors import map_error
from runtime.errors import DependencyUnavailable, NotFound
from runtime.private import make_private
from runtime.settings import Settings

if TYPE_CHECKING:
    from obstore.store import ObjectStore

FOLDER = "objects"
REQUEST_S_MAX = 30
"""One request to S3. A part of an upload has a few MiB."""
RETRY_S_MAX = 20
"""The library repeats what failed for so long; then whoever asked says that the storage does not answer."""
PART_BYTES = 8_388_608
"""How much of an object is in memory at a time, while it is sent or read."""


class Objects:
    """The store of one process; may be used from many threads. Raises `DependencyUnavailable` when it is away."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def put(self, key: str, file: IO[bytes]) -> None:
        """Store what `file` holds from its present position on. Again is the same."""
        with map_errors():
            self._store.put(key, file, chunk_size=PART_BYTES)

    def exists(self, key: str) -> bool:
        try:
            with map_errors():
                self._store.head(key)
        except NotFound:
            return False
        return True

    def read(self, key: str) -> Iterator[bytes]:
        """The object in parts. Raises `NotFound` before the first."""
        with map_errors():
            stream = iter(self._store.get(key).stream(min_chunk_size=PART_BYTES))
        while True:
            with map_errors():
                part = next(stream, None)
            if part is None:
                return
            yield bytes(part)

    def delete(self, key: str) -> None:
        """One that is not there is deleted."""
        with suppress(NotFound), map_errors():
            self._store.delete(key)

    @cached_property
    def _store(self) -> ObjectStore:
        return _open(self._settings)


def key_of(tenant_id: UUID, content_hash: bytes) -> str:
    return f"{tenant_id}/{content_hash.hex()}"


def _open(settings: Settings) -> ObjectStore:
    """Makes the folder; of a bucket it asks nothing."""
    from obstore.store import LocalStore, S3Store

    wanted = settings.objects
    if wanted.kind == "folder":
        folder: Path = wanted.folder or settings.home / FOLDER
        try:
            make_private(folder)
        except OSError as error:
            raise DependencyUnavailable(
                f"the folder of originals cannot be made: {error.strerror}", hint="see the setting objects.folder"
            ) from error
        return LocalStore(folder.resolve())
    options: dict[str, Any] = {"region": wanted.region}
    if wanted.endpoint:
        options |= {"endpoint": wanted.endpoint, "virtual_hosted_style_request": False}
    if wanted.access_key_id:
        options |= {
            "access_key_id": wanted.access_key_id,
            "secret_access_key": wanted.secret_access_key.get_secret_value(),
        }
    return S3Store(
        wanted.bucket,
        client_options={"allow_http": wanted.endpoint.startswith("http:"), "timeout": timedelta(seconds=REQUEST_S_MAX)},
        retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=RETRY_S_MAX)},
        **options,
    )


@contextmanager
def map_errors() -> Iterator[None]:
    """The library's errors as ours."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        raise NotFound("there is no such object", hint="was it deleted by hand?") from error
    except (BaseError, OSError) as error:
        hint = "see the settings objects.*"
        raise map_error(error, "the object storage", hint) or DependencyUnavailable(
            f"the object storage does not answer: {type(error).__name__}", hint=hint
        ) from error
