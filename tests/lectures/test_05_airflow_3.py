"""Lecture 5: what it says of mapping, assets, versions, retries and checkpoints."""

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest


def test_a_call_is_a_dependency_and_a_return_value_an_xcom(snippet: Any) -> None:
    lesson = snippet("l05_taskflow")
    run = lesson.run()
    assert run.one("fit").returned == "model of raw/2013-09.parquet.train"
    dag = lesson.dag()
    assert dag.get_task("fit").upstream_task_ids == {"split"}
    assert {"split.train", "split.test", "split.return_value"} <= set(run.xcoms)


def test_a_promise_cannot_be_looped_over(parsing: Any) -> None:
    text = """
from airflow.sdk import dag, task

@dag
def looping():
    @task
    def months():
        return ["2013-01"]

    for month in months():
        pass

looping()
"""
    (error,) = parsing(text).import_errors.values()
    assert "'XComArg' object is not iterable" in error


def test_a_task_does_not_see_the_database() -> None:
    # As the process of a task does it, before any code of the task runs.
    program = (
        "from airflow.sdk.execution_time.supervisor import block_orm_access\n"
        "from airflow import settings\n"
        "block_orm_access()\n"
        "settings.Session()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "RuntimeError: Direct database access via the ORM is not allowed" in done.stderr


# --- Mapping -------------------------------------------------------------------------------


def test_there_are_as_many_instances_as_entries_and_they_have_names(snippet: Any) -> None:
    run = snippet("l05_mapping").run({"months": ["2013-03", "2013-04"]})
    assert [each.name for each in run.of("count")] == ["2013-03", "2013-04"]
    assert run.one("add_up").returned == ["2013-03", "2013-04"]


def test_one_that_fails_leaves_the_others_and_its_result_is_missing(snippet: Any) -> None:
    run = snippet("l05_mapping").run()
    assert [each.state for each in run.of("count")] == ["success", "failed", "success"]
    assert run.one("add_up").returned == ["2013-01", "2013-03"]
    assert run.state == "success"


def test_an_empty_list_skips_the_mapped_task_and_all_done_runs_all_the_same(snippet: Any) -> None:
    run = snippet("l05_mapping").run({"months": []})
    assert [each.state for each in run.of("count")] == ["skipped"]
    assert run.one("add_up").state == "success"
    assert run.one("add_up").returned == []


def test_expand_makes_all_pairs_and_expand_kwargs_one_for_each_entry(snippet: Any) -> None:
    run = snippet("l05_expansions").run()
    assert [each.name for each in run.of("one_line_each")] == ["0", "1"]
    assert len(run.of("each_with_each")) == 2 * 3
    assert [each.returned for each in run.of("one_line_each")] == [
        "logistic 2013-08",
        "lightgbm 2013-09",
    ]


def test_a_list_that_is_too_long_fails_the_task_that_makes_it(snippet: Any) -> None:
    from airflow.sdk.configuration import conf

    assert conf.getint("core", "max_map_length") == 1024
    run = snippet("l05_mapping").run({"months": [str(number) for number in range(1_025)]})
    assert run.one("months").state == "failed"
    assert [each.state for each in run.of("count")] == ["upstream_failed"]


def test_a_last_task_with_all_done_turns_a_failed_run_green(snippet: Any) -> None:
    run = snippet("l05_mapping").run(fail={"months": 1})
    assert (run.one("months").state, run.one("add_up").state) == ("failed", "success")
    assert run.state == "success"


# --- Assets --------------------------------------------------------------------------------


def test_the_consumer_learns_from_the_event_which_month_is_new(snippet: Any) -> None:
    lesson = snippet("l05_assets")
    assert lesson.run(dag_id="l05_assets_land").state == "success"
    run = lesson.run(dag_id="l05_assets_train")
    assert run.one("newest").returned == "2013-09"


def test_an_asset_function_is_a_dag_of_one_task_and_an_asset(snippet: Any) -> None:
    lesson = snippet("l05_assets")
    run = lesson.run(dag_id="l05_assets_airports")
    assert run.state == "success"
    (task,) = lesson.dag("l05_assets_airports").tasks
    assert [each.uri for each in task.outlets] == ["lake://lecture/airports"]


def test_a_task_that_fails_updates_no_asset(snippet: Any) -> None:
    before = events("l05_flights")
    run = snippet("l05_assets").run(dag_id="l05_assets_land", fail={"land": 1})
    assert run.state == "failed"
    assert events("l05_flights") == before


def events(name: str) -> int:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    with create_session() as session:
        chosen = select(func.count(AssetEvent.id)).join(AssetModel, AssetEvent.asset)
        return session.scalar(chosen.where(AssetModel.name == name))


# --- Versions ------------------------------------------------------------------------------

TEXT = '''"""{documentation}"""
from airflow.sdk import dag, task

@dag(schedule=None, doc_md=__doc__)
def l05_versions():
    @task
    def first():
        return {value}

    @task{arguments}
    def second():
        pass

    @task(max_active_tis_per_dagrun=2)
    def many(number):
        pass

    many.expand(number=[1, 2, 3, 4, 5])

    first() >> second()

l05_versions()
'''


@pytest.fixture
def stored(database: None, parsing: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Store a variant of the DAG as the DAG processor would; gives its version number."""
    # Otherwise it stores a DAG once in 30 seconds.
    monkeypatch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0")

    def store(bundle_version: str | None = None, **parts: str) -> int:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import sync_bag_to_db
        from airflow.models.dag_version import DagVersion

        parts = {"documentation": "One.", "value": "1", "arguments": ""} | parts
        bag = parsing(TEXT.format(**parts))
        assert not bag.import_errors
        DagBundlesManager().sync_bundles_to_db()
        sync_bag_to_db(bag, "dags-folder", bundle_version)
        return DagVersion.get_latest_version("l05_versions").version_number

    return store


@pytest.fixture
def begun(stored: Any) -> Any:
    """Begin a run of what is stored; its first task is done."""

    def begin(bundle_version: str | None = None) -> Any:
        from airflow.models.serialized_dag import SerializedDagModel
        from airflow.sdk import DagRunState, TaskInstanceState
        from airflow.utils.session import create_session
        from airflow.utils.types import DagRunTriggeredByType, DagRunType

        moment = datetime.now(UTC)
        with create_session() as session:
            dag = SerializedDagModel.get_dag("l05_versions", session=session)
            run = dag.create_dagrun(
                run_id=f"manual__{moment.isoformat()}",
                run_after=moment,
                run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.TEST,
                state=DagRunState.RUNNING,
                session=session,
            )
            run.get_task_instance("first", session=session).state = TaskInstanceState.SUCCESS
        assert run.bundle_version == bundle_version
        return run

    return begin


def looked_at_again(run: Any) -> tuple[dict[str, int], str | None]:
    """Let the scheduler look twice; gives the tasks' versions, and the code a worker takes."""
    from airflow.executors.workloads import ExecuteTask
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.scalar(select(DagRun).where(DagRun.run_id == run.run_id))
        runner = SchedulerJobRunner(Job())
        for _ in range(2):  # the first look makes a task ready, the next one sees that it is old
            runner._schedule_dag_run(found, session=session)
        tasks = {
            name: found.get_task_instance(name, session=session) for name in ("first", "second")
        }
        versions = {name: each.dag_version.version_number for name, each in tasks.items()}
        return versions, ExecuteTask.make(tasks["second"]).bundle_info.version


def test_a_version_is_made_when_the_structure_changes_after_a_run(stored: Any, begun: Any) -> None:
    first = stored()
    begun()
    assert stored() == first
    assert stored(value="2") == first  # the body of a function is no part of the structure
    assert stored(documentation="Two.") == first + 1
    assert stored(arguments="(retries=3)") == first + 1  # nothing has run since
    begun()
    assert stored(arguments="(retries=4)") == first + 2


def test_from_a_plain_folder_a_run_goes_on_with_the_newest_version(stored: Any, begun: Any) -> None:
    first = stored(arguments="(retries=5)")
    run = begun()
    assert stored(arguments="(retries=6)") == first + 1
    assert looked_at_again(run) == ({"first": first, "second": first + 1}, None)


def test_from_a_versioned_bundle_a_run_keeps_what_it_began_with(stored: Any, begun: Any) -> None:
    first = stored("commit-1", arguments="(retries=7)")
    run = begun("commit-1")
    assert stored("commit-2", arguments="(retries=8)") == first + 1
    assert looked_at_again(run) == ({"first": first, "second": first}, "commit-1")


def test_no_more_instances_of_a_mapped_task_are_started_than_it_says(
    stored: Any, begun: Any
) -> None:
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    stored()
    with create_session() as session:
        session.execute(delete(DagRun).where(DagRun.dag_id == "l05_versions"))
        session.get(DagModel, "l05_versions").is_paused = False
    run = begun()
    looked_at_again(run)
    with create_session() as session:
        runner = SchedulerJobRunner(Job())
        chosen = runner._executable_task_instances_to_queued(32, session=session)
        names = [each.task_id for each in chosen if each.run_id == run.run_id]
    assert names.count("many") == 2


# --- Retries and checkpoints ---------------------------------------------------------------


def test_what_time_mends_is_tried_again_and_a_bug_is_not(snippet: Any) -> None:
    run = snippet("l05_retries").run()
    tries = {each.task_id: (each.state, len(each.errors)) for each in run.instances}
    assert tries == {
        "ask_registry": ("success", 1),
        "read_rows": ("failed", 1),
        "never_back": ("failed", 3),  # a policy cannot give more tries than `retries`
    }


def test_the_first_rule_that_matches_decides_and_may_have_a_delay_of_its_own() -> None:
    from datetime import timedelta

    from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

    rules = [
        RetryRule(exception=ConnectionRefusedError, retry_delay=timedelta(minutes=1)),
        RetryRule(exception=ConnectionError, action=RetryAction.FAIL),
    ]
    policy = ExceptionRetryPolicy(rules=rules)
    refused = policy.evaluate(ConnectionRefusedError(), try_number=1, max_tries=2)
    assert (refused.action, refused.retry_delay) == (RetryAction.RETRY, timedelta(minutes=1))
    assert policy.evaluate(ConnectionError(), 1, 2).action == RetryAction.FAIL
    assert policy.evaluate(KeyError(), 1, 2).action == RetryAction.DEFAULT


def test_a_second_try_goes_on_at_the_checkpoint(snippet: Any) -> None:
    lesson = snippet("l05_checkpoint")
    assert lesson.run().one("train").returned == [4, 5]
    # Another run has a store of its own.
    assert lesson.run(fresh=True).one("train").returned == [4, 5]


def test_a_value_in_xcom_does_not_survive_a_retry(snippet: Any) -> None:
    run = snippet("l05_checkpoint").run()
    assert run.one("remember_in_both").returned == {"xcom": None, "store": 3}


# --- Environments and people ---------------------------------------------------------------


def test_a_function_in_another_python_sees_nothing_of_its_file(snippet: Any) -> None:
    run = snippet("l05_elsewhere").run()
    fitted = run.one("fit").returned
    assert fitted["source"] == "runs/1/training_set.parquet"
    assert fitted["sees_threshold"] is False
    assert fitted["pid"] != run.one("here").returned


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The question of an operator is told to nobody."""
    module = "airflow.providers.standard.operators.hitl"
    monkeypatch.setattr(f"{module}.upsert_hitl_detail", lambda **details: None)


def test_a_question_parks_its_task_and_leaves_no_trigger(sent: None) -> None:
    from airflow.providers.standard.operators.hitl import HITLOperator
    from airflow.sdk.exceptions import TaskAwaitingInput, TaskDeferred

    ask = HITLOperator(task_id="ask", subject="?", options=["Yes", "No"], defaults="No")
    with pytest.raises(TaskAwaitingInput):
        ask.execute({"task_instance": type("Instance", (), {"id": "1"})})
    assert not issubclass(TaskAwaitingInput, TaskDeferred)


def test_a_question_without_a_default_fails_when_its_time_is_over() -> None:
    from airflow.providers.standard.exceptions import HITLTimeoutError
    from airflow.providers.standard.operators.hitl import HITLOperator

    ask = HITLOperator(task_id="ask", subject="?", options=["Yes", "No"])
    with pytest.raises(HITLTimeoutError):
        ask.execute_complete({}, {"error": "no response", "error_type": "timeout"})
