"""What the exceptions of httpx, and of the SDKs that speak HTTP for us, mean here: one table.

Owns only what happens before there is an answer. What an answer's status means is each service's own, and is beside its
requests. Knows the SDKs by the names of their classes, so that nobody loads one that it does not use; newer ones of
OpenAI and Anthropic stand on `httpx2`, which has the classes of httpx. A test walks the libraries.
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
"""Errors of httpx and httpx2, by the name of the class."""

SDKS: Final[Mapping[str, Meaning]] = {
    "openai.OpenAIError": "away",
    "openai.OAuthError": "unprepared",
    "openai.SubjectTokenProviderError": "unprepared",
    "openai.LengthFinishReasonError": "defect",  # of calls that we do not make, like the next three
    "openai.ContentFilterFinishReasonError": "defect",
    "openai.InvalidWebhookSignatureError": "defect",
    "openai._AmbiguousModuleClientUsageError": "defect",
    "anthropic.AnthropicError": "away",
    "anthropic.CredentialsError": "unprepared",
    "anthropic.WorkloadIdentityError": "unprepared",
    "obstore.BaseError": "away",
    "obstore.PermissionDeniedError": "unprepared",
    "obstore.UnauthenticatedError": "unprepared",
    "obstore.UnknownConfigurationKeyError": "unprepared",
    "obstore.InvalidPathError": "defect",
    "obstore.NotSupportedError": "defect",
}
"""Errors of the SDKs, by package and class; one that is not here means what its nearest base does."""

_ERRORS: Final[Mapping[Meaning, type[AdriaticError]]] = {
    "away": DependencyUnavailable,
    "unprepared": Unprepared,
    "defect": Defect,
}


def map_error(
    error: BaseException, who: str, hint: str = "", coordinates: Mapping[str, Any] | None = None
) -> AdriaticError | None:
    """Our error for one of these libraries'; `who` does not answer. None when it is none of these."""
    meaning = next((found for cls in type(error).__mro__ if (found := _meaning_of(cls)) is not None), None)
    if meaning is None:
        return None
    # An SDK's own text may quote a key or an address with one.
    text = str(error) if type(error).__module__.startswith("httpx") else ""
    detail = f"{who} does not answer: {type(error).__name__} {text}".rstrip()
    return _ERRORS[meaning](detail, hint=hint, coordinates=coordinates)


def _meaning_of(cls: type[BaseException]) -> Meaning | None:
    package = cls.__module__.partition(".")[0]
    known, name = (MEANINGS, cls.__name__) if package in ("httpx", "httpx2") else (SDKS, f"{package}.{cls.__name__}")
    return known.get(name)


@contextmanager
def translate(who: str, hint: str = "", coordinates: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Run a block that makes requests."""
    try:
        yield
    except Exception as error:
        if (ours := map_error(error, who, hint, coordinates)) is None:
            raise
        raise ours from error
