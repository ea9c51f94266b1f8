"""The processes of one stack, found by the marker in their environment.

Parentage does not find them: every Airflow task leads a process group of its own, and the
workers of a scheduler that was killed live on as children of process 1.
"""

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

STACK = "COURSE_STACK_ID"
COMPONENT = "COURSE_COMPONENT"


def find(
    stack_id: str, component: str | None = None, database: Path | None = None
) -> list[psutil.Process]:
    """Processes of a stack, without the calling one and its ancestors.

    PostgreSQL writes its status line over the environment of its children, so these are known
    by their working folder, ``database``.
    """
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        if process.pid in own:
            continue
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if database and process.name() == "postgres" and process.cwd() == str(database):
                found.append(process)
                continue
            environment = process.environ()
        except (psutil.Error, OSError):
            # Somebody else's process, or one that has just ended.
            continue
        if environment.get(STACK) == stack_id and component in (
            None,
            environment.get(COMPONENT),
        ):
            found.append(process)
    return found


def component_of(process: psutil.Process) -> str:
    """The component a process belongs to, for messages."""
    try:
        if process.name() == "postgres":
            return "postgres"
        return process.environ().get(COMPONENT, process.name())
    except (psutil.Error, OSError):
        return "ended"


def _send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def end(processes: list[psutil.Process], patience: float = 5) -> list[psutil.Process]:
    """Ask the processes to end, kill what does not, and return what is still alive.

    PostgreSQL goes last and by SIGINT: its clients are gone by then, and SIGTERM would let it
    wait for them for ever.
    """
    database = [process for process in processes if component_of(process) == "postgres"]
    others = [process for process in processes if process not in database]
    alive: list[psutil.Process] = []
    for group, polite in ((others, signal.SIGTERM), (database, signal.SIGINT)):
        _send(group, polite)
        left = _wait(group, patience)
        _send(left, signal.SIGKILL)
        alive += _wait(left, 5)
    return alive


def _wait(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait for processes to end, and return those that have not.

    A zombie has ended: in a container the first process may never collect its children, and
    `psutil.wait_procs` would wait for that.
    """
    deadline = time.monotonic() + seconds
    while True:
        alive = [process for process in processes if _is_alive(process)]
        if not alive or time.monotonic() > deadline:
            return alive
        time.sleep(0.05)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def memory(processes: list[psutil.Process]) -> int:
    """Bytes of memory the processes use together, shared pages counted once where known."""
    total = 0
    for process in processes:
        try:
            details = process.memory_full_info()
            total += getattr(details, "pss", details.uss)
        except (psutil.Error, OSError):
            continue
    return total
