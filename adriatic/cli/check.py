"""`adriatic check`: which decisions a change cites though they do not hold, which it seems to break, which govern it.

Owns where a change comes from (a file, standard input, git) and the exit code; how it is shown is for
`adriatic/cli/check_forms.py`. Refuses to judge by itself: what it shows is what any client of the API gets.
"""

from __future__ import annotations

import subprocess
from typing import IO, Final

import click
import msgspec

from adriatic.cli.check_forms import FORMS
from adriatic.cli.numbers import find_branch
from adriatic.cli.output import json_option
from adriatic.cli.where import PATIENCE_S_MAX, Where, where_options
from runtime.errors import InvalidInput, TooLarge

PATH: Final = "/v1/decisions/check"
CHANGE_CHARS_MAX: Final = 262_144
"""The bound of `api/guard/schemas.py`, which help must not wait for."""
GIT_S_MAX: Final = 60.0
"""Longest run of git, in seconds."""
FOUND: Final = 1
"""The exit code where something is found that fails the change."""


@click.command("check")
@click.argument("file", type=click.File("r", encoding="utf-8", errors="replace"), required=False)
@click.option(
    "--diff",
    "commits",
    is_flag=False,
    flag_value="HEAD",
    metavar="[RANGE]",
    help="Check what git says has changed, since HEAD or in a range like origin/main...HEAD.",
)
@click.option("--staged", is_flag=True, help="Check what the next commit would have.")
@click.option("--log", metavar="SLUG", help="Look in this log only.")
@click.option("--limit", type=click.IntRange(0, 20), default=5, show_default=True, help="Governing decisions at most.")
@click.option(
    "--as", "form", type=click.Choice(list(FORMS)), default="text", show_default=True, help="How to print it."
)
@click.option(
    "--holder",
    metavar="NAME",
    help="Who holds the number of a proposed record.  [default: the branch of this folder]",
)
@click.option(
    "--fail-on",
    type=click.Choice(["certain", "likely"]),
    default="certain",
    show_default=True,
    help="What fails the change: citations of what does not hold, or what likely breaks a decision, too.",
)
@where_options
@json_option("Print the answer of the API as JSON.")
def check(
    file: IO[str] | None,
    commits: str | None,
    staged: bool,
    log: str | None,
    limit: int,
    form: str,
    fail_on: str,
    holder: str | None,
    where: Where,
    as_json: bool,
) -> None:
    """Check a change against the decision records: a file, `-` for standard input, or what git has.

    Exits with 1 when the change names a record that is superseded, deprecated or rejected, or proposes a record whose
    number is taken, or reserved for somebody else; with 0 when it does not, and with 3 when that cannot be told because
    the API does not answer. What the change seems to break, and what a proposed record seems to repeat or contradict,
    is a warning, and fails it by `--fail-on likely` alone. Records that govern it are shown to be read, and never do.

    \b
    adriatic check --diff                              what you have not committed yet
    adriatic check --diff origin/main...HEAD --as github
    adriatic check proposal.md --as sarif > check.sarif
    """
    from api.guard.schemas import PATH_CHARS_MAX, CheckRequest, CheckResult

    if [file is not None, commits is not None, staged].count(True) != 1:
        raise click.UsageError("name one of FILE, --diff and --staged")
    change = read_all(file) if file is not None else run_git(commits or "--cached")
    if not change.strip():
        click.echo("nothing has changed", err=True)
        return
    if len(change) > CHANGE_CHARS_MAX:
        raise TooLarge(
            f"the change has {len(change)} characters, and at most {CHANGE_CHARS_MAX} are checked",
            hint="check parts of it, such as one folder",
        )
    path = None if file is None or file.name == "<stdin>" else file.name[-PATH_CHARS_MAX:]
    request = CheckRequest(change.replace("\0", " "), log, path, (holder or find_branch() or "")[:200] or None, limit)
    with where.connect(PATIENCE_S_MAX) as remote:
        result = remote.request("POST", PATH, CheckResult, body=request)
    shown = msgspec.json.encode(result).decode() if as_json else FORMS[form](result)
    if shown:
        click.echo(shown)
    found: list[str] = [each.likelihood for each in result.seems_to_break]
    found += [each.likelihood for proposal in result.proposals for each in proposal.findings]
    if result.cited or "certain" in found or (fail_on == "likely" and "likely" in found):
        click.get_current_context().exit(FOUND)


def read_all(file: IO[str]) -> str:
    """The text, and one character more than may be checked at most."""
    return file.read(CHANGE_CHARS_MAX + 1)


def run_git(commits: str) -> str:
    """The diff of this folder's repository, without context. Raises `InvalidInput` with what git says."""
    if commits.startswith("-") and commits != "--cached":
        raise click.BadParameter(f"{commits!r} is no range of commits")
    # As everybody has it, whatever is set here: names of files as they are, behind a/ and b/.
    command = ["git", "-c", "core.quotePath=false", "diff", "--src-prefix=a/", "--dst-prefix=b/"]
    command += ["--no-color", "--no-ext-diff", "--unified=0", commits, "--"]
    try:
        told = subprocess.run(command, capture_output=True, timeout=GIT_S_MAX)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidInput(f"git cannot be asked: {error}", hint="give the diff on standard input: `-`") from None
    if told.returncode:
        said = told.stderr.decode(errors="replace").strip().splitlines() or ["it failed"]
        raise InvalidInput(f"git: {said[0][:200]}", hint="run it in a git repository, with a range that it knows")
    return told.stdout.decode(errors="replace")
