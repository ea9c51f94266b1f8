"""The seven common pitfalls: run the damage and what mends it, and show what each left behind."""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from rich.table import Table

from course.config import BIN, REPOSITORY
from course.console import console, progress
from course.errors import CourseError
from course.files import tail
from course.ports import any_free

ALERTS = "alerts.jsonl"
FOLDER = REPOSITORY / "labs" / "pitfalls"
TITLES = {
    "large_xcom": "Large data in XCom",
    "not_idempotent": "A task that is not idempotent",
    "tight_coupling": "Tight coupling between DAGs",
    "missing_deadline": "A deadline that is none",
    "no_failure_handling": "No failure handling",
    "ignoring_catchup": "Ignoring catchup",
    "shared_mutable_state": "Shared mutable state",
}
Figures = dict[str, dict[str, dict[str, int | float | str]]]
"""What was measured, by pitfall, by variant (``damage``, ``mended``) and by what it says."""


def names() -> list[str]:
    """Names of the pitfalls, in the order of the course."""
    return list(TITLES)


def show(name: str) -> None:
    """Run the damage and what mends it, and print what each left behind.

    CourseError if there is no such pitfall, or if Airflow could not run its DAGs.
    """
    if name not in TITLES:
        raise CourseError(f"There is no pitfall {name!r}.", f"choose one of {', '.join(names())}")
    with progress(f"Running {name}: the damage, then what mends it") as say:
        figures = measure([name], say)[name]
    damage, mended = figures["damage"], figures["mended"]
    table = Table("", "damage", "mended", title=TITLES[name], title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for label, value in damage.items():
        table.add_row(label, _text(value), _text(mended[label]))
    console.print(table)
    console.print(f"Read on: {FOLDER / name / 'README.md'}", markup=False, soft_wrap=True)


def measure(chosen: Sequence[str], say: Callable[[str], None]) -> Figures:
    """The figures of some pitfalls, from one Airflow home that is removed afterwards.

    ``say`` gets one line for each DAG that is measured. CourseError with the last line that
    Airflow wrote if it could not run the DAGs.
    """
    with tempfile.TemporaryDirectory(prefix="course-lab-") as folder:
        home = Path(folder)
        result, log = home / "figures.jsonl", home / "output.txt"
        command = [sys.executable, str(FOLDER / "run.py"), str(result), str(home / ALERTS), *chosen]
        figures: Figures = {name: {} for name in chosen}
        begin, done = time.monotonic(), 0
        with (
            log.open("wb") as output,
            subprocess.Popen(
                command, env=_environment(home), cwd=home, stdout=output, stderr=output
            ) as process,
        ):
            running = True
            while running:
                running = process.poll() is None
                lines = result.read_text("utf-8").split("\n")[:-1] if result.exists() else []
                for line in map(json.loads, lines[done:]):
                    figures[line["name"]][line["variant"]] = line["figures"]
                    say(f"{line['name']}, {line['variant']}: {time.monotonic() - begin:.0f} s")
                done = len(lines)
                time.sleep(0.2)
        if process.returncode:
            last = (tail(log, 1) or ["it said nothing"])[-1]
            raise CourseError(f"The lab could not be run: {last}", "make doctor")
        return figures


def _environment(home: Path) -> dict[str, str]:
    """Variables of an Airflow that shares nothing with the person's own."""
    own = ("AIRFLOW", "FLIGHTDELAYS_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    port = str(any_free())
    alerts = f"jsonl://localhost{quote(str(home / ALERTS))}"
    apprise = {"conn_type": "apprise", "extra": {"config": {"path": alerts, "tag": "all"}}}
    return {
        **inherited,
        "PATH": os.pathsep.join([str(BIN), inherited.get("PATH", os.defpath)]),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(FOLDER),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX": "regexp",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__WORKERS": "1",
        # The server and the tasks are processes of their own and must know the same secret.
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
        # Otherwise a task's log holds all that it returned, which in one pitfall is 14 MB.
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW_CONN_APPRISE_DEFAULT": json.dumps(apprise),
        "FLIGHTDELAYS_LAKE": str(home / "lake"),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def _text(value: int | float | str) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
