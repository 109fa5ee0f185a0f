"""The words of the code, where a machine can judge them: names of classes, verbs for functions, whole sentences."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

from tests.docs.code import SOURCES, docstrings, parse
from tests.docs.markdown import ROOT, tracked

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef | ast.Module

NO_PARTICIPLES = {"bring", "embed", "exceed", "feed", "heading", "meaning", "need", "ping", "proceed", "seed", "string"}
IRREGULAR = {
    "begun", "born", "bought", "bound", "broken", "brought", "built", "caught", "chosen", "done", "drawn", "driven",
    "found", "forgotten", "frozen", "given", "gone", "grown", "held", "hidden", "kept", "known", "laid", "led", "left",
    "lost", "made", "meant", "met", "paid", "said", "seen", "sent", "shown", "sold", "spent", "spoken", "taken",
    "taught", "thought", "thrown", "told", "understood", "withdrawn", "without", "worn", "written",
}  # fmt: skip
PREDICATES = ("is_", "has_", "may_", "can_", "must_", "needs_")
COMMAND = re.compile(r"\.(?:command|group)\(")
"""The name of a click function is the name of a command."""
MIDDLE = re.compile(
    r"^(?:Of|Whose|Whom|So (?:long|many|much|far|big|often|old)|By|With|Without|To|Into|Onto|Than|And|But|Or|"
    r"Since|Beside|Among|Besides|Upon|Between|Beyond|Within|Until|From|For|As|At|In|On|After|Before|Over|Up|Under)\b"
)
"""What begins so has neither subject nor verb in front: the reader has to hold it until they come."""

WORDS_OF_OTHERS = {"Place", "Lane", "Look", "Mark", "Stretch", "Seen", "Tailed"}
"""The field says topic partition, partition, poll, watermark, range, observation, record."""
ROOMS_MIN = 3
"""A class that so many rooms use is a word of all of them, and stands in the glossary."""
HEAD = re.compile(r"^\*\*(.+?)\.\*\*", re.MULTILINE)


def is_participle(name: str) -> bool:
    """Whether the first word of a function's name is a participle, whose subject must be guessed."""
    plain = name.strip("_")
    if plain.startswith(PREDICATES) or name.startswith("__"):
        return False
    word = plain.split("_", 1)[0]
    return word in IRREGULAR or (word.endswith(("ed", "ing")) and word not in NO_PARTICIPLES)


def participles(module: ast.Module) -> Iterator[str]:
    """Functions and methods that are named by a participle. Properties are values, and may be."""
    for node in ast.walk(module):
        if isinstance(node, Function) and is_participle(node.name):
            decorators = [ast.unparse(one) for one in node.decorator_list]
            if not any(one.endswith("property") or COMMAND.search(one) for one in decorators):
                yield node.name


def homonyms() -> dict[str, list[str]]:
    places = defaultdict(list)
    for name in SOURCES:
        for node in ast.walk(parse(name)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name)
    return {name: where for name, where in places.items() if len(where) > 1}


def test_a_class_has_a_name_of_its_own() -> None:
    assert homonyms() == {}


def shared_classes() -> dict[str, set[str]]:
    """Public classes that several rooms use, and which; errors and settings have references of their own."""
    rooms: defaultdict[str, set[str]] = defaultdict(set)
    owners: dict[tuple[str, str], str] = {}
    for name in SOURCES:
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for node in parse(name).body:
            if isinstance(node, ast.ClassDef) and name not in ("runtime/errors.py", "runtime/settings.py"):
                owners[module, node.name] = name.split("/")[0]
    for name in SOURCES:
        for found in ast.walk(parse(name)):
            if isinstance(found, ast.ImportFrom):
                for alias in found.names:
                    if owner := owners.get((found.module or "", alias.name)):
                        rooms[alias.name] |= {owner, name.split("/")[0]}
    return {name: where for name, where in rooms.items() if len(where) >= ROOMS_MIN}


def words_of(name: str) -> set[str]:
    """The words of a class's name, in the singular."""
    return {word.lower().removesuffix("s") for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", name)}


def test_a_class_that_many_rooms_use_is_in_the_glossary() -> None:
    heads = HEAD.findall((ROOT / "docs/glossary.md").read_text(encoding="utf-8"))
    known = {word.lower().removesuffix("s") for head in heads for word in re.findall(r"\w+", head)}
    assert len(shared_classes()) > 10
    assert {name for name in shared_classes() if not words_of(name) & known} == set()


def test_a_class_has_the_word_of_the_field() -> None:
    classes = {node.name for name in SOURCES for node in ast.walk(parse(name)) if isinstance(node, ast.ClassDef)}
    assert classes & WORDS_OF_OTHERS == set()


def test_a_function_is_a_verb() -> None:
    assert [f"{name}: {function}" for name in SOURCES for function in participles(parse(name))] == []


def test_a_docstring_begins_at_the_beginning_of_a_sentence() -> None:
    found = [f"{name}: {text}" for name in SOURCES for _, text in docstrings(parse(name)) if MIDDLE.match(text)]
    assert found == []


# --- what docstrings name -------------------------------------------------------------------------------------------

SPAN = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"[\w./-]+\.(?:py|md|sql|toml|avsc|js|html)")
DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?:\(\))?")
OUTSIDE = {"ServerSentEvent", "prometheus_client", "ps"}
"""Names of other programs, which nothing of ours imports under that name."""
EXAMPLES = {"0012-use-kafka.md", "adr-12.md", "adriatic.toml", "stack.toml"}
"""Files that users have, not the project."""


@cache
def known_words() -> frozenset[str]:
    """Every name and every word of a string in the code, the database's schema, the contracts and the page."""
    found: set[str] = set()
    for name in tracked("*.py"):
        for node in ast.walk(parse(name)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.arg | ast.keyword):
                found.add(node.arg or "")
            elif isinstance(node, ast.Name):
                found.add(node.id)
            elif isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.alias):
                found |= {*node.name.split("."), node.asname or ""}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "`" not in node.value:
                found |= set(re.findall(r"\w+", node.value))
    for name in tracked("schemas/*.sql", "schemas/*.avsc", "*.toml", "api/page/*.js", "api/page/*.html"):
        found |= set(re.findall(r"\w+", (ROOT / name).read_text(encoding="utf-8")))
    return frozenset(found)


@cache
def known_files() -> frozenset[str]:
    return frozenset(file for name in tracked() for file in (name, name.rsplit("/", 1)[-1]))


def unknown_names(text: str) -> Iterator[str]:
    """Files and names in the inline code of a docstring that are nowhere."""
    for span in SPAN.findall(text):
        if FILE.fullmatch(span):
            if span not in known_files() | EXAMPLES:
                yield span
        elif DOTTED.fullmatch(span) and not set(span.removesuffix("()").split(".")) <= known_words() | OUTSIDE:
            yield span


def test_what_a_docstring_names_is_there() -> None:
    found = {
        f"{name}: {unknown}"
        for name in SOURCES
        for _, text in docstrings(parse(name))
        if "`" in text
        for unknown in unknown_names(text)
    }
    assert found == set()


def test_what_should_be_found_is_found() -> None:
    module = ast.parse(
        '"""Of a thing."""\nLIMIT = 1\n"""So long may it be."""\ndef mapped(): ...\ndef map_error(): ...'
    )
    assert list(participles(module)) == ["mapped"]
    assert [where for where, text in docstrings(module) if MIDDLE.match(text)] == ["module", "LIMIT"]
    absent = "Kl" + "ock"
    assert list(unknown_names(f"`Clock` and `runtime/clock.py`, not `{absent}`, `{absent}.py`")) == [
        absent,
        f"{absent}.py",
    ]
    assert not is_participle("embed_one")
    assert not is_participle("has_passed")
