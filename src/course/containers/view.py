"""What a person sees of the stack in containers: addresses, and how each service is."""

import json
from collections.abc import Mapping

from rich.table import Table

from course.console import console
from course.containers.compose import Compose
from course.containers.settings import Settings
from course.containers.stack import ONCE, broken, existing, ready
from course.state import ADMIN

SERVICES = {
    "Airflow": ("AIRFLOW_PORT", "ADMIN_PASSWORD"),
    "MLflow": ("MLFLOW_PORT", ""),
    "Model server": ("MODEL_PORT", ""),
    "Reports": ("SITE_PORT", ""),
    "Grafana": ("GRAFANA_PORT", "GRAFANA_PASSWORD"),
    "Prometheus": ("PROMETHEUS_PORT", ""),
    "Alertmanager": ("ALERTMANAGER_PORT", ""),
    "Alert inbox": ("INBOX_PORT", ""),
    "S3": ("S3_PORT", ""),
}
"""Addresses by name: the port, and the secret that is the password of ``admin`` there."""


def show_addresses(settings: Settings, more: Mapping[str, str] | None = None) -> None:
    """Print the addresses of the chosen profiles with their logins; never wrapped or cut."""
    rows: list[tuple[str, str, str]] = []
    for name, (port, secret) in SERVICES.items():
        if port in settings.ports:
            login = f"{ADMIN} / {settings.values[secret]}" if secret else ""
            rows.append((name, settings.url(port), login))
            if name == "Airflow":
                rows += [
                    ("", "", f"{role} / {settings.values[f'{role.upper()}_PASSWORD']}")
                    for role in ("user", "viewer")
                ]
    if "KAFKA_PORT" in settings.ports:
        rows.append(("Kafka", f"127.0.0.1:{settings.ports['KAFKA_PORT']}", ""))
    rows += [(name, address, "") for name, address in (more or {}).items()]
    for name, address, login in rows:
        # Cut or wrapped, it could not be clicked or copied.
        console.print(f"  {name:<13} {address:<24} {login}".rstrip(), markup=False, soft_wrap=True)


def overview() -> bool:
    """Print every container with its health and memory; returns whether all are well."""
    settings = existing()
    compose = Compose(settings)
    memory = _memory(compose)
    containers = sorted(compose.containers(), key=lambda found: str(found["Name"]))
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for title in ("container", "state", "memory", "image"):
        table.add_column(title, justify="right" if title == "memory" else "left")
    for found in containers:
        style = "green" if ready(found) else "red" if broken(found) else "yellow"
        state = "done" if found["Service"] in ONCE and ready(found) else found["Health"]
        state = state or found["State"]
        name = str(found["Name"]).removeprefix(f"{settings.project}-")
        table.add_row(name, f"[{style}]{state}[/]", memory.get(found["Name"], ""), found["Image"])
    missing = set(compose.services()) - {found["Service"] for found in containers}
    console.print(table)
    if missing:
        console.print(f"Not started: {', '.join(sorted(missing))}  → make up", markup=False)
    show_addresses(settings)
    return not missing and all(ready(found) for found in containers)


def _memory(compose: Compose) -> dict[str, str]:
    """Memory in use by container, as ``docker stats`` says."""
    lines = compose.ask("stats", "--no-stream", "--format", "json").splitlines()
    found = [json.loads(line) for line in lines]
    return {value["Name"]: str(value["MemUsage"]).partition(" /")[0] for value in found}
