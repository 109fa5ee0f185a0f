"""Every SQL statement of the code, found in its syntax tree.

A statement is a string that is given to a driver (directly, by the name of a constant, or through a function that
hands its parameter on), or that begins as only SQL does. What is given to a driver and cannot be followed is a
`Loose`: `test_sql.py` has a list of them with a reason each. Owns the finding; judges nothing.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from tests.docs.qualified import aliases, qualify

METHODS: Final = frozenset(("execute", "executemany", "fetch", "fetchrow", "fetchval", "copy"))
"""Methods of both drivers whose first argument is a statement, whatever the code calls that which has them."""
ALONE: Final = frozenset(("prepare", "cursor"))
"""Methods of asyncpg that take a statement as their one argument: ours of the first name take two, psycopg's of the
second take only keywords."""
KEYWORDS: Final = frozenset(("query", "command"))
"""What the drivers call that argument."""
NO_DRIVERS: Final[Mapping[tuple[str, str], str]] = {
    ("api/app.py", "remote.fetch"): "keys over HTTP",
    ("api/live/rows.py", "statement.fetch"): "a statement that is prepared takes its arguments alone",
}
"""Calls of such a name that take no statement, by file and function: why it is so."""
STARTS: Final = re.compile(
    r"\s*\(?\s*(?:select\s|select$|insert\s+into\s|update\s+[\w.]+(?:\s+(?:as\s+)?\w+)?\s+set\s|delete\s+from\s"
    r"|with\s+(?:recursive\s+)?\w+(?:\s*\([\w, ]+\))?\s+as\s|values\s*\(|merge\s+into\s|copy\s*\("
    r"|copy\s+[\w.]+\s+(?:to|from)\s"
    r"|create\s+(?:table|index|database|role|publication|schema|extension)\s|alter\s+(?:table|role|database|system)\s"
    r"|grant\s+\w+.*\sto\s|truncate\s|set\s+(?:local|session|transaction)\s|lock\s+table\s|declare\s+\w+.*cursor)",
    re.IGNORECASE | re.DOTALL,
)
"""What no sentence of ours begins with."""

How = Literal["one line", "triple quoted", "adjacent pieces", "f-string", "joined with +"]


@dataclass(frozen=True, slots=True)
class Statement:
    file: str
    line: int
    text: str
    how: How
    is_constant: bool
    """Whether it is in a constant of the module."""
    is_template: bool = False
    """Whether psycopg.sql puts names into it."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {' '.join(self.text.split())[:100]}"


@dataclass(frozen=True, slots=True)
class Loose:
    """Something that a driver is given and that is no string of the module."""

    file: str
    line: int
    code: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.code}"


@dataclass(frozen=True, slots=True)
class Taken:
    """The parameter that a function hands on as a statement."""

    place: int
    name: str


class Module:
    """One module, and what the names in it stand for."""

    def __init__(self, root: Path, file: str) -> None:
        self.root = root
        self.file = file
        self.path = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        self.source = (root / file).read_text(encoding="utf-8")
        self.tree = ast.parse(self.source)

    @cached_property
    def constants(self) -> dict[str, ast.expr]:
        found = {}
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                found[node.targets[0].id] = node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                found[node.target.id] = node.value
        return found

    @cached_property
    def imports(self) -> dict[str, str]:
        """Names that were imported, with their dotted path."""
        return aliases(self.tree)

    @cached_property
    def calls(self) -> list[ast.Call]:
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.Call)]

    @cached_property
    def handed_on(self) -> list[ast.Attribute]:
        """Methods of drivers that are not called where they stand, so that nothing says what they are given."""
        known = {call.func for call in self.calls}
        return [
            node
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Attribute) and node.attr in METHODS and node not in known
            if not self.is_ours(node) and (self.file, ast.unparse(node)) not in NO_DRIVERS
        ]

    @cached_property
    def defined(self) -> set[str]:
        return {node.name for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}

    def is_ours(self, function: ast.Attribute) -> bool:
        """Whether this is a function of a module of ours, or a method of the class around it: those are followed."""
        if not isinstance(function.value, ast.Name):
            return False
        if function.value.id in ("self", "cls"):
            return function.attr in self.defined
        module = self.imports.get(function.value.id, "").replace(".", "/")
        return bool(module) and ((self.root / f"{module}.py").is_file() or (self.root / module).is_dir())

    @cached_property
    def templates(self) -> set[ast.AST]:
        """What psycopg.sql puts names into."""
        return {
            call.args[0]
            for call in self.calls
            if call.args and isinstance(call.func, ast.Attribute) and call.func.attr == "SQL"
        }

    @cached_property
    def lines(self) -> list[str]:
        return self.source.split("\n")

    @cached_property
    def docstrings(self) -> set[ast.AST]:
        """Strings that are nothing but said: docstrings, of constants and fields too."""
        return {node.value for node in ast.walk(self.tree) if isinstance(node, ast.Expr)}

    @cached_property
    def functions(self) -> dict[ast.AST, list[ast.FunctionDef | ast.AsyncFunctionDef]]:
        """The functions around each node, the innermost last."""
        around: dict[ast.AST, list[ast.FunctionDef | ast.AsyncFunctionDef]] = {self.tree: []}
        todo: list[ast.AST] = [self.tree]
        while todo:
            node = todo.pop()
            inner = [*around[node], node] if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else around[node]
            for child in ast.iter_child_nodes(node):
                around[child] = inner
                todo.append(child)
        return around

    def statement(self, node: ast.expr) -> Statement:
        is_constant = not self.functions[node] and any(_is_in(node, value) for value in self.constants.values())
        text, how = written(node) or "", self._how(node)
        return Statement(self.file, node.lineno, text, how, is_constant, node in self.templates)

    def _how(self, node: ast.expr) -> How:
        if isinstance(node, ast.JoinedStr):
            return "f-string"
        if isinstance(node, ast.BinOp):
            return "joined with +"
        first = self.lines[node.lineno - 1].encode()
        if re.match(rb'[rR]?"""', first[node.col_offset :]):
            return "triple quoted"
        if node.lineno != node.end_lineno:
            return "adjacent pieces"
        code = first[node.col_offset : node.end_col_offset].decode()
        words = tokenize.generate_tokens(io.StringIO(code).readline)
        return "one line" if sum(word.type == tokenize.STRING for word in words) == 1 else "adjacent pieces"


def _is_in(node: ast.expr, whole: ast.expr) -> bool:
    return whole.lineno <= node.lineno and (node.end_lineno or 0) <= (whole.end_lineno or 0)


def written(node: ast.AST) -> str | None:
    """The text of a string, with {} for what an f-string or a sum has from elsewhere; None when it is no string."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(written(value) or "{}" for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = written(node.left), written(node.right)
        return None if left is None and right is None else (left or "{}") + (right or "{}")
    return None


def find(root: Path, files: list[str]) -> tuple[list[Statement], list[Loose]]:
    """Every statement of the files, each once, and what could not be followed."""
    modules = {file: Module(root, file) for file in files}
    wrappers: dict[str, Taken] = {}
    while True:
        handed, loose, found = _follow(modules, wrappers)
        if found.keys() <= wrappers.keys():
            break
        wrappers |= found
    for module in modules.values():
        handed |= {(module.file, node.lineno, node.col_offset): module.statement(node) for node in _by_look(module)}
    return sorted(handed.values(), key=lambda one: (one.file, one.line)), loose


def _by_look(module: Module) -> Iterator[ast.expr]:
    todo: list[ast.AST] = [module.tree]
    while todo:
        node = todo.pop()
        if node in module.docstrings:
            continue
        text = written(node)
        if text is None:
            todo += ast.iter_child_nodes(node)
        elif STARTS.match(text):
            assert isinstance(node, ast.expr)
            yield node


def _follow(
    modules: Mapping[str, Module], wrappers: Mapping[str, Taken]
) -> tuple[dict[tuple[str, int, int], Statement], list[Loose], dict[str, Taken]]:
    """Statements by place, what is loose, and functions that hand a parameter on as a statement, by dotted path."""
    handed: dict[tuple[str, int, int], Statement] = {}
    loose: list[Loose] = []
    found: dict[str, Taken] = {}
    for module in modules.values():
        loose += [Loose(module.file, node.lineno, ast.unparse(node)) for node in module.handed_on]
        for call in module.calls:
            argument = _statement_argument(module, call, wrappers)
            if argument is None:
                continue
            if wrapper := _parameter(module, call, argument):
                found |= wrapper
                continue
            for owner, node in _resolved(modules, module, argument):
                if node is None:
                    loose.append(Loose(module.file, call.lineno, ast.unparse(argument)))
                else:
                    handed[(owner.file, node.lineno, node.col_offset)] = owner.statement(node)
    return handed, loose, found


def _statement_argument(module: Module, call: ast.Call, wrappers: Mapping[str, Taken]) -> ast.expr | None:
    """The argument that is a statement, if this is a call of a driver or of what hands on to one."""
    function = call.func
    if isinstance(function, ast.Attribute):
        alone = function.attr in ALONE and len(call.args) <= 1
        if (function.attr in METHODS or alone) and not module.is_ours(function):
            is_driver = (module.file, ast.unparse(function)) not in NO_DRIVERS
            return _argument(call, 0, KEYWORDS) if is_driver else None
        own = isinstance(function.value, ast.Name) and function.value.id in ("self", "cls")
        path = f"{module.path}.{function.attr}" if own else qualify(function, module.imports)
    elif isinstance(function, ast.Name):
        path = module.imports.get(function.id, f"{module.path}.{function.id}")
    else:
        return None
    taken = wrappers.get(path)
    return _argument(call, taken.place, {taken.name}) if taken else None


def _argument(call: ast.Call, place: int, names: Set[str]) -> ast.expr | None:
    """What a call gives at a place, or by one of these names."""
    if place < len(call.args):
        return call.args[place]
    return next((keyword.value for keyword in call.keywords if keyword.arg in names), None)


def _parameter(module: Module, call: ast.Call, argument: ast.expr) -> dict[str, Taken]:
    """The function around a call that hands on its own parameter, with the place of that; else nothing."""
    argument = _without_encode(argument)
    if not isinstance(argument, ast.Name):
        return {}
    for function in reversed(module.functions[call]):
        parameters = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        names = [one.arg for one in parameters if one.arg not in ("self", "cls")]
        if argument.id in names:
            return {f"{module.path}.{function.name}": Taken(names.index(argument.id), argument.id)}
    return {}


def _resolved(
    modules: Mapping[str, Module], module: Module, node: ast.expr
) -> Iterator[tuple[Module, ast.expr | None]]:
    """What an argument stands for, wherever that is written; None for what cannot be followed."""
    node = _without_encode(node)
    if written(node) is not None:
        yield module, node
    elif isinstance(node, ast.Subscript):
        yield from _resolved(modules, module, node.value)
    elif isinstance(node, ast.IfExp | ast.Dict | ast.Tuple):
        branches = [node.body, node.orelse] if isinstance(node, ast.IfExp) else None
        for branch in branches or (node.values if isinstance(node, ast.Dict) else getattr(node, "elts", [])):
            yield from _resolved(modules, module, branch)
    elif isinstance(node, ast.Name) and node.id in module.constants:
        yield from _resolved(modules, module, module.constants[node.id])
    else:
        path = qualify(node, module.imports)
        owner, _, name = path.rpartition(".")
        other = modules.get(owner.replace(".", "/") + ".py")
        if other is not None and name in other.constants:
            yield from _resolved(modules, other, other.constants[name])
        else:
            yield module, None


def _without_encode(node: ast.expr) -> ast.expr:
    """A statement as bytes is a statement."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "encode":
        return node.func.value
    return node
