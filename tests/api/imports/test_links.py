"""Which ADR a link means."""

from __future__ import annotations

from uuid import UUID

import pytest

from api.imports.links import KnownAdr, Resolver


def uuid(n: int) -> UUID:
    return UUID(int=n)


ADRS = [
    KnownAdr(uuid(1), 1, "docs/adr/0001-a.md", True),
    KnownAdr(uuid(2), 2, "docs/adr/0002-b.md", True, ("docs/adr/0007-b.md", "old/b.md")),
    KnownAdr(uuid(3), None, "docs/adr/2024-01-01-c/README.md", True),
    KnownAdr(uuid(4), None, "docs/adr/2024-02-02-d/README.md", True),
    KnownAdr(uuid(5), 5, "docs/adr/0005-gone.md", False),
    KnownAdr(uuid(6), 6, "docs/adr/0006-ä b.md", True),
    KnownAdr(uuid(7), None, "docs/adr/0001-a.md", False),
]


@pytest.mark.parametrize(
    ("source", "target", "found"),
    [
        (1, "0002-b.md", 2),
        (1, "./0002-b.md#context", 2),
        (3, "../0001-a.md", 1),
        (3, "../2024-02-02-d/README.md", 4),
        (1, "/docs/adr/0002-b.md", 2),
        (1, "0007-b.md", 2),  # where it was before
        (1, "elsewhere/0002-b.md", 2),  # the only one of that name
        (1, "0002-renamed-since.md", 2),  # by its number
        (1, "ADR-0002", 2),
        (1, "adr 5", 5),
        (1, "0006-%C3%A4%20b.md", 6),
        (1, "https://github.com/o/r/blob/main/docs/adr/0002-b.md", 2),
        (1, "https://github.com/o/r/blob/main/other/0002-b.md", None),
        (1, "../README.md", None),  # several of that name
        (1, "0001-a.md", None),  # itself
        (2, "0001-a.md", 1),  # the living one
        (1, "ADR-99", None),
        (1, "http://[bad", None),
        (1, "../../../../etc/passwd", None),
        (1, "", None),
    ],
)
def test_a_target_leads_to_the_one_that_it_can_only_mean(source: int, target: str, found: int | None) -> None:
    assert Resolver(ADRS).resolve(uuid(source), target) == (None if found is None else uuid(found))


def test_an_adr_without_a_file_can_link_and_be_linked_to_by_number() -> None:
    resolver = Resolver([*ADRS, KnownAdr(uuid(8), 8, None, True)])
    assert resolver.resolve(uuid(8), "docs/adr/0002-b.md") == uuid(2)
    assert resolver.resolve(uuid(1), "ADR-8") == uuid(8)


def test_a_path_into_another_folder_is_not_met_by_a_number_here() -> None:
    """Two logs of one repository: what lies in the folder of the other is no record of this one."""
    carts = Resolver(
        [
            KnownAdr(uuid(1), 1, "services/cart/docs/adr/0001-cart1.md", True),
            KnownAdr(uuid(2), 2, "services/cart/docs/adr/0002-cart2.md", True),
        ]
    )
    assert carts.resolve(uuid(2), "../../../pay/docs/adr/0001-pay1.md") is None
    assert carts.resolve(uuid(2), "0001-an-older-name.md") == uuid(1)
    assert carts.resolve(uuid(2), "./0001-an-older-name.md") == uuid(1)
    assert carts.resolve(uuid(2), "../elsewhere/0001-cart1.md") == uuid(1), "only one file has this name"
