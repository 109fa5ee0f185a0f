"""What files hold against what is kept of them: `python -m tests.connectors.parsers.held FILE-OR-FOLDER…`.

Owns a count of its own, made in the dumbest way that there is for each type (every text element of every part of a
DOCX or of a presentation, every string of a workbook, every text part of a mail, every run of data of an HTML page by
the standard library, every page of a PDF by a second library), so that it shares no mistake with the parsers. It knows
nothing of what is hidden: some of what it calls missing is left out rightly, and the words are printed for somebody to
judge.
"""

from __future__ import annotations

import email
import email.policy
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from connectors.parsers import Limits, Parsed, ParseRequest, Refused, child

WORDS_SHOWN = 6
SUFFIXES = (".docx", ".html", ".htm", ".pdf", ".pptx", ".xlsx", ".eml")
_WORD = re.compile(r"\w+")
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&"))
_XML_TEXT = re.compile(r"<(?:\w+:)?(?:t|delText)(?: [^>]*)?>([^<]*)<|<(?:\w+:)?(p|tab|br|tc)[ />]")


def held_in_word(path: Path) -> str:
    """The text elements of all parts, as they follow each other."""
    found: list[str] = []
    with zipfile.ZipFile(path) as package:
        for name in package.namelist():
            if name.endswith((".html", ".htm")):
                found.append(held_in_page(package.read(name)))
            elif name.endswith(".xml") and "docProps" not in name and "styles" not in name:
                xml = package.read(name).decode("utf-8", "replace")
                found.append("".join(" " if each[2] else each[1] for each in _XML_TEXT.finditer(xml)))
    return unescape("\n".join(found))


def unescape(text: str) -> str:
    for entity, character in _ENTITIES:
        text = text.replace(entity, character)
    return text


_OF_SLIDES = re.compile(r"ppt/(?:slides|notesSlides|charts|diagrams/data|comments)[^_]*\.xml")


def held_in_slides(path: Path) -> str:
    """The text elements of slides, notes, charts, diagrams and remarks."""
    with zipfile.ZipFile(path) as package:
        names = [name for name in package.namelist() if _OF_SLIDES.fullmatch(name)]
        parts = [package.read(name).decode("utf-8", "replace") for name in names]
    return unescape(" ".join(" " if each[2] else each[1] for xml in parts for each in _XML_TEXT.finditer(xml)))


def held_in_sheets(path: Path) -> str:
    """Each string as often as a cell refers to it, and the numbers of all cells."""
    found: list[str] = []
    with zipfile.ZipFile(path) as package:
        names = package.namelist()
        shared = package.read("xl/sharedStrings.xml").decode() if "xl/sharedStrings.xml" in names else ""
        strings = ["".join(re.findall(r"<t[ >][^<]*|<t>", each)) for each in re.findall(r"<si>.*?</si>", shared, re.S)]
        for name in names:
            if name.startswith("xl/worksheets/sheet"):
                xml = package.read(name).decode()
                for attributes, cell in re.findall(r"<c ([^>]*[^/])>(.*?)</c>", xml, re.S):
                    stored = re.search(r"<v>([^<]*)", cell)
                    if 't="s"' in attributes and stored:
                        found.append(re.sub(r"<t[^>]*>", "", strings[int(stored[1])]))
                    else:
                        found.append(re.sub(r"<f.*?</f>|<[^>]*>", " ", cell))
    return unescape("\n".join(found))


def held_in_mail(content: bytes) -> str:
    """The texts of all parts that are not attached, alternatives too."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    found = [str(message.get(name) or "") for name in ("Subject", "From", "To", "Cc", "Date")]
    for part in message.walk():
        if part.get_content_maintype() == "text" and part.get_content_disposition() != "attachment":
            payload = part.get_payload(decode=True)
            content = payload if isinstance(payload, bytes) else b""
            found.append(
                held_in_page(content) if part.get_content_subtype() == "html" else content.decode("utf-8", "replace")
            )
    return "\n".join(found)


class _Data(HTMLParser):
    """All data but scripts and styles, and the attributes that a reader sees."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._within = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = tag
        given = dict(attrs)
        names = (
            ("alt", "placeholder") if given.get("type") in ("hidden", "checkbox") else ("alt", "placeholder", "value")
        )
        self.found += [f" {given[name]} " for name in names if given.get(name)]
        if tag not in ("b", "i", "em", "strong", "span", "a", "code", "font"):
            self.found.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within not in ("script", "style", "title"):
            self.found.append(data)


def held_in_page(content: bytes) -> str:
    declared = re.search(rb"charset=[\"']?([\w-]+)", content[:2048])
    encodings = ("utf-8", declared[1].decode() if declared else "utf-8", "utf-16", "latin-1")
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
        break
    parser = _Data()
    parser.feed(text)
    parser.close()
    return "".join(parser.found)


def held_in_pdf(path: Path) -> str:
    import pypdf

    try:
        reader = pypdf.PdfReader(path)
        texts = [page.extract_text() for page in reader.pages]
        texts += [str(field.get("/V", "")) for field in (reader.get_fields() or {}).values()]
    except Exception as error:  # the second library fails where it fails
        return f"({type(error).__name__})"
    return "\n".join(texts)


def held_in(path: Path) -> str:
    if path.suffix == ".docx":
        return held_in_word(path)
    if path.suffix in (".pptx", ".xlsx"):
        return held_in_slides(path) if path.suffix == ".pptx" else held_in_sheets(path)
    if path.suffix == ".eml":
        return held_in_mail(path.read_bytes())
    return held_in_pdf(path) if path.suffix == ".pdf" else held_in_page(path.read_bytes())


def words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text.replace("\u00ad", "").lower()))


def report(path: Path) -> tuple[int, int, str]:
    """Characters of words that are held and that are kept, and what the parser said."""
    answer = child.answer(ParseRequest(str(path), path.name, Limits()))
    try:
        held = words(held_in(path))
    except (zipfile.BadZipFile, KeyError):  # the dumb count fails where there is nothing to count
        held = Counter()
    kept = words(answer.text if isinstance(answer, Parsed) else "")
    missing = {word: count - kept[word] for word, count in held.items() if count > kept[word]}
    characters = sum(len(word) * count for word, count in held.items())
    lost = sum(len(word) * count for word, count in missing.items())
    assert isinstance(answer, Parsed | Refused)
    said = _describe(answer)
    shown = " ".join(list(missing)[:WORDS_SHOWN])
    return characters, characters - lost, f"{said}{'; missing: ' + shown if shown else ''}"


def _describe(answer: Parsed | Refused) -> str:
    """What the result itself says: by kind what is held and kept, and what is missing."""
    if isinstance(answer, Refused):
        return f"refused: {answer.code}: {answer.detail}"
    counts = ", ".join(f"{kind} {each.kept}/{each.held}" for kind, each in answer.counts.items())
    reason = answer.reason()
    return f"{counts}; partial: {reason['detail']}" if reason else counts


def files(names: list[str]) -> Iterator[Path]:
    for name in names:
        path = Path(name)
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (each for each in found if each.suffix in SUFFIXES)


def main() -> None:
    held = kept = 0
    for path in files(sys.argv[1:]):
        characters, of_these, said = report(path)
        held, kept = held + characters, kept + of_these
        print(f"{path.parent.name}/{path.name:24} {characters:>7} {of_these:>7}  {said}")
    print(f"{'all':40} {held:>7} {kept:>7}")


if __name__ == "__main__":
    main()
