"""What the stack tells about itself: metrics with labels, alerts that arrive, dashboards."""

from typing import Any

import pytest
from tests.monitoring.dashboards import panel_queries

from course.containers.sandbox import Sandbox, wait

pytestmark = pytest.mark.stack
LATE = "monitored_training"


def messages(stack: Sandbox, text: str) -> list[dict[str, Any]]:
    """What the inbox holds that contains a text."""
    return list(stack.get("INBOX_PORT", "/messages", contains=text))


def test_every_target_is_scraped(stack: Sandbox) -> None:
    targets = stack.get("PROMETHEUS_PORT", "/api/v1/targets")["data"]["activeTargets"]
    assert [t["scrapeUrl"] for t in targets if t["health"] != "up"] == []
    assert {t["labels"]["job"] for t in targets} >= {
        "statsd-exporter",
        "postgres",
        "kafka",
        "model-server",
        "s3",
    }


def test_metrics_have_labels(stack: Sandbox) -> None:
    [finished] = stack.query(
        'airflow_ti_finish{dag_id="train_delay_model",task_id="deploy",state="success"}'
    )
    assert float(finished["value"][1]) >= 1
    pools = {found["metric"].get("pool_name") for found in stack.query("airflow_pool_open_slots")}
    assert {"default_pool", "memory", "training"} <= pools
    [auc] = stack.query('airflow_training_auc{dag_id="train_delay_model"}')
    assert 0.7 < float(auc["value"][1]) < 0.8
    assert stack.query('pg_stat_activity_count{datname="airflow"}')
    assert stack.query('kafka_consumergroup_lag{group="retrain_on_event"}')


def test_what_the_catalogue_promises_and_nobody_sends(stack: Sandbox) -> None:
    """Lecture 8 and the dashboards count on the one, and warn of the other."""
    assert stack.query("airflow_task_scheduled_duration_count")
    assert stack.query("airflow_task_queued_duration_count") == []


def test_a_late_run_is_an_alert(stack: Sandbox) -> None:
    """Before any failure: while a run of a DAG has failed, its deadlines are silent."""
    stack.api.pause(LATE, paused=False)
    stack.api.trigger(LATE, {"plant": "slow"})
    wait(lambda: messages(stack, f"Late: {LATE}"), "the notice", 240)
    wait(lambda: messages(stack, "DeadlineMissed"), "the alert", 180)


def test_a_failure_reaches_people_twice(stack: Sandbox) -> None:
    """The pipeline's own notice tells which task and why; the alert tells that it happened."""
    run_id = stack.api.trigger(LATE, {"plant": "failure"})
    assert stack.finish(LATE, run_id)["state"] == "failed"
    [notice] = wait(lambda: messages(stack, f"Failed: {LATE}"), "the notice of the pipeline")
    assert run_id in notice["body"]
    alerts = wait(
        lambda: [m for m in messages(stack, "RunFailed") if LATE in str(m)], "the alert", 180
    )
    assert {"webhook"} <= {alert["kind"] for alert in alerts}


def test_every_panel_has_data(stack: Sandbox) -> None:
    empty = [
        (dashboard, title) for dashboard, title, query in panel_queries() if not stack.query(query)
    ]
    assert empty == []


@pytest.mark.long
def test_a_silent_scheduler_is_an_alert(stack: Sandbox) -> None:
    stack.compose.ask("stop", "scheduler")
    try:
        mails = wait(lambda: messages(stack, "SchedulerSilent"), "the alert", 240)
    finally:
        stack.compose.ask("start", "scheduler")
    assert {"mail", "webhook"} <= {mail["kind"] for mail in mails}
    wait(
        lambda: stack.api.health()["scheduler"]["status"] == "healthy", "the scheduler is back", 120
    )
