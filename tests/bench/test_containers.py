"""The stack in containers: how long it takes to come up, what it holds, how fast it works.

On a project of its own, with the images built. Its production pipeline is compared with that of a
laptop stack on the same machine, one after the other, never side by side.
"""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import httpx
import pytest

from course.containers.sandbox import Sandbox, sandbox, wait
from course.containers.settings import PROFILES
from course.sandbox import sandbox as laptop
from flightdelays import features, registry, source, store
from flightdelays.lake import months_between
from flightdelays.settings import Settings

from .conftest import Record

TRAIN = "train_delay_model"
ONE = "bench_one"
TIMES = 5
REQUESTS = 1000
THREADS = 4
IDLE = 30
"""Seconds in which what a start leaves behind calms down."""


@pytest.fixture(scope="module")
def containers(engine: None) -> Iterator[Sandbox]:
    """A healthy stack with the tasks that do nothing."""
    with sandbox("tests/stack/compose.yaml") as running:
        yield running


def took(run: dict[str, Any]) -> float:
    """Seconds from the start of a run to its end."""
    start, end = (datetime.fromisoformat(run[key]) for key in ("start_date", "end_date"))
    return (end - start).total_seconds()


def test_up(containers: Sandbox, figure: Record) -> None:
    """From nothing but images to all healthy and seeded; the fixture has built them."""
    assert containers.course("reset-stack", "--yes").returncode == 0
    begin = time.monotonic()
    done = containers.course("up")
    figure("stack_up", time.monotonic() - begin, "s", "≤ 120 s")
    assert done.returncode == 0, done.stderr
    begin = time.monotonic()
    assert containers.course("up").returncode == 0
    figure("stack_up_again", time.monotonic() - begin, "s", "-")


def test_memory(containers: Sandbox, figure: Record) -> None:
    """What Docker counts for the containers, by the first profile that has the service."""
    time.sleep(IDLE)
    services = {f["Name"]: f["Service"] for f in containers.compose.containers()}
    config = json.loads(containers.compose.ask("config", "--format", "json"))["services"]
    held = dict.fromkeys(PROFILES, 0.0)
    for line in containers.compose.ask("stats", "--no-stream", "--format", "json").splitlines():
        found = json.loads(line)
        number, unit = found["MemUsage"].partition(" /")[0][:-3], found["MemUsage"].split()[0][-3:]
        megabytes = float(number) * {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}[unit]
        profiles = config[services[found["Name"]]]["profiles"]
        held[next(name for name in PROFILES if name in profiles)] += megabytes
    assert all(held.values())
    targets = {"core": "≤ 3072 MB"}
    for name, megabytes in held.items():
        figure(f"stack_memory_{name}", megabytes, "MB", targets.get(name, "-"))
    figure("stack_memory_all", sum(held.values()), "MB", "≤ 6144 MB")


def test_start_of_a_task(containers: Sandbox, figure: Record) -> None:
    """From a queued run to its running task, when nothing else runs."""
    wait(lambda: containers.api.dag(ONE), ONE)
    containers.api.pause(ONE, paused=False)
    run_to_end(containers, ONE)
    starts = []
    for _ in range(TIMES):
        run_id = run_to_end(containers, ONE)
        [task] = containers.api.task_instances(ONE, run_id)
        queued = datetime.fromisoformat(containers.api.run(ONE, run_id)["queued_at"])
        starts.append((datetime.fromisoformat(task["start_date"]) - queued).total_seconds())
    figure("stack_start", starts, "s", "-")


def run_to_end(stack: Sandbox, dag_id: str) -> str:
    run_id = stack.api.trigger(dag_id)
    assert stack.finish(dag_id, run_id, 600)["state"] == "success"
    return run_id


def test_pipeline(containers: Sandbox, figure: Record) -> None:
    """The production pipeline on the same nine months, the second and third run of each."""
    done = containers.course("demo-stack")
    assert done.returncode == 0, done.stderr
    containers.api.pause(TRAIN, paused=False)
    there = []
    for _ in range(2):
        run_id = containers.api.trigger(TRAIN)
        there.append(took(containers.finish(TRAIN, run_id)))
    containers.compose.ask("stop")
    with laptop() as machine:
        for month in months_between("2013-01", "2013-09"):
            source.land(month, machine.settings)
        for view, months in features.stale(machine.settings).items():
            for month in months:
                features.build(view, month, machine.settings)
        store.apply(machine.settings)
        wait(lambda: machine.api.dag(TRAIN), TRAIN)
        machine.api.pause(TRAIN, paused=False)
        here = []
        for _ in range(3):
            run_id = machine.api.trigger(TRAIN)
            wait(lambda run_id=run_id: ended(machine, run_id), "the run")  # type: ignore[misc]
            here.append(took(machine.api.run(TRAIN, run_id)))
    containers.course("up")
    figure("stack_pipeline", there, "s", "≤ 1.5 × laptop_pipeline")
    figure("laptop_pipeline", here[1:], "s", "-")


def ended(machine: Any, run_id: str) -> bool:
    state = machine.api.run(TRAIN, run_id)["state"]
    assert state != "failed"
    return bool(state == "success")


def test_change_over(containers: Sandbox, figure: Record) -> None:
    """Requests without a pause while the alias goes from one version to another and back."""
    settings = Settings(mlflow_tracking_uri=containers.settings.url("MLFLOW_PORT"))
    client = registry.client(settings)
    client.copy_model_version(f"models:/{settings.model_name}/1", settings.model_name)
    latest = max(
        int(version.version)
        for version in client.search_model_versions(f"name='{settings.model_name}'")
    )
    client.set_registered_model_alias(settings.model_name, "staging", "1")
    body = question(settings)
    answers: list[tuple[int, str]] = []
    enough = threading.Event()

    def ask() -> None:
        url = f"{containers.settings.url('MODEL_PORT')}/staging/invocations"
        with httpx.Client(trust_env=False, timeout=30) as http:
            while not enough.is_set():
                answer = http.post(url, json=body)
                answers.append((answer.status_code, answer.headers.get("X-Model-Version", "")))

    with ThreadPoolExecutor(THREADS) as pool:
        running = [pool.submit(ask) for _ in range(THREADS)]
        wait(lambda: len(answers) > REQUESTS / 4, "the first answers")
        client.set_registered_model_alias(settings.model_name, "staging", str(latest))
        changed = wait(lambda: answers[-1][1] == str(latest) and len(answers), "the change-over")
        wait(lambda: len(answers) > max(REQUESTS, changed + REQUESTS / 4), "the last answers")
        enough.set()
        for future in running:
            future.result()
    dropped = sum(status != 200 for status, _ in answers)
    assert {version for _, version in answers} == {"1", str(latest)}
    figure("stack_requests", dropped, f"requests of {len(answers):,} dropped", "0 of 1,000")


def question(settings: Settings) -> dict[str, Any]:
    """The example that was logged with the model, as the server wants it."""
    import mlflow

    address = registry.client(settings).get_model_version(settings.model_name, "1").source
    rows = mlflow.pyfunc.load_model(address).input_example
    return {"dataframe_split": json.loads(rows.to_json(orient="split", index=False))}
