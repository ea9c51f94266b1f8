"""A day of tasks: how long they wait for a slot when they come thickest.

Simulated is a window of the peak and not the day: the queue starts with as many tasks running as
there would be, warms up, and is then watched while so many tasks start. Where fewer start than
come, the queue grows for as long as the peak lasts, and the waits are those of that line: the
task that comes at moment t of the peak waits t · growth ÷ started.
"""

from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from math import ceil
from typing import Any

import numpy as np
from simpy import Environment, Event

from course.errors import CourseError
from course.scale.bounds import loads
from course.scale.costs import Costs, Platform, Work
from course.scale.simulation import Airflow, Task

PROFILES = {"even": (1.0, 24 * 3600.0), "midnight": (0.5, 2 * 3600.0)}
"""Share of the day's tasks that come in the peak, and the seconds that it lasts."""
ARRIVALS = ("poisson", "burst")
MINUTE = 60.0
"""Bursts: all tasks of a minute are there as it begins, as schedules have it."""
WARM_UP = 60.0
"""Seconds of the peak before the window."""
WATCHED = 10_000
"""Tasks that come within the window, if the peak has so many."""
GROWTH = 0.02
"""Growth of the queue in the window, as a share of what started, up to which it is chance."""


@dataclass(frozen=True)
class Load:
    """What comes in a day."""

    tasks_a_day: int
    profile: str = "even"
    work: Work = field(default_factory=Work)
    arrivals: str = "poisson"

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise CourseError(f"There is no profile {self.profile!r}.", f"one of {[*PROFILES]}")
        if self.arrivals not in ARRIVALS:
            raise CourseError(f"There are no arrivals {self.arrivals!r}.", f"one of {ARRIVALS}")

    @property
    def peak(self) -> float:
        """Tasks a second in the peak."""
        share, seconds = PROFILES[self.profile]
        return self.tasks_a_day * share / seconds


@dataclass(frozen=True)
class Outcome:
    """What a platform made of the peak."""

    arrivals: float
    """Tasks a second that came."""
    throughput: float
    """Tasks a second that started."""
    wait_p50_s: float
    wait_p95_s: float
    """Seconds from scheduled to running that 95 % of the tasks did not exceed."""
    wait_p99_s: float
    utilisation_worker: float
    """Share of the workers' cores in use; likewise the others."""
    utilisation_scheduler: float
    """Share of the time that a scheduler's loop has something to do."""
    utilisation_api_server: float
    utilisation_database: float
    utilisation_slots: float
    bottleneck: str
    """What would be full first if more came: the greatest load by the utilisation law."""
    kept_up: bool

    def row(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def peak(
    costs: Costs, platform: Platform, load: Load, seed: int = 0, watched: int = WATCHED
) -> Outcome:
    """Simulate the peak of a day."""
    rng = np.random.default_rng(seed)
    env = Environment()
    airflow = Airflow(env, costs, platform, rng, load.work.cpu_share)
    running = min(platform.slots, round(load.peak * load.work.seconds))
    for _ in range(running):
        airflow.resume(Task(0.0, _left(load.work, rng)))
    lasts, window = PROFILES[load.profile][1], watched / load.peak
    if load.arrivals == "burst":
        window = MINUTE * max(10, ceil(window / MINUTE))
    begin, end = WARM_UP, min(lasts, WARM_UP + window)
    waits: list[float] = []

    def started(task: Task) -> None:
        if env.now >= begin:
            waits.append(env.now - task.scheduled)

    airflow.on_start = started
    env.process(_arrive(airflow, load, rng, end))
    env.run(until=begin)
    before, queue = _used(airflow), len(airflow.ready)
    env.run(until=end)
    window = end - begin
    used = {name: (value - before[name]) / window for name, value in _used(airflow).items()}
    rate = len(waits) / window
    # Against the tasks that came, and not against their mean: chance is in both alike.
    growth = len(airflow.ready) - queue
    kept_up = growth <= GROWTH * len(waits)
    quantiles = np.array([0.5, 0.95, 0.99])
    if kept_up:
        p50, p95, p99 = np.quantile(waits, quantiles)
    else:
        p50, p95, p99 = quantiles * lasts * (growth / len(waits) if waits else np.inf)
    shares = loads(costs, platform, load.work)
    return Outcome(
        load.peak, rate, float(p50), float(p95), float(p99),
        used["worker"] / airflow.worker.cores,
        used["loops"] / platform.schedulers,
        used["api_server"] / airflow.api_server.cores,
        used["database"] / airflow.database.cores,
        used["slots"] / platform.slots,
        max(shares, key=lambda name: shares[name]), kept_up,
    )  # fmt: skip


def _arrive(
    airflow: Airflow, load: Load, rng: np.random.Generator, end: float
) -> Generator[Event, Any, None]:
    while airflow.env.now < end:
        if load.arrivals == "burst":
            number, pause = int(rng.poisson(load.peak * MINUTE)), MINUTE
        else:
            number, pause = 1, float(rng.exponential(1 / load.peak))
        now = airflow.env.now
        airflow.submit([Task(now, _work(load.work, rng)) for _ in range(number)])
        yield airflow.env.timeout(pause)


def _work(work: Work, rng: np.random.Generator) -> float:
    return work.seconds if work.constant else float(rng.exponential(work.seconds))


def _left(work: Work, rng: np.random.Generator) -> float:
    """What a task that is met at some moment has still to do."""
    return float(rng.uniform(0, work.seconds)) if work.constant else _work(work, rng)


def _used(airflow: Airflow) -> dict[str, float]:
    used = {name: station.used() for name, station in airflow.stations.items()}
    return used | {"loops": airflow.scheduling, "slots": airflow.held()}
