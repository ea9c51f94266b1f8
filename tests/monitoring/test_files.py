"""The files of monitoring/ by themselves: dashboards, rules, routes, and what they speak of."""

import re
import runpy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from course.fences import fences
from flightdelays.settings import Settings

from .dashboards import dashboards, filled, panel_queries
from .names import (
    MONITORING,
    REPOSITORY,
    alerts,
    all_series,
    catalogue,
    ours,
    recorded,
    rules,
    sample,
    used,
)

SEVERITIES = {"critical", "warning"}


def load(name: str) -> Any:
    return yaml.safe_load((MONITORING / name).read_text("utf-8"))


def panels() -> list[Any]:
    return [
        pytest.param(panel, id=f"{name}: {panel['title']}")
        for name, dashboard in dashboards().items()
        for panel in dashboard["panels"]
    ]


def test_the_dashboards_are_what_the_generator_writes() -> None:
    build = runpy.run_path(str(MONITORING / "grafana" / "build.py"))
    written = {name: build["text"](dashboard) for name, dashboard in build["ALL"].items()}
    folder = MONITORING / "grafana" / "dashboards"
    found = {file.stem: file.read_text("utf-8") for file in folder.iterdir()}
    assert found == written, "run: python monitoring/grafana/build.py"
    assert set(found) == {"dags", "tasks", "system", "model"}


@pytest.mark.parametrize("name", sorted(dashboards()))
def test_a_dashboard_is_one_that_grafana_takes(name: str) -> None:
    dashboard = dashboards()[name]
    assert dashboard["uid"] == f"course-{name}"
    assert dashboard["title"]
    assert 36 <= dashboard["schemaVersion"] <= 42
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, f"{panel['title']} lies over another panel"
        taken |= cells
    for variable in dashboard["templating"]["list"]:
        assert used(variable["query"]["query"].replace("label_values", "")) - {"dag_id"} or (
            "__name__" in variable["query"]["query"]
        )
        assert f"${variable['name']}" in "".join(query for query in all_text(dashboard))


def all_text(dashboard: dict[str, Any]) -> Iterator[str]:
    """The queries of a dashboard as they stand in the file."""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


@pytest.mark.parametrize("panel", panels())
def test_a_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"] in {"s", "short", "none", "percentunit"}
    steps = defaults["thresholds"]["steps"]
    values = [step["value"] for step in steps]
    assert values[0] is None
    assert values[1:] == sorted(values[1:])
    assert panel["targets"]
    letters = [target["refId"] for target in panel["targets"]]
    assert len(set(letters)) == len(letters)
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": SOURCE}
        assert target["legendFormat"]
        # A legend that names a label which the query does not keep is empty.
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            kept = re.findall(r"\bby \(([^)]*)\)", target["expr"])
            if kept:
                assert any(label in re.split(r",\s*", group) for group in kept), target


SOURCE = "prometheus"


def test_grafana_finds_its_data_and_the_dashboards() -> None:
    (source,) = load("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert source["uid"] == SOURCE
    (provider,) = load("grafana/provisioning/dashboards/course.yaml")["providers"]
    services = yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text("utf-8"))["services"]
    mounted = [str(volume).split(":")[:2] for volume in services["grafana"]["volumes"]]
    assert ["./monitoring/grafana/dashboards", provider["options"]["path"]] in mounted
    assert ["./monitoring/grafana/provisioning", "/etc/grafana/provisioning"] in mounted


def test_every_query_asks_for_series_that_something_gives() -> None:
    known = all_series()
    queries = panel_queries()
    queries += [("rules", rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
    assert len(queries) > 60
    for where, title, expr in queries:
        names = used(expr)
        assert names, (where, title)
        assert names <= known, (where, title, names - known)


def test_a_name_that_nothing_gives_would_be_noticed() -> None:
    expr = 'sum by (dag_id, le) (rate(airflow_no_such{a="b"}[5m])) / on (x) course:none offset 1d'
    assert used(expr) == {"airflow_no_such", "course:none"}
    assert not used(expr) <= all_series()
    with pytest.raises(ValueError, match=r"\$pool"):
        filled('up{job="$pool"}')


def test_what_the_course_sends_is_looked_at_and_what_is_recorded_is_used() -> None:
    names = {name for _, _, expr in panel_queries() for name in used(expr)}
    names |= {name for rule in rules() for name in used(rule["expr"])}
    # The moment of a deployment is an annotation as well.
    for metric in ours():
        series = "airflow_" + metric.replace(".", "_")
        assert any(name.startswith(series) for name in names), metric
    assert recorded() <= names


def test_the_catalogue_and_its_tags_are_understood() -> None:
    samples = {entry["name"]: sample(entry) for entry in catalogue()}
    finish = samples["ti.finish"]
    assert set(finish.labels) == {"dag_id", "task_id", "state", "team_name"}
    assert finish.series == "airflow_ti_finish"
    # An id of a job would be a series for each run: Airflow holds it back.
    left = samples["local_task_job.task_exit"]
    assert set(left.tags) - set(left.labels) == {"job_id"}
    assert samples["{job_name}_start"].sent == "schedulerjob_start"


@pytest.mark.parametrize("alert", alerts().values(), ids=alerts())
def test_an_alert_says_what_is_wrong_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"].keys() == {"severity"}
    assert alert["labels"]["severity"] in SEVERITIES
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook"}
    assert notes["description"].endswith(".")
    pages = re.findall(r"[\w/-]+\.md", notes["runbook"])
    assert pages
    assert all((REPOSITORY / page).is_file() for page in pages)
    # What it is about is named: a label that the query keeps.
    for label in re.findall(r"\$labels\.(\w+)", " ".join(notes.values())):
        by = " ".join(re.findall(r"\bby \(([^)]*)\)", alert["expr"]))
        known = (
            by
            + alert["expr"]
            + "".join(rule["expr"] for rule in rules() if rule.get("record") in used(alert["expr"]))
        )
        assert label in known, label


def cases() -> list[dict[str, Any]]:
    """The checks of alerts in the cases for promtool."""
    files = sorted((MONITORING / "rules" / "tests").glob("*.yaml"))
    return [
        check
        for file in files
        for test in yaml.safe_load(file.read_text("utf-8"))["tests"]
        for check in test.get("alert_rule_test", [])
    ]


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires = {case["alertname"] for case in cases() if case["exp_alerts"]}
    silent = {case["alertname"] for case in cases() if not case["exp_alerts"]}
    assert fires == silent == set(alerts())


def test_the_limit_of_the_champions_fall_is_that_of_the_pipeline() -> None:
    limit = Settings.model_fields["drift_auc_fall"].default
    assert alerts()["ChampionFallen"]["expr"] == f"airflow_drift_auc_fall > {limit:g}"


def test_alerts_are_routed_by_severity_and_silenced_by_ones_that_exist() -> None:
    config = load("alertmanager.yml")
    receivers = {receiver["name"]: receiver for receiver in config["receivers"]}
    routes = {str(route["matchers"]): route["receiver"] for route in config["route"]["routes"]}
    for severity in SEVERITIES:
        assert receivers[routes[str([f'severity = "{severity}"'])]]["webhook_configs"]
    assert receivers[routes["['severity = \"critical\"']"]]["email_configs"]
    assert config["route"]["receiver"] in receivers
    assert config["route"]["group_by"] == ["alertname", "dag_id"]
    for rule in config["inhibit_rules"]:
        matchers = rule["source_matchers"] + rule["target_matchers"]
        named = {name for each in matchers for name in re.findall(r"\w+", each.split('"')[1])}
        assert named <= set(alerts())


def test_prometheus_looks_at_services_of_the_stack_and_reads_the_rules() -> None:
    config = load("prometheus.yml")
    services = yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text("utf-8"))["services"]
    targets = [
        target
        for job in config["scrape_configs"]
        for static in job["static_configs"]
        for target in static["targets"]
    ]
    targets += config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    hosts = {target.rpartition(":")[0] for target in targets}
    assert hosts - {"localhost"} <= set(services)
    (pattern,) = config["rule_files"]
    assert len(list(MONITORING.glob(pattern))) == 2
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    asked = {job for rule in rules() for job in re.findall(r'job="([^"]+)"', rule["expr"])}
    assert asked <= jobs


def test_the_page_lists_every_alert() -> None:
    page = MONITORING / "README.md"
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", page.read_text("utf-8"), re.MULTILINE)
    assert dict(rows) == {name: alert["labels"]["severity"] for name, alert in alerts().items()}
    assert all(fence.language for fence in fences(page))
