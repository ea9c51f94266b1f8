"""The cluster policy in the values for Airflow's chart, on real operators and real DAGs."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import pytest
import yaml

from .helm_values import REPOSITORY, read, values


@pytest.fixture(scope="module")
def policy() -> Any:
    """The function that the chart gives to Airflow."""
    found: dict[str, Any] = {}
    source = read("values")["airflowLocalSettings"]
    assert "{{" not in source  # the chart would take it for a template of its own
    exec(compile(source, "airflow_local_settings.py", "exec"), found)  # noqa: S102
    return found["task_policy"]


def tasks() -> dict[str, Any]:
    """A DAG with one task of each kind, by the name of the task."""
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
    from airflow.sdk import DAG
    from airflow.sdk import task as decorator

    task: Any = decorator

    def work(number: int = 0) -> int:
        return number

    with DAG("policy", schedule=None) as dag:
        task(work, task_id="light")()
        task(work, task_id="memory", pool="memory")()
        task(work, task_id="training", pool="training")()
        task(work, task_id="mapped", pool="training").expand(number=[1, 2])
        task(work, task_id="chosen", pool="training", executor="LocalExecutor")()
        own = {"pod_template_file": "/opt/airflow/pod_templates/course/gpu.yaml"}
        task(work, task_id="own", pool="training", executor_config=own)()
        KubernetesPodOperator(task_id="pod", pool="training")
    found: dict[str, Any] = dag.task_dict
    return found


def real(name: str) -> dict[str, Any]:
    """The tasks of a DAG of the course, as its file makes them."""
    spec = spec_from_file_location(f"policy_{name}", REPOSITORY / "dags" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Any] = getattr(module, name)().task_dict
    return found


CPU = {"pod_template_file": "/opt/airflow/pod_templates/course/cpu.yaml"}


@pytest.mark.parametrize("first", ["LocalExecutor", "CeleryExecutor"])
def test_heavy_tasks_get_a_pod_and_others_do_not(
    policy: Any, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", f"{first},KubernetesExecutor")
    found = tasks()
    for item in found.values():
        policy(item)
    pods = {name for name, item in found.items() if item.executor == "KubernetesExecutor"}
    assert pods == {"memory", "training", "mapped", "own"}
    assert {name for name, item in found.items() if item.executor_config == CPU} == pods - {"own"}
    assert found["own"].executor_config["pod_template_file"].endswith("gpu.yaml")
    assert found["chosen"].executor == "LocalExecutor"
    assert found["light"].executor is None


def test_what_the_policy_says_reaches_the_scheduler(
    policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler knows of a DAG what was serialized, of mapped tasks too."""
    from airflow.serialization.serialized_objects import DagSerialization

    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor,KubernetesExecutor")
    found = tasks()
    for item in found.values():
        policy(item)
    dag = DagSerialization.from_dict(DagSerialization.to_dict(found["light"].dag))
    for name in ("training", "mapped"):
        item = dag.get_task(name)
        assert (item.executor, item.executor_config) == ("KubernetesExecutor", CPU)


@pytest.mark.parametrize(
    ("name", "pods"),
    [
        ("train_delay_model", {"build_training_set", "train", "evaluate"}),
        ("train_on_gpu_pod", {"build_training_set"}),
    ],
)
def test_of_the_course_s_own_tasks_the_heavy_ones_go_to_pods(
    policy: Any, name: str, pods: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor,KubernetesExecutor")
    found = real(name)
    for item in found.values():
        policy(item)
    assert {key for key, item in found.items() if item.executor == "KubernetesExecutor"} == pods


@pytest.mark.parametrize(
    ("executors", "template"), [("LocalExecutor", {}), ("KubernetesExecutor", CPU)]
)
def test_with_one_executor_there_is_nothing_to_choose(
    policy: Any, executors: str, template: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executors)
    item = tasks()["training"]
    policy(item)
    assert (item.executor, item.executor_config) == (None, template)


def test_the_templates_and_the_pools_of_the_policy_are_there() -> None:
    given = values("local")
    folder = given["scheduler"]["extraVolumeMounts"][0]["mountPath"]
    named = re.findall(r"pod_templates/course/([\w-]+\.yaml)", str(given))
    assert set(named) == {"cpu.yaml", "small.yaml"}
    assert given["config"]["kubernetes_executor"]["pod_template_file"] == f"{folder}/small.yaml"
    for name in named:
        assert (REPOSITORY / "k8s" / "pod-templates" / name).is_file()
    pools = yaml.safe_load((REPOSITORY / "src/course/pools.json").read_text("utf-8"))
    assert set(pools) == {"memory", "training"}
