"""How long a caller waits for the first byte of an answer, and for the last one.

Owns the load: one question at a time, about this project's decisions, which must be in the tenant `demo`. What is
measured is the provider of the settings; the extractive one adds nothing of a model's to the system's own time.
"""

from __future__ import annotations

import time

import httpx

from bench.path import Spread

ROUNDS = 6
"""Of all questions; the first warms up."""


def measure(http: httpx.Client, questions: list[str], provider: str) -> list[Spread]:
    first: list[float] = []
    whole: list[float] = []
    for round_ in range(ROUNDS):
        for question in questions:
            began = time.perf_counter()
            # A word more in each round: the embedder must not answer from memory.
            with http.stream("POST", "/v1/chat/stream", json={"question": f"{question} x{round_}"}) as answer:
                answer.raise_for_status()
                parts = answer.iter_raw()
                next(parts)
                began_to_answer = time.perf_counter()
                for _ in parts:
                    pass
            if round_:
                first.append(began_to_answer - began)
                whole.append(time.perf_counter() - began)
    return [Spread.of(f"first byte, {provider}", first), Spread.of(f"last byte, {provider}", whole)]
