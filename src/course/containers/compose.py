"""Docker and Docker Compose, as the command line talks to them."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from course.config import REPOSITORY
from course.containers.settings import PORTS, Settings
from course.errors import CourseError

GIB = 2**30
# Files with secrets out of .env ("configs: content:") came with this one.
COMPOSE = (2, 24)
NEEDED = {"core": 3.0, "events": 0.5, "ml": 1.0, "observability": 0.5}
"""GiB that the services of a profile take, idle, with room for one training."""


def check_engine(settings: Settings | None) -> None:
    """CourseError unless an engine answers that can run these profiles."""
    if shutil.which("docker") is None:
        raise CourseError(
            "There is no Docker on this machine.",
            "install it (https://docs.docker.com/engine/install/), or work without: make demo",
        )
    told = _ask("docker", "info", "--format", "{{json .}}")
    try:
        info: dict[str, Any] = json.loads(told.stdout or "{}")
    except json.JSONDecodeError:
        # Windows has a `docker` for its Linux machines that only says how to switch it on.
        info = {"ServerErrors": told.stdout.strip().splitlines()}
    if told.returncode or not info.get("ServerVersion"):
        said = info.get("ServerErrors") or told.stderr.strip().splitlines()
        problem = said[0] if said else "no version of Docker in its answer (Podman has none)"
        denied = "permission denied" in problem
        raise CourseError(
            f"The Docker engine does not answer: {problem}",
            "let yourself use it: sudo usermod -aG docker $USER, then log in again"
            if denied
            else "start it (Docker Desktop, or: sudo systemctl start docker), then: make up; "
            "or work without: make demo",
        )
    version = _ask("docker", "compose", "version", "--short").stdout.strip().lstrip("v")
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < COMPOSE:
        raise CourseError(
            f"Docker Compose {'.'.join(map(str, COMPOSE))} or later is needed; "
            f"here it is {version or 'absent'}.",
            "update it: https://docs.docker.com/compose/install/",
        )
    if settings is not None:
        _check_memory(info, settings)


def _check_memory(info: Mapping[str, Any], settings: Settings) -> None:
    there = info["MemTotal"] / GIB
    needed = sum(NEEDED[name] for name in settings.profiles)
    if there < needed:
        less = ", or start less: make up PROFILES=core" if settings.profiles != ["core"] else ""
        raise CourseError(
            f"Docker has {there:.1f} GiB of memory; {', '.join(settings.profiles)} take "
            f"{needed:.1f} GiB.",
            f"give Docker more (Docker Desktop: Settings, Resources){less}",
        )


def _ask(*command: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired as error:
        raise CourseError(
            f"`{' '.join(command[:3])}` did not answer within 30 s.", "restart the Docker engine"
        ) from error


def remove(project: str, *options: str) -> bool:
    """``docker compose down`` for a project; returns whether it worked.

    Docker finds the containers by their labels: no file is read, and a damaged one is no obstacle.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COMPOSE_")}
    command = ["docker", "compose", "--project-name", project, "down", "--remove-orphans"]
    # The root folder has no compose file that Docker would take for the one that is meant.
    done = subprocess.run([*command, *options], cwd="/", env=environment, check=False)
    return done.returncode == 0


class Compose:
    """``docker compose`` on one stack."""

    def __init__(self, settings: Settings) -> None:
        files = os.environ.get("COURSE_STACK_FILES", "docker-compose.yaml").split(os.pathsep)
        self._command = [
            *("docker", "compose", "--env-file", str(settings.path)),
            *("--project-name", settings.project, "--project-directory", str(REPOSITORY)),
            *(part for file in files for part in ("--file", str(REPOSITORY / file))),
        ]
        # The file decides, and not a variable that the shell happens to have.
        decided = {*settings.values, *PORTS, "WORKERS"}
        self._environment = {k: v for k, v in os.environ.items() if k not in decided}

    def command(self, *arguments: str) -> list[str]:
        """The whole command line."""
        return [*self._command, *arguments]

    def run(self, *arguments: str, quiet: bool = False) -> "subprocess.CompletedProcess[str]":
        """Run a command; its output goes to the terminal, or with ``quiet`` into the result."""
        return subprocess.run(
            self.command(*arguments),
            env=self._environment,
            capture_output=quiet,
            text=True,
            check=False,
        )

    def ask(self, *arguments: str) -> str:
        """Output of a command that must not fail."""
        done = self.run(*arguments, quiet=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise CourseError(f"`docker compose {' '.join(arguments)}` failed: {last}", "make up")
        return done.stdout

    def services(self) -> list[str]:
        """Names of the services in the chosen profiles."""
        return self.ask("config", "--services").split()

    def containers(self) -> list[dict[str, Any]]:
        """Every container of the stack, stopped ones too, as ``docker compose ps`` tells it."""
        lines = self.ask("ps", "--all", "--format", "json").splitlines()
        found: list[dict[str, Any]] = []
        for line in lines:
            value = json.loads(line)
            found.extend(value if isinstance(value, list) else [value])
        return found

    def last_words(self, service: str, lines: int = 15) -> str:
        """End of a service's log."""
        return self.run("logs", "--no-color", "--tail", str(lines), service, quiet=True).stdout
