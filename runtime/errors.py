"""Every error that Adriatic raises on purpose.

Owns the tree, the stable codes and the rule for what happens next. Refuses to know any library: each boundary in
`connectors` maps the exceptions of the library that it wraps.

    AdriaticError
    ├── OperatingError          the world: retry in place, or stop and say why; never a dead letter (law 7)
    │   ├── DependencyUnavailable   broker, database, registry, embedder do not answer: retry with back-off
    │   │   ├── Unprepared              it answers, and a password, a right, a table or a topic is missing
    │   │   └── LostRace                another transaction came first, and nothing was done: do it again
    │   ├── Behind                  a view has not reached the position that a read asked for: ask again
    │   ├── Fenced                  another writer took over: end this process, write nothing more
    │   └── Halted                  going on would lose or invent data: stop until somebody decides
    │       └── Defect                  what we ask makes no sense to whom we ask: a bug of ours
    ├── DataError               this record: to the dead-letter queue, with its coordinates
    │   ├── Undecodable             not our wire format, or bytes that do not fit their schema
    │   ├── UnknownSchema           a schema id that the registry does not have
    │   ├── Unencodable             a value that does not fit the schema of the topic it is for
    │   ├── RecordTooLarge          larger than the broker takes for its topic
    │   └── Unprocessable           decoded, yet processing it raises
    ├── CallerError             whoever called: told at once, nothing changed
    │   ├── InvalidInput, NotFound, Gone, Conflict, PreconditionRequired, TooLarge, TooSlow, UnsupportedMedia
    │   ├── Unauthenticated, Forbidden, Stopped, RateLimited, BoundReached
    │   │   ├── SpendStopped            somebody, or a budget far over its limit, has stopped all spending
    │   │   └── BudgetExceeded          over a budget of money, which says when it resets
    │   └── Misconfigured           settings that do not make sense
    └── (programmer errors are assertions, not classes)

Every error carries a stable `code` (what a machine matches), a `detail` (what happened, with values) and a `hint` (what
to do next). They pickle, because worker processes send them home.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class AdriaticError(Exception):
    """Root of the tree. `code` is stable across releases; `coordinates` say where (topic, partition, offset …)."""

    code: ClassVar[str] = "error"

    def __init__(self, detail: str, *, hint: str = "", coordinates: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.coordinates: dict[str, Any] = dict(coordinates or {})
        self.quoted = ""
        """The part of `detail` that is somebody else's words, and may repeat what they were asked."""

    @property
    def loggable(self) -> str:
        """The detail, as far as a log may have it."""
        return self.detail.replace(self.quoted, "…") if self.quoted else self.detail

    def __str__(self) -> str:
        return f"{self.detail} ({self.hint})" if self.hint else self.detail

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.detail, self.hint, self.coordinates))


def _rebuild(cls: type[AdriaticError], detail: str, hint: str, coordinates: dict[str, Any]) -> AdriaticError:
    return cls(detail, hint=hint, coordinates=coordinates)


class OperatingError(AdriaticError):
    """The world is not as it should be. Never the fault of the record in hand."""

    code = "operating"


class DependencyUnavailable(OperatingError):
    """A dependency does not answer, or says that it cannot right now. Retry in place, with back-off."""

    code = "dependency-unavailable"


class Unprepared(DependencyUnavailable):
    """A dependency is there, and is not as this release needs it: a password, a right, a table or a topic is missing.
    Retried like an outage, because it heals without us once somebody has done what the hint says."""

    code = "unprepared"


class LostRace(DependencyUnavailable):
    """Another transaction came first, so that nothing was done: to do it again is safe, and mostly works."""

    code = "lost-race"


class Behind(OperatingError):
    """A view has not reached the position that a read asked for, in the time that a read may wait. Try again later."""

    code = "behind"


class Fenced(OperatingError):
    """The offset, slot or lease that this process held has moved under it. It must end without writing again."""

    code = "fenced"


class Halted(OperatingError):
    """Going on would lose or invent data. Operator action: read the hint, decide, start again."""

    code = "halted"


class Defect(Halted):
    """A dependency does not take what we ask, whatever the values: a bug of ours, which no retry heals."""

    code = "defect"


class DataError(AdriaticError):
    """This record's own fault. Goes to the dead-letter queue with its coordinates and original bytes."""

    code = "data"


class Undecodable(DataError):
    """The bytes are not in the wire format, or do not fit the schema that they name."""

    code = "undecodable"


class UnknownSchema(DataError):
    """The registry answered, and has no schema with this id."""

    code = "unknown-schema"


class Unencodable(DataError):
    """A value that does not fit the schema of the topic it is for."""

    code = "unencodable"


class RecordTooLarge(DataError):
    """A record that is larger than the broker takes for its topic."""

    code = "record-too-large"


class Unprocessable(DataError):
    """The record decodes, and processing it raises."""

    code = "unprocessable"


class CallerError(AdriaticError):
    """Whoever called got something wrong. Nothing was changed. `status` is the HTTP status that says so."""

    code = "bad-request"
    status: ClassVar[int] = 400


class InvalidInput(CallerError):
    """The request does not have the documented shape."""

    code = "invalid-input"
    status = 400


class Unauthenticated(CallerError):
    """No bearer token, or one that does not validate."""

    code = "unauthenticated"
    status = 401


class Forbidden(CallerError):
    """The token is good, and does not allow this."""

    code = "forbidden"
    status = 403


class SpendStopped(Forbidden):
    """Spending is stopped, by hand or by a budget that is far over its limit. The detail says since when and why; to
    ask again changes nothing until somebody resumes it."""

    code = "spend-stopped"


class NotFound(CallerError):
    """No such thing, or it belongs to another tenant: the two are never told apart."""

    code = "not-found"
    status = 404


class Gone(CallerError):
    """It was here and its own tenant deleted it; the hint says how to bring it back."""

    code = "gone"
    status = 410


class Conflict(CallerError):
    """The thing has changed since the caller read it."""

    code = "conflict"
    status = 409


class PreconditionRequired(CallerError):
    """A change must say which version it was made from, so that nobody's work is overwritten unseen."""

    code = "precondition-required"
    status = 428


class UnsupportedMedia(CallerError):
    """The body is of a type, charset or encoding that this route does not read."""

    code = "unsupported-media-type"
    status = 415


class TooLarge(CallerError):
    """The request is over a documented limit."""

    code = "too-large"
    status = 413


class TooSlow(CallerError):
    """The request's body did not arrive in the time that there is for it."""

    code = "too-slow"
    status = 408


class RateLimited(CallerError):
    """The caller is over a quota. Retry later."""

    code = "rate-limited"
    status = 429


class Stopped(CallerError):
    """Whoever it was for wanted no more of it."""

    code = "stopped"
    status = 409


class BoundReached(CallerError):
    """A task has taken as much as it may: steps, tokens, money or time. What it did until then stands."""

    code = "bound-reached"
    status = 422


class BudgetExceeded(RateLimited):
    """A budget has less left than this takes. The detail says which, and the hint when it begins anew."""

    code = "budget-exceeded"


class Misconfigured(CallerError):
    """The settings do not make sense; every fault is listed, not only the first."""

    code = "misconfigured"
    status = 500
