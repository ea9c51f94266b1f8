"""The files of monitoring/ in the programs that read them: exporter, promtool, amtool."""

import re
import shutil
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from . import containers, statsd
from .dashboards import panel_queries
from .names import MONITORING, alerts, all_series, catalogue, ours, sample

pytestmark = pytest.mark.stack

PATIENCE = 15
SECONDS = 1.234


class Exporter:
    """A real exporter with the mapping, to which this process sends."""

    def __init__(self, port: int, address: str) -> None:
        self.port, self.address = port, address

    def series(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        """Labels and value of all series by name."""
        text = httpx.get(self.address, trust_env=False).raise_for_status().text
        # Counters keep Airflow's names; the parser wants them to end in `_total`.
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(text.replace(" counter\n", " untyped\n")):
            for each in family.samples:
                found.setdefault(each.name, []).append((dict(each.labels), each.value))
        return found

    def wait(self, *names: str) -> dict[str, list[tuple[dict[str, str], float]]]:
        """All series, as soon as these are among them, or when patience ends."""
        deadline = time.monotonic() + PATIENCE
        while not set(names) <= set(found := self.series()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return found


@pytest.fixture(scope="module")
def exporter() -> Iterator[Exporter]:
    with containers.statsd_exporter() as (port, address), statsd.client(port):
        yield Exporter(port, address)


def test_every_metric_of_airflow_arrives_with_all_its_tags_as_labels(exporter: Exporter) -> None:
    from airflow.sdk.observability import stats

    samples = [sample(entry) for entry in catalogue()]
    assert len(samples) > 100
    for each in samples:
        if each.kind == "timer":
            # Of this one Airflow gives the seconds as they are.
            seconds = each.sent == "dag_processing.last_duration"
            stats.timing(each.sent, SECONDS if seconds else SECONDS * 1000, tags=dict(each.tags))
        elif each.kind == "gauge":
            stats.gauge(each.sent, 7, tags=dict(each.tags))
        else:
            stats.incr(each.sent, 7, tags=dict(each.tags))
    names = [each.series + ("_sum" if each.kind == "timer" else "") for each in samples]
    found = exporter.wait(*names)
    for each, name in zip(samples, names, strict=True):
        assert name in found, f"{each.sent} did not arrive as {name}"
        value = SECONDS if each.kind == "timer" else 7
        assert (dict(each.labels), pytest.approx(value)) in found[name], each.sent
        if each.kind == "timer":
            buckets = {labels["le"] for labels, _ in found[each.series + "_bucket"]}
            assert {"5", "10", "30"} <= {le.removesuffix(".0") for le in buckets}, each.sent
    # Nothing else has come of them: no second name, no series without labels.
    theirs = {name for name in found if name.startswith("airflow_")}
    assert theirs <= all_series()
    assert all(labels for name in theirs for labels, _ in found[name])


def test_the_name_with_the_dag_in_it_is_dropped(exporter: Exporter) -> None:
    from airflow.sdk.observability import stats

    for name in ("dagrun.my.dag.first_task_scheduling_delay", "dagrun.first_task_scheduling_delay"):
        stats.timing(name, timedelta(seconds=2), tags={"dag_id": "my.dag", "run_type": "manual"})
    stats.gauge("last_of_this_test", 1)
    found = exporter.wait("airflow_last_of_this_test")
    about = {"dag_id": "my.dag", "run_type": "manual"}
    assert (about, 2.0) in found["airflow_dagrun_first_task_scheduling_delay_sum"]
    assert not [name for name in found if "my_dag" in name]


def test_the_metrics_of_the_course_arrive_with_their_labels(exporter: Exporter) -> None:
    known = ours()
    import course_metrics

    before = time.time()
    course_metrics.send_training("d", {"rows": 15_000, "auc": 0.756, "seconds": 2.5})
    course_metrics.send_success("d")
    course_metrics.send_refusal("d")
    course_metrics.send_late("d")
    course_metrics.send_deployment(3, ["staging", "champion"])
    month = {"auc": 0.7, "psi": {"origin_rate": 0.1, "carrier_rate": 0.3}}
    course_metrics.send_drift({"2013-08": month, "2013-09": month | {"auc": 0.76}}, "2013-09", 0.75)
    last = {
        "airflow_training_rows": ({"dag_id": "d"}, 15_000),
        "airflow_training_auc": ({"dag_id": "d"}, 0.756),
        "airflow_training_fit_sum": ({"dag_id": "d"}, 2.5),
        "airflow_gate_refused": ({"dag_id": "d"}, 1),
        "airflow_runs_late": ({"dag_id": "d"}, 1),
        "airflow_model_deployments": ({"alias": "champion"}, 1),
        "airflow_model_version": ({"alias": "staging"}, 3),
        "airflow_drift_auc": ({"month": "2013-08"}, 0.7),
        "airflow_drift_psi": ({"month": "2013-09", "feature": "carrier_rate"}, 0.3),
        # A champion that has become better: a gauge may be below zero.
        "airflow_drift_auc_fall": ({}, -0.01),
    }
    moments = {
        "airflow_training_last_success": {"dag_id": "d"},
        "airflow_model_deployed_at": {"alias": "champion"},
    }
    found = exporter.wait(*last, *moments)
    for name, (labels, value) in last.items():
        assert (labels, pytest.approx(value)) in found[name], name
    for name, about in moments.items():
        (moment,) = (value for labels, value in found[name] if labels == about)
        assert before - 1 <= moment <= time.time()
    tested = {name.removesuffix("_sum") for name in last} | set(moments)
    assert tested == {"airflow_" + name.replace(".", "_") for name in known}


def test_a_mapping_that_is_wrong_would_be_noticed(tmp_path: Path) -> None:
    shutil.copytree(MONITORING, tmp_path / "monitoring")
    file = tmp_path / "monitoring" / "statsd-mapping.yaml"
    file.write_text(file.read_text("utf-8") + "  - match: airflow.*.x\n    nam: y\n", "utf-8")
    for folder, code in ((str(MONITORING), 0), (str(tmp_path / "monitoring"), 1)):
        done = containers.tool(
            "statsd-exporter",
            "statsd_exporter",
            "--check-config",
            "--statsd.mapping-config=statsd-mapping.yaml",
            folder=folder,
        )
        assert done.returncode == code, done.stderr


def promtool(*arguments: str, folder: str = "") -> Any:
    return containers.tool("prometheus", "promtool", *arguments, folder=folder)


def rule_tests(folder: str = "") -> Any:
    names = sorted(f"rules/tests/{file.name}" for file in (MONITORING / "rules/tests").iterdir())
    return promtool("test", "rules", *names, folder=folder)


def test_prometheus_accepts_its_configuration_and_rules() -> None:
    done = promtool("check", "config", "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(alerts())} rules found" in done.stdout


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    done = rule_tests()
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("expr", ["vector(0) > 1", "vector(1)"], ids=["never", "always"])
def test_the_cases_notice_an_alert_that_fires_never_or_always(expr: str, tmp_path: Path) -> None:
    folder = tmp_path / "monitoring"
    shutil.copytree(MONITORING, folder)
    file = folder / "rules" / "alerts.yaml"
    content = yaml.safe_load(file.read_text("utf-8"))
    for group in content["groups"]:
        for rule in group["rules"]:
            rule["expr"] = expr
            rule.pop("for", None)
    file.write_text(yaml.safe_dump(content), "utf-8")
    done = rule_tests(str(folder))
    assert done.returncode != 0
    assert set(re.findall(r"alertname: ?(\w+)", done.stdout + done.stderr)) == set(alerts())


def amtool(*arguments: str) -> Any:
    return containers.tool("alertmanager", "amtool", *arguments)


def test_alertmanager_accepts_its_configuration() -> None:
    done = amtool("check-config", "alertmanager.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("severity", "receiver"), [("critical", "person"), ("warning", "inbox"), ("odd", "inbox")]
)
def test_each_severity_reaches_its_receiver(severity: str, receiver: str) -> None:
    file = "--config.file=alertmanager.yml"
    done = amtool("config", "routes", "test", file, "alertname=RunFailed", f"severity={severity}")
    assert done.stdout.strip() == receiver


def send_everything() -> None:
    """Each metric of Airflow and of the course once, and what the other services give."""
    from airflow.sdk.observability import stats

    ours()
    import course_metrics

    for each in map(sample, catalogue()):
        tags = dict(each.tags)
        if each.kind == "timer":
            stats.timing(each.sent, 1234, tags=tags)
        elif each.kind == "gauge":
            stats.gauge(each.sent, 7, tags=tags)
        else:
            stats.incr(each.sent, tags=tags)
    month = {"auc": 0.7, "psi": {"origin_rate": 0.1}}
    course_metrics.send_training("d", {"rows": 15_000, "auc": 0.756, "seconds": 2.5})
    course_metrics.send_success("d")
    course_metrics.send_refusal("d")
    course_metrics.send_late("d")
    course_metrics.send_deployment(3, ["staging", "champion"])
    course_metrics.send_drift({"2013-09": month}, "2013-09", 0.75)


OTHER_SERVICES = (
    "pg_stat_activity_count,datname=airflow,state=idle:3|g",
    "pg_settings_max_connections:100|g",
    "kafka_consumergroup_lag,group=g,topic=t,partition=0:0|g",
)


def test_every_panel_has_data_once_everything_has_been_sent() -> None:
    """A real Prometheus with our rules answers each query of the dashboards."""
    with (
        containers.network() as network,
        containers.statsd_exporter(f"--network={network}", "--network-alias=statsd-exporter") as (
            port,
            _,
        ),
        containers.prometheus(f"--network={network}") as address,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as others,
        statsd.client(port),
        httpx.Client(base_url=address, trust_env=False, timeout=30) as client,
    ):
        missing = panel_queries()
        deadline = time.monotonic() + 150
        while missing and time.monotonic() < deadline:
            send_everything()
            for line in OTHER_SERVICES:
                others.sendto(line.encode(), ("127.0.0.1", port))
            time.sleep(3)
            missing = [each for each in missing if not data(client, each[2])]
        assert missing == []


def data(client: httpx.Client, expr: str) -> bool:
    """Whether a query gives a number."""
    answer = client.post("/api/v1/query", data={"query": expr})
    assert answer.status_code == httpx.codes.OK, (expr, answer.text)
    return any(each["value"][1] != "NaN" for each in answer.json()["data"]["result"])
