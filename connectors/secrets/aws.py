"""AWS Secrets Manager, by botocore: an extra, `adriatic[aws]`.

Owns one call, and what its errors mean. The library signs, and finds the machine's own credentials: variables, a
profile, a web identity of Kubernetes, the role of a container or of an instance. It blocks, so that it has a thread;
its retries are off, because the caller tries again.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from runtime.errors import DependencyUnavailable, Misconfigured, Unprepared
from runtime.secret_references import SecretReference
from runtime.settings import SecretSettings

WHO = "AWS Secrets Manager"
_AWAY = frozenset({"InternalServiceError", "ServiceUnavailable", "ThrottlingException", "RequestLimitExceeded"})
"""Codes of trouble that passes. Every other one stays until somebody mends it."""


class AwsSource:
    """See `SecretSource`. Raises `Misconfigured` where the library is not installed."""

    def __init__(self, settings: SecretSettings) -> None:
        try:
            import botocore.session as library
        except ImportError:
            raise Misconfigured(
                "a setting refers to AWS Secrets Manager, whose library is not installed",
                hint="pip install 'adriatic[aws]'",
            ) from None
        self._library = library
        self._settings = settings
        self._client: Any = None

    async def read(self, reference: SecretReference) -> str:
        text = await asyncio.to_thread(self._fetch, reference)
        return _pick(text, reference) if reference.field else text

    async def close(self) -> None:
        if self._client:
            await asyncio.to_thread(self._client.close)

    def _fetch(self, reference: SecretReference) -> str:
        from botocore import exceptions

        try:
            self._client = self._client or self._connect()
            answer = self._client.get_secret_value(SecretId=reference.place)
        except exceptions.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            kind = DependencyUnavailable if code in _AWAY else Unprepared
            hint = "is the name right, and may this machine's role read it and its key?"
            raise kind(f"{WHO} does not give {reference}: {code}", hint=hint) from None
        except exceptions.BotoCoreError as error:
            # Its text can quote an address or a profile, and says no more than its name.
            away = isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError)
            hint = "is the network there?" if away else "set secrets.aws_region, and give this machine a role"
            kind = DependencyUnavailable if away else Unprepared
            raise kind(f"{WHO} cannot be asked: {type(error).__name__}", hint=hint) from None
        text = answer.get("SecretString")
        if not isinstance(text, str) or not text:
            raise Unprepared(f"{reference} is no text", hint="keep it as a SecretString")
        return text

    def _connect(self) -> Any:
        from botocore.config import Config

        wanted = self._settings
        config = Config(
            connect_timeout=wanted.timeout_s, read_timeout=wanted.timeout_s, retries={"total_max_attempts": 1}
        )
        return self._library.get_session().create_client(
            "secretsmanager",
            region_name=wanted.aws_region or None,
            endpoint_url=wanted.aws_endpoint or None,
            config=config,
        )


def _pick(text: str, reference: SecretReference) -> str:
    try:
        value = msgspec.json.decode(text)[reference.field]
    except (msgspec.DecodeError, KeyError, TypeError):
        value = None
    if not isinstance(value, str) or not value:
        raise Unprepared(f"{reference} has no such text", hint="the secret is to be a JSON object with this field")
    return value
