"""The record of the embedded stack: decided once, private, and readable as settings."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from adriatic.stack import ports, record
from runtime.settings import Settings, StackSettings


def settings(home: Path, **stack: Any) -> Settings:
    found = record.read(home)
    merged = {**found.get("stack", {}), **stack}
    return Settings.model_validate({**found, "home": home, "stack": StackSettings.model_validate(merged)})


def test_is_complete_and_valid(tmp_path: Path) -> None:
    record.ensure(settings(tmp_path))
    made = settings(tmp_path)
    assert made.postgres.port == made.stack.ports["postgres"]
    assert made.kafka.bootstrap_servers == f"127.0.0.1:{made.stack.ports['kafka']}"
    assert made.registry.url.startswith(f"http://127.0.0.1:{made.stack.ports['registry']}/")
    secrets = [getattr(made.postgres, name).get_secret_value() for name in record.PASSWORDS]
    assert len(set(secrets)) == len(record.PASSWORDS)
    assert all(len(secret) >= 20 for secret in secrets)


def test_second_time_changes_nothing(tmp_path: Path) -> None:
    record.ensure(settings(tmp_path))
    before = (tmp_path / record.FILE).read_bytes()
    record.ensure(settings(tmp_path))
    assert (tmp_path / record.FILE).read_bytes() == before


def test_taken_port_moves_everywhere_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record.ensure(settings(tmp_path))
    before = settings(tmp_path)
    taken = before.stack.ports["kafka"]
    monkeypatch.setattr(ports.choose, "__defaults__", (lambda port: port != taken,))
    record.ensure(before)
    after = settings(tmp_path)
    assert after.stack.ports["kafka"] != taken
    assert after.kafka.bootstrap_servers == f"127.0.0.1:{after.stack.ports['kafka']}"
    assert after.postgres == before.postgres


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    record.ensure(settings(tmp_path))
    assert stat.S_IMODE((tmp_path / record.FILE).stat().st_mode) == 0o600
    record.decide(tmp_path, "postgres_data", "/somewhere")
    assert stat.S_IMODE((tmp_path / record.FILE).stat().st_mode) == 0o600
    assert settings(tmp_path).stack.postgres_data == Path("/somewhere")


def test_external_components_are_not_recorded(tmp_path: Path) -> None:
    external = settings(tmp_path, postgres="external", kafka="external", registry="external")
    record.ensure(external)
    made = record.read(tmp_path)
    assert "kafka" not in made
    assert "registry" not in made
    assert set(made["postgres"]) == set(record.PASSWORDS)
