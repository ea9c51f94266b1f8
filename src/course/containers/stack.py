"""Starts, watches and stops the stack in containers."""

import contextlib
import fcntl
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from course.api import Airflow, AirflowError
from course.containers import seeds
from course.containers.compose import Compose, check_engine, remove
from course.containers.settings import (
    PORTS,
    Settings,
    create,
    env_file,
    load,
    read,
    usual_home,
)
from course.errors import CourseError
from course.ports import any_free, holder, is_free
from course.state import ADMIN

Say = Callable[[str], None]
PATIENCE = 300
"""Seconds until a stack that has its images must be healthy."""

CRASHES = 5
"""Times that a service was seen between two starts, after which it counts as broken."""

ONCE = {"migrate", "seed", "topics"}
"""Services that end when their work is done."""

# What a database says to a password that it was not made with.
WRONG_PASSWORD = (
    "password authentication failed",
    "WRONGPASS",
    "InvalidAccessKeyId",
    "invalid password",
)


def chosen() -> dict[str, str]:
    """What the person asked for with the command: ports, profiles, workers."""
    same = (*PORTS, "WORKERS", "COMPOSE_PROJECT_NAME")
    names = {**{name: name for name in same}, "PROFILES": "COMPOSE_PROFILES"}
    asked = {own: os.environ.get(name, "").replace(" ", "") for name, own in names.items()}
    return {name: value for name, value in asked.items() if value}


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Refuse to start or stop a stack that another command is starting or stopping.

    Of two first starts at once, each would write passwords, and the data keep those of one.
    """
    lock = usual_home(path) / ".lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        opened = lock.open("w")
    except OSError as error:
        raise CourseError(
            f"{lock} cannot be written: {error.strerror}.", f"see whose it is: ls -la {lock.parent}"
        ) from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CourseError(
                "Another command is starting or stopping the stack in containers.",
                "wait for it to end, then look at: make ps",
            ) from error
        yield


def settings_of(path: Path, wanted: Mapping[str, str]) -> tuple[Settings, bool]:
    """The settings, with what was asked for; and whether the file is new."""
    if not path.exists():
        created = create(path, wanted)
        return created, True
    # Under another name it would be another stack, beside this one and on its ports.
    own = {name: value for name, value in wanted.items() if name != "COMPOSE_PROJECT_NAME"}
    return load(path, own), False


def existing() -> Settings:
    """The settings of a stack that was started before, or an error that says how to start it."""
    path = _written()
    check_engine(None)
    return load(path)


def salvaged() -> Settings:
    """What is needed to stop a stack that was started before, even if its file is damaged."""
    path = _written()
    check_engine(None)
    found = {name: value for name, value in read(path).items() if value}
    return Settings(path, {"STACK_HOME": str(usual_home(path)), **found})


def _written() -> Path:
    path = env_file()
    if not path.exists():
        raise CourseError(
            f"The stack in containers was never started: there is no {path}.", "make up"
        )
    return path


def up(say: Say) -> tuple[Settings, bool]:
    """Start what is not running and wait until all of it is healthy.

    Returns the settings, and whether anything had to be started.
    """
    check_engine(None)
    path = env_file()
    with only_one(path):
        return _up(path, say)


def _up(path: Path, say: Say) -> tuple[Settings, bool]:
    settings, new = settings_of(path, chosen())
    if new:
        say(f"Wrote {path}: ports, profiles and generated secrets")
    check_engine(settings)
    compose = Compose(settings)
    before = running(compose)
    remove_others(compose, say)
    check_ports(settings, compose)
    prepare_folders(settings)
    build(compose, say)
    start(compose, say)
    wait_for_health(compose, say)
    with airflow(settings) as api:
        check_airflow(api)
        seeds.plant(api)
    say("Pools and connections are there")
    return settings, running(compose) != before


def running(compose: Compose) -> set[str]:
    """Ids of the running containers."""
    return {str(found["ID"]) for found in compose.containers() if found["State"] == "running"}


def remove_others(compose: Compose, say: Say) -> None:
    """Remove the containers of profiles that are no longer chosen; Compose lets them run on."""
    chosen_ones = set(compose.services())
    others = sorted({str(found["Service"]) for found in compose.containers()} - chosen_ones)
    if not others:
        return
    say(f"Stopping what is not chosen any more: {', '.join(others)}")
    # Services that the file no longer has are none that `rm` takes; `up` removes those.
    known = set(compose.ask("--profile", "*", "config", "--services").split())
    if gone := [name for name in others if name in known]:
        compose.ask("--profile", "*", "rm", "--stop", "--force", *gone)


def check_ports(settings: Settings, compose: Compose) -> None:
    """CourseError if somebody else has a port that the stack is to open."""
    ours = {
        int(publisher["PublishedPort"])
        for found in compose.containers()
        for publisher in found.get("Publishers") or []
    }
    for name, port in settings.ports.items():
        if port not in ours and not is_free(port):
            raise CourseError(
                f"Port {port} ({name}) is taken by {holder(port)}.",
                f"end that (the laptop's stack: make stop), or choose another port: "
                f"make up {name}={any_free()}",
            )


def prepare_folders(settings: Settings) -> None:
    """The folders that containers share with this machine; root would own those Docker makes."""
    incoming = settings.home / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0:
        os.chown(incoming, int(settings.values["AIRFLOW_UID"]), 0)
    if os.getuid() in (0, incoming.stat().st_uid):
        # An engine without root gives its containers other user ids, but your group.
        incoming.chmod(0o775)


def build(compose: Compose, say: Say) -> None:
    """Build the images; where nothing changed that takes a moment."""
    say("Building the images (minutes the first time, seconds later)")
    done = compose.run("build", "migrate", "mlflow", quiet=True)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-25:])
        raise CourseError(
            f"The images could not be built. The end of what Docker said:\n{last}",
            "check the network and the disk (docker system df), then: make up",
        )


def start(compose: Compose, say: Say) -> None:
    """Start the containers, in the order in which they need each other."""
    say("Starting the containers")
    done = compose.run("up", "--detach", "--no-build", "--remove-orphans", quiet=True)
    if done.returncode == 0:
        return
    for found in compose.containers():
        # Docker names the one that others wait for: "container NAME is unhealthy".
        if broken(found) or f"container {found['Name']} " in done.stderr:
            raise failure(compose, found)
    last = "\n".join(done.stderr.strip().splitlines()[-8:])
    raise CourseError(f"Docker could not start the stack:\n{last}", "make ps, then: make up")


def broken(found: Mapping[str, Any]) -> bool:
    """Whether a container has failed for good."""
    ended = found["State"] in ("exited", "dead") and found["ExitCode"] != 0
    return ended or found["Health"] == "unhealthy"


def ready(found: Mapping[str, Any]) -> bool:
    """Whether a container is healthy, or has done its work."""
    if found["Service"] in ONCE:
        return bool(found["State"] == "exited" and found["ExitCode"] == 0)
    return bool(found["State"] == "running" and found["Health"] in ("healthy", ""))


def failure(compose: Compose, found: Mapping[str, Any]) -> CourseError:
    """What is wrong with a container, with the end of its log."""
    service = str(found["Service"])
    log = compose.last_words(service)
    ended = f"ended with code {found['ExitCode']}"
    state = "is ill" if found["State"] == "running" else ended
    problem = f"The service {service} {state}. The end of its log:\n{log}"
    if any(words in log for words in WRONG_PASSWORD):
        return CourseError(
            problem,
            "the password in .env is not the one with which the data were made: put the old .env "
            "back, or begin anew: make reset, then make up",
        )
    return CourseError(
        problem, f"mend what the log says, then: make up; all of it: make stack-logs C={service}"
    )


def wait_for_health(compose: Compose, say: Say, patience: int = PATIENCE) -> None:
    """Wait for every container, and say so of each."""
    told: set[str] = set()
    restarts: Counter[str] = Counter()
    expected = set(compose.services())
    deadline = time.monotonic() + patience
    while True:
        containers = compose.containers()
        for found in containers:
            restarts[found["Name"]] += found["State"] == "restarting"
            if broken(found) or restarts[found["Name"]] >= CRASHES:
                raise failure(compose, found)
        waiting = {str(found["Service"]) for found in containers if not ready(found)}
        waiting |= expected - {str(found["Service"]) for found in containers}
        for name in sorted(expected - waiting - told):
            say(f"{name} {'is done' if name in ONCE else 'is healthy'}")
            told.add(name)
        if not waiting:
            return
        if time.monotonic() > deadline:
            name = min(waiting)
            raise CourseError(
                f"{', '.join(sorted(waiting))} not healthy after {patience} s. The end of the log "
                f"of {name}:\n{compose.last_words(name)}",
                f"make stack-logs C={name}; if the machine is too slow for it all: "
                "make up PROFILES=core",
            )
        time.sleep(1)


def airflow(settings: Settings) -> Airflow:
    """A client of the stack's Airflow, as its administrator."""
    return Airflow(settings.url("AIRFLOW_PORT"), ADMIN, settings.values["ADMIN_PASSWORD"])


def check_airflow(api: Airflow) -> None:
    """CourseError unless Airflow says of itself that all its parts work."""
    try:
        body = api.health()
    except (httpx.TransportError, AirflowError) as error:
        raise CourseError(
            f"Airflow does not answer: {error}", "make stack-logs C=api-server"
        ) from error
    ill = [name for name, part in body.items() if part["status"] != "healthy"]
    if ill:
        raise CourseError(f"Airflow says that {', '.join(ill)} is not healthy.", "make ps")


def down(say: Say) -> None:
    """Stop and remove the containers; what they wrote stays."""
    settings = salvaged()
    with only_one(settings.path):
        if not remove(settings.project, "--timeout", "30"):
            raise CourseError("Docker could not stop the stack (see above).", "make ps")
    say("Stopped; lake, databases and models are kept. make up goes on with them")


def reset(say: Say) -> None:
    """Stop the stack and delete its volumes, and what it shared with this machine."""
    settings = salvaged()
    with only_one(settings.path):
        if not remove(settings.project, "--volumes"):
            raise CourseError("Docker could not remove the stack (see above).", "make ps")
        empty(settings.home)
    say(f"Removed the containers, their data and {settings.home}; {settings.path} is kept")


def empty(home: Path) -> None:
    """Delete what the stack keeps in its folder: that alone, the folder may be any."""
    try:
        if (home / "incoming").exists():
            shutil.rmtree(home / "incoming")
        for name in ("demo.json", ".lock"):
            (home / name).unlink(missing_ok=True)
    except PermissionError as error:
        raise CourseError(
            f"{error.filename} cannot be deleted: a container wrote it as another user.",
            f"sudo rm -r {home / 'incoming'}",
        ) from error
    # What else a person keeps there stays.
    with contextlib.suppress(OSError):
        home.rmdir()


def scale(workers: int, say: Say) -> None:
    """Run this many Celery workers, now and after the next ``make up``."""
    settings = existing()
    if not running(Compose(settings)):
        raise CourseError("The stack in containers is not running.", "make up")
    compose = Compose(settings.write(WORKERS=str(workers)))
    done = compose.run("up", "--detach", "--no-build", "--no-deps", "worker", quiet=True)
    if done.returncode:
        raise CourseError(f"Docker could not do it: {done.stderr.strip()}", "make ps")
    wait_for_health(compose, say)
    there = sum(found["Service"] == "worker" for found in compose.containers())
    say(f"{there} workers")


def logs(service: str, *, follow: bool, lines: int) -> int:
    """Show the end of the logs of one service or of all; returns Docker's exit code."""
    compose = Compose(existing())
    if service and service not in compose.services():
        raise CourseError(
            f"There is no service {service!r}; there are {', '.join(sorted(compose.services()))}.",
            "make ps",
        )
    options = ["--tail", str(lines), *(["--follow"] if follow else [])]
    return compose.run("logs", *options, *([service] if service else [])).returncode
