"""What a process costs before it does anything: an executor that forks no warm one pays it.

Each time is that of a whole process, from its start to its end, Python's own start included; the
median of three. The modules are compiled already, as they are in an image or after a first run.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
DAG = "bench_elsewhere"
TIMES = 3
IMPORTS = {
    "cold_python_sdk": "airflow.sdk",
    "import_sklearn": "sklearn.ensemble",
    "import_mlflow": "mlflow",
    "import_feast": "feast",
    "import_great_expectations": "great_expectations",
    "import_pod_operator": "airflow.providers.cncf.kubernetes.operators.pod",
}


def run(words: list[str | Path], environment: dict[str, str]) -> tuple[float, str]:
    """Seconds of a Python process, and what it printed; it must not fail."""
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - begin
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return seconds, done.stdout


def compiling(environment: dict[str, str]) -> dict[str, str]:
    """An environment in which Python keeps what it has compiled."""
    return {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}


@pytest.mark.parametrize("name", IMPORTS)
def test_import(figure: Any, name: str) -> None:
    words: list[str | Path] = ["-c", f"import {IMPORTS[name]}"]
    environment = compiling(dict(os.environ))
    run(words, environment)
    figure(name, [run(words, environment)[0] for _ in range(TIMES)], "s", "-")


@pytest.fixture(scope="module")
def closed(stack: Any) -> Any:
    """The stack, with a DAG whose task waits for a pool without a slot."""
    stack.api.ensure_pool("bench_closed", 0, "measured")
    shutil.copy(HERE / "dags" / "bench_tasks.py", stack.config.labs)
    wait(lambda: stack.api.dag(DAG))
    stack.api.pause(DAG, paused=False)
    return stack


def wait(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def states(stack: Any, run_id: str) -> list[str]:
    """Of the run's tasks; there is one."""
    return [task["state"] for task in stack.api.task_instances(DAG, run_id)]


def test_a_cold_task(figure: Any, closed: Any) -> None:
    """The very command that a pod of the KubernetesExecutor runs, here without a container.

    It loads Airflow, asks the real API server for leave to run the task, parses the DAG file,
    runs the task, which does nothing, reports its end and ends. What is not in it: to schedule and
    start a pod, or to pull an image. The first one only warms the file cache.
    """
    environment = compiling(closed.env)
    module = "airflow.sdk.execution_time.execute_workload"
    taken = []
    for _ in range(1 + TIMES):
        run_id = closed.api.trigger(DAG)
        wait(lambda run_id=run_id: states(closed, run_id) == ["scheduled"])
        _, printed = run([HERE / "queue_task.py", DAG, run_id], environment)
        seconds, _ = run(["-m", module, "--json-string", printed.splitlines()[-1]], environment)
        assert states(closed, run_id) == ["success"]
        taken.append(seconds)
    figure("cold_python_task", taken[1:], "s", "-")
