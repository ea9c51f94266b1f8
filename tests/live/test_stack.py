"""The stack on this machine: it comes up, comes back, says the truth, and goes away."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from course.api import Airflow, AirflowError
from course.cli import app
from course.components import NAMES
from course.errors import CourseError
from course.health import Health
from course.ports import is_free
from course.stack import start

pytestmark = pytest.mark.live

PROBE = "live_probe"


def wait(what: str, condition: Callable[[], Any], seconds: float = 120) -> Any:
    """The first true value of ``condition``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.3)
    return value


def probe(stack: Any, seconds: float) -> str:
    """Start a run of the probe and wait until its task speaks; return the id of the run."""
    api = stack.api
    wait("the probe is parsed", lambda: api.dag(PROBE))
    api.pause(PROBE, paused=False)
    run_id: str = api.trigger(PROBE, {"seconds": seconds})
    wait("the task runs", lambda: task(stack, run_id)["state"] == "running")
    wait("the task speaks", lambda: "the probe speaks" in api.log(task(stack, run_id)))
    return run_id


def task(stack: Any, run_id: str) -> dict[str, Any]:
    found = stack.api.task_instances(PROBE, run_id)
    return dict(found[0]) if found else {"state": None}


def test_every_component_is_healthy(stack: Any) -> None:
    assert Health(stack.state).check() == dict.fromkeys(NAMES, "")


def test_nothing_can_be_reached_from_outside(stack: Any) -> None:
    listening = {
        connection.laddr.ip
        for process in stack.processes()
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_files_with_secrets_are_private(stack: Any) -> None:
    for name in ("stack.json", "passwords.json", "supervisord.conf"):
        assert (stack.home / name).stat().st_mode & 0o077 == 0
    secret = stack.state.jwt_secret.get_secret_value()
    for log in Path(stack.home / "logs").iterdir():
        text = log.read_text(errors="replace")
        assert secret not in text
        assert stack.state.password.get_secret_value() not in text


def test_starting_it_again_says_that_it_runs(stack: Any) -> None:
    before = {name: stack.main_pid(name) for name in NAMES}
    result = CliRunner().invoke(app, ["start"])
    assert result.exit_code == 0, result.output
    assert "already running" in result.output
    assert stack.state.url("airflow") in result.output
    assert {name: stack.main_pid(name) for name in NAMES} == before


def test_another_port_for_a_running_stack_is_refused(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SITE_PORT", "1")
    with pytest.raises(CourseError, match="is running, with site on port"):
        start(type(stack.config)(), print)


def test_the_pools_are_there(stack: Any) -> None:
    pools = {
        pool["name"]: pool["slots"] for pool in stack.api.request("GET", "/api/v2/pools")["pools"]
    }
    assert pools["memory"] == 1
    assert pools["training"] == 2


def test_a_wrong_password_is_refused(stack: Any) -> None:
    stranger = Airflow(stack.state.url("airflow"), "admin", "guess")
    with stranger, pytest.raises(AirflowError) as caught:
        stranger.import_errors()
    assert caught.value.status == 401


def test_logs_can_be_read_while_a_task_runs_and_after(stack: Any) -> None:
    run_id = probe(stack, 5)
    running = stack.api.log(task(stack, run_id))
    assert "the probe has spoken" not in running
    assert not any("Could not read" in line for line in running)
    wait("the run ends", lambda: stack.api.run(PROBE, run_id)["state"] == "success")
    assert "the probe has spoken" in stack.api.log(task(stack, run_id))


def test_killed_components_come_back(stack: Any) -> None:
    killed = ("api-server", "mlflow", "dag-processor", "triggerer", "site")
    before = {name: stack.pids(name) for name in killed}
    moments = [stack.kill(name) for name in killed]
    for name in killed:
        wait(
            f"another process of {name}",
            lambda name=name: stack.main_pid(name) not in (0, *before[name]),
        )
    stack.wait_healthy(moments[0])
    for name in killed:
        assert not before[name] & stack.pids(name)


def test_it_starts_after_its_supervisor_was_killed(stack: Any) -> None:
    assert stack.state.runtime is not None
    supervisor = int((stack.state.runtime / "supervisord.pid").read_text())
    before = {process.pid for process in stack.processes()}
    os.kill(supervisor, signal.SIGKILL)
    assert stack.start()
    assert not before & {process.pid for process in stack.processes()}


# The last one: the fixture finds the stack stopped and has only the folder to remove.
def test_stop_leaves_nothing_even_while_a_task_runs(stack: Any) -> None:
    probe(stack, 600)
    before = stack.processes()
    ports = stack.state.ports.values()
    stack.stop()
    assert stack.processes() == []
    for process in before:
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    for port in ports:
        assert is_free(port)
