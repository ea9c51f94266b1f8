"""Where the processor time of a task goes: stacks sampled by py-spy, sorted into parts.

Only samples that hold the interpreter's lock are counted: waiting, for an answer or for a message,
costs nobody anything.
"""

import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from course.config import BIN

ATTACH = 5
"""Seconds that py-spy takes to find all processes."""

# The first that fits names the part. Functions are those of Airflow 3.3.
PARTS = {
    "scheduler": (
        ("task: imports", r"_subprocess_main.*_find_and_load "),
        ("task: read the DAG file", r"_subprocess_main.*\bparse \(airflow/sdk"),
        ("task: start", r"_subprocess_main.*\b(startup|get_startup_details) \("),
        ("task: run and report", r"_subprocess_main"),
        ("task: start", r"_fork_main"),
        ("worker: fork", r"_run_worker.*WatchedSubprocess\.start"),
        ("worker: calls of the API", r"_run_worker.*airflow/sdk/api/client\.py"),
        ("worker: supervise", r"_run_worker"),
        ("scheduler: database", r"_run_scheduler_loop.*sqlalchemy/"),
        ("scheduler: loop", r"_run_scheduler_loop"),
    ),
    "api-server": (
        ("API server: database", r"sqlalchemy/"),
        ("API server: answer", r"."),
    ),
}


@contextmanager
def sampled(pid: int, path: Path) -> Iterator[None]:
    """Sample a process and its children into a file of collapsed stacks.

    RuntimeError, with py-spy's words, if it could not.
    """
    command = [
        *(BIN / "py-spy", "record", "--pid", str(pid), "--subprocesses", "--gil"),
        *("--format", "raw", "--output", path, "--rate", "200", "--duration", "3600"),
    ]
    log = path.with_suffix(".log")
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        time.sleep(ATTACH)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    if not path.exists():
        raise RuntimeError(f"py-spy recorded nothing:\n{log.read_text()[-2000:]}")


def critical_share(path: Path) -> float:
    """Samples of the loop in which the scheduler holds the locks on the pools ÷ all of the loop.

    Only one scheduler at a time can do that part of the work: it bounds what several can do.
    """
    loop = critical = 0
    for line in path.read_text().splitlines():
        stack, _, number = line.rpartition(" ")
        loop += int(number) * ("_run_scheduler_loop" in stack)
        critical += int(number) * ("_critical_section_enqueue_task_instances" in stack)
    return critical / loop


def shares(path: Path, component: str) -> dict[str, float]:
    """Part of the samples of each part, which together are 1."""
    counted: Counter[str] = Counter()
    for line in path.read_text().splitlines():
        stack, _, number = line.rpartition(" ")
        for part, pattern in PARTS[component]:
            if re.search(pattern, stack):
                counted[part] += int(number)
                break
    total = counted.total()
    return {part: count / total for part, count in counted.items()}
