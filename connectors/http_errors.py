"""What the exceptions of httpx mean here: one table, for every HTTP service that we call with it.

Owns only what happens before there is an answer. What an answer's status means is each service's own, and is beside its
requests. The SDKs of the language models bring exceptions of their own (`connectors/llm`, `connectors/embedders`). A
test walks the library.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Literal

from runtime.errors import AdriaticError, Defect, DependencyUnavailable, Unprepared

Meaning = Literal["away", "unprepared", "defect"]

MEANINGS: Final[Mapping[str, Meaning]] = {
    "HTTPError": "away",
    "RequestError": "away",
    "TransportError": "away",
    "TimeoutException": "away",
    "ConnectTimeout": "away",
    "ReadTimeout": "away",
    "WriteTimeout": "away",
    "PoolTimeout": "away",
    "NetworkError": "away",
    "ConnectError": "away",
    "ReadError": "away",
    "WriteError": "away",
    "CloseError": "away",
    "ProxyError": "away",
    "ProtocolError": "away",
    "RemoteProtocolError": "away",
    "DecodingError": "away",
    "HTTPStatusError": "away",
    # The address in the settings is not one, or is somebody else's.
    "InvalidURL": "unprepared",
    "UnsupportedProtocol": "unprepared",
    "TooManyRedirects": "unprepared",
    # What we asked the library to do makes no sense.
    "LocalProtocolError": "defect",
    "CookieConflict": "defect",
    "StreamError": "defect",
    "StreamConsumed": "defect",
    "StreamClosed": "defect",
    "ResponseNotRead": "defect",
    "RequestNotRead": "defect",
}
"""Errors by the name of the class."""

_ERRORS: Final[Mapping[Meaning, type[AdriaticError]]] = {
    "away": DependencyUnavailable,
    "unprepared": Unprepared,
    "defect": Defect,
}


def map_error(
    error: BaseException, who: str, hint: str = "", coordinates: Mapping[str, Any] | None = None
) -> AdriaticError | None:
    """Our error for one of httpx'; `who` does not answer. None when it is none of these."""
    if not type(error).__module__.startswith("httpx"):
        return None
    meaning = next((MEANINGS[cls.__name__] for cls in type(error).__mro__ if cls.__name__ in MEANINGS), None)
    if meaning is None:
        return None
    detail = f"{who} does not answer: {type(error).__name__} {error}".rstrip()
    return _ERRORS[meaning](detail, hint=hint, coordinates=coordinates)


@contextmanager
def translate(who: str, hint: str = "", coordinates: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Run a block that makes requests."""
    try:
        yield
    except Exception as error:
        if (ours := map_error(error, who, hint, coordinates)) is None:
            raise
        raise ours from error
