"""Paragraphs of a mail whose lines are marked as to be joined (RFC 3676, `format=flowed`).

Owns which lines belong together: one that ends with a blank goes on in the next, if that is quoted as deeply and no
signature begins there. Refuses every other text.
"""

from __future__ import annotations

import re

_QUOTED = re.compile(">*")
_SIGNATURE = "-- "


def unflow(text: str, *, delete_space: bool) -> str:
    """Each paragraph as one line, with its mark of a quote. `delete_space`: the blank at the end of a line is not part
    of the text, as in writing without blanks."""
    found: list[str] = []
    pieces: list[str] = []
    around = 0
    for line in text.split("\n"):
        depth = len(_QUOTED.match(line)[0])  # type: ignore[index]
        content = line[depth:].removeprefix(" ")
        is_signature = content == _SIGNATURE
        if pieces and (depth != around or is_signature):
            found.append(_quote(around, "".join(pieces)))
            pieces = []
        around = depth
        is_open = content.endswith(" ") and not is_signature
        pieces.append(content[:-1] if is_open and delete_space else content)
        if not is_open:
            found.append(_quote(around, "".join(pieces)))
            pieces = []
    if pieces:
        found.append(_quote(around, "".join(pieces)))
    return "\n".join(found)


def _quote(depth: int, content: str) -> str:
    content = content if content == _SIGNATURE else content.rstrip(" ")
    return f"{'>' * depth} {content}".rstrip(" ") if depth else content
