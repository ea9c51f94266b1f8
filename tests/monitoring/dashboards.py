"""The dashboards' queries, as Prometheus is asked them."""

import json
from typing import Any

from .names import MONITORING

CHOICES = {"$dag_id": ".*"}
"""What stands for a template variable if everything is chosen."""


def dashboards() -> dict[str, dict[str, Any]]:
    """The content of the dashboards' files by name."""
    files = sorted((MONITORING / "grafana" / "dashboards").glob("*.json"))
    return {file.stem: json.loads(file.read_text("utf-8")) for file in files}


def filled(expr: str) -> str:
    """A query with all DAGs chosen; ValueError if it has a variable that nobody knows."""
    for name, value in CHOICES.items():
        expr = expr.replace(name, value)
    if "$" in expr:
        raise ValueError(f"nothing stands for a variable in {expr}")
    return expr


def panel_queries() -> list[tuple[str, str, str]]:
    """Dashboard, title of the panel and query of all that the dashboards ask."""
    return [
        (name, panel["title"], filled(target["expr"]))
        for name, dashboard in dashboards().items()
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]
