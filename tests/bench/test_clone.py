"""What a new user waits for: from a fresh clone to a verdict, and then once more."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from course import postgres
from course.api import Airflow
from course.config import Config
from course.environment import client_environment
from course.ports import any_free
from course.processes import find, memory
from course.state import State, require_state

REPOSITORY = Path(__file__).resolve().parents[2]
TRAIN = "train_delay_model"


class Clone:
    """A clone of the repository with a stack of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("COURSE_", "FLIGHTDELAYS_", "AIRFLOW", "VIRTUAL_ENV"))
        } | {f"{name}_PORT": str(any_free()) for name in ("AIRFLOW", "MLFLOW", "SITE")}
        self.peak = 0

    def make(self, *words: str) -> float:
        """Run a make target in the clone; its seconds."""
        begin = time.perf_counter()
        done = subprocess.run(
            ["make", "--no-print-directory", *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return time.perf_counter() - begin

    @property
    def config(self) -> Config:
        return Config(COURSE_HOME=self.folder / ".course")

    @property
    def state(self) -> State:
        return require_state(self.config)

    def resident(self) -> int:
        """Bytes that the stack and its tasks use together."""
        return memory(find(self.state.id, database=postgres.data_folder(self.config)))

    def watch(self, stop: threading.Event) -> None:
        """Keep the highest ``resident`` until told to stop."""
        while not stop.wait(1):
            if (self.folder / ".course/stack.json").exists():
                self.peak = max(self.peak, self.resident())


@pytest.fixture(scope="module")
def clone() -> Iterator[Clone]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        subprocess.run(["git", "clone", "--quiet", REPOSITORY, f"{folder}/course"], check=True)
        made = Clone(Path(folder) / "course")
        yield made
        made.make("stop")


def test_setup(figure: Any, clone: Clone) -> None:
    figure("setup", clone.make("setup"), "s", "-")
    figure("setup_again", clone.make("setup"), "s", "≤ 1")


def test_first_demo(figure: Any, clone: Clone) -> None:
    done = threading.Event()
    watcher = threading.Thread(target=clone.watch, args=(done,))
    watcher.start()
    try:
        seconds = clone.make("demo")
    finally:
        done.set()
        watcher.join()
    figure("demo_first", seconds, "s", "-")
    figure("demo_peak_memory", clone.peak / 2**20, "MB", "-")
    figure("stack_memory", clone.resident() / 2**20, "MB", "≤ 3072")


def test_second_demo(figure: Any, clone: Clone) -> None:
    figure("demo_second", clone.make("demo"), "s", "≤ 120")


def test_a_run_beside_a_plain_script(figure: Any, clone: Clone) -> None:
    """Both on the same nine months, in turn, three times; each pair is compared."""
    airflow = Airflow.of(clone.state)
    runs, scripts = [], []
    for turn in range(3):
        run_id = airflow.trigger(TRAIN)
        while (run := airflow.run(TRAIN, run_id))["state"] not in ("success", "failed"):
            time.sleep(0.5)
        assert run["state"] == "success"
        ends = (datetime.fromisoformat(run[key]) for key in ("queued_at", "end_date"))
        runs.append(-(next(ends) - next(ends)).total_seconds())
        begin = time.perf_counter()
        done = subprocess.run(
            [
                clone.folder / ".venv/bin/python",
                "-W",
                "ignore",
                Path(__file__).with_name("plain.py"),
                f"plain-{turn}",
            ],
            env=client_environment(clone.config, clone.state),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        scripts.append(time.perf_counter() - begin)
        print(json.loads(done.stdout.splitlines()[-1])["stages"], file=sys.stderr)
    figure("train_run", runs, "s", "-")
    figure("train_script", scripts, "s", "-")
    ratios = [run / script for run, script in zip(runs, scripts, strict=True)]
    figure("train_run_over_script", ratios, "", "≤ 1.5")


def test_start_and_stop(figure: Any, clone: Clone) -> None:
    figure("stop", clone.make("stop"), "s", "-")
    figure("start_again", clone.make("start"), "s", "-")
