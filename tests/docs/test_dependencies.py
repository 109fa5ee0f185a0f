"""Every dependency has its reason in decision 0010, and every reason a dependency."""

from __future__ import annotations

import re
import tomllib

from tests.docs.markdown import ROOT

PAGE = "docs/decisions/0010-dependencies.md"
ROW = re.compile(r"^\| `(?P<name>[A-Za-z0-9._-]+)` \| (?P<why>[^|]+) \|", re.MULTILINE)


def declared(*, groups: bool = True) -> set[str]:
    """Names of the product's dependencies, and of those of its `groups` for development."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [
        *project["project"]["dependencies"],
        *(one for extra in project["project"].get("optional-dependencies", {}).values() for one in extra),
        *(one for group in project["dependency-groups"].values() for one in group if groups),
    ]
    names = (re.match(r"[A-Za-z0-9._-]+", one) for one in wanted)
    return {name.group().lower() for name in names if name}


def explained() -> dict[str, str]:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    return {match["name"].lower(): match["why"].strip() for match in ROW.finditer(text)}


def test_every_dependency_has_a_reason_and_every_reason_a_dependency() -> None:
    assert set(explained()) == declared()


def test_a_dependency_has_one_line() -> None:
    names = [match["name"] for match in ROW.finditer((ROOT / PAGE).read_text(encoding="utf-8"))]
    assert len(names) == len(set(names))


def test_a_reason_says_something() -> None:
    assert [name for name, why in explained().items() if len(why) < 5] == []
