"""Asset events become trainings, each request once; the training itself is run in tests/live."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .conftest import states

Run = Callable[..., Any]


def message(event_id: str, offset: int, month: str = "2013-09", **fields: Any) -> dict[str, Any]:
    """What the trigger makes of a message."""
    from flightdelays.requests import Arrival, TrainingRequest

    request = TrainingRequest(event_id=event_id, month=month, reason="test", **fields)
    sent_at = datetime.now(UTC) + timedelta(milliseconds=offset)
    arrival = Arrival(request=request, origin=f"topic[0]@{offset}", sent_at=sent_at)
    return arrival.model_dump(mode="json")


def store_events(*payloads: Any) -> None:
    """Events of the asset, as the triggerer stores them."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        asset = session.scalar(select(AssetModel.id).where(AssetModel.name == "training_requests"))
        for payload in payloads:
            extra = {"from_trigger": True, "payload": payload}
            session.add(AssetEvent(asset_id=asset, extra=extra))


def training_has_run(run_id: str, state: str = "success") -> None:
    """A run of the training pipeline, with its verdict, as the scheduler would have made it."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunType

    from flightdelays.report import report_folder
    from flightdelays.settings import get_settings

    with create_session() as session:
        session.add(
            DagRun(
                dag_id="train_delay_model",
                run_id=run_id,
                run_type=DagRunType.OPERATOR_TRIGGERED,
                state=state,
                run_after=datetime.now(UTC),
            )
        )
    verdict = {
        "model": "hist_gradient",
        "train_from": "2013-08",
        "train_to": "2013-08",
        "validation_month": "2013-09",
        "metrics": {"auc": 0.75},
        "deployed": False,
    }
    folder = report_folder(run_id, get_settings())
    folder.mkdir(parents=True)
    (folder / "verdict.json").write_text(json.dumps(verdict))


def result(dag_run: Any, task_id: str) -> Any:
    """What a task of a run returned."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.scalars(
            XComModel.get_many(
                run_id=dag_run.run_id, dag_ids=dag_run.dag_id, task_ids=task_id, key="return_value"
            )
        ).first()
        return XComModel.deserialize_value(found)


def test_without_a_request_the_rest_is_skipped(run: Run) -> None:
    done = run("retrain_on_event")
    assert done.state == "success"
    assert states(done) == {"accept": "success", "train": "skipped", "report": "skipped"}
    assert result(done, "accept") == []


def test_a_burst_becomes_one_training_a_month_the_urgent_one_first_and_a_report(
    run: Run,
) -> None:
    run("retrain_on_event")
    store_events(
        message("first", 1, "2013-08"),
        {"anything": "made by hand"},
        message("second", 2, train_from="2013-08"),
        message("third", 3, "2013-08", priority="low"),
        message("first", 4, "2013-08"),
        message("urgent", 5, train_from="2013-08", priority="high"),
    )
    for run_id in ("request__urgent", "request__first"):
        training_has_run(run_id)
    done = run("retrain_on_event")
    assert done.state == "success"
    assert states(done) == {
        "accept": "success",
        "train[0]": "success",
        "train[1]": "success",
        "report": "success",
    }
    orders = result(done, "accept")
    assert [order["trigger_run_id"] for order in orders] == ["request__urgent", "request__first"]
    assert orders[0]["conf"] == {
        "model": "hist_gradient",
        "train_from": "2013-08",
        "validation_month": "2013-09",
    }
    verdict = json.loads(Path(result(done, "report")).read_text("utf-8"))
    assert verdict["headline"] == "2 trainings served 4 requests."
    assert verdict["facts"][-1] == "1 duplicate left out: each event is trained once."
    # The same events again, as after a triggerer that died: nothing is new.
    again = run("retrain_on_event")
    assert states(again) == {"accept": "success", "train": "skipped", "report": "skipped"}


def test_a_paused_training_pipeline_and_a_failed_training_fail_the_task_at_once(run: Run) -> None:
    run("retrain_on_event")
    store_events(message("paused", 11, model="logistic"))
    stopped = run("retrain_on_event")
    assert stopped.state == "failed"
    assert states(stopped)["train[0]"] == "failed"
    assert tries(stopped) == 1
    training_has_run("request__failed", state="failed")
    store_events(message("failed", 12, model="catboost"))
    broken = run("retrain_on_event")
    assert broken.state == "failed"
    assert tries(broken) == 1
    from flightdelays import ledger

    assert ledger.entry("paused").training == "request__paused"


def tries(dag_run: Any) -> int:
    """How often the training task was tried."""
    (ti,) = [ti for ti in dag_run.get_task_instances() if ti.task_id == "train"]
    return int(ti.try_number)
