"""Processes that a benchmark of feature reads starts: Locust's clients, and ``feast serve``."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from course.config import BIN
from course.ports import any_free
from flightdelays.settings import Settings

from .groups import end

FOLDER = Path(__file__).parent
PATIENCE = 120


def environment(settings: Settings) -> dict[str, str]:
    """This process's environment with the settings of the features."""
    values = {f"FLIGHTDELAYS_{name.upper()}": str(v) for name, v in settings.model_dump().items()}
    return os.environ | values


class Clients:
    """Processes of Locust users that share each load among them."""

    def __init__(self, processes: list[subprocess.Popen[str]], logs: list[Path]) -> None:
        self.processes, self.logs = processes, logs

    def run(self, users: int, processes: int = 1, **load: Any) -> tuple[list[float], float]:
        """The milliseconds of each read of a load, and reads a second; ``users`` in all."""
        for number, process in enumerate(self.processes[:processes]):
            assert process.stdin is not None
            part = load | {"users": users // processes, "seed": load["seed"] + number}
            process.stdin.write(json.dumps(part) + "\n")
            process.stdin.flush()
        taken: list[float] = []
        rate = 0.0
        for process, log in zip(self.processes[:processes], self.logs, strict=False):
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log.read_text("utf-8")[-3_000:]
            found = json.loads(line)
            taken += found["ms"]
            rate += len(found["ms"]) / found["seconds"]
        return taken, rate


@contextmanager
def clients(number: int, flights: Path, settings: Settings) -> Iterator[Clients]:
    """That many processes, ready for loads; they end with the block."""
    values = {
        "PYTHONPATH": str(FOLDER),
        # gevent's timers are exact to a millisecond with epoll, and to a microsecond with this.
        "GEVENT_BACKEND": "select",
    }
    command = [sys.executable, "-m", "gevent.monkey", FOLDER / "feature_load.py", flights]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        logs = [folder / f"{place}.log" for place in range(number)]
        started = []
        for log in logs:
            process = subprocess.Popen(
                command,
                env=environment(settings) | values,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stack.enter_context(log.open("w")),
                text=True,
                start_new_session=True,
            )
            stack.callback(end, process)
            started.append(process)
        yield Clients(started, logs)


@contextmanager
def feast_serve(workers: int, settings: Settings) -> Iterator[str]:
    """Feast's feature server with that many processes: its address.

    Feast replaces a worker after 1,000 requests unless it is told otherwise: here it is, for the
    seconds in which a worker is missing would be all that the percentiles show.
    """
    port = any_free()
    store = Path(settings.feature_repo) / settings.feature_store
    command = [BIN / "feast", "--chdir", settings.feature_repo, "--feature-store-yaml", store]
    command += ["serve", "--port", str(port), "--workers", str(workers)]
    command += ["--max-requests", "0", "--no-access-log"]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                env=environment(settings),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            address = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + PATIENCE
            while not healthy(address):
                assert process.poll() is None, log.read_text("utf-8")[-3_000:]
                assert time.monotonic() < deadline, log.read_text("utf-8")[-3_000:]
                time.sleep(0.2)
            yield address
        finally:
            end(process)


def healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False
