"""What a decision record refuses and what it chooses: names, ways to do something, and numbers. Pure.

Owns three places where a record says what it does not want: options that were considered and not chosen, the column of
alternatives of a table, and sentences of the decision that deny. A name that any place of the decision takes is chosen,
whatever else is said of it. Refuses to understand: an option that was refused only as the sole answer ("X for
everything") refuses nothing here, and what has no name and fewer than three words of its own says nothing. What changes
use is read by `uses`, and both are compared in `breaking`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from api.guard.limits import NumberLimit, read_limits
from api.research.sentences import split_sentences
from api.research.words import find_words, stems_of
from connectors.reading.structure import Block, Structure, read_structure
from connectors.reading.words import fold

BODY_CHARS_MAX: Final = 65_536
"""Characters of a record that are read. What is refused stands on its first pages."""
NAMES_MAX: Final = 400
"""Names that a record refuses at most, and as many that it chooses: a table of all dependencies has two hundred."""
QUOTE_CHARS_MAX: Final = 300
WAY_WORDS_MIN: Final = 3
"""Words that a way to do something has at least, to be told from others. A change must have all, in their order."""
CHOSEN_SHARE_MIN: Final = 0.7
"""Share of the fewer words that an option and the chosen one have in common, when both are one."""

_OPTIONS: Final = re.compile(
    r"(?:considered |other |rejected )?(?:options|alternatives)(?: considered| rejected)?|"
    r"(?:betrachtete |verworfene )?(?:optionen|alternativen)|(?:options|alternatives) (?:envisagees|ecartees)"
)
_DECISION: Final = re.compile(r"decisions?(?: outcome| made)?|outcome|entscheidung|beschluss|decision retenue")
_CHOSEN: Final = re.compile(r"(?:chosen|selected) (?:option|alternative)\W{1,4}", re.IGNORECASE)
_ALTERNATIVE: Final = re.compile(r"\b(?:else|alternatives?|instead|rejected|refused|not (?:taken|chosen)|statt)\b")
_SOLE: Final = re.compile(
    r"\b(?:only|alone|everything|everywhere|all|always|neither|nothing|by default)\b", re.IGNORECASE
)
_DENIED: Final = re.compile(
    r"\b(?i:no|not|never|without|nobody|instead of|rather than|in place of|no longer)\b[^.;:,()`]{0,40}"
    r"(?P<code>`[^`\n]{2,60}`)|"
    r"\b(?i:instead of|rather than|in place of|no longer|never) (?:use )?(?:the |an? )?"
    r"(?P<name>[A-Z][\w.+#-]+(?: [A-Z][\w.+#-]+)*)"
)
_DENIES: Final = re.compile(
    r"\b(?:no|not|never|without|nobody|instead|rather than|in place of|unlike|neither|nor|than|cannot|refused?)\b|"
    r"n't\b",
    re.IGNORECASE,
)
_CODE: Final = re.compile(r"`([^`\n]{2,60})`")
_TOKEN: Final = re.compile(r"(?!.*\.(?:py|toml|md|json|ya?ml|sql|txt)$)@?[A-Za-z][\w.+#/@-]*[\w+#]")
"""A name of code, which is no file and no folder."""
_PROPER: Final = re.compile(r"(?<![\w`./-])[A-Z][\w+#]*(?:\.[A-Za-z]\w*)*(?: [A-Z][\w+#]*)*(?![\w`/])")
_NAMED: Final = re.compile(r" (?:in|with|on|by|for|as|from|,|\()\b|[,:(]")
"""What follows a name that begins a sentence, and seldom a word that does."""
_INFLECTED: Final = re.compile(r"(?:s|ing|ed|ly|ment|tion)$")
_HUMPED: Final = re.compile(r"[A-Z].*[a-z].*[A-Z]|[a-z].*[A-Z]")
_IN_PARENTHESES: Final = re.compile(r"\([^()]*\)")
_NOT_OF: Final = re.compile(r"`([^`\n]{2,60})`(?!['’])")
_NAME_ALONE: Final = re.compile(r"[A-Z][\w+#]*(?:\.[a-z]\w*)?(?: [A-Z][\w+#]*)*|[a-z][\w.+-]{2,}")
_LISTED: Final = re.compile(r"\(([^()]+)\)")
_EITHER: Final = re.compile(
    r"(?P<article>an?|the) (?P<one>[\w-]+) or (?:an?|the) (?P<other>[\w-]+)(?P<rest> .+)", re.IGNORECASE
)
_MARK: Final = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+")
_LINK: Final = re.compile(r"\[([^\]]*)\]\([^)]*\)")


class RefusedName(NamedTuple):
    """A name that a record does not want. `key` is what it is compared by; `quote` says so, under `heading`. `whole`:
    it is an option, or begins one, and is not only spoken of there. `sure`: it was considered, or stands among
    alternatives; else a sentence denies it."""

    key: str
    spelled: str
    quote: str
    heading: str
    whole: bool = True
    sure: bool = True


class RefusedWay(NamedTuple):
    """A way to do something that was considered and not chosen, by the stems of its words, in their order."""

    stems: tuple[str, ...]
    quote: str
    heading: str


class Stances(NamedTuple):
    """What one record says. `chosen`: names of its title, of its chosen option, and of tables of what is used."""

    chosen: frozenset[str]
    refused: tuple[RefusedName, ...]
    ways: tuple[RefusedWay, ...]
    limits: tuple[NumberLimit, ...]


class _Part(NamedTuple):
    """A block as it is written, with its headings."""

    heading: str
    text: str
    is_item: bool
    rows: Sequence[Sequence[str]]


def key_of(name: str) -> str:
    """What a name is compared by: its case and its joints do not count."""
    return re.sub(r"[\s_./]+", "-", name.lower()).strip("-")


def read_stances(title: str, body: str) -> Stances:
    """What a record refuses and chooses. Never raises; linear in the length of the text."""
    body = body[:BODY_CHARS_MAX]
    parts = list(_split(read_structure(body)))
    proper = _find_proper(body)
    chosen_text = _find_chosen(parts)
    chosen = {key_of(name) for text in (title, chosen_text) for name in _names(text, proper)}
    mentioned: set[str] = set()
    refused: list[RefusedName] = []
    ways: list[RefusedWay] = []
    limits: list[NumberLimit] = []
    for part in parts:
        if part.rows:
            taken, left = _read_table(part, proper)
            chosen |= taken
            refused += left
        elif part.is_item and _is_under(part.heading, _OPTIONS):
            if not _is_chosen(part.text, chosen_text):
                refused += _refuse_option(part, proper)
                ways += _read_ways(part)
        elif _is_under(part.heading, _DECISION):
            for sentence in split_sentences(part.text):
                refused += _refuse_denied(sentence.plain, part.heading)
                if not _DENIES.search(sentence.text):
                    mentioned |= {key_of(name) for name in _names(sentence.text, proper)}
                limits += read_limits(sentence.plain, part.heading)
    kept = [
        each
        for each in dict.fromkeys(refused)
        if len(each.key) > 1 and each.key not in chosen and (each.sure or each.key not in mentioned)
    ]
    return Stances(frozenset(chosen), tuple(kept[:NAMES_MAX]), tuple(ways), tuple(limits))


# --- parts of a record ----------------------------------------------------------------------------------------------


def _split(structure: Structure) -> Iterator[_Part]:
    for block, heading in structure.with_paths():
        if block.kind not in ("heading", "code"):
            yield _Part(heading, _as_written(structure, block), block.kind == "item", _rows(structure, block))


def _as_written(structure: Structure, block: Block) -> str:
    lines = structure.lines[block.line : block.line + block.lines]
    return _MARK.sub("", _LINK.sub(r"\1", " ".join(line.strip() for line in lines).strip()))


def _rows(structure: Structure, block: Block) -> list[list[str]]:
    """The cells of a table as they are written; those of HTML without marks."""
    if block.kind != "table":
        return []
    lines = structure.lines[block.line : block.line + block.lines + 1]  # a row of dashes is no row of the block
    rows = [_LINK.sub(r"\1", line.strip().strip("|")) for line in lines if "|" in line and re.search(r"\w", line)]
    return [re.split(r"(?<!\\)\|", row) for row in rows] or [[cell.text for cell in row] for row in block.rows]


def _is_under(heading: str, wanted: re.Pattern[str]) -> bool:
    return any(wanted.fullmatch(fold(each).strip(" :.")) for each in heading.split(" > "))


def _find_chosen(parts: Sequence[_Part]) -> str:
    for part in parts:
        if match := _CHOSEN.search(part.text):
            rest = part.text[match.end() :]
            strong = re.match(r"\**([^*\n]+)\*\*|[\"“]([^\"”\n]+)", rest)
            return (strong[1] or strong[2]) if strong else re.split(r",? because|\. ", rest)[0]
    return ""


def _is_chosen(option: str, chosen: str) -> bool:
    mine, theirs = stems_of(option), stems_of(chosen)
    return bool(theirs) and len(mine & theirs) >= CHOSEN_SHARE_MIN * min(len(mine), len(theirs))


# --- names ----------------------------------------------------------------------------------------------------------


def _find_proper(body: str) -> frozenset[str]:
    """Words that stand with a capital, and never without: these may be names at the beginning of a sentence, too."""
    small = set(re.findall(r"(?<![\w`])[a-z][\w]+", body))
    return frozenset(word for word in re.findall(r"(?<![\w`])[A-Z][\w+#]+", body) if word.lower() not in small)


def _names(text: str, proper: frozenset[str]) -> Iterator[str]:
    """Names in a text: single words of code, and words that look like the names of things."""
    yield from (code for code in _CODE.findall(text) if _TOKEN.fullmatch(code))
    shown = _CODE.sub(lambda match: " " * len(match[0]), text)
    for match in _PROPER.finditer(shown):
        words = match[0].split()
        if match.start() == 0 or shown[: match.start()].rstrip()[-1:] in tuple(".:;!?*|"):
            after = shown[match.start() + len(words[0]) :]
            alone = not after.strip(" *.") or (
                words[0] in proper and _NAMED.match(after) and not _INFLECTED.search(words[0])
            )
            if not (alone or _HUMPED.search(words[0])):
                words = words[1:]
        if words and not all(word.isupper() for word in words):
            yield " ".join(words)


def _refuse_option(part: _Part, proper: frozenset[str]) -> Iterator[RefusedName]:
    if not _SOLE.search(part.text):
        listed = [each.strip() for found in _LISTED.findall(part.text) for each in found.split(",")]
        for name in (
            *_names(part.text, proper),
            *(each for each in listed if re.search(r"\d", each) and _TOKEN.fullmatch(each)),
        ):
            before = part.text[: part.text.find(name)]
            whole = not re.search(r"\w", _CODE.sub("", before).removesuffix(" and `")) or before.endswith(("(", "(`"))
            yield RefusedName(key_of(name), name, part.text[:QUOTE_CHARS_MAX], part.heading, whole)


def _refuse_denied(sentence: str, heading: str) -> Iterator[RefusedName]:
    for match in _DENIED.finditer(sentence):
        name = (match["code"] or match["name"]).strip("`")
        if match["name"] or (_TOKEN.fullmatch(name) and not re.fullmatch("[a-z]+", name)):
            yield RefusedName(key_of(name), name, sentence[:QUOTE_CHARS_MAX], heading, sure=False)


def _read_table(part: _Part, proper: frozenset[str]) -> tuple[set[str], list[RefusedName]]:
    """Names of a table that has a column of alternatives: those of the other columns are taken."""
    columns = [at for at, cell in enumerate(part.rows[0]) if _ALTERNATIVE.search(fold(cell))]
    if not columns:
        return set(), []
    taken: set[str] = set()
    left: list[RefusedName] = []
    for row in part.rows[1:]:
        quote = " | ".join(cell.strip() for cell in (row[0], *(row[at] for at in columns if 0 < at < len(row))))
        for at, cell in enumerate(row):
            if at in columns:
                names = _alternatives(cell)
                left += [RefusedName(key_of(name), name, quote[:QUOTE_CHARS_MAX], part.heading) for name in names]
            else:
                names = _names(cell, proper) if at == 0 else filter(_TOKEN.fullmatch, _CODE.findall(cell))
                taken |= {key_of(name) for name in names}
    return taken, left


def _alternatives(cell: str) -> Iterator[str]:
    plain = cell
    while (shorter := _IN_PARENTHESES.sub("", plain)) != plain:
        plain = shorter
    for part in re.split(r"[,;]| and ", plain):
        said = part.strip(" .")
        if _SOLE.search(said):
            continue
        found = [code for code in _NOT_OF.findall(said) if _TOKEN.fullmatch(code)]
        yield from found or ([said] if _NAME_ALONE.fullmatch(said) else [])


# --- ways -----------------------------------------------------------------------------------------------------------


def _read_ways(part: _Part) -> Iterator[RefusedWay]:
    if _SOLE.search(part.text):
        return
    head = re.split(r": | \(|; ", part.text)[0]
    match = _EITHER.fullmatch(head)
    heads = [f"{match[name]}{match['rest']}" for name in ("one", "other")] if match else [head]
    for each in heads:
        stems = tuple(dict.fromkeys(word.stem for word in find_words(each.replace("`", ""))))
        if len(stems) >= WAY_WORDS_MIN:
            yield RefusedWay(stems, part.text[:QUOTE_CHARS_MAX], part.heading)
