"""`adriatic settings` says what is in force and why, and never a secret."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from adriatic.cli.settings import MASK, describe, fields, settings
from runtime import settings as values
from runtime.errors import Misconfigured


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith(values.ENV_PREFIX):
            monkeypatch.delenv(name)
    folder = tmp_path / ".adriatic"
    folder.mkdir()
    monkeypatch.setenv("ADRIATIC_HOME", str(folder))
    return folder


def run(*arguments: str) -> Result:
    return CliRunner().invoke(settings, arguments, catch_exceptions=False)


def rows(*arguments: str) -> dict[str, Any]:
    return {row["name"]: row for row in json.loads(run("--json", *arguments).stdout)}


def test_every_setting_has_a_meaning() -> None:
    assert [".".join(path) for path, field in fields() if not field.description] == []


def test_each_value_names_its_source(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "stack.toml").write_text("[api]\nport = 4000")
    (home.parent / "adriatic.toml").write_text("[api]\nadr_bytes_max = 1000")
    monkeypatch.setenv("ADRIATIC_KAFKA__BOOTSTRAP_SERVERS", "broker:1")
    found = rows()
    assert (found["api.port"]["value"], found["api.port"]["source"]) == ("4000", "stack.toml")
    assert (found["api.adr_bytes_max"]["value"], found["api.adr_bytes_max"]["source"]) == ("1000", "adriatic.toml")
    assert found["kafka.bootstrap_servers"]["source"] == "environment"
    assert found["kafka.bootstrap_servers"]["default"] == "127.0.0.1:9092"
    assert found["api.host"]["source"] == "default"


def test_secrets_are_masked_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADRIATIC_POSTGRES__API_PASSWORD", "geheim")
    monkeypatch.setenv("ADRIATIC_KAFKA__CLIENT_SECRETS", '{"sasl.password": "geheim"}')
    for arguments in ((), ("--json",), ("--markdown",)):
        assert "geheim" not in run(*arguments).output
    found = rows("kafka.client_secrets")
    assert found["kafka.client_secrets"]["value"] == f"sasl.password={MASK}"


def test_a_name_limits_what_is_printed() -> None:
    assert {name.partition(".")[0] for name in rows("kafka")} == {"kafka"}


def test_check_refuses_a_variable_that_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("--check").exit_code == 0
    monkeypatch.setenv("ADRIATIC_KAFAK__X", "1")
    monkeypatch.setenv("ADRIATIC_POSTGRES__PORT", "0")
    with pytest.raises(Misconfigured, match="ADRIATIC_KAFAK__X") as caught:
        run("--check")
    assert "postgres.port" in caught.value.detail


def test_a_meaning_has_the_range() -> None:
    found = rows()
    assert found["api.port"]["meaning"].endswith("From 1 to 65535.")
    assert found["registry.timeout_s"]["meaning"].endswith("From above 0 to 3600.0.")


def test_the_variable_that_is_printed_is_the_one_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in describe(values.load()):
        if row.name.endswith("timeout_s"):
            monkeypatch.setenv(row.variable, "77")
    changed = [row for row in describe(values.load()) if row.name.endswith("timeout_s")]
    assert {row.value for row in changed} == {"77.0"}
    assert len(changed) >= 2
