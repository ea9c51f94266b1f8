"""The knowledge check: the code of each question is parsed, and what the answers say is run."""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from course.grading.lesson import Lesson
from course.grading.loading import Source, load
from course.grading.report import Finding
from course.quiz import Question, read

QUIZ = {question.id: question for question in read().questions}
WITH_CODE = [question for question in QUIZ.values() if question.code]
BUNDLES = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"


@pytest.fixture(scope="module")
def bundle(database: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder from which ``dag.test()`` runs the code of a question."""
    folder = tmp_path_factory.mktemp("questions")
    one = {
        "name": "questions",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder)},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(BUNDLES, json.dumps([one]))
        for name in ("LAKE", "SITE", "FEAST_REGISTRY", "FEAST_ONLINE", "INCOMING"):
            patch.setenv(f"FLIGHTDELAYS_{name}", "")  # so that the patch brings back what was there
        yield folder
    from flightdelays.settings import get_settings

    get_settings.cache_clear()


@pytest.fixture
def code(bundle: Path, tmp_path: Path) -> Iterator[Callable[..., Lesson]]:
    """``code("an empty list").run()`` runs the code of a question, changed where asked."""
    written: list[Path] = []

    def open_one(name: str, changes: Mapping[str, str] = MappingProxyType({})) -> Lesson:
        text = QUIZ[name].code
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        path = bundle / f"{name.replace(' ', '_')}.py"
        path.write_text(text, "utf-8")
        written.append(path)
        source = Source(path, path.name)
        parse = load(source)
        assert not isinstance(parse, Finding), parse
        return Lesson(source, parse, tuple(bag(path).dags), tmp_path, tmp_path / "data")

    yield open_one
    for path in written:
        path.unlink(missing_ok=True)


def bag(path: Path) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(path))


def next_run(dag: Any, last: datetime | None = None) -> Any:
    """The next run that the scheduler makes after one of ``last``."""
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.timetables.base import DataInterval

    stored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    return stored.timetable.next_dagrun_info(
        last_automated_data_interval=DataInterval.exact(last) if last else None,
        restriction=stored._time_restriction,
    )


@pytest.mark.parametrize("question", WITH_CODE, ids=lambda question: question.id)
def test_the_code_of_a_question_is_a_dag_file(
    question: Question, parsing: Callable[[str], Any]
) -> None:
    found = parsing(question.code)
    if question.error:
        (message,) = found.import_errors.values()
        assert question.error in message
        assert not found.dags
    else:
        assert not found.import_errors
        (dag,) = found.dags.values()
        assert dag.tasks


# DAG design


def test_a_join_behind_a_branch(code: Callable[..., Lesson]) -> None:
    run = code("a join behind a branch").run()
    assert run.states["report"] == "skipped"
    assert run.state == "success"
    right = {
        "@task\n    def report": '@task(trigger_rule="none_failed_min_one_success")\n    def report'
    }
    assert code("a join behind a branch", right).run().states["report"] == "success"


def test_a_clean_up_that_comes_last(code: Callable[..., Lesson]) -> None:
    run = code("a clean-up that comes last").run()
    assert (run.state, run.states["train"]) == ("success", "failed")
    mended = {'@task(trigger_rule="all_done")': "@teardown", "dag, task": "dag, task, teardown"}
    run = code("a clean-up that comes last", mended).run()
    assert (run.state, run.states["clean_up"]) == ("failed", "success")


def test_a_placeholder_counts_as_true(parsing: Callable[[str], Any]) -> None:
    (dag,) = parsing(QUIZ["an if in the DAG"].code.replace(" > 0.74", "")).dags.values()
    assert set(dag.task_ids) == {"evaluate", "deploy"}
    assert dag.task_dict["deploy"].upstream_task_ids == set()


def test_the_order_of_calls(parsing: Callable[[str], Any]) -> None:
    (dag,) = parsing(QUIZ["the order of calls"].code).dags.values()
    assert dag.task_dict["train"].upstream_task_ids == set()


# Scheduling


def test_an_old_start_date(parsing: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import pendulum

    text = QUIZ["an old start date"].code
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    noon = pendulum.instance(midnight + timedelta(hours=12))
    monkeypatch.setattr("airflow.timetables.trigger.utcnow", lambda: noon)
    (dag,) = parsing(text).dags.values()
    assert next_run(dag).run_after == midnight
    assert next_run(dag, midnight).run_after == midnight + timedelta(days=1)
    (dag,) = parsing(text.replace(", start_date=datetime(2013, 1, 1)", "")).dags.values()
    assert next_run(dag).run_after == midnight + timedelta(days=1)
    owed = text.replace("datetime(2013, 1, 1)", "datetime(2013, 1, 1), catchup=True")
    (dag,) = parsing(owed).dags.values()
    assert next_run(dag).run_after == datetime(2013, 1, 1, tzinfo=UTC)
    assert dag.max_active_runs == 16


def test_the_month_of_a_cron_run(parsing: Callable[[str], Any]) -> None:
    text = QUIZ["the month of a cron run"].code.replace("catchup=False", "catchup=True")
    first, second = datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 2, 1, tzinfo=UTC)
    (dag,) = parsing(text).dags.values()
    run = next_run(dag, first)
    assert (run.run_after, run.data_interval.start, run.data_interval.end) == (second,) * 3
    old = text.replace(
        'schedule="0 0 1 * *"', 'schedule=CronDataIntervalTimetable("0 0 1 * *", "UTC")'
    )
    old = old.replace("import dag", "import CronDataIntervalTimetable, dag")
    (dag,) = parsing(old).dags.values()
    run = next_run(dag)
    assert (run.run_after, run.data_interval.start) == (second, first)


def test_two_assets_in_a_list(parsing: Callable[[str], Any]) -> None:
    from airflow.assets.evaluation import AssetEvaluator
    from airflow.serialization.definitions.assets import SerializedAssetUniqueKey
    from airflow.serialization.serialized_objects import DagSerialization

    def starts(text: str, *updated: str) -> bool:
        (dag,) = parsing(text).dags.values()
        stored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
        keys = {SerializedAssetUniqueKey(name=name, uri=name): True for name in updated}
        return AssetEvaluator(None).run(stored.timetable.asset_condition, keys)

    both = QUIZ["two assets in a list"].code
    either = both.replace("[HOURLY, NIGHTLY]", "(HOURLY | NIGHTLY)")
    assert not starts(both, "hourly_features")
    assert starts(both, "hourly_features", "nightly_labels")
    assert starts(either, "hourly_features")


def test_an_asset_or_three_o_clock(code: Callable[..., Lesson]) -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import sync_bag_to_db
    from airflow.models.dag import DagModel
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    path = code("an asset or three o'clock").source.path

    def planned() -> datetime | None:
        with create_session() as session:
            DagBundlesManager().sync_bundles_to_db(session=session)
        with create_session() as session:
            sync_bag_to_db(bag(path), "questions", None, session=session)
            return session.get_one(DagModel, "hybrid").next_dagrun_create_after

    before = planned()
    assert before
    assert (before.hour, before.minute) == (3, 0)
    with create_session() as session:
        SerializedDagModel.get_dag("hybrid", session=session).create_dagrun(
            run_id="started_by_the_asset",
            logical_date=None,
            data_interval=None,
            run_after=datetime.now(UTC),
            run_type=DagRunType.ASSET_TRIGGERED,
            triggered_by=DagRunTriggeredByType.ASSET,
            state="success",
            session=session,
        )
    assert planned() == before


def test_a_backfill_of_months_that_ran(code: Callable[..., Lesson]) -> None:
    from airflow.models.backfill import ReprocessBehavior, _create_backfill
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    dag_id = "monthly_landing"
    lesson = code("the month of a cron run")
    assert lesson.run(logical_date=datetime(2013, 10, 1, tzinfo=UTC)).state == "success"

    def backfill(behaviour: ReprocessBehavior | None) -> dict[int, str]:
        made = _create_backfill(
            dag_id=dag_id,
            from_date=datetime(2013, 10, 1, tzinfo=UTC),
            to_date=datetime(2013, 12, 1, tzinfo=UTC),
            max_active_runs=1,
            reverse=False,
            dag_run_conf=None,
            triggering_user_name="test",
            reprocess_behavior=behaviour,
        )
        with create_session() as session:
            runs = session.scalars(select(DagRun).filter_by(backfill_id=made.id)).all()
            months = {run.logical_date.month: str(run.state) for run in runs}
            session.get_one(type(made), made.id).completed_at = datetime.now(UTC)
            for run in runs:
                run.state = "success"
        return months

    assert sorted(backfill(None)) == [11, 12]
    assert backfill(None) == {}
    assert sorted(backfill(ReprocessBehavior.COMPLETED)) == [10, 11, 12]


def test_a_run_without_a_date(code: Callable[..., Lesson]) -> None:
    dag = code("a run without a date").dag()
    assert str(dag.test(logical_date=None).state) == "failed"
    assert str(dag.test(logical_date=datetime(2013, 10, 1, tzinfo=UTC)).state) == "success"


# Executors


def test_a_list_of_the_module_is_shared_by_tasks_that_run_in_one_process(
    code: Callable[..., Lesson],
) -> None:
    # What processes make of it is seen in tests/labs/test_pitfalls.py.
    assert code("a list of the module").run().one("total").returned == 3 * len("2013-01")


# Data passing


def test_an_object_is_returned(code: Callable[..., Lesson]) -> None:
    run = code("an object is returned").run()
    assert run.states == {"fit": "failed", "judge": "upstream_failed"}
    (error,) = run.one("fit").errors
    assert error.type == "TypeError"
    assert "Cannot serialize object" in error.message


def test_a_key_of_a_dictionary(code: Callable[..., Lesson]) -> None:
    run = code("a key of a dictionary").run()
    assert run.states == {"split": "success", "train": "failed"}
    assert [error.type for error in run.one("train").errors] == ["XComNotFound"]
    run = code("a key of a dictionary", {"split():\n": "split() -> dict[str, str]:\n"}).run()
    assert run.one("train").returned == "lake/train.parquet"


CHECKPOINT = """
from airflow.sdk import dag, get_current_context, task


@dag(schedule=None)
def noting():
    @task(retries=1)
    def fit():
        context = get_current_context()
        ti, store = context["ti"], context["task_state_store"]
        found = [ti.xcom_pull(task_ids="fit", key="checkpoint"), store.get("checkpoint")]
        if ti.try_number == 1:
            ti.xcom_push(key="checkpoint", value="epoch 9")
            store.set("checkpoint", "epoch 9")
            raise ConnectionError("the machine is gone")
        return found

    fit()


noting()
"""


def test_a_checkpoint(bundle: Path, tmp_path: Path) -> None:
    path = bundle / "noting.py"
    path.write_text(CHECKPOINT, "utf-8")
    source = Source(path, path.name)
    parse = load(source)
    assert not isinstance(parse, Finding), parse
    run = Lesson(source, parse, ("noting",), tmp_path, tmp_path).run()
    path.unlink()
    assert run.one("fit").returned == [None, "epoch 9"]


# Mapping


def test_an_empty_list(code: Callable[..., Lesson]) -> None:
    run = code("an empty list").run()
    assert run.states == {"stale": "success", "build": "skipped", "publish": "skipped"}
    assert run.state == "success"
    willing = {"@task\n    def publish": '@task(trigger_rule="none_failed")\n    def publish'}
    assert code("an empty list", willing).run().states["publish"] == "success"


def test_two_mapped_arguments(code: Callable[..., Lesson]) -> None:
    run = code("two mapped arguments").run()
    assert len(run.of("fit")) == 9


def test_a_gap_in_the_results(code: Callable[..., Lesson]) -> None:
    run = code("a gap in the results").run()
    assert run.states["fit[1]"] == "failed"
    assert run.one("compare").returned == {"linear": 0.70, "tree": 0.75}


def test_a_list_in_the_file(code: Callable[..., Lesson]) -> None:
    run = code("a list in the file").run({"models": ["forest"]})
    assert run.state == "success"
    assert {each.returned for each in run.instances} == {"linear", "tree"}


def test_a_list_that_is_too_long(code: Callable[..., Lesson]) -> None:
    from airflow.configuration import conf

    assert conf.getint("core", "max_map_length") == 1024
    run = code("a list that is too long").run()
    assert run.states == {"files": "failed", "read": "upstream_failed"}
    assert code("a list that is too long", {"1025": "3"}).run().state == "success"


# Event-driven


def test_ten_sensors(parsing: Callable[[str], Any]) -> None:
    (dag,) = parsing(QUIZ["ten sensors"].code).dags.values()
    (sensor,) = dag.tasks
    assert (sensor.mode, sensor.deferrable) == ("poke", False)
    assert timedelta(seconds=sensor.timeout) == timedelta(days=7)


def test_told_too_early(code: Callable[..., Lesson]) -> None:
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    run = code("told too early").run()
    assert (run.state, run.states["build"]) == ("failed", "success")
    with create_session() as session:
        made = select(AssetEvent).filter_by(source_dag_id="make_features", source_run_id=run.run_id)
        (event,) = session.scalars(made)
        assert event.source_task_id == "build"


# Monitoring


def test_a_callback_in_the_dag_file(parsing: Callable[[str], Any]) -> None:
    (dag,) = parsing(QUIZ["a callback in the DAG file"].code).dags.values()
    (alert,) = dag.deadline if isinstance(dag.deadline, list) else [dag.deadline]
    module = alert.callback.path.rpartition(".")[0]
    # In this process the parse has left it behind; a triggerer begins without.
    search = f"import importlib.util as u; print(u.find_spec({module!r}))"
    found = subprocess.run(
        [sys.executable, "-c", search], capture_output=True, text=True, check=True
    )
    assert found.stdout == "None\n"


def test_the_third_try(code: Callable[..., Lesson], capfd: pytest.CaptureFixture[str]) -> None:
    run = code("the third try").run()
    assert (run.state, run.one("fetch").tries) == ("success", 3)
    assert "failed: fetch" not in capfd.readouterr().out
    run = code("the third try", {"< 3": "< 9"}).run()
    assert (run.state, run.one("fetch").tries) == ("failed", 3)
    assert capfd.readouterr().out.count("failed: fetch") == 1


def test_which_number() -> None:
    runs = [2] * 94 + [60] * 6
    assert 5 < statistics.mean(runs) < 6
    assert statistics.median(runs) == 2
    assert statistics.quantiles(runs, n=100)[94] == 60
    one = [2] * 99 + [60]
    assert statistics.quantiles(one, n=100)[94] == 2
    assert max(one) == 60
