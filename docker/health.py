"""Does this container do its work? For the health checks of docker-compose.yaml.

Standard library only, for it runs every few seconds; ``worker`` alone imports Celery. Exits with 0
or with a sentence.
"""

import json
import os
import socket
import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

AIRFLOW = f"{os.environ.get('HEALTH_AIRFLOW', 'http://api-server:8080')}/api/v2/monitor/health"
# The components report every 5 s at the latest.
FRESH = timedelta(seconds=45)


def http(url: str) -> str:
    """Fails unless the address answers with 200 to 399; returns the body."""
    # A proxy of the machine knows nothing of the names in here.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return str(answer.read().decode())
    except OSError as error:
        sys.exit(f"{url}: {error}")


def airflow(component: str) -> None:
    """Whether Airflow has heard of a component lately; the status code does not tell."""
    found = json.loads(http(AIRFLOW)).get(component)
    if found is None:
        sys.exit(f"Airflow does not know of a {component}")
    if found["status"] != "healthy":
        sys.exit(f"{component} is {found['status']}")
    if component == "metadatabase":
        return
    beat = datetime.fromisoformat(found[f"latest_{component}_heartbeat"])
    if datetime.now(UTC) - beat > FRESH:
        sys.exit(f"the last sign of life of {component} is of {beat}")


def worker() -> None:
    """Whether this container's Celery worker answers over the broker."""
    from celery import Celery

    name = f"celery@{socket.gethostname()}"
    # Secrets are in the environment of the worker alone; a check is a process of its own.
    lines = Path("/run/course/worker.env").read_text("utf-8").splitlines()
    broker = dict(line.split("=", 1) for line in lines)["AIRFLOW__CELERY__BROKER_URL"]
    if not Celery(broker=broker).control.ping(destination=[name], timeout=5):
        sys.exit(f"{name} does not answer")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["http", url]:
            http(url)
        case ["airflow", component]:
            airflow(component)
        case ["worker"]:
            worker()
        case _:
            sys.exit("usage: health.py http URL | airflow COMPONENT | worker")
