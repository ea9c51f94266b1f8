"""Passes of a dag-processor over its files, as told by the metrics that it sends."""

import re
import time
from collections import Counter
from itertools import pairwise
from statistics import median

from course.listener import Listener

STARTED = "airflow.dag_processing.processes:1|c"
QUEUE_DONE = re.compile(r"airflow\.dag_processing\.total_parse_time:([\d.]+)\|g")
FILE_DONE = re.compile(r"airflow\.dag_processing\.last_duration\.[\w-]+\.(file_\d+):([\d.]+)\|ms")
LOOP = re.compile(r"airflow\.scheduler\.scheduler_loop_duration:([\d.]+)\|ms")


class Passes:
    """What the metrics say until now. A pass ends when every file has been parsed once more.

    Airflow's own ``total_parse_time`` ends when the queue is empty, and then as many files as
    there are parsing processes are still being parsed: of few files it says next to nothing.
    """

    def __init__(self, metrics: Listener, files: int) -> None:
        self.begin: float | None = None
        """When the first parsing process was forked (monotonic seconds)."""
        self.ends: list[float] = []
        """When the manager took the last result of each pass; it then writes it."""
        self.total_parse_times: list[float] = []
        """What Airflow calls the time of a pass (s)."""
        self._metrics, self._files = metrics, files
        self._seen = 0
        self._parsed: Counter[str] = Counter()
        self._taken: list[list[float]] = [[]]

    def done(self, passes: int) -> bool:
        """Whether so many passes are over; reads what has arrived since the last look."""
        lines = self._metrics.lines[self._seen :]
        self._seen += len(lines)
        for line in lines:
            if self.begin is None and line == STARTED:
                self.begin = time.monotonic()
            elif match := FILE_DONE.fullmatch(line):
                self._add(match[1], float(match[2]))
            elif match := QUEUE_DONE.fullmatch(line):
                self.total_parse_times.append(float(match[1]))
        return len(self.ends) >= passes

    def _add(self, file: str, seconds: float) -> None:
        self._parsed[file] += 1
        self._taken[-1].append(seconds)
        if len(self._parsed) == self._files and min(self._parsed.values()) > len(self.ends):
            self.ends.append(time.monotonic())
            self._taken.append([])

    @property
    def later(self) -> list[float]:
        """Seconds of each pass after the first, from the end of the pass before it."""
        return [after - before for before, after in pairwise(self.ends)]

    def file_seconds(self) -> list[float]:
        """Seconds of one file, the median of each pass after the first.

        From the fork of its parsing process until its result is taken by the manager, which has
        still to write it to the database. Airflow 3.3.2 sends seconds, where its catalogue of
        metrics and the unit in the line say milliseconds. RuntimeError if that is no longer so.
        """
        found = [median(taken) for taken in self._taken[1 : len(self.ends)]]
        if max(found) > 10 * max(self.later):
            raise RuntimeError("dag_processing.last_duration is no longer sent in seconds.")
        return found


def loops(metrics: Listener) -> list[float]:
    """Milliseconds of each loop of the scheduler until now."""
    return [float(match[1]) for line in metrics.lines if (match := LOOP.fullmatch(line))]
