"""Words of which it is known whether a reader of a file sees them: what the writers of pages and documents share."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass
class Known:
    """Each word is another one. `form` has a place for a vowel and one for a number."""

    form: ClassVar[str]
    random: random.Random
    seen: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    hiding: int = 0
    depth: int = 0
    count: int = 0

    def word(self) -> str:
        self.count += 1
        word = self.form.format(self.random.choice("aeiou"), self.count)
        (self.unseen if self.hiding else self.seen).append(word)
        return word

    def hidden(self, make: Callable[[], str]) -> str:
        self.hiding += 1
        made = make()
        self.hiding -= 1
        return made
