import os
import signal
import subprocess
import sys
from collections.abc import Callable

import psutil

from course.processes import component_of, end, find

Marked = Callable[..., subprocess.Popen[str]]


def test_only_marked_processes_are_found(marked: Marked) -> None:
    first = marked("test-one", "scheduler")
    second = marked("test-one", "triggerer")
    marked("test-two", "scheduler")
    assert {process.pid for process in find("test-one")} == {first.pid, second.pid}
    assert [process.pid for process in find("test-one", "triggerer")] == [second.pid]
    assert component_of(psutil.Process(second.pid)) == "triggerer"


def test_a_process_group_of_its_own_does_not_hide_it(marked: Marked) -> None:
    # As the tasks of Airflow do.
    task = marked("test-group", "scheduler", "import os; os.setpgid(0, 0)")
    assert [process.pid for process in find("test-group")] == [task.pid]


def test_a_process_that_ignores_the_polite_signal_is_killed(marked: Marked) -> None:
    deaf = marked("test-deaf", "x", "import signal; signal.signal(15, signal.SIG_IGN)")
    assert end(find("test-deaf"), patience=0.3) == []
    assert deaf.wait() == -signal.SIGKILL


def test_a_component_ends_the_leftovers_of_its_predecessor_only(marked: Marked) -> None:
    orphan = marked("test-wrap", "scheduler")
    neighbour = marked("test-wrap", "triggerer")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "course.component", "scheduler"),
            *(sys.executable, "-c", "import os; print(os.environ['COURSE_COMPONENT'])"),
        ],
        env={**os.environ, "COURSE_STACK_ID": "test-wrap"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["scheduler: ending 1 leftover processes", "scheduler"]
    assert orphan.wait() == -signal.SIGTERM
    assert neighbour.poll() is None
