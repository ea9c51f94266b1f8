"""The tables of k8s/costs.md: the formulas by hand, and that they follow figures and manifests."""

import json
import re
from pathlib import Path

import pytest
import yaml

from course import costs, pages
from course.config import REPOSITORY
from course.costs import Node, Prices
from course.errors import CourseError

MEASURED = {
    "k8s_pod_overhead": 20.0,
    "k8s_train_container": 80.0,
    "k8s_executor_noop": 9.0,
    "k8s_resumed": 36.0,
    "stack_start": 0.5,
}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of results, known to the module."""
    path = tmp_path / "results.json"
    figures = {name: {"value": value, "unit": "s"} for name, value in MEASURED.items()}
    path.write_text(json.dumps({"figures": figures}), "utf-8")
    monkeypatch.setattr(pages, "RESULTS", path)
    return path


def test_the_overhead_and_the_work_that_makes_it_small() -> None:
    assert costs.overhead_share(90, 10) == pytest.approx(0.1)
    assert costs.least_work(10) == pytest.approx(90)
    assert costs.overhead_share(costs.least_work(7, 0.25), 7) == pytest.approx(0.25)


def test_a_pod_reserves_the_scarcer_of_cpu_and_memory() -> None:
    assert costs.reserved({"cpu": "500m", "memory": "2Gi"}, Node(4, 16)) == pytest.approx(0.125)
    assert costs.reserved({"cpu": "500m", "memory": "8Gi"}, Node(4, 16)) == pytest.approx(0.5)


def test_losses_cost_what_was_begun_and_the_way_back() -> None:
    # Hardly any losses: what is worked is paid.
    assert costs.paid_hours(24, 24, 0.1, 1e-6) == pytest.approx(24, rel=1e-4)
    # Hardly any between two savings: each of the losses costs the way back, no more.
    assert costs.paid_hours(24, 1e-3, 0.5, 0.1) == pytest.approx(24 * (1 + 0.1 * 0.5), rel=1e-3)
    # The figures of lecture 9, where a way back costs nothing.
    assert round(costs.paid_hours(24, 24, 0, 0.1)) == 100
    assert round(costs.paid_hours(24, 0.5, 0, 0.1)) == 25


def test_a_simulation_pays_what_the_formula_says() -> None:
    from random import Random

    random, runs, paid = Random(0), 4000, 0.0  # noqa: S311 - nothing secret
    for _ in range(runs):
        while (lost := random.expovariate(0.5)) < 2:
            paid += lost + 0.25
        paid += 2
    assert paid / runs == pytest.approx(costs.paid_hours(2, 2, 0.25, 0.5), rel=0.05)


@pytest.mark.usefixtures("results")
def test_a_training_is_paid_with_its_overhead() -> None:
    rows = costs.trainings(Prices(gpu=7.2, spot=1.8, idle=900))
    assert rows[1] == ["80 s", "20.0%", "$0.20", "$2.00", "$0.050"]


@pytest.mark.usefixtures("results")
def test_every_table_has_the_columns_of_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    for name in costs.TABLES:
        costs.table(name)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) >= 5
        assert len({line.count("|") for line in lines}) == 1, name


def test_what_is_not_measured_is_named(results: Path) -> None:
    results.write_text('{"figures": {}}', "utf-8")
    with pytest.raises(CourseError, match="k8s_pod_overhead"):
        costs.trainings(Prices())


def test_what_fits_is_bounded_by_what_is_used_up_first() -> None:
    pod = {"cpu": "1", "memory": "4Gi", costs.GPU: "1"}
    assert costs.fit(pod, {"cpu": 4, "memory": 64 * costs.GIB, costs.GPU: 8}) == "4, by CPU"
    assert costs.fit(pod, {"cpu": 4, "memory": 4 * costs.GIB}) == "1, by memory"
    assert costs.fit(pod, {"cpu": 4, "pods": 2}) == "2, by pods"


def test_the_pods_are_those_of_the_dag_and_of_the_chart() -> None:
    dag = (REPOSITORY / "dags/train_on_gpu_pod.py").read_text("utf-8")
    (cpu,) = re.findall(r'"cpu": Param\("(\d+)"', dag)
    (memory,) = re.findall(r'"memory": Param\("(\d+)Gi"', dag)
    # The sidecar requests 1m and 10Mi.
    assert costs.TRAINING_POD["cpu"] == f"{1000 * int(cpu) + 1}m"
    assert costs.TRAINING_POD["memory"] == f"{1024 * int(memory) + 10}Mi"
    chart = yaml.safe_load((REPOSITORY / "k8s/helm/production.yaml").read_text("utf-8"))
    assert chart["workers"]["celery"]["resources"]["requests"] == costs.WORKER
