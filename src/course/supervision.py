"""Talks to supervisord, which starts, restarts and stops the components."""

import contextlib
import http.client
import subprocess
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from pydantic import BaseModel
from supervisor.xmlrpc import Faults, SupervisorTransport

from course.config import BIN, Config
from course.errors import CourseError
from course.files import tail
from course.state import State

UNREACHABLE = (OSError, http.client.HTTPException)


GROUP = "services"
"""Supervisor's group of everything but the database."""


def _full_name(component: str) -> str:
    return component if component == "postgres" else f"{GROUP}:{component}"


class ComponentStatus(BaseModel):
    """What the supervisor knows of one component."""

    name: str
    state: str
    pid: int
    start: int
    now: int
    log: Path
    message: str

    @property
    def running(self) -> bool:
        """Whether the process has stayed up long enough to count as started."""
        return self.state == "RUNNING"


class Supervisor:
    """The supervisor of one stack, reached through its Unix socket."""

    def __init__(self, state: State) -> None:
        self._url = f"unix://{state.runtime}/supervisor.sock"

    @property
    def _rpc(self) -> Any:
        # The transport keeps a broken connection after an error, so each call gets its own.
        transport = SupervisorTransport(None, None, serverurl=self._url)
        return ServerProxy("http://127.0.0.1", transport=transport).supervisor

    def is_up(self) -> bool:
        """Whether supervisord answers and is not on its way out."""
        try:
            return bool(self._rpc.getState()["statename"] == "RUNNING")
        except UNREACHABLE:
            return False

    def start_component(self, name: str) -> None:
        """Start a component without waiting for it."""
        with self._allowing(Faults.ALREADY_STARTED):
            self._rpc.startProcess(_full_name(name), False)

    def stop_component(self, name: str) -> None:
        """Stop a component and wait until it has ended."""
        with self._allowing(Faults.NOT_RUNNING):
            self._rpc.stopProcess(_full_name(name), True)

    def restart_component(self, name: str) -> None:
        """Stop a component, wait, and start it again without waiting."""
        self.stop_component(name)
        self.start_component(name)

    def statuses(self) -> list[ComponentStatus]:
        """Every component, in starting order."""
        return [
            ComponentStatus(
                name=row["name"],
                state=row["statename"],
                pid=row["pid"],
                start=row["start"],
                now=row["now"],
                log=Path(row["stdout_logfile"]),
                message=row["spawnerr"],
            )
            for row in self._rpc.getAllProcessInfo()
        ]

    def shutdown(self) -> None:
        """Ask supervisord to stop every component and then itself."""
        with self._allowing(Faults.SHUTDOWN_STATE):
            self._rpc.shutdown()

    @contextlib.contextmanager
    def _allowing(self, code: int) -> Any:
        try:
            yield
        except Fault as fault:
            if fault.faultCode != code:
                raise


def launch(config: Config, configuration: Path, environment: dict[str, str]) -> None:
    """Start supervisord in the background; it returns once its socket is open."""
    done = subprocess.run(
        [str(BIN / "supervisord"), "-c", str(configuration)],
        env=environment,
        cwd=config.root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        detail = (done.stderr or done.stdout).strip().splitlines()
        raise CourseError(
            f"supervisord did not start: {detail[-1] if detail else 'it said nothing'}",
            f"look at {config.logs / 'supervisord.log'}",
        )


def last_words(config: Config, component: str, lines: int = 15) -> str:
    """The end of a component's log and the log's path, for an error message."""
    path = config.logs / f"{component}.log"
    text = "\n".join(f"    {line}" for line in tail(path, lines)) or "    (nothing)"
    return f"Last lines of {path}:\n{text}"
