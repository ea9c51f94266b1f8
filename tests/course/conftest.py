"""A stack of its own for every test: an empty folder, and nothing from the person's settings."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from course.config import Config
from course.state import State, save_state


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        ours = name.startswith(("COURSE_", "FLIGHTDELAYS_", "AIRFLOW", "KAFKA_"))
        if ours or name.endswith("_PORT"):
            monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    return Config()


@pytest.fixture
def state(config: Config) -> State:
    """The remembered state of a stack that is not running."""
    ports = {"airflow": 18080, "mlflow": 15000, "site": 18090, "kafka": 19092, "statsd": 18125}
    state = State(ports=ports, runtime=config.root / "run")
    save_state(config, state)
    return state


@pytest.fixture
def marked() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts processes that carry the marker of a stack; ends them after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(stack_id: str, component: str, code: str = "") -> subprocess.Popen[str]:
        script = f"import time\n{code}\nprint('up', flush=True)\ntime.sleep(600)"
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, "COURSE_STACK_ID": stack_id, "COURSE_COMPONENT": component},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
