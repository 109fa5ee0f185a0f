"""The command line: where the rooms are wired together, and nothing else.

Owns argument parsing, what is printed, and exit codes (0 done, 1 it says why not, 2 wrong usage, 3 cannot tell because
a dependency does not answer). Each command is a module that is imported only when it runs, so that `--help` is instant.
Every command that prints data takes `--json`; data goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from runtime import __version__
from runtime.errors import AdriaticError, DependencyUnavailable

COMMANDS: dict[str, str] = {
    # name: "module:attribute", in the order that help lists them
    "up": "adriatic.cli.stack:up",
    "down": "adriatic.cli.stack:down",
    "reset": "adriatic.cli.stack:reset",
    "status": "adriatic.cli.status:status",
    "lag": "adriatic.cli.lag:lag",
    "logs": "adriatic.cli.stack:logs",
    "import": "adriatic.cli.imports:import_",
    "words": "adriatic.cli.words:words",
    "upload": "adriatic.cli.upload:upload",
    "crawl": "adriatic.cli.crawl:crawl",
    "hosts": "adriatic.cli.hosts:hosts",
    "search": "adriatic.cli.search:search",
    "related": "adriatic.cli.related:related",
    "spaces": "adriatic.cli.spaces:spaces",
    "suggestions": "adriatic.cli.suggestions:suggestions",
    "research": "adriatic.cli.research:research",
    "chat": "adriatic.cli.chat:chat",
    "draft": "adriatic.cli.draft:draft",
    "agents": "adriatic.cli.agents:agents",
    "mcp": "adriatic.cli.mcp:mcp",
    "check": "adriatic.cli.check:check",
    "numbers": "adriatic.cli.numbers:numbers",
    "demo": "adriatic.cli.demo:demo",
    "feed": "adriatic.cli.feeds:feed",
    "usage": "adriatic.cli.usage:usage",
    "budgets": "adriatic.cli.budgets:budgets",
    "keys": "adriatic.cli.keys:keys",
    "spend": "adriatic.cli.spend:spend",
    "live": "adriatic.cli.live:live",
    "tenant": "adriatic.cli.tenants:tenant",
    "token": "adriatic.cli.tenants:token",
    "verify": "adriatic.cli.verify:verify",
    "recover": "adriatic.cli.recover:recover",
    "backup": "adriatic.cli.backup:backup",
    "restore": "adriatic.cli.backup:restore",
    "eval": "adriatic.cli.evaluations:evaluate",
    "topics": "adriatic.cli.topics:topics",
    "schemas": "adriatic.cli.schemas:schemas",
    "migrate": "adriatic.cli.migrate:migrate",
    "tap": "adriatic.cli.tap:tap",
    "dlq": "adriatic.cli.dlq:dlq",
    "api": "adriatic.cli.api:api",
    "cdc": "adriatic.cli.cdc:cdc",
    "flow": "adriatic.cli.flow:flow",
    "stream": "adriatic.cli.stream:stream",
    "watch": "adriatic.cli.watch:watch",
    "settings": "adriatic.cli.settings:settings",
    "dev": "adriatic.cli.dev:dev",
    "completion": "adriatic.cli.completion:completion",
}

NOTHING_RUNS = "nothing runs here: `adriatic up` starts it"


class LazyGroup(click.Group):
    """A group that imports a command only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="adriatic")
def cli() -> None:
    """A stream-processing data pipeline for Architecture Decision Records.

    \b
    adriatic up                              start everything on this machine
    adriatic import docs/decisions           bring in a folder, a git repository, or a JSONL history
    adriatic search "why no dual write"      find it, by words and by meaning
    adriatic status                          what runs, how far behind, what needs you
    """


def _hint(error: AdriaticError, words: Sequence[str]) -> str:
    """What to do next. Trying again does not help where nothing was started, and whoever fails cannot know that."""
    if not isinstance(error, DependencyUnavailable) or any(word.partition("=")[0] == "--url" for word in words):
        return error.hint
    from adriatic.supervisor.supervisor import Files, read_running
    from runtime.settings import load

    try:
        settings = load()
    except AdriaticError:
        return error.hint
    stack = settings.stack
    if (
        "embedded" in (stack.postgres, stack.kafka, stack.registry)
        and read_running(Files(settings.home.resolve())) is None
    ):
        return NOTHING_RUNS
    return error.hint


def main() -> None:
    """Entry point of the `adriatic` command: errors become one clear message and an exit code."""
    try:
        code = cli(standalone_mode=False)  # which gives back what a command exits with, and does not exit
    except click.exceptions.Abort:
        click.echo("stopped", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except AdriaticError as error:
        click.echo(f"{error.code}: {error.detail}", err=True)
        if hint := _hint(error, sys.argv[1:]):
            click.echo(f"hint: {hint}", err=True)
        sys.exit(3 if isinstance(error, DependencyUnavailable) else 1)
    sys.exit(code)
