"""The model's costs, from the measured throughput, and how far its predictions are from it.

Each settings (``course``, ``stock``) has a calibration of its own where it has the points for it:
LocalExecutor, tasks that do nothing, the least and the greatest parallelism. From those two:

- each component's CPU-seconds of a task, and its background: measured = task + background ÷ rate;
- the wait of a task that needs no CPU: so long that the simulation has the rate of the least;
- the cores that can be used: so many that the simulation has the rate of the greatest.

What an API server spends on a heartbeat is taken from the CPU of one more point, tasks that sleep
at the greatest parallelism. All other points are held out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from scipy.optimize import brentq

from course.environment import TUNABLE
from course.errors import CourseError
from course.scale.costs import API_CALLS, COMPONENTS, CRITICAL_SHARE, Costs, Platform
from course.scale.simulation import burst, throughput

HEARTBEAT = {"course": float(TUNABLE["AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL"]), "stock": 5.0}
"""Seconds between two heartbeats of a task, by settings."""
ROUNDS = 5
"""Simulations of each point, of which the mean is taken."""
Row = Mapping[str, Any]
Calibration = tuple[Costs, Platform, list[Row]]
"""Costs, the measured machine, and the rows that the two were fitted to."""


def throughput_rows(results: Mapping[str, Any]) -> list[Row]:
    """The measured points; CourseError if nobody has measured them."""
    tables = results.get("tables", {})
    if "throughput" not in tables:
        raise CourseError(
            "The simulation needs the measured throughput, which is not in the results.",
            "make bench",
        )
    names = ("throughput", "throughput_celery")
    return [row for name in names if name in tables for row in tables[name]["rows"]]


def calibrate(results: Mapping[str, Any], settings: str = "course", seed: int = 0) -> Calibration:
    """Costs of a task and the machine as measured; the course's if other settings lack points."""
    rows = throughput_rows(results)
    idle = sorted(
        (row for row in rows if _is(row, settings, 0)), key=lambda row: int(row["parallelism"])
    )
    if len(idle) < 2:
        if settings == "course":
            raise CourseError(
                "The calibration needs two parallelisms of tasks that do nothing.",
                "make bench",
            )
        return calibrate(results, "course", seed)
    low, high = idle[0], idle[-1]
    split = {name: _split(name, low, high) for name in COMPONENTS}
    figures = results.get("figures", {})
    share = figures.get("scheduler_critical_share", {}).get("value", CRITICAL_SHARE)
    costs = Costs(
        **{name: task for name, (task, _) in split.items()},
        critical=share,
        background=sum(background for _, background in split.values()),
    )
    cores = float(results["machine"]["cores"])
    platform = Platform(1, shared_cores=cores, heartbeat_seconds=HEARTBEAT[settings])

    costs = replace(costs, latency=_latency(costs, platform, low, seed))
    platform = replace(platform, shared_cores=_cores(costs, platform, high, seed))
    reported = low["start_to_end"] - (costs.api_server + costs.queries) / 2
    costs = replace(costs, inside=min(1.0, max(0.0, reported / (costs.task + costs.latency))))
    sleeping = [
        row
        for row in rows
        if _is(row, settings, 1) and int(row["parallelism"]) == int(high["parallelism"])
    ]
    costs = replace(costs, heartbeat=_heartbeat(costs, split["api_server"][1], sleeping, settings))
    return costs, platform, [low, high, *sleeping]


def _is(row: Row, settings: str, seconds: int) -> bool:
    return (row["executor"], row["settings"], row["task_seconds"]) == (
        "LocalExecutor",
        settings,
        seconds,
    )


def _split(component: str, low: Row, high: Row) -> tuple[float, float]:
    """CPU-seconds of a task, and CPU-seconds a second without any; neither is negative."""
    first, last = low[f"cpu_{component}"], high[f"cpu_{component}"]
    background = (first - last) / (1 / low["rate"] - 1 / high["rate"])
    background = min(max(0.0, background), last * high["rate"])
    return last - background / high["rate"], background


def _latency(costs: Costs, platform: Platform, row: Row, seed: int) -> float:
    """Seconds without CPU with which the simulation has the measured rate."""

    def surplus(latency: float) -> float:
        return _rate(replace(costs, latency=latency), platform, row, seed) - float(row["rate"])

    return _root(surplus, 0.0, 1 / row["rate"])


def _cores(costs: Costs, platform: Platform, row: Row, seed: int) -> float:
    """Cores with which the simulation has the measured rate, at most those of the machine."""
    most = platform.shared_cores or 0.0

    def surplus(cores: float) -> float:
        there = replace(platform, shared_cores=cores)
        return _rate(costs, there, row, seed) - float(row["rate"])

    return _root(surplus, costs.background + 0.1 * most, most)


def _heartbeat(costs: Costs, background: float, sleeping: list[Row], settings: str) -> float:
    """CPU-seconds of a heartbeat: what the API server spends on sleeping tasks beyond all else.

    One call's share of a task that does nothing, where that is not measured or lost in the noise.
    """
    for row in sleeping:
        spent = row["cpu_api_server"] - background / row["rate"] - costs.api_server
        if spent > 0:
            return float(spent * HEARTBEAT[settings] / row["task_seconds"])
    return costs.api_server / API_CALLS


def _rate(costs: Costs, platform: Platform, row: Row, seed: int) -> float:
    there = replace(platform, slots_per_worker=int(row["parallelism"]))
    tasks, seconds = int(row["tasks"]), float(row["task_seconds"])
    # The same chance for all costs, so that the rate changes with the costs alone.
    rounds = range(seed * ROUNDS, (seed + 1) * ROUNDS)
    return fmean(throughput(burst(costs, there, tasks, seconds, number)) for number in rounds)


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    """Where ``f`` is zero; the end of the interval that is nearer to it if it is nowhere."""
    at_low, at_high = f(low), f(high)
    if at_low * at_high > 0:
        return low if abs(at_low) < abs(at_high) else high
    return float(brentq(f, low, high, xtol=1e-3))


def errors(results: Mapping[str, Any], seed: int = 0) -> list[dict[str, Any]]:
    """Measured and predicted tasks a second of every measured point; the error in percent."""
    rows = throughput_rows(results)
    calibrations = {
        name: calibrate(results, name, seed) for name in {row["settings"] for row in rows}
    }
    found = []
    for row in rows:
        costs, platform, fitted = calibrations[row["settings"]]
        predicted = _rate(costs, platform, row, seed)
        found.append(
            {name: row[name] for name in ("executor", "settings", "task_seconds", "parallelism")}
            | {
                "measured": row["rate"],
                "predicted": round(predicted, 3),
                "error": round(100 * (predicted / row["rate"] - 1), 1),
                "fitted": row in fitted,
            }
        )
    return found


def mean_error(rows: Sequence[Row], *, fitted: bool) -> float:
    """Mean absolute error in percent, of the points that were fitted or of those held out."""
    return fmean(abs(row["error"]) for row in rows if row["fitted"] is fitted)
