"""Tells what kind of source a path is."""

from __future__ import annotations

from pathlib import Path

from connectors.history.folder import FolderSource
from connectors.history.git import GitSource
from connectors.history.jsonl import JsonlSource, is_jsonl
from connectors.history.model import PartedSource
from runtime.errors import InvalidInput


def open_source(path: Path, *, content_bytes_max: int) -> PartedSource:
    """The source at `path`: a JSONL file, a git repository or a folder in one, or a folder.

    A folder that git knows nothing of is read as it is now. Contents over `content_bytes_max` are not read.
    """
    if not path.exists():
        raise InvalidInput(
            f"{path} does not exist", hint="name a git repository, a folder, or a .jsonl or .jsonl.gz file"
        )
    if path.is_file():
        if is_jsonl(path):
            return JsonlSource(path, content_bytes_max)
        raise InvalidInput(
            f"{path} is one file, and no history", hint="name the folder that it is in, or a .jsonl or .jsonl.gz file"
        )
    source = GitSource.find(path, content_bytes_max)
    if source is not None and source.count() > 0:
        return source
    if source is not None and source.whole_repository:
        raise InvalidInput(
            f"{path} has no folder of decision records that is recognised",
            hint="name the folder itself, for example docs/adr; files in any folder are read when it is named",
        )
    return FolderSource(path, content_bytes_max)
