"""The partitioner gives what Java's gives."""

import pytest

from connectors.kafka.partitioner import murmur2, partition_for


@pytest.mark.parametrize(
    ("data", "hashed"),
    [
        # The vectors of Kafka's own tests (signed there).
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_kafkas(data: bytes, hashed: int) -> None:
    assert murmur2(data) == hashed & 0xFFFFFFFF


def test_tenants_stay_in_range_and_spread() -> None:
    counts = [0] * 8
    for number in range(4000):
        counts[partition_for(f"0199f3a0-0000-7000-8000-{number:012x}", 8)] += 1
    assert min(counts) > 350
    assert max(counts) < 650
