"""A small git repository, built for a test commit by commit."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


class Repository:
    """Runs git with an environment of its own, so that no configuration of the machine changes what it does."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._minute = 0
        root.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *command: str) -> str:
        at = f"2024-01-01T{self._minute // 60:02d}:{self._minute % 60:02d}:00+02:00"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environment |= {
            "GIT_AUTHOR_NAME": "Ada",
            "GIT_AUTHOR_EMAIL": "ada@example.org",
            "GIT_COMMITTER_NAME": "Grace",
            "GIT_COMMITTER_EMAIL": "grace@example.org",
            "GIT_AUTHOR_DATE": at,
            "GIT_COMMITTER_DATE": at,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
        }
        done = subprocess.run(
            ["git", "-C", str(self.root), *command], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, path: str, content: str | bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, subject: str) -> str:
        self._minute += 1
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", subject)
        return self.git("rev-parse", "HEAD")
