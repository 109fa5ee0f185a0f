"""Where a history of decision records is read from: a git repository, a folder, or a JSONL file.

Owns reading: each source yields the changes of files in the order in which they were made, content as the very bytes,
one change in memory at a time. Refuses to interpret: no text is parsed, no number is given, nothing is written. What
cannot be read (a line that is no JSON, a file over the limit) is a `Fault` or a change without its bytes, and the rest
goes on.

Read next: `git.py`, `folder.py`, `jsonl.py`; `logs.py` says which log a record belongs to, and `api/imports` is where
the changes become versions.
"""

from __future__ import annotations

from connectors.history.model import (
    ChangeKind,
    Fault,
    FileChange,
    HistorySource,
    PartedSource,
    SourceKind,
    is_record_file,
)
from connectors.history.open import open_source

__all__ = [
    "ChangeKind",
    "Fault",
    "FileChange",
    "HistorySource",
    "PartedSource",
    "SourceKind",
    "is_record_file",
    "open_source",
]
