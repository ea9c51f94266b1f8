"""A stack in containers apart from the person's own, for tests: other project, ports and data."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import httpx
import yaml

from course.api import FINISHED, Airflow
from course.config import BIN, REPOSITORY
from course.containers.compose import Compose
from course.containers.settings import PORTS, Settings, load
from course.containers.stack import airflow
from course.ports import any_free

PATIENCE = 300
WITHOUT_GRAFANA = ".ci/engine/compose.yaml"
T = TypeVar("T")


class Sandbox:
    """A running stack, with what a test needs to look at it and to break it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def settings(self) -> Settings:
        """What its ``.env`` says."""
        return load(self.path)

    @property
    def compose(self) -> Compose:
        """Docker Compose on it."""
        return Compose(self.settings)

    @property
    def api(self) -> Airflow:
        """A client of its Airflow, as the administrator."""
        return airflow(self.settings)

    def course(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the course on it."""
        return subprocess.run(
            [str(BIN / "course"), *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def get(self, port: str, path: str, **query: Any) -> Any:
        """JSON that a service answers."""
        answer = httpx.get(
            self.settings.url(port) + path, params=query, timeout=10, trust_env=False
        )
        return answer.raise_for_status().json()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What Prometheus answers to a query: the series with their values."""
        found = self.get("PROMETHEUS_PORT", "/api/v1/query", query=expression)
        return list(found["data"]["result"])

    @property
    def files(self) -> str:
        """Its Compose files, as COURSE_STACK_FILES names them."""
        return os.environ["COURSE_STACK_FILES"]

    def container(self, service: str, number: int = 1) -> str:
        """Name of a container."""
        return f"{self.settings.project}-{service}-{number}"

    def docker(self, *arguments: str) -> str:
        """Output of a Docker command that must not fail."""
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout + done.stderr

    def python(self, service: str, code: str) -> str:
        """Run Python in a container, with the environment that its process has."""
        entrypoint = "/opt/course/docker/entrypoint"
        return self.docker("exec", self.container(service), entrypoint, "python", "-c", code)

    def finish(self, dag_id: str, run_id: str, patience: float = PATIENCE) -> dict[str, Any]:
        """The run, once it has ended."""
        return wait(lambda: self._ended(dag_id, run_id), f"{dag_id} {run_id}", patience)

    def _ended(self, dag_id: str, run_id: str) -> dict[str, Any] | None:
        found = self.api.run(dag_id, run_id)
        return found if found["state"] in FINISHED else None


def wait(find: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
    """Ask until there is an answer; TimeoutError naming ``what`` otherwise."""
    deadline = time.monotonic() + patience
    while not (found := find()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {patience:.0f} s")
        time.sleep(1)
    return found


def _ports() -> dict[str, str]:
    """A free port for each service, no two the same."""
    free: set[int] = set()
    while len(free) < len(PORTS):
        free.add(any_free())
    return {name: str(port) for name, port in zip(PORTS, free, strict=True)}


def can_be_had(service: str) -> bool:
    """Whether the image of a service is here, or can be pulled."""
    services = yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text("utf-8"))["services"]
    image = str(services[service]["image"])
    return any(
        subprocess.run(["docker", *command, image], capture_output=True, check=False).returncode
        == 0
        for command in (("image", "inspect"), ("pull", "--quiet"))
    )


@contextmanager
def sandbox(*files: str, profiles: str = "") -> Iterator[Sandbox]:
    """A healthy stack of its own, which is removed afterwards with its data.

    ``files`` are further Compose files. If it does not come up, or a test has failed, the state
    and the last lines of its containers are printed.
    """
    home = Path(tempfile.mkdtemp(prefix="stack-"))
    compose_files = ["docker-compose.yaml", *files]
    if not can_be_had("grafana"):
        compose_files.append(WITHOUT_GRAFANA)
    own = {
        "COURSE_STACK_ENV": str(home / ".env"),
        "COURSE_STACK_FILES": os.pathsep.join(compose_files),
        "COMPOSE_PROJECT_NAME": home.name.lower(),
        **_ports(),
        **({"PROFILES": profiles} if profiles else {}),
    }
    others = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "FLIGHTDELAYS_"))}
    with mock.patch.dict(os.environ, others | own, clear=True):
        running = Sandbox(home / ".env")
        try:
            begun = running.course("up")
            print(begun.stdout)
            if begun.returncode:
                raise RuntimeError(begun.stderr)
            yield running
        finally:
            if running.path.exists():
                running.course("reset-stack", "--yes")
            shutil.rmtree(home)


def diagnostics(running: Sandbox, folder: Path) -> Path:
    """Keep state and logs of all containers in a folder, without secrets; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ps.txt").write_text(running.compose.ask("ps", "--all"))
    for service in running.compose.services():
        (folder / f"{service}.log").write_text(running.compose.last_words(service, 2000))
    return folder
