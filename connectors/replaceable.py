"""A client that is asked again and again, and thrown away when it fails or answers too late.

Owns which client is in hand, when a new one takes its place, and the calls that nobody waits for any more. Refuses to
know what is asked, and to repeat an outage away: an error of a client that had answered before is repeated once, with a
new one, because what the old one had learnt may be all that is wrong; everything after that is its caller's next look.

A client that lived through an outage can stay slow, or refuse, for ever: it keeps connections, coordinators and epochs
of a server that is gone. A new one has none of these, and costs milliseconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import DependencyUnavailable

C = TypeVar("C")
R = TypeVar("R")

ABANDONED_MAX = 3
"""Calls that are still under way though nobody waits for them. With so many of them the dependency hangs, and one more
would tell nothing: the answer is that it is not known, until one of them ends."""


def _leave(_client: object) -> None:
    """Does nothing, for clients that have nothing to close."""


@dataclass(slots=True)
class _Held(Generic[C]):
    """A client, and whether it has ever answered."""

    client: C
    answered: bool = False
    closed: bool = False


@dataclass(slots=True)
class _Call(Generic[C]):
    """One call: until when its answer is in time, with which client, and whether anybody still waits for it."""

    until_s: float
    held: _Held[C] | None = None
    abandoned: bool = False
    ended: bool = False


class ReplaceableClient(Generic[C]):
    """One dependency's client. Several threads may ask at once if the client allows it and needs no closing.

    `answer_s_max`: an answer that takes longer, in seconds, is late. `fit`: asked after an answer whether the client
    may be kept, for one that tells of errors in its answers.
    """

    def __init__(
        self,
        dependency: str,
        make: Callable[[], C],
        answer_s_max: float,
        *,
        close: Callable[[C], None] = _leave,
        fit: Callable[[C], bool] = lambda _client: True,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._dependency = dependency
        self._make = make
        self._answer_s_max = answer_s_max
        self._close = close
        self._fit = fit
        self._clock = clock
        self._lock = threading.Lock()
        self._held: _Held[C] | None = None
        self._abandoned = 0

    def ask(self, question: Callable[[C], R]) -> R:
        """What `question` gives, on this thread: for clients that end each call by a time-out of their own. An answer
        that comes late is given all the same, and the next call is made with a new client. Raises what `question`
        raises."""
        return self._ask(question, self._new_call())

    def ask_apart(self, question: Callable[[C], R]) -> R:
        """What `question` gives, on a thread of its own: for clients that may hang. An answer that comes late is
        dropped. Raises what `question` raises, and `DependencyUnavailable` when there is no answer in time."""
        with self._lock:
            if self._abandoned >= ABANDONED_MAX:
                raise self._unknown(f"{self._abandoned} earlier calls have not ended yet")
        call = self._new_call()
        answers: list[R] = []
        errors: list[Exception] = []
        ended = threading.Event()

        def run() -> None:
            try:
                answers.append(self._ask(question, call))
            except Exception as error:
                errors.append(error)
            finally:
                self._end(call)
                ended.set()

        # Not of a pool: a process that ends would wait for the thread of a pool, which may hang for ever.
        threading.Thread(target=run, name=f"ask-{self._dependency}", daemon=True).start()
        if not ended.wait(self._answer_s_max):
            self._abandon(call)
        if errors:
            raise errors[0]
        if not answers or self._clock.monotonic() >= call.until_s:
            raise self._unknown(f"has not answered within {self._answer_s_max:g} s")
        return answers[0]

    def close(self) -> None:
        """Let go of the client in hand. A call that nobody waits for ends by itself, and closes its own client."""
        with self._lock:
            held, self._held = self._held, None
        if held is not None:
            self._drop(held)

    # --- one call ---------------------------------------------------------------------------------------------------

    def _new_call(self) -> _Call[C]:
        return _Call(self._clock.monotonic() + self._answer_s_max)

    def _ask(self, question: Callable[[C], R], call: _Call[C]) -> R:
        held = self._take(call)
        try:
            return self._answer(question, call, held)
        except Exception:
            if not held.answered or call.abandoned or self._clock.monotonic() >= call.until_s:
                raise
        return self._answer(question, call, self._take(call))

    def _take(self, call: _Call[C]) -> _Held[C]:
        """The client in hand, or a new one. A call that nobody waits for any more leaves the hand alone."""
        with self._lock:
            held = self._held
        if held is None:
            held = _Held(self._make())
        with self._lock:
            call.held = held
            if not call.abandoned:
                self._held = held
        return held

    def _answer(self, question: Callable[[C], R], call: _Call[C], held: _Held[C]) -> R:
        try:
            answer = question(held.client)
        except BaseException:
            self._drop(held)
            raise
        if call.abandoned or self._clock.monotonic() >= call.until_s or not self._fit(held.client):
            self._drop(held)
        held.answered = True
        return answer

    def _drop(self, held: _Held[C]) -> None:
        with self._lock:
            if self._held is held:
                self._held = None
            again, held.closed = held.closed, True
        if not again:
            self._close(held.client)

    def _abandon(self, call: _Call[C]) -> None:
        """Nobody waits for `call` any more: what it uses is its own, and it closes that at its end."""
        with self._lock:
            if call.ended:
                return
            call.abandoned = True
            self._abandoned += 1
            if self._held is call.held:
                self._held = None

    def _end(self, call: _Call[C]) -> None:
        with self._lock:
            call.ended = True
            if call.abandoned:
                self._abandoned -= 1

    def _unknown(self, why: str) -> DependencyUnavailable:
        return DependencyUnavailable(f"{self._dependency}: {why}", coordinates={"dependency": self._dependency})
