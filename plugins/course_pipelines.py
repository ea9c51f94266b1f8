"""What the pipelines share: assets, tags, retries. Every Airflow process imports this file."""

from datetime import timedelta
from enum import StrEnum
from typing import Any

from airflow.sdk import Asset, ExceptionRetryPolicy, RetryAction, RetryRule

# A run that updates one of these starts the DAGs that are scheduled on it.
FLIGHTS = Asset(name="flights", uri="lake://raw/flights", group="data")
FEATURES = Asset(name="features", uri="lake://features", group="data")
STAGING_MODEL = Asset(name="staging_model", uri="registry://flight-delay/staging", group="model")
CHAMPION_MODEL = Asset(name="champion_model", uri="registry://flight-delay/champion", group="model")


# What a DAG parameter must look like that is a month, or left out.
MONTH: dict[str, Any] = {"type": ["null", "string"], "pattern": r"^\d{4}-(0[1-9]|1[0-2])$"}


class Tag(StrEnum):
    """The tags a DAG of the course may carry; a test refuses others."""

    DATA = "data"
    FEATURES = "features"
    TRAINING = "training"
    PRODUCTION = "production"
    EVENTS = "events"
    MONITORING = "monitoring"
    KUBERNETES = "kubernetes"


# [START retries]
# Waiting mends a service that is down; it does not mend wrong data. So those fail at once.
RETRIES = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception="flightdelays.errors.CourseError",
            action=RetryAction.FAIL,
            reason="wrong data or settings: trying again would fail in the same way",
        )
    ]
)
# [END retries]

DEFAULT_ARGS: dict[str, Any] = {
    "owner": "ml-platform@example.com",
    "retries": 2,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=5),
    "retry_policy": RETRIES,
    "execution_timeout": timedelta(minutes=10),
}
