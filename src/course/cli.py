"""The command ``course``; ``make`` calls it, and lists the same commands."""

import os
import shlex
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from course.config import BIN, load_config
from course.console import console, errors, progress, show_addresses
from course.containers.commands import commands as container_commands
from course.errors import CourseError
from course.learning import commands
from course.scale.command import commands as scale_commands
from course.state import require_state
from flightdelays.errors import CourseError as DataProblem
from flightdelays.errors import ServiceError

TRAIN = "train_delay_model"


class _Group(TyperGroup):
    """Prints an expected failure as a sentence; anything else is a defect and keeps its trace."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (CourseError, DataProblem, ServiceError) as error:
            errors.print(f"✗ {error}", style="red", markup=False, soft_wrap=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=_Group,
    help=__doc__,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(commands)
app.add_typer(container_commands)
app.add_typer(scale_commands)


@app.command()
def start() -> None:
    """Start the laptop stack and wait until it is healthy."""
    from course.stack import start as start_stack

    config = load_config()
    with progress("Starting the stack") as say:
        state, fresh = start_stack(config, say)
    console.print("The stack is up." if fresh else "The stack is already running.")
    show_addresses(state)


@app.command()
def stop() -> None:
    """Stop the stack and verify that nothing of it is left."""
    from course.stack import stop as stop_stack

    with progress("Stopping the stack") as say:
        stop_stack(load_config(), say)


@app.command()
def status() -> None:
    """Show each component, its health, its memory, and the addresses."""
    from course.status import overview

    healthy = overview(load_config())
    raise typer.Exit(0 if healthy else 1)


@app.command()
def logs(
    component: Annotated[str, typer.Argument(help="one component; all if left out")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="keep showing new lines")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1)] = 40,
) -> None:
    """Show the end of the logs: of the laptop stack, or of the one in containers if that runs."""
    from course.containers.settings import env_file
    from course.containers.stack import logs as container_logs
    from course.logs import show
    from course.stack import is_running

    config = load_config()
    if env_file().exists() and not is_running(config):
        raise typer.Exit(container_logs(component, follow=follow, lines=lines))
    show(config, component, follow=follow, lines=lines)


@app.command()
def clean(yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False) -> None:
    """Stop the stack and delete its databases, lake, models and reports."""
    from course.stack import remove

    config = load_config()
    if not config.root.exists():
        console.print(f"Nothing to remove: {config.root} does not exist.")
        return
    if not yes and not typer.confirm(f"Delete {config.root} with all data, models and reports?"):
        raise CourseError(
            "Nothing was removed.", "to remove without the question: make clean YES=1"
        )
    with progress("Removing the stack") as say:
        remove(config, say)


@app.command()
def reset_demo(
    dag: Annotated[str, typer.Argument(help="the demonstration to begin with")] = TRAIN,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Empty the stack, then run a demonstration: by default the one that deploys a model."""
    from course.demo import run_demo
    from course.recipes import Options
    from course.stack import empty

    config = load_config()
    question = f"Delete the lake, the models and all runs in {config.root}, and begin anew?"
    if not yes and not typer.confirm(question):
        raise CourseError(
            "Nothing was removed.", "to begin anew without the question: make reset-demo YES=1"
        )
    if config.root.exists():
        with progress("Emptying the stack") as say:
            empty(config, say)
    run_demo(config, dag, Options())


@app.command()
def env(
    secrets: Annotated[bool, typer.Option("--secrets", help="show the secrets")] = False,
) -> None:
    """Print the stack's environment as shell exports."""
    from course.environment import exports

    config = load_config()
    for name, value in sorted(exports(config, require_state(config), secrets=secrets).items()):
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def airflow(context: typer.Context) -> None:
    """Run Airflow's own command line in the stack: ``course airflow dags list``."""
    from course.environment import client_environment
    from course.stack import require_running

    config = load_config()
    environment = client_environment(config, require_running(config))
    command = str(BIN / "airflow")
    os.execve(command, [command, *context.args], environment)  # noqa: S606


@app.command()
def topics() -> None:
    """List the topics of the Kafka broker with what lies in each."""
    from course.kafka import overview
    from course.stack import require_running

    overview(require_running(load_config()))


@app.command()
def send(
    topic: Annotated[str, typer.Argument(help="an existing topic: see `course topics`")],
    message: Annotated[str, typer.Argument(help="the message, JSON for the topics of the course")],
) -> None:
    """Send one message to a Kafka topic and wait until the broker has it."""
    from course.kafka import send as send_message
    from course.stack import require_running

    state = require_running(load_config())
    sent = send_message(state.bootstrap_servers, topic, message)
    console.print(f"Sent: {topic}, partition {sent['partition']}, offset {sent['offset']}")


@app.command()
def pictures(
    dags: Annotated[
        list[str] | None, typer.Argument(help="DAG ids; each must have run. None: the lectures'")
    ] = None,
) -> None:
    """Renew the pictures of pipelines, or of the lectures, from the last runs in the stack."""
    from course.pictures import take, take_lectures
    from course.stack import require_running

    state = require_running(load_config())
    for path in take(state, dags) if dags else take_lectures(state):
        console.print(path, soft_wrap=True)


@app.command()
def tweets() -> None:
    """Fetch the rated tweets of exercise 1, if they are not there yet."""
    from course.tweets import fetch

    path, fetched = fetch(load_config().root / "data")
    console.print(f"{'Fetched' if fetched else 'Already there:'} {path}")


@app.command(hidden=True)
def mermaid() -> None:
    """Fetch the program that draws the site's diagrams, where npm can be had."""
    from course.mermaid import fetch

    if fetch(load_config().root / "data") is None:
        console.print("Without npm, the browser loads mermaid for the diagrams from the network.")


@app.command()
def doctor() -> None:
    """Check this machine and the stack; each finding comes with what mends it."""
    from course.doctor import examine

    raise typer.Exit(0 if examine(load_config()) else 1)


@app.command()
def lab(
    name: Annotated[str, typer.Argument(help="the lab; lists all if left out")] = "",
    mend: Annotated[bool, typer.Option("--mend", help="undo what the lab planted")] = False,
) -> None:
    """Watch a pitfall, or plant a fault in the running stack, to be found and mended."""
    from course import lab as labs

    if name:
        labs.run_lab(load_config(), name, mend=mend)
    elif mend:
        raise CourseError("Which lab is to be undone?", "make lab NAME=… MEND=1")
    else:
        labs.overview()


@app.command()
def demo(
    dag: Annotated[str, typer.Argument(help="the pipeline to run")] = TRAIN,
    model: Annotated[
        str, typer.Option(help="the model to train; the pipeline's own if left out")
    ] = "",
    answer: Annotated[
        str, typer.Option(help="yes or no, for a pipeline that asks a person; asks you if left out")
    ] = "",
) -> None:
    """Run a pipeline on real flights in a real Airflow and show its verdict."""
    from course.demo import run_demo
    from course.recipes import Options

    run_demo(load_config(), dag, Options(model=model, answer=answer))


@app.command()
def k8s_secrets() -> None:
    """Create the Secrets of the local cluster, with generated values."""
    from course.cluster.secrets import create_all

    made = create_all()
    console.print(
        f"Created the Secrets {', '.join(made)}." if made else "The Secrets were there already.",
        soft_wrap=True,
    )
