"""What Airflow itself must know before the first run: pools and connections."""

import json
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from course.api import Airflow
from course.containers.settings import Settings


def connections(settings: Settings) -> dict[str, dict[str, Any]]:
    """Connections by id, without secrets: the services in here trust each other's network."""
    kafka = {"bootstrap.servers": "kafka:19092"}

    def consumer(group: str) -> dict[str, Any]:
        return {
            "conn_type": "kafka",
            "extra": {
                **kafka,
                "group.id": group,
                # Whoever reads commits, once what was read is safe.
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                # How long a group waits for a member that died without a word.
                "session.timeout.ms": 6000,
            },
        }

    webhook = f"json://inbox:8025/{quote('airflow')}"
    return {
        "kafka_default": {"conn_type": "kafka", "extra": kafka},
        "kafka_retrain_on_event": consumer("retrain_on_event"),
        "kafka_await_training_request": consumer("await_training_request"),
        "apprise_default": {
            "conn_type": "apprise",
            "extra": {"config": {"path": webhook, "tag": "all"}},
        },
        "fs_incoming": {"conn_type": "fs", "extra": {"path": "/opt/course/incoming"}},
    }


def plant(airflow: Airflow, settings: Settings) -> None:
    """Create the pools and connections, or give those that are there these values."""
    pools = json.loads(files("course").joinpath("pools.json").read_text())
    for name, pool in pools.items():
        airflow.ensure_pool(name, **pool)
    for name, value in connections(settings).items():
        airflow.ensure_connection(name, value["conn_type"], value["extra"])
