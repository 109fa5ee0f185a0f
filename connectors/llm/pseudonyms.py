"""What providers call our users: a pseudonym, by which they can stop one and cannot know who it is.

Owns the key that pseudonyms are made with, and how. Each tenant has a key of its own, made of it, so that a user of two
tenants is two to a provider, and nobody who sees pseudonyms can find out by trying ids. Refuses to go back from a
pseudonym to a user: whoever has to, because a provider complains, tries the users of the tenant.
"""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path
from uuid import UUID

from runtime.logs import get_logger
from runtime.private import create_once
from runtime.settings import LlmSettings

FILE = "pseudonyms.key"
KEY_BYTES = 32
"""The length of the hash, in bytes: longer keys are hashed first."""

log = get_logger("llm")


class Pseudonyms:
    """Names users by one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def open(cls, home: Path, settings: LlmSettings) -> Pseudonyms | None:
        """Take the key of the settings, or else that of the state directory, which is made. None when nobody is to hear
        who asks, and when there is no key: an answer without a pseudonym is better than none."""
        providers = {settings.provider, *(target.provider for model in settings.models for target in model.targets)}
        if settings.send_user == "never" or providers <= {"extractive", "gemini"}:  # Gemini's API has no field for it
            return None
        if said := settings.user_key.get_secret_value():
            return cls(said.encode())
        try:
            create_once(home / FILE, secrets.token_bytes(KEY_BYTES))
            return cls((home / FILE).read_bytes())
        except OSError as error:
            log.warning("providers do not hear who asks", reason=error.strerror, hint="set llm.user_key")
            return None

    def name(self, tenant_id: UUID, user_id: UUID) -> str:
        """64 characters, which every provider takes; the same each time."""
        of_tenant = hmac.digest(self._key, tenant_id.bytes, "sha256")
        return hmac.digest(of_tenant, user_id.bytes, "sha256").hex()
