"""The contracts of earlier releases, as git keeps them.

Owns reading `schemas/avro/` at a tag. Refuses the network, and to judge: `schemas/compatibility.py` does. A release
is a tag `v*` that the current commit descends from.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import DependencyUnavailable, NotFound
from schemas.catalog import AVRO_FOLDER, SUFFIX

GIT_MAX_S = 30.0
"""One call of git. It reads a few files of one tree."""


@dataclass(frozen=True, slots=True)
class Release:
    """`contracts`: subject to the id of its file in git. Equal ids are equal files."""

    ref: str
    contracts: Mapping[str, str]


class ReleaseHistory:
    """The repository that holds `folder`. Raises `DependencyUnavailable` where there is no git or no repository."""

    def __init__(self, folder: Path = AVRO_FOLDER) -> None:
        self._folder = folder

    def tags(self) -> list[str]:
        """Releases, newest first."""
        listed = self._git("tag", "--list", "v*", "--merged", "HEAD", "--sort=-version:refname")
        return listed.split()

    def release(self, ref: str) -> Release:
        """The contracts at `ref`. Raises `NotFound` when git does not know it."""
        try:
            self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        except DependencyUnavailable:
            self.tags()  # Without a repository this raises too, and then the ref is not the reason.
            raise NotFound(
                f"git does not know {ref}", hint="a tag, a branch or a commit; `git tag` lists tags"
            ) from None
        lines = self._git("ls-tree", "-z", ref, "--", "./").split("\0")
        found = {}
        for line in filter(None, lines):
            kind, _, path = line.partition("\t")
            if path.endswith(SUFFIX):
                found[Path(path).name.removesuffix(SUFFIX)] = kind.split()[2]
        return Release(ref, found)

    def schema(self, blob: str) -> Any:
        return json.loads(self._git("cat-file", "blob", blob))

    def _git(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=self._folder, capture_output=True, text=True, timeout=GIT_MAX_S, check=True
            )
        except FileNotFoundError:
            raise DependencyUnavailable("git is not installed", hint="the gate compares with releases in git") from None
        except subprocess.TimeoutExpired:
            raise DependencyUnavailable(f"git did not answer within {GIT_MAX_S:.0f} s") from None
        except subprocess.CalledProcessError as error:
            said = error.stderr.strip().splitlines()
            raise DependencyUnavailable(
                f"git {arguments[0]}: {said[0] if said else f'ended with {error.returncode}'}",
                hint="the gate runs in a git checkout of this project",
            ) from None
        return done.stdout
