"""What the fake provider does with a request: named scripts, each a reply in steps. Pure.

Owns the names, what each does, and which one is meant. A script says what is sent, when, and where the connection
breaks; `server` does it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from email.utils import format_datetime
from itertools import chain, cycle, islice

import msgspec

from connectors.llm.fake.frames import FakeUsage, Reason, write_frames, write_refusal
from connectors.llm.fake.requests import FakeQuestion, ReceivedRequest, read_question, sample
from runtime.errors import InvalidInput

SCRIPT_HEADER = "x-fake-script"
MODEL_PREFIX = "fake-"
SILENT_S = 3_600.0
"""Silence that no client waits out, in seconds."""
RETRY_AFTER_S = 7.0
"""What a refusal asks to wait, in seconds: a date has no fractions of them."""
BEGUN_CHUNKS = 3
"""Chunks that a script sends before it goes wrong in the middle."""
MUCH_TOKENS = 1_000_000
"""What a script says to have used that used little: more than fits, and no more than there are tokens."""
TEXT = "This is what a provider that is none has to say about it [1]."
PIECE_CHARS = 8
"""Longest piece of an answer that is JSON."""
_STATUS = re.compile(r"status-([45]\d\d)")


class Send(msgspec.Struct, frozen=True):
    """Send bytes, for which the provider charges so many tokens of output."""

    data: bytes
    tokens: int = 0


class Pause(msgspec.Struct, frozen=True):
    """Send nothing for a while, in seconds."""

    seconds: float


class Cut(msgspec.Struct, frozen=True):
    """Close the connection in the middle of the response."""


Step = Send | Pause | Cut


class Reply(msgspec.Struct, frozen=True):
    """A response. `status` 0 has no headers; 200 is streamed in `steps`; any other has a `body`."""

    script: str
    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b""
    steps: Iterable[Step] = ()


class FakePace(msgspec.Struct, frozen=True):
    """How fast an answer is written: seconds until its first chunk, seconds between two, and how many there are."""

    first_s: float = 0.0
    gap_s: float = 0.0
    chunks: int = 8


class FakeAnswer:
    """One answer to one question, in pieces that a script puts together."""

    def __init__(self, question: FakeQuestion, pace: FakePace) -> None:
        self.question = question
        self.pace = pace
        self._frames = write_frames(question)
        self._written = 0
        self._thought = 0

    def begin(self, *, says_usage: bool = True) -> Iterator[Step]:
        """The start, and the pause before the first content."""
        usage = FakeUsage(self.question.input_tokens, 0) if says_usage else None
        yield Send(self._frames.start(usage))
        yield Pause(self.pace.first_s)

    def say(self, chunks: int | None = None) -> Iterator[Step]:
        """The text: so many chunks, or all of it, one token each. The model stops at the bound that was asked for."""
        all_of_it = self._left if self.question.form is not None else self.pace.chunks
        for piece in islice(self._pieces(), min(all_of_it if chunks is None else chunks, self._left)):
            if self._written:
                yield Pause(self.pace.gap_s)
            self._written += 1
            yield Send(self._frames.text(piece), 1)

    def think(self) -> Iterator[Step]:
        for piece in ("Somebody asks. ", "What do I say?")[: self._left]:
            self._thought += 1
            self._written += 1
            yield Send(self._frames.think(piece), 1)

    def call(self, tools: int = 1) -> Iterator[Step]:
        """A call of each of the first `tools` that are offered."""
        for tool in self.question.tools[:tools]:
            self._written += 1
            yield Send(self._frames.call(tool.name, msgspec.json.encode(sample(tool.schema)).decode()), 1)

    def call_unknown(self) -> Iterator[Step]:
        """A call of a tool that nobody offered."""
        self._written += 1
        yield Send(self._frames.call("fake_tool", "{}"), 1)

    def finish(self, reason: Reason = "stop") -> Iterator[Step]:
        """The reason to end, and the usage as it is."""
        # A generator of its own: how much was written is known when it is reached.
        usage = FakeUsage(self.question.input_tokens, self._written, reasoning=self._thought)
        yield from self.claim(usage, "length" if reason == "stop" and not self._left else reason)

    def claim(self, usage: FakeUsage | None, reason: Reason = "stop") -> Iterator[Step]:
        """The reason to end, and any usage."""
        yield Send(self._frames.finish(reason, usage))

    def end(self) -> Iterator[Step]:
        yield Send(self._frames.end())

    def fail(self) -> Iterator[Step]:
        yield Send(self._frames.error())

    @property
    def written(self) -> int:
        """Tokens of output so far."""
        return self._written

    @property
    def _left(self) -> int:
        return self.question.output_tokens_max - self._written

    def _pieces(self) -> Iterator[str]:
        if self.question.form is None:
            return (f"{word} " for word in cycle(TEXT.split(" ")))
        text = msgspec.json.encode(sample(self.question.form)).decode()
        return (text[start : start + PIECE_CHARS] for start in range(0, len(text), PIECE_CHARS))


# --- scripts --------------------------------------------------------------------------------------------------------


def _whole(answer: FakeAnswer) -> Iterator[Step]:
    return chain(answer.begin(), answer.say(), answer.finish(), answer.end())


def _think(answer: FakeAnswer) -> Iterator[Step]:
    return chain(answer.begin(), answer.think(), answer.say(), answer.finish(), answer.end())


def _call_tool(answer: FakeAnswer) -> Iterator[Step]:
    if not answer.question.tools or answer.question.after_tool:
        return _whole(answer)
    return chain(answer.begin(), answer.call(), answer.finish("tool-calls"), answer.end())


def _call_all_tools(answer: FakeAnswer) -> Iterator[Step]:
    if not answer.question.tools or answer.question.after_tool:
        return _whole(answer)
    calls = answer.call(len(answer.question.tools))
    return chain(answer.begin(), answer.think(), answer.say(1), calls, answer.finish("tool-calls"), answer.end())


def _call_again(answer: FakeAnswer) -> Iterator[Step]:
    if not answer.question.tools:
        return _whole(answer)
    return chain(answer.begin(), answer.call(), answer.finish("tool-calls"), answer.end())


def _call_unknown(answer: FakeAnswer) -> Iterator[Step]:
    if answer.question.after_tool:
        return _whole(answer)
    return chain(answer.begin(), answer.call_unknown(), answer.finish("tool-calls"), answer.end())


def _refuse(answer: FakeAnswer) -> Iterator[Step]:
    return chain(answer.begin(), answer.say(BEGUN_CHUNKS), answer.finish("refused"), answer.end())


def _drip(answer: FakeAnswer) -> Iterator[Step]:
    for step in _whole(answer):
        if isinstance(step, Send):
            for number, byte in enumerate(step.data):
                yield Send(bytes([byte]), 0 if number else step.tokens)
                yield Pause(0.0)
        else:
            yield step


def _never_end(answer: FakeAnswer) -> Iterator[Step]:
    yield from answer.begin()
    frames = write_frames(answer.question)
    while True:
        yield Send(frames.text("on and "), 1)
        yield Pause(answer.pace.gap_s)


def _say_no_usage(answer: FakeAnswer) -> Iterator[Step]:
    return chain(answer.begin(says_usage=False), answer.say(), answer.claim(None), answer.end())


def _say_wrong_usage(answer: FakeAnswer) -> Iterator[Step]:
    yield from chain(answer.begin(), answer.say())
    read, written = answer.question.input_tokens, answer.written
    yield from chain(answer.claim(FakeUsage(read, written, cached=2 * read, reasoning=2 * written)), answer.end())


def _say_absurd_usage(answer: FakeAnswer) -> Iterator[Step]:
    return chain(answer.begin(), answer.say(), answer.claim(FakeUsage(-5, 10**15)), answer.end())


def _say_little_usage(answer: FakeAnswer) -> Iterator[Step]:
    return chain(answer.begin(), answer.say(), answer.claim(FakeUsage(1, 1)), answer.end())


def _say_much_usage(answer: FakeAnswer) -> Iterator[Step]:
    return chain(answer.begin(), answer.say(), answer.claim(FakeUsage(MUCH_TOKENS, MUCH_TOKENS)), answer.end())


def _say_usage_twice(answer: FakeAnswer) -> Iterator[Step]:
    return chain(answer.begin(), answer.say(), answer.finish(), answer.finish(), answer.end())


def _cut_first(answer: FakeAnswer) -> Iterator[Step]:
    yield Cut()


def _cut_headers(answer: FakeAnswer) -> Iterator[Step]:
    yield Cut()


def _cut_event(answer: FakeAnswer) -> Iterator[Step]:
    yield from chain(answer.begin(), answer.say(BEGUN_CHUNKS - 1))
    for step in answer.say(1):
        yield Send(step.data[: len(step.data) // 2]) if isinstance(step, Send) else step
    yield Cut()


def _cut(answer: FakeAnswer) -> Iterator[Step]:
    return chain(answer.begin(), answer.say(BEGUN_CHUNKS), [Cut()])


def _cut_end(answer: FakeAnswer) -> Iterator[Step]:
    return chain(answer.begin(), answer.say(), answer.finish(), [Cut()])


def _truncate(answer: FakeAnswer) -> Iterator[Step]:
    return chain(answer.begin(), answer.say(BEGUN_CHUNKS))


def _leave_out_end(answer: FakeAnswer) -> Iterator[Step]:
    return chain(answer.begin(), answer.say(), answer.finish())


def _fail_first(answer: FakeAnswer) -> Iterator[Step]:
    return chain(answer.begin(), answer.fail())


def _fail_midway(answer: FakeAnswer) -> Iterator[Step]:
    return chain(answer.begin(), answer.say(BEGUN_CHUNKS), answer.fail())


def _hang(answer: FakeAnswer) -> Iterator[Step]:
    yield Pause(SILENT_S)


def _stall(answer: FakeAnswer) -> Iterator[Step]:
    return chain(answer.begin(), [Pause(SILENT_S)])


def _stall_midway(answer: FakeAnswer) -> Iterator[Step]:
    return chain(answer.begin(), answer.say(BEGUN_CHUNKS), [Pause(SILENT_S)])


def _send_garbage(answer: FakeAnswer) -> Iterator[Step]:
    return chain(answer.begin(), answer.say(BEGUN_CHUNKS), [Send(b"data: {nonsense\n\n")])


class Script(msgspec.Struct, frozen=True):
    """What a script does, for people, and its steps."""

    summary: str
    play: Callable[[FakeAnswer], Iterator[Step]]


SCRIPTS: Mapping[str, Script] = {
    "whole": Script("the whole answer", _whole),
    "think": Script("thoughts first, then the whole answer", _think),
    "tools": Script(
        "a call of the first tool that is offered; the whole answer when none is, or behind its result", _call_tool
    ),
    "tools-all": Script("thoughts, a word, and a call of each tool that is offered; then as `tools`", _call_all_tools),
    "tools-again": Script("a call of the first tool that is offered, behind its result too", _call_again),
    "tools-unknown": Script("a call of a tool that nobody offered; the whole answer behind its result", _call_unknown),
    "refuse": Script("a few words, then the model refuses to go on", _refuse),
    "drip": Script("the whole answer, byte by byte", _drip),
    "endless": Script("words without an end, whatever bound was asked for", _never_end),
    "no-usage": Script("the whole answer, and nothing about tokens", _say_no_usage),
    "wrong-usage": Script("the whole answer, with parts of its usage that are larger than their sum", _say_wrong_usage),
    "little-usage": Script("the whole answer, with a usage of one token each way", _say_little_usage),
    "much-usage": Script("the whole answer, with a usage of a million tokens each way", _say_much_usage),
    "usage-twice": Script("the whole answer, with its usage said twice", _say_usage_twice),
    "absurd-usage": Script("the whole answer, with a usage that cannot be", _say_absurd_usage),
    "cut-first": Script("the connection is closed before the first byte", _cut_first),
    "cut-headers": Script("the connection is closed behind the headers", _cut_headers),
    "cut-event": Script("the connection is closed in the middle of an event", _cut_event),
    "cut": Script("the connection is closed behind some text", _cut),
    "cut-end": Script("the connection is closed behind the reason to end", _cut_end),
    "truncate": Script("the response ends in good order behind some text, without a reason to end", _truncate),
    "no-end": Script(
        "the response ends in good order behind the reason to end, without the last event (Gemini has none)",
        _leave_out_end,
    ),
    "error-first": Script("200, then an error before the first content", _fail_first),
    "error-midway": Script("200, then an error behind some text", _fail_midway),
    "hang": Script("nothing at all, not even headers", _hang),
    "stall": Script("200, then silence before the first content", _stall),
    "stall-midway": Script("silence behind some text", _stall_midway),
    "garbage": Script("an event that is no JSON behind some text", _send_garbage),
}
"""Scripts that stream, by name."""
WITHOUT_HEADERS = frozenset({"cut-first", "hang"})
WAITS: Mapping[str, str] = {
    "rate-limit": "429 that does not say how long to wait",
    "rate-limit-seconds": "429 with `retry-after` in seconds",
    "rate-limit-ms": "429 with `retry-after-ms`",
    "rate-limit-date": "429 with `retry-after` as a date",
    "rate-limit-body": "429 with a `retryDelay` in its body",
}
"""Scripts that refuse, by name, beside `status-<code>`."""


def describe() -> dict[str, str]:
    """What each script does, by its name."""
    streamed = {name: script.summary for name, script in SCRIPTS.items()}
    return {**streamed, **WAITS, "status-<code>": "a refusal with this status: status-401, status-500, status-529"}


def is_script(name: str) -> bool:
    return name in SCRIPTS or name in WAITS or bool(_STATUS.fullmatch(name))


def choose_script(request: ReceivedRequest, model: str, default: str) -> str:
    """The script of a request: that of its header, else of its model's name, else the default. Raises `InvalidInput`
    for a header that names none."""
    named = request.headers.get(SCRIPT_HEADER, "")
    if named and not is_script(named):
        raise InvalidInput(f"there is no script {named}", hint=f"one of {', '.join(describe())}")
    by_model = model.removeprefix(MODEL_PREFIX) if model.startswith(MODEL_PREFIX) else ""
    return named or (by_model if is_script(by_model) else default)


def reply(request: ReceivedRequest, default: str, pace: FakePace, now: datetime) -> tuple[FakeQuestion, Reply]:
    """What is done with a request. Raises `NotFound` and `InvalidInput` for one that no provider would take."""
    question = read_question(request)
    script = choose_script(request, question.model, default)
    if found := _STATUS.fullmatch(script):
        return question, _refuse_with(question, script, int(found[1]))
    if script in WAITS:
        return question, _ask_to_wait(question, script, now)
    steps = SCRIPTS[script].play(FakeAnswer(question, pace))
    return question, Reply(script, 0 if script in WITHOUT_HEADERS else 200, steps=steps)


def _refuse_with(question: FakeQuestion, script: str, status: int) -> Reply:
    body = write_refusal(question.dialect, status, f"The script says {status}.")
    return Reply(script, status, body=body)


def _ask_to_wait(question: FakeQuestion, script: str, now: datetime) -> Reply:
    headers = {
        "rate-limit-seconds": {"retry-after": f"{RETRY_AFTER_S:g}"},
        "rate-limit-ms": {"retry-after-ms": f"{RETRY_AFTER_S * 1_000:g}", "retry-after": "99"},
        "rate-limit-date": {
            "date": format_datetime(now, usegmt=True),
            "retry-after": format_datetime(now + timedelta(seconds=RETRY_AFTER_S), usegmt=True),
        },
    }.get(script, {})
    delay_s = RETRY_AFTER_S if script == "rate-limit-body" else None
    return Reply(script, 429, headers, write_refusal(question.dialect, 429, "Too many requests.", delay_s))
