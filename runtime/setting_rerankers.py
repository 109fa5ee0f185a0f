"""Settings of what ranks passages anew for a question.

Owns the section `reranker`. Refuses to make anything of it (`connectors/rerankers`).
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from runtime.setting_kinds import Name, Seconds, Section, Url, is_allowed_host


class RerankerSettings(Section):
    """What ranks the passages of research anew. `late` runs in the process; the others ask an endpoint, by its form."""

    kind: Literal["late", "cohere", "jina", "tei"] = Field(
        "late", description="`late` compares word with word, with the model that comes along; others ask an endpoint."
    )
    model: Name = Field("rerank-v3.5", description="What the endpoint calls it; `tei` has one model and is not told.")
    base_url: Url = Field(
        "https://api.cohere.com", description="Base of the endpoint, without the path that its form has."
    )
    api_key: SecretStr = Field(
        SecretStr(""), description="Key of the endpoint, or where it is kept, as `llm.api_key`; empty is no key."
    )
    allowed_hosts: tuple[str, ...] = Field(
        (),
        description="Hosts that may be asked, as `llm.allowed_hosts`; an endpoint elsewhere is refused at the start. "
        "Empty: that of the settings. As a variable: JSON.",
    )
    timeout_s: Seconds = Field(5.0, description="One request, in seconds; beyond it the search's order stands.")

    @model_validator(mode="after")
    def _check_host(self) -> RerankerSettings:
        host = urlsplit(self.base_url).hostname or ""
        if self.kind != "late" and not is_allowed_host(host, self.allowed_hosts):
            raise ValueError(f"{host} is none of reranker.allowed_hosts: add it, or ask somebody else")
        return self
