"""What Airflow itself must know before the first run: pools and connections."""

import json
from importlib.resources import files
from typing import Any

from course.api import Airflow
from course.environment import kafka_connections


def connections() -> dict[str, dict[str, Any]]:
    """Connections by id, without secrets: the services in here trust each other's network."""
    webhook = "json://inbox:8025/airflow"
    return {
        **kafka_connections("kafka:19092"),
        "apprise_default": {
            "conn_type": "apprise",
            "extra": {"config": {"path": webhook, "tag": "all"}},
        },
        "fs_incoming": {"conn_type": "fs", "extra": {"path": "/opt/course/incoming"}},
    }


def plant(airflow: Airflow) -> None:
    """Create the pools and connections, or give those that are there these values."""
    pools = json.loads(files("course").joinpath("pools.json").read_text())
    for name, pool in pools.items():
        airflow.ensure_pool(name, **pool)
    for name, value in connections().items():
        airflow.ensure_connection(name, value["conn_type"], value["extra"])
