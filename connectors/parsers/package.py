"""The parts of an Office file: names, relationships, trees.

Owns how a package is put together, and what family of documents it is, by the rules that writers really keep: names in
any case, relationships in either of the two namespaces, a main part of any name. Refuses document types and entities in
its XML, which no writer makes, and what is larger than the bounds.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple
from urllib.parse import unquote

from lxml import etree

from connectors.parsers import Limits, Refusal

PARTS_MAX = 10_000
"""A long document with a picture on each page has a thousand."""
SMALL_BYTES_MAX = 1_048_576
"""A list of relationships or of types: larger ones are not those of a document."""

Family = Literal["wordprocessingml", "presentationml", "spreadsheetml"]
"""What a package is, by the word in the namespace of its main part."""

_USUAL_NAMES: Mapping[Family, str] = {
    "wordprocessingml": "word/document.xml",
    "presentationml": "ppt/presentation.xml",
    "spreadsheetml": "xl/workbook.xml",
}
_NAMESPACE = re.compile(rb"http://(?:schemas\.openxmlformats\.org|purl\.oclc\.org/ooxml)/(\w+ml)/(?:2006/)?main")


class Relationship(NamedTuple):
    """`kind` is the last word of its type, which both namespaces have in common."""

    kind: str
    target: str
    external: bool


class Package:
    """An open archive. Raises `Refusal` for what is broken, encrypted or a trap."""

    def __init__(self, file: Path | IO[bytes], limits: Limits) -> None:
        try:
            self._archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            raise Refusal("broken", "it begins like a ZIP archive, and is none") from None
        parts = self._archive.infolist()
        self._names = {_normal(part.filename): part for part in parts}
        self.encrypted = any(part.flag_bits & 1 for part in parts)
        self._check(parts, limits)

    @staticmethod
    def _check(parts: list[zipfile.ZipInfo], limits: Limits) -> None:
        """The sizes in its list are held against the bound; reading stops where one that lies says that it ends."""
        if len(parts) > PARTS_MAX:
            raise Refusal("zip-bomb", f"it has {len(parts)} parts, at most {PARTS_MAX}")
        if (unpacked := sum(part.file_size for part in parts)) > limits.unpacked_bytes_max:
            raise Refusal("zip-bomb", f"it has {unpacked} bytes unpacked, at most {limits.unpacked_bytes_max}")

    def close(self) -> None:
        self._archive.close()

    def has(self, name: str) -> bool:
        return _normal(name) in self._names

    def read(self, name: str) -> bytes:
        return self._archive.read(self._names[_normal(name)])

    def tree(self, name: str) -> Any:
        """The root of a part. Raises what lxml raises, and `Refusal`."""
        parser = etree.XMLParser(
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=True,
            remove_comments=True,
            remove_pis=True,
        )
        root = etree.fromstring(self.read(name), parser=parser)
        if root.getroottree().docinfo.doctype:
            raise Refusal("broken", "one of its parts has a document type, which none may have")
        return root

    def tree_or_none(self, name: str) -> Any:
        """The root of a part; None of one that is damaged."""
        try:
            return self.tree(name)
        except etree.XMLSyntaxError:
            return None

    def relationships(self, part: str) -> Mapping[str, Relationship]:
        """What a part refers to, by id. Those of the package itself are those of ''."""
        folder, name = posixpath.split(part)
        listed = posixpath.join(folder, "_rels", f"{name}.rels")
        if not self.has(listed) or self._names[_normal(listed)].file_size > SMALL_BYTES_MAX:
            return {}
        found: dict[str, Relationship] = {}
        for each in self.tree(listed):
            kind = (each.get("Type") or "").rpartition("/")[2]
            target, external = each.get("Target") or "", each.get("TargetMode") == "External"
            if not external:
                target = unquote(target.replace("\\", "/"))
                target = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
            found[each.get("Id") or ""] = Relationship(kind, target, external)
        return found

    def main_part(self, family: Family = "wordprocessingml") -> str | None:
        """The part that is the document; None when this is none of the family."""
        try:
            named = [each.target for each in self.relationships("").values() if each.kind == "officeDocument"]
        except etree.XMLSyntaxError:
            named = []
        usual = _USUAL_NAMES[family]
        for name in (*named, usual):
            if self.has(name) and (name == usual or self._is_of(name, family)):
                return name
        return None

    def _is_of(self, name: str, family: Family) -> bool:
        """The namespace of its elements says so, which stands in its first bytes."""
        with self._archive.open(self._names[_normal(name)]) as part:
            head = part.read(SMALL_BYTES_MAX)
        found = _NAMESPACE.search(head.replace(b"\0", b""))
        return found is not None and found[1].decode() == family

    def repack(self, changed: Mapping[str, bytes]) -> bytes:
        """The whole package with other parts in the place of some."""
        replaced = {_normal(name): content for name, content in changed.items()}
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, part in self._names.items():
                archive.writestr(part.filename, replaced[name] if name in replaced else self._archive.read(part))
        return out.getvalue()


def relation_of(element: Any) -> str:
    """The id of what an element refers to. Its own id has the same name, in no namespace."""
    return next((str(text) for key, text in element.attrib.items() if key.endswith("}id")), "")


def _normal(name: str) -> str:
    return name.replace("\\", "/").lstrip("/").lower()
