"""Which characters a text of one line may have: tags, titles, names. One rule for the API, its document and the tables.

Owns the patterns. A body of several lines may have every character but U+0000, which no text in Postgres can hold; the
API refuses that one wherever it comes (`api/requests.py`). Refuses to mend: what does not fit is refused with its
field, for a text that was changed on the way is no longer its author's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CONTROLS: Final = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
"""Characters that control a line or end it: C0, DEL, C1 (U+0080 to U+009F), and Unicode's separators of lines and
paragraphs. Written as ranges, since what `[:cntrl:]` means depends on a database's locale."""
BLANKS: Final = r" \u00a0\u00ad\u1680\u2000-\u200f\u202a-\u202f\u205f-\u2064\u3000\ufeff"
"""Characters that nobody sees: spaces, joiners, marks of direction."""
VISIBLE: Final = rf"[^{CONTROLS}{BLANKS}]"
"""One character that can be seen. In each pattern it is behind what cannot be, and nothing before it can be it: so no
text takes longer than its length, whatever is wrong with it."""

END: Final = r"\Z"
"""The end of a text. `$` would let a line feed pass behind it. The document says `$`, which is the very end there."""
LINE: Final = rf"^[^{CONTROLS}]*{END}"
"""A text of one line, or nothing."""
NAME: Final = rf"^[{BLANKS}]*{VISIBLE}[^{CONTROLS}]*{END}"
"""A text of one line in which there is something to see."""
BODY: Final = rf"^[{BLANKS}\x01-\x1f\x7f-\x9f\u2028\u2029]*{VISIBLE}[^\x00]*{END}"
"""A text of any number of lines in which there is something to see."""
TAG: Final = rf"^[{BLANKS}]*[^{CONTROLS}{BLANKS},][^{CONTROLS},]*{END}"
"""A name without commas, which part tags from each other. The table `app.adr_tags` takes every one of these."""
SLUG: Final = rf"^[a-z0-9][a-z0-9-]{{0,62}}{END}"
"""The name of a log, a feed or a tenant in addresses."""

MEANINGS: Final[Mapping[str, str]] = {
    BODY: "needs at least one character that can be seen, and holds no U+0000",
    LINE: "is one line: no line ends, no control characters",
    NAME: "is one line with something to see in it: no line ends, no control characters",
    TAG: "is one line with something to see in it: no line ends, no control characters, no commas",
    SLUG: "has 1 to 63 of a-z, 0-9 and '-', and begins with a letter or digit",
}
"""What each pattern asks for, in words."""


def pattern_for_readers(pattern: str) -> str:
    """The pattern as JSON Schema has it, where `$` is the very end of the text."""
    return pattern.removesuffix(END) + "$" if pattern.endswith(END) else pattern
