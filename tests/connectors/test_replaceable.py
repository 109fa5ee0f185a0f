"""A client that failed, refused or was late is not asked again; time is the tests' own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from connectors.replaceable import ABANDONED_MAX, ReplaceableClient
from runtime.clock import ManualClock
from runtime.errors import DependencyUnavailable

BOUND_S = 60.0
"""By the tests' clock. By the machine's own it is never reached."""
SLOW = [0.9, 1.0, 5.0]
"""Times the bound."""


@dataclass
class Client:
    """Takes `takes_s` for each answer, or fails."""

    number: int
    clock: ManualClock
    takes_s: float = 0.0
    error: Exception | None = None
    closed: bool = False

    def look(self) -> int:
        assert not self.closed, "a closed client is asked"
        self.clock.sleep(self.takes_s)
        if self.error is not None:
            raise self.error
        return self.number

    def close(self) -> None:
        assert not self.closed, "closed twice"
        self.closed = True


@dataclass
class Server:
    """`old` says how clients are that it already has; new ones answer at once, or after `new_s`."""

    clock: ManualClock = field(default_factory=ManualClock)
    clients: list[Client] = field(default_factory=list)
    new_s: float = 0.0

    def make(self) -> Client:
        self.clients.append(Client(len(self.clients), self.clock, self.new_s))
        return self.clients[-1]

    def replaceable(self, fit: Callable[[Client], bool] = lambda _: True) -> ReplaceableClient[Client]:
        return ReplaceableClient("it", self.make, BOUND_S, close=Client.close, fit=fit, clock=self.clock)


@pytest.mark.parametrize("times", SLOW)
@pytest.mark.parametrize("apart", [False, True])
def test_a_client_that_became_slow_is_replaced_and_one_in_time_is_kept(times: float, apart: bool) -> None:
    server = Server()
    asked = server.replaceable()
    ask = asked.ask_apart if apart else asked.ask
    assert ask(Client.look) == 0
    server.clients[0].takes_s = times * BOUND_S
    if apart and times >= 1:
        with pytest.raises(DependencyUnavailable):
            ask(Client.look)
    else:
        assert ask(Client.look) == 0, "asked on the own thread, a late answer is still one"
    assert ask(Client.look) == (0 if times < 1 else 1)
    assert [client.closed for client in server.clients] == ([False] if times < 1 else [True, False])


@pytest.mark.parametrize("apart", [False, True])
def test_where_everything_is_slow_but_in_time_nothing_is_replaced(apart: bool) -> None:
    server = Server(new_s=0.9 * BOUND_S)
    asked = server.replaceable()
    assert {(asked.ask_apart if apart else asked.ask)(Client.look) for _ in range(5)} == {0}


def test_where_everything_is_too_slow_there_are_answers_to_whoever_waits() -> None:
    server = Server(new_s=1.5 * BOUND_S)
    asked = server.replaceable()
    assert [asked.ask(Client.look) for _ in range(3)] == [0, 1, 2]
    server.new_s = 0.0
    assert [asked.ask(Client.look) for _ in range(3)] == [3, 3, 3]


@pytest.mark.parametrize("apart", [False, True])
def test_an_error_of_a_client_that_had_answered_is_repeated_once_with_a_new_one(apart: bool) -> None:
    server = Server()
    asked = server.replaceable()
    ask = asked.ask_apart if apart else asked.ask
    assert ask(Client.look) == 0
    server.clients[0].error = DependencyUnavailable("fenced")
    assert ask(Client.look) == 1
    server.clients[1].error = DependencyUnavailable("fenced")
    server.make = lambda: _broken(server)  # type: ignore[method-assign]
    asked = server.replaceable()
    ask = asked.ask_apart if apart else asked.ask
    with pytest.raises(DependencyUnavailable, match="away"):
        ask(Client.look)
    assert len(server.clients) == 3, "an outage is not repeated away"
    assert server.clients[-1].closed


def _broken(server: Server) -> Client:
    server.clients.append(Client(len(server.clients), server.clock, error=DependencyUnavailable("away")))
    return server.clients[-1]


def test_an_error_that_took_all_the_time_is_not_repeated() -> None:
    server = Server()
    asked = server.replaceable()
    asked.ask(Client.look)
    server.clients[0].takes_s, server.clients[0].error = BOUND_S, DependencyUnavailable("timed out")
    with pytest.raises(DependencyUnavailable, match="timed out"):
        asked.ask(Client.look)
    assert asked.ask(Client.look) == 1


def test_a_client_that_is_not_fit_any_more_has_given_its_last_answer() -> None:
    server = Server()
    asked = server.replaceable(fit=lambda client: client.number != 0)
    assert [asked.ask(Client.look) for _ in range(3)] == [0, 1, 1]
    assert server.clients[0].closed


def test_a_client_that_cannot_be_made_is_tried_again_at_the_next_call() -> None:
    answers = iter([DependencyUnavailable("away"), None])

    def make() -> Client:
        if (error := next(answers)) is not None:
            raise error
        return Client(7, ManualClock())

    asked = ReplaceableClient("it", make, BOUND_S, close=Client.close)
    with pytest.raises(DependencyUnavailable, match="away"):
        asked.ask(Client.look)
    assert asked.ask(Client.look) == 7


def test_calls_that_hang_do_not_hold_up_the_next_ones_and_are_bounded() -> None:
    server, go_on = Server(), threading.Event()
    asked = ReplaceableClient("it", server.make, 0.01, close=Client.close, clock=server.clock)

    def hang(client: Client) -> int:
        assert go_on.wait(60)
        return client.look()

    for _ in range(ABANDONED_MAX):
        with pytest.raises(DependencyUnavailable, match="not answered within"):
            asked.ask_apart(hang)
    with pytest.raises(DependencyUnavailable, match=f"{ABANDONED_MAX} earlier calls have not ended"):
        asked.ask_apart(hang)
    assert not any(client.closed for client in server.clients), "not while it is asked"
    go_on.set()
    _join("ask-it")
    assert len(server.clients) == ABANDONED_MAX, "each had a client of its own"
    assert all(client.closed for client in server.clients)
    asked = ReplaceableClient("it", server.make, BOUND_S, close=Client.close, clock=server.clock)
    assert asked.ask_apart(hang) == ABANDONED_MAX


def test_what_hung_counts_no_more_when_it_has_ended() -> None:
    server, go_on = Server(), threading.Event()
    asked = ReplaceableClient("it", server.make, 0.01, close=Client.close, clock=server.clock)
    for _ in range(2 * ABANDONED_MAX):
        go_on.clear()
        with pytest.raises(DependencyUnavailable, match="not answered within"):
            asked.ask_apart(lambda _client: go_on.wait(60))
        go_on.set()
        _join("ask-it")


def test_closing_lets_go_of_the_client_in_hand() -> None:
    server = Server()
    asked = server.replaceable()
    asked.ask(Client.look)
    asked.close()
    asked.close()
    assert server.clients[0].closed


def _join(name: str) -> None:
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(60)
