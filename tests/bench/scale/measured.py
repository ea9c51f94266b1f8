"""What the benchmarks of the throughput have in common: sizes, settings, columns."""

from collections.abc import Mapping
from statistics import mean, median

from course.environment import TUNABLE

from .schedulers import Throughput

PARALLELISM = {1: 40, 2: 80, 4: 120, 8: 160, 16: 160}
"""With how many tasks each is measured: some fifteen seconds' worth."""
ROUNDS = 3
COMPARED = 8
"""The parallelism at which single settings are compared."""
WARM = "COURSE_WARM_IMPORTS"
STOCK = (WARM, *(name for name in TUNABLE if name.startswith("AIRFLOW__")))
"""What only the course sets; the scheduler and its tasks read some of it."""


def settings(
    environment: Mapping[str, str], parallelism: int, *, without: tuple[str, ...] = ()
) -> dict[str, str]:
    kept = {name: value for name, value in environment.items() if name not in without}
    return kept | {"AIRFLOW__CORE__PARALLELISM": str(parallelism)}


def summary(rounds: list[Throughput]) -> dict[str, float]:
    """The columns that all tables have."""
    rates = [each.rate for each in rounds]
    return {
        "rate": round(median(rates), 3),
        "rate_low": round(min(rates), 3),
        "rate_high": round(max(rates), 3),
        "rounds": len(rounds),
    }


def costs(rounds: list[Throughput]) -> dict[str, float]:
    """Processor time of a task, and how long it ran."""
    columns = {
        f"cpu_{name}": round(mean(each.cpu[name] for each in rounds), 4) for name in rounds[0].cpu
    }
    return columns | {"start_to_end": round(mean(each.start_to_end for each in rounds), 3)}
