"""What a number or a text in a workbook looks like by the format of its cell.

Owns which part of a format holds for a value, what it writes around it, and dates. Digits stay as they are stored:
formats round, and what is rounded is not found. A format that is not understood shows the value as it is.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

FIRST_DAY = datetime.datetime(1899, 12, 30, tzinfo=datetime.UTC)
"""Day 0 of a workbook, and of the charts made of one."""
_BUILT_IN = {
    **dict.fromkeys((9, 10), "0%"),
    **dict.fromkeys((*range(14, 18), *range(27, 32), 36, *range(50, 59)), "yyyy-mm-dd"),
    **dict.fromkeys((*range(18, 22), *range(32, 36), 45, 47), "h:mm"),
    22: "yyyy-mm-dd h:mm",
    46: "[h]:mm:ss",
}
"""Formats that files name by number alone."""
_DAYS_MAX = 2_958_466
"""The last day of the year 9999."""
_DAY_S = 86_400
_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|\[\$(?P<currency>[^\]-]*)[^\]]*\]|(?P<elapsed>\[[hms]+\])|\[(?P<code>[^\]]*)\]'
    r"|_(?P<room>.)|\*(?P<fill>.)|(?P<general>General)|(?P<digits>[0#?.,]+)|(?P<percent>%)|(?P<text>@)"
    r"|(?P<date>AM/PM|A/P|[dmyhseg]+)|(?P<plain>.)",
    re.I | re.S,
)
_SECTION = re.compile(r'(?:"[^"]*"|\\.|\[[^\]]*\]|[^;])*')
_SCALE = re.compile(r",+$")

_Tokens = list[tuple[str, str]]


def read_formats(codes: dict[int, str], used: Sequence[int]) -> list[str]:
    """The format of each style of cells, from the numbers that styles name."""
    return [codes.get(number, _BUILT_IN.get(number, "General")) for number in used]


def is_date(code: str) -> bool:
    return any(name in ("date", "elapsed") for name, _ in _tokens(_sections(code)[0]))


def show_text(text: str, code: str) -> str:
    """A text; empty where its format hides it."""
    sections = _sections(code)
    own = sections[3] if len(sections) > 3 else next((each for each in sections if "@" in each), "@")
    tokens = _tokens(own)
    return "".join(text if name == "text" else _literal(name, value) for name, value in tokens).strip()


def show_number(stored: str, code: str, first_day: datetime.datetime) -> str:
    """A number or a moment; empty where its format hides it."""
    try:
        number = Decimal(stored)
        plain = _plain(number) if number.is_finite() else ""
    except (InvalidOperation, ValueError, OverflowError):
        return stored
    if not plain:
        return stored
    section, number = _choose(_sections(code), number)
    tokens = _tokens(section)
    if any(name in ("date", "elapsed") for name, _ in tokens):
        return _moment(number, tokens, first_day) if 0 <= number < _DAYS_MAX else plain
    if any(name == "code" and value[:1] in "<>=" for name, value in tokens):
        return plain
    return _dress(number, tokens, plain)


def _dress(number: Decimal, tokens: _Tokens, plain: str) -> str:
    """The number with what its format writes around it."""
    places = [at for at, (name, _) in enumerate(tokens) if name in ("digits", "general")]
    around = ["".join(_literal(*each) for each in part) for part in _around(tokens, places)]
    if not places:
        return around[0].strip()
    digits = "".join(value for name, value in tokens if name == "digits")
    between = any(_literal(*each).strip() for each in tokens[places[0] : places[-1]])
    if between:  # a fraction, a telephone number
        return plain
    scale = _SCALE.search(digits)
    number *= Decimal(100) ** sum(name == "percent" for name, _ in tokens)
    number /= Decimal(1000) ** (len(scale[0]) if scale else 0)
    zeros = digits.partition(".")[0].replace(",", "").count("0")
    whole, dot, rest = _plain(abs(number)).partition(".")
    shown = whole.zfill(min(zeros, 30)) + dot + rest
    return f"{'-' if number < 0 else ''}{around[0]}{shown}{around[1]}".strip()


def _around(tokens: _Tokens, places: list[int]) -> tuple[_Tokens, _Tokens]:
    return (tokens[: places[0]], tokens[places[-1] + 1 :]) if places else (tokens, [])


def _literal(name: str, value: str) -> str:
    if name in ("quoted", "escaped", "currency", "plain", "percent"):
        return value
    return " " if name == "room" else ""


def _sections(code: str) -> list[str]:
    found: list[str] = []
    position = 0
    while position <= len(code):
        section = _SECTION.match(code, position)
        end = section.end() if section else len(code)
        found.append(code[position:end])
        position = end + 1
    return found


def _choose(sections: list[str], number: Decimal) -> tuple[str, Decimal]:
    """The section for a number. One of its own for negative numbers writes their sign, or none."""
    if number < 0 and len(sections) > 1:
        return sections[1], -number
    if number == 0 and len(sections) > 2:
        return sections[2], number
    return sections[0], number


def _tokens(section: str) -> _Tokens:
    return [(str(each.lastgroup), each[str(each.lastgroup)] or "") for each in _TOKEN.finditer(section)]


def _moment(number: Decimal, tokens: _Tokens, first_day: datetime.datetime) -> str:
    seconds = round(float(number) * _DAY_S)
    if any(name == "elapsed" for name, _ in tokens):
        hours, rest = divmod(seconds, 3_600)
        return f"{hours}:{rest // 60:02}" + (f":{rest % 60:02}" if rest % 60 else "")
    moment = first_day + datetime.timedelta(seconds=seconds)
    day, time = moment.date().isoformat(), moment.time().isoformat()
    return time if number < 1 else day if time == "00:00:00" else f"{day} {time}"


def _plain(number: Decimal) -> str:
    """All digits that are stored; very large and very small numbers as Python writes them."""
    as_float = float(number)
    if as_float.is_integer() and abs(as_float) < 1e15:
        return str(int(as_float))
    return repr(as_float)
