"""How the answers of a check name a decision, and a line of the change. Pure."""

from __future__ import annotations

from typing import Any

from api.adrs.naming import address_of
from api.guard import schemas
from api.guard.change import AddedLine


def name_decision(row: Any) -> schemas.NamedDecision:
    """A decision by its names, from a row that has them all."""
    return schemas.NamedDecision(
        row["adr_id"],
        address_of(row["log"], row["number"], row["adr_id"]),
        *(row["label"], row["log"], row["title"], row["status"]),
    )


def show_place(line: AddedLine) -> schemas.ChangePlace:
    """A line of the change, cut to what is shown of it."""
    return schemas.ChangePlace(line.path, line.number, line.text.strip()[: schemas.LINE_CHARS_MAX])
