"""What a word processor makes of instructions and equations when it shows them: text that no run of a DOCX holds.

Owns fields without a result that show something all the same, and the signs of equations that are properties of their
elements. Refuses to follow fields, and to write.
"""

from __future__ import annotations

import re
from typing import Any

from connectors.parsers.names import flag_of, name_of, value
from connectors.parsers.symbols import symbol

_BUTTON = re.compile(r"\s*(?:MACROBUTTON|GOTOBUTTON)\s+\S+\s+(.*\S)", re.I | re.S)
_SYMBOL = re.compile(r"\s*SYMBOL\s+(0x[0-9a-f]{1,6}|\d{1,7})(?:.*\\f\s+\"?([\w ]+))?", re.I | re.S)
_EQUATION = re.compile(r"\s*EQ\b(.*)", re.I | re.S)
_FORMAT = re.compile(r'\\\*\s*(?:"[^"]*"|\S+)')
_ABOVE = re.compile(r"(?:\\o[\\a-z]*\s*\(\s*)?\\s\s*\\up\s*\d*\s*\(([^()]*)\)\s*[,;]\s*([^()]*)\)")
_FRACTION = re.compile(r"\\f\s*\(([^(),;]*)[,;]([^(),;]*)\)", re.I)
_SWITCH = re.compile(r"\\[a-z]+\s*\d*", re.I)
_SPACES = re.compile(r"\s+")

_STARTS = {"m:num": "(", "m:den": "/(", "m:sup": "^", "m:sub": "_", "m:rad": "√", "m:mr": " "}
_ENDS = {"m:num": ")", "m:den": ")", "m:fName": " ", "m:mr": ";"}


def show_field(instruction: str) -> str:
    """What a field shows by its instruction alone; nothing where a result would be needed."""
    if button := _BUTTON.match(instruction):
        return button[1]
    if sign := _SYMBOL.match(instruction):
        return _sign(sign[1], sign[2] or "")
    if equation := _EQUATION.match(instruction):
        text = _FORMAT.sub("", equation[1])
        # What stands above a word in Japanese is an equation, too, in files of older programs.
        text = _FRACTION.sub(r"(\1)/(\2)", _ABOVE.sub(r"\2(\1)", text))
        text = re.sub(r"\\r\b", "√", text)
        return _SPACES.sub(" ", _SWITCH.sub("", text)).strip()
    return ""


def _sign(code: str, font: str) -> str:
    number = int(code, 0) if code.lower().startswith("0x") else int(code)
    if font.lower().startswith(("symbol", "wingdings")) and number < 0x100:
        return symbol(font, f"{0xF000 + number:X}")
    if number < 0x100:
        return bytes([number]).decode("cp1252", "replace") if number >= 0x20 else ""
    return symbol(font, f"{number:X}")


def start_of_equation(name: str, element: Any) -> str:
    """What stands before the text of an element of an equation."""
    if name == "m:nary":
        return _property(element, "m:naryPr", "m:chr", "∫")
    if name == "m:d":
        return _property(element, "m:dPr", "m:begChr", "(")
    return _STARTS.get(name, "")


def end_of_equation(name: str, element: Any) -> str:
    """What stands behind it."""
    if name == "m:d":
        return _property(element, "m:dPr", "m:endChr", ")")
    if name == "m:acc":
        return _property(element, "m:accPr", "m:chr", "\u0302")
    if name == "m:e" and element.getnext() is not None:
        parent = element.getparent()
        return _property(parent, "m:dPr", "m:sepChr", "|") if name_of(parent) == "m:d" else " "
    return _ENDS.get(name, "")


def is_phantom(element: Any) -> bool:
    """Whether an element only takes the room of what is in it."""
    for each in element:
        if name_of(each) == "m:phantPr":
            return flag_of(each, "m:show") is False
    return False


def _property(element: Any, properties: str, name: str, default: str) -> str:
    for each in element:
        if name_of(each) == properties:
            for inner in each:
                if name_of(inner) == name:
                    return value(inner, "val") or ""
    return default
