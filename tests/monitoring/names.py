"""Which series there can be: Airflow's own, the course's, and those of the other services."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
MONITORING = REPOSITORY / "monitoring"
DISABLED_TAGS = ("job_id", "run_id")
"""What Airflow holds back by default (`statsd_disabled_tags`)."""
OTHERS = {
    # Prometheus itself
    "up",
    "process_start_time_seconds",
    # prometheuscommunity/postgres-exporter
    "pg_stat_activity_count",
    "pg_settings_max_connections",
    # src/course: how far Kafka's readers are
    "kafka_consumergroup_lag",
}


@dataclass(frozen=True)
class Sample:
    """A metric as Airflow sends it, and what has to become of it."""

    sent: str
    kind: str
    tags: Mapping[str, str]
    series: str
    labels: Mapping[str, str]


def catalogue() -> list[dict[str, Any]]:
    """Airflow's own list of its metrics, of the installed version."""
    import airflow

    folder = Path(airflow.__file__).parent / "_shared" / "observability" / "metrics"
    return list(yaml.safe_load((folder / "metrics_template.yaml").read_text("utf-8"))["metrics"])


def sample(entry: Mapping[str, Any]) -> Sample:
    """One sample of a metric of the catalogue, with every tag that the catalogue knows of.

    ``team_name`` comes to all of them, as it does in Airflow where there are several teams.
    """
    name = str(entry["name"])
    described = re.search(
        r"[Mm]etric with ([^.]+?) tagging", " ".join(entry["description"].split())
    )
    known = set(entry["name_variables"])
    if described:
        known |= set(re.split(r", | and ", described.group(1)))
    inside = set(re.findall(r"{(\w+)}", name))
    tags = {tag: f"{tag}-1.a" for tag in sorted(known - inside)} | {"team_name": "ml"}
    values = dict.fromkeys(inside, "schedulerjob")
    held_back = {tag for tag in tags if any(each in tag for each in DISABLED_TAGS)}
    return Sample(
        sent=name.format(**values),
        kind=str(entry["type"]),
        tags=tags,
        series=exported(name),
        labels={tag: value for tag, value in tags.items() if tag not in held_back} | values,
    )


def exported(name: str) -> str:
    """Prometheus' name of a metric: monitoring/statsd-mapping.yaml, which a test with it proves."""
    name = name.replace("{job_name}_", "job.").replace(".{dag_file}", "")
    return "airflow_" + re.sub(r"\W", "_", name.removeprefix("airflow."))


def ours() -> dict[str, str]:
    """The metrics of plugins/course_metrics.py with their types."""
    folder = str(REPOSITORY / "plugins")
    if folder not in sys.path:
        sys.path.append(folder)
    import course_metrics

    return {str(metric): kind for metric, kind in course_metrics.TYPES.items()}


def recorded() -> set[str]:
    """The names that the recording rules give."""
    return {rule["record"] for rule in rules() if "record" in rule}


def rules() -> list[dict[str, Any]]:
    """All recording and alert rules."""
    return [
        rule
        for path in sorted((MONITORING / "rules").glob("*.yaml"))
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
        for rule in group["rules"]
    ]


def alerts() -> dict[str, dict[str, Any]]:
    """The alert rules by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def all_series() -> set[str]:
    """Every name that a query may use."""
    found = set(OTHERS) | recorded()
    for name, kind in {e["name"]: e["type"] for e in catalogue()}.items() | ours().items():
        series = exported(name)
        parts = ("_bucket", "_sum", "_count") if kind == "timer" else ("",)
        found |= {series + part for part in parts}
    return found


def used(expr: str) -> set[str]:
    """The names of series in a PromQL expression."""
    bare = re.sub(r'"[^"]*"', "", expr)
    bare = re.sub(r"\{[^}]*\}", "", bare)
    bare = re.sub(r"\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    words = re.findall(r"(?<![\w:$])[a-zA-Z_:][\w:]*(?!\s*\()(?![\w:])", bare)
    keywords = {"by", "without", "on", "ignoring", "and", "or", "unless", "offset", "bool"}
    return set(words) - keywords
