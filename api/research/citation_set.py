"""Claims of which it is known whether their citations hold, made by a seed from the versions of a history. Pure.

Owns the set, and the count of what a check says of it. Right are a sentence as it stands, and the same in other words
(without its mark-up, its asides, its lead or its reason, with other little words). Wrong are: a sentence that a later
version has and the cited one does not; one whose number was changed; one that was negated; one whose word was turned
into its opposite; one of another tenant; and one of another source. Wrong ones are made by rule too, so what the
figures say is how the check does with such faults, and not with whatever a model may invent. Refuses to look anything
up: what a tenant has is a mapping of its own, as row security gives it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple, get_args
from uuid import UUID

from api.research.citing import CitedPlace, check_citation
from api.research.sentences import Sentence, split_sentences
from api.research.words import stems_of

ClaimKind = Literal[
    "quoted", "reworded", "wrong version", "number changed", "negated", "turned", "other tenant", "absent"
]
KINDS: Final[tuple[ClaimKind, ...]] = get_args(ClaimKind)
RIGHT: Final[tuple[ClaimKind, ...]] = ("quoted", "reworded")
WORDS_MIN: Final = 5
"""Words that count of a sentence that claims are made of."""
PASSAGE_CHARS: Final = 1_200
"""Characters of the passage that is cited, the largest that the search has."""

_AUXILIARY: Final = re.compile(r"\b(is|are|was|were|will|should|must|can|has|have)\b(?!\s+not\b|n['’]t)", re.IGNORECASE)
_NOT: Final = re.compile(r"\b(?:is|are|was|were|will|should|must|can|has|have|do|does)\s+(not)\b", re.IGNORECASE)
_NUMBER: Final = re.compile(r"(?<![\w.,-])\d{1,4}(?![\w.,-]*\d)")
_ASIDE: Final = re.compile(r"\s*\([^()]*\)")
_MARKS: Final = re.compile(r"[*_`]|\[([^\]]*)\]\([^)]*\)")
_LEAD: Final = re.compile(
    r"^(?:However|Therefore|In addition|Additionally|Also|Furthermore|As a result|For example),\s+", re.IGNORECASE
)
_REASON: Final = re.compile(r",? \b(?:because|so that|in order to|which|whereas|although)\b", re.IGNORECASE)
_LITTLE: Final = (
    (r"\bWe will\b", "The team will"),
    (r"\bin order to\b", "to"),
    (r"\bThis\b", "It"),
    (r"\bis able to\b", "can"),
)
_TURNED: Final = (
    "accepted rejected, enabled disabled, required optional, public private, internal external, increase decrease, "
    "always never, before after, more less, allow forbid, allows forbids, maximum minimum, synchronous asynchronous"
)
_TURNS: Final = [
    pair for words in _TURNED.split(", ") for one, other in [words.split()] for pair in ((one, other), (other, one))
]


class TenantVersion(NamedTuple):
    """A version of a source of one tenant."""

    tenant: str
    source_id: UUID
    version: int
    body: str


class LabelledClaim(NamedTuple):
    """A claim of a tenant's answer, what it cites, and what is known of it."""

    kind: ClaimKind
    tenant: str
    text: str
    place: CitedPlace

    @property
    def holds(self) -> bool:
        return self.kind in RIGHT


class JudgedClaim(NamedTuple):
    """A claim, and what the check says of it."""

    claim: LabelledClaim
    accepted: bool
    support: float


def make_claims(versions: Sequence[TenantVersion], seed: int, each_max: int) -> list[LabelledClaim]:
    """Make at most `each_max` claims of each kind, the same for the same seed. One that is to be wrong is left out when
    the cited place has its words all the same."""
    chance = random.Random(seed)  # noqa: S311 - a sample, not a secret
    order = list(versions)
    chance.shuffle(order)
    pool = ((each, sentence) for each in order for sentence in _usable(each.body))
    bodies = {(each.tenant, each.source_id, each.version): each.body for each in versions}
    others = list(versions)
    made: dict[ClaimKind, list[LabelledClaim]] = {}
    for version, sentence in pool:
        wanted = {kind for kind in KINDS if len(made.get(kind, ())) < each_max}
        if not wanted:
            break
        for kind, text, cited in _variants(version, sentence, bodies, others, chance, wanted):
            claims = made.setdefault(kind, [])
            if len(claims) < each_max:
                claims.append(LabelledClaim(kind, version.tenant, text, cited))
    return [claim for kind in sorted(made) for claim in made[kind]]


def _usable(body: str) -> Iterator[Sentence]:
    for each in split_sentences(body):
        if len(stems_of(each.text)) >= WORDS_MIN and len(each.text) <= 400 and "|" not in each.text:
            yield each


def _variants(
    version: TenantVersion,
    sentence: Sentence,
    bodies: Mapping[tuple[str, UUID, int], str],
    others: Sequence[TenantVersion],
    chance: random.Random,
    kinds: Collection[ClaimKind],
) -> Iterator[tuple[ClaimKind, str, CitedPlace]]:
    """Each kind of claim that can be made of a sentence; what takes long, of those that are still wanted."""
    text, here = sentence.plain, _around(version, sentence)
    yield "quoted", sentence.text, here
    rewriters: Iterable[tuple[ClaimKind, Callable[[str, random.Random], str]]] = (
        ("reworded", _reword), ("number changed", _change_number), ("negated", _negate), ("turned", _turn)
    )  # fmt: skip
    for kind, rewrite in rewriters:
        changed = rewrite(text, chance)
        if changed != text:
            yield kind, changed, here
    older = bodies.get((version.tenant, version.source_id, version.version - 1))
    if older and "wrong version" in kinds and _is_new(sentence.text, older):
        yield "wrong version", text, CitedPlace("adr", version.source_id, version.version - 1, 0, len(older))
    other = chance.choice(others)
    if other.tenant == version.tenant and other.source_id != version.source_id and "absent" in kinds:
        if _is_new(sentence.text, other.body):
            yield "absent", text, _around(other, Sentence(0, min(len(other.body), PASSAGE_CHARS), ""))
    elif other.tenant != version.tenant and "other tenant" in kinds:
        # Its very words, at the very place: only that it is another tenant's is wrong.
        theirs = next(_usable(other.body), None)
        if theirs is not None:
            yield "other tenant", theirs.text, _around(other, theirs)


def _around(version: TenantVersion, sentence: Sentence) -> CitedPlace:
    """The passage that a sentence stands in: the characters around it."""
    start = max(0, sentence.start - PASSAGE_CHARS // 2)
    return CitedPlace("adr", version.source_id, version.version, start, min(len(version.body), start + PASSAGE_CHARS))


def _is_new(text: str, body: str) -> bool:
    """Whether no sentence of a body says nearly the same: half of the words are in none of them."""
    wanted = stems_of(text)
    return all(len(wanted & stems_of(each.text)) * 2 < len(wanted) for each in split_sentences(body))


def _reword(text: str, chance: random.Random) -> str:
    del chance
    changed = _LEAD.sub("", _ASIDE.sub("", _MARKS.sub(r"\1", text)))
    for old, new in _LITTLE:
        changed = re.sub(old, new, changed)
    main = _REASON.split(changed)[0]
    return (main if len(stems_of(main)) >= WORDS_MIN else changed).rstrip(" .") or text


def _change_number(text: str, chance: random.Random) -> str:
    return _NUMBER.sub(lambda match: str(int(match[0]) + chance.randint(1, 9)), text, count=1)


def _negate(text: str, chance: random.Random) -> str:
    del chance
    if found := _NOT.search(text):
        return text[: found.start(1)] + text[found.end(1) :].lstrip()
    return _AUXILIARY.sub(r"\1 not", text, count=1)


def _turn(text: str, chance: random.Random) -> str:
    del chance
    for old, new in _TURNS:
        if re.search(rf"\b{new}\b", text, re.IGNORECASE) is None:
            changed = re.sub(rf"\b{old}\b", new, text, count=1, flags=re.IGNORECASE)
            if changed != text:
                return changed
    return text


def judge(claims: Sequence[LabelledClaim], versions: Sequence[TenantVersion], support_min: float) -> list[JudgedClaim]:
    """What the check says of each, given what its tenant can read."""
    bodies = {(each.tenant, each.source_id, each.version): each.body for each in versions}
    judged = []
    for claim in claims:
        place = claim.place
        body = bodies.get((claim.tenant, place.source_id, place.version))
        texts = {} if body is None else {place: body[place.char_start : place.char_end]}
        verdict = check_citation(claim.text, place, texts, support_min)
        judged.append(JudgedClaim(claim, verdict.fault is None, verdict.support))
    return judged


def precision_and_recall(judged: Sequence[JudgedClaim]) -> tuple[float, float]:
    """The share of accepted claims that hold, and the share of claims that hold that are accepted; 1 of none."""
    accepted = [each for each in judged if each.accepted]
    holding = [each for each in judged if each.claim.holds]
    right = sum(each.claim.holds for each in accepted)
    return right / len(accepted) if accepted else 1.0, right / len(holding) if holding else 1.0
