"""promote_model with real answers: a person says yes or no, or the clock does."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from .conftest import states
from .test_pipelines import asset_events

PATIENCE = 60
Answer = Callable[[Any], None]


@pytest.fixture(scope="module")
def rows(lake_of_nine_months: Any) -> Any:
    """Real rows with their features, enough for a small model."""
    from flightdelays import training_set
    from flightdelays.runs import Window

    return training_set.build(Window("2013-08", "2013-08", "2013-09")).tail(5_000)


@pytest.fixture(scope="module")
def stage(rows: Any) -> Iterator[Callable[[str], int]]:
    """Put a new version of these tests' own model into staging; gives its number."""
    from flightdelays import models, registry
    from flightdelays.dataset import LABEL, feature_columns
    from flightdelays.settings import get_settings

    columns = feature_columns(list(rows.columns))
    fitted = models.make("lightgbm").fit(rows[columns], rows[LABEL])

    def act(validation: str) -> int:
        params = {"train_from": "2013-01", "train_to": "2013-07", "validation": validation}
        run_id, address = registry.log_candidate(fitted, "lightgbm", rows, params, validation)
        for name, value in {"auc": 0.75, "pr_auc": 0.45, "log_loss": 0.4}.items():
            registry.client().log_metric(run_id, name, value)
        return registry.deploy(run_id, address, rows.tail(5))[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLIGHTDELAYS_MODEL_NAME", "promoted")
        get_settings.cache_clear()
        yield act
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def decide(dagbag: Any) -> Callable[..., Any]:
    """Run promote_model and have a thread answer as soon as it asks."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    def answering(moment: datetime, answer: Answer | None, failures: list[Exception]) -> None:
        asked = select(TaskInstance).join(DagRun, TaskInstance.dag_run)
        asked = asked.where(DagRun.logical_date == moment, TaskInstance.state == "awaiting_input")
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                with create_session() as session:
                    if (found := session.scalars(asked).first()) is not None:
                        answer(found)
                        return
                assert time.monotonic() < deadline, "nobody was asked"
                time.sleep(0.2)
        except Exception as error:
            failures.append(error)
            # Otherwise the run waits for ever.
            with create_session() as session:
                run = session.scalar(select(DagRun).where(DagRun.logical_date == moment))
                run.state = "failed"

    def run(answer: Answer | None = None) -> Any:
        moment, failures = datetime.now(UTC), []
        thread = threading.Thread(target=answering, args=(moment, answer, failures))
        if answer:
            thread.start()
        done = dagbag.dags["promote_model"].test(logical_date=moment)
        if answer:
            thread.join()
        assert failures == []
        return done

    return run


def says(option: str, before: Callable[[], object] = lambda: None) -> Answer:
    """Answer as the REST API does for a person who is called Ann."""

    def act(asked: Any) -> None:
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
        from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
        from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail
        from airflow.utils.session import create_session

        before()
        with create_session() as session:
            update_hitl_detail(
                asked.dag_id,
                asked.run_id,
                asked.task_id,
                UpdateHITLDetailPayload(chosen_options=[option]),
                SimpleAuthManagerUser(username="ann", role="admin"),
                session,
            )

    return act


def time_runs_out(asked: Any) -> None:
    """Let the deadline pass, and the scheduler look at the clock."""
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        waiting = session.get(TaskInstance, asked.id)
        assert waiting.trigger_timeout > datetime.now(UTC) + timedelta(hours=23)
        waiting.trigger_timeout = datetime.now(UTC) - timedelta(seconds=1)
    SchedulerJobRunner(Job()).check_awaiting_input_timeouts()


def aliases() -> tuple[int | None, int | None]:
    from flightdelays import registry

    return registry.alias_version("champion"), registry.alias_version("staging")


def verdict(dag_run: Any) -> dict[str, Any]:
    from flightdelays import pages

    place = pages.folder(dag_run.dag_id, dag_run.run_id)
    return json.loads((place / "verdict.json").read_text("utf-8"))


def test_a_first_model_is_champion_already_and_nobody_is_asked(
    stage: Callable[[str], int], decide: Callable[..., Any]
) -> None:
    assert stage("2013-08") == 1
    done = decide()
    assert done.state == "success"
    outcome = states(done)
    asked_and_done = {outcome[name] for name in ("approve", "decide", "promote", "keep")}
    assert asked_and_done == {"skipped"}
    assert verdict(done)["headline"].startswith("nothing to decide: v1 is in staging and")


@pytest.fixture(scope="module")
def challenged(stage: Callable[[str], int]) -> None:
    assert stage("2013-09") == 2
    assert aliases() == (1, 2)


@pytest.mark.parametrize(
    ("answer", "headline"),
    [
        (says("Reject"), "v1 stays the champion: ann rejected v2"),
        (time_runs_out, "v1 stays the champion: nobody decided on v2 in time"),
    ],
    ids=["a no", "silence"],
)
def test_a_no_and_silence_leave_the_champion_and_are_no_failures(
    challenged: None, decide: Callable[..., Any], answer: Answer, headline: str
) -> None:
    before = asset_events("champion_model")
    done = decide(answer)
    assert done.state == "success"
    outcome = states(done)
    assert (outcome["approve"], outcome["promote"], outcome["keep"]) == (
        *("success", "skipped", "success"),
    )
    assert aliases() == (1, 2)
    assert asset_events("champion_model") == before
    found = verdict(done)
    assert found["headline"].startswith(headline)
    assert found["data"]["answer"] == "Reject"
    shown = found["tables"]["Champion and challenger"]
    assert shown["columns"] == ["", "champion v1", "challenger v2"]


def test_a_yes_makes_the_challenger_champion_and_records_who_said_it(
    challenged: None, decide: Callable[..., Any]
) -> None:
    from flightdelays import registry

    before = asset_events("champion_model")
    done = decide(says("Approve"))
    assert asset_events("champion_model") == before + 1
    assert done.state == "success"
    assert (states(done)["promote"], states(done)["keep"]) == ("success", "skipped")
    assert aliases() == (2, 2)
    version = registry.client().get_model_version("promoted", "2")
    assert version.tags[registry.APPROVED_BY] == "ann"
    found = verdict(done)
    assert found["headline"] == "v2 is the champion now, approved by ann; before, v1 was"
    assert found["data"]["answered_by"] == "ann"


def test_an_approval_does_not_carry_over_to_a_version_staged_since(
    challenged: None, stage: Callable[[str], int], decide: Callable[..., Any]
) -> None:
    from flightdelays import registry

    service = registry.client()
    service.set_registered_model_alias("promoted", "champion", "1")
    service.set_registered_model_alias("promoted", "staging", "2")
    done = decide(says("Approve", before=lambda: stage("2013-07")))
    assert done.state == "failed"
    assert states(done)["promote"] == "failed"
    assert states(done)["report"] == "upstream_failed"
    assert aliases() == (1, 3)
