"""References to secrets: a setting says where a value is kept, in the place of the value.

Owns their forms, and reading those that this machine has: `file:/run/secrets/key` and `env:NAME`. Refuses to ask
anybody over a network (`connectors/secrets`), and to repeat the text of a setting in an error: what looks like a
reference with a slip may be a secret.

    file:/run/secrets/openai            a file, read again at each refresh
    env:OPENAI_API_KEY                  a variable of the process, for development
    vault:secret/adriatic/llm#openai    a field of a secret in Vault's KV version 2: mount, path, field
    aws:adriatic/llm#openai             AWS Secrets Manager: name or ARN; without a field, the whole text
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, cast, get_args

import msgspec

from runtime.errors import Unprepared

SecretScheme = Literal["file", "env", "vault", "aws"]
LOCAL: tuple[SecretScheme, ...] = ("file", "env")
"""What a process reads by itself."""
SECRET_BYTES_MAX = 65_536
"""Largest secret, in bytes, which is what AWS takes; a key has a hundred."""


class SecretReference(msgspec.Struct, frozen=True):
    """Where a secret is kept. It is no secret itself. `field`: a name in the JSON object that is kept there."""

    scheme: SecretScheme
    place: str
    field: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}:{self.place}" + (f"#{self.field}" if self.field else "")


def parse(text: str) -> SecretReference | None:
    """The reference that `text` is; None where it is the secret itself. Raises `ValueError` for half a reference."""
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in get_args(SecretScheme):
        return None
    named = cast("SecretScheme", scheme)
    if named in LOCAL:
        if not rest or (named == "file" and not Path(rest).is_absolute()):
            raise ValueError(f"{scheme}: needs {'the absolute path of a file' if scheme == 'file' else 'a name'}")
        return SecretReference(named, rest)
    place, _, field = rest.partition("#")
    if named == "vault" and not (place.strip("/").count("/") and field):
        raise ValueError("vault: needs mount, path and field, like vault:secret/adriatic/llm#openai")
    if not place:
        raise ValueError("aws: needs the name of a secret, like aws:adriatic/llm#openai")
    return SecretReference(named, place.strip("/") if named == "vault" else place, field)


def read_local(reference: SecretReference) -> str:
    """A secret that this machine has, without the line end that editors put behind it. Raises `Unprepared`."""
    if reference.scheme == "env":
        value = os.environ.get(reference.place, "")
        if not value:
            raise Unprepared(f"{reference} is not set", hint="set the variable, and start the process again")
        return value
    try:
        with Path(reference.place).open("rb") as file:
            content = file.read(SECRET_BYTES_MAX + 1)
        text = content.decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise Unprepared(f"{reference} cannot be read: {why}", hint="is it there, and may we read it?") from None
    if not text or len(content) > SECRET_BYTES_MAX:
        raise Unprepared(f"{reference} is empty or too large", hint=f"a secret has 1 to {SECRET_BYTES_MAX} bytes")
    return text
