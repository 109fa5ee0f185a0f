"""Front matter: what YAML, TOML or JSON says before a text begins.

Owns where it ends and that one broken line costs that line only. Values come as text, as they are written: a date stays
the characters that stand there. Refuses to know what keys mean. Next: `fields.py`.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any, Final

import msgspec
import yaml  # type: ignore[import-untyped]

LINES_MAX: Final = 200
"""Front matter is a few lines; a text that opens with `---` and never closes it must not be swallowed whole."""
CHARS_MAX: Final = 40_000
"""So is it a few pages at most: what is longer is read line by line, which takes no stack and little time."""
VALUES_MAX: Final = 2_000
"""Values that are taken of it. YAML can repeat one by its name without end."""

_KEY = re.compile(r"([^\W\d][\w .-]{0,60}?)[ \t]{0,8}:(?:\s+(.*)|$)")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_Loader: type[Any] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_VALUE_KEYS: Final = ("value", "current", "name", "state")
_NOTHING: Final = frozenset(
    (
        *("", "~", "null", "none", "n/a", "n.a", "na", "-", "--", "---", "–", "—", "[]", "{}", "tbd", "tba", "nil"),
        *(
            "not applicable",
            "nothing",
            "nobody",
            "not yet",
            "keine",
            "keiner",
            "keines",
            "nichts",
            "entfällt",
            "entfallt",
        ),
        *("nicht zutreffend", "aucun", "aucune", "néant", "neant", "rien", "sans objet", "ninguno", "ninguna", "nada"),
        *("no aplica", "nenhum", "nenhuma", "não se aplica", "nao se aplica", "nessuno", "nessuna", "niente"),
        *(
            "non applicabile",
            "geen",
            "n.v.t",
            "nvt",
            "niets",
            "brak",
            "nie dotyczy",
            "żaden",
            "zaden",
            "нет",
            "niemand",
        ),
        *("personne", "nadie", "ninguém", "ninguem", "nikt", "никто", "никем", "ничем", "nic", "no one", "no adr"),
        *("не применимо", "无", "無", "不适用", "不適用", "没有", "なし", "該当なし", "未定"),
    )
)


class FrontMatter(msgspec.Struct, frozen=True):
    """`values` by key, as `normalise_key` writes keys. `relations` are the maps in lists, with the list's key as
    `list`. `lines` is how many it takes, `places` where each key stands."""

    values: Mapping[str, tuple[str, ...]] = {}
    relations: tuple[Mapping[str, str], ...] = ()
    lines: int = 0
    places: Mapping[str, int] = {}
    unclosed: bool = False
    broken: bool = False


def read_front_matter(lines: Sequence[str]) -> FrontMatter:
    """Read what stands before the text in `lines`."""
    start = next((index for index, line in enumerate(lines[:LINES_MAX]) if line.strip()), 0)
    opening = lines[start].rstrip() if lines else ""
    if opening.startswith("{"):
        return _json(lines, start)
    if opening not in ("---", "+++", ";;;"):
        return FrontMatter()
    closings = ("---", "...") if opening == "---" else (opening,)
    for index in range(start + 1, min(len(lines), LINES_MAX)):
        if lines[index].rstrip() in closings:
            inner = [*lines[start + 1 : index]]
            read = _yaml(inner) if opening == "---" else _toml(inner) if opening == "+++" else _read_fenced_json(inner)
            return msgspec.structs.replace(
                read, lines=index + 1, places={key: at + start + 1 for key, at in read.places.items()}
            )
    following = lines[start + 1] if len(lines) > start + 1 else ""
    return FrontMatter(unclosed=bool(_KEY.match(following) or (opening == "+++" and "=" in following)))


def normalise_key(key: str) -> str:
    """Write a key in one way, however its author set the words apart: "superseded-by"."""
    return re.sub(r"[\s_-]+", "-", _HUMP.sub("-", key.strip())).casefold()


def is_nothing(value: str) -> bool:
    """Whether a value says that there is none."""
    return value.strip().strip("\"'").casefold() in _NOTHING


# ------------------------------------------------------------------------------------------------------ three syntaxes


def _yaml(lines: Sequence[str]) -> FrontMatter:
    text = "\n".join(lines)
    places = _places(lines, ":")
    if len(text) <= CHARS_MAX:
        try:
            loaded = yaml.load(text, Loader=_Loader)  # noqa: S506 - the base loader makes strings, lists and maps
            if isinstance(loaded, dict):
                return _flatten(loaded, places)
            if loaded is None:
                return FrontMatter()
        except (yaml.YAMLError, RecursionError, ValueError, TypeError):
            pass
    return msgspec.structs.replace(_by_key(lines, places), broken=True)


def _by_key(lines: Sequence[str], places: Mapping[str, int]) -> FrontMatter:
    """Each key for itself: what is no YAML is taken as it stands."""
    loaded: dict[str, Any] = {}
    starts = sorted(places.values())
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=False):
        part = "\n".join(lines[start:end])
        pair = _KEY.match(lines[start])
        if pair is None:
            continue
        value: Any = None
        if len(part) <= CHARS_MAX:
            try:
                value = yaml.load(part, Loader=_Loader)  # noqa: S506 - as above
            except (yaml.YAMLError, RecursionError, ValueError, TypeError):
                value = None
        if isinstance(value, dict):
            loaded |= value
        else:
            loaded[pair[1]] = unquote(pair[2] or "")
    return _flatten(loaded, places)


def _toml(lines: Sequence[str]) -> FrontMatter:
    places = _places(lines, "=")
    try:
        return _flatten(tomllib.loads("\n".join(lines)), places)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        pairs = (line.partition("=") for line in lines if "=" in line)
        loose = {key.strip(): unquote(value) for key, _, value in pairs}
        return msgspec.structs.replace(_flatten(loose, places), broken=True)


def _json(lines: Sequence[str], start: int) -> FrontMatter:
    head = "\n".join(lines[start : start + LINES_MAX])[:CHARS_MAX]
    try:
        loaded, end = json.JSONDecoder().raw_decode(head)
    except (ValueError, RecursionError):
        closing = re.search(r"\n\}[ \t]*(?=\n|$)", head)
        loaded, end = (_read_loose_json(head[: closing.end()]), closing.end()) if closing else (None, 0)
    if not isinstance(loaded, dict) or not loaded or head[end : end + 1].strip():
        return FrontMatter()
    return msgspec.structs.replace(_flatten(loaded, {}), lines=start + head.count("\n", 0, end) + 1)


def _read_fenced_json(lines: Sequence[str]) -> FrontMatter:
    """JSON between marks of its own, with or without its braces."""
    text = "\n".join(lines)[:CHARS_MAX].strip()
    loaded = _read_loose_json(text if text.startswith("{") else f"{{{text}}}")
    return _flatten(loaded, _places(lines, ":")) if isinstance(loaded, dict) else FrontMatter(broken=True)


def _read_loose_json(text: str) -> Any:
    """JSON that may have a comma too many at an end; None when it is none."""
    for written in (text, re.sub(r",(?=\s*[}\]])", "", text)):
        try:
            return json.loads(written)
        except (ValueError, RecursionError):
            pass
    return None


def _places(lines: Sequence[str], sign: str) -> dict[str, int]:
    """Where keys of the first level stand."""
    found: dict[str, int] = {}
    for index, line in enumerate(lines):
        if sign in line[:80] and line[:1].strip() and line[0] not in "#-":
            found.setdefault(normalise_key(line.partition(sign)[0].strip("\"' ")), index)
    return found


# ------------------------------------------------------------------------------------------------------------- values


def _flatten(loaded: Mapping[Any, Any], places: Mapping[str, int]) -> FrontMatter:
    values: dict[str, tuple[str, ...]] = {}
    relations: list[Mapping[str, str]] = []
    for name, value in list(loaded.items())[:VALUES_MAX]:
        key = normalise_key(str(name))
        if isinstance(value, dict) and value and not any(value.values()):
            values[key] = (f"{{{', '.join(map(str, value))}}}",)  # `status: {proposed | accepted}`, a template's choice
        elif isinstance(value, dict):
            if (named := next((value[name] for name in _VALUE_KEYS if name in value), None)) is not None:
                values[key] = tuple(_texts(named, relations, key))  # `status: {value: accepted, date: …}`
            for inner, held in list(value.items())[:VALUES_MAX]:
                if isinstance(held, str | list):  # `links: {supersedes: [...]}`
                    values.setdefault(normalise_key(str(inner)), tuple(_texts(held, relations, key)))
        else:
            values[key] = tuple(_texts(value, relations, key))
    return FrontMatter(values, tuple(relations), places=places)


def _texts(value: Any, relations: list[Mapping[str, str]], key: str) -> Iterator[str]:
    items = value if isinstance(value, list) else [value]
    for item in items[:VALUES_MAX]:
        if isinstance(item, dict):
            fields = {normalise_key(str(name)): _scalar(held) for name, held in list(item.items())[:20]}
            relations.append(fields | {"list": key})
            if name := fields.get("name"):
                yield name
        elif isinstance(item, list):
            yield from filter(None, (_scalar(held) for held in item[:VALUES_MAX]))
        elif text := _scalar(item):
            yield text


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, list | dict):
        return ""
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return str(value).strip()


def unquote(value: str) -> str:
    """A scalar without its quotes, or without the comment that follows it."""
    value = value.strip()
    if len(value) > 1 and value[0] in "\"'":
        closing = value.find(value[0], 1)
        return value[1:closing] if closing > 0 else value[1:]
    return value.split(" #", 1)[0].rstrip()
