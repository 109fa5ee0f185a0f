"""A breaker: an endpoint that fails is left alone for a while, then asked again, carefully.

Owns the rolling window, the three states, and what each kind of failure means to them. Refuses time-outs, waiting and
the choice among endpoints (`router`). No I/O, and no clock but the one it is given: a test simulates hours.

Closed: everybody may ask. Too many failures of the endpoint's own open it. Open: nobody may, for a cooldown that grows
each time. Half-open: a few may, the probes; when all of them get content it is closed, when one fails it is open again.
A rate limit is no failure: nobody asks until the provider's wait is over. What lies with the caller or the request, a
hang-up for one, counts as nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Literal

from connectors.llm.failures import Failure, Kind
from runtime.clock import Clock

State = Literal["closed", "half-open", "open"]

WINDOW_S = 30.0
"""What is remembered, in seconds: long enough for a quiet model to have samples, short enough that an outage which is
over is forgotten."""
BUCKET_S = 1.0
"""The window moves in steps of this, in seconds, so that it holds 30 pairs of numbers whatever the load."""
SAMPLES_MIN = 10
"""Outcomes in the window before their share of failures says anything."""
FAILURE_SHARE = 0.5
"""The share of failures from which on an endpoint costs callers more time than it is worth."""
CONSECUTIVE_MAX = 5
"""Failures without a success between them, however long that took: a quiet endpoint never has enough samples."""
PROBES_MAX = 2
"""Requests that a half-open endpoint gets at a time, and that must all get content before it is closed."""
COOLDOWN_S = 5.0
"""First time for which an open endpoint is left alone, in seconds: a restart of the other side takes that long."""
COOLDOWN_S_MAX = 120.0
"""Longest time of that, in seconds: an endpoint that is back is found again at most two minutes later."""
QUOTA_S = 60.0
"""Least time for which an account without money is left alone, in seconds: somebody has to pay first."""
RATE_LIMIT_S = 1.0
"""Wait after a rate limit whose provider names none, in seconds."""
RATE_LIMIT_S_MAX = 600.0
"""Longest wait that a provider may ask for, in seconds: a limit by the day must not outlive a change of the plan."""

FAILING: Final[frozenset[Kind]] = frozenset({"overloaded", "timeout", "unreachable", "broken-stream", "not-understood"})
"""The endpoint's own trouble, which passes: counted."""
OF_ACCOUNT: Final[frozenset[Kind]] = frozenset({"credential", "quota"})
"""What is wrong for every model of the same credential."""
STANDING: Final[frozenset[Kind]] = frozenset({"credential", "not-found", "misconfigured"})
"""What does not pass by itself: open until another key is there, or this process ends."""


class Permit:
    """Leave to ask once. Whoever has it says what came of it, or that nothing did; the first word counts, except that
    a failure may follow content: the answer broke off in the middle."""

    def __init__(self, breaker: Breaker, epoch: int, *, probe: bool) -> None:
        self._breaker = breaker
        self._epoch = epoch
        self._holds = probe

    def note_content(self) -> None:
        """The endpoint sent content."""
        self._breaker.hear_success(self._epoch, probe=self._give_back())

    def fail(self, failure: Failure) -> None:
        """The endpoint failed, before its first content or after it."""
        self._give_back()
        self._breaker.hear_failure(self._epoch, failure)

    def release(self) -> None:
        """Nothing was learned, or everything was said. Idempotent."""
        self._give_back()

    def _give_back(self) -> bool:
        held, self._holds = self._holds, False
        if held:
            self._breaker.end_probe(self._epoch)
        return held


class Breaker:
    """One endpoint's: a provider, an address, a model and a credential. `jitter` gives numbers from 0 up to 1;
    `on_state` hears each new state."""

    def __init__(
        self, clock: Clock, jitter: Callable[[], float], on_state: Callable[[State], object] = lambda state: None
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._on_state = on_state
        self._state: State = "closed"
        self._epoch = 0
        self._window: deque[tuple[int, int, int]] = deque()
        self._consecutive = 0
        self._openings = 0
        self._open_until_s = 0.0
        self._standing = False
        self._blocked_until_s = 0.0
        self._probing = 0
        self._probed = 0
        self.failed_at_s = 0.0
        """When it last failed (monotonic): of several that are open, the one that failed longest ago is asked."""

    # --- for who asks -----------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What it is at this moment: an open one becomes half-open by itself, when its cooldown is over."""
        if self._state == "open" and not self._standing and self._clock.monotonic() >= self._open_until_s:
            self._turn("half-open")
        return self._state

    @property
    def blocked_s(self) -> float:
        """Seconds for which its provider wants no request."""
        return max(0.0, self._blocked_until_s - self._clock.monotonic())

    @property
    def wait_s(self) -> float:
        """Seconds until asking makes sense again, as far as it is known; 0 is now."""
        cooling = self._open_until_s - self._clock.monotonic() if self._state == "open" else 0.0
        return max(0.0, cooling, self.blocked_s)

    @property
    def ready(self) -> bool:
        """Whether `admit` would say yes."""
        state = self.state
        return not self.blocked_s and (state == "closed" or (state == "half-open" and self._has_room()))

    def admit(self) -> Permit | None:
        """Leave to ask now, or none."""
        if not self.ready:
            return None
        if self._state == "closed":
            return Permit(self, self._epoch, probe=False)
        self._probing += 1
        return Permit(self, self._epoch, probe=True)

    def force(self) -> Permit | None:
        """Leave to ask although it is open, because nobody else is left to be asked. One at a time, and none while a
        rate limit lasts."""
        if self.state == "open" and not self.blocked_s:
            self._standing = False
            self._turn("half-open")
            self._probing += 1
            return Permit(self, self._epoch, probe=True)
        return self.admit()

    def _has_room(self) -> bool:
        return self._probing + self._probed < PROBES_MAX

    # --- for its permits, and for who speaks for the account --------------------------------------------------------

    def hear_success(self, epoch: int, *, probe: bool) -> None:
        """Content came. What was asked in an earlier state changes nothing now."""
        if epoch != self._epoch:
            return
        if self._state == "closed":
            self._consecutive = 0
            self._count(failed=False)
        elif probe:
            self._probed += 1
            if self._probed >= PROBES_MAX:
                self._openings = 0
                self._turn("closed")

    def hear_failure(self, epoch: int, failure: Failure) -> None:
        """Something went wrong. A refusal and a request that is too large say nothing about the endpoint."""
        if failure.kind == "rate-limit":
            wait_s = RATE_LIMIT_S if failure.retry_after_s is None else failure.retry_after_s
            until_s = self._clock.monotonic() + min(wait_s, RATE_LIMIT_S_MAX)
            self._blocked_until_s = max(self._blocked_until_s, until_s)
        elif failure.kind in STANDING:
            self._open(0.0)
            self._standing = True
        elif epoch != self._epoch:
            return
        elif failure.kind == "quota":
            self._open(QUOTA_S)
        elif failure.kind in FAILING:
            self._fail()

    def share(self, failure: Failure) -> None:
        """What went wrong lies with the account, and was met by another endpoint of it."""
        self.hear_failure(self._epoch, failure)

    def renew(self) -> None:
        """There is another key: what was said of the one before is void, and the endpoint is tried."""
        if self._state == "open" and self._standing:
            self._standing = False
            self._turn("half-open")

    def end_probe(self, epoch: int) -> None:
        """A probe's place is free again."""
        if epoch == self._epoch:
            self._probing -= 1

    def _fail(self) -> None:
        self.failed_at_s = self._clock.monotonic()
        if self._state == "half-open":
            self._open(0.0)
        elif self._state == "closed":
            self._consecutive += 1
            self._count(failed=True)
            good, bad = (sum(bucket[place] for bucket in self._window) for place in (1, 2))
            if self._consecutive >= CONSECUTIVE_MAX or (
                good + bad >= SAMPLES_MIN and bad >= FAILURE_SHARE * (good + bad)
            ):
                self._open(0.0)

    def _open(self, least_s: float) -> None:
        """Leave it alone: twice as long as the last time, less up to a quarter, so that processes do not return
        together."""
        cooldown_s = min(COOLDOWN_S_MAX, COOLDOWN_S * 2.0 ** min(self._openings, 10))
        self._openings += 1
        self.failed_at_s = self._clock.monotonic()
        self._open_until_s = self.failed_at_s + max(least_s, cooldown_s * (1 - 0.25 * self._jitter()))
        self._turn("open")

    def _count(self, *, failed: bool) -> None:
        now_s = self._clock.monotonic()
        bucket = int(now_s // BUCKET_S)
        while self._window and self._window[0][0] <= bucket - WINDOW_S // BUCKET_S:
            self._window.popleft()
        good, bad = self._window.pop()[1:] if self._window and self._window[-1][0] == bucket else (0, 0)
        self._window.append((bucket, good + (not failed), bad + failed))

    def _turn(self, state: State) -> None:
        self._state = state
        self._epoch += 1
        self._probing = self._probed = self._consecutive = 0
        self._window.clear()
        self._on_state(state)
