"""Controls of a DOCX that show a value of another part: a word processor fills them in when it opens the file.

Owns where such a value is, in the forms that programs write. What a control holds itself stays where there is none, and
where it is more than plain text, whose value may be shown in another form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lxml import etree

from connectors.parsers.names import name_of, value
from connectors.parsers.package import Package

_CORE = "{6C3C8BC8-F283-45AE-878A-BAB7291924A1}"
"""The properties of the document, as controls name them."""
_MAPPING = re.compile(r"xmlns:([\w.-]+)\s*=\s*(?:'([^']*)'|\"([^\"]*)\")")
_PATH = re.compile(r"(?:/[\w.-]+(?::[\w.-]+)?(?:\[\d{1,5}\])?){1,32}(?:/@[\w.:-]+)?")
"""Paths from the root by names and numbers, as programs write them: others could take any time."""
_SPACE = "{http://www.w3.org/XML/1998/namespace}space"


def fill_controls(package: Package, main: str, root: Any) -> None:
    """Put the values of other parts into the controls of a part."""
    controls = [(each, _find_binding(each)) for each in root.iter() if name_of(each) == "w:sdt"]
    bound = [(control, binding) for control, binding in controls if binding is not None]
    stores = dict(_stores(package, main)) if bound else {}
    for control, binding in bound:
        store = stores.get((value(binding, "storeItemID") or "").upper())
        text = _find(store, binding) if store is not None else ""
        leaves = [each for each in control.iter() if name_of(each) == "w:t"]
        if text and leaves and text != "".join(each.text or "" for each in leaves):
            for each in leaves:
                each.text = ""
            leaves[0].text = text
            leaves[0].set(_SPACE, "preserve")


def _find_binding(control: Any) -> Any:
    for properties in control:
        if name_of(properties) == "w:sdtPr":
            inner = {name_of(each): each for each in properties}
            return inner.get("w:dataBinding") if "w:text" in inner else None
    return None


def _stores(package: Package, main: str) -> Iterator[tuple[str, Any]]:
    """The parts with values, by the names that controls have for them. Damaged ones are none."""
    for each in package.relationships("").values():
        if each.kind == "core-properties" and (root := _tree(package, each.target)) is not None:
            yield _CORE, root
    for each in package.relationships(main).values():
        if each.kind != "customXml" or each.external or (root := _tree(package, each.target)) is None:
            continue
        for about in package.relationships(each.target).values():
            properties = _tree(package, about.target) if about.kind == "customXmlProps" else None
            if properties is not None:
                yield (value(properties, "itemID") or "").upper(), root


def _tree(package: Package, part: str) -> Any:
    try:
        return package.tree(part) if package.has(part) else None
    except etree.XMLSyntaxError:
        return None


def _find(store: Any, binding: Any) -> str:
    path = value(binding, "xpath") or ""
    mappings = {name: one or other for name, one, other in _MAPPING.findall(value(binding, "prefixMappings") or "")}
    if not _PATH.fullmatch(path):
        return ""
    try:
        found = store.getroottree().xpath(path, namespaces={name: uri for name, uri in mappings.items() if uri})
    except etree.XPathError:
        return ""
    first = found[0] if isinstance(found, list) and found else ""
    return str(first if isinstance(first, str) else "".join(first.itertext()))
