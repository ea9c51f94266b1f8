"""Imports the DAG files as Airflow does, in a process of its own and without a database."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pydantic import BaseModel

from course.config import DEFAULT_PORTS, Config
from course.environment import client_environment
from course.errors import CourseError
from course.state import State, load_state


class Imported(BaseModel):
    """Ids of the DAGs that import, and for each other file the last line of its traceback."""

    dags: list[str]
    errors: dict[str, str]


def import_errors(config: Config) -> Imported:
    """Import every DAG file; takes as long as the slowest imports in them."""
    state = load_state(config)
    if state is None or not state.ports:
        state = State(ports=dict(DEFAULT_PORTS))
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        environment = {
            **client_environment(config, state),
            # The configuration file that Airflow writes belongs to nobody here.
            "AIRFLOW_HOME": folder,
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": folder,
        }
        done = subprocess.run(
            [sys.executable, "-m", "course.dagcheck", str(config.dags.resolve()), str(result)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise CourseError(f"The DAGs could not be examined: {last}", "make setup")
        return Imported.model_validate_json(result.read_text())


def main(dags: str, result: str) -> None:
    """Runs in the process of its own."""
    # Only that process pays for this import.
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=dags)
    errors = {
        os.path.relpath(file, dags): trace.strip().splitlines()[-1]
        for file, trace in bag.import_errors.items()
    }
    content = {"dags": sorted(bag.dags), "errors": errors}
    Path(result).write_text(json.dumps(content))


if __name__ == "__main__":
    main(*sys.argv[1:])
