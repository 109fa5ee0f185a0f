"""The tree of errors: codes are unique, every class says what it means, every error survives a pickle."""

from __future__ import annotations

import pickle

import pytest

from runtime import errors
from runtime.errors import AdriaticError, CallerError, DataError, OperatingError

CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AdriaticError)]
FAMILIES = (OperatingError, DataError, CallerError)


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in CLASSES]
    assert sorted(set(codes)) == sorted(codes)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_has_its_own_meaning_code_and_one_family(kind: type[AdriaticError]) -> None:
    assert kind.__dict__.get("__doc__")
    assert "code" in kind.__dict__
    if kind is not AdriaticError:
        assert sum(issubclass(kind, family) for family in FAMILIES) == 1


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_a_pickled_error_comes_back_whole(kind: type[AdriaticError]) -> None:
    sent = kind("it broke", hint="mend it", coordinates={"topic": "t", "offset": 7})
    received = pickle.loads(pickle.dumps(sent))
    assert type(received) is kind
    assert (received.detail, received.hint, received.coordinates) == (
        "it broke",
        "mend it",
        {"topic": "t", "offset": 7},
    )


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if issubclass(kind, CallerError)], ids=lambda k: k.__name__)
def test_callers_get_an_http_status(kind: type[CallerError]) -> None:
    assert 400 <= kind.status <= 599


def test_the_hint_is_part_of_what_is_printed() -> None:
    assert str(AdriaticError("it broke", hint="mend it")) == "it broke (mend it)"
    assert str(AdriaticError("it broke")) == "it broke"


def test_coordinates_are_not_shared_with_the_caller() -> None:
    coordinates = {"offset": 1}
    error = AdriaticError("it broke", coordinates=coordinates)
    coordinates["offset"] = 2
    assert error.coordinates == {"offset": 1}


def test_the_tree_in_the_docstring_names_every_class() -> None:
    drawn = errors.__doc__ or ""
    assert [kind.__name__ for kind in CLASSES if kind.__name__ not in drawn] == []
