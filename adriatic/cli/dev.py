"""`adriatic dev`: tools for whoever works on Adriatic, or tests something against it."""

from __future__ import annotations

import asyncio
import signal

import click

from connectors.llm.fake.scripts import MODEL_PREFIX, SCRIPT_HEADER, FakePace, describe, is_script
from connectors.llm.fake.server import FakeLlm, listen
from runtime.errors import InvalidInput, Misconfigured

PORT = 8090
"""Where the fake provider listens, unless it is told: beside the API's own 8080."""


@click.group()
def dev() -> None:
    """Tools for developers: a provider that answers, stalls and fails as it is told."""


def _epilog() -> str:
    width = max(map(len, describe())) + 2
    return "\b\nScripts:\n" + "\n".join(f"  {name:<{width}}{summary}" for name, summary in describe().items())


@dev.command("fake-llm", epilog=_epilog())
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=PORT, show_default=True, help="0 takes a free one.")
@click.option("--script", default="whole", show_default=True, help="What is done with requests that name no script.")
@click.option("--ttft-ms", type=click.FloatRange(0), default=200.0, show_default=True, help="Until the first token.")
@click.option("--gap-ms", type=click.FloatRange(0), default=20.0, show_default=True, help="Between two tokens.")
@click.option("--chunks", type=click.IntRange(1), default=50, show_default=True, help="Tokens of a whole answer.")
def fake_llm(host: str, port: int, script: str, ttft_ms: float, gap_ms: float, chunks: int) -> None:
    """Serve a language model that is none, in the dialects of OpenAI, Anthropic and Gemini.

    It does what its script says: with each request that of the header `x-fake-script`, else that of the model's name
    (`fake-stall`), else that of `--script`. Point a provider's address at it, with any key:

    \b
    adriatic dev fake-llm --script stall-midway
    ADRIATIC_LLM__PROVIDER=openai ADRIATIC_LLM__MODEL=fake-cut \\
      ADRIATIC_LLM__BASE_URL=http://127.0.0.1:8090/v1 adriatic up

    \b
    POST /v1/chat/completions                                OpenAI
    POST /v1/messages                                        Anthropic
    POST /v1beta/models/<model>:streamGenerateContent        Gemini
    GET  /bills?since=0                                      what it would charge, by request; when clients left
    GET  /stats                                              the sums

    An answer with a tool's schema or a form has the least that fits it. Ctrl-C ends it.
    """
    if not is_script(script):
        raise InvalidInput(f"there is no script {script}", hint=f"one of {', '.join(describe())}")
    asyncio.run(_serve(FakeLlm(script, FakePace(ttft_ms / 1_000, gap_ms / 1_000, chunks)), host, port))


async def _serve(fake: FakeLlm, host: str, port: int) -> None:
    """Serve until a signal to end."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with listen(fake, host, port):
            click.echo(f"the fake provider listens: {fake.url}", err=True)
            click.echo(f"a script by header: {SCRIPT_HEADER}; by model: {MODEL_PREFIX}<script>", err=True)
            await stop.wait()
    except OSError as error:
        raise Misconfigured(
            f"cannot listen on {host}:{port}: {error.strerror}", hint="choose another --port"
        ) from error
