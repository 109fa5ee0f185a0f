"""What the added lines of a change use: packages, images, addresses, names of code, and what prose adopts. Pure.

Owns how each kind of file says so. A comment uses nothing, a sentence that denies or only imagines uses nothing, and a
decision record tells of what it refuses, so it is read for nothing here. Refuses to judge: `breaking` compares this
with what decisions refuse.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from api.guard.change import AddedLine, Change
from api.guard.limits import SetNumber, read_numbers
from api.guard.stances import key_of
from api.research.sentences import split_sentences
from api.research.words import find_words

UseKind = Literal["dependency", "import", "service", "call", "prose"]
"""How a name is used: declared as a dependency or installed, imported, run or addressed as a service, named in code,
adopted by a sentence."""

LINE_CHARS_MAX: Final = 1_000
"""Characters of a line that are read. What is longer was not written by a person."""
USES_MAX: Final = 2_000
"""Uses of one change at most."""

_MANIFEST: Final = re.compile(
    r"(?:^|/)(?:pyproject\.toml|requirements[\w.-]*\.(?:txt|in)|setup\.(?:py|cfg)|pipfile|environment\.ya?ml|package\.json|"
    r"go\.mod|cargo\.toml|gemfile|pom\.xml|build\.gradle(?:\.kts)?|composer\.json|[\w.-]+\.csproj|mix\.exs)$",
    re.IGNORECASE,
)
_PROSE_FILE: Final = re.compile(r"\.(?:md|markdown|rst|adoc|txt|html?)$", re.IGNORECASE)
_RECORD_FILE: Final = re.compile(
    r"(?:^|/)(?:adrs?|decisions|decision-records|rfcs?)/[^/]+$|(?:^|/)\d{3,4}-[\w-]+\.(?:md|adoc|rst)$"
)
_LOCK_FILE: Final = re.compile(r"(?:^|/)(?:[\w.-]*\.lock|[\w-]*-lock\.(?:json|ya?ml)|go\.sum)$", re.IGNORECASE)
"""What a tool resolved: nobody chose the names there."""
_TRIAL_FILE: Final = re.compile(
    r"(?:^|/)(?:tests?|specs?|bench|benchmarks|examples|fixtures)/|(?:^|/)test_|[._-](?:test|spec)\."
)
"""Where numbers and names of code are tried: they decide nothing."""
_SQL_FILE: Final = re.compile(r"\.(?:p?sql|ddl)$", re.IGNORECASE)
_COMMENT: Final = re.compile(r"^\s*(?:#|//|/\*|\*\s|--\s|<!--|;;|%)")
_TRAILING: Final = re.compile(r"\s(?:#|//|--)\s.*$")

_QUOTED: Final = re.compile(r"[\"'](?P<name>@?[A-Za-z][\w.+/@-]{1,80}?)(?:\[[^\]]{0,60}\])?\s*(?:[\"']|[<>=!~^]=?|@|;)")
_PLAIN: Final = re.compile(
    r"^\s*(?:-\s+)?(?P<name>[A-Za-z][\w.+-]{1,80})(?:\[[^\]]{0,60}\])?\s*(?:[<>=!~]=|[<>=@]|;|\\?$)"
)
_TAGGED: Final = re.compile(r"<(?:artifactId|groupId)>\s*(?P<name>[\w.-]+)|Include=\"(?P<net>[\w.-]+)\"")
_PATHED: Final = re.compile(r"(?:^|[\s\"'(])(?P<name>(?:[\w-]+\.)+[a-z]{2,6}(?:/[\w.-]+)+)")
_COORDINATE: Final = re.compile(r"[\"'](?P<name>[a-z][\w.-]+:[\w.-]+)(?::[\w.+-]+)?[\"']")

_PYTHON: Final = re.compile(
    r"^\s*(?:from\s+(?P<source>[\w.]+)\s+import\s+(?P<items>[\w., ()]+)|import\s+(?P<modules>[\w., ]+))"
)
_SCRIPT: Final = re.compile(r"(?:\bfrom|\brequire\(?|\bimport\(?)\s*[\"'](?P<name>@?[\w./-]{2,100})[\"']")
_OTHER: Final = re.compile(
    r"^\s*(?:use|using|import(?:\s+static)?|extern crate|#include\s*<)\s*"
    r"(?P<name>[A-Za-z]\w*(?:(?:::|[./])\w+)*)\s*(?:[;{>]|::|$)"
)
_INSTALL: Final = re.compile(
    r"\b(?:apt(?:-get)?|apk|dnf|yum|brew|pip3?|pipx|uv(?: pip)?|poetry|npm|pnpm|yarn|cargo|gem|conda)\s+"
    r"(?:-[\w=-]+\s+){0,5}(?:install|add|i)\s+(?P<names>[^&|;#]+)|\bgo get\s+(?P<go>\S+)"
)
_IMAGE: Final = re.compile(r"^\s*(?:-\s*)?(?:image:\s*|FROM\s+(?:--\S+\s+)?)[\"']?(?P<name>[\w./-]+)")
_ADDRESS: Final = re.compile(r"\b(?P<name>[a-z][a-z0-9+]{1,20})://")
_VARIABLE: Final = re.compile(r"(?<![A-Z0-9_])(?P<name>[A-Z][A-Z0-9]{2,20})_(?:URL|URI|HOST|PORT|ADDR|DSN|ENDPOINT)\b")
_HOOK: Final = re.compile(r"^\s*-\s+id:\s*(?P<name>[\w-]+)\s*$")

_IDENTIFIER: Final = re.compile(r"(?<![\w.-])[A-Za-z][^\W_]*(?:_+[^\W_]+)+_*(?![\w-])|(?<![\w-])[A-Z]{5,}(?![\w-])")
_SPOKEN: Final = re.compile(r"`[^`]*`|^\s*[\"']{3}.*")
"""What a line of code only speaks of."""
_STATEMENT: Final = re.compile(r"[\"'`]{1,3}\s*(?P<name>[A-Za-z]{5,20})\s+\w")
_WORD: Final = re.compile(r"(?<![\w-])[A-Za-z]{5,20}(?![\w-])")

_UNREAL: Final = re.compile(
    r"\b(?:no|not|never|none|nobody|nothing|neither|nor|without|cannot|unlike|instead|rather|would|could|might|if|whether|"
    r"considered|rejected|refused|removed?|dropped?|left|replaced?|deprecated|no longer|used to|until|clients?|"
    r"compared?|than|beside|against|example|other|others|nicht|kein\w*|ohne|ne|pas|sans)\b|n['’]t\b",
    re.IGNORECASE,
)
_ADOPTS: Final = re.compile(
    r"\b(?<!was )(?<!were )(?:uses?|using|adopts?|adopting|introduces?|choose|chose|chosen|add(?:s|ed)?|"
    r"(?:switch(?:ed|es)?|mov(?:e|ed|es)|migrat(?:e|ed|es)) (?:\w+ )?to|"
    r"(?:kept|stored|cached|written|held|saved|queued|run|runs|sent|lies?|lives?|served|built|made|rendered|parsed|read|done|"
    r"recognised|recognized|crawled|fetched|searched|counted) (?:\w+ )?(?:in|on|to|by|with|through|via|from)|"
    r"based on|now (?:by|with|in|on))\s+(?:(?:a|an|the|our|plain)\s+)?[*_\"]{0,2}(?P<code>`?)"
    r"(?P<name>[A-Za-z][\w.+#-]*(?: [A-Z][\w.+#-]*)*)"
)


class Use(NamedTuple):
    """A name that a line uses. `keys`: what it may be compared by, each as good as the others. `starts`: a refused name
    is used, too, where one of the keys begins with it, as the packages of a system do. In prose and in code, a name's
    case is all that tells it from a word: there the one key is the name as it is written."""

    kind: UseKind
    keys: frozenset[str]
    spelled: str
    line: AddedLine
    starts: bool = False


class AdoptedWay(NamedTuple):
    """A sentence that says how something is done, by its stems in their order."""

    stems: tuple[str, ...]
    line: AddedLine


class SetLine(NamedTuple):
    """A number that a line sets."""

    number: SetNumber
    line: AddedLine


class Uses(NamedTuple):
    """What a change uses and says."""

    names: list[Use]
    ways: list[AdoptedWay]
    numbers: list[SetLine]


def is_record_path(path: str) -> bool:
    """Whether a file is a decision record, by where it is or by its name."""
    return _RECORD_FILE.search(path) is not None


def read_uses(change: Change) -> Uses:
    """What the lines of a change use, at most `USES_MAX` of each."""
    names: list[Use] = []
    ways: list[AdoptedWay] = []
    numbers: list[SetLine] = []
    for line in change.lines:
        path, text = line.path or "", line.text[:LINE_CHARS_MAX]
        if is_record_path(path) or _LOCK_FILE.search(path) or not text.strip() or len(names) >= USES_MAX:
            continue
        if not path or (_PROSE_FILE.search(path) and not _MANIFEST.search(path)):
            names += _read_prose(line, text)
            ways += (AdoptedWay(tuple(word.stem for word in find_words(each)), line) for each in _assertions(text))
        elif not _COMMENT.match(text):
            names += _read_code(line, path, text)
            if not _TRIAL_FILE.search(path):
                names += _read_calls(line, path, text)
                numbers += (SetLine(number, line) for number in read_numbers(text))
    return Uses(names[:USES_MAX], ways[:USES_MAX], numbers[:USES_MAX])


# --- code -----------------------------------------------------------------------------------------------------------


def _read_code(line: AddedLine, path: str, text: str) -> Iterator[Use]:
    code = _TRAILING.sub("", text)
    if _MANIFEST.search(path):
        yield from (Use("dependency", _package_keys(name), name, line) for name in _packages(path, code))
        return
    yield from _read_imports(line, path, code)
    yield from _read_services(line, code)
    for match in _INSTALL.finditer(code):
        for name in (match["go"] or match["names"]).split():
            if not name.startswith("-"):
                yield Use("dependency", _package_keys(re.split(r"[<>=~@:]", name)[0]), name, line, starts=True)


def _read_calls(line: AddedLine, path: str, text: str) -> Iterator[Use]:
    code = _SPOKEN.sub("", _TRAILING.sub("", text))
    if "import" in code.split() or _MANIFEST.search(path):
        return  # what is imported is named already, however its parts are called
    for name in _IDENTIFIER.findall(code):
        yield Use("call", frozenset({name}), name, line)
    if _SQL_FILE.search(path):
        yield from (Use("call", frozenset({name.upper()}), name, line) for name in _WORD.findall(code))
    else:
        for match in _STATEMENT.finditer(code):
            if match["name"].istitle():
                continue  # it begins a sentence
            yield Use("call", frozenset({match["name"].upper()}), match["name"], line)


def _packages(path: str, code: str) -> Iterator[str]:
    for expression in (_QUOTED, _TAGGED, _PATHED, _COORDINATE):
        yield from (
            match["name"] or match["net"] if expression is _TAGGED else match["name"]
            for match in expression.finditer(code)
        )
    if not path.lower().endswith((".json", ".xml", ".csproj", ".mod")) and (match := _PLAIN.match(code)):
        yield match["name"]


def _package_keys(name: str) -> frozenset[str]:
    """A package by its name, by the last parts of its path, and without what says only for which language it is."""
    parts = [part for part in re.split(r"[/:]", name.strip("@\"'")) if part and not re.fullmatch(r"v\d+", part)]
    keys = {key_of(part) for part in (name, *parts[-2:])}
    return frozenset(keys | {bare(key) for key in keys})


def bare(key: str) -> str:
    """A package without what says only for which language it is."""
    return re.sub(r"^(?:python3?-|py-?|node-|go-)(?=\w{4})|(?<=\w{4})(?:-py|-python|-js|-node|-rs)$", "", key)


def _read_imports(line: AddedLine, path: str, code: str) -> Iterator[Use]:
    if path.endswith((".py", ".pyi", ".ipynb")):
        if match := _PYTHON.match(code):
            yield from _read_python(line, match)
        return
    for match in _SCRIPT.finditer(code):
        parts = match["name"].split("/")
        if parts[0] not in ("", ".", ".."):
            package = "/".join(parts[: 1 + parts[0].startswith("@")])
            yield Use("import", frozenset({key_of(package), key_of(parts[0].strip("@"))}), match["name"], line)
    for match in _OTHER.finditer(code):
        parts = [part for part in re.split(r"::|[./]", match["name"]) if part]
        keys = frozenset({key_of(match["name"]), *map(key_of, parts[:4])})
        yield Use("import", keys, match["name"], line)


def _read_python(line: AddedLine, match: re.Match[str]) -> Iterator[Use]:
    if match["modules"]:
        modules = [each.split()[0] for each in match["modules"].split(",") if each.split()]
    else:
        items = [each.split()[0] for each in match["items"].strip("() ").split(",") if each.split()]
        modules = [match["source"], *(f"{match['source']}.{item}" for item in items)]
    for module in modules:
        parts = module.split(".")
        if parts[0] and parts[0] not in sys.stdlib_module_names:
            keys = {key_of(".".join(parts[:depth])) for depth in range(1, min(len(parts), 4) + 1)}
            yield Use("import", frozenset(keys | {bare(key_of(parts[0]))}), module, line)


def _read_services(line: AddedLine, code: str) -> Iterator[Use]:
    if match := _IMAGE.match(code):
        name = match["name"].rpartition("/")[2]
        yield Use("service", frozenset({key_of(name), key_of(match["name"])}), name, line, starts=True)
    for expression in (_ADDRESS, _VARIABLE, _HOOK):
        for found in expression.finditer(code):
            yield Use("service", frozenset({key_of(found["name"])}), found["name"], line)


# --- prose ----------------------------------------------------------------------------------------------------------


def _assertions(text: str) -> Iterator[str]:
    """The sentences of a line that say that something is so. In a table each cell is one."""
    cells = text.strip().strip("|").split("|") if text.lstrip().startswith("|") else [text]
    for cell in cells:
        for sentence in split_sentences(cell.strip()):
            if not _UNREAL.search(sentence.text):
                yield sentence.plain


def _read_prose(line: AddedLine, text: str) -> Iterator[Use]:
    for sentence in _assertions(text):
        for match in _ADOPTS.finditer(sentence):
            words = match["name"].rstrip(".").split()
            for count in range(1, len(words) + 1):
                name = " ".join(words[:count])
                if match["code"] or not name.islower():  # a name in small letters is a word, unless it is set as code
                    yield Use("prose", frozenset({name}), name, line)
