"""A stack apart from the person's own, for tests and measurements: other folder, other ports."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import psutil

from course import postgres
from course.api import Airflow
from course.config import DEFAULT_PORTS, REPOSITORY, Config
from course.environment import client_environment, ml_settings
from course.health import EVER, Health
from course.ports import any_free
from course.processes import find
from course.stack import start, stop
from course.state import State, require_state
from course.supervision import Supervisor
from flightdelays.settings import Settings

PATIENCE = 180
OWN = ("COURSE_", "FLIGHTDELAYS_", "AIRFLOW_", "KAFKA_")
"""Beginnings of the variables by which a person's own stack could be reached."""


class Sandbox:
    """A running stack, with what a test needs to look at it and to break it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.home = config.root

    @property
    def state(self) -> State:
        """Its ports and secrets."""
        return require_state(self.config)

    @property
    def api(self) -> Airflow:
        """A client of its Airflow."""
        return Airflow.of(self.state)

    @property
    def env(self) -> dict[str, str]:
        """Environment for a command that works on this stack."""
        return client_environment(self.config, self.state)

    @property
    def settings(self) -> Settings:
        """The settings that its tasks have."""
        return ml_settings(self.config, self.state)

    def start(self) -> bool:
        """Start it; False if it was running."""
        return start(self.config, print)[1]

    def stop(self) -> None:
        """Stop it."""
        stop(self.config, print)

    def processes(self) -> list[psutil.Process]:
        """Every process of it."""
        return find(self.state.id, database=postgres.data_folder(self.config))

    def pids(self, component: str) -> set[int]:
        """Processes of a component, tasks included."""
        if component == "postgres":
            folder = str(postgres.data_folder(self.config))
            return {p.pid for p in self.processes() if p.name() == "postgres" and p.cwd() == folder}
        return {process.pid for process in find(self.state.id, component)}

    def main_pid(self, component: str) -> int:
        """The process that the supervisor started."""
        statuses = Supervisor(self.state).statuses()
        return next(status.pid for status in statuses if status.name == component)

    def kill(self, component: str, number: signal.Signals = signal.SIGKILL) -> datetime:
        """Send a signal to the main process of a component; return when."""
        moment = datetime.now(UTC)
        os.kill(self.main_pid(component), number)
        return moment

    def restart(self, component: str) -> None:
        """Stop and start a component as the supervisor does, and wait until it is healthy."""
        moment = datetime.now(UTC)
        Supervisor(self.state).restart_component(component)
        self.wait_healthy(moment)

    def wait_healthy(self, since: datetime = EVER) -> None:
        """Wait until every component has shown that it works after ``since``."""
        health = Health(self.state)
        deadline = time.monotonic() + PATIENCE
        while any((wrong := health.check(since)).values()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not healthy after {PATIENCE} s: {wrong}")
            time.sleep(0.5)


@contextmanager
def sandbox(**environment: str) -> Iterator[Sandbox]:
    """A healthy stack in a folder of its own, which is removed afterwards.

    ``environment`` overrides what its processes get.
    """
    # The socket paths must be short, which the folders of a test runner are not.
    home = Path(tempfile.mkdtemp(prefix="live-"))
    # A copy, to which a test can add a feature.
    features = home / "feature_repo"
    shutil.copytree(REPOSITORY / "feature_repo", features)
    own = {
        "COURSE_HOME": str(home),
        "COURSE_DAGS_FOLDER": str(REPOSITORY / "dags"),
        "FLIGHTDELAYS_FEATURE_REPO": str(features),
        **{f"{service.upper()}_PORT": str(any_free()) for service in DEFAULT_PORTS},
        **environment,
    }
    with mock.patch.dict(os.environ, _others(os.environ) | own, clear=True):
        running = Sandbox(Config())
        try:
            running.start()
            yield running
        finally:
            running.stop()
            shutil.rmtree(home)


def _others(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(OWN)}
