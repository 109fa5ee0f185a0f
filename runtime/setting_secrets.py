"""Settings of the places that keep secrets, and what is done with settings that refer to them.

Owns the section `secrets`, and which settings may say where a secret is kept instead of the secret. Keys of the
providers of models and of vectors, and what signs webhooks, may be anywhere and are read while the process runs
(`connectors/secrets`). Passwords of the database are read from a file or a variable for each connection. Everything
else that is secret is read once, with the settings, from the same. Refuses to repeat the text of a setting.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, SecretStr, model_validator

from runtime.errors import Unprepared
from runtime.secret_references import LOCAL, SecretReference, parse, read_local
from runtime.setting_kinds import OptionalUrl, Seconds, Section

KUBERNETES_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""Where a pod finds the token of its service account."""
ROTATING = frozenset(
    {("llm", "api_key"), ("llm", "keys"), ("embedder", "api_key"), ("embedder", "keys")}
    | {("reranker", "api_key"), ("alerts", "webhook_secret")}
)
"""Settings whose secrets are read while the process runs, wherever they are kept."""
AT_USE = frozenset(("postgres", f"{role}_password") for role in ("admin", "owner", "api", "flows", "cdc"))
"""Settings whose secrets are read from this machine for each connection that is made with them."""
OF_STORES = frozenset({("secrets", "vault_token"), ("secrets", "vault_secret_id")})
"""What opens a store: read by who asks it, each time, from this machine."""

SomeSettings = TypeVar("SomeSettings", bound=BaseModel)


class SecretSettings(Section):
    """Where secrets are kept that settings refer to, such as `llm.api_key = "vault:secret/adriatic/llm#openai"`, and
    how often they are read again."""

    refresh_s: Seconds = Field(300.0, description="How often keys of providers are read again, in seconds.")
    timeout_s: Seconds = Field(5.0, description="One reading, in seconds.")
    vault_url: OptionalUrl = Field("", description="Vault or OpenBao, for references that begin with `vault:`.")
    vault_namespace: str = Field("", description="Its namespace; empty is the root.")
    vault_login: Literal["token", "approle", "kubernetes"] = Field(
        "token", description="How to log in: with `vault_token`, by an AppRole, or as a pod's service account."
    )
    vault_login_path: str = Field("", description="Where that method is mounted; empty is its own name.")
    vault_token: SecretStr = Field(
        SecretStr(""), description="For `token`; `file:…` of an agent's sink is read again each time."
    )
    vault_role: str = Field("", description="The role for `kubernetes`, the `role_id` for `approle`.")
    vault_secret_id: SecretStr = Field(SecretStr(""), description="For `approle`; may be `file:…` or `env:…`.")
    vault_kubernetes_token: Path = Field(KUBERNETES_TOKEN, description="For `kubernetes`: the service account's token.")
    aws_region: str = Field("", description="For references that begin with `aws:`; empty is the machine's own.")
    aws_endpoint: OptionalUrl = Field("", description="Base of that API; empty is Amazon's.")

    @model_validator(mode="after")
    def _complete(self) -> SecretSettings:
        needed = {"token": "vault_token", "approle": "vault_secret_id", "kubernetes": "vault_role"}[self.vault_login]
        if self.vault_url and not _text_of(getattr(self, needed)):
            raise ValueError(f"secrets.vault_login {self.vault_login} needs secrets.{needed}")
        return self


def _text_of(value: SecretStr | str) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def resolve(settings: SomeSettings) -> tuple[SomeSettings, list[str]]:
    """The settings with every secret that is read once, and what is wrong with the references."""
    changed: dict[str, Any] = {}
    faults: list[str] = []
    vault = bool(getattr(settings, "secrets", SecretSettings()).vault_url)
    for name in type(settings).model_fields:
        section = getattr(settings, name)
        if not isinstance(section, BaseModel):
            continue
        values: dict[str, Any] = {}
        for field, value in _secrets_of(section):
            try:
                values[field] = _resolve_value((name, field), value, vault=vault)
            except (ValueError, Unprepared) as error:
                said = error.detail if isinstance(error, Unprepared) else str(error)
                faults.append(f"{name}.{field}: {said}")
        changed[name] = section.model_copy(update=values)
    return settings.model_copy(update=changed), faults


def _secrets_of(section: BaseModel) -> Iterator[tuple[str, Any]]:
    for field in type(section).model_fields:
        value = getattr(section, field)
        if isinstance(value, SecretStr) or (
            isinstance(value, dict) and any(isinstance(each, SecretStr) for each in value.values())
        ):
            yield field, value


def _resolve_value(path: tuple[str, str], value: Any, *, vault: bool) -> Any:
    if isinstance(value, dict):
        return {key: _resolve_value(path, each, vault=vault) for key, each in value.items()}
    reference = parse(value.get_secret_value())
    if reference is None:
        return value
    if path in ROTATING:
        if reference.scheme == "vault" and not vault:
            raise ValueError("vault: needs secrets.vault_url")
        return value
    _require_local(reference)
    if path in OF_STORES:
        return value
    found = SecretStr(read_local(reference))
    return value if path in AT_USE else found


def _require_local(reference: SecretReference) -> None:
    if reference.scheme not in LOCAL:
        raise ValueError(
            f"{reference.scheme}: is for keys of models, vectors and webhooks; this is read from file:… or env:…, "
            "which an agent of the store can write"
        )
