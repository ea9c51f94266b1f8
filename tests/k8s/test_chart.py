"""What stands in for the chart, without a cluster: Kubernetes knows it, and it is hardened."""

import kubernetes_validate
import pytest

from course.cluster import chart

GIVEN = chart.values("values", "local")


@pytest.mark.parametrize("item", chart.objects(GIVEN), ids=lambda item: item["metadata"]["name"])
def test_kubernetes_knows_each_object(item: chart.Object) -> None:
    kubernetes_validate.validate(item, "1.37", strict=True)


def test_what_runs_is_what_the_values_say() -> None:
    made = {(item["kind"], item["metadata"]["name"]): item for item in chart.objects(GIVEN)}
    for name, (key, command) in chart.COMPONENTS.items():
        pod = made["Deployment", f"airflow-{name}"]["spec"]["template"]["spec"]
        assert pod["serviceAccountName"] == GIVEN[key]["serviceAccount"]["name"]
        assert pod["priorityClassName"] == "ml-platform"
        (container,) = pod["containers"]
        assert container["args"][-1] == f"exec airflow {command}"
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
    settings = made["ConfigMap", "airflow-config"]["data"]["airflow.cfg"]
    assert "executor = LocalExecutor,KubernetesExecutor" in settings


def test_maps_are_joined_and_lists_replaced_as_by_helm() -> None:
    base, both = chart.values("values"), chart.values("values", "local")
    assert base["executor"] == "KubernetesExecutor"
    assert both["executor"] == "LocalExecutor,KubernetesExecutor"
    assert both["config"]["core"].items() >= base["config"]["core"].items()
    assert both["config"]["core"]["parallelism"] == "4"
