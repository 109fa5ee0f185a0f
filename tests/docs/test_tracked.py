"""No tracked file knows one machine, or where packages are downloaded from."""

from __future__ import annotations

import re

import pytest

from tests.docs.markdown import ROOT, tracked

# Put together here, so that this file does not find itself.
HOSTS = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("maven", "org"), ("npmjs", "org"))]
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:" + "|".join(("work", "root", r"home/\w+", r"Users/\w+", r"tmp/\w+")) + r")/")
TEXT_BYTES_MAX = 2_000_000
"""Larger files are data (the model's weights, the tokenizer), read by a program and not by people."""


def faults(text: str) -> list[str]:
    return [host for host in HOSTS if host in text] + MACHINE_PATH.findall(text)


def readable(name: str) -> str | None:
    file = ROOT / name
    if file.stat().st_size > TEXT_BYTES_MAX:
        return None
    content = file.read_bytes()
    return None if b"\0" in content else content.decode(errors="replace")


@pytest.mark.parametrize("folder", sorted({name.split("/", 1)[0] for name in tracked()}))
def test_no_machine_path_and_no_package_host(folder: str) -> None:
    found = {}
    for name in tracked(folder):
        text = readable(name)
        if text is not None and (wrong := faults(text)):
            found[name] = wrong
    assert found == {}


def test_what_must_not_be_there_is_found() -> None:
    assert faults(f"see /{'work'}/main/x and https://{HOSTS[0]}/simple") == [HOSTS[0], f"/{'work'}/"]
    assert faults("docs/work/plan.md and /var/lib/postgresql/") == []
