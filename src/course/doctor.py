"""Looks for what usually goes wrong, and says what mends it."""

import shutil
import sys
from collections.abc import Callable, Iterator

import psutil

from course import postgres
from course.config import BIN, DEFAULT_PORTS, REPOSITORY, Config
from course.console import console
from course.dagcheck import import_errors
from course.diagnosis import diagnose
from course.finding import Finding
from course.health import Health
from course.lock import differences
from course.ports import holder, is_free
from course.processes import component_of, find
from course.stack import is_running
from course.state import load_state

GIB = 2**30
DISK = 5 * GIB
MEMORY_TO_START = 3 * GIB
MEMORY_TO_RUN = 1 * GIB


def python(config: Config) -> Iterator[Finding]:
    """The Python of the environment."""
    version = sys.version.split()[0]
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield Finding(text=f"Python {version}")
    else:
        yield Finding(
            text=f"Python {version} is not 3.11, 3.12 or 3.13",
            fix="rm -r .venv; make setup PYTHON=python3.12",
        )


def disk(config: Config) -> Iterator[Finding]:
    """Room for the databases, the lake and the models."""
    place = next(path for path in (config.root, *config.root.parents) if path.exists())
    free = shutil.disk_usage(place).free
    text = f"{free / GIB:.1f} GB of disk are free"
    if free >= DISK:
        yield Finding(text=text)
    else:
        yield Finding(
            text=f"{text} in {place}, {DISK / GIB:.0f} are needed",
            fix="free some space, or set COURSE_HOME to a folder on a larger disk",
        )


def memory(config: Config) -> Iterator[Finding]:
    """Memory for the stack and one task."""
    available = psutil.virtual_memory().available
    needed = MEMORY_TO_RUN if is_running(config) else MEMORY_TO_START
    text = f"{available / GIB:.1f} GB of memory are available"
    if available >= needed:
        yield Finding(text=text)
    else:
        yield Finding(
            text=f"{text}, {needed / GIB:.0f} are needed",
            fix="close other programs, or give the virtual machine more memory",
        )


def environment(config: Config) -> Iterator[Finding]:
    """The installed packages against the lock."""
    wrong = differences(REPOSITORY / "requirements.txt", REPOSITORY / "requirements.in")
    for text in wrong.installed:
        yield Finding(text=text, fix="rm -f .venv/.setup; make setup")
    for text in wrong.lock:
        yield Finding(text=text, fix="make lock")
    if not wrong.installed and not wrong.lock:
        yield Finding(text=f"{BIN.parent.name} is what requirements.txt locks")


def stack(config: Config) -> Iterator[Finding]:
    """The components if the stack is up, else what would be in its way."""
    state = load_state(config)
    if state is not None and is_running(config):
        for name, problem in Health(state).check().items():
            if problem:
                yield Finding(text=f"{name}: {problem}", fix=f"make logs C={name}")
            else:
                yield Finding(text=f"{name} is healthy")
        return
    yield Finding(text="the stack is not running (make start)")
    leftovers = find(state.id, database=postgres.data_folder(config)) if state else []
    for process in leftovers:
        yield Finding(
            text=f"process {process.pid} ({component_of(process)}) is left of an earlier start",
            fix="make stop",
        )
    yield from _ports(config, state.ports if state else {}, bool(leftovers))


def _ports(config: Config, remembered: dict[str, int], ours: bool) -> Iterator[Finding]:
    for service, default in DEFAULT_PORTS.items():
        wanted = config.wanted_ports[service]
        port = wanted or remembered.get(service) or default
        if is_free(port):
            yield Finding(text=f"port {port} is free for {service}")
        elif wanted:
            variable = f"{service.upper()}_PORT"
            yield Finding(
                text=f"port {port}, asked for by {variable}, is taken by {holder(port)}",
                fix=f"unset {variable}, or set it to another port",
            )
        elif not ours:
            yield Finding(
                text=f"port {port} is taken by {holder(port)}: {service} will get another one"
            )


def dags(config: Config) -> Iterator[Finding]:
    """The DAG files, imported as Airflow does it; needs no running stack."""
    result = import_errors(config)
    for file, message in result.errors.items():
        yield Finding(
            text=f"{file} does not import: {message}",
            fix=f"mend {file}, then: make doctor",
        )
    if not result.errors:
        yield Finding(text=f"{len(result.dags)} DAGs import from {config.dags}")


CHECKS: tuple[Callable[[Config], Iterator[Finding]], ...] = (
    *(python, disk, memory, environment, stack, dags, diagnose),
)


def examine(config: Config) -> bool:
    """Print every finding as it comes; return whether all is well."""
    well = True
    for check in CHECKS:
        for finding in check(config):
            mark, style = ("✓", "green") if finding.ok else ("✗", "red")
            console.print(f"[{style}]{mark}[/] ", end="")
            console.print(finding.text, markup=False, soft_wrap=True)
            if not finding.ok:
                well = False
                console.print(f"    → {finding.fix}", markup=False, soft_wrap=True)
    return well
