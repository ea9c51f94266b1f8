"""Writes the dashboards in `dashboards/`: run it after a change here.

A dashboard is a list of panels, and a panel is a question with its query; all else, from the
places to the ids, is the same for all and stands here once. Grafana reads the JSON only.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("dashboards")
SOURCE = {"type": "prometheus", "uid": "prometheus"}
WIDTH = 24
GREEN, ORANGE, RED = "green", "orange", "red"
SINCE_START = "Since the exporter was started."
PERCENTILES = (0.5, 0.95, 0.99)
DAG = 'dag_id=~"$dag_id"'


@dataclass(frozen=True)
class Panel:
    """A question with the queries that answer it, as pairs of PromQL and legend.

    ``limits`` are the values from which on the colour is orange, or orange and then red;
    ``falling`` turns that round. ``matrix`` shows a table with a column for each value of the
    first label and a row for each of the second; ``bars`` has a bar for each value of a label.
    """

    title: str
    description: str
    unit: str
    queries: Sequence[tuple[str, str]]
    kind: str = "timeseries"
    width: int = 12
    height: int = 8
    limits: Sequence[float] = ()
    falling: bool = False
    decimals: int | None = None
    matrix: tuple[str, str] | None = None
    bars: str | None = None
    stairs: bool = False


@dataclass(frozen=True)
class Dashboard:
    """One of the four levels of lecture 8."""

    uid: str
    title: str
    description: str
    panels: Sequence[Panel]
    dags: str | None = None
    """Series from whose label `dag_id` one chooses; None without a choice."""
    span: str = "now-24h"
    annotations: Sequence[dict[str, Any]] = field(default_factory=tuple)


def percentiles(buckets: str, by: str, legend: str, of: Sequence[float] = PERCENTILES) -> Any:
    """A query for each percentile of the buckets of a histogram, put together by some labels."""
    groups = ", ".join(filter(None, ("le", by)))
    return [
        (
            f"histogram_quantile({q}, sum by ({groups}) ({buckets}))",
            f"{legend} p{q * 100:.0f}".strip(),
        )
        for q in of
    ]


DAGS = Dashboard(
    uid="course-dags",
    title="DAGs",
    description="Is the result there in time? Runs, their durations, deadlines.",
    dags='{__name__=~"course:dagruns_(succeeded|failed):total"}',
    panels=[
        Panel(
            "Success rate",
            "Share of the finished runs that succeeded. " + SINCE_START,
            "percentunit",
            [
                (
                    f"course:dagruns_succeeded:total{{{DAG}}} / "
                    f"(course:dagruns_succeeded:total{{{DAG}}} + "
                    f"course:dagruns_failed:total{{{DAG}}})",
                    "{{dag_id}}",
                )
            ],
            kind="bargauge",
            limits=(0.9, 0.99),
            falling=True,
            decimals=0,
        ),
        Panel(
            "Deadlines missed",
            "Runs that were not done in time, as the scheduler noticed, and those of which people "
            "were told: a run that has failed is not told again. " + SINCE_START,
            "short",
            [
                (
                    f"sum(airflow_deadline_alerts_deadline_missed{{{DAG}}}) or vector(0)",
                    "missed",
                ),
                (f"sum(airflow_runs_late{{{DAG}}}) or vector(0)", "told"),
            ],
            kind="stat",
            width=4,
            limits=(1,),
            decimals=0,
        ),
        Panel(
            "Last good training",
            "How long ago a training of the DAG succeeded, all of it. After 26 hours without one "
            "of train_delay_model a person is told.",
            "s",
            [(f"time() - course:training_last_success:seconds{{{DAG}}}", "{{dag_id}}")],
            kind="stat",
            width=8,
            limits=(24 * 3600, 26 * 3600),
        ),
        Panel(
            "Duration of good runs, last day",
            "Half of the runs are done within p50, nearly all within p95; p99 is where the hanging "
            "connection lives. Of few runs, the higher ones are the slowest run.",
            "s",
            percentiles(f"course:dagrun_duration_bucket:1d{{{DAG}}}", "dag_id", "{{dag_id}}"),
            width=24,
            height=10,
        ),
        Panel(
            "Runs that succeeded",
            "Within the 15 minutes before each point.",
            "short",
            [(f"course:dagruns_succeeded:15m{{{DAG}}}", "{{dag_id}}")],
            decimals=0,
        ),
        Panel(
            "Runs that failed",
            "Within the 15 minutes before each point; any is an alert.",
            "short",
            [(f"sum by (dag_id) (course:dagruns_failed:15m{{{DAG}}}) or vector(0)", "{{dag_id}}")],
            limits=(1,),
            decimals=0,
        ),
        Panel(
            "Runs going on",
            "All DAGs together.",
            "short",
            [("airflow_scheduler_dagruns_running", "running")],
            decimals=0,
        ),
    ],
)

TASKS = Dashboard(
    uid="course-tasks",
    title="Tasks",
    description="Where does the time go, and what fails?",
    dags="airflow_ti_finish",
    panels=[
        Panel(
            "Duration by task, last day",
            "The p95: what nearly every try of the task keeps to.",
            "s",
            percentiles(
                f"course:task_duration_bucket:1d{{{DAG}}}",
                "dag_id, task_id",
                "{{dag_id}}.{{task_id}}",
                (0.95,),
            ),
            height=10,
        ),
        # [START wait]
        Panel(
            "Wait for a slot by task, last day",
            "The p95 of the time between scheduled and queued. A task that waits long and runs "
            "briefly needs a free slot, not faster code. How long it then waits for a worker is "
            "what Airflow 3.3 no longer sends (task.queued_duration).",
            "s",
            percentiles(
                f"course:task_scheduled_duration_bucket:1d{{{DAG}}}",
                "dag_id, task_id",
                "{{dag_id}}.{{task_id}}",
                (0.95,),
            ),
            height=10,
            limits=(30, 120),
        ),
        # [END wait]
        Panel(
            "Duration of all tasks",
            "Percentiles over all chosen DAGs. " + SINCE_START,
            "s",
            percentiles(f"airflow_task_duration_bucket{{{DAG}}}", "", ""),
        ),
        Panel(
            "Wait of all tasks for a slot",
            "Percentiles over all chosen DAGs. " + SINCE_START,
            "s",
            percentiles(f"airflow_task_scheduled_duration_bucket{{{DAG}}}", "", ""),
            limits=(30, 120),
        ),
        Panel(
            "Ends of tries",
            "How tries ended, by state. " + SINCE_START,
            "short",
            [(f"sum by (state) (airflow_ti_finish{{{DAG}}})", "{{state}}")],
            decimals=0,
        ),
        Panel(
            "Failed for good, and tried again",
            "A try that is repeated mends itself, or tells of a task that is not to be relied on. "
            + SINCE_START,
            "short",
            [
                (f'sum(airflow_ti_finish{{{DAG}, state="failed"}}) or vector(0)', "failed"),
                (
                    f'sum(airflow_ti_finish{{{DAG}, state="up_for_retry"}}) or vector(0)',
                    "tried again",
                ),
            ],
            limits=(1,),
            decimals=0,
        ),
        Panel(
            "Most time in all",
            "The ten tasks that took most of the workers' time. " + SINCE_START,
            "s",
            [
                (
                    f"topk(10, sum by (dag_id, task_id) (airflow_task_duration_sum{{{DAG}}}))",
                    "{{dag_id}}.{{task_id}}",
                )
            ],
            kind="bargauge",
            height=10,
        ),
        Panel(
            "Tasks going on",
            "How many are in a state now; deferred ones wait without a worker.",
            "short",
            [
                (f"sum(airflow_ti_{state}{{{DAG}}}) or vector(0)", state)
                for state in ("scheduled", "queued", "running", "deferred")
            ],
            height=10,
            decimals=0,
        ),
    ],
)

SYSTEM = Dashboard(
    uid="course-system",
    title="System",
    description="Can anything run at all? Airflow's own parts, database, broker.",
    span="now-3h",
    panels=[
        Panel(
            "Services that answer",
            "1: Prometheus gets numbers from it. kafka is there with the profile events only.",
            "short",
            [("up", "{{job}}")],
            kind="stat",
            limits=(0.5, 1),
            falling=True,
            height=6,
        ),
        Panel(
            "DAG files that do not import",
            "Their DAGs get no new runs, or run old code.",
            "short",
            [("max(airflow_dag_processing_import_errors) or vector(0)", "files")],
            kind="stat",
            width=6,
            height=6,
            limits=(1,),
            decimals=0,
        ),
        Panel(
            "Starving pools",
            "Tasks that cannot be queued because their pool has no open slot.",
            "short",
            [("airflow_scheduler_tasks_starving", "tasks")],
            kind="stat",
            width=6,
            height=6,
            limits=(1,),
            decimals=0,
        ),
        Panel(
            "Heartbeats",
            "Signs of life in a minute. One that falls to 0 is dead or hangs.",
            "short",
            [
                (f"sum(increase(airflow_{part}_heartbeat[1m]))", part)
                for part in ("scheduler", "dag_processor", "triggerer")
            ],
        ),
        Panel(
            "A round of the scheduler",
            "How long the scheduler takes to look at all that is due. Every wait begins here.",
            "s",
            percentiles("rate(airflow_scheduler_scheduler_loop_duration_bucket[5m])", "", ""),
            limits=(1, 5),
        ),
        Panel(
            "From ready to queued",
            "What the scheduler and full pools cost a task whose turn has come. " + SINCE_START,
            "s",
            percentiles("airflow_task_scheduled_duration_bucket", "", ""),
            limits=(10, 60),
        ),
        Panel(
            "Queue",
            "Tasks that wait for a worker, and those that the executor has handed out.",
            "short",
            [
                ("course:tasks_queued:sum", "waiting for a worker"),
                ("sum(airflow_executor_queued_tasks)", "not yet with the broker"),
                ("sum(airflow_executor_running_tasks)", "handed out"),
            ],
            limits=(10,),
            decimals=0,
        ),
        Panel(
            "Pools: slots in use",
            "Slots of tasks that run.",
            "short",
            [("airflow_pool_running_slots", "{{pool_name}}")],
            decimals=0,
        ),
        Panel(
            "Pools: tasks that wait for a slot",
            "More than none for long, while no slot is open: the pool is starved.",
            "short",
            [("airflow_pool_scheduled_slots", "{{pool_name}}")],
            limits=(1,),
            decimals=0,
        ),
        Panel(
            "Pools: open slots",
            "Slots that a task could take now.",
            "short",
            [('airflow_pool_open_slots{pool_name!="default_pool"}', "{{pool_name}}")],
            decimals=0,
        ),
        Panel(
            "Triggers",
            "Deferred tasks and waits for events in the triggerers.",
            "short",
            [("sum(airflow_triggers_running)", "running")],
            decimals=0,
        ),
        Panel(
            "Database connections",
            "Of Airflow's database by state, beside the most that PostgreSQL allows in all.",
            "short",
            [
                ('sum by (state) (pg_stat_activity_count{datname="airflow"})', "{{state}}"),
                ("max(pg_settings_max_connections)", "allowed"),
            ],
            decimals=0,
        ),
        Panel(
            "Consumer lag",
            "Messages in Kafka that nobody has taken yet. A reader that lives takes them at once.",
            "short",
            [("sum by (group, topic) (kafka_consumergroup_lag)", "{{group}} in {{topic}}")],
            limits=(1,),
            decimals=0,
        ),
        Panel(
            "A round of the dag-processor",
            "How long it takes to read all DAG files once: as long may a change wait.",
            "s",
            [("airflow_dag_processing_total_parse_time", "all files")],
            limits=(30, 120),
        ),
        Panel(
            "Parse time by DAG file",
            "The p95. A slow one does at the top of the file what a task should do. " + SINCE_START,
            "s",
            percentiles(
                "airflow_dag_processing_last_duration_bucket",
                "file_name",
                "{{file_name}}",
                (0.95,),
            ),
            limits=(5, 30),
        ),
    ],
)

MODEL = Dashboard(
    uid="course-model",
    title="Model",
    description="Is the model still worth anything? What trainings and monitor_drift found.",
    dags="airflow_training_auc",
    span="now-7d",
    annotations=[
        {
            "name": "Deployments",
            "expr": "airflow_model_deployed_at * 1000",
            "iconColor": "purple",
            "titleFormat": "{{alias}}",
            "textFormat": "A version was given the alias {{alias}}",
            "tagKeys": "alias",
            # The series' value is the moment; its samples only repeat it.
            "useValueForTime": True,
        }
    ],
    panels=[
        Panel(
            "Version in use",
            "The version of the model that has the alias.",
            "none",
            [("max by (alias) (airflow_model_version)", "{{alias}}")],
            kind="stat",
            width=6,
            height=6,
            decimals=0,
        ),
        Panel(
            "Since it was deployed",
            "How long the version has had the alias.",
            "s",
            [("time() - max by (alias) (airflow_model_deployed_at)", "{{alias}}")],
            kind="stat",
            width=6,
            height=6,
        ),
        Panel(
            "AUC lost by the champion",
            "Since it was deployed, in the month that monitor_drift looked at last. Above 0.03 a "
            "retraining is asked for; below 0 it has become better.",
            "none",
            [("max(airflow_drift_auc_fall)", "lost")],
            kind="stat",
            width=6,
            height=6,
            limits=(0.02, 0.03),
            decimals=3,
        ),
        Panel(
            "Refused and deployed",
            "Candidates that the gate refused, and versions that were given an alias. "
            + SINCE_START,
            "short",
            [
                ("sum(airflow_gate_refused) or vector(0)", "refused"),
                ("sum by (alias) (airflow_model_deployments)", "{{alias}}"),
            ],
            kind="stat",
            width=6,
            height=6,
            decimals=0,
        ),
        Panel(
            "AUC of the champion by month",
            "What monitor_drift measured last of each month after the training.",
            "none",
            [("max by (month) (airflow_drift_auc)", "AUC")],
            bars="month",
            limits=(0.7, 0.74),
            falling=True,
            decimals=3,
        ),
        Panel(
            "Mean PSI by month",
            "How far the delay features have moved since the training, averaged over them. Above "
            "0.2 a retraining is asked for.",
            "none",
            [("avg by (month) (airflow_drift_psi)", "PSI")],
            bars="month",
            limits=(0.1, 0.2),
            decimals=2,
        ),
        Panel(
            "PSI by feature and month",
            "Which feature moved. Single ones pass 0.2 with the seasons; the mean decides.",
            "none",
            [("max by (feature, month) (airflow_drift_psi)", "PSI")],
            matrix=("month", "feature"),
            width=24,
            height=12,
            limits=(0.1, 0.2),
            decimals=2,
        ),
        Panel(
            "AUC of trainings",
            "On the validation month of each training. Purple lines are deployments.",
            "none",
            [(f"airflow_training_auc{{{DAG}}}", "{{dag_id}}")],
            decimals=3,
            stairs=True,
        ),
        Panel(
            "Rows of trainings",
            "Flights that the model was fitted on. A fall means that data is missing.",
            "short",
            [(f"airflow_training_rows{{{DAG}}}", "{{dag_id}}")],
            decimals=0,
            stairs=True,
        ),
        Panel(
            "Duration of the fit",
            "The fit alone, without data and judgement. " + SINCE_START,
            "s",
            percentiles(f"airflow_training_fit_bucket{{{DAG}}}", "dag_id", "{{dag_id}}"),
        ),
        Panel(
            "Version by alias",
            "Staging goes first, and the champion follows once a person has approved.",
            "none",
            [("max by (alias) (airflow_model_version)", "{{alias}}")],
            decimals=0,
            stairs=True,
        ),
    ],
)

ALL = {"dags": DAGS, "tasks": TASKS, "system": SYSTEM, "model": MODEL}


def steps(panel: Panel) -> list[dict[str, Any]]:
    """The colours by value; Grafana wants the first without one."""
    if not panel.limits:
        return [{"color": GREEN, "value": None}]
    colours = [GREEN, ORANGE, RED] if len(panel.limits) == 2 else [GREEN, RED]
    if panel.falling:
        colours.reverse()
    values = [None, *panel.limits]
    return [{"color": c, "value": v} for c, v in zip(colours, values, strict=True)]


def kind_of(panel: Panel) -> str:
    """Grafana's name of the panel's type."""
    return "barchart" if panel.bars else "table" if panel.matrix else panel.kind


def options(panel: Panel) -> dict[str, Any]:
    """What a type of panel wants to know."""
    reduce = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    return {
        "timeseries": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "stat": {"reduceOptions": reduce, "colorMode": "value", "textMode": "value_and_name"},
        "bargauge": {
            "reduceOptions": reduce,
            "displayMode": "basic",
            "orientation": "horizontal",
            "valueMode": "color",
        },
        "barchart": {
            "xField": panel.bars,
            "orientation": "auto",
            "showValue": "always",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
            "tooltip": {"mode": "single", "sort": "none"},
        },
        "table": {"showHeader": True, "cellHeight": "sm"},
    }[kind_of(panel)]


def custom(panel: Panel) -> dict[str, Any]:
    """How the values of a type of panel are drawn."""
    kind = kind_of(panel)
    if kind == "timeseries":
        line = {
            "drawStyle": "line",
            "fillOpacity": 10,
            "lineWidth": 1,
            "showPoints": "never",
            "lineInterpolation": "stepAfter" if panel.stairs else "linear",
        }
        return line | ({"thresholdsStyle": {"mode": "dashed"}} if panel.limits else {})
    if kind == "table":
        return {"align": "auto", "cellOptions": {"type": "color-background", "mode": "basic"}}
    return {"fillOpacity": 80} if kind == "barchart" else {}


def transformations(panel: Panel) -> list[dict[str, Any]]:
    """From rows of labels and a value to what a table or a bar chart shows."""
    if panel.matrix:
        column, row = panel.matrix
        fields = {"columnField": column, "rowField": row, "valueField": "Value"}
        sort = {"fields": {}, "sort": [{"field": column}]}
        return [
            {"id": "sortBy", "options": sort},
            {"id": "groupingToMatrix", "options": fields},
            {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": f"{row}\\{column}"}]}},
        ]
    if panel.bars:
        return [
            {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": panel.bars}]}},
            {"id": "organize", "options": {"excludeByName": {"Time": True}}},
        ]
    return []


def panel_json(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    """A panel as Grafana stores it."""
    table = bool(panel.matrix or panel.bars)
    instant = table or panel.kind in ("stat", "bargauge")
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "color": {"mode": "thresholds" if instant else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": steps(panel)},
        "custom": custom(panel),
        "mappings": [],
    }
    if panel.decimals is not None:
        defaults["decimals"] = panel.decimals
    return {
        "id": number,
        "type": kind_of(panel),
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options(panel),
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": SOURCE,
                "expr": expr,
                "legendFormat": legend,
                "editorMode": "code",
                "instant": instant,
                "range": not instant,
                "format": "table" if table else "time_series",
            }
            for place, (expr, legend) in enumerate(panel.queries)
        ],
        "transformations": transformations(panel),
    }


def variables(dashboard: Dashboard) -> list[dict[str, Any]]:
    """The choice of DAGs, where there is one."""
    if dashboard.dags is None:
        return []
    query = f"label_values({dashboard.dags}, dag_id)"
    return [
        {
            "name": "dag_id",
            "label": "DAG",
            "description": "The DAGs to look at",
            "type": "query",
            "datasource": SOURCE,
            "definition": query,
            "query": {"query": query, "refId": "variable", "qryType": 1},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]},
            "options": [],
            "hide": 0,
        }
    ]


def dashboard_json(dashboard: Dashboard) -> dict[str, Any]:
    """A dashboard as Grafana stores it; the panels fill line by line."""
    panels: list[dict[str, Any]] = []
    x = y = tallest = 0
    for number, panel in enumerate(dashboard.panels, start=1):
        if x + panel.width > WIDTH:
            x, y, tallest = 0, y + tallest, 0
        panels.append(panel_json(panel, number, x, y))
        x, tallest = x + panel.width, max(tallest, panel.height)
    annotations = [
        each | {"datasource": SOURCE, "enable": True, "hide": False}
        for each in dashboard.annotations
    ]
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["course"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "timezone": "utc",
        "time": {"from": dashboard.span, "to": "now"},
        "timepicker": {},
        "fiscalYearStartMonth": 0,
        "annotations": {"list": annotations},
        "templating": {"list": variables(dashboard)},
        "links": [
            {
                "type": "dashboards",
                "title": "Other levels",
                "tags": ["course"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "icon": "external link",
                "tooltip": "",
                "url": "",
            }
        ],
        "panels": panels,
    }


def text(dashboard: Dashboard) -> str:
    """The content of a dashboard's file."""
    return json.dumps(dashboard_json(dashboard), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, made in ALL.items():
        (FOLDER / f"{name}.json").write_text(text(made), "utf-8")
