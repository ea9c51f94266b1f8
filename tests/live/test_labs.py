"""Each troubleshooting lab: planted, seen, named by the doctor, mended as it says, and gone."""

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from course.api import FINISHED
from course.cli import app
from course.config import BIN, REPOSITORY
from course.diagnosis import diagnose
from course.diagnosis.pods import ask_cluster
from course.finding import Finding
from course.grading.catalogue import Exercise, catalogue
from course.sandbox import Sandbox, sandbox

from .test_pipelines import wait

pytestmark = pytest.mark.live

SOURCE = REPOSITORY / "labs" / "troubleshooting"
HEAD = "from airflow.sdk import dag, task\n\n"


@pytest.fixture(scope="module")
def lab_stack() -> Iterator[Sandbox]:
    """A stack of its own: a planted fault would be in the way of other tests."""
    with sandbox() as running:
        yield running


@pytest.fixture
def own_files(lab_stack: Any) -> Iterator[Any]:
    """A folder of the bundle for DAG files that no lab has planted."""
    folder = lab_stack.config.labs / "mine"
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)
    wait("Airflow forgets them", lambda: not lab_stack.api.import_errors())


def lab(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["lab", *arguments])


def plant(name: str) -> str:
    done = lab(name)
    assert done.exit_code == 0, done.output
    assert "make doctor" in done.output
    return done.output


def undo(stack: Any, name: str, *dag_ids: str) -> None:
    done = lab(name, "--mend")
    assert done.exit_code == 0, done.output
    assert f"Nothing of {name} is left." in done.output
    assert not (stack.config.labs / name).exists()
    assert [stack.api.dag(dag_id) for dag_id in dag_ids] == [None] * len(dag_ids)
    assert faults(stack) == []


def faults(stack: Any) -> list[Finding]:
    """What the doctor finds, but for the exercises: a learner may be at work on them."""
    found = [finding for finding in diagnose(stack.config) if not finding.ok]
    return [finding for finding in found if not finding.text.startswith("exercises/")]


def fault(stack: Any) -> Finding:
    """The one thing that the doctor finds."""
    (found,) = wait("the doctor finds something", lambda: faults(stack))
    return Finding.model_validate(found)


def do(stack: Any, fix: str) -> None:
    """Type what the doctor says: ``… make airflow ARGS="…"``."""
    _, _, arguments = fix.partition('make airflow ARGS="')
    command = [str(BIN / "course"), "airflow", *shlex.split(arguments.removesuffix('"'))]
    done = subprocess.run(command, env=stack.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def only_run(stack: Any, dag_id: str) -> dict[str, Any]:
    (run,) = stack.api.runs(dag_id)
    return dict(run)


def succeeds(stack: Any, dag_id: str) -> None:
    wait(f"{dag_id} ends", lambda: only_run(stack, dag_id)["state"] in FINISHED)
    assert only_run(stack, dag_id)["state"] == "success"


def test_the_doctor_finds_nothing_in_a_fresh_stack(lab_stack: Any) -> None:
    wait("the pipelines are parsed", lambda: lab_stack.api.dag("train_delay_model"))
    assert faults(lab_stack) == []
    assert len(list(diagnose(lab_stack.config))) >= 4


@pytest.mark.parametrize("exercise", catalogue(), ids=lambda exercise: exercise.name)
def test_the_exercises_show_up_and_start_nothing(lab_stack: Any, exercise: Exercise) -> None:
    if exercise.file.read_bytes() != exercise.starter.read_bytes():
        pytest.skip(f"a learner is at work on {exercise.file_name}")
    for dag_id in exercise.dags:
        dag = wait(f"{dag_id} shows up", lambda dag_id=dag_id: lab_stack.api.dag(dag_id))
        assert dag["bundle_name"] == "exercises"
        assert dag["is_paused"]
        assert lab_stack.api.runs(dag_id) == []


def test_dag_not_in_ui(lab_stack: Any) -> None:
    name, seen, unseen = "dag-not-in-ui", "lab_monthly_delays", "lab_latest_delays"
    assert unseen in plant(name)
    assert lab_stack.api.dag(seen)
    assert lab_stack.api.dag(unseen) is None
    assert lab_stack.api.import_errors() == []
    found = fault(lab_stack)
    ignore = lab_stack.config.labs / name / ".airflowignore"
    assert "latest_delays.py defines latest_delays and does not show up" in found.text
    assert f"line 2 of {ignore}, test, hides it" in found.text
    ignore.write_text("# Tests are no DAGs.\n/test_\n")
    wait("the DAG shows up", lambda: lab_stack.api.dag(unseen))
    assert faults(lab_stack) == []
    plant(name)
    assert lab_stack.api.dag(unseen) is None or lab_stack.api.dag(unseen)["is_stale"]
    undo(lab_stack, name, seen, unseen)


def test_a_file_that_airflow_does_not_open_is_named(lab_stack: Any, own_files: Any) -> None:
    file = own_files / "quiet.py"
    file.write_text("import factory_of_dags\n\nfactory_of_dags.make('JFK')\n")
    found = fault(lab_stack)
    assert "quiet.py is not read" in found.text
    assert found.fix == f"echo '# airflow dag' >> {file}"


def test_a_dag_that_is_never_made_is_named(
    lab_stack: Any, own_files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("course.diagnosis.dag_files.SETTLED", -1)
    wait("every pipeline is parsed", lambda: faults(lab_stack) == [])
    (own_files / "forgotten.py").write_text(f"{HEAD}@dag(schedule=None)\ndef forgotten(): ...\n")
    found = fault(lab_stack)
    assert "forgotten.py imports, but no DAG comes from it" in found.text
    assert found.fix.startswith("call forgotten() at the end of")


def test_a_file_that_does_not_import_is_named(lab_stack: Any, own_files: Any) -> None:
    (own_files / "broken.py").write_text(f"{HEAD}import no_such_module\n")
    wait("Airflow has tried", lab_stack.api.import_errors)
    found = fault(lab_stack)
    assert "broken.py does not import" in found.text
    assert "No module named 'no_such_module'" in found.text


def test_stuck_in_queued(lab_stack: Any) -> None:
    name, dag_id, pool = "stuck-in-queued", "lab_quick_score", "lab_gpu"
    plant(name)
    plant(name)
    run = only_run(lab_stack, dag_id)
    (task,) = lab_stack.api.task_instances(dag_id, run["dag_run_id"])
    assert (run["state"], task["state"]) == ("running", "scheduled")
    found = fault(lab_stack)
    assert found.text.startswith(f"{dag_id}.score waits for ")
    assert found.text.endswith(f"the pool {pool} has no slots, and it needs 1")
    do(lab_stack, found.fix)
    succeeds(lab_stack, dag_id)
    undo(lab_stack, name, dag_id)
    pools = lab_stack.api.request("GET", "/api/v2/pools")["pools"]
    assert pool not in {entry["name"] for entry in pools}


def test_other_reasons_to_wait_and_a_restart_in_between(lab_stack: Any) -> None:
    name, dag_id, pool = "stuck-in-queued", "lab_quick_score", "lab_gpu"
    plant(name)
    lab_stack.api.request("DELETE", f"/api/v2/pools/{pool}")
    found = fault(lab_stack)
    assert found.text.endswith(f"the pool {pool} does not exist")
    lab_stack.stop()
    lab_stack.start()
    assert only_run(lab_stack, dag_id)["state"] == "running"
    lab_stack.api.pause(dag_id)
    found = fault(lab_stack)
    assert found.text.endswith(f"the DAG {dag_id} is paused")
    do(lab_stack, found.fix)
    assert lab_stack.api.dag(dag_id)["is_paused"] is False
    undo(lab_stack, name, dag_id)


def test_xcom_too_large(lab_stack: Any) -> None:
    name, dag_id = "xcom-too-large", "lab_score_flights"
    plant(name)
    run_id = only_run(lab_stack, dag_id)["dag_run_id"]
    counted = lab_stack.api.xcom(dag_id, run_id, "count_late")
    assert len(lab_stack.api.xcom(dag_id, run_id, "score")) == 100_000
    found = fault(lab_stack)
    assert f"the XCom return_value of {dag_id}.score holds 10.8 MB" in found.text
    shutil.copy(SOURCE / name / "mended" / "score_flights.py", lab_stack.config.labs / name)
    do(lab_stack, found.fix)
    wait("the task ran again", lambda: isinstance(score(lab_stack, run_id), str))
    succeeds(lab_stack, dag_id)
    assert lab_stack.api.xcom(dag_id, run_id, "count_late") == counted
    assert faults(lab_stack) == []
    folder = lab_stack.config.lake / "labs" / name
    assert len(list(folder.iterdir())) == 1
    undo(lab_stack, name, dag_id)
    assert not folder.exists()


def score(stack: Any, run_id: str) -> Any:
    """What the first task returned; None while it runs again."""
    states = {
        t["task_id"]: t["state"] for t in stack.api.task_instances("lab_score_flights", run_id)
    }
    done = states["score"] == "success"
    return stack.api.xcom("lab_score_flights", run_id, "score") if done else None


def test_pod_unschedulable_without_a_cluster(
    lab_stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(lab_stack.home / "no-such-file"))
    done = lab("pod-unschedulable")
    assert done.exit_code == 1
    assert "This lab needs a Kubernetes cluster, and none answers" in done.stderr
    assert "kind create cluster" in done.stderr
    undo(lab_stack, "pod-unschedulable")


def test_pod_unschedulable(lab_stack: Any) -> None:
    name, dag_id = "pod-unschedulable", "lab_greedy_pod"
    answer = ask_cluster(lab_stack.config, lab_stack.state)
    if "problem" in answer:
        pytest.skip(f"no Kubernetes cluster answers: {answer['problem']}")
    plant(name)
    run_id = only_run(lab_stack, dag_id)["dag_run_id"]
    (task,) = lab_stack.api.task_instances(dag_id, run_id)
    assert task["state"] == "deferred"
    found = fault(lab_stack)
    most = answer["most"].get("nvidia.com/gpu", 0)
    assert found.text.startswith(f"{dag_id}.train waits for its pod ")
    assert "FailedScheduling: " in found.text
    assert "Insufficient nvidia.com/gpu" in found.text
    assert f"it asks for 64 nvidia.com/gpu, the largest node has {most}" in found.text
    undo(lab_stack, name, dag_id)
    assert ask_cluster(lab_stack.config, lab_stack.state)["waiting"] == []
