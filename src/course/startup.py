"""The order in which the components come up, and the wait until they work."""

import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from importlib.resources import files

from course import postgres
from course.api import Airflow
from course.components import names
from course.config import BIN, Config
from course.errors import CourseError
from course.health import Health
from course.state import State, save_state
from course.supervision import Supervisor, last_words

Say = Callable[[str], None]
CRASHES = 4
"""Starts of one component after which it counts as broken rather than slow."""


def bring_up(config: Config, state: State, environment: dict[str, str], say: Say) -> None:
    """Start every component and return when all of them are healthy."""
    supervisor = Supervisor(state)
    since = datetime.now(UTC)
    if all(status.running for status in supervisor.statuses()):
        health = Health(state)
        if not any(health.check().values()):
            return
        since -= timedelta(minutes=1)
    supervisor.start_component("postgres")
    _wait(config, supervisor, "postgres", lambda: postgres.answers(state))
    postgres.create_databases(state)
    say("PostgreSQL answers")
    # MLflow creates its tables while Airflow migrates its own: two cores, two databases.
    for name in ("mlflow", "site", *(["kafka"] if not state.kafka else [])):
        supervisor.start_component(name)
    _migrate(config, state, environment, say)
    for name in names(state):
        supervisor.start_component(name)
    _wait_for_health(config, state, since, say)
    _ensure_pools(state)


def _migrate(config: Config, state: State, environment: dict[str, str], say: Say) -> None:
    """Bring Airflow's tables to the installed version, once for each version."""
    installed = version("apache-airflow")
    if state.migrated == installed:
        return
    log = config.logs / "migrate.log"
    with log.open("w") as output:
        done = subprocess.run(
            [str(BIN / "airflow"), "db", "migrate"],
            env=environment,
            cwd=config.root,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise CourseError(
            f"`airflow db migrate` failed. {last_words(config, 'migrate')}",
            "make clean, then make start",
        )
    state.migrated = installed
    save_state(config, state)
    say(f"Airflow {installed} has its tables")


def _wait(config: Config, supervisor: Supervisor, name: str, ready: Callable[[], bool]) -> None:
    watch = CrashWatch(config)
    deadline = time.monotonic() + config.start_timeout
    while not ready():
        watch.look(supervisor)
        if time.monotonic() > deadline:
            raise _failure(config, name, f"is not ready after {config.start_timeout} s")
        time.sleep(0.1)


def _wait_for_health(config: Config, state: State, since: datetime, say: Say) -> None:
    supervisor, health = Supervisor(state), Health(state)
    watch = CrashWatch(config)
    announced: set[str] = set()
    deadline = time.monotonic() + config.start_timeout
    while True:
        wrong = health.check(since)
        healthy = [name for name, problem in wrong.items() if not problem]
        for name in healthy:
            if name not in announced and name != "postgres":
                say(f"{name} is healthy")
                announced.add(name)
        if len(healthy) == len(wrong):
            return
        watch.look(supervisor)
        if time.monotonic() > deadline:
            name, problem = next((n, p) for n, p in wrong.items() if p)
            raise _failure(config, name, f"{problem} (waited {config.start_timeout} s)")
        time.sleep(1)


class CrashWatch:
    """Notices a component that crashes again and again, without waiting for the time-out."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._starts: dict[str, set[int]] = defaultdict(set)

    def look(self, supervisor: Supervisor) -> None:
        """Raise if a component has been started too often."""
        for status in supervisor.statuses():
            if status.state == "FATAL":
                raise _failure(self._config, status.name, status.message or "cannot be started")
            if status.start:
                self._starts[status.name].add(status.start)
            if len(self._starts[status.name]) >= CRASHES:
                raise _failure(self._config, status.name, "crashes each time it is started")


def _failure(config: Config, name: str, problem: str) -> CourseError:
    return CourseError(
        f"The component {name} {problem}. {last_words(config, name)}",
        "mend what the log says, then make start; or begin anew: make clean",
    )


def _ensure_pools(state: State) -> None:
    pools = json.loads(files("course").joinpath("pools.json").read_text())
    with Airflow.of(state) as airflow:
        for name, pool in pools.items():
            airflow.ensure_pool(name, **pool)
