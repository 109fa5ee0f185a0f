"""What all live readers of this process share, put together.

Owns the start with the first reader and the end with the process. Refuses the parts' work: `admission` has the bounds,
`partitions` the records, `decoding` the schemas, `sessions` which records are of this database, `polling` how far
everything is. Refuses to write to a response:
`reader` does.
"""

from __future__ import annotations

from collections.abc import Iterable

from api.db import Database
from api.live.admission import Admission
from api.live.decoding import ChangeDecoder
from api.live.partitions import Partitions
from api.live.polling import Poller
from api.live.sessions import KnownSessions
from api.live.states import OffsetWatermark
from api.watermarks import UNKNOWN, AsOf, judge
from runtime.clock import Clock
from runtime.settings import Settings
from schemas.flows import KeptView


class Hub:
    """One of a process, on the event loop. Readers `begin` it; `close` at the end."""

    def __init__(self, settings: Settings, database: Database, clock: Clock, views: Iterable[KeptView]) -> None:
        self.settings = settings
        self.database = database
        self.clock = clock
        self.views = {view.name: view for view in views if view.live}
        self.admission = Admission(settings.api)
        self.decoder = ChangeDecoder(settings.registry)
        self.sessions = KnownSessions(database)
        self.partitions = Partitions(settings.kafka, settings.cdc.prefix, self.decoder, clock)
        self.poller = Poller(database, settings.cdc.slot, self.partitions, clock, self._cut_stalled)

    def end_readers(self) -> None:
        """Every read says that it ends, and does. A server waits for open responses before it ends its application."""
        self.admission.closing = True
        self.partitions.wake()

    async def close(self) -> None:
        """Readers end by themselves, now. Nothing of theirs is left behind."""
        self.end_readers()
        await self.poller.close()
        await self.partitions.close()
        await self.decoder.close()

    def as_of(self, mark: OffsetWatermark | None) -> AsOf:
        """What a watermark is worth now."""
        return judge(mark.lsn, mark.time, self.clock.now(), complete=mark.complete) if mark else UNKNOWN

    def waits_for(self) -> list[str]:
        """Names those of database, kafka and registry that do not answer right now."""
        return self.poller.find_silent() + (["registry"] if self.decoder.fault else [])

    def _cut_stalled(self) -> None:
        for reader in self.admission.readers:
            reader.cut_if_stalled()
