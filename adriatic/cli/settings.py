"""`adriatic settings`: every setting, with its value, where that came from, its default and its meaning.

Also owns the text of `docs/reference/settings.md` (`adriatic.cli.reference` writes the file). Refuses to show a secret:
it says only whether one is set.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any, get_args

import click
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from adriatic.cli.output import json_option, show
from runtime.settings import ENV_PREFIX, Settings, load, sources, unknown_variables
from runtime.settings import check as require_faultless

MASK = "********"
MEANING_WIDTH = 96
"""Columns that a meaning is folded at, in characters: fits a terminal of 110 with its indent."""


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting. `value` and `default` are as printed: a secret is masked, or empty when it is not set."""

    name: str
    variable: str
    value: str
    default: str
    source: str
    meaning: str


@click.command()
@json_option("Print one JSON object a setting, in a list.")
@click.option("--check", is_flag=True, help="Print nothing but faults; end with 1 when there are any.")
@click.option("--markdown", is_flag=True, help="Print the reference page: names, defaults and meanings, no values.")
@click.argument("only", required=False, metavar="[NAME]")
def settings(as_json: bool, check: bool, markdown: bool, only: str | None) -> None:
    """Print every setting: value, where it came from, default, meaning. NAME limits it to names that start so.

    \b
    A setting comes from the first of these that names it:
      the environment       ADRIATIC_KAFKA__BOOTSTRAP_SERVERS=broker:9092
      adriatic.toml         [kafka]
                            bootstrap_servers = "broker:9092"
      .adriatic/stack.toml  what the embedded stack recorded
      the default
    """
    if markdown:
        click.echo(reference(), nl=False)
        return
    if check:
        require_faultless()
        click.echo("settings: no faults", err=True)
        return
    values = load()
    rows = [row for row in describe(values) if row.name.startswith(only or "")]
    show(as_json, json.dumps([asdict(row) for row in rows], indent=2), ["\n".join(_lines(rows))])
    for name in unknown_variables():
        click.echo(f"{name}: no such setting, ignored", err=True)


def describe(values: Settings) -> list[SettingRow]:
    """Every setting of `values`, in the order of the sections."""
    said = sources()
    return [
        SettingRow(
            name=".".join(path),
            variable=variable(path),
            value=_show(attrgetter(".".join(path))(values)),
            default=_show(field.get_default(call_default_factory=True)),
            source=next((label for label, nested in said if _says(nested, path)), "default"),
            meaning=_meaning(field),
        )
        for path, field in fields()
    ]


def fields() -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Every setting as (path, field)."""
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from (((name, inner), info) for inner, info in section.model_fields.items())
        else:
            yield (name,), field


def variable(path: tuple[str, ...]) -> str:
    """The environment variable of a setting."""
    return ENV_PREFIX + "__".join(path).upper()


def reference() -> str:
    """The page `docs/reference/settings.md`."""
    lines = [
        "# Settings",
        "",
        "A setting comes from the first source that names it: the environment, `adriatic.toml` beside the state",
        "directory, `stack.toml` in it (what the embedded stack recorded), the default. All faults are reported",
        "together. `adriatic settings` prints the values in force and where each came from. Secrets are masked.",
    ]
    section = None
    for path, field in fields():
        if (here := path[0] if len(path) > 1 else "") != section:
            section = here
            lines += ["", f"## {section}" if section else "## General", ""]
            model = Settings.model_fields[section].annotation if section else None
            lines += [" ".join((model.__doc__ or "").split()), ""] if model else []
            lines += ["| setting | environment | default | meaning |", "|---|---|---|---|"]
        default = _show(field.get_default(call_default_factory=True))
        shown = f"`{default}`" if default else ""
        meaning = _meaning(field).replace("|", "\\|")
        lines.append(f"| `{'.'.join(path)}` | `{variable(path)}` | {shown} | {meaning} |")
    for path, field in fields():
        lines += _describe_entries(".".join(path), field)
    return "\n".join(lines) + "\n"


def _describe_entries(name: str, field: FieldInfo) -> Iterator[str]:
    """The entries of each table, where a setting is a list of tables; then those of the tables in it."""
    entry = next((each for each in get_args(field.annotation) if isinstance(each, type)), None)
    if entry is None or not issubclass(entry, BaseModel):
        return
    yield from ("", f"## `[[{name}]]`", "", " ".join((entry.__doc__ or "").split()), "")
    yield from ("| entry | default | meaning |", "|---|---|---|")
    for inner, info in entry.model_fields.items():
        default = "" if info.is_required() else _show(info.get_default(call_default_factory=True))
        shown = "required" if info.is_required() else f"`{default}`" if default and default != "()" else ""
        yield f"| `{inner}` | {shown} | {_meaning(info)} |"
    for inner, info in entry.model_fields.items():
        yield from _describe_entries(f"{name}.{inner}", info)


def _meaning(field: FieldInfo) -> str:
    """What the field says of itself, and its range."""
    low = high = ""
    for each in field.metadata:
        low = f"{each.ge:g}" if hasattr(each, "ge") else "above 0" if hasattr(each, "gt") else low
        high = f"{each.le}" if hasattr(each, "le") else high
    return f"{field.description or ''}{f' From {low} to {high}.' if low and high else ''}"


def _says(nested: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    found: Any = nested
    for name in path:
        if not isinstance(found, Mapping) or name not in found:
            return False
        found = found[name]
    return True


def _show(value: Any) -> str:
    match value:
        case SecretStr():
            return MASK if value.get_secret_value() else ""
        case Mapping():
            return ", ".join(f"{key}={_show(inner)}" for key, inner in value.items())
        case None:
            return ""
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def _lines(rows: list[SettingRow]) -> Iterator[str]:
    for row in rows:
        yield f"{click.style(row.name, bold=True)} = {row.value or '(not set)'}   [{row.source}]"
        yield from textwrap.wrap(row.meaning, MEANING_WIDTH, initial_indent="    ", subsequent_indent="    ")
        if row.source != "default":
            yield f"    default: {row.default or '(not set)'}"
