"""Settings of crawls: who we say that we are, how slowly we ask, and which private hosts may be asked at all.

Owns the section `crawler`. Refuses what one crawl may do: who submits it says so, within the bounds of its contract.
"""

from __future__ import annotations

from pydantic import Field

from runtime.setting_kinds import WAIT_S_MAX, Name, Section


class CrawlerSettings(Section):
    """How pages of others are fetched."""

    contact: str = Field(
        "",
        max_length=200,
        pattern=r"^[!-'*-~]*$",
        description="An address or a page that says who crawls; sites are told it in `User-Agent`.",
    )
    delay_s: float = Field(
        1.0,
        ge=0,
        le=WAIT_S_MAX,
        allow_inf_nan=False,
        description="Least time between two requests to one host, in seconds, over all tenants and processes; a "
        "site's own `Crawl-delay` can only make it longer.",
    )
    allowed_private: tuple[Name, ...] = Field(
        (),
        description="Hosts that may have private addresses, by their full names: wikis of your own network. All "
        "tenants can then crawl them.",
    )
