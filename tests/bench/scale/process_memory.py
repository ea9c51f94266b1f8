"""The memory of a process and of those that it starts."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

import psutil


@contextmanager
def memory(pid: int, every: float = 0.5) -> Iterator[list[float]]:
    """Within the block, the list grows by the PSS (MB) of a process and its children.

    PSS counts a page that forked processes share once, divided among them.
    """
    sizes, done = [0.0], Event()

    def watch() -> None:
        while not done.wait(every):
            with suppress(psutil.NoSuchProcess):
                top = psutil.Process(pid)
                sizes.append(sum(map(pss, [top, *top.children(recursive=True)])))

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield sizes
    finally:
        done.set()
        thread.join()


def pss(process: psutil.Process) -> float:
    """Proportional set size in MB; 0 of one that has ended meanwhile."""
    try:
        return float(process.memory_full_info().pss) / 2**20
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0
