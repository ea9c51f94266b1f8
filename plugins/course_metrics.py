"""The metrics that tasks of the course send themselves, beside those of Airflow.

They leave the task's own process by StatsD, as `<prefix>.<name>` with the prefix `airflow`. Plain
StatsD has no labels: where tags are kept (`statsd_influxdb_enabled`), `dag_id` says whose it is.
"""

from collections.abc import Mapping
from enum import StrEnum

from airflow.sdk.observability import stats


class Metric(StrEnum):
    """Names as Prometheus, Grafana and tests know them."""

    ROWS = "training.rows"  # gauge: rows that the model was fitted on
    AUC = "training.auc"  # gauge: ROC AUC on the validation month, 0 to 1
    FIT = "training.fit"  # timer, milliseconds: duration of the fit


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
