"""Docker and Docker Compose, as the command line talks to them."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from course.config import REPOSITORY
from course.containers.settings import Settings
from course.errors import CourseError

GIB = 2**30
# Files with secrets out of .env ("configs: content:") came with this one.
COMPOSE = (2, 24)
NEEDED = {"core": 2.5, "events": 0.5, "ml": 1.0, "observability": 0.5}
"""GiB that the services of a profile take, idle, with room for one training."""


def check_engine(settings: Settings | None) -> None:
    """CourseError unless an engine answers that can run these profiles."""
    if shutil.which("docker") is None:
        raise CourseError(
            "There is no Docker on this machine.",
            "install it (https://docs.docker.com/engine/install/), or work without: make demo",
        )
    told = _ask("docker", "info", "--format", "{{json .}}")
    info: dict[str, Any] = json.loads(told.stdout or "{}")
    if told.returncode or not info.get("ServerVersion"):
        problem = (told.stderr.strip().splitlines() or info.get("ServerErrors") or ["no answer"])[0]
        raise CourseError(
            f"The Docker engine does not answer: {problem}",
            "start it (Docker Desktop, or: sudo systemctl start docker), and see that you may use "
            "it; or work without: make demo",
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
        raise CourseError(
            f"Docker has {there:.1f} GiB of memory; {', '.join(settings.profiles)} need "
            f"{needed:.1f} GiB.",
            "give Docker more (Docker Desktop: Settings, Resources), or start less: "
            "make up PROFILES=core",
        )


def _ask(*command: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired as error:
        raise CourseError(
            f"`{' '.join(command[:3])}` did not answer within 30 s.", "restart the Docker engine"
        ) from error


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
        self._environment = {k: v for k, v in os.environ.items() if k not in settings.values}

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
            raise CourseError(f"`docker compose {' '.join(arguments)}` failed: {last}", "make ps")
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
