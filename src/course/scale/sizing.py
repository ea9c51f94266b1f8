"""How large an Airflow must be, and what smaller and larger ones would do: the lab's table."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from course.errors import CourseError
from course.scale.bounds import loads
from course.scale.calibration import calibrate
from course.scale.costs import Costs, Platform, Work
from course.scale.day import PROFILES, Load, Outcome, peak

PROMISE = 60.0
"""Seconds of wait that 95 % of the tasks must stay below; Netflix promises this for Maestro."""
FULL = 0.95
"""Greatest load of a component, as a share of what it can do. Measured costs are not exact."""
LOCKED = 0.8
"""Greatest share of the time in the critical section, where more processes do not help."""
MOST = 20
"""Steps after which a size that does not keep the promise is given up."""
DAYS, SECONDS, FACTORS = (200_000, 2_000_000), (0, 60), (0.5, 0.8, 1, 1.25)
WATCHED = 5_000
PARTS = {
    "scheduler": "schedulers",
    "api server": "api_servers",
    "database": "database_cores",
    "worker": "workers",
    "slots": "workers",
}
"""What is added, by the component that is full."""


@dataclass(frozen=True)
class Size:
    """The least platform that keeps the promise, and what it makes of the peak."""

    deployments: int
    """Airflows beside each other, each with a database of its own and an equal share of the tasks.

    More than one where the critical section alone would be full.
    """
    platform: Platform
    """Each of them."""
    load: Load
    """What comes to each of them."""
    outcome: Outcome

    @property
    def workers(self) -> int:
        """Workers of all deployments."""
        return self.deployments * self.platform.workers


def least(costs: Costs, load: Load, model: Platform | None = None, seed: int = 0) -> Size:
    """The fewest workers, schedulers and API servers for the load.

    ``model`` gives the cores and slots of a worker and what else is not counted here. CourseError
    if no size keeps the promise.
    """
    model = model or Platform()
    deployments = max(1, ceil(load.peak * costs.locked / LOCKED))
    each = replace(load, tasks_a_day=ceil(load.tasks_a_day / deployments))
    platform = replace(model, workers=1, schedulers=1, api_servers=1, database_cores=1)
    for component, demand in loads(costs, platform, load.work).items():
        if component in PARTS:
            part = PARTS[component]
            needed = max(getattr(platform, part), ceil(each.peak * demand / FULL))
            platform = replace(platform, **{part: needed})
    for _ in range(MOST):
        outcome = peak(costs, platform, each, seed, WATCHED)
        if outcome.kept_up and outcome.wait_p95_s < PROMISE:
            return Size(deployments, platform, each, outcome)
        part = PARTS.get(outcome.bottleneck, "schedulers")
        platform = replace(platform, **{part: ceil(getattr(platform, part) * 1.05)})
    raise CourseError(
        f"No size was found that keeps 95 % of the waits of {load.tasks_a_day} tasks a day"
        f" below {PROMISE:.0f} s.",
        "try another profile, or more slots for each worker",
    )


def predictions(results: Mapping[str, Any], seed: int = 0) -> list[dict[str, Any]]:
    """What the least platform would do for each load, and the same with other numbers of workers.

    ``workers``, ``schedulers`` and ``api_servers`` are those of each deployment, ``slots`` those
    of each worker.
    """
    costs, _, _ = calibrate(results, "course", seed)
    rows = []
    for tasks in DAYS:
        for profile in PROFILES:
            for seconds in SECONDS:
                size = least(costs, Load(tasks, profile, Work(seconds)), seed=seed)
                numbers = {max(1, round(size.platform.workers * factor)) for factor in FACTORS}
                for workers in sorted(numbers):
                    platform = replace(size.platform, workers=workers)
                    same = workers == size.platform.workers
                    outcome = (
                        size.outcome if same else peak(costs, platform, size.load, seed, WATCHED)
                    )
                    rows.append(_row(tasks, size, platform, outcome) | {"least": same})
    return rows


def _row(tasks: int, size: Size, platform: Platform, outcome: Outcome) -> dict[str, Any]:
    return {
        "tasks_a_day": tasks,
        "profile": size.load.profile,
        "task_seconds": size.load.work.seconds,
        "deployments": size.deployments,
        "workers": platform.workers,
        "slots": platform.slots_per_worker,
        "schedulers": platform.schedulers,
        "api_servers": platform.api_servers,
        "database_cores": platform.database_cores,
    } | outcome.row()
