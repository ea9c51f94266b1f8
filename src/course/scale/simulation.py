"""Airflow in SimPy: what one task passes, from scheduled until its slot is free again."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from simpy import Environment, Event

from course.scale.costs import Costs, Platform
from course.scale.stations import Processors

Steps = Generator[Event, Any, None]


@dataclass(slots=True)
class Task:
    """Moments of one task, in simulated seconds, and its own work."""

    scheduled: float
    work: float
    started: float = -1.0
    ended: float = -1.0


class Airflow:
    """Schedulers, workers, API servers and a database; `submit` gives it tasks."""

    def __init__(
        self,
        env: Environment,
        costs: Costs,
        platform: Platform,
        rng: np.random.Generator,
        cpu_share: float = 0.0,
    ) -> None:
        self.env, self.costs, self.platform, self.rng = env, costs, platform, rng
        self.cpu_share = cpu_share
        if platform.shared_cores:
            machine = Processors(env, platform.shared_cores - costs.background)
            self.stations = dict.fromkeys(
                ("scheduler", "api_server", "worker", "database"), machine
            )
        else:
            self.stations = {
                "scheduler": Processors(env, platform.schedulers),
                "api_server": Processors(env, platform.api_servers),
                "worker": Processors(env, platform.workers * platform.cores_per_worker),
                "database": Processors(env, platform.database_cores),
            }
        self.scheduler, self.api_server, self.worker, self.database = self.stations.values()
        self.ready: deque[Task] = deque()
        self.free = platform.slots
        self.finished: list[Task] = []
        self.on_start: Callable[[Task], None] = lambda task: None
        self.scheduling = 0.0
        """Seconds that the schedulers' loops were busy, all of them together."""
        self._held = 0.0
        self._since = 0.0
        self._unseen = 0
        self._locked = False
        self._idle: list[Event] = []
        for _ in range(platform.schedulers):
            env.process(self._loop())

    def submit(self, tasks: Sequence[Task]) -> None:
        """Tasks that are scheduled now."""
        self.ready.extend(tasks)
        self._wake()

    def resume(self, task: Task) -> None:
        """A task that is running already and has its ``work`` still to do."""
        self._take(1)
        self.env.process(self._run(task))

    def held(self) -> float:
        """Slot-seconds that tasks have held until now, those included that nobody has settled."""
        self._take(0)
        return self._held

    def _take(self, slots: int) -> None:
        self._held += (self.env.now - self._since) * (self.platform.slots - self.free)
        self._since = self.env.now
        self.free -= slots

    # [START loop]
    def _loop(self) -> Steps:
        """A scheduler: settle what has ended, then queue up to 16 tasks in the critical section."""
        costs, queries = self.costs, self.costs.database - self.costs.queries
        while True:
            while not (self._unseen or self._can_queue()):
                self._idle.append(Event(self.env))
                yield self._idle[-1]
            begin = self.env.now
            if self._unseen:
                seen, self._unseen = self._unseen, 0
                yield self.scheduler.serve(seen * costs.scheduler * (1 - costs.critical))
                yield self.database.serve(seen * queries * (1 - costs.critical))
                self._take(-seen)
            if self._can_queue():
                self._locked = True
                number = min(self.platform.max_tis_per_query, self.free, len(self.ready))
                self._take(number)
                batch = [self.ready.popleft() for _ in range(number)]
                yield self.scheduler.serve(number * costs.scheduler * costs.critical)
                yield self.database.serve(number * queries * costs.critical)
                self._locked = False
                for task in batch:
                    self.env.process(self._start(task))
                # Another scheduler may have found the rows locked.
                self._wake()
            self.scheduling += self.env.now - begin

    # [END loop]

    def _can_queue(self) -> bool:
        return bool(self.ready) and self.free > 0 and not self._locked

    def _wake(self) -> None:
        if self._idle and (self._unseen or self._can_queue()):
            self._idle.pop().succeed()

    # [START task]
    def _start(self, task: Task) -> Steps:
        """From the executor to the moment that Airflow reports as the start."""
        costs = self.costs
        yield self.worker.serve(costs.task * (1 - costs.inside))
        # A poll is as likely to come soon as late. Without chance all tasks would go in step.
        latency = costs.latency * self.rng.uniform(0, 2)
        yield self.env.timeout(latency * (1 - costs.inside))
        yield from self._call()
        task.started = self.env.now
        self.on_start(task)
        yield self.worker.serve(costs.task * costs.inside)
        yield self.env.timeout(latency * costs.inside)
        yield from self._run(task)

    def _run(self, task: Task) -> Steps:
        """The task's own work, and its end."""
        costs = self.costs
        if task.work:
            beats = task.work / self.platform.heartbeat_seconds
            yield self.env.timeout(task.work * (1 - self.cpu_share))
            if self.cpu_share:
                yield self.worker.serve(task.work * self.cpu_share)
            # All heartbeats of a task at once: what counts is their load, not their moments.
            self.api_server.serve(beats * costs.heartbeat)
            if costs.api_server:
                share = costs.heartbeat / costs.api_server
                self.database.serve(beats * costs.queries * share)
        yield from self._call()
        task.ended = self.env.now
        self.finished.append(task)
        self._unseen += 1
        if self.platform.shared_cores:
            self.worker.serve(costs.other)
        self._wake()

    def _call(self) -> Steps:
        """Half of what a task asks of the API server, and that of the database."""
        yield self.api_server.serve(self.costs.api_server / 2)
        yield self.database.serve(self.costs.queries / 2)

    # [END task]


def burst(
    costs: Costs, platform: Platform, tasks: int, seconds: float = 0.0, seed: int = 0
) -> list[Task]:
    """So many tasks scheduled at once, each sleeping so long, as they were when all had ended."""
    env = Environment()
    airflow = Airflow(env, costs, platform, np.random.default_rng(seed))
    airflow.submit([Task(0.0, seconds) for _ in range(tasks)])
    env.run()
    return airflow.finished


def throughput(tasks: Sequence[Task]) -> float:
    """Tasks a second as the benchmark counts: number ÷ seconds from first start to last end."""
    begin = min(task.started for task in tasks)
    return len(tasks) / (max(task.ended for task in tasks) - begin)
