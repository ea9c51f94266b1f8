"""The values for Airflow's chart: fields it knows, objects Kubernetes takes, settings Airflow has.

Neither cluster nor network nor Helm: chart_fields.yaml says what the chart's schema says.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from .helm_values import OVERLAYS, PATTERNS, REPOSITORY, complaint, leaves, read, values


@pytest.fixture(params=OVERLAYS)
def given(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The merged values of each overlay in turn."""
    merged: dict[str, Any] = values(request.param)
    return merged


def test_the_chart_knows_every_field(given: dict[str, Any]) -> None:
    unknown = [".".join(steps) for steps, found, _ in leaves(given) if found is None]
    assert unknown == []


def test_each_value_is_of_the_type_that_the_chart_wants(given: dict[str, Any]) -> None:
    wrong = [
        f"{'.'.join(steps)} {problem}"
        for steps, found, value in leaves(given)
        if found and (problem := complaint(PATTERNS[found], value))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", 3),
        ("integer", True),
        (["Always"], "Sometimes"),
        ("executors", "celery"),
        ("SecurityContext", {"runAsRoot": False}),
        ("ResourceRequirements", {"request": {"cpu": 1}}),
        ("Volume", {"emptyDir": {}}),
        ("EnvVars as a string", "- {name: A, value: 1}"),
        ("NetworkPolicyPeer", {"podSelectors": {}}),
    ],
)
def test_a_wrong_value_is_refused(kind: Any, value: Any) -> None:
    """So the tests before this one can fail."""
    assert complaint(kind, value)


def test_no_field_is_listed_that_nobody_sets() -> None:
    used = {found for name in OVERLAYS for _, found, _ in leaves(values(name))}
    assert sorted(".".join(steps) for steps in PATTERNS.keys() - used) == []


def test_airflow_knows_every_setting(given: dict[str, Any]) -> None:
    from airflow.configuration import retrieve_configuration_description

    described = retrieve_configuration_description(include_airflow=True, include_providers=True)
    unknown = [
        f"[{section}] {name}"
        for section, settings in given["config"].items()
        for name in settings
        if name not in described.get(section, {}).get("options", {})
    ]
    assert unknown == []


def test_secrets_are_named_and_never_written(given: dict[str, Any]) -> None:
    told = {".".join(steps): str(value) for steps, _, value in leaves(given)}
    for path, value in told.items():
        assert not re.search(r"://[^/\s]*:[^/\s]*@", value), f"{path} holds a password"
        assert not re.search(r"\b[\w-]{43}=", value), f"{path} holds a Fernet key"
        if re.search("secret|password|token", path.rsplit(".", 1)[-1], re.IGNORECASE):
            switch = value in ("True", "False")
            assert switch or re.fullmatch("(airflow|flight)-[a-z-]+", value), f"{path} is no name"


def test_versions_are_those_of_the_course(given: dict[str, Any]) -> None:
    lock = (REPOSITORY / "requirements.txt").read_text("utf-8")
    locked = re.search(r"^apache-airflow==(\S+)", lock, re.MULTILINE)
    assert locked is not None
    airflow, statsd = given["images"]["airflow"], given["images"]["statsd"]
    assert {given["airflowVersion"], given["defaultAirflowTag"], airflow["tag"]} == {locked[1]}
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text("utf-8"))["services"]
    image = f"{airflow['repository'].removeprefix('registry.example.com/')}:{airflow['tag']}"
    assert image == compose["scheduler"]["image"]
    assert f"{statsd['repository']}:{statsd['tag']}" == compose["statsd-exporter"]["image"]
    (training,) = (item for item in given["env"] if item["name"] == "AIRFLOW_VAR_TRAINING_IMAGE")
    assert training["value"].endswith(compose["model-server"]["image"])


def test_the_overlays_run_the_executors_that_they_promise() -> None:
    assert read("values")["executor"] == "KubernetesExecutor"
    assert values("local")["executor"] == "LocalExecutor,KubernetesExecutor"
    assert values("production")["executor"] == "CeleryExecutor,KubernetesExecutor"


def test_every_account_is_made_by_our_manifests(given: dict[str, Any]) -> None:
    found = yaml.safe_load_all((REPOSITORY / "k8s/base/accounts.yaml").read_text("utf-8"))
    ours = {
        item["metadata"]["name"] for item in found if item["metadata"]["namespace"] == "airflow"
    }
    accounts = {
        ".".join(steps[:-2]): value
        for steps, _, value in leaves(given)
        if steps[-2:] == ("serviceAccount", "name")
    }
    assert set(accounts.values()) == ours
    created = {
        ".".join(steps[:-2])
        for steps, _, value in leaves(given)
        if steps[-2:] == ("serviceAccount", "create") and value
    }
    assert created == set()


def test_nothing_calls_what_the_image_does_not_have(given: dict[str, Any]) -> None:
    """The chart's own probes and log groomers call programs of the official image."""
    for name in ("scheduler", "dagProcessor", "triggerer"):
        assert given[name]["livenessProbe"]["command"], name
        assert given[name]["logGroomerSidecar"]["enabled"] is False, name
    assert given["scheduler"]["startupProbe"]["command"]
    assert given["workers"]["celery"]["logGroomerSidecar"]["enabled"] is False
    if "CeleryExecutor" in given["executor"]:
        assert given["workers"]["celery"]["livenessProbe"]["command"]
    called = given["scheduler"]["livenessProbe"]["command"][2]
    assert (REPOSITORY / "docker" / Path(called).name).is_file()
    pools = given["migrateDatabaseJob"]["args"][-1].split()[-1]
    assert (REPOSITORY / Path(pools).relative_to("/opt/course")).is_file()


def test_airflow_asks_a_laptop_for_half_a_processor() -> None:
    asked = [
        value["requests"]["cpu"]
        for steps, _, value in leaves(values("local"))
        if steps[-1] == "resources"
    ]
    assert len(asked) == 6
    assert sum(int(cpu.removesuffix("m")) for cpu in asked) <= 500


def test_statsd_makes_the_metrics_of_the_stack_in_containers(given: dict[str, Any]) -> None:
    mapping = yaml.safe_load((REPOSITORY / "monitoring/statsd-mapping.yaml").read_text("utf-8"))
    *rules, last = given["statsd"]["overrideMappings"]
    assert last == mapping["defaults"] | {
        "match": ".+",
        "match_type": "regex",
        "match_metric_type": "observer",
        "name": "$0",
    }
    for rule, wanted in zip(rules, mapping["mappings"], strict=True):
        assert rule in (wanted, mapping["defaults"] | wanted)
