"""What one statement claims of the status of its decision.

Owns the grammar: a statement is cut at its punctuation, and each piece may make one claim or several. A claim is a word
of a status with what stands around it in the same language: negation, "not yet", "no longer", "formerly". What is not
understood makes no claim, for unknown beats the opposite. Refuses to weigh claims: `status.py` does. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date
from typing import Final, Literal, cast

import msgspec

from connectors.reading.dates import find_dates
from connectors.reading.front_matter import is_nothing
from connectors.reading.inline import Inline
from connectors.reading.references import find_references
from connectors.reading.sentences import fold_sentence, mark_deeds, mark_references, relations
from connectors.reading.words import CONDITION, DATE, DEED, REFERENCE, UNREAL, WIDE, WORDS, Language, Words

Status = Literal["proposed", "accepted", "rejected", "deprecated", "superseded", "draft", "unknown"]
STATEMENT_CHARS_MAX: Final = 400
"""A status is a line; the words of a longer paragraph are about something else."""
_NEGATED: Final[dict[tuple[str, str], Status]] = {
    ("not", "accepted"): "rejected",
    ("not_yet", "accepted"): "proposed",
    ("no_longer", "accepted"): "deprecated",
    ("not_yet", "proposed"): "draft",
}
"""What the negation of a state is. Any other is no state: what is not rejected may be all the rest."""
_NEGATIONS: Final = ("not_yet", "no_longer", "not")
_AFTER: Final = frozenset(("after_yet", "after_anymore", "after_no", "after_unreal", "after_nothing", "after_not_yet"))
"""What turns the claim before it."""
ARROW: Final = "→⇒➔➡⟶>"
_ARROWS: Final = (*ARROW, "->", "=>", "~>")
_COLONS: Final = (":", "：")
_CUT = re.compile(r"->|=>|~>|--+|\s-\s|[.;,:/|()\[\]{}–—→⇒➔➡⟶>+\n!?*、。，；：（）「」【】]")
_CROSS = re.compile(r"[❌✗✘🚫⛔👎]|:(?:x|no_entry|no_entry_sign|negative_squared_cross_mark|-1|thumbsdown):")
_SHORT_NAME = re.compile(r"(?<![\w:]):[a-z+-][a-z0-9_+-]{0,40}:(?![\w:])")
_FORMULA = re.compile(r"\\(?:color|textcolor)\{[^{}]{0,30}\}|\\[a-z]{2,12}|[${}]")
_GRASPED = re.compile(rf"\s+(?:the |l'|la |le |el |die |den |das )?{REFERENCE}")
_WORD = re.compile(r"[\w']+|\S")
_NEUTRAL = re.compile(r"[\W\d_]")


class StatusClaim(msgspec.Struct):
    """`status` None: something is said of a state, and not which one it is. `cut` is what stands before the piece.
    `pure`: nothing beside dates, references and small words stands in its piece. `qualifies`: a word that is not
    understood follows at once, as in "rejected options". `grasps`: another record does, as in "we retired ADR-3".
    `open`: a colon stands behind it, and nothing more."""

    status: Status | None
    at: int
    cut: str
    past: bool = False
    now: bool = False
    weak: bool = False
    pure: bool = True
    partly: bool = False
    day: date | None = None
    strong: bool = False
    qualifies: bool = False
    referenced: bool = False
    negated: bool = False
    told: bool = False
    grasps: bool = False
    open: bool = False


class StatusReading(msgspec.Struct):
    """The claims of one statement. `foreign`: words before the first claim that are not understood. `lost`: a word of
    a status stands among words that are not."""

    claims: list[StatusClaim] = []
    foreign: bool = False
    lost: bool = False
    choice: bool = False
    question: bool = False


def read(inline: Inline, *, words: Words = WORDS, day_first: bool | None = None) -> StatusReading:
    """The claims of one line, as the language reads it that understands most of it."""
    inline = inline.cut(0, STATEMENT_CHARS_MAX)
    text = _blank_signs(inline.text.replace("’", "'"))
    dates = find_dates(text, day_first=day_first, words=words)
    folded = fold_sentence(text, words)
    references = [each for each in find_references(inline) if not _is_status_word(folded[each.start : each.end], words)]
    folded = mark_references(folded, references)
    kinds = relations(folded, references, words, written=text)
    doers = frozenset(
        at
        for each, kind in zip(references, kinds, strict=True)
        if kind in ("superseded-by", "amended-by")
        for at in range(each.start, each.end)
    )
    folded = mark_deeds(folded, references, words, text)
    best = StatusReading()
    score = (-1, 0)
    for language in words.languages:
        if not language.any_status.search(folded):
            continue
        reading, known = _read_in(language, folded, words, doers)
        usable = 0 if reading.foreign else len([claim for claim in reading.claims if claim.status])
        if (min(usable, 1), known) > score:
            best, score = reading, (min(usable, 1), known)
    ended = any(
        kind == "superseded-by" and not _is_in_part(folded, each.start, words)
        for each, kind in zip(references, kinds, strict=True)
    )
    if ended and not any(claim.status == "superseded" or claim.partly for claim in best.claims):
        best.claims.append(StatusClaim("superseded", len(folded), ",", referenced=True))
        best.foreign = False
    for claim in best.claims:
        claim.day = _day_near(claim, best.claims, [(found.start, found.day) for found in dates])
        claim.strong = any(low <= claim.at < high for low, high in inline.strong)
    if _CROSS.search(inline.text) and any(claim.status == "accepted" for claim in best.claims):
        best.claims, best.lost = [], True  # the sign says the opposite of the word
    emphasised = [claim for claim in best.claims if claim.strong]
    if best.choice and len(emphasised) == 1 and len(best.claims) > 1:
        best.claims, best.choice = emphasised, False
    return best


def _is_in_part(folded: str, at: int, words: Words) -> bool:
    """Whether the piece around a place speaks of a part: "部分被ADR-9取代"."""
    before, after = _CUT.split(folded[:at])[-1], _CUT.split(folded[at:])[0]
    return words.expression("modifier", "partly").search(before + after) is not None


def _blank_signs(text: str) -> str:
    """The text with blanks for what is no word: names of emoji, commands of formulas."""
    text = _SHORT_NAME.sub(lambda match: " " * len(match[0]), text)
    if "$" in text and "\\" in text:
        text = _FORMULA.sub(lambda match: " " * len(match[0]), text)
    return text


def _is_status_word(label: str, words: Words) -> bool:
    """Whether a link's label is nothing but a state: it is the status, and the link explains it."""
    for language in words.languages:
        end, kinds = language.token(label, 0)
        if end == len(label) and any(kind.startswith("status:") for kind in kinds):
            return True
    return False


def _day_near(
    claim: StatusClaim, claims: Sequence[StatusClaim], dates: Sequence[tuple[int, date | None]]
) -> date | None:
    """The date that belongs to a claim: the one after it, before the next claim; else the only one before it."""
    following = min((other.at for other in claims if other.at > claim.at), default=1 << 30)
    preceding = max((other.at for other in claims if other.at < claim.at), default=-1)
    after = [day for at, day in dates if claim.at < at < following]
    before = [day for at, day in dates if preceding < at < claim.at]
    leads = bool(dates) and bool(claims) and dates[0][0] < claims[0].at
    chosen = before or after if leads else after or before
    return chosen[-1] if leads and chosen is before else chosen[0] if chosen else None


def _read_in(language: Language, folded: str, words: Words, doers: frozenset[int]) -> tuple[StatusReading, int]:
    """The claims of a line in one language, and how many of its words were understood."""
    reading = StatusReading(claims=[], question="?" in folded)
    known = 0
    at = 0
    cut = ""
    states: list[tuple[str, Status]] = []
    carried: set[str] = set()
    alternative = astray = False
    subject = _Subject(words, doers)
    pieces = [*_CUT.finditer(folded), None]
    for match in pieces:
        end = match.start() if match else len(folded)
        if cut in _COLONS and reading.claims and says_nothing(folded[at:]):
            reading.claims[-1].status = None  # "Superseded by: n/a"
            break
        piece = _Piece(language, folded, at, end, cut, carried)
        piece.of_others = subject.is_other and any(mark in _GOES_ON for mark in cut)
        piece.later = bool(reading.claims)
        piece.names = subject.names
        piece.read()
        _look_back(reading, piece, cut, folded[:at], folded[at:end])
        carried = piece.marks if not piece.claims and not piece.foreign and match and match[0] in _COLONS else set()
        known += piece.known
        if piece.claims:
            if astray and reading.claims and piece.claims[0].status != reading.claims[-1].status:
                piece.claims[0].pure = False  # "Proposed (next step → Accepted)"
            reading.claims += piece.claims
            states += [(cut, claim.status) for claim in piece.claims if claim.status]
        elif piece.lost:
            reading.lost = True
        if piece.foreign and not reading.claims:
            reading.foreign = True
        alternative |= piece.alternative
        subject.go_on(piece, folded[:end], at, match[0] if match else "")
        astray = piece.foreign and not piece.claims and match is not None and match[0] in (*_ARROWS, *_COLONS)
        cut = (
            (match[0] if match else "") if piece.claims or folded[at:end].strip() else cut + (match[0] if match else "")
        )
        at = match.end() if match else end
    _weigh_refusals(reading)
    if reading.claims and cut in _COLONS and not folded[at:].strip() and reading.claims[-1].status == "superseded":
        reading.claims[-1].open = True
    reading.claims = [claim for place, claim in enumerate(reading.claims) if _holds(claim, place)]
    distinct = {state for _, state in states}
    chosen = any(mark in before for before, _ in states[1:] for mark in "|/")
    reading.choice = len(distinct) > 1 and (chosen or alternative)
    return reading, known


_SO_FAR = re.compile(
    r"\s+(?:yet|so far|currently|at present|for now|as yet|bisher|bislang|derzeit|noch|pour l'instant|a ce jour"
    r"|por ahora|por enquanto|per ora|al momento|voorlopig|nog|na razie|пока)\.?$"
)
_GOES_ON: Final = ")）:：-–—→⇒➔➡⟶>"
"""What stands between another record and what is said of it."""


def says_nothing(rest: str) -> bool:
    """Whether what stands behind a colon says that there is none."""
    rest = re.sub(r"\s+/\s+", "/", rest.strip(" ()[]（）*_"))
    sentence = re.split(r"[;)）\n。]|\.\s", rest, maxsplit=1)[0]
    parts = (_SO_FAR.sub("", part.strip()).rstrip(". ") for part in (rest, sentence))
    return any(part and is_nothing(part) for part in parts)


class _Subject:
    """Whether what is said is said of another record: "ADR-3 (parcels) is superseded", "ADR-3: superseded". `doers` are
    the places of records that did it."""

    def __init__(self, words: Words, doers: frozenset[int]) -> None:
        self._words = words
        self._doers = doers
        self._aside = False
        self.is_other = False

    def names(self, written: str, start: int) -> bool:
        """Whether the words before a state name another record: "damit ist ADR-3", but not "durch ADR-3"."""
        low, high = written.find(REFERENCE), written.rfind(REFERENCE)
        if low < 0 or DEED in written or start + low in self._doers:
            return False
        leading = self._words.expression("clause", "before_subject").sub("", written[:low])
        between = written[high + 1 :]
        return not re.search(r"\w", leading) and not self._words.expression("clause", "no_subject").search(between)

    def go_on(self, piece: _Piece, before: str, start: int, cut: str) -> None:
        """Take a piece that has been read, and what stands behind it."""
        if before[start:].strip():
            named = not piece.claims and before.rstrip().endswith(REFERENCE) and self.names(before[start:], start)
            self.is_other, self._aside = (self.is_other or named, True) if self._aside else (named, False)
        self._aside = bool(cut) and cut in "(（[" and (self.is_other or self._aside)


def _look_back(reading: StatusReading, piece: _Piece, cut: str, before: str, written: str) -> None:
    """What a piece says of the claim before it."""
    claims = reading.claims
    if cut in ("(", "（") and claims and before.rstrip("(（ ").endswith(REFERENCE):
        piece.claims = []  # "See ADR-3 (superseded)" says it of the other
    if not claims:
        return
    if cut in _COLONS and not piece.claims and not piece.foreign and piece.refusal:
        claims[-1] = _turn(claims[-1], piece.refusal, written)  # "Accepted: no"
    if piece.begins_conditional and any(mark in ",，、(（" for mark in cut):
        claims[-1].status = None  # "Accepted, if the test passes"
    if "partly" in piece.marks and not piece.claims and not piece.foreign and cut in ("(", "（"):
        claims[-1].partly = True


def _weigh_refusals(reading: StatusReading) -> None:
    """Two that exclude each other say nothing: "Not accepted, not rejected"."""
    refused = [each for each in reading.claims if each.negated]
    if any(each.status for each in refused) and not all(each.status for each in refused):
        for each in refused:
            each.status = None


def _holds(claim: StatusClaim, place: int) -> bool:
    """A later piece must say nothing else, unless its word can only mean a state ("accepted, pending the review"), and
    does not qualify another word of a new sentence ("Accepted. Rejected options are listed below")."""
    aside = claim.qualifies and any(mark in ".。\n" for mark in claim.cut)
    return place == 0 or claim.pure or not (claim.weak or aside)


class _Piece:
    """Reads one piece of a statement, between two cuts."""

    def __init__(self, language: Language, folded: str, start: int, end: int, cut: str, carried: set[str]) -> None:
        self._language = language
        self._text = folded[:end]
        self._at = start
        self._end = end
        self._cut = cut
        self.claims: list[StatusClaim] = []
        self.known = 0
        self.foreign = False
        self.lost = False
        self.alternative = False
        self.marks = {mark.replace("told", "past") for mark in carried}
        self.refusal: frozenset[str] = frozenset()
        self.of_others = False
        self.later = False
        self.begins_conditional = False
        self.names: Callable[[str, int], bool] = lambda written, start: False
        self._start = start
        self._claimed_to = -1

    def read(self) -> None:
        while self._at < self._end:
            character = self._text[self._at]
            if character in (UNREAL, CONDITION):
                self.marks.add("unreal")
                if self.claims:
                    self.claims[-1].pure = False
                if character == CONDITION:
                    self._take_condition()
            if character in (DATE, REFERENCE, DEED) or _NEUTRAL.match(character):
                if character == REFERENCE and self.claims:
                    self.claims[-1].referenced = True
                self._at += 1
                continue
            end, kinds = self._language.token(self._text, self._at)
            if end > self._at:
                self.known += end - self._at
                self._take(kinds, end)
                if self.of_others and self._at == self._end:
                    return
                self._at = end
            else:
                self._pass_unknown()
        if "now" in self.marks and self.claims:
            self.claims[0].now = True

    def _pass_unknown(self) -> None:
        """Go on behind a word that is not understood."""
        word = _WORD.match(self._text, self._at)
        if self.claims:
            self.claims[-1].pure = False
            if not self._text[self._claimed_to : self._at].strip():
                self.claims[-1].qualifies = True
                if self._claimed_to == self._at and re.match(f"[{WIDE}]", self._text[self._at]):
                    self.claims[-1].status = None  # the word goes on, and is another: "採用候補"
        else:
            self.foreign = True
        self._at = word.end() if word else self._at + 1

    def _take_condition(self) -> None:
        self.begins_conditional |= not self._text[self._start : self._at].strip()
        if self.claims:
            self.claims[-1].status = None  # "Accepted if the test passes"

    def _take(self, kinds: frozenset[str], end: int) -> None:
        if self._turns_last(kinds, end) if self.claims else self._weakens_next(kinds, end):
            return
        state = next((kind for kind in sorted(kinds) if kind.startswith(("status:", "weak:"))), None)
        if state is not None and not (kinds & {"filler", "now", "past"} and self._leads_on(end)):
            self._claim(state, end, carried_out="carried_out" in kinds)
            return
        if "or" in kinds and (self.claims or not kinds & {"filler"}):
            self.alternative = True
        if self.claims and kinds & _AFTER and not self._leads_on(end):
            self.claims[-1] = _turn(self.claims[-1], kinds, self._text[self._at : end])
            return
        if not self.claims and kinds & _AFTER:
            self.refusal = kinds
        if "if" in kinds:
            self.marks.add("unreal")
            self._take_condition()
        if self.claims and "but" in kinds and "filler" not in kinds:
            self.claims[-1].pure = False
        for mark in ("not_yet", "no_longer", "not", "partly", "now", "past"):
            if mark in kinds and ("filler" not in kinds or mark in ("partly", "past")):
                # "It was accepted" tells of what holds; "was: accepted" and "(was accepted)" of what held.
                twice = mark in self.marks and mark in _NEGATIONS
                self.marks.add("unreal" if twice else "told" if mark == "past" and "filler" in kinds else mark)
                break

    def _weakens_next(self, kinds: frozenset[str], end: int) -> bool:
        """What makes the state that follows another: "not fully accepted", "durch nichts ersetzt"."""
        degree = "degree" in kinds and "not" in self.marks
        of_state = "nominal" in kinds and self._leads_on(end)  # "Deprecation proposed"
        if degree or of_state or (kinds & {"against", "after_nothing"} and "not" not in kinds):
            self.marks.add("unreal")
        return False

    def _turns_last(self, kinds: frozenset[str], end: int) -> bool:
        """Whether what stands behind a state makes it another."""
        last = self.claims[-1]
        if "ending" in kinds and last.status == "proposed":
            last.status = None  # "Proposed for deprecation"
        if "after_past" in kinds and self._is_all_small(end):
            last.past = True  # "rejected at first"
        elif "against" in kinds and last.pure:
            last.status = "rejected" if last.status == "accepted" and self._is_all_small(end) else None
        elif "partly" in kinds and last.status == "superseded" and not self._leads_on(end):
            last.partly = True  # "superseded in part by ADR-9"
        else:
            return False
        return True

    def _leads_on(self, end: int) -> bool:
        """Whether another word of a status follows in this piece: "this proposal was accepted"."""
        return self._language.any_status.search(self._text, end) is not None

    def _is_all_small(self, at: int) -> bool:
        """Whether nothing but small words stands in the rest of the piece."""
        while at < self._end:
            end, kinds = self._language.token(self._text, at)
            if end > at and not kinds & {"filler", "now", "past"}:
                return False
            if end == at and not (self._text[at] in (DATE, REFERENCE) or _NEUTRAL.match(self._text[at])):
                return False
            at = max(end, at + 1)
        return True

    def _claim(self, kind: str, end: int, *, carried_out: bool) -> None:
        weak = kind.startswith("weak:")
        status = cast("Status", kind.partition(":")[2])
        if not self.claims and (self.of_others or self.names(self._text[self._start : self._at], self._start)):
            self._at = self._end
            self.of_others = True
            return
        if (
            self.foreign
            and self.later
            and not self.claims
            and status == "rejected"
            and not self.marks - {"now", "told"}
        ):
            object_end, kinds = self._language.token(self._text, _skip(self._text, end))
            it = "object" in kinds and self._is_all_small(object_end)
            now = "now" in self.marks
            if now or (it and any(mark in ".;。；\n" for mark in self._cut)):  # "The board then rejected it"
                self.claims.append(StatusClaim(status, self._at, self._cut, now=now and it, pure=now and it))
                self._claimed_to = end
                return
        if self.foreign or (self.claims and not self.claims[-1].pure):
            self.lost = True
            if self.claims and self.marks & {"not", "not_yet", "no_longer"}:
                self.claims[-1].status = None  # "We decided not to accept this"
            return
        if weak and self.claims:
            self.claims[-1].pure = False
            return
        if self.claims and "not_yet" in self.marks and status in ("superseded", "deprecated"):
            self.claims[-1].status = None if self.claims[-1].status == "proposed" else self.claims[-1].status
        claim = StatusClaim(status, self._at, self._cut, weak=weak, partly="partly" in self.marks)
        for mark in ("unreal", *_NEGATIONS):
            if mark in self.marks:
                # What was not carried out may be decided all the same.
                unclear = (
                    (carried_out and mark != "no_longer")
                    or (weak and mark == "not")
                    or {"not", "not_yet"} <= self.marks
                )
                claim.status = None if unclear else _NEGATED.get((mark, status))
                claim.negated = mark == "not"
                break
        claim.told = "told" in self.marks
        claim.past = "past" in self.marks or ("told" in self.marks and any(mark in "(（" for mark in self._cut))
        claim.now = "now" in self.marks
        self.marks -= {"not", "not_yet", "no_longer", "past", "told", "now", "partly"}
        led = any(self._text[self._at : end].endswith(f" {by}") for by in self._language.phrases("clause", "by"))
        ends = status in ("superseded", "deprecated", "rejected")
        claim.grasps = ends and not led and bool(_GRASPED.match(self._text, end))
        self.claims.append(claim)
        self._claimed_to = end


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _turn(claim: StatusClaim, kinds: frozenset[str], written: str) -> StatusClaim:
    """The claim with what is said behind it: "accepted: no", "gilt nicht mehr", "承認待ち"."""
    status: Status | None = claim.status
    whole = " " in written or not written.isascii()  # "plus" alone is "more" as well as "no more"
    if kinds & {"after_unreal", "after_nothing"}:
        status = None
    elif "after_not_yet" in kinds:
        status = "proposed" if status == "accepted" else None
    elif "not_yet" in kinds:
        status = "proposed" if status in ("accepted", "rejected") else None
    elif "no_longer" in kinds and whole:
        status = "deprecated" if status == "accepted" else None
    elif "after_yet" in kinds and status == "rejected":
        status = "proposed"  # "not accepted yet"
    elif "after_anymore" in kinds and status == "rejected":
        status = "deprecated"
    elif "after_no" in kinds:
        status = "rejected" if status == "accepted" and claim.pure else None
    return msgspec.structs.replace(claim, status=status, negated=claim.negated or "after_no" in kinds)
