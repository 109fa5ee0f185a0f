"""What each dialect makes of each answer, byte for byte, in the files beside this one.

`python -m tests.api.chat.dialects.golden` writes them anew: read the difference before it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from api.chat.dialects import anthropic_messages, openai_chat, openai_responses
from api.chat.dialects.ai_sdk import UiMessageEncoder
from api.chat.dialects.anthropic_messages import MessageEncoder
from api.chat.dialects.openai_chat import CompletionEncoder
from api.chat.dialects.openai_responses import ResponseEncoder
from api.chat.encoding import Encode
from tests.api.chat.dialects.answers import ANSWERS, CREATED, ID, LOOKED_UP

FOLDER = Path(__file__).parent / "golden-files"


def encoders() -> dict[str, Encode]:
    """One of each, for one reader."""
    return {
        "ai_sdk": UiMessageEncoder(ID).encode,
        "anthropic_messages": MessageEncoder(ID).encode,
        "openai_chat": CompletionEncoder(ID, CREATED, include_usage=True).encode,
        "openai_responses": ResponseEncoder(ID, stores=False).encode,
    }


def contents() -> Iterator[tuple[str, bytes]]:
    """Each file's name and bytes."""
    encode_looked_up = UiMessageEncoder(ID).encode
    told = b"".join(encode_looked_up(number, event) for number, event in enumerate(LOOKED_UP))
    yield "ai_sdk-looked-up.sse", told
    for name, events in ANSWERS.items():
        for dialect, encode in encoders().items():
            yield f"{dialect}-{name}.sse", b"".join(encode(number, event) for number, event in enumerate(events))
        if name != "broken":
            yield f"anthropic_messages-{name}.json", anthropic_messages.render(events, ID) + b"\n"
            yield f"openai_chat-{name}.json", openai_chat.render(events, ID, CREATED) + b"\n"
            yield f"openai_responses-{name}.json", openai_responses.render(events, ID, stores=False) + b"\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, content in contents():
        (FOLDER / file).write_bytes(content)
