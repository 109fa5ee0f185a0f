"""What the exceptions of httpx, of aiohttp, and of the SDKs that speak HTTP for us, mean here: one table.

Owns what happens before there is an answer, and what it means that a model's endpoint refuses one. What the status of
any other answer means is each service's own, and is beside its requests. Knows the SDKs by the names of their classes,
so that nobody loads one that it does not use; newer ones of OpenAI stand on `httpx2`, which has the classes of httpx. A
test walks the libraries, and holds the table to those that are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Literal

from connectors.meanings import by_name, find_meaning
from runtime.errors import AdriaticError, Defect, DependencyUnavailable, Unprepared

REASON_CHARS_MAX: Final = 300
"""Longest quotation of what a provider says about an error: enough for a sentence or two."""

Meaning = Literal["away", "unprepared", "defect"]

MEANINGS: Final[Mapping[str, Meaning]] = by_name(
    {
        "away": """
            HTTPError RequestError TransportError TimeoutException ConnectTimeout ReadTimeout WriteTimeout PoolTimeout
            NetworkError ConnectError ReadError WriteError CloseError ProxyError ProtocolError RemoteProtocolError
            DecodingError HTTPStatusError
        """,
        # The address in the settings is not one, or is somebody else's.
        "unprepared": "InvalidURL UnsupportedProtocol TooManyRedirects",
        # What we asked the library to do makes no sense.
        "defect": """
            LocalProtocolError CookieConflict StreamError StreamConsumed StreamClosed ResponseNotRead RequestNotRead
        """,
    }
)
"""Errors of httpx and httpx2, by the name of the class."""

SDKS: Final[Mapping[str, Meaning]] = by_name(
    {
        "away": "openai.OpenAIError obstore.BaseError aiohttp.ClientError",
        "unprepared": """
            openai.OAuthError openai.SubjectTokenProviderError obstore.PermissionDeniedError
            obstore.UnauthenticatedError obstore.UnknownConfigurationKeyError aiohttp.InvalidURL
            aiohttp.TooManyRedirects aiohttp.InvalidUrlClientError aiohttp.NonHttpUrlClientError
        """,
        # Those of OpenAI and aiohttp are of calls that we do not make.
        "defect": """
            openai.LengthFinishReasonError openai.ContentFilterFinishReasonError openai.InvalidWebhookSignatureError
            openai._AmbiguousModuleClientUsageError aiohttp.WebSocketError aiohttp.WSMessageTypeError aiohttp.EofStream
            obstore.InvalidPathError obstore.NotSupportedError
        """,
    }
)
"""Errors of the SDKs, by package and class; one that is not here means what its nearest base does."""

_HTTPX = {f"{library}.{name}": MEANINGS[name] for library in ("httpx", "httpx2") for name in MEANINGS}
_TABLE: Final[Mapping[str, Meaning]] = {**_HTTPX, **SDKS}
_ERRORS: Final[Mapping[Meaning, type[AdriaticError]]] = {
    "away": DependencyUnavailable,
    "unprepared": Unprepared,
    "defect": Defect,
}


def map_error(
    error: BaseException, who: str, hint: str = "", coordinates: Mapping[str, Any] | None = None
) -> AdriaticError | None:
    """Our error for one of these libraries'; `who` does not answer. None when it is none of these."""
    meaning = find_meaning(error, _TABLE)
    if meaning is None:
        return None
    # An SDK's own text may quote a key or an address with one.
    text = str(error) if type(error).__module__.startswith("httpx") else ""
    detail = f"{who} does not answer: {type(error).__name__} {text}".rstrip()
    return _ERRORS[meaning](detail, hint=hint, coordinates=coordinates)


def map_break(error: Exception, who: str, hint: str) -> AdriaticError:
    """The same while an answer is read, when the libraries let through whatever their transport raises."""
    if isinstance(error, AdriaticError):
        return error
    broken = DependencyUnavailable(f"{who} broke off: {type(error).__name__}", hint=hint)
    return map_error(error, who, hint) or broken


def map_status(error: Any, who: str, settings: str) -> DependencyUnavailable:
    """What a refused request means; `error` is an SDK's, with the response. `settings` are those that say whom to ask.
    A message about a key can hold a part of it, so it is left out."""
    status, wait = error.status_code, error.response.headers.get("retry-after", "")
    if status in (401, 403):
        return DependencyUnavailable(
            f"{who} does not accept the key: HTTP {status}", hint=f"check {settings}.api_key and {settings}.base_url"
        )
    wait_s = read_seconds(wait)
    if status == 429:
        asked = wait_s is not None
        said, hint = "takes no more requests now", f"it asks to wait {wait} s" if asked else "try again later"
    elif status < 500:
        said, hint = "refuses the request", f"check {settings}.model"
    else:
        said, hint = "cannot answer now", "try again"
    reason = f"HTTP {status}, {error.message[:REASON_CHARS_MAX]}"
    coordinates = {} if wait_s is None else {"retry_after_s": wait_s}
    return DependencyUnavailable(f"{who} {said}: {reason}", hint=hint, coordinates=coordinates)


def read_seconds(value: str) -> float | None:
    """A header that says how long to wait, where it is a number and no date."""
    return float(value) if value.replace(".", "", 1).isdigit() else None


@contextmanager
def translate(who: str, hint: str = "", coordinates: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Run a block that makes requests."""
    try:
        yield
    except Exception as error:
        if (ours := map_error(error, who, hint, coordinates)) is None:
            raise
        raise ours from error
