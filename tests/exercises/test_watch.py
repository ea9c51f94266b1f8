"""`make watch` in a terminal of its own: saves, keys, and what is on the screen."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from course.grading.catalogue import Exercise, find

pytestmark = pytest.mark.proof
PATIENCE = 180
ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")

# The command, on a copy of exercise 1: what it writes must not be the learner's own file.
SCRIPT = """
import sys
from pathlib import Path
from course.config import load_config
from course.grading.catalogue import find
from course.grading.watching import watch

exercise = find("1").model_copy(update={"folder": Path(sys.argv[1])})
watch(load_config(), exercise, poll=len(sys.argv) > 2)
"""


class Terminal:
    """A terminal in which a session runs."""

    def __init__(self, *command: str) -> None:
        self.descriptor, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)
        self._seen = ""

    def until(self, words: str) -> str:
        """Read until these words are there; return what came since the last call."""
        deadline = time.monotonic() + PATIENCE
        while words not in (text := ANSI.sub("", self._seen)):
            left = deadline - time.monotonic()
            assert left > 0, f"waited {PATIENCE} s for {words!r}; on the screen: {text[-2000:]}"
            if select.select([self.descriptor], [], [], min(left, 1))[0]:
                self._seen += os.read(self.descriptor, 65536).decode(errors="replace")
        self._seen = ""
        return text

    def press(self, key: str) -> None:
        os.write(self.descriptor, key.encode())


@pytest.fixture(params=["events", "polling"])
def session(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Terminal, Exercise]]:
    own = tmp_path / "ex01_first_training_dag"
    shutil.copytree(find("1").folder, own)
    exercise = find("1").model_copy(update={"folder": own})
    exercise.file.write_bytes(exercise.starter.read_bytes())
    tweets = Path(os.environ.get("COURSE_HOME", find("1").folder.parents[1] / ".course")) / "data"
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "data").symlink_to(tweets)
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    poll = ["poll"] if request.param == "polling" else []
    terminal = Terminal(sys.executable, "-c", SCRIPT, str(own), *poll)
    try:
        yield terminal, exercise
    finally:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.descriptor)


def test_a_session_from_the_starter_to_the_end(session: tuple[Terminal, Exercise]) -> None:
    terminal, exercise = session
    assert "0 of 7 tasks are done" in terminal.until("q quit")
    terminal.press("h")
    terminal.until("Task 1, hint 1 of 3:")
    terminal.press("h")
    terminal.until("Task 1, hint 2 of 3:")
    exercise.file.write_bytes(exercise.solution.read_bytes())
    screen = terminal.until("q quit")
    assert "All 7 tasks are done" in screen
    assert "1 of 7 solved" in screen
    terminal.press("l")
    terminal.until("Capstone")
    terminal.press("r")
    terminal.until("The starter is back; yours is first_training_dag.py.kept-1.")
    assert "0 of 7 tasks are done" in terminal.until("q quit")
    terminal.press("q")
    assert terminal.process.wait(30) == 0
