"""Tab completes our commands, in the shells that we print a script for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from adriatic.cli import cli


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_names_the_variable_that_asks_for_completions(shell: str) -> None:
    # bash's script is only printed where a bash that is new enough is found
    result = CliRunner().invoke(cli, ["completion", shell])
    assert result.exit_code == 0, result.output
    assert "_ADRIATIC_COMPLETE" in result.output


def test_a_command_is_completed() -> None:
    asked = {"_ADRIATIC_COMPLETE": "bash_complete", "COMP_WORDS": "adriatic ver", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['adriatic']; from adriatic.cli import cli; cli(prog_name='adriatic')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    assert "verify" in done.stdout
