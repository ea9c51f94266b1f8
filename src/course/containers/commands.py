"""The commands around the stack in containers."""

from typing import Annotated

import typer

from course.console import console, progress
from course.containers import MOST_WORKERS
from course.errors import CourseError

TRAIN = "train_delay_model"
commands = typer.Typer()


@commands.command()
def up() -> None:
    """Start the stack in containers and wait until all of it is healthy."""
    from course.containers.stack import up as start
    from course.containers.view import show_addresses

    with progress("Starting the stack in containers") as say:
        settings, fresh = start(say)
    console.print("The stack is up." if fresh else "The stack was running already.")
    show_addresses(settings)


@commands.command()
def down() -> None:
    """Stop the containers; their data stay."""
    from course.containers.stack import down as stop

    with progress("Stopping the stack in containers") as say:
        stop(say)


@commands.command()
def reset_stack(yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False) -> None:
    """Stop the containers and delete their data."""
    from course.containers.stack import reset as remove
    from course.containers.stack import salvaged

    project = salvaged().project
    if not yes and not typer.confirm(f"Delete all data, models and runs of the stack {project}?"):
        raise CourseError(
            "Nothing was removed.", "to remove without the question: make reset YES=1"
        )
    with progress("Removing the stack in containers") as say:
        remove(say)


@commands.command()
def ps() -> None:
    """Show each container, its health, its memory, and the addresses."""
    from course.containers.view import overview

    raise typer.Exit(0 if overview() else 1)


@commands.command()
def stack_logs(
    service: Annotated[str, typer.Argument(help="one service; all if left out")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="keep showing new lines")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1)] = 40,
) -> None:
    """Show the end of the logs of the containers."""
    from course.containers.stack import logs

    raise typer.Exit(logs(service, follow=follow, lines=lines))


@commands.command()
def scale(
    workers: Annotated[int, typer.Argument(min=1, max=MOST_WORKERS, help="Celery workers")],
) -> None:
    """Run this many Celery workers."""
    from course.containers.stack import scale as run_workers

    with progress(f"Scaling to {workers} workers") as say:
        run_workers(workers, say)


@commands.command()
def demo_stack(
    dag: Annotated[str, typer.Argument(help="the pipeline to run")] = TRAIN,
    model: Annotated[
        str, typer.Option(help="the model to train; the pipeline's own if left out")
    ] = "",
    answer: Annotated[
        str, typer.Option(help="yes or no, for a pipeline that asks a person; asks you if left out")
    ] = "",
) -> None:
    """Run a pipeline in the stack in containers and show its verdict."""
    from course.containers.demo import run_demo
    from course.recipes import Options

    run_demo(dag, Options(model=model, answer=answer))


@commands.command()
def stack_pictures() -> None:
    """Renew the pictures of the stack in containers, from what has run in it."""
    from course.containers.pictures import take
    from course.containers.stack import existing

    for path in take(existing()):
        console.print(path, soft_wrap=True)
