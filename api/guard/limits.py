"""Numbers that a decision sets for a name, and those that a change sets for it. Pure.

Owns what a number is worth: products, groups of three digits, units of bytes and of time. A decision's number counts
where a name in code stands beside it, or near its "at most". Refuses to guess units: where two numbers cannot be
compared, nothing is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod
from typing import Final, Literal, NamedTuple

Unit = Literal["", "bytes", "seconds"]

_FACTORS: Final[dict[str, tuple[float, Unit]]] = {
    "kib": (1024, "bytes"),
    "mib": (1024**2, "bytes"),
    "gib": (1024**3, "bytes"),
    "kb": (1e3, "bytes"),
    "mb": (1e6, "bytes"),
    "gb": (1e9, "bytes"),
    "bytes": (1, "bytes"),
    "ms": (0.001, "seconds"),
    "s": (1, "seconds"),
    "seconds": (1, "seconds"),
    "min": (60, "seconds"),
    "minutes": (60, "seconds"),
    "hours": (3600, "seconds"),
    "h": (3600, "seconds"),
    "days": (86400, "seconds"),
}
_PLAIN: Final[tuple[float, Unit]] = (1, "")
_ENDINGS: Final = {"ms": 0.001, "s": 1, "seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}
"""What a name ends with that says its unit of time."""
EXPONENT_MAX: Final = 9
"""Exponents that are believed: a number that is larger was not meant to bound anything."""
_NUMBER: Final = r"(?!0\d)\d{1,3}(?:[ _,]\d{3})+(?!\d)|\d+(?:\.\d+)?"
_UNIT: Final = rf"(?:\s?(?P<unit>{'|'.join(sorted(_FACTORS, key=len, reverse=True))})\b)?"
_NAME: Final = r"`(?P<name>[A-Za-z][\w.]{3,80})`"
_BESIDE: Final = re.compile(
    rf"(?<!with )(?<!where )(?<!when )(?<!if ){_NAME}(?: =| is|:)? \(?(?P<value>{_NUMBER}){_UNIT}(?![\w.]*\w)",
    re.IGNORECASE,
)
_AT_MOST: Final = (
    rf"\b(?:at most|never more than|no more than|not more than|up to)\s+(?P<value>{_NUMBER}){_UNIT}(?![\w.]*\w)"
)
_NAME_FIRST: Final = re.compile(rf"{_NAME}[^,;:`]{{0,30}}{_AT_MOST}", re.IGNORECASE)
_BOUND_FIRST: Final = re.compile(rf"{_AT_MOST}[^,;:`]{{0,30}}{_NAME}", re.IGNORECASE)
_SET: Final = re.compile(
    r"(?P<name>[A-Za-z][\w.]{3,80})[\"']?\s*(?::\s*[\w\[\]., |]{1,40}?\s*=|:=|=|:|\bto\b)\s*[\"']?"
    rf"(?P<value>(?:{_NUMBER})(?:\s*\*\*?\s*\d[\d_]*)*){_UNIT}",
    re.IGNORECASE,
)


class NumberLimit(NamedTuple):
    """A number that a decision sets for a name. `at_most`: less is as right; else it is this one."""

    name: str
    value: float
    unit: Unit
    at_most: bool
    quote: str
    heading: str


class SetNumber(NamedTuple):
    """A number that a line gives to a name."""

    name: str
    value: float
    unit: Unit


def read_limits(sentence: str, heading: str) -> Iterator[NumberLimit]:
    """The numbers that one sentence of a decision sets for names in code."""
    for expression in (_NAME_FIRST, _BOUND_FIRST):
        for match in expression.finditer(sentence):
            value, unit = _worth(match["value"], match["unit"])
            yield NumberLimit(_last(match["name"]), value, unit, True, sentence[:300], heading)
    for match in _BESIDE.finditer(sentence):
        value, unit = _worth(match["value"], match["unit"])
        yield NumberLimit(_last(match["name"]), value, unit, False, sentence[:300], heading)


def read_numbers(line: str) -> Iterator[SetNumber]:
    """The numbers that a line of a change gives to names."""
    for match in _SET.finditer(line):
        value, unit = _worth(match["value"], match["unit"])
        yield SetNumber(_last(match["name"]), value, unit)


def breaks_limit(limit: NumberLimit, number: SetNumber) -> bool:
    """Whether a number is another one than a decision's, or more where it says "at most"."""
    if limit.name != number.name:
        return False
    value = number.value
    if limit.unit != number.unit:
        ending = limit.name.rpartition("_")[2]
        if limit.unit == "seconds" and number.unit == "" and ending in _ENDINGS:
            value *= _ENDINGS[ending]
        elif not (limit.unit == "bytes" and number.unit == "" and "bytes" in limit.name):
            return False
    return value > limit.value if limit.at_most else value != limit.value


def _last(name: str) -> str:
    return re.split(r"__|\.", name)[-1].lower()


def _worth(value: str, unit: str | None) -> tuple[float, Unit]:
    factors = [_power(each) for each in re.split(r"(?<!\*)\*(?!\*)", re.sub(r"[ _,]", "", value))]
    factor, kind = _FACTORS[unit.lower()] if unit else _PLAIN
    return prod(factors) * factor, kind


def _power(written: str) -> float:
    base, _, exponent = written.partition("**")
    return float(pow(float(base), min(float(exponent or 1), EXPONENT_MAX)))
