"""Settings of crawls: who we say that we are, how slowly we ask, and which private hosts may be asked at all.

Owns the section `crawler`, and which browser renders pages. Refuses what one crawl may do: who submits it says so,
within the bounds of its contract.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from runtime.setting_kinds import WAIT_S_MAX, Name, Section

RenderMode = Literal["never", "auto", "always"]


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
    browser: Name = Field(
        "off",
        max_length=500,
        description="The Chromium that renders pages whose text is made by scripts: off, auto for the one of the "
        "system, or the path of a program. It connects to nothing: what a page asks for is fetched as pages are.",
    )
    render: RenderMode = Field(
        "auto",
        description="Which pages the browser renders, of crawls that do not say: never any, auto those with scripts "
        "and hardly any text, always all.",
    )
    browser_sandbox: bool = Field(
        True,
        description="Chromium's own sandbox around each page. Where it does not start with it (as root, or in a "
        "container that may make no user namespaces), this can be switched off; it has no network either way.",
    )
