"""HashiCorp Vault and OpenBao: secrets of the KV engine, version 2, over HTTP.

Owns three requests (read a secret, log in by AppRole, log in by a Kubernetes service account) and the token that a
login gives. A token that is not taken any more is replaced by a new login, once for each reading. Refuses to renew a
token, to write, and to follow a redirect: the token would go with it.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from connectors.http_errors import translate
from runtime.errors import DependencyUnavailable, Unprepared
from runtime.secret_references import SECRET_BYTES_MAX, SecretReference, parse, read_local
from runtime.settings import SecretSettings

ANSWER_BYTES_MAX = 4 * SECRET_BYTES_MAX
"""Largest answer that is read: a secret, escaped as JSON, with what is said about it."""
WHO = "Vault"


class VaultSource:
    """See `SecretSource`."""

    def __init__(self, settings: SecretSettings) -> None:
        self._settings = settings
        self._token = ""
        headers = {"x-vault-request": "true"}
        if settings.vault_namespace:
            headers["x-vault-namespace"] = settings.vault_namespace
        self._http = httpx.AsyncClient(
            base_url=settings.vault_url, headers=headers, timeout=settings.timeout_s, follow_redirects=False
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def read(self, reference: SecretReference) -> str:
        mount, _, path = reference.place.partition("/")
        address = f"/v1/{quote(mount)}/data/{quote(path)}"
        fresh = not self._token
        status, answer = await self._ask("GET", address, token=await self._find_token())
        if status == httpx.codes.FORBIDDEN and not fresh:
            self._token = ""
            status, answer = await self._ask("GET", address, token=await self._find_token())
        if status == httpx.codes.FORBIDDEN:
            self._token = ""
        if status != httpx.codes.OK:
            raise _refuse(status, f"does not give {reference}")
        try:
            value = answer["data"]["data"][reference.field]
        except (KeyError, TypeError):
            value = None
        if not isinstance(value, str) or not value:
            raise Unprepared(f"{reference} is no text in {WHO}", hint="has its newest version this field?")
        return value

    async def _find_token(self) -> str:
        settings = self._settings
        if settings.vault_login == "token":
            # Read each time: an agent of Vault's replaces the file.
            self._token = await _read_setting(settings.vault_token.get_secret_value())
        elif not self._token:
            self._token = await self._log_in()
        return self._token

    async def _log_in(self) -> str:
        settings, method = self._settings, self._settings.vault_login
        if method == "approle":
            secret = await _read_setting(settings.vault_secret_id.get_secret_value())
            body = {"role_id": settings.vault_role, "secret_id": secret}
        else:
            token = SecretReference("file", str(settings.vault_kubernetes_token))
            body = {"role": settings.vault_role, "jwt": await asyncio.to_thread(read_local, token)}
        mount = quote(settings.vault_login_path.strip("/") or method)
        status, answer = await self._ask("POST", f"/v1/auth/{mount}/login", body=body)
        if status != httpx.codes.OK:
            raise _refuse(status, f"does not let us in by {method}")
        try:
            return str(answer["auth"]["client_token"])
        except (KeyError, TypeError):
            raise Unprepared(f"{WHO} gave no token", hint="check secrets.vault_login and secrets.vault_role") from None

    async def _ask(self, method: str, path: str, *, token: str = "", body: Any = None) -> tuple[int, Any]:
        """The status, and the JSON of an answer that says yes."""
        headers = {"x-vault-token": token} if token else {}
        read = b""
        with translate(f"{WHO} at {self._settings.vault_url}", "check secrets.vault_url"):
            async with self._http.stream(method, path, headers=headers, json=body) as response:
                if response.status_code != httpx.codes.OK:
                    return response.status_code, None
                async for part in response.aiter_bytes():
                    read += part
                    if len(read) > ANSWER_BYTES_MAX:
                        raise Unprepared(f"{WHO} sent more than {ANSWER_BYTES_MAX} bytes", hint="is it Vault?")
        try:
            return response.status_code, msgspec.json.decode(read)
        except msgspec.DecodeError:
            raise Unprepared(f"{WHO} sent what is no JSON", hint="check secrets.vault_url") from None


def _refuse(status: int, said: str) -> DependencyUnavailable:
    """What an answer other than yes means. Its text is left out: nothing says what it quotes."""
    if status in (httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return Unprepared(f"{WHO} {said}: HTTP {status}", hint="may this token or role read it? see secrets.vault_*")
    if status == httpx.codes.NOT_FOUND:
        return Unprepared(f"{WHO} {said}: there is none", hint="it is vault:mount/path#field")
    if httpx.codes.is_redirect(status):
        return Unprepared(f"{WHO} {said}: it redirects", hint="set secrets.vault_url to the address that it points to")
    return DependencyUnavailable(f"{WHO} {said}: HTTP {status}", hint="is it sealed, or on standby?")


async def _read_setting(text: str) -> str:
    """A setting's secret, which may be a reference to this machine."""
    reference = parse(text)
    return await asyncio.to_thread(read_local, reference) if reference else text
