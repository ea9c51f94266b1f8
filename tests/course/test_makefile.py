import re
import shutil
import subprocess
from pathlib import Path

import pytest

from course.config import REPOSITORY


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The Makefile alone with what its set-up depends on: a repository before the set-up."""
    for name in ("Makefile", "requirements.txt", "pyproject.toml", "src/course/bootstrap.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def test_make_alone_lists_every_target(copy: Path) -> None:
    declared = re.search(r"^\.PHONY: (.*)$", (copy / "Makefile").read_text(), re.MULTILINE)
    assert declared
    listed = make(copy)
    assert listed.returncode == 0
    assert set(re.findall(r"^  make (\S+) +\S", listed.stdout, re.MULTILINE)) == set(
        declared[1].split()
    )


def test_every_target_but_help_depends_on_the_set_up(copy: Path) -> None:
    text = (copy / "Makefile").read_text()
    targets = dict(re.findall(r"^([a-z-]+):([^#\n]*)## ", text, re.MULTILINE))
    assert len(targets) > 10
    without = {name for name, needs in targets.items() if "setup" not in needs}
    assert without == {"help", "setup"}


def test_an_old_python_is_named(copy: Path) -> None:
    python = copy / "python3"
    # Prints its version and fails the question for 3.11 to 3.13.
    version = 'if [ "$1" = --version ]; then echo "Python 3.9.6"; else exit 1; fi'
    python.write_text(f"#!/bin/sh\n{version}\n")
    python.chmod(0o755)
    done = make(copy, "setup", f"PYTHON={python}")
    assert done.returncode != 0
    assert f"needs Python 3.11, 3.12 or 3.13; {python} is Python 3.9.6." in done.stderr
    assert "make setup PYTHON=" in done.stderr
    assert not (copy / ".venv").exists()


def test_a_python_that_does_not_exist_is_named(copy: Path) -> None:
    done = make(copy, "setup", "PYTHON=no-such-python")
    assert done.returncode != 0
    assert "no-such-python is not there." in done.stderr


def test_a_finished_set_up_is_not_repeated(copy: Path) -> None:
    for name in (".venv/.setup", ".course/data/tweets_GroundTruth.txt"):
        (copy / name).parent.mkdir(parents=True)
        (copy / name).touch()
    done = make(copy, "setup")
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout
