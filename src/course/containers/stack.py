"""Starts, watches and stops the stack in containers."""

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from course.api import Airflow, AirflowError
from course.containers import seeds
from course.containers.compose import Compose, check_engine
from course.containers.settings import PORTS, Settings, create, env_file, load
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
    names = {**{name: name for name in PORTS}, "PROFILES": "COMPOSE_PROFILES", "WORKERS": "WORKERS"}
    return {own: os.environ[name] for name, own in names.items() if os.environ.get(name)}


def settings_of(path: Path, wanted: Mapping[str, str]) -> tuple[Settings, bool]:
    """The settings, with what was asked for; and whether the file is new."""
    if not path.exists():
        created = create(path, wanted)
        return created, True
    settings = load(path)
    changes = {name: value for name, value in wanted.items() if settings.values.get(name) != value}
    return (settings.write(**changes) if changes else settings), False


def existing() -> Settings:
    """The settings of a stack that was started before, or an error that says how to start it."""
    path = env_file()
    if not path.exists():
        raise CourseError(
            f"The stack in containers was never started: there is no {path}.", "make up"
        )
    return load(path)


def up(say: Say) -> tuple[Settings, bool]:
    """Start what is not running and wait until all of it is healthy.

    Returns the settings, and whether anything had to be started.
    """
    check_engine(None)
    path = env_file()
    settings, new = settings_of(path, chosen())
    if new:
        say(f"Wrote {path}: ports, profiles and generated secrets")
    check_engine(settings)
    compose = Compose(settings)
    before = running(compose)
    check_ports(settings, compose)
    prepare_folders(settings)
    build(compose, say)
    start(compose, say)
    wait_for_health(compose, say)
    with airflow(settings) as api:
        check_airflow(api)
        seeds.plant(api, settings)
    say("Pools and connections are there")
    return settings, running(compose) != before


def running(compose: Compose) -> set[str]:
    """Ids of the running containers."""
    return {str(found["ID"]) for found in compose.containers() if found["State"] == "running"}


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
        if broken(found):
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
        problem, f"mend what the log says, then: make up; all of it: make logs C={service}"
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
                f"make logs C={name}; if the machine is too slow for it all: make up PROFILES=core",
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
        raise CourseError(f"Airflow does not answer: {error}", "make logs C=api-server") from error
    ill = [name for name, part in body.items() if part["status"] != "healthy"]
    if ill:
        raise CourseError(f"Airflow says that {', '.join(ill)} is not healthy.", "make ps")


def down(say: Say) -> None:
    """Stop and remove the containers; what they wrote stays."""
    compose = Compose(existing())
    if compose.run("--profile", "*", "down", "--remove-orphans", "--timeout", "30").returncode:
        raise CourseError("Docker could not stop the stack (see above).", "make ps")
    say("Stopped; lake, databases and models are kept. make up goes on with them")


def reset(say: Say) -> None:
    """Stop the stack and delete its volumes, and what it shared with this machine."""
    settings = existing()
    compose = Compose(settings)
    if compose.run("--profile", "*", "down", "--remove-orphans", "--volumes").returncode:
        raise CourseError("Docker could not remove the stack (see above).", "make ps")
    if settings.home.exists():
        shutil.rmtree(settings.home)
    say(f"Removed the containers, their data and {settings.home}; {settings.path} is kept")


def scale(workers: int, say: Say) -> None:
    """Run this many Celery workers, now and after the next ``make up``."""
    settings = existing().write(WORKERS=str(workers))
    compose = Compose(settings)
    if not running(compose):
        raise CourseError("The stack in containers is not running.", "make up")
    done = compose.run("up", "--detach", "--no-build", "--no-deps", "worker", quiet=True)
    if done.returncode:
        raise CourseError(f"Docker could not do it: {done.stderr.strip()}", "make ps")
    wait_for_health(compose, say)
    there = sum(found["Service"] == "worker" for found in compose.containers())
    say(f"{there} workers")
