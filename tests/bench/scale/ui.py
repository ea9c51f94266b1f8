"""How long a person waits for Airflow's pages while Airflow works."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel

from course.state import ADMIN

LOAD = Path(__file__).with_name("ui_load.py")
PATIENCE = 30


class Answers(BaseModel):
    """Milliseconds that the pages took, and how many requests were not answered well."""

    requests: int = 0
    failures: int = 0
    p50: float = 0
    p95: float = 0
    p99: float = 0
    slowest: float = 0


@contextmanager
def person(url: str, password: str, dag_id: str) -> Iterator[Answers]:
    """One request a second from here on; the answers are filled in when the block ends.

    RuntimeError, with Locust's own words, if it asked for nothing.
    """
    answers = Answers()
    # Locust patches the standard library, so it gets a process of its own.
    with TemporaryDirectory(prefix="bench-ui-") as folder:
        log = Path(folder, "locust.log")
        command = [
            *(sys.executable, "-m", "locust", "--locustfile", str(LOAD), "--headless"),
            *("--users", "1", "--host", url, "--csv", f"{folder}/ui", "--only-summary"),
        ]
        own = {"BENCH_UI_USER": ADMIN, "BENCH_UI_PASSWORD": password, "BENCH_UI_DAG": dag_id}
        with log.open("w") as output:
            process = subprocess.Popen(
                command, env=os.environ | own, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            yield answers
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
        with Path(folder, "ui_stats.csv").open() as file:
            total = next(row for row in csv.DictReader(file) if row["Name"] == "Aggregated")
        answers.requests = int(total["Request Count"])
        answers.failures = int(total["Failure Count"])
        if not answers.requests:
            raise RuntimeError(f"Locust asked for nothing:\n{log.read_text()}")
        answers.p50, answers.p95, answers.p99, answers.slowest = (
            float(total[name]) for name in ("50%", "95%", "99%", "Max Response Time")
        )
