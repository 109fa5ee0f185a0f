"""What the embedded stack decided once: `<home>/stack.toml`, which `runtime.settings` reads as any other source.

Owns that file: ports, passwords, the name of this copy. Refuses to decide twice: what is recorded stays, except a port
that somebody else has taken. The file holds passwords, so only its owner can read it.
"""

from __future__ import annotations

import os
import secrets
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from adriatic.stack import ports, registry
from runtime.settings import Settings, StackSettings

FILE = "stack.toml"
PASSWORD_BYTES = 18
"""144 random bits: beyond guessing, and short enough to paste."""
PASSWORDS = ("admin_password", "owner_password", "api_password", "flows_password", "cdc_password")
INSTANCE_BYTES = 4
"""Enough that two copies on one machine do not share a name."""


def process_names(name: str, processes: int) -> list[str]:
    """What the processes of one flow or agent are called: `index`, `index-2`, …"""
    return [name, *(f"{name}-{number}" for number in range(2, processes + 1))]


def port_names(processes: int = 1) -> tuple[str, ...]:
    """Every listener of the system on this machine. Order matters only for how readable the numbers are."""
    from dataflows.catalog import flows  # imported here: see adriatic/stack/system.py
    from streams.catalog import agents

    shared = [each for name in (*flows(), *agents()) for each in process_names(name, processes)]
    return (
        *("postgres", "kafka", "kafka_controller", "registry", "registry_management"),
        "api",
        *(f"{name}_ops" for name in ("api", "cdc", *shared, "watch")),
    )


def read(home: Path) -> dict[str, Any]:
    """The record as it is; empty when there is none."""
    try:
        return tomllib.loads((home / FILE).read_text())
    except FileNotFoundError:
        return {}


def ensure(settings: Settings) -> None:
    """Complete the record for what `settings` wants embedded. Call only while nothing of this copy runs: a port in use
    counts as taken by somebody else."""
    settings.home.mkdir(parents=True, exist_ok=True)
    before = read(settings.home)
    after = complete(before, settings.home, settings.stack)
    if after != before:
        write(settings.home, after)


def complete(before: dict[str, Any], home: Path, stack: StackSettings) -> dict[str, Any]:
    """The record with everything decided that was not decided yet."""
    decided = dict(before.get("stack", {}))
    chosen = ports.choose(home, port_names(stack.processes), decided.get("ports", {}))
    decided.setdefault("instance", secrets.token_hex(INSTANCE_BYTES))
    decided.setdefault("registry_password", secrets.token_urlsafe(PASSWORD_BYTES))
    decided["ports"] = chosen
    kept = {name: section for name, section in before.items() if name not in ("kafka", "registry")}
    after: dict[str, Any] = {**kept, "stack": decided, "api": {"port": chosen["api"]}}
    postgres = dict(before.get("postgres", {}))
    for name in PASSWORDS:
        postgres.setdefault(name, secrets.token_urlsafe(PASSWORD_BYTES))
    if stack.postgres == "embedded":
        postgres |= {"host": ports.LOOPBACK, "port": chosen["postgres"], "sslmode": "disable"}
    else:
        # Our roles need passwords there too. Where it is, and its administrator, the settings say.
        postgres = {name: postgres[name] for name in PASSWORDS}
    after["postgres"] = postgres
    if stack.kafka == "embedded":
        after["kafka"] = {"bootstrap_servers": f"{ports.LOOPBACK}:{chosen['kafka']}"}
    if stack.registry == "embedded":
        after["registry"] = {"url": f"http://{ports.LOOPBACK}:{chosen['registry']}{registry.CONFLUENT_PATH}"}
    return after


def decide(home: Path, name: str, value: str) -> None:
    """Record one more decision in the `stack` section."""
    record = read(home)
    record["stack"] = {**record.get("stack", {}), name: value}
    write(home, record)


def write(home: Path, record: dict[str, Any]) -> None:
    """Replace the file in one step, readable by its owner alone from its first byte."""
    draft = home / f".{FILE}.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("# Written by `adriatic up`: ports and passwords of this copy. Change settings in adriatic.toml.\n")
        file.write(tomli_w.dumps(record))
    draft.replace(home / FILE)
