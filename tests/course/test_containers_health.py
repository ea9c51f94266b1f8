"""The scripts that run inside the containers: health checks, and the start with secrets."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from course.config import REPOSITORY
from course.ports import any_free

HEALTH = "/api/v2/monitor/health"


class Server(ThreadingHTTPServer):
    """Answers every path with what the test put there; 404 otherwise."""

    pages: dict[str, tuple[int, Any]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        code, content = self.server.pages.get(self.path, (404, {}))
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as found:
        found.pages = {}
        thread = Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def health(*arguments: str, airflow: str = "") -> tuple[int, str]:
    # A proxy that nobody must ask: the services know each other by names.
    environment = {**os.environ, "HEALTH_AIRFLOW": airflow, "http_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-S", REPOSITORY / "docker" / "health.py", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.strip()


@pytest.mark.parametrize(("code", "expected"), [(200, 0), (204, 0), (404, 1), (500, 1)])
def test_an_address_is_healthy_if_it_answers_well(code: int, expected: int, server: Server) -> None:
    server.pages["/health"] = (code, {})
    found, said = health("http", f"{server.url}/health")
    assert found == expected
    assert said == "" if expected == 0 else f"{server.url}/health: HTTP Error {code}" in said


def test_an_address_that_nobody_serves() -> None:
    url = f"http://127.0.0.1:{any_free()}/"
    code, said = health("http", url)
    assert code == 1
    assert said.startswith(f"{url}: ")
    assert "refused" in said


def airflow_says(server: Server, status: str, age: timedelta) -> None:
    beat = (datetime.now(UTC) - age).isoformat()
    body = {
        "metadatabase": {"status": status},
        "triggerer": {"status": status, "latest_triggerer_heartbeat": beat},
        "dag_processor": {"status": status, "latest_dag_processor_heartbeat": beat},
    }
    # The code is 200 whatever Airflow says of its parts.
    server.pages[HEALTH] = (200, body)


@pytest.mark.parametrize("component", ["metadatabase", "triggerer", "dag_processor"])
def test_a_part_of_airflow(component: str, server: Server) -> None:
    airflow_says(server, "healthy", timedelta(seconds=2))
    assert health("airflow", component, airflow=server.url) == (0, "")
    airflow_says(server, "unhealthy", timedelta(seconds=2))
    said = f"{component} is unhealthy"
    assert health("airflow", component, airflow=server.url) == (1, said)


def test_a_part_of_airflow_that_was_alive_once(server: Server) -> None:
    airflow_says(server, "healthy", timedelta(minutes=2))
    code, said = health("airflow", "triggerer", airflow=server.url)
    assert code == 1
    assert "last sign of life of triggerer" in said


def test_a_part_that_airflow_does_not_have(server: Server) -> None:
    airflow_says(server, "healthy", timedelta())
    code, said = health("airflow", "trigerer", airflow=server.url)
    assert (code, said) == (1, "Airflow does not know of a trigerer")


def test_an_airflow_that_fails(server: Server) -> None:
    server.pages[HEALTH] = (500, {})
    code, said = health("airflow", "triggerer", airflow=server.url)
    assert code == 1
    assert "500" in said


@pytest.mark.parametrize("arguments", [[], ["http"], ["airflow"], ["nothing", "of", "this"]])
def test_a_check_that_does_not_exist(arguments: list[str]) -> None:
    code, said = health(*arguments)
    assert code == 1
    assert said.startswith("usage:")


def entrypoint(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", REPOSITORY / "docker" / "entrypoint", *command],
        env={"PATH": os.defpath, "COURSE_SECRETS": str(folder), "PLAIN": "kept"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_container_starts_with_what_its_files_say(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("# a comment\n\nURL=a+b://c:d@e/f?g=h i\nSTARS=* $HOME `id`\n")
    (tmp_path / "b.env").write_text("LAST=without a line end")
    (tmp_path / "c.conf").write_text("OTHER=not read\n")
    done = entrypoint(tmp_path, "env")
    assert done.returncode == 0, done.stderr
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert seen["URL"] == "a+b://c:d@e/f?g=h i"
    assert seen["STARS"] == "* $HOME `id`", "nothing is expanded or run"
    assert seen["LAST"] == "without a line end"
    assert seen["PLAIN"] == "kept"
    assert "OTHER" not in seen


def test_a_container_without_secrets_starts_too(tmp_path: Path) -> None:
    done = entrypoint(tmp_path, "sh", "-c", 'echo "$1"; exit 7', "sh", "two words")
    assert (done.returncode, done.stdout) == (7, "two words\n")


def test_a_file_that_is_none_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("not a name=1\n")
    done = entrypoint(tmp_path, "true")
    assert done.returncode != 0
    assert done.stderr


@pytest.mark.parametrize("script", ["entrypoint", "databases.sh"])
def test_the_scripts_are_ones_that_a_plain_shell_reads(script: str) -> None:
    path = REPOSITORY / "docker" / script
    assert os.access(path, os.X_OK)
    done = subprocess.run(["/bin/sh", "-n", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
