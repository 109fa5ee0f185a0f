"""Packages of npm that tests drive: installed as their lock says, into a folder of the test's own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

INSTALL_S_MAX = 120.0
"""Longest wait for the registry: 25 MB."""

needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="node and npm are not on this machine")


def install(package: Path, folder: Path) -> Path:
    """The package with what it needs, in this folder."""
    for file in package.iterdir():
        shutil.copy(file, folder)
    command = ["npm", "ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S_MAX)
    except subprocess.TimeoutExpired:
        pytest.skip("the registry of npm does not answer")
    if "network" in installed.stderr and installed.returncode:
        pytest.skip("the registry of npm cannot be reached")
    assert installed.returncode == 0, installed.stderr
    return folder
