"""Starts and stops the laptop stack."""

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from course import postgres
from course.components import render
from course.config import DEFAULT_PORTS, Config
from course.environment import stack_environment, write_passwords
from course.errors import CourseError
from course.files import write_atomic
from course.ports import choose, holder, is_free
from course.processes import component_of, end, find
from course.startup import bring_up
from course.state import State, load_state, save_state
from course.supervision import Supervisor, launch

Say = Callable[[str], None]

KEPT = {".lock", "data", "grader", "passwords.json", "progress.json", "stack.json"}
"""What stays when the stack is emptied: it belongs to the person, not to the pipelines."""


@contextmanager
def only_one(config: Config) -> Iterator[None]:
    """Refuse to start or stop a stack that another command is starting or stopping."""
    config.root.mkdir(parents=True, exist_ok=True)
    with (config.root / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CourseError(
                f"Another command is starting or stopping the stack in {config.root}.",
                "wait for it to end, then look at: make status",
            ) from error
        yield


def is_running(config: Config) -> bool:
    """Whether the supervisor of this stack is up."""
    state = load_state(config)
    return state is not None and state.runtime is not None and Supervisor(state).is_up()


def require_running(config: Config) -> State:
    """The state of a running stack, or an error that says how to start it."""
    state = load_state(config)
    if state is None or not is_running(config):
        raise CourseError("The stack is not running.", "make start")
    return state


def start(config: Config, say: Say) -> tuple[State, bool]:
    """Start the stack and wait until all of it is healthy.

    Returns its state, and whether it had to be started: False if it was running already.
    """
    with only_one(config):
        if is_running(config):
            state = require_running(config)
            refuse_moved_ports(config, state)
            bring_up(config, state, stack_environment(config, state), say)
            return state, False
        state = load_state(config) or State()
        clear_leftovers(config, state, say)
        for service, default in DEFAULT_PORTS.items():
            state.ports[service], note = choose(
                service,
                wanted=config.wanted_ports[service],
                remembered=state.ports.get(service),
                default=default,
            )
            if note:
                say(note)
        for folder in ("airflow", "mlflow", "lake", "site", "feast", "incoming", "labs", "logs"):
            (config.root / folder).mkdir(parents=True, exist_ok=True)
        state.kafka = config.bootstrap_servers
        programs = postgres.initialise(config)
        state.runtime = postgres.runtime_folder(config, state.runtime)
        save_state(config, state)
        write_passwords(config, state)
        configuration = config.root / "supervisord.conf"
        write_atomic(configuration, render(config, state, programs), mode=0o600)
        environment = stack_environment(config, state)
        launch(config, configuration, environment)
        bring_up(config, state, environment, say)
        return state, True


def refuse_moved_ports(config: Config, state: State) -> None:
    """Say so when a port or a broker is asked for that the running stack does not use."""
    if config.bootstrap_servers and config.bootstrap_servers != state.bootstrap_servers:
        raise CourseError(
            f"The stack is running, with the Kafka broker at {state.bootstrap_servers}.",
            f"make stop, then make start KAFKA_BOOTSTRAP_SERVERS={config.bootstrap_servers}",
        )
    for service, wanted in config.wanted_ports.items():
        if wanted is not None and wanted != state.ports[service]:
            variable = f"{service.upper()}_PORT"
            raise CourseError(
                f"The stack is running, with {service} on port {state.ports[service]}.",
                f"make stop, then make start {variable}={wanted}",
            )


def clear_leftovers(config: Config, state: State, say: Say) -> None:
    """End what a crashed stack left behind, and remove the files that say it is running."""
    leftovers = find(state.id, database=postgres.data_folder(config))
    if leftovers:
        names = ", ".join(sorted({component_of(process) for process in leftovers}))
        say(f"Ending {len(leftovers)} leftover processes of an earlier start ({names})")
        alive = end(leftovers)
        if alive:
            raise CourseError(
                f"Processes {[process.pid for process in alive]} of an earlier start do not end.",
                "restart the machine",
            )
    # Its process is gone; after a restart of the machine the number may be somebody else's.
    (postgres.data_folder(config) / "postmaster.pid").unlink(missing_ok=True)
    if state.runtime is not None:
        for name in ("supervisor.sock", "supervisord.pid"):
            (state.runtime / name).unlink(missing_ok=True)


def stop(config: Config, say: Say) -> None:
    """Stop the stack and verify that no process and no port is left."""
    state = load_state(config)
    if state is None:
        say("Nothing to stop: the stack has not been started yet.")
        return
    with only_one(config):
        was_running = is_running(config)
        if was_running:
            say("Stopping the components")
            Supervisor(state).shutdown()
            _wait_for_shutdown(state)
        clear_leftovers(config, state, say)
        _verify_gone(config, state)
    ports = ", ".join(str(port) for port in state.ports.values())
    if was_running:
        say(f"Stopped: no process is left, and the ports {ports} are free.")
    else:
        say("The stack was not running; no process of it is left.")


def _wait_for_shutdown(state: State, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        # What outlives the supervisor is a leftover, and not worth waiting for.
        if not any(component_of(process) == "supervisord" for process in find(state.id)):
            return
        time.sleep(0.2)


def _verify_gone(config: Config, state: State) -> None:
    left = find(state.id, database=postgres.data_folder(config))
    if left:
        raise CourseError(
            f"Processes {[process.pid for process in left]} of the stack are still there.",
            "make stop",
        )
    for service, port in state.ports.items():
        if not is_free(port):
            raise CourseError(
                f"Port {port} ({service}) is still taken, by {holder(port)}.",
                f"end that process, or start with {service.upper()}_PORT set to another port",
            )


def remove(config: Config, say: Say) -> None:
    """Stop the stack and delete everything it wrote."""
    stop(config, say)
    state = load_state(config)
    if state is not None and state.runtime is not None:
        _remove(state.runtime)
    _remove(config.root)
    say(f"Removed {config.root}")


def empty(config: Config, say: Say) -> None:
    """Stop the stack and delete what its pipelines made: a fresh stack with the same addresses.

    What belongs to the person stays: progress in the exercises, downloads, ports and logins.
    """
    stop(config, say)
    state = load_state(config)
    if state is not None:
        # First: whoever is interrupted here has a database that is migrated once too often.
        save_state(config, state.model_copy(update={"migrated": ""}))
    for entry in sorted(config.root.iterdir()):
        if entry.name not in KEPT:
            _remove(entry)
    say("Emptied the lake, the databases, the models and the reports")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
