"""Processors that are shared by all that wants to run on them."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from simpy import Environment, Event

CLOSE = 1e-9
"""Seconds of service that count as none: rounding."""


class Processors:
    """Egalitarian processor sharing: n jobs on c cores run at min(1, c / n) each.

    That is how a kernel shares cores among processes of equal priority, in the limit of short time
    slices. Slices need an event for each slice; this needs one or two for each job. All jobs run
    at the same speed, so one number, the service that a job present from the start would have
    got, says when each of them is done.
    """

    def __init__(self, env: Environment, cores: float) -> None:
        self.env = env
        self.cores = cores
        self.busy = 0.0
        """Core-seconds used until the last change; `used` brings it up to date."""
        self._jobs: list[tuple[float, int, Event]] = []
        self._order = count()
        self._service = 0.0
        self._since = 0.0
        self._planned = -1.0
        self._heard: Callable[[Event], None] | None = None

    def serve(self, demand: float) -> Event:
        """An event that happens when a new job has got ``demand`` CPU-seconds."""
        done = Event(self.env)
        if demand <= CLOSE:
            return done.succeed()
        self._advance()
        heappush(self._jobs, (self._service + demand, next(self._order), done))
        self._plan()
        return done

    def used(self) -> float:
        """Core-seconds used until now."""
        self._advance()
        return self.busy

    def _advance(self) -> None:
        elapsed, jobs = self.env.now - self._since, len(self._jobs)
        if elapsed and jobs:
            self._service += elapsed * min(1.0, self.cores / jobs)
            self.busy += elapsed * min(self.cores, jobs)
        self._since = self.env.now

    def _plan(self) -> None:
        """Set the clock for the job that is done first, unless it is set for that moment."""
        left = max(0.0, self._jobs[0][0] - self._service)
        wait = left / min(1.0, self.cores / len(self._jobs))
        at = self.env.now + wait
        if self._heard and abs(at - self._planned) < CLOSE:
            return
        self._planned = at

        def ring(_: Event) -> None:
            # A clock that was set before the number of jobs changed rings unheard.
            if self._heard is ring:
                self._finish()

        self._heard = ring
        clock = self.env.timeout(wait)
        assert clock.callbacks is not None  # noqa: S101 - it has only just been made
        clock.callbacks.append(ring)

    def _finish(self) -> None:
        self._heard = None
        self._advance()
        while self._jobs and self._jobs[0][0] <= self._service + CLOSE:
            heappop(self._jobs)[2].succeed()
        if self._jobs:
            self._plan()
