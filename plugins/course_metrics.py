"""The metrics that tasks of the course send themselves, beside those of Airflow.

They leave the sender's own process by StatsD, as `<prefix>.<name>` with the prefix `airflow`. Plain
StatsD has no labels: where tags are kept (`statsd_influxdb_enabled`), `dag_id` says whose it is.

What happens rarely has a gauge, often of a moment (seconds since 1970), beside its counter or in
place of it: a counter that appears with the value 1 has not increased, as Prometheus sees it.
"""

import time
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.observability import stats


class Metric(StrEnum):
    """Names as Prometheus, Grafana and tests know them."""

    ROWS = "training.rows"  # gauge: rows that the model was fitted on
    AUC = "training.auc"  # gauge: ROC AUC on the validation month, 0 to 1
    FIT = "training.fit"  # timer, milliseconds: duration of the fit
    SUCCESS = "training.last_success"  # gauge: when a training succeeded last
    REFUSED = "gate.refused"  # counter: candidates that the deployment gate refused
    DEPLOYMENTS = "model.deployments"  # counter by alias: how often it was given to a version
    DEPLOYED = "model.deployed_at"  # gauge by alias: when that was last
    VERSION = "model.version"  # gauge by alias: version of the model that has it
    MONTH_AUC = "drift.auc"  # gauge by month: ROC AUC of the champion
    MONTH_PSI = "drift.psi"  # gauge by month and feature: how far the champion's inputs moved
    FALL = "drift.auc_fall"  # gauge: AUC that the champion has lost since it was deployed
    LATE = "runs.late"  # counter: runs of which people were told that they are late


TYPES: dict[Metric, str] = dict.fromkeys(Metric, "gauge") | {
    Metric.FIT: "timer",
    Metric.REFUSED: "counter",
    Metric.DEPLOYMENTS: "counter",
    Metric.LATE: "counter",
}


def dag_name() -> str:
    """The DAG whose task is running: under this label its metrics are found."""
    return str(get_current_context()["dag"].dag_id)


def values(trained: Mapping[str, float]) -> dict[Metric, float]:
    """What a training (``rows``, ``auc``, ``seconds``) comes to, by metric and in its unit."""
    return {
        Metric.ROWS: trained["rows"],
        Metric.AUC: trained["auc"],
        Metric.FIT: trained["seconds"] * 1000,
    }


def send_training(dag_id: str, trained: Mapping[str, float]) -> None:
    """Send the metrics of one training."""
    # [START send]
    tags = {"dag_id": dag_id}
    measured = values(trained)
    stats.gauge(Metric.ROWS, measured[Metric.ROWS], tags=tags)
    stats.gauge(Metric.AUC, measured[Metric.AUC], tags=tags)
    stats.timing(Metric.FIT, measured[Metric.FIT], tags=tags)
    # [END send]


def send_success(dag_id: str) -> None:
    """Send that a training has succeeded just now: all of it, not only the fit."""
    stats.gauge(Metric.SUCCESS, int(time.time()), tags={"dag_id": dag_id})


def send_refusal(dag_id: str) -> None:
    """Send that the deployment gate has refused the candidate of a DAG."""
    stats.incr(Metric.REFUSED, tags={"dag_id": dag_id})


def send_deployment(version: int, aliases: Iterable[str]) -> None:
    """Send that a version of the model has been given these aliases just now."""
    for alias in aliases:
        tags = {"alias": alias}
        stats.incr(Metric.DEPLOYMENTS, tags=tags)
        stats.gauge(Metric.DEPLOYED, int(time.time()), tags=tags)
        stats.gauge(Metric.VERSION, version, tags=tags)
        if alias == "champion":
            # The fall of the one before is none of its own, and the next look is weeks away.
            stats.gauge(Metric.FALL, 0)


def send_drift(months: Mapping[str, Mapping[str, Any]], month: str, deployed_auc: float) -> None:
    """Send how the champion did by month (``auc``, ``psi`` by feature), and its fall until one."""
    for name, found in months.items():
        stats.gauge(Metric.MONTH_AUC, found["auc"], tags={"month": name})
        for feature, index in found["psi"].items():
            stats.gauge(Metric.MONTH_PSI, index, tags={"month": name, "feature": feature})
    stats.gauge(Metric.FALL, deployed_auc - months[month]["auc"])


def send_late(dag_id: str) -> None:
    """Send that people are told of a late run."""
    stats.incr(Metric.LATE, tags={"dag_id": dag_id})
