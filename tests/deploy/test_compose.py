"""`redpanda-compose.yml` cannot run where the tests run, so what can be known of it without Docker is held here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
import yaml  # type: ignore[import-untyped]

from adriatic.cli import cli
from adriatic.cli.settings import fields, variable
from adriatic.stack import postgres, system
from adriatic.stack.kafka import RECORD_BYTES_MAX
from adriatic.stack.record import port_names
from runtime.settings import Settings, StackSettings

ROOT = Path(__file__).parents[2]
FILE: dict[str, Any] = yaml.safe_load((ROOT / "redpanda-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
NOT_SETTINGS = {"ADRIATIC_HOME"}
"""Read before any setting is."""


def known_variables() -> set[str]:
    return {variable(path) for path, _ in fields()} | NOT_SETTINGS


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting(name: str) -> None:
    assert set(OURS[name]["environment"]) <= known_variables()


def test_settings_are_valid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in OURS["api"]["environment"].items():
        monkeypatch.setenv(name, str(tmp_path) if name == "ADRIATIC_HOME" else str(value))
    settings = Settings()
    assert settings.stack.postgres == settings.stack.kafka == settings.stack.registry == "external"
    assert settings.kafka.bootstrap_servers == "redpanda:9092"


@pytest.mark.parametrize("name", OURS)
def test_command_exists(name: str) -> None:
    command: click.Command = cli
    for word in OURS[name]["command"]:
        if word.startswith("-"):
            assert any(word in option.opts for option in command.params)
        elif isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
            assert found is not None, word
            command = found


def test_runs_the_same_parts_as_the_supervisor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ports = dict.fromkeys((name for name in port_names() if name.endswith("_ops")), 1)
    stack = {"postgres": "external", "kafka": "external", "registry": "external", "ports": ports}
    settings = Settings(home=tmp_path, stack=StackSettings.model_validate(stack))
    parts = system.parts(settings, system.Fetched(None, None, None, None))
    ours = {part.name: list(part.command[3:]) for part in parts}
    assert ours == {name: service["command"] for name, service in OURS.items()}


def test_nothing_is_open_to_the_network() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_limits_are_those_of_the_embedded_servers() -> None:
    assert f"--set=redpanda.kafka_batch_max_bytes={RECORD_BYTES_MAX}" in SERVICES["redpanda"]["command"]
    assert "--set=redpanda.auto_create_topics_enabled=false" in SERVICES["redpanda"]["command"]
    assert f"max_slot_wal_keep_size={postgres.SLOT_WAL_KEEP_MIB[0]}MB" in SERVICES["postgres"]["command"]


def test_dependencies_exist() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(SERVICES)


def test_image_is_built_from_what_is_there() -> None:
    lines = (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert {"requirements.lock", "deploy/uv.lock", "adriatic", "schemas"} <= set(copied)
    assert all((ROOT / name).exists() for name in copied)
