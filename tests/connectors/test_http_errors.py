"""Every exception of httpx has one meaning, chosen on purpose."""

from __future__ import annotations

import httpx
import pytest

from connectors import http_errors
from runtime.errors import AdriaticError, Defect, DependencyUnavailable, Halted, Unprepared

RAISED = sorted(
    {kind for kind in vars(httpx).values() if isinstance(kind, type) and issubclass(kind, Exception)},
    key=lambda kind: kind.__name__,
)


def test_the_table_is_the_library() -> None:
    assert set(http_errors.MEANINGS) == {kind.__name__ for kind in RAISED}


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
def test_every_exception_becomes_an_error_of_ours(kind: type[Exception]) -> None:
    error = kind.__new__(kind, "said")
    ours = http_errors.map_error(error, "it", "look", {"dependency": "it"})
    assert type(ours) in http_errors._ERRORS.values()
    assert ours is not None
    assert (ours.hint, ours.coordinates) == ("look", {"dependency": "it"})


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectError("refused"), DependencyUnavailable),
        (httpx.ReadTimeout(""), DependencyUnavailable),
        (httpx.UnsupportedProtocol("ftp"), Unprepared),
        (httpx.InvalidURL("no"), Unprepared),
        (httpx.LocalProtocolError("a header with a line end"), Defect),
    ],
)
def test_what_it_comes_to(error: Exception, expected: type[AdriaticError]) -> None:
    with pytest.raises(expected) as raised, http_errors.translate("it"):
        raise error
    assert type(raised.value) is expected


def test_what_is_not_the_librarys_passes() -> None:
    for error in (ValueError("?"), OSError("file"), Halted("ours")):
        with pytest.raises(type(error)) as raised, http_errors.translate("it"):
            raise error
        assert raised.value is error
