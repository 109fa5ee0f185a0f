"""The one layout of an SQL statement: what `test_sql.py` holds every statement to.

Owns the rule: lower-case keywords, one clause a line, two spaces for each level; a clause that does not fit is broken
at its commas, its `and`s or its widest parenthesis. Changes nothing but white space and the case of keywords, so that
a statement that was laid out anew is the same statement. Knows nothing of schemas: `test_sql.py` prepares statements.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

LINE_CHARS_MAX: Final = 110
"""Longest line of a statement. Below the 120 of the code, because reviews show them with a margin."""

_WORDS: Final = """
  all and any array as asc between by cascade case conflict cross current_date default delete desc distinct do
  else end except exists false filter first following for from full group having if ilike in inner insert
  intersect interval into is join last lateral left like limit locked materialized not nothing null nulls on or
  order ordinality over partition preceding recursive returning right rows select set share skip then true union
  update using values when where window with within
"""
KEYWORDS: Final = frozenset(_WORDS.split())
"""Words that are written in lower case wherever they stand."""
HEADS: Final = (
    *("with recursive", "with", "select distinct", "select", "insert into", "delete from", "from", "where", "group by"),
    *(
        "having",
        "window",
        "order by",
        "limit",
        "offset",
        "returning",
        "values",
        "on conflict",
        "set",
        "union all",
        "union",
    ),
    *("except all", "except", "intersect", "update", "using", "for no key update", "for update", "for key share"),
    *("for share", "left join lateral", "left join", "right join", "full join", "cross join lateral", "cross join"),
    *("inner join", "join lateral", "join", "do update set"),
)
"""What a clause begins with. A longer one stands before a shorter one that it begins with."""
LISTS: Final = frozenset(
    (
        "select",
        "select distinct",
        "from",
        "group by",
        "order by",
        "returning",
        "set",
        "do update set",
        "values",
        "with",
        "with recursive",
        "using",
    )
)
CONDITIONS: Final = frozenset(head for head in HEADS if head in ("where", "having") or "join" in head)
NOT_ALIASES: Final = frozenset(("as", ".", ","))

_TOKEN: Final = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>--[^\n]*)
  | (?P<string>[eE]?'(?:[^'\\]|''|\\.)*')
  | (?P<name>"(?:[^"]|"")*")
  | (?P<parameter>\$\d+|%\(\w+\)s|%s|%%|\{\w*\})
  | (?P<number>\d+(?:\.\d+)?)
  | (?P<word>\w+(?:\.(?:\w+|\*))*)
  | (?P<open>[(\[])
  | (?P<close>[)\]])
  | (?P<sign>::|:=|=>|->>|->|<=|>=|<>|!=|\|\||&&|@>|<@|<=>|<\#>|<->|@@|.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(slots=True)
class Token:
    text: str
    kind: str
    gap: bool
    """Whether white space stands before it."""
    items: list[Token] = field(default_factory=list)
    """What a parenthesis holds."""

    @property
    def is_statement(self) -> bool:
        first = self.items[0] if self.items else None
        return first is not None and (
            first.text in ("select", "with", "values", "insert", "update", "delete") or first.is_statement
        )


def lay_out(statement: str, indent: int = 2) -> str:
    """The statement as it must stand between triple quotes."""
    lines = _statement(_parse(statement), indent)
    return "\n" + "\n".join(lines) + "\n"


def tokens(statement: str) -> list[str]:
    """What a statement is made of, without white space: equal before and after a new layout."""
    return [match[0] for match in _TOKEN.finditer(statement) if match.lastgroup != "space"]


def on_one_line(statement: str) -> str:
    """The statement as it must stand where it fits on a line."""
    return _flat(_parse(statement))


def _parse(statement: str) -> list[Token]:
    stack: list[list[Token]] = [[]]
    gap = False
    for match in _TOKEN.finditer(statement):
        text, kind = match[0], str(match.lastgroup)
        if kind == "space":
            gap = True
            continue
        if kind == "word" and text.lower() in KEYWORDS:
            text = text.lower()
        if kind == "close":
            assert len(stack) > 1, f"a parenthesis too many: {statement}"
            stack.pop()
        else:
            stack[-1].append(Token(text, kind, gap))
            if kind == "open":
                stack.append(stack[-1][-1].items)
        gap = False
    assert len(stack) == 1, f"a parenthesis stays open: {statement}"
    return stack[0]


def _flat(items: list[Token]) -> str:
    text = ""
    for number, item in enumerate(items):
        tight = number == 0 or item.text in (",", ";") or not item.gap
        text += ("" if tight else " ") + item.text
        if item.kind == "open":
            text += _flat(item.items) + _closing(item)
        if item.kind == "comment":
            text += "\n"
    return text


def _closing(item: Token) -> str:
    return ")" if item.text == "(" else "]"


def _fits(items: list[Token], indent: int, prefix: str = "") -> bool:
    text = prefix + _flat(items)
    return "\n" not in text and indent + len(text) <= LINE_CHARS_MAX


def _statement(items: list[Token], indent: int) -> list[str]:
    lines: list[str] = []
    for head, clause in _clauses(items):
        lines += _clause(head, clause, indent)
    return lines


def _clauses(items: list[Token]) -> list[tuple[str, list[Token]]]:
    """Each clause with its head ("" for what stands before the first), the head's words among its items."""
    found: list[tuple[str, list[Token]]] = []
    at = 0
    while at < len(items):
        if items[at].kind == "comment" and (at == 0 or _head(items, at + 1)):
            found.append(("--", [items[at]]))
            at += 1
            continue
        head = _head(items, at)
        if head:
            count = len(head.split())
            found.append((head, items[at : at + count]))
            at += count
            continue
        if not found or found[-1][0] == "--":
            found.append(("", []))
        found[-1][1].append(items[at])
        at += 1
    return found


def _head(items: list[Token], at: int) -> str:
    """The head of a clause that begins at this token; "" where none does."""
    before = items[at - 1].text if at else ""
    if at == len(items) or items[at].kind != "word" or before in NOT_ALIASES:
        return ""
    words = " ".join(item.text for item in items[at : at + 4])
    head = next((head for head in HEADS if words == head or words.startswith(head + " ")), "")
    if head == "from" and before == "distinct":
        return ""
    if head.startswith("with") and any(item.kind != "comment" for item in items[:at]):
        return ""  # `with ordinality`
    if head == "offset" and (at + 1 == len(items) or items[at + 1].kind not in ("number", "parameter")):
        return ""  # a column
    if head == "using":
        after = items[at + 1]
        if after.kind == "open" and not after.is_statement:
            return ""  # of a join
    if head == "update" and before in ("do", "for", "key"):
        return ""
    return head


def _clause(head: str, items: list[Token], indent: int) -> list[str]:
    if head == "--":
        return [" " * indent + items[0].text]
    if _fits(items, indent):
        return [" " * indent + _flat(items)]
    count = len(head.split())
    rest = items[count:]
    if head == "select distinct" and rest and rest[0].text == "on":
        head, rest = f"select distinct on {_flat(rest[1:2])}", rest[2:]
        return [" " * indent + head, *_filled(_split(rest, (",",)), indent + 2)]
    if head.startswith("with"):
        return _queries(head, _split(rest, (",",)), indent)
    if head in LISTS:
        parts = _split(rest, (",",))
        if len(parts) == 1:
            return _broken(items, indent)
        return [" " * indent + head, *_filled(parts, indent + 2, each=head in ("set", "do update set", "from"))]
    if head in CONDITIONS:
        return _conditions(items, indent)
    return _broken(items, indent)


def _queries(head: str, parts: list[list[Token]], indent: int) -> list[str]:
    """The queries of a `with`, each in its own block."""
    lines: list[str] = []
    for number, part in enumerate(parts):
        words = f"{head} " if number == 0 else ""
        lines += [" " * indent + item.text for item in part if item.kind == "comment"]
        part = [item for item in part if item.kind != "comment"]
        if _fits(part, indent, words):
            block = [" " * indent + words + _flat(part)]
        else:
            block = _broken(part, indent)
            block[0] = " " * indent + words + block[0].lstrip()
        if number < len(parts) - 1:
            block[-1] += ","
        lines += block
    return lines


def _split(items: list[Token], at: tuple[str, ...]) -> list[list[Token]]:
    """Parts between separators: a comma goes, a word stays with what follows. An `and` of a `between` is none."""
    parts: list[list[Token]] = [[]]
    between = False
    cases = 0
    for item in items:
        cases += (item.text == "case") - (item.text == "end")
        if item.text == "between":
            between = True
        if item.text in at and item.kind in ("word", "sign") and not cases and not (between and item.text == "and"):
            if item.text == ",":
                parts.append([])
            elif parts[-1]:
                parts.append([item])
            else:
                parts[-1].append(item)
            continue
        if between and item.text == "and":
            between = False
        parts[-1].append(item)
    return parts


def _filled(parts: list[list[Token]], indent: int, *, each: bool = False) -> list[str]:
    """Parts of a list, as many on a line as fit; one a line where `each`, or where it is broken itself."""
    lines: list[str] = []
    open_line = ""
    for number, part in enumerate(parts):
        comma = "," if number < len(parts) - 1 else ""
        comments = [item for item in part if item.kind == "comment"]
        part = [item for item in part if item.kind != "comment"]
        if comments or not _fits(part, indent + len(comma)):
            if open_line:
                lines.append(open_line)
                open_line = ""
            lines += [" " * indent + comment.text for comment in comments]
        if not _fits(part, indent + len(comma)):
            lines += _broken(part, indent)
            lines[-1] += comma
            continue
        text = _flat(part) + comma
        if open_line and not each and len(open_line) + 1 + len(text) <= LINE_CHARS_MAX:
            open_line += " " + text
            continue
        if open_line:
            lines.append(open_line)
        open_line = " " * indent + text
    return [*lines, open_line] if open_line else lines


def _conditions(items: list[Token], indent: int, further: int = 2) -> list[str]:
    """Conditions, each on a line; those after the first are `further` to the right."""
    first, *more = _split(items, ("and", "or"))
    lines: list[str] = []
    for number, part in enumerate((first, *more)):
        at = indent if number == 0 else indent + further
        comments = [item for item in part if item.kind == "comment"]
        part = [item for item in part if item.kind != "comment"]
        lines += [" " * at + _flat(part)] if _fits(part, at) else _broken(part, at)
        lines += [" " * (indent + further) + comment.text for comment in comments]
    return lines


def _broken(items: list[Token], indent: int) -> list[str]:
    """An expression that does not fit, broken at its `case` or its widest parenthesis."""
    depth, start, end = 0, None, None
    for number, item in enumerate(items):
        if item.text == "case" and item.kind == "word":
            depth += 1
            start = number if start is None else start
        elif item.text == "end" and item.kind == "word" and depth:
            depth -= 1
            if depth == 0 and end is None:
                end = number
    groups = [
        number
        for number, item in enumerate(items)
        if item.kind == "open" and item.items and _fits([*items[:number], Token(item.text, "sign", item.gap)], indent)
    ]
    widest = max(groups, key=lambda number: len(_flat(items[number : number + 1])), default=None)
    if (
        start is not None
        and end is not None
        and (widest is None or len(_flat(items[start : end + 1])) >= len(_flat(items[widest : widest + 1])))
    ):
        return _case(items, start, end, indent)
    if items[0].text == "when":
        at = next(number for number, item in enumerate(items) if item.text == "then") + 1
        result = items[at:]
        lines = _conditions(items[:at], indent) if not _fits(items[:at], indent) else [" " * indent + _flat(items[:at])]
        return [
            *lines,
            *([" " * (indent + 2) + _flat(result)] if _fits(result, indent + 2) else _broken(result, indent + 2)),
        ]
    if len(_split(items, ("and", "or"))) > 1:
        return _conditions(items, indent)
    if widest is None:
        return _wrapped(items, indent)
    group = items[widest]
    lines = [" " * indent + _flat([*items[:widest], Token(group.text, "sign", group.gap)])]
    if group.is_statement:
        lines += _statement(group.items, indent + 2)
    else:
        pairs = widest > 0 and items[widest - 1].text == "jsonb_build_object"
        lines += _inside(group.items, indent + 2, pairs=pairs)
    tail = [Token(_closing(group), "sign", False), *items[widest + 1 :]]
    if _fits(tail, indent):
        return [*lines, " " * indent + _flat(tail)]
    return [*lines, *_broken(tail, indent)]


def _inside(items: list[Token], indent: int, *, pairs: bool) -> list[str]:
    """What stands between parentheses. In `pairs` a key stays with its value."""
    parts = _split(items, (",",))
    if pairs and len(parts) % 2 == 0:
        comma = Token(",", "sign", False)
        parts = [[*key, comma, *value] for key, value in zip(parts[::2], parts[1::2], strict=True)]
    if len(parts) > 1:
        return _filled(parts, indent)
    if _fits(items, indent):
        return [" " * indent + _flat(items)]
    return _conditions(items, indent, 0) if len(_split(items, ("and", "or"))) > 1 else _broken(items, indent)


def _case(items: list[Token], start: int, end: int, indent: int) -> list[str]:
    start = next(number for number, item in enumerate(items) if number > start and item.text == "when") - 1
    lines = [" " * indent + _flat(items[: start + 1])]
    depth, part = 0, list[Token]()
    for item in [*items[start + 1 : end], Token("end", "word", True)]:
        if depth == 0 and item.text in ("when", "else", "end") and part:
            lines += [" " * (indent + 2) + _flat(part)] if _fits(part, indent + 2) else _broken(part, indent + 2)
            part = []
        depth += (item.text == "case") - (item.text == "end" and depth > 0)
        part.append(item)
    tail = [Token("end", "word", False), *items[end + 1 :]]
    return [*lines, *([" " * indent + _flat(tail)] if _fits(tail, indent) else _broken(tail, indent))]


def _wrapped(items: list[Token], indent: int) -> list[str]:
    """What has no parenthesis to break at, wrapped between words."""
    lines = [" " * indent]
    for item in items:
        text = _flat([item])
        if len(lines[-1]) + 1 + len(text) > LINE_CHARS_MAX and item.gap:
            lines.append(" " * (indent + 2))
        lines[-1] += (" " if item.gap and lines[-1].strip() else "") + text
    return lines
