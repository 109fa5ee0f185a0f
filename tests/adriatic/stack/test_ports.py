"""Ports: kept while they are free, moved when somebody took them, and apart for two copies."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from adriatic.stack import ports
from runtime.errors import Misconfigured

NAMES = ("postgres", "kafka", "api")
HOME = Path("/nowhere/adriatic/.adriatic")


def test_all_different_and_outside_the_ephemeral_range() -> None:
    chosen = ports.choose(HOME, NAMES, {}, lambda _: True)
    assert sorted(chosen) == sorted(NAMES)
    assert len(set(chosen.values())) == len(NAMES)
    assert all(ports.PORT_FIRST <= port <= ports.PORT_LAST < 32_768 for port in chosen.values())


def test_recorded_ports_stay() -> None:
    recorded = {"postgres": 25_000, "kafka": 25_001, "api": 25_002}
    assert ports.choose(HOME, NAMES, recorded, lambda _: True) == recorded


def test_only_the_taken_port_moves() -> None:
    recorded = {"postgres": 25_000, "kafka": 25_001, "api": 25_002}
    chosen = ports.choose(HOME, NAMES, recorded, lambda port: port != 25_001)
    assert chosen["kafka"] not in recorded.values()
    assert {name: chosen[name] for name in ("postgres", "api")} == {"postgres": 25_000, "api": 25_002}


def test_new_name_gets_a_port_that_no_recorded_name_has() -> None:
    first = ports.choose(HOME, NAMES, {}, lambda _: True)
    more = ports.choose(HOME, (*NAMES, "new"), first, lambda _: True)
    assert {name: more[name] for name in NAMES} == first
    assert more["new"] not in first.values()


def test_two_homes_begin_apart() -> None:
    other = ports.choose(HOME.with_name("other"), NAMES, {}, lambda _: True)
    assert set(other.values()).isdisjoint(ports.choose(HOME, NAMES, {}, lambda _: True).values())


def test_none_free_is_said() -> None:
    with pytest.raises(Misconfigured, match="no free port"):
        ports.choose(HOME, NAMES, {}, lambda _: False)


def test_free_means_that_a_server_could_listen() -> None:
    with socket.socket() as server:
        server.bind((ports.LOOPBACK, 0))
        server.listen()
        assert not ports.is_free(server.getsockname()[1])
    assert ports.is_free(server_port := ports.choose(HOME, ["x"], {})["x"]), server_port
