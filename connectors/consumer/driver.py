"""What the drivers of the consumer core share: the core of one processor, and how a run of it ends.

Owns the end: a request to stop ends a run quietly, whatever else makes going on impossible is noted in the `Lifecycle`
and raised at last. Refuses to know who hands records over: `dataflows/runner.py` (Bytewax) and `streams/agent.py`
(Faust) do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypedDict, Unpack

from connectors.consumer.contract import Effects, Processor
from connectors.consumer.core import ConsumerCore
from runtime.errors import Halted, OperatingError
from runtime.lifecycle import Lifecycle, StopRequested
from runtime.logs import get_logger
from runtime.settings import Settings
from schemas.codec import SchemaLookup

log = get_logger("driver")


class DriverOptions(TypedDict, total=False):
    """What differs in tests, shadow runs, and when an operator decided so."""

    topics: Mapping[str, str] | None
    """The topics that are read instead of the contracts' own, in a group of their own."""
    lookup: SchemaLookup | None
    dead_letter_limit: bool
    """False goes on whatever happens."""


class Driver(ABC, Generic[Effects]):
    """One processor in this process."""

    command: str
    """What starts such a process, before the processor's name."""

    def __init__(
        self, processor: Processor[Effects], settings: Settings, life: Lifecycle, **options: Unpack[DriverOptions]
    ) -> None:
        self._name = processor.name
        self._settings = settings
        self._life = life
        self._core = ConsumerCore(processor, settings, life, command=f"{self.command} {processor.name}", **options)
        self._dropping = False
        """Something failed, or a stop came in the middle: nothing later of this run may be written."""

    def run(self) -> None:
        """Run until asked to stop. Raises what made going on impossible (`Halted`, `Fenced`)."""
        try:
            self._run()
        except StopRequested:
            pass
        finally:
            self._core.close()
        if self._life.failure is not None:
            raise self._life.failure

    @abstractmethod
    def _run(self) -> None: ...

    @contextmanager
    def _note_failure(self) -> Iterator[None]:
        """Let nothing out of a block that others call: they would not know what it means."""
        try:
            yield
        except StopRequested:
            self._dropping = True
        except OperatingError as error:
            self._dropping = True
            self._life.fail(error)
        except Exception as error:
            self._dropping = True
            log.exception("processor raised", name=self._name)
            self._life.fail(Halted(f"{self._name} raised {type(error).__name__}", hint="see its log"))
