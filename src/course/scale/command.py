"""The commands ``course simulate`` and ``course bench-compare``."""

from typing import Annotated

import typer

from course.console import console

commands = typer.Typer()


@commands.command()
def simulate(
    tasks_per_day: Annotated[int, typer.Option(min=1000)] = 200_000,
    workers: Annotated[int, typer.Option(min=1)] = 8,
    slots: Annotated[int, typer.Option(min=1, help="tasks at once on each worker")] = 16,
    cores: Annotated[float, typer.Option(min=0.5, help="of each worker")] = 4,
    schedulers: Annotated[int, typer.Option(min=1)] = 1,
    api_servers: Annotated[int, typer.Option(min=1, help="processes, a core each")] = 1,
    database_cores: Annotated[int, typer.Option(min=1)] = 4,
    task_seconds: Annotated[float, typer.Option(min=0, help="own work of a task, mean")] = 60,
    cpu_share: Annotated[
        float, typer.Option(min=0, max=1, help="of that work, on the worker's CPU")
    ] = 0,
    profile: Annotated[str, typer.Option(help="even, or midnight: half of it in 2 h")] = "midnight",
    arrivals: Annotated[
        str, typer.Option(help="poisson, or burst: those of a minute at once")
    ] = "poisson",
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Predict how long tasks wait on a platform of your own, from what was measured on this one."""
    import json

    from course.pages import RESULTS
    from course.scale.calibration import calibrate
    from course.scale.costs import Platform, Work
    from course.scale.day import Load, peak
    from course.scale.sizing import least
    from course.scale.view import show

    load = Load(tasks_per_day, profile, Work(task_seconds, cpu_share), arrivals)
    platform = Platform(
        workers, slots, cores, schedulers, api_servers, database_cores=database_cores
    )
    costs, _, _ = calibrate(json.loads(RESULTS.read_text("utf-8")))
    with console.status("Simulating the peak"):
        outcome = peak(costs, platform, load, seed)
        size = least(costs, load, platform, seed)
    show(platform, outcome, size)


@commands.command()
def bench_compare(
    revision: Annotated[str, typer.Argument(help="where git has the other figures")] = "HEAD",
) -> None:
    """Lay what `make bench` measured beside the figures that git has, spread against spread."""
    from course.scale.comparison import committed, compared
    from course.scale.page import results
    from course.scale.view import show_comparison

    before, now = committed(revision), results()
    show_comparison(before["machine"], compared(before["figures"], now["figures"]))
