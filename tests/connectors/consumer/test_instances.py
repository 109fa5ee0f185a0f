"""Names of members: one a process, the same after a restart, whatever happens to the home."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from connectors.consumer import instances
from runtime.errors import Misconfigured

HOLD = """
import sys
from pathlib import Path
from connectors.consumer import instances
with instances.claim(Path(sys.argv[1]), "g") as name:
    print(name, flush=True)
    sys.stdin.read()
"""


def hold(home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_two_processes_have_two_names_and_one_that_was_killed_leaves_its_name(tmp_path: Path) -> None:
    one, two = hold(tmp_path), hold(tmp_path)
    names = {said(one), said(two)}
    assert len(names) == 2
    end(one)
    again = hold(tmp_path)
    assert said(again) in names
    end(two)
    end(again)


def test_groups_do_not_share_names_nor_do_homes(tmp_path: Path) -> None:
    with (
        instances.claim(tmp_path / "a", "g") as first,
        instances.claim(tmp_path / "a", "h") as second,
        instances.claim(tmp_path / "b", "g") as third,
    ):
        assert len({first, second, third}) == 3


def test_a_spoilt_file_gets_a_new_name(tmp_path: Path) -> None:
    with instances.claim(tmp_path, "g") as before:
        pass
    (tmp_path / "instances" / "g-0").write_text("rubbish\n" * 50)
    with instances.claim(tmp_path, "g") as after:
        assert after != before
    with instances.claim(tmp_path, "g") as again:
        assert again == after


def test_a_home_that_cannot_be_written_gives_a_name_for_this_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with instances.claim(tmp_path / "file", "g") as one, instances.claim(tmp_path / "file", "g") as two:
        assert one != two


def test_more_than_can_have_anything_to_read_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances, "PROCESSES_MAX", 2)
    with (
        instances.claim(tmp_path, "g"),
        instances.claim(tmp_path, "g"),
        pytest.raises(Misconfigured),
        instances.claim(tmp_path, "g"),
    ):
        pass
    assert len(list((tmp_path / "instances").iterdir())) == 2
