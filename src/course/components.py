"""What runs in the stack, in the order in which it starts."""

import os
import sys
from pathlib import Path
from shlex import join

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel

from course import postgres
from course.config import BIN, Config
from course.environment import database_uri
from course.state import State
from course.supervision import GROUP

NAMES = (
    "postgres",
    "kafka",
    "mlflow",
    "api-server",
    "scheduler",
    "dag-processor",
    "triggerer",
    "site",
)

# What most tasks import, imported once by the scheduler, of which they are forks: see
# plugins/warm_imports.py. It costs about 15 s of processor time at each start and saves more
# than that in each training run.
WARM_IMPORTS = ",".join(
    (
        # Of Airflow itself: what a task imports to read its DAG file.
        *("airflow.sdk.definitions.decorators", "airflow.providers.standard.decorators.python"),
        *("airflow.dag_processing.bundles.local", "airflow.sdk.definitions.asset.metadata"),
        *("pandas", "pyarrow.parquet", "duckdb"),
        *("sklearn.compose", "sklearn.ensemble", "sklearn.linear_model", "skops.io"),
        *("mlflow.sklearn", "feast", "great_expectations.expectations"),
    )
)

EXTRA = {
    # Only the API server reads task logs.
    "api-server": {"AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS": "course.task_logs.LOGGING_CONFIG"},
    "scheduler": {"COURSE_WARM_IMPORTS": os.environ.get("COURSE_WARM_IMPORTS", WARM_IMPORTS)},
}


def names(state: State) -> tuple[str, ...]:
    """The components of this stack: all, less the broker if another one is used."""
    return tuple(name for name in NAMES if name != "kafka" or not state.kafka)


class Program(BaseModel):
    """One program section of the supervisor's configuration."""

    name: str
    command: str
    priority: int
    user: str | None = None
    stopsignal: str = "TERM"
    group: str = "true"
    startsecs: int = 3
    stopwait: int = 10
    environment: dict[str, str] = {}


def _quote(arguments: list[str]) -> str:
    """Command line for supervisord, which splits like a shell and expands ``%``."""
    return join(arguments).replace("%", "%%")


def programs(config: Config, state: State, postgres_bin: Path) -> list[Program]:
    """Every component with the command that runs it in the foreground."""
    airflow, mlflow = str(BIN / "airflow"), str(BIN / "mlflow")
    host = ["--host", "127.0.0.1", "--port"]
    ports = {name: str(port) for name, port in state.ports.items()}
    commands = {
        "kafka": [sys.executable, "-m", "course.broker", str(state.ports["kafka"])],
        "mlflow": [
            *(mlflow, "server", *host, ports["mlflow"], "--workers", "1"),
            *("--backend-store-uri", database_uri(state, "mlflow")),
            *("--artifacts-destination", str(config.root / "mlflow"), "--serve-artifacts"),
        ],
        "api-server": [airflow, "api-server", *host, ports["airflow"]],
        # The logs of tasks are local files here: the servers that would hand them to another
        # machine are left out, and with them two ports that listen on every address.
        "scheduler": [airflow, "scheduler", "--skip-serve-logs"],
        "dag-processor": [airflow, "dag-processor"],
        "triggerer": [airflow, "triggerer", "--skip-serve-logs"],
        "site": [
            *(sys.executable, "-m", "http.server", ports["site"]),
            *("--bind", "127.0.0.1", "--directory", str(config.root / "site")),
        ],
    }
    wrapper = [sys.executable, "-m", "course.component"]
    database = Program(
        name="postgres",
        command=_quote(postgres.command(config, state, postgres_bin)),
        priority=1,
        user=postgres.run_as(),
        # SIGINT ends sessions and stops; SIGTERM would wait for every client to leave. Only the
        # server gets it: it stops its own children in order.
        stopsignal="INT",
        group="false",
        startsecs=1,
    )
    return [
        database,
        *(
            Program(
                name=name,
                command=_quote([*wrapper, name, *commands[name]]),
                priority=10,
                environment=EXTRA.get(name, {}),
                # Idle, they end within a second; else they would wait for whatever still runs.
                stopwait=5 if name in ("scheduler", "triggerer") else 10,
            )
            for name in names(state)
            if name != "postgres"
        ),
    ]


def render(config: Config, state: State, postgres_bin: Path) -> str:
    """The supervisor's configuration."""
    templates = Environment(  # noqa: S701  (an INI file, not HTML)
        loader=PackageLoader("course"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return templates.get_template("supervisord.conf.j2").render(
        runtime=str(state.runtime).replace("%", "%%"),
        logs=str(config.logs).replace("%", "%%"),
        home=str(config.root).replace("%", "%%"),
        group=GROUP,
        root=postgres.run_as() is not None,
        programs=programs(config, state, postgres_bin),
    )
