"""Makes text of bytes whose encoding nobody said: byte order marks, UTF-8, UTF-16 by its zeros, else what fits best.

Owns the choice of an encoding, and that a choice is never a repair: what no encoding explains stays a replacement
character, and the caller is told. Candidates and their noise come from `charset-normalizer`; it cannot tell encodings
apart that give equally clean text, which is usual for a few words, so how common the characters are decides those.
Refuses I/O. Used by `api/imports/plan.py`.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

import msgspec
from charset_normalizer import from_bytes

PROBE_BYTES: Final = 16_384
"""Bytes that are looked at for the encoding. A text has one, and a few pages show it."""
NOISE_STEP: Final = 0.02
"""Differences of noise smaller than this are chance in a short text."""
NOISE_BYTES_MIN: Final = 4
"""Bytes beyond ASCII: of fewer, noise says nothing, and the more usual encoding is taken."""
BROKEN_PER_WHOLE_MAX: Final = 1.0
"""Stray bytes for each sequence of UTF-8's shape, up to which a text is UTF-8 with damage and not another encoding:
in texts of other encodings that shape comes about by chance, and less often than bytes beside it."""

_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CANDIDATES: Final = (
    *("cp1252", "cp1250", "cp1251", "koi8_r", "cp932", "euc_jp", "gb18030", "big5", "euc_kr"),
    *("cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874", "iso8859_2", "cp866", "mac_roman", "cp850"),
)
_COMMON_LEADS: Final = {
    # The first bytes of the pairs that each standard gives to its frequent characters (level 1 of each).
    "gb18030": (0xB0, 0xD7),
    "big5": (0xA4, 0xC6),
    "euc_jp": (0xA4, 0xCF),
    "euc_kr": (0xB0, 0xC8),
    "cp932": (0x81, 0x97),
}
_SIGNS = "’‘“”„–—…•«»°§©®™€\xa0"
_WESTERN = frozenset("àâäáãåçèéêëìíîïñòóôöõøùúûüßæœÿÀÂÄÁÃÅÇÈÉÊËÌÍÎÏÑÒÓÔÖÕØÙÚÛÜÆŒ£¿¡·×" + _SIGNS)
_CENTRAL = frozenset("ąćęłńóśźżĄĆĘŁŃÓŚŹŻáčďéěíňřšťúůýžÁČĎÉĚÍŇŘŠŤÚŮÝŽőűŐŰăâîşţäöüßÄÖÜ" + _SIGNS)
_CYRILLIC = frozenset("абвгдежзийклмнопрстуфхцчшщъыьэюяёАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯЁіїєґ№" + _SIGNS)
_GREEK = frozenset("αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΆΈΉΊΌΎΏ" + _SIGNS)
_TURKISH = frozenset("çğıöşüâîûÇĞİÖŞÜ" + _SIGNS)
_HEBREW = frozenset(map(chr, range(0x5D0, 0x5EB))) | frozenset(_SIGNS)
_ARABIC = frozenset(map(chr, range(0x621, 0x653))) | frozenset("،؛؟" + _SIGNS)
_BALTIC = frozenset("ąčęėįšųūžāēģīķļņõäöüĄČĘĖĮŠŲŪŽĀĒĢĪĶĻŅÕÄÖÜ" + _SIGNS)
_THAI = frozenset(map(chr, (*range(0xE01, 0xE3B), *range(0xE3F, 0xE5C)))) | frozenset(_SIGNS)
_ICELANDIC = frozenset("ðþýæöáéíóúÐÞÝÆÖÁÉÍÓÚ" + _SIGNS)
_USUAL: Final = {
    "cp1252": _WESTERN,
    "cp1250": _CENTRAL,
    "cp1251": _CYRILLIC,
    "koi8_r": _CYRILLIC,
    "cp1253": _GREEK,
    "cp1254": _TURKISH,
    "cp1255": _HEBREW,
    "cp1256": _ARABIC,
    "cp1257": _BALTIC,
    "cp874": _THAI,
    "iso8859_2": _CENTRAL,
    "cp866": _CYRILLIC,
    "mac_roman": _WESTERN,
    "cp850": _WESTERN,
}
COMMON_MIN: Final = 0.7
"""Share of frequent characters among those beyond ASCII, below which no encoding explains a text."""
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_PAIR = re.compile(rb"[\x81-\xfe][\x30-\xfe]")
_CONTROL_BYTES = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")
_CONTROLS = re.compile(r"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")
_HANGUL_AND_HAN = re.compile(r"[가-힣]\s*[一-鿿]|[一-鿿]\s*[가-힣]")
_HALF_WIDTH = re.compile(r"[｡-ﾟ]")
_OUT_OF_PLACE = re.compile(
    r"\w[¿¡„”]\w|\w[¿¡]|\s[¿¡](?=\s)|\b[¿¡]?[æ](?=\b)"
    r"|[à-ÿÀ-ß]{3}|(?<!\w)Ł(?!\w)|(?<![\u0e01-\u0e5b])[\u0e31\u0e34-\u0e3a\u0e47-\u0e4e]|[\u0e31\u0e34-\u0e3a]{2}"
    r"|[а-яёα-ω][А-ЯЁΑ-Ω]|[A-Za-z][\u0370-\u06ff\u0e00-\u0e7f]|[\u0370-\u06ff\u0e00-\u0e7f][A-Za-z]"
)
"""What no language writes: capitals behind small letters of one script, letters of two scripts in a word, marks within
words, accent upon accent."""
_VOWELS: Final = {
    "cyrillic": frozenset("аеёиоуыэюяіїєАЕЁИОУЫЭЮЯІЇЄ"),
    "thai": frozenset(map(chr, (*range(0xE30, 0xE3B), *range(0xE40, 0xE4F)))),
}
VOWELS_MIN: Final = 0.2
"""Share of vowels in Cyrillic and Thai: texts have two in five; other scripts that are read as one have few."""
_HEBREW_FINAL = re.compile(r"[ךםןףץ](?=[א-ת])")
HEBREW_LETTERS_MIN: Final = 8
"""Letters from which on it is no chance that those for the ends of words stand only there: that is Hebrew."""
_ESCAPES = re.compile(rb"\x1b(?:\$[@B]|\([BJI])")
_FAMILIAR: Final = (
    *((0x20, 0x7E), (0xA0, 0x17F), (0x370, 0x52F), (0x5D0, 0x5EA), (0x621, 0x652), (0xE01, 0xE5B)),
    *((0x2010, 0x2026), (0x3000, 0x30FF), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0xFF01, 0xFF9F)),
)
CONTROLS_MIN: Final = 0.3
"""Share of control characters from which on what can be read as UTF-8 is UTF-16."""
FAMILIAR_MIN: Final = 0.98
"""Share of characters of living scripts in what is UTF-16 without a mark."""


class Decoded(msgspec.Struct, frozen=True):
    """`exact`: every byte is explained by `encoding`. Otherwise there are replacement characters in `text`."""

    text: str
    encoding: str
    exact: bool


def decode(content: bytes) -> Decoded:
    """Decode `content`. Never raises. A mark of UTF-8 stays in the text, as its first character."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _strict_or_replaced(content[len(mark) :], encoding)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        pass
    else:
        return _decode_unmarked(content) or Decoded(text, "utf-8", True)
    if (wide := _decode_unmarked(content)) is not None:
        return wide
    probe = _find_probe(content)
    if not _is_damaged_utf8(probe) and (encoding := _guess(probe)):
        found = _strict_or_replaced(content, encoding)
        if found.exact and not _CONTROLS.search(found.text):
            return found
    return _strict_or_replaced(content, "utf-8")


def _find_probe(content: bytes) -> bytes:
    """The bytes that are looked at: the beginning, or where the first ones stand that are not ASCII."""
    first = _BEYOND_ASCII.search(content)
    if first is None or first.start() < PROBE_BYTES // 2:
        return content[:PROBE_BYTES]
    line = content.rfind(b"\n", first.start() - PROBE_BYTES // 2, first.start()) + 1
    start = line or first.start()
    return content[start : start + PROBE_BYTES]


def _strict_or_replaced(content: bytes, encoding: str) -> Decoded:
    try:
        return Decoded(content.decode(encoding), encoding, True)
    except UnicodeDecodeError:
        return Decoded(content.decode(encoding, "replace"), encoding, False)


def _decode_unmarked(content: bytes) -> Decoded | None:
    """UTF-16 and UTF-32 without their marks, and encodings that switch by escapes: as bytes they are full of controls,
    as text they are of living scripts."""
    probe = content[:PROBE_BYTES]
    if _ESCAPES.search(probe):
        switched = _strict_or_replaced(content, "iso2022_jp")
        return switched if switched.exact else None
    controls = [match.start() for match in _CONTROL_BYTES.finditer(probe)]
    if len(probe) < 4 or not controls:
        return None
    if _is_utf8(probe) and (len(controls) < CONTROLS_MIN * len(probe) or len(probe) < 8):
        return None
    wide = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
    best = max(wide, key=lambda encoding: _familiarity(probe, encoding))
    if _familiarity(probe, best) < FAMILIAR_MIN:
        return None
    found = _strict_or_replaced(content, best)
    return found if found.exact and not _CONTROLS.search(found.text) else None


def _is_utf8(probe: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(probe)
    except UnicodeDecodeError:
        return False
    return True


def _familiarity(probe: bytes, encoding: str) -> float:
    """Share of characters of living scripts; those of ASCII count twice, since half of one may look like Chinese."""
    try:
        text = probe.decode(encoding)
    except UnicodeDecodeError:
        return 0.0
    familiar = sum(
        character in "\t\n\r\f" or any(low <= ord(character) <= high for low, high in _FAMILIAR) for character in text
    )
    return (familiar + sum(map(str.isascii, text))) / len(text) if familiar >= FAMILIAR_MIN * len(text) else 0.0


def _is_damaged_utf8(probe: bytes) -> bool:
    """Whether most of what is not ASCII is whole UTF-8 sequences."""
    sequences = _SEQUENCE.findall(probe)
    stray = sum(byte > 0x7F for byte in probe) - sum(map(len, sequences))
    return stray <= BROKEN_PER_WHOLE_MAX * len(sequences)


def _guess(probe: bytes) -> str:
    """The candidate with the least noise; among equals the one whose characters are the more common ones."""
    best: tuple[float, float, int] | None = None
    name = ""
    cut = probe[: probe.rfind(b"\n") + 1] if len(probe) == PROBE_BYTES and b"\n" in probe else probe
    is_long = sum(byte > 0x7F for byte in cut) >= NOISE_BYTES_MIN
    clean: dict[str, float] = {}
    for match in from_bytes(cut, cp_isolation=list(_CANDIDATES)):
        for encoding in match.could_be_from_charset:  # the same text: only one of them is a match of its own
            clean.setdefault(encoding, match.chaos)
    for encoding in _USUAL:  # the noise of a short text says little, its letters say more
        clean.setdefault(encoding, 1.0)
    for rank, encoding in enumerate(_CANDIDATES):
        if encoding not in clean:
            continue
        try:
            text = cut.decode(encoding)
        except UnicodeDecodeError:
            continue
        noise = round(clean[encoding] / NOISE_STEP) * NOISE_STEP if is_long else 0.0
        score = (-_commonness(cut, text, encoding), noise, rank)
        if best is None or score < best:
            best, name = score, encoding
    return name if best is not None and -best[0] >= COMMON_MIN else ""


def _commonness(content: bytes, text: str, encoding: str) -> float:
    """Share of the characters beyond ASCII that are frequent in texts of this encoding, in tenths."""
    beyond = [character for character in text if character > "\x7f"]
    if not beyond:
        return 0.0
    if (usual := _USUAL.get(encoding)) is not None:
        sets = (usual, _ICELANDIC) if encoding == "cp1252" else (usual,)
        share = max(sum(character in each for character in beyond) for each in sets) / len(beyond)
        vowels = _VOWELS.get("cyrillic" if usual is _CYRILLIC else "thai" if usual is _THAI else "")
        if vowels and sum(character in vowels for character in beyond) < VOWELS_MIN * len(beyond):
            share -= VOWELS_MIN
        if usual is _HEBREW and len(beyond) >= HEBREW_LETTERS_MIN and not _HEBREW_FINAL.search(text):
            share += 0.1
        return round(share - len(_OUT_OF_PLACE.findall(text)) / len(beyond), 1)
    low, high = _COMMON_LEADS[encoding]
    pairs = [pair for pair in _PAIR.findall(content) if pair[0] > 0x7F]
    odd = len(_HALF_WIDTH.findall(text)) + len(_HANGUL_AND_HAN.findall(text))
    level_one: float = sum(low <= pair[0] <= high for pair in pairs) / max(1, len(pairs)) - odd / len(beyond)
    return round(level_one, 1)
