"""`adriatic backup` and `adriatic restore`: of the embedded stack.

Exit codes: 0 done, 1 it says why not (something is there already, the backup is damaged), 3 the database does not
answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click

from adriatic.cli.output import json_option, show
from runtime.errors import Halted
from runtime.settings import load

place = click.argument("target", metavar="FOLDER|FILE.tar", type=click.Path(path_type=Path))


@click.command()
@place
@click.option("--check", is_flag=True, help="Make none: read this one back, and say whether it is as it was written.")
@json_option("Print one JSON object.")
def backup(target: Path, check: bool, as_json: bool) -> None:
    """Back up the embedded stack while it runs: database, originals, the issuer's key, passwords.

    A name that ends in .tar makes one file, any other a folder. Nothing is replaced, and only you can read it. Topics
    are not in it: `adriatic recover` makes them anew.
    """
    if check:
        _check(target, as_json)
        return
    from adriatic.backup.making import make

    made = make(load(), target.absolute(), _say)
    encoded = json.dumps({"backup": str(target), "lsn": made.lsn, "made_at": made.made_at, "files": len(made.files)})
    show(as_json, encoded, [f"{target}: everything committed up to {made.lsn}, {made.made_at}"])


def _check(target: Path, as_json: bool) -> None:
    from adriatic.backup.checking import check, open_backup

    with open_backup(target.absolute()) as folder:
        made, faults = check(folder)
    good = f"good: {len(made.files)} files and a cluster up to {made.lsn}, {made.made_at}"
    show(as_json, json.dumps({"good": not faults, "faults": faults, "lsn": made.lsn}), faults or [good])
    sys.exit(1 if faults else 0)


@click.command()
@place
@click.option("--up", is_flag=True, help="Start the system too, and make topics and views anew.")
def restore(target: Path, up: bool) -> None:
    """Make a new state directory of a backup. It must be empty: nothing is replaced.

    Afterwards `adriatic up --no-wait` starts the system, and `adriatic recover --yes` makes topics and views anew,
    which --up does by itself.
    """
    from adriatic.backup.restoring import restore as make_home

    made = make_home(target.absolute(), _say)
    click.echo(f"restored: everything committed up to {made.lsn}, {made.made_at}")
    if made.originals != "folder":
        click.echo(f"originals are in the {made.originals}, as they are there now", err=True)
    steps = (("up", "--no-wait"), ("recover", "--yes"), ("up",))
    if not up:
        click.echo("next: " + ", then ".join(f"`adriatic {' '.join(step)}`" for step in steps))
        return
    for step in steps:
        if subprocess.run([sys.executable, "-m", "adriatic", *step], check=False).returncode:
            raise Halted(f"`adriatic {' '.join(step)}` failed", hint="it says why; what is restored stays")


def _say(text: str) -> None:
    click.echo(text, err=True)
