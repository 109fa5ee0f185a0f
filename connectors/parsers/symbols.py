"""What a character of a symbol font shows, as Unicode.

Owns the two fonts that writers of text use: Symbol, by Adobe's encoding, and Wingdings, as far as it is boxes, ticks
and arrows. Refuses ornaments: they say nothing.
"""

from __future__ import annotations

_PRIVATE = 0xF000
"""Fonts without Unicode have their characters from here on."""

_SYMBOL_CAPITALS = "ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ"
_SYMBOL_SMALL = "αβχδεφγηιϕκλμνοπθρστυϖωξψζ"
_SYMBOL = {
    0x22: "∀", 0x24: "∃", 0x27: "∋", 0x2A: "∗", 0x2D: "−", 0x40: "≅", 0x5C: "∴", 0x5E: "⊥", 0x7E: "∼", 0xA2: "′",
    0xA3: "≤", 0xA4: "⁄", 0xA5: "∞", 0xAB: "↔", 0xAC: "←", 0xAD: "↑", 0xAE: "→", 0xAF: "↓", 0xB0: "°", 0xB1: "±",
    0xB2: "″", 0xB3: "≥", 0xB4: "×", 0xB5: "∝", 0xB6: "∂", 0xB7: "•", 0xB8: "÷", 0xB9: "≠", 0xBA: "≡", 0xBB: "≈",
    0xBC: "…", 0xC6: "∅", 0xC7: "∩", 0xC8: "∪", 0xC9: "⊃", 0xCA: "⊇", 0xCB: "⊄", 0xCC: "⊂", 0xCD: "⊆", 0xCE: "∈",
    0xCF: "∉", 0xD0: "∠", 0xD1: "∇", 0xD5: "∏", 0xD6: "√", 0xD7: "⋅", 0xD8: "¬", 0xD9: "∧", 0xDA: "∨", 0xDB: "⇔",
    0xDC: "⇐", 0xDD: "⇑", 0xDE: "⇒", 0xDF: "⇓", 0xE5: "∑", 0xF2: "∫",
}  # fmt: skip
_WINGDINGS = {
    0x6C: "●", 0x6E: "■", 0x6F: "☐", 0x71: "☐", 0x78: "☒", 0xA7: "▪", 0xA8: "☐", 0xD8: "➢", 0xDF: "←", 0xE0: "→",
    0xE1: "↑", 0xE2: "↓", 0xE8: "➔", 0xF0: "⇨", 0xFB: "✗", 0xFC: "✓", 0xFD: "☒", 0xFE: "☑",
}  # fmt: skip


def symbol(font: str, code: str) -> str:
    """The character of a hexadecimal code in a font; nothing where it is an ornament."""
    try:
        number = int(code, 16)
    except ValueError:
        return ""
    if not _PRIVATE <= number < _PRIVATE + 0x100:
        return chr(number) if 0x20 <= number < 0xD800 or 0xF900 <= number <= 0x10FFFF else ""
    number -= _PRIVATE
    if font.lower() != "symbol":
        return _WINGDINGS.get(number, "")
    if 0x41 <= number <= 0x5A:
        return _SYMBOL_CAPITALS[number - 0x41]
    if 0x61 <= number <= 0x7A:
        return _SYMBOL_SMALL[number - 0x61]
    return _SYMBOL.get(number, chr(number) if 0x20 <= number < 0x40 else "")
