"""The words of the code, where a machine can judge them: names of classes, verbs for functions, whole sentences."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

from tests.docs.markdown import ROOT, tracked

ROOMS = ("adriatic", "api", "connectors", "dataflows", "runtime", "schemas", "streams", "topics")
SOURCES = [name for room in ROOMS for name in tracked(f"{room}/*.py")]
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


def is_participle(name: str) -> bool:
    """Whether the first word of a function's name is a participle, whose subject must be guessed."""
    plain = name.strip("_")
    if plain.startswith(PREDICATES) or name.startswith("__"):
        return False
    word = plain.split("_", 1)[0]
    return word in IRREGULAR or (word.endswith(("ed", "ing")) and word not in NO_PARTICIPLES)


@cache
def tree(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"))


def participles(module: ast.Module) -> Iterator[str]:
    """Functions and methods that are named by a participle. Properties are values, and may be."""
    for node in ast.walk(module):
        if isinstance(node, Function) and is_participle(node.name):
            decorators = [ast.unparse(one) for one in node.decorator_list]
            if not any(one.endswith("property") or COMMAND.search(one) for one in decorators):
                yield node.name


def docstrings(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Name and text of each docstring, those of constants and fields too."""
    for node in ast.walk(module):
        if isinstance(node, Definition):
            if text := ast.get_docstring(node):
                yield getattr(node, "name", "module"), text
            for before, after in zip(node.body, node.body[1:], strict=False):
                if isinstance(before, ast.Assign | ast.AnnAssign) and isinstance(after, ast.Expr):
                    value = after.value
                    if isinstance(value, ast.Constant) and isinstance(value.value, str):
                        target = before.targets[0] if isinstance(before, ast.Assign) else before.target
                        yield ast.unparse(target), value.value


def homonyms() -> dict[str, list[str]]:
    places = defaultdict(list)
    for name in SOURCES:
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name)
    return {name: where for name, where in places.items() if len(where) > 1}


def test_a_class_has_a_name_of_its_own() -> None:
    assert homonyms() == {}


def test_a_function_is_a_verb() -> None:
    assert [f"{name}: {function}" for name in SOURCES for function in participles(tree(name))] == []


def test_a_docstring_begins_at_the_beginning_of_a_sentence() -> None:
    found = [f"{name}: {text}" for name in SOURCES for _, text in docstrings(tree(name)) if MIDDLE.match(text)]
    assert found == []


def test_what_should_be_found_is_found() -> None:
    module = ast.parse(
        '"""Of a thing."""\nLIMIT = 1\n"""So long may it be."""\ndef mapped(): ...\ndef map_error(): ...'
    )
    assert list(participles(module)) == ["mapped"]
    assert [where for where, text in docstrings(module) if MIDDLE.match(text)] == ["module", "LIMIT"]
    assert not is_participle("embed_one")
    assert not is_participle("has_passed")
