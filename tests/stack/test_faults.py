"""What breaks from outside: it either goes on without loss, or says plainly what to do."""

import time
from pathlib import Path

import pytest

from course.containers.sandbox import Sandbox, wait
from flightdelays.lake import months_between

pytestmark = [pytest.mark.stack, pytest.mark.long]
STEPS = 6


def begin_steps(stack: Sandbox) -> str:
    """Start the steps and wait until the first one has ended."""
    stack.api.pause("stack_steps", paused=False)
    run_id = stack.api.trigger("stack_steps")

    def first() -> bool:
        tasks = stack.api.task_instances("stack_steps", run_id)
        return any(task["state"] == "success" for task in tasks)

    wait(first, "the first step")
    return run_id


@pytest.mark.parametrize("service", ["redis", "s3", "postgres"])
def test_a_restart_in_the_middle_of_a_run_loses_nothing(stack: Sandbox, service: str) -> None:
    run_id = begin_steps(stack)
    stack.compose.ask("restart", service)
    assert stack.finish("stack_steps", run_id)["state"] == "success"
    tasks = stack.api.task_instances("stack_steps", run_id)
    assert [task["state"] for task in tasks] == ["success"] * STEPS


def test_a_restart_of_the_broker_loses_no_message(stack: Sandbox) -> None:
    stack.compose.ask("restart", "kafka")
    # The demo waits for its message to be taken, trained on, and reported.
    done = stack.course("demo-stack", "retrain_on_event")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_killed_worker_is_replaced_by_another(stack: Sandbox) -> None:
    stack.api.pause("stack_probe", paused=False)
    run_id = stack.api.trigger("stack_probe", {"seconds": 45})

    def host() -> str | None:
        [task] = stack.api.task_instances("stack_probe", run_id)
        return task["hostname"] if task["state"] == "running" else None

    killed = wait(host, "the task runs")
    time.sleep(3)
    stack.docker("kill", killed)
    try:
        assert stack.finish("stack_probe", run_id)["state"] == "success"
        [task] = stack.api.task_instances("stack_probe", run_id)
        assert task["try_number"] == 2
        assert task["hostname"] != killed
    finally:
        assert stack.course("up").returncode == 0


def test_more_and_fewer_workers(stack: Sandbox) -> None:
    for number in (3, 2):
        done = stack.course("scale", str(number))
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{number} workers" in done.stdout
        workers = [f for f in stack.compose.containers() if f["Service"] == "worker"]
        assert len(workers) == number
    assert stack.settings.values["WORKERS"] == "2"


def test_a_lake_that_cannot_be_written_says_so(
    stack: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = tmp_path / "read-only.yaml"
    over.write_text("services:\n  s3:\n    volumes: !override [s3:/data:ro]\n")
    with monkeypatch.context() as patch:
        files = stack.files
        patch.setenv("COURSE_STACK_FILES", f"{files}:{over}")
        done = stack.course("up")
    assert done.returncode == 1
    assert "The service s3" in done.stderr
    assert "read-only file system" in done.stderr
    done = stack.course("up")
    assert done.returncode == 0, done.stderr
    # What had landed is there.
    landed = stack.python(
        "worker", "from flightdelays.source import landed_months; print(landed_months())"
    )
    assert all(month in landed for month in months_between("2013-01", "2013-09"))


def test_another_password_is_told_from_a_fault(stack: Sandbox) -> None:
    right = stack.settings.values["AIRFLOW_DB_PASSWORD"]
    stack.settings.write(AIRFLOW_DB_PASSWORD="0" * 40)
    try:
        done = stack.course("up")
        assert done.returncode == 1
        assert "password authentication failed" in done.stderr
        assert "put the old .env back" in done.stderr
    finally:
        stack.settings.write(AIRFLOW_DB_PASSWORD=right)
    assert stack.course("up").returncode == 0


def test_it_goes_down_and_up_again_with_all_it_had(stack: Sandbox) -> None:
    before = stack.get("MODEL_PORT", "/")["aliases"]["champion"]["version"]
    runs = len(stack.api.runs("train_delay_model"))
    assert stack.course("down").returncode == 0
    assert stack.compose.containers() == []
    assert stack.course("up").returncode == 0
    assert len(stack.api.runs("train_delay_model")) == runs
    wait(
        lambda: stack.get("MODEL_PORT", "/")["aliases"]["champion"]["version"] == before,
        "the model server has its model",
    )
