"""Lag of consumer groups: five numbers and one word, from the looks of the last two minutes. Pure.

Owns the words, which of them is worse, what to do about each, and how they follow from samples. There is nothing to
configure: no number of records is bad by itself. Refuses to call anything good that was not looked at lately.

The words, worst first:

    losing-data   what the group has not read was deleted, or its topic was made anew
    rewound       its offsets were set back, and are not where they were yet
    stopped       nobody consumes
    stalled       somebody is there and nothing moves
    unknown       there was no look lately, or the look failed
    no-commits    it never committed an offset
    slow          it falls behind, or does not catch up
    catching-up   it is behind, and less so every moment
    ok            it is at the end, or as close to it as one that works
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connectors.kafka.records import TopicPartition
from schemas.pipeline import STATUSES, GroupLag, PartitionLag, Status, unknown_group

RANK: Mapping[Status, int] = {status: rank for rank, status in enumerate(STATUSES)}

ADVICE: Mapping[Status, str] = {  # `{name}`: of the flow or the agent
    "losing-data": "records expired unread: start the consumer, then see docs/how-to/recover.md",
    "rewound": "somebody set its offsets back: it reads again from there, and replays change nothing",
    "stopped": "`adriatic logs {name}` says why its process ended; it must run",
    "stalled": "`adriatic logs {name}`; a process that hangs is ended and started again by the supervisor",
    "unknown": "is the process `watch` there, and does the broker answer?",
    "no-commits": "was its process ever started? `adriatic logs {name}`",
    "slow": "`adriatic lag {name}` shows which partition; it reads slower than others write",
    "catching-up": "wait: the column ETA says how long",
    "ok": "",
}

WINDOW_S = 120.0
"""How far back samples are kept: long enough to see a trend, short enough that what is over is forgotten."""
STALE_S = 10.0
"""A look older than this says nothing about now: five looks were missed. A consumer that says by itself that it is
alive, and has not for so long, stands still."""
STALL_S = 30.0
"""Longest time that one batch may take. Records that wait longer, without one commit, wait for nobody."""
GONE_S = 5.0
"""How long nobody must have been there: a consumer that connects again is away for a moment."""
RECENT_S = 20.0
"""What a trend is taken from: several looks, so that one big batch is not taken for one."""
IN_FLIGHT_S = 10.0
"""What is behind by less than this is on its way: views that are no older are called fresh too."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at one partition of a group; the committed offset was read before the end.

    `oldest_at_s`: timestamp of the record at the committed offset. `members`: who consumes, None when nobody says.
    `beat_at_s`: when the consumer last said that it is alive, for those that do. Times in seconds since 1970.
    """

    at_s: float
    committed: int | None
    low: int
    end: int
    oldest_at_s: float | None = None
    members: int | None = None
    beat_at_s: float | None = None

    @property
    def records(self) -> int:
        """Offsets between the committed one and the end; never negative. What expired cannot be read any more."""
        return 0 if self.committed is None else max(0, self.end - max(self.committed, self.low))

    @property
    def seconds(self) -> float | None:
        """Age of the oldest record that waits. None: not known."""
        if not self.records:
            return None if self.committed is None else 0.0
        return None if self.oldest_at_s is None else max(0.0, self.at_s - self.oldest_at_s)

    @property
    def retention_share(self) -> float | None:
        """How much of what the log holds waits: at 1 the oldest unread record is the next to expire."""
        if self.committed is None:
            return None
        return self.records / (self.end - self.low) if self.end > self.low else 0.0


def classify(samples: Sequence[Sample], now_s: float, *, permanent: bool = False) -> Status:
    """The word for one partition, from its samples, oldest first. `permanent`: somebody must be there at all times."""
    if not samples or now_s - samples[-1].at_s > STALE_S:
        return "unknown"
    last = samples[-1]
    if last.committed is None:
        return "no-commits"
    if last.committed < last.low or last.committed > last.end:
        return "losing-data"
    if last.committed < max(sample.committed or 0 for sample in samples):
        return "rewound"
    if (permanent or last.records) and _is_gone(samples):
        return "stopped"
    if last.beat_at_s is not None and now_s - last.beat_at_s > STALE_S:
        return "stalled"
    return _pace(samples) if last.records else "ok"


def _is_gone(samples: Sequence[Sample]) -> bool:
    """Nobody was there for a while. Who has not been looked for is not gone."""
    last = samples[-1]
    empty_since_s = last.at_s
    for sample in reversed(samples):
        if sample.members != 0:
            break
        empty_since_s = sample.at_s
    return last.members == 0 and last.at_s - empty_since_s >= GONE_S


def _pace(samples: Sequence[Sample]) -> Status:
    """Records wait and somebody is there."""
    last = samples[-1]
    waits_since_s = last.at_s
    for sample in reversed(samples):
        if sample.committed != last.committed or not sample.records:
            break
        waits_since_s = sample.at_s
    if last.at_s - waits_since_s >= STALL_S:
        return "stalled"
    if last.seconds is not None and last.seconds <= IN_FLIGHT_S:
        return "ok"
    slope = trend([(sample.at_s, sample.records) for sample in samples])
    if slope is None:
        return "unknown"  # one look says nothing about where it goes
    return "catching-up" if slope < 0 else "slow"


def trend(points: Sequence[tuple[float, float]]) -> float | None:
    """Change a second over the last `RECENT_S`, by least squares; None with fewer than two points."""
    recent = [point for point in points if point[0] > points[-1][0] - RECENT_S]
    if len(recent) < 2:
        return None
    mean_at = sum(at for at, _ in recent) / len(recent)
    mean = sum(value for _, value in recent) / len(recent)
    spread = sum((at - mean_at) ** 2 for at, _ in recent)
    return sum((at - mean_at) * (value - mean) for at, value in recent) / spread if spread else None


def judge(group: str, windows: Mapping[TopicPartition, Sequence[Sample]], now_s: float, *, ours: bool) -> GroupLag:
    """A group from the windows of its partitions; without any it never committed."""
    if not windows:
        return GroupLag(group=group, status="no-commits", ours=ours, reason="it has no offsets")
    words = {place: classify(window, now_s, permanent=ours) for place, window in windows.items()}
    place, status = min(words.items(), key=lambda item: (RANK[item[1]], item[0]))
    newest = [window[-1] for window in windows.values() if window]
    if status == "unknown" or not newest:
        return unknown_group(group, "its partitions were not looked at lately", ours=ours)
    slope = trend(_sums(windows))
    records = sum(sample.records for sample in newest)
    told = [sample.members for sample in newest if sample.members is not None]
    return GroupLag(
        group=group,
        status=status,
        ours=ours,
        reason=_reason(status, place, windows[place][-1], now_s),
        lag_records=records,
        lag_s=_round(_worst([sample.seconds for sample in newest])),
        trend=_round(slope),
        eta_s=0.0 if not records else _round(records / -slope) if slope is not None and slope < 0 else None,
        retention_share=_round(_worst([sample.retention_share for sample in newest])),
        members=max(told) if told else None,
        partitions=[_partition(at, words[at], window[-1]) for at, window in sorted(windows.items()) if window],
    )


def _sums(windows: Mapping[TopicPartition, Sequence[Sample]]) -> list[tuple[float, float]]:
    """The group's lag at each look that all its partitions had."""
    sums: dict[float, float] = {}
    counts: dict[float, int] = {}
    for window in windows.values():
        for sample in window:
            sums[sample.at_s] = sums.get(sample.at_s, 0.0) + sample.records
            counts[sample.at_s] = counts.get(sample.at_s, 0) + 1
    return [(at, sums[at]) for at in sorted(sums) if counts[at] == len(windows)] or [(0.0, 0.0)]


def _worst(values: Sequence[float | None]) -> float | None:
    """None when one of them is not known: the others do not speak for it."""
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _partition(at: TopicPartition, status: Status, last: Sample) -> PartitionLag:
    records = None if last.committed is None else last.records
    return PartitionLag(*at, status, last.committed, last.end, records, _round(last.seconds))


def _reason(status: Status, at: TopicPartition, last: Sample, now_s: float) -> str:
    where = f"{at[0]}/{at[1]}"
    committed = last.committed or 0
    match status:
        case "losing-data" if committed > last.end:
            return f"{where} ends at {last.end}, before the committed offset {committed}: it was made anew"
        case "losing-data":
            return f"{last.low - committed} records of {where} expired before they were read"
        case "rewound":
            return f"{where} was set back to {committed}"
        case "stopped":
            return "nobody consumes" + (f": {last.records} records wait at {where}" if last.records else "")
        case "stalled" if last.beat_at_s is not None and now_s - last.beat_at_s > STALE_S:
            return f"its process has not moved for {now_s - last.beat_at_s:.0f} s"
        case "stalled":
            return f"no commit at {where} for more than {STALL_S:.0f} s; {last.records} records wait there"
        case "slow" | "catching-up":
            return f"most behind at {where}" if last.seconds is None else f"{where} is {last.seconds:.0f} s behind"
        case "no-commits":
            return f"no offset for {where}"
        case _:
            return ""
