"""AsciiDoc and reStructuredText as Markdown with the same lines.

Owns which syntax a file is in, and what of both syntaxes a decision record needs: titles, fields, lists, tables, links,
emphasis, code, comments. Line n stays line n, so that whatever is said of a line is true of the file. No library reads
both: docutils knows one of them, includes files by itself and stops at errors. Refuses what it does not know: such a
line stays as it is, and is text. Next: `structure.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from connectors.history.model import MARKUPS, Markup
from connectors.reading.words import WORDS


def markup_of(path: str) -> Markup:
    """The syntax that the end of a file's name says; Markdown where it says none."""
    name = path.split("?", 1)[0].split("#", 1)[0].rsplit("/", 1)[-1].lower()
    return MARKUPS.get(f".{name.rsplit('.', 1)[-1]}", "markdown")


def to_markdown(lines: Sequence[str], markup: Markup) -> list[str]:
    """The lines as Markdown, as many as before."""
    if markup == "asciidoc":
        return _from_asciidoc(lines)
    if markup == "restructuredtext":
        return _from_restructuredtext(lines)
    return list(lines)


# ---------------------------------------------------------------------------------------------------------- AsciiDoc

ATTRIBUTES_MAX: Final = 500
"""Attributes that are filled in: each may make its line longer."""
ATTRIBUTE_CHARS_MAX: Final = 200
"""Longest value that is filled in: a title, a state, a date. Values of values of values would grow without end."""
_ADOC_REFERENCE = re.compile(r"(?<![\\{])\{([A-Za-z][\w-]{0,60})\}")
_ADOC_TITLE = re.compile(r"(={1,6})\s+(\S.*?)(?:\s+=+)?\s*$")
_ADOC_ATTRIBUTE = re.compile(r":([A-Za-z][\w-]{0,60}):\s+(\S.*)$")
_ADOC_MARK = re.compile(r"(?:\[[^\[\]]{0,200}\]|\.[^\s.].{0,200})\s*$")
_ADOC_BLOCK = re.compile(r"(-{4,}|\.{4,}|`{3,}|\+{4,}|/{4,})\s*[\w,]{0,40}\s*$")
_ADOC_SOFT_BLOCK = re.compile(r"(?:={4,}|\*{4,}|_{4,}|--)\s*$")
_ADOC_ITEM = re.compile(r"\s*(\*{1,5}|\.{1,5})\s+(\S.*)$")
_ADOC_TERM = re.compile(r"\s*(\S.{0,100}?)::(?:\s+(\S.*))?$")
_ADOC_LINK = re.compile(r"(?:link:|xref:|(?=https?://))([^\s\[\]]{1,1000})\[([^\[\]]{0,400})\]")
_ADOC_CROSS = re.compile(r"<<([^<>,]{1,400})(?:,\s?([^<>]{1,400}))?>>")
_ADOC_STRONG = re.compile(r"(?<![\w*])\*(?![\s*])([^*\n]{1,400}?)(?<!\s)\*(?![\w*])")
_ADOC_STRUCK = re.compile(r"\[(?:\.?line-through)\]#([^#\n]{1,400})#")
_ADOC_ADMONITION = re.compile(r"^(?:NOTE|TIP|IMPORTANT|WARNING|CAUTION):\s+")
_ADOC_SPAN = re.compile(r"^(?:\d{1,3}(?:\.\d{1,3})?\+)?[<^>.]{0,3}[aehlmsdv]?\|")


def _fill_in(lines: Sequence[str]) -> Iterator[str]:
    """The lines with the values of the attributes that stand above them: "= {adr-title}"."""
    values: dict[str, str] = {}
    left = ATTRIBUTES_MAX
    for line in lines:
        if left and "{" in line:
            line, count = _ADOC_REFERENCE.subn(lambda found: values.get(found[1].lower(), found[0]), line, count=left)
            left -= count
        if (attribute := _ADOC_ATTRIBUTE.match(line)) and len(attribute[2]) <= ATTRIBUTE_CHARS_MAX:
            values[attribute[1].lower()] = attribute[2].strip()
        yield line


def _from_asciidoc(written: Sequence[str]) -> list[str]:
    lines = list(_fill_in(written))
    made: list[str] = []
    closing = ""
    table: list[str] | None = None
    in_head = True
    for line in lines:
        stripped = line.strip()
        if closing:
            made.append("```" if stripped == closing else line)
            closing = "" if stripped == closing else closing
        elif stripped in ("|===", "!===", ",===", ":==="):
            if table is None:
                table = []
            else:
                made = _close_table(made, table)
                table = None
            made.append("")
        elif table is not None:
            table.append(stripped)
            made.append("")
        elif block := _ADOC_BLOCK.match(line):
            comment = block[1].startswith("/")
            made.append("" if comment else "```")
            closing = stripped if line.strip() in (each.strip() for each in lines[len(made) :]) else ""
            made[-1] = "```" if closing else ""
        else:
            attribute = _ADOC_ATTRIBUTE.match(line)
            in_head = in_head and bool(not stripped or attribute or _ADOC_TITLE.match(line) or len(made) < 4)
            made.append(f"{attribute[1]}: {attribute[2]}  " if attribute and in_head else _adoc_line(line))
    return made


def _adoc_line(line: str) -> str:
    if line.startswith(".") and WORDS.meaning(line[1:].strip(" :")[:60]) in ("status", "date"):
        return f"**{line[1:].strip(' :')}**"  # the title of a block, which is what the block holds
    if title := _ADOC_TITLE.match(line):
        return f"{'#' * len(title[1])} {_adoc_inline(title[2])}"
    if line.startswith("//") or _ADOC_MARK.fullmatch(line) or _ADOC_SOFT_BLOCK.fullmatch(line) or line.strip() == "+":
        return ""
    if item := _ADOC_ITEM.match(line):
        return f"{'  ' * (len(item[1]) - 1)}* {_adoc_inline(item[2])}"
    if term := _ADOC_TERM.match(line):
        return f"* {_adoc_inline(term[1])}: {_adoc_inline(term[2] or '')}"
    return _adoc_inline(_ADOC_ADMONITION.sub("", line))


def _adoc_inline(text: str) -> str:
    text = _ADOC_STRUCK.sub(r"~~\1~~", text)
    text = _ADOC_STRONG.sub(r"**\1**", text)
    text = _ADOC_LINK.sub(lambda match: f"[{match[2].strip('^') or match[1]}]({match[1]})", text)
    return _ADOC_CROSS.sub(lambda match: f"[{match[2] or match[1]}]({match[1]})", text)


def _close_table(made: list[str], written: Sequence[str]) -> list[str]:
    """Put the rows where the table stood. A line with one cell continues the row: the first line says how many make
    one."""
    cells: list[list[str]] = []
    width = 0
    for line in written:
        if not line:
            continue
        parts = [part.strip() for part in _ADOC_SPAN.sub("|", line).split("|")]
        parts = parts[1:] if line.lstrip("0123456789.+<^>aehlmsdv").startswith("|") else parts
        width = width or len(parts)
        if cells and len(cells[-1]) < width:
            cells[-1] += parts
        else:
            cells.append(parts)
    width = max(width, 2 if width == 1 and len(cells) % 2 == 0 and cells else width)
    if width == 2 and all(len(row) == 1 for row in cells):  # one cell a line, two columns
        flat = [row[0] for row in cells]
        cells = [list(pair) for pair in zip(flat[::2], flat[1::2], strict=True)]
    start = len(made) - len(written) - 1  # the line that opens the table is free for the rule under its head
    for at, row in enumerate(_rows(cells, width)[: len(written) + 1]):
        made[start + at] = row
    return made


def _rows(cells: Sequence[Sequence[str]], width: int) -> list[str]:
    """A Markdown table, its first row the head."""
    rows = [f"| {' | '.join(_adoc_inline(cell) for cell in row)} |" for row in cells]
    return [*rows[:1], f"|{'---|' * max(1, width)}", *rows[1:]] if rows else []


# -------------------------------------------------------------------------------------------------- reStructuredText

_RST_RULE = re.compile(r"([=\-~^\"'`#*+.:_<>])\1{1,}\s*$")
_RST_FIELD = re.compile(r"(\s*):([^\W_][\w ()/-]{0,60}):\s+(\S.*)$")
_RST_ROLE_LINK = re.compile(r":[\w:-]{1,30}:`([^`<>]{1,400}?)\s*<([^<>`]{1,1000})>`")
_RST_DOCUMENT = re.compile(r":doc:`(?:([^`<>]{1,400}?)\s*<)?([^`<>]{1,400}?)(?:\.rst)?>?`")
"""A document is named without the end of its file's name."""
_RST_ROLE = re.compile(r":(?:doc|ref|any|download):`([^`<>]{1,400})`")
_RST_LINK = re.compile(r"`([^`<>]{1,400}?)\s*<([^<>`\s]{1,1000})>`_{1,2}")
_RST_NAMED = re.compile(r"`([^`<>]{1,400})`_{1,2}(?!\w)")
_RST_TARGET = re.compile(r"\.\. _`?([^:`]{1,200})`?:\s+(\S{1,1000})\s*$")
_RST_DIRECTIVE = re.compile(r"(\s*)\.\.(?:\s|$)")
_RST_ADMONITION = re.compile(r"\s*\.\. (note|warning|important|attention|admonition|tip|hint)::\s*(.*)$")
_RST_GRID = re.compile(r"\s*\+(?:[-=]+\+)+\s*$")
_RST_SIMPLE = re.compile(r"\s*={2,}(?:\s+={2,})+\s*$")
_RST_LIST_TABLE = re.compile(r"\s*\.\. (?:list-table|csv-table)::")


def _from_restructuredtext(lines: Sequence[str]) -> list[str]:
    made = list(lines)
    levels: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        following = lines[at + 1] if at + 1 < len(lines) else ""
        overline = _RST_RULE.match(line)
        if overline and following.strip() and at + 2 < len(lines) and lines[at + 2].strip() == line.strip():
            made[at : at + 3] = ["", _rst_title(following, line.strip()[0] * 2, levels), ""]
            at += 3
        elif _is_titled(line, following):
            made[at : at + 2] = [_rst_title(line, following.strip()[0], levels), ""]
            at += 2
        elif _RST_SIMPLE.match(line):
            at = _rst_simple_table(made, lines, at)
        elif _RST_LIST_TABLE.match(line):
            at = _rst_list_table(made, lines, at)
        elif _RST_GRID.match(line):
            head = at + 1 < len(lines) and lines[at - 1].lstrip().startswith("|") if at else False
            made[at] = f"|{'---|' * (line.count('+') - 1)}" if head and not _has_rule(made, at) else "\0"
            at += 1
        elif (directive := _RST_DIRECTIVE.match(line)) and not _RST_TARGET.match(line):
            at = _rst_directive(made, lines, at, len(directive[1]))
        else:
            made[at] = _rst_line(line)
            at += 1
    return _close_gaps(made)


def _has_rule(made: Sequence[str], at: int) -> bool:
    """Whether the table above already has its line under the head."""
    for line in reversed(made[:at]):
        if line.startswith("|---"):
            return True
        if not line.startswith(("|", "\0")):
            return False
    return False


def _close_gaps(made: Sequence[str]) -> list[str]:
    """Lines between rows of a grid would end a Markdown table: each table's rows move up, and its gaps come after."""
    closed: list[str] = []
    pending = 0
    for line in made:
        if line == "\0":
            pending += 1
            continue
        if pending and not line.startswith("|"):
            closed += [""] * pending
            pending = 0
        closed.append(line)
    return closed + [""] * pending


def _is_titled(line: str, following: str) -> bool:
    rule = _RST_RULE.match(following)
    return bool(rule and line.strip() and not line[0].isspace() and len(following.strip()) >= min(3, len(line.strip())))


def _rst_title(line: str, mark: str, levels: list[str]) -> str:
    if mark not in levels:
        levels.append(mark)
    return f"{'#' * min(6, levels.index(mark) + 1)} {_rst_inline(line.strip())}"


def _rst_line(line: str) -> str:
    if target := _RST_TARGET.match(line):
        return f"[{target[1]}]: {target[2]}"
    if field := _RST_FIELD.match(line):
        return f"{field[2]}: {_rst_inline(field[3])}  "
    return _rst_inline(line)


def _rst_inline(text: str) -> str:
    text = _RST_DOCUMENT.sub(lambda found: f":doc:`{found[1] or found[2]} <{found[2]}.rst>`", text)
    text = _RST_ROLE_LINK.sub(r"[\1](\2)", text)
    text = _RST_LINK.sub(r"[\1](\2)", text)
    text = _RST_ROLE.sub(lambda match: f"[{match[1]}]({match[1]})", text)
    return _RST_NAMED.sub(r"[\1][\1]", text)


def _rst_directive(made: list[str], lines: Sequence[str], at: int, indent: int) -> int:
    """A note is text; any other directive is code or a comment, and so is what is indented under it."""
    end = at + 1
    while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > indent):
        end += 1
    note = _RST_ADMONITION.match(lines[at])
    made[at] = ""
    if note:
        made[at] = f"**{note[2].strip(' :')}:**" if note[1] == "admonition" and note[2].strip() else note[2]
    for index in range(at + 1, end):
        made[index] = _rst_line(lines[index].strip()) if note else ""
    return end


def _rst_simple_table(made: list[str], lines: Sequence[str], at: int) -> int:
    """Columns are where the marks of the first rule are."""
    columns = [match.span() for match in re.finditer(r"=+", lines[at])]
    end = at + 1
    rows: list[list[str]] = []
    while end < len(lines) and lines[end].strip():
        if not _RST_SIMPLE.match(lines[end]):
            ends = [*(start for start, _ in columns[1:]), len(lines[end])]
            rows.append([lines[end][start:stop].strip() for (start, _), stop in zip(columns, ends, strict=True)])
        end += 1
    _place(made, at, end, rows, len(columns))
    return end


def _rst_list_table(made: list[str], lines: Sequence[str], at: int) -> int:
    end = at + 1
    rows: list[list[str]] = []
    while end < len(lines) and (not lines[end].strip() or lines[end][0].isspace()):
        item = lines[end].strip()
        if item.startswith("* - "):
            rows.append([item[4:].strip()])
        elif item.startswith("- ") and rows:
            rows[-1].append(item[2:].strip())
        elif rows and item:
            rows[-1][-1] += f" {item}"
        end += 1
    _place(made, at, end, rows, max((len(row) for row in rows), default=0))
    return end


def _place(made: list[str], at: int, end: int, rows: Sequence[Sequence[str]], width: int) -> None:
    table = [f"| {' | '.join(map(_rst_inline, row))} |" for row in rows]
    table = [*table[:1], f"|{'---|' * max(1, width)}", *table[1:]] if table else []
    made[at:end] = [*table, *[""] * (end - at)][: end - at]
