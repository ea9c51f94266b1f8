"""What Airflow's chart makes of the values. Takes Helm and the network; CI has both."""

import re
import shutil
import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml

from .helm_values import HELM, KUBERNETES, OVERLAYS

CHART = "1.22.0"
pytestmark = pytest.mark.cluster


def rendered(overlay: str) -> list[dict[str, Any]]:
    """What the chart makes of the values; Helm applies the chart's own schema first."""
    if shutil.which("helm") is None:
        pytest.skip("helm is not installed")
    command = ["helm", "template", "airflow", "airflow", "--repo", "https://airflow.apache.org"]
    files = [part for name in ("values", overlay) for part in ("--values", HELM / f"{name}.yaml")]
    done = subprocess.run(
        [*command, "--version", CHART, "--namespace", "airflow", *files],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if re.search("looks like .* is not a valid chart repository|no such host", done.stderr):
        pytest.skip("the chart cannot be fetched")
    assert done.returncode == 0, done.stderr
    return [item for item in yaml.safe_load_all(done.stdout) if item]


def pods(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The pods that these objects make, by the name of the object."""
    found = {}
    for item in objects:
        spec = item.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "containers" in spec.get("template", {}).get("spec", {}):
            found[item["metadata"]["name"]] = spec["template"]["spec"]
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_takes_what_the_chart_makes_of_it(overlay: str) -> None:
    objects = rendered(overlay)
    for item in objects:
        kubernetes_validate.validate(item, KUBERNETES, strict=True)
    kinds = [item["kind"] for item in objects]
    assert "StatefulSet" not in kinds
    assert "PersistentVolumeClaim" not in kinds
    assert "Secret" not in kinds
    accounts = {name: spec["serviceAccountName"] for name, spec in pods(objects).items()}
    assert accounts["airflow-scheduler"] == "airflow-scheduler"
    if overlay == "production":
        assert accounts["airflow-worker"] == "airflow-worker"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_pods_of_the_chart_are_restricted(overlay: str) -> None:
    for name, spec in pods(rendered(overlay)).items():
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for box in (*spec["containers"], *spec.get("initContainers", ())):
            told = box["securityContext"]
            assert told["allowPrivilegeEscalation"] is False, (name, box["name"])
            assert told["capabilities"] == {"drop": ["ALL"]}, (name, box["name"])
            assert "/entrypoint" not in str(box.get("livenessProbe", "")), (name, box["name"])
