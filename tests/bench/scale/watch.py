"""What a laptop stack holds: memory, file descriptors, connections, disk."""

import time
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel

from course import postgres
from course.components import names
from course.processes import component_of
from course.sandbox import Sandbox

STANDING = 120
"""Seconds after which a process is no task of the soak, but one of those that stay."""
PLACES = {
    "logs": ("airflow/logs",),
    "database": ("postgres",),
    "lake": ("lake",),
    "MLflow": ("mlflow",),
    "pages": ("site",),
}


class Held(BaseModel):
    """What one component holds in the processes that stay."""

    processes: int = 0
    memory_mb: float = 0
    """Proportional set size: a page that n processes share counts as 1/n for each."""
    descriptors: int = 0
    threads: int = 0


def components(stack: Sandbox) -> dict[str, Held]:
    """What each component holds at this moment."""
    found = {name: Held() for name in names(stack.state)}
    for process in stack.processes():
        try:
            if time.time() - process.create_time() < STANDING:
                continue
            held = found.get(component_of(process))
            if held is None:
                continue
            memory, descriptors = process.memory_full_info().pss, process.num_fds()
            threads = process.num_threads()
        except psutil.NoSuchProcess:
            # Ended between two looks.
            continue
        held.processes += 1
        held.memory_mb += memory / 2**20
        held.descriptors += descriptors
        held.threads += threads
    return found


def connections(stack: Sandbox) -> dict[str, int]:
    """Clients of the embedded PostgreSQL by database."""
    query = "SELECT datname, count(*) FROM pg_stat_activity WHERE datname <> 'postgres' GROUP BY 1"
    return {str(name): int(number) for name, number in _ask(stack, query)}


def _ask(stack: Sandbox, query: str) -> list[tuple[Any, ...]]:
    connection = postgres.connect(stack.state)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()
    finally:
        connection.close()


def disk(stack: Sandbox) -> dict[str, float]:
    """MB on disk by what they are for."""
    return {
        name: sum(_size(stack.home / place) for place in places) / 2**20
        for name, places in PLACES.items()
    }


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat(follow_symlinks=False).st_blocks * 512
        except FileNotFoundError:
            # Renamed or removed between two looks.
            continue
    return total
