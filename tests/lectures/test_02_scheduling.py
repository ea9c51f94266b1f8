"""Lecture 2: when runs begin, what they know of time, and what starts whom."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pendulum
import pytest
from pydantic import ValidationError

from course.config import REPOSITORY

DAGS = REPOSITORY / "dags"
SNIPPETS = REPOSITORY / "lecture-notes" / "snippets"
FEBRUARY = datetime(2013, 2, 1, tzinfo=UTC)


def scheduler_dag(file: Any, dag_id: str) -> Any:
    """The DAG as the scheduler sees it."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    bag = DagBag(str(file))
    assert not bag.import_errors
    return DagSerialization.from_dict(DagSerialization.to_dict(bag.dags[dag_id]))


def clocks(dag_id: str) -> Any:
    return scheduler_dag(SNIPPETS / "l02_clocks.py", dag_id)


def infos(dag: Any, first: datetime, last: datetime) -> list[Any]:
    """The runs whose logical (or partition) date lies between the two."""
    return list(dag.iter_dagrun_infos_between(first, last))


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """``now(moment)`` sets the clock of the timetables."""

    def set_clock(moment: datetime) -> None:
        for module in ("interval", "trigger"):
            monkeypatch.setattr(f"airflow.timetables.{module}.utcnow", lambda: moment)

    return set_clock


# ---------------------------------------------------------------- points, intervals, partitions


@pytest.mark.parametrize("kind", ["string", "point"])
def test_a_point_in_time_is_its_own_logical_date_and_its_interval_is_empty(kind: str) -> None:
    (run,) = infos(clocks(f"l02_clocks_{kind}"), FEBRUARY, FEBRUARY)
    assert run.run_after == run.logical_date == FEBRUARY
    assert run.data_interval.start == run.data_interval.end == FEBRUARY
    assert run.partition_key is None


def test_an_interval_starts_when_it_is_over_and_its_logical_date_is_its_beginning() -> None:
    january = datetime(2013, 1, 1, tzinfo=UTC)
    (run,) = infos(clocks("l02_clocks_interval"), january, january)
    assert run.run_after == FEBRUARY
    assert run.logical_date == run.data_interval.start == january
    assert run.data_interval.end == FEBRUARY


def test_a_partition_has_a_key_and_no_dates(now: Callable[[datetime], None]) -> None:
    from airflow.timetables.base import TimeRestriction

    now(datetime(2013, 2, 1, 0, 1, tzinfo=UTC))
    run = clocks("l02_clocks_partition").timetable.next_dagrun_info_v2(
        last_dagrun_info=None,
        restriction=TimeRestriction(pendulum.datetime(2013, 1, 1), None, catchup=False),
    )
    assert run.run_after == FEBRUARY
    assert run.partition_key == "2013-01"
    assert run.logical_date is run.data_interval is None


def test_a_cron_string_is_a_point_in_time_by_default() -> None:
    from airflow.sdk.configuration import conf
    from airflow.timetables.trigger import CronTriggerTimetable

    assert conf.getboolean("scheduler", "create_cron_data_intervals") is False
    assert type(clocks("l02_clocks_string").timetable) is CronTriggerTimetable


def test_ingest_flights_has_intervals_and_the_trainings_points() -> None:
    from airflow.timetables.interval import CronDataIntervalTimetable
    from airflow.timetables.trigger import CronTriggerTimetable

    for dag_id in ("ingest_flights", "backfill_feature"):
        timetable = scheduler_dag(DAGS / f"{dag_id}.py", dag_id).timetable
        assert type(timetable) is CronDataIntervalTimetable
    train = scheduler_dag(DAGS / "train_delay_model.py", "train_delay_model").timetable
    assert type(train.timetable) is CronTriggerTimetable


def test_a_run_without_logical_date_has_no_interval_and_no_ds(snippet: Any) -> None:
    ended = snippet("l02_clocks").dag("l02_clocks_interval").test(logical_date=None)
    assert ended.logical_date is ended.data_interval_start is None
    (instance,) = ended.get_task_instances()
    dates = instance.xcom_pull(task_ids="dates")
    assert dates.pop("partition_key") == "None"
    assert set(dates.values()) == {"absent"}


def test_a_run_by_hand_with_a_date_gets_the_last_whole_interval(snippet: Any) -> None:
    run = snippet("l02_clocks").run(
        dag_id="l02_clocks_interval", logical_date=datetime(2013, 2, 14, tzinfo=UTC)
    )
    dates = run.one("dates").returned
    assert dates["data_interval_start"].startswith("2013-01-01")
    assert dates["data_interval_end"].startswith("2013-02-01")
    assert dates["ds"] == "2013-02-14"


def test_the_rest_api_wants_the_logical_date_or_null() -> None:
    from airflow.api_fastapi.core_api.datamodels.dag_run import TriggerDAGRunPostBody

    assert TriggerDAGRunPostBody.model_validate({"logical_date": None}).logical_date is None
    with pytest.raises(ValidationError, match="logical_date"):
        TriggerDAGRunPostBody.model_validate({})


# ------------------------------------------------------------------------- the first run


def first_run(dag_id: str) -> Any:
    dag = scheduler_dag(SNIPPETS / "l02_first_run.py", dag_id)
    return dag, dag.next_dagrun_info(last_automated_run_info=None)


def test_catching_up_begins_at_the_start_date(now: Callable[[datetime], None]) -> None:
    now(datetime(2014, 1, 1, 12, tzinfo=UTC))
    dag, run = first_run("l02_first_run_catchup")
    assert run.run_after == datetime(2013, 1, 1, 3, tzinfo=UTC)
    due = infos(dag, datetime(2013, 1, 1, tzinfo=UTC), datetime(2014, 1, 1, 12, tzinfo=UTC))
    assert len(due) == 366


def test_without_catching_up_a_start_in_the_past_makes_one_run_at_once(
    now: Callable[[datetime], None],
) -> None:
    noon = datetime(2014, 1, 1, 12, tzinfo=UTC)
    now(noon)
    dag, run = first_run("l02_first_run_past")
    assert run.run_after == datetime(2014, 1, 1, 3, tzinfo=UTC) < noon
    second = dag.next_dagrun_info(last_automated_run_info=run)
    assert second.run_after == datetime(2014, 1, 2, 3, tzinfo=UTC) > noon


def test_without_a_start_date_it_waits_unless_the_hour_has_just_passed(
    now: Callable[[datetime], None],
) -> None:
    now(datetime(2014, 1, 1, 12, tzinfo=UTC))
    assert first_run("l02_first_run_no_start")[1].run_after == datetime(2014, 1, 2, 3, tzinfo=UTC)
    # A tenth of the day: until 05:24 the run of 03:00 is made up for.
    now(datetime(2014, 1, 1, 5, 23, tzinfo=UTC))
    assert first_run("l02_first_run_no_start")[1].run_after == datetime(2014, 1, 1, 3, tzinfo=UTC)
    now(datetime(2014, 1, 1, 5, 25, tzinfo=UTC))
    assert first_run("l02_first_run_no_start")[1].run_after == datetime(2014, 1, 2, 3, tzinfo=UTC)


def test_catchup_is_off_by_default(parsing: Callable[[str], Any]) -> None:
    text = "from airflow.sdk import DAG\ndag = DAG('quiet', schedule='@daily')\n"
    assert parsing(text).dags["quiet"].catchup is False


# ---------------------------------------------------------------------------- time zones


def test_new_yorks_three_oclock_moves_in_utc_and_a_string_is_utc() -> None:
    from airflow.timetables.base import TimeRestriction

    def hours(dag_id: str) -> list[int]:
        timetable = scheduler_dag(SNIPPETS / "l02_time_zones.py", dag_id).timetable
        found = []
        for month in (1, 7):
            day = pendulum.datetime(2013, month, 10)
            run = timetable.next_dagrun_info_v2(
                last_dagrun_info=None, restriction=TimeRestriction(day, None, catchup=True)
            )
            found.append(run.run_after.in_timezone("UTC").hour)
        return found

    assert hours("l02_time_zones_new_york") == [8, 7]
    assert hours("l02_time_zones_string") == [3, 3]


def test_once_each_night_also_when_the_clock_is_changed() -> None:
    from airflow.timetables.base import TimeRestriction
    from airflow.timetables.trigger import CronTriggerTimetable

    timetable = CronTriggerTimetable("30 2 * * *", timezone="America/New_York")

    def nights(first: Any) -> list[str]:
        found, last = [], None
        for _ in range(3):
            run = timetable.next_dagrun_info(
                last_automated_data_interval=last,
                restriction=TimeRestriction(first, None, catchup=True),
            )
            last = run.data_interval
            found.append(run.run_after.in_timezone("America/New_York").format("MM-DD HH:mm"))
        return found

    spring, autumn = pendulum.datetime(2013, 3, 9, 5), pendulum.datetime(2013, 11, 2, 5)
    assert nights(spring) == ["03-09 02:30", "03-10 03:30", "03-11 02:30"]
    assert nights(autumn) == ["11-02 02:30", "11-03 02:30", "11-04 02:30"]


# -------------------------------------------------------------- assets, played by a scheduler


@contextmanager
def scheduling(name: str) -> Iterator[Callable[[], None]]:
    """A scheduler for the DAGs of one snippet, which are unpaused meanwhile."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from airflow.utils.sqlalchemy import prohibit_commit
    from sqlalchemy import update

    manager = DagBundlesManager()
    manager.sync_bundles_to_db()
    (bundle,) = (each for each in manager.get_all_dag_bundles() if each.name == "snippets")
    bundle.initialize()
    bag = BundleDagBag(SNIPPETS / f"{name}.py", bundle_path=bundle.path, bundle_name=bundle.name)
    sync_bag_to_db(bag, bundle.name, bundle.version)

    def pause(paused: bool) -> None:
        with create_session() as session:
            mine = DagModel.dag_id.startswith(name)
            session.execute(update(DagModel).where(mine).values(is_paused=paused))

    def step() -> None:
        with create_session() as session, prohibit_commit(session) as guard:
            SchedulerJobRunner(Job())._create_dagruns_for_dags(guard, session)

    pause(False)
    try:
        yield step
    finally:
        pause(True)


def runs_of(dag_id: str, **columns: Any) -> list[Any]:
    """The runs of a DAG that Airflow has, oldest first."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(DagRun).filter_by(dag_id=dag_id, **columns).order_by(DagRun.id)
    with create_session() as session:
        return list(session.scalars(query))


def started(dag_id: str) -> int:
    return len(runs_of(dag_id, run_type="asset_triggered"))


def test_or_starts_at_each_and_waits_for_none_and_starts_when_all_are_there(snippet: Any) -> None:
    lesson = snippet("l02_assets")
    with scheduling("l02_assets") as step:
        lesson.run(dag_id="l02_assets_flights", fresh=True)
        step()
        assert [started(f"l02_assets_{name}") for name in ("any", "all", "or_time")] == [1, 0, 1]
        # A second event of the same asset is not the other one.
        lesson.run(dag_id="l02_assets_flights", fresh=True)
        step()
        assert [started(f"l02_assets_{name}") for name in ("any", "all", "or_time")] == [2, 0, 2]
        lesson.run(dag_id="l02_assets_weather", fresh=True)
        step()
        assert [started(f"l02_assets_{name}") for name in ("any", "all", "or_time")] == [3, 1, 2]
        (both,) = runs_of("l02_assets_all")
        assert both.logical_date is both.data_interval_start is None


@contextmanager
def changing_the_run(change: Callable[[Any], None]) -> Iterator[None]:
    """Let ``change`` make of the run that ``dag.test()`` creates one of another kind."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    def look(session: Session, *_: Any) -> None:
        for run in session.new:
            if isinstance(run, DagRun) and run.logical_date is not None:
                run.logical_date = run.data_interval_start = run.data_interval_end = None
                with session.no_autoflush:
                    change(run)

    event.listen(Session, "before_flush", look)
    try:
        yield
    finally:
        event.remove(Session, "before_flush", look)


def test_two_events_at_once_are_one_run_and_the_second_is_told_with_the_next(snippet: Any) -> None:
    from airflow.models.asset import AssetEvent
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy.orm import object_session

    def events_of(run: DagRun) -> list[AssetEvent]:
        with create_session() as session:
            return list(session.get(DagRun, run.id).consumed_asset_events)

    lesson = snippet("l02_assets")
    with scheduling("l02_assets") as step:
        step()
        before = started("l02_assets_any")
        lesson.run(dag_id="l02_assets_flights", fresh=True)
        lesson.run(dag_id="l02_assets_flights", fresh=True)
        step()
        assert started("l02_assets_any") == before + 1
        assert len(events_of(runs_of("l02_assets_any")[-1])) == 1
        step()
        assert started("l02_assets_any") == before + 1
        lesson.run(dag_id="l02_assets_flights", fresh=True)
        step()
        assert started("l02_assets_any") == before + 2
        events = events_of(runs_of("l02_assets_any")[-1])
        assert [event.extra for event in events] == [{"month": "2013-01"}] * 2

    def told(run: DagRun) -> None:
        run.run_type = "asset_triggered"
        run.consumed_asset_events.extend(
            object_session(run).get(AssetEvent, event.id) for event in events
        )

    with changing_the_run(told):
        run = lesson.run(dag_id="l02_assets_any", fresh=True)
    assert run.one("months").returned == ["2013-01", "2013-01"]


def test_a_run_by_hand_has_no_events_to_read(snippet: Any) -> None:
    run = snippet("l02_assets").run(dag_id="l02_assets_any")
    assert run.one("months").returned == []


def test_a_failed_producer_starts_nobody(snippet: Any) -> None:
    lesson = snippet("l02_assets")
    with scheduling("l02_assets") as step:
        step()
        before = started("l02_assets_any")
        lesson.run(dag_id="l02_assets_flights", fail={"land": 1}, fresh=True)
        step()
        assert started("l02_assets_any") == before


def test_what_happens_while_the_consumer_is_paused_starts_nothing_later(snippet: Any) -> None:
    lesson = snippet("l02_assets")
    with scheduling("l02_assets") as step:
        step()
        before = started("l02_assets_any")
    lesson.run(dag_id="l02_assets_flights", fresh=True)
    with scheduling("l02_assets") as step:
        step()
        assert started("l02_assets_any") == before


def test_the_event_of_a_partition_starts_only_who_listens_to_partitions(snippet: Any) -> None:
    lesson = snippet("l02_partitions")

    def keyed(run: Any) -> None:
        run.partition_key = "2013-01"

    with scheduling("l02_partitions") as step:
        with changing_the_run(keyed):
            landed = lesson.run(dag_id="l02_partitions_land", fresh=True)
        assert landed.one("land").returned == "2013-01"
        step()
        (run,) = runs_of("l02_partitions_started", run_type="asset_triggered")
        assert run.partition_key == "2013-01"
        assert started("l02_partitions_not_started") == 0


def test_the_key_of_a_day_becomes_that_of_its_month() -> None:
    from airflow.partition_mappers.temporal import StartOfMonthMapper

    assert StartOfMonthMapper().to_downstream("2013-01-17T00:00:00") == "2013-01"


def test_several_hours_and_one_run_for_one_moment() -> None:
    from airflow.timetables.base import TimeRestriction
    from airflow.timetables.trigger import MultipleCronTriggerTimetable

    timetable = MultipleCronTriggerTimetable("0 3 * * *", "0 3 * * 5", "0 6 * * *", timezone="UTC")
    found, last = [], None
    for _ in range(3):  # 1 February 2013 is a Friday
        run = timetable.next_dagrun_info(
            last_automated_data_interval=last,
            restriction=TimeRestriction(pendulum.instance(FEBRUARY), None, catchup=True),
        )
        last = run.data_interval
        found.append((run.run_after.day, run.run_after.hour))
    assert found == [(1, 3), (1, 6), (2, 3)]


def test_a_list_of_assets_means_all_of_them(parsing: Callable[[str], Any]) -> None:
    from airflow.sdk import AssetAll

    text = (
        "from airflow.sdk import DAG, Asset\ndag = DAG('all', schedule=[Asset('a'), Asset('b')])\n"
    )
    assert type(parsing(text).dags["all"].timetable.asset_condition) is AssetAll


def test_nightly_or_when_the_asset_changes(snippet: Any) -> None:
    dag = scheduler_dag(SNIPPETS / "l02_assets.py", "l02_assets_or_time")
    (nightly,) = infos(dag, FEBRUARY, datetime(2013, 2, 1, 12, tzinfo=UTC))
    assert nightly.logical_date == datetime(2013, 2, 1, 3, tzinfo=UTC)


# ----------------------------------------------------------------------------- backfill


def backfill(dag_id: str, last: str = "2013-12-31", **wanted: Any) -> list[tuple[Any, Any]]:
    """Create a backfill of 2013, as the command does; the runs it has, or why it has none."""
    from airflow.models.backfill import BackfillDagRun, ReprocessBehavior, _create_backfill
    from airflow.utils.session import create_session
    from sqlalchemy import select

    made = _create_backfill(
        dag_id=dag_id,
        from_date=pendulum.parse("2013-01-01"),
        to_date=pendulum.parse(last),
        max_active_runs=wanted.get("max_active_runs", 2),
        reverse=False,
        dag_run_conf={},
        triggering_user_name="tests",
        reprocess_behavior=ReprocessBehavior(wanted.get("reprocess", "none")),
    )
    with create_session() as session:
        rows = session.scalars(select(BackfillDagRun).filter_by(backfill_id=made.id))
        return [(row.dag_run_id, row.exception_reason) for row in rows]


def end_runs(dag_id: str, state: str) -> None:
    """Let the runs end in a state, and the scheduler see that their backfill is done."""
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        session.execute(update(DagRun).where(DagRun.dag_id == dag_id).values(state=state))
    SchedulerJobRunner(Job())._mark_backfills_complete()


def start_queued() -> None:
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.utils.session import create_session

    with create_session() as session:
        SchedulerJobRunner(Job())._start_queued_dagruns(session)


def test_a_backfill_has_its_own_limit_keeps_one_run_a_month_and_repeats_if_asked(
    database: None,
) -> None:
    from airflow.models.backfill import AlreadyRunningBackfill

    dag_id = "l02_clocks_interval"
    with scheduling("l02_clocks"):
        first = backfill(dag_id)
        assert len(first) == 12
        assert {reason for _, reason in first} == {None}
        with pytest.raises(AlreadyRunningBackfill):
            backfill(dag_id)
        # The DAG allows four, the backfill two.
        start_queued()
        assert len(runs_of(dag_id, run_type="backfill", state="running")) == 2
        end_runs(dag_id, "success")
        # The runs exist already, ...
        assert {reason for _, reason in backfill(dag_id)} == {"already exists"}
        end_runs(dag_id, "success")
        # ... unless they failed and that is asked for, ...
        assert {reason for _, reason in backfill(dag_id, reprocess="failed")} == {"already exists"}
        end_runs(dag_id, "failed")
        assert {reason for _, reason in backfill(dag_id, reprocess="failed")} == {None}
        end_runs(dag_id, "success")
        # ... or all of them are: the same runs, cleared.
        assert sorted(backfill(dag_id, reprocess="completed")) == sorted(first)
        end_runs(dag_id, "success")
        dates = [run.logical_date for run in runs_of(dag_id, run_type="backfill")]
        assert len(dates) == len(set(dates)) == 12


def test_the_runs_of_a_paused_dag_wait_and_then_ten_start_at_once(database: None) -> None:
    dag_id = "l02_clocks_point"
    with scheduling("l02_clocks"):
        pass
    assert len(backfill(dag_id, max_active_runs=None)) == 12
    start_queued()
    assert runs_of(dag_id, state="running") == []
    with scheduling("l02_clocks"):
        start_queued()
        assert len(runs_of(dag_id, state="running")) == 10
    end_runs(dag_id, "success")


def test_only_what_has_a_clock_can_be_backfilled(database: None) -> None:
    from airflow.models.backfill import DagNonPeriodicScheduleException

    with scheduling("l02_assets"):
        with pytest.raises(DagNonPeriodicScheduleException):
            backfill("l02_assets_any")
        # Until the first second of the third day: its run of 03:00 is not in the range.
        assert len(backfill("l02_assets_or_time", last="2013-01-03")) == 2
        end_runs("l02_assets_or_time", "success")
