"""Contracts of earlier releases, out of git."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from runtime.errors import DependencyUnavailable, NotFound
from schemas.releases import ReleaseHistory


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    """A repository with two releases: v1.0 has one contract, v1.1 changes it and adds another."""
    folder = tmp_path / "schemas" / "avro"
    folder.mkdir(parents=True)
    git(tmp_path, "init", "-q")
    (folder / "a-value.avsc").write_text(json.dumps({"type": "long"}))
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    git(tmp_path, "tag", "v1.0")
    (folder / "a-value.avsc").write_text(json.dumps({"type": "string"}))
    (folder / "b-value.avsc").write_text(json.dumps({"type": "long"}))
    (folder / "notes.txt").write_text("not a contract")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "two")
    git(tmp_path, "tag", "v1.1")
    git(tmp_path, "tag", "other")
    return folder


def test_releases_are_the_tags_that_start_with_v_newest_first(contracts: Path) -> None:
    assert ReleaseHistory(contracts).tags() == ["v1.1", "v1.0"]


def test_a_release_has_its_own_contracts(contracts: Path) -> None:
    history = ReleaseHistory(contracts)
    old, new = history.release("v1.0"), history.release("v1.1")
    assert sorted(old.contracts) == ["a-value"]
    assert sorted(new.contracts) == ["a-value", "b-value"]
    assert history.schema(old.contracts["a-value"]) == {"type": "long"}
    assert history.schema(new.contracts["a-value"]) == {"type": "string"}
    assert old.contracts["a-value"] == new.contracts["b-value"], "equal files have equal ids"


def test_an_unknown_ref_and_a_folder_outside_of_git_are_told_apart(
    contracts: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(NotFound, match="does not know nope"):
        ReleaseHistory(contracts).release("nope")
    with pytest.raises(NotFound):
        ReleaseHistory(contracts).release("--all")
    outside = tmp_path_factory.mktemp("outside")
    with pytest.raises(DependencyUnavailable):
        ReleaseHistory(outside).tags()
    with pytest.raises(DependencyUnavailable):
        ReleaseHistory(outside).release("v1.0")


def test_without_git_the_gate_cannot_tell(contracts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DependencyUnavailable, match="git is not installed"):
        ReleaseHistory(contracts).tags()
