"""ETags and preconditions."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from api.adrs import examples
from api.adrs.preconditions import etag, matches, read_expected
from api.adrs.schemas import Adr
from api.adrs.service import ANY_VERSION
from runtime.errors import InvalidInput

ADR = msgspec.convert(examples.ADR, Adr)


def test_an_etag_names_the_version_and_changes_with_anything_shown() -> None:
    tag = etag(ADR)
    assert tag.startswith('"3-')
    assert tag == etag(msgspec.structs.replace(ADR))
    for change in ({"tags": ["x"]}, {"title": "x"}, {"deleted_at": datetime.now(UTC)}):
        other = etag(msgspec.structs.replace(ADR, **change))
        assert other != tag
        assert read_expected(other, None) == 3


@pytest.mark.parametrize(
    ("header", "named", "expected"),
    [
        (None, None, None),
        (None, 4, 4),
        ('"4"', None, 4),
        ('"4-00ff"', None, 4),
        ('W/"4-00ff"', None, 4),
        (' "4" ', 4, 4),
        ("*", None, ANY_VERSION),
        ("*", 4, 4),
    ],
)
def test_header_and_body_say_the_same(header: str | None, named: int | None, expected: int | None) -> None:
    assert read_expected(header, named) == expected


@pytest.mark.parametrize("header", ["", "4", '"x"', '"4", "5"', '"-1"', '"0"', '"99999999999"', '"2147483648"', "**"])
def test_what_is_no_etag_is_refused(header: str) -> None:
    with pytest.raises(InvalidInput):
        read_expected(header, None)


def test_header_and_body_must_not_differ() -> None:
    with pytest.raises(InvalidInput, match="If-Match says version 4, expected_version says 5"):
        read_expected('"4"', 5)


def test_if_none_match() -> None:
    assert matches('"a"', '"a"')
    assert matches('"b", W/"a"', '"a"')
    assert matches("*", '"a"')
    assert not matches('"b"', '"a"')
    assert not matches(None, '"a"')
