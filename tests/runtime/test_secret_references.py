"""Settings that say where a secret is kept: their forms, what is read at once, and what is refused without a quote."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import Misconfigured, Unprepared
from runtime.secret_references import SECRET_BYTES_MAX, SecretReference, parse, read_local
from runtime.settings import load

FORMS = [
    ("file:/run/secrets/key", SecretReference("file", "/run/secrets/key")),
    ("env:OPENAI_API_KEY", SecretReference("env", "OPENAI_API_KEY")),
    ("vault:secret/adriatic/llm#openai", SecretReference("vault", "secret/adriatic/llm", "openai")),
    ("aws:adriatic/llm", SecretReference("aws", "adriatic/llm")),
    (
        "aws:arn:aws:secretsmanager:eu-west-1:1:secret:llm-1#key",
        SecretReference("aws", "arn:aws:secretsmanager:eu-west-1:1:secret:llm-1", "key"),
    ),
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADRIATIC_HOME", str(tmp_path / ".adriatic"))


@pytest.mark.parametrize(("text", "reference"), FORMS)
def test_a_reference_is_read_and_written_alike(text: str, reference: SecretReference) -> None:
    assert parse(text) == reference
    assert str(reference) == text


@pytest.mark.parametrize("text", ["", "sk-proj-1:2", "https://x", "files:/a"])
def test_what_is_no_reference_is_the_secret(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize("text", ["file:", "file:a/b", "env:", "vault:secret#a", "vault:secret/a", "aws:", "aws:#a"])
def test_half_a_reference_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="needs") as caught:
        parse(text)
    assert "a/b" not in str(caught.value)


def test_a_file_is_read_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b" two words \r\n")
    assert read_local(SecretReference("file", str(file))) == " two words "


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe", b"x" * (SECRET_BYTES_MAX + 1)])
def test_a_file_that_has_no_secret(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Unprepared, match="key"):
        read_local(SecretReference("file", str(file)))


def test_what_is_read_once_is_read_with_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("pass-1\n")
    monkeypatch.setenv("THE_KEY", "key-1")
    monkeypatch.setenv("ADRIATIC_POSTGRES__API_PASSWORD", f"file:{tmp_path / 'password'}")
    monkeypatch.setenv("ADRIATIC_OBJECTS__SECRET_ACCESS_KEY", "env:THE_KEY")
    monkeypatch.setenv("ADRIATIC_KAFKA__CLIENT_SECRETS", '{"sasl.password": "env:THE_KEY"}')
    settings = load()
    assert ":pass-1@" in settings.postgres.dsn("api")
    (tmp_path / "password").write_text("pass-2\n")
    assert ":pass-2@" in settings.postgres.dsn("api"), "this one is read for each connection"
    assert settings.objects.secret_access_key.get_secret_value() == "key-1"
    assert settings.kafka.client_config()["sasl.password"] == "key-1"


def test_keys_of_models_are_left_to_the_process_that_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADRIATIC_LLM__API_KEY", "file:/nowhere/key")
    monkeypatch.setenv("ADRIATIC_LLM__KEYS", '{"a": "env:NOT_SET"}')
    monkeypatch.setenv("ADRIATIC_EMBEDDER__API_KEY", "env:NOT_SET")
    assert load().llm.api_key.get_secret_value() == "file:/nowhere/key"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LLM__API_KEY", "vault:secret/llm#key", "llm.api_key: vault: needs secrets.vault_url"),
        ("LLM__KEYS", '{"a": "vault:key-1"}', "llm.keys: vault: needs mount"),
        ("POSTGRES__API_PASSWORD", "aws:key-1", "postgres.api_password: aws: is for keys of models"),
        ("OBJECTS__SECRET_ACCESS_KEY", "env:NOT_SET", "objects.secret_access_key: env:NOT_SET is not set"),
        ("POSTGRES__CDC_PASSWORD", "file:/nowhere/key", "postgres.cdc_password: file:/nowhere/key cannot be read"),
        ("SECRETS__VAULT_TOKEN", "vault:key-1/a#b", "secrets.vault_token: vault: is for keys of models"),
        ("SECRETS__VAULT_URL", "http://vault:8200", "secrets.vault_login token needs secrets.vault_token"),
    ],
)
def test_a_reference_that_cannot_be_used_is_a_fault_of_its_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"ADRIATIC_{name}", value)
    with pytest.raises(Misconfigured) as caught:
        load()
    assert said in caught.value.detail
    assert "key-1" not in caught.value.detail
