"""Before anything imports Airflow: a home of its own, so that no test touches a person's."""

import atexit
import json
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

REPOSITORY = Path(__file__).resolve().parents[1]

_home = Path(tempfile.mkdtemp(prefix="course-tests-"))
atexit.register(shutil.rmtree, _home, ignore_errors=True)
_BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"
# `dag.test()` runs what lies in a bundle: the pipelines, and the snippets of the lectures.
_BUNDLES = [
    {"name": "dags-folder", "classpath": _BUNDLE, "kwargs": {}},
    {
        "name": "snippets",
        "classpath": _BUNDLE,
        "kwargs": {"path": str(REPOSITORY / "lecture-notes" / "snippets")},
    },
]
os.environ.update(
    {
        "AIRFLOW_HOME": str(_home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(_BUNDLES),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GX_ANALYTICS_ENABLED": "false",
        "MPLBACKEND": "Agg",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
)
# A person's own lake, registry or broker must never be what a test writes to.
for name in [name for name in os.environ if name.startswith("FLIGHTDELAYS_")]:
    del os.environ[name]

# What the folders of this tree stand for, in the words of the last lines of `make test`.
LAYERS = {
    "course": "command line, set-up, doctor",
    "dags": "DAG files parse; pipelines run task by task on real months",
    "flightdelays": "ML code: data, features, quality, models, registry; bad input",
    "live": "a running stack: schedules, assets, messages, people, kills and restarts",
    "exercises": "every starter, solution and wrong variant goes through the grader",
    "labs": "the pitfalls: the damage, and how it is mended",
    "lectures": "what the lectures claim of Airflow, run",
    "pages": "blocks, commands, links, figures and names on the pages; the site in a browser",
    "monitoring": "metrics, rules, alerts, dashboards",
    "serving": "model server, alert inbox, Kafka lag",
    "stack": "the stack in containers",
    "k8s": "Kubernetes: manifests, Helm values; with a cluster, all of it",
    "bench": "benchmarks",
}


class TwoProcesses(LoadScopeScheduling):
    """The live tests wait half of their time, in which a second process runs all the others."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith("tests/exercises/"):
            return nodeid  # each for whichever process is free
        return "live" if nodeid.startswith("tests/live/") else "others"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> TwoProcesses:
    """How ``make test`` shares the tests out."""
    return TwoProcesses(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was covered, by layer, and what was not."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        if report.when == "call":
            counts[Path(report.nodeid.split("::")[0]).parts[1]] += 1
    terminalreporter.section("covered")
    for layer, meaning in LAYERS.items():
        if counts[layer]:
            terminalreporter.write_line(f"{counts[layer]:5} passed  {layer:13} {meaning}")
    ran = {report.nodeid.split("::")[0] for report in terminalreporter.getreports("passed")}
    # It has a target of its own; what `make test` does of it is to read its files.
    absent = [] if "tests/stack/test_stack.py" in ran else ["a running stack in containers"]
    absent += [] if "tests/k8s/test_platform.py" in ran else ["a Kubernetes cluster"]
    terminalreporter.write_line(f"   not here: {', '.join([*absent, 'a GPU'])}")
    reasons = Counter(
        str(value)
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if report.when == "call" and name == "illustration"
    )
    if reasons:
        terminalreporter.section("blocks on the pages that are not run, and why")
        for reason, times in reasons.items():
            terminalreporter.write_line(f"{times:5} × {reason}")
