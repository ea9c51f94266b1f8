"""What stands around the checks of exercise 5: prepared lakes, and Airflow asked what is due."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from course.grading import Failed, Lesson, Run

BUILD, TRAIN = "ex05_build_features", "ex05_train"
JANUARY, FEBRUARY = "2013-01", "2013-02"
PLANTED = datetime(2013, 2, 5, 23, 20, tzinfo=UTC)
"""When a fact about DL becomes known that no month of flights could give: its rates are 9."""
NINE = 9.0


class Published(NamedTuple):
    """What a run of the first DAG left behind, and what Airflow would start because of it."""

    run: Run
    online: dict[str, Any]
    intervals: list[tuple[datetime, datetime]]
    events: list[dict[str, Any]]
    due: set[str]


def landed(folder: Path) -> None:
    """Two months with their facts, of which the lakes are copies."""
    from flightdelays import practice_lake

    practice_lake.land(folder, [JANUARY, FEBRUARY])


class Stage:
    """Lakes as the checks need them, and runs of both DAGs over them."""

    planted = PLANTED
    nine = NINE

    def __init__(self, lesson: Lesson) -> None:
        self._lesson = lesson

    def lake(self, name: str) -> Path:
        """Make a lake the one in use."""
        return self._lesson.lake(name)

    def flights(self, name: str) -> None:
        """A lake with two landed months."""
        from flightdelays import practice_lake

        source = self._lesson.shared("ex05-v1", landed)
        self.lake(name)
        practice_lake.copy(source)

    def features(self, name: str, until: str = FEBRUARY) -> None:
        """A lake with the facts of both months, online up to the end of one."""
        from flightdelays import practice_lake

        source = self._lesson.shared("ex05-v1", landed)
        self.lake(name)
        practice_lake.copy(source, facts=True)
        practice_lake.publish(until)

    def publish(self, month: str, lake: str = "built", **more: Any) -> Published:
        """Run the first DAG, and ask Feast and Airflow what came of it."""
        from airflow.models.asset import AssetEvent
        from airflow.models.dag import DagModel
        from airflow.utils.session import create_session
        from sqlalchemy import select

        from flightdelays import practice_lake

        run = self._lesson.run({"month": month}, dag_id=BUILD, lake=lake, **more)
        with create_session() as session:
            of_run = select(AssetEvent.extra).where(AssetEvent.source_run_id == run.run_id)
            events = list(session.scalars(of_run))
            due = set(DagModel.dags_needing_dagruns(session)[1])
        return Published(run, practice_lake.online("UA"), practice_lake.intervals(), events, due)

    def train(self, lake: str, told: str = "", **more: Any) -> Run:
        """Run the second DAG by hand for February."""
        return self._lesson.run({"month": FEBRUARY}, dag_id=TRAIN, lake=lake, told=told, **more)

    def train_on_event(self, lake: str) -> Run:
        """Run the second DAG as an update of its assets for February starts it."""
        told = f"the run of `{TRAIN}` that an update with extra={{'month': '{FEBRUARY}'}} starts"
        with _event(FEBRUARY):
            return self._lesson.run(dag_id=TRAIN, lake=lake, told=told)


@contextmanager
def _event(month: str) -> Iterator[None]:
    """Put an update of the second DAG's assets on its next run, as the scheduler does it.

    `dag.test()` only knows runs by hand, which no update has started.
    """
    import sqlalchemy as sa
    from airflow.models.asset import AssetEvent, DagScheduleAssetReference, association_table
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        of_dag = sa.select(DagScheduleAssetReference.asset_id)
        assets = session.scalars(of_dag.where(DagScheduleAssetReference.dag_id == TRAIN)).all()
        events = [AssetEvent(asset_id=asset, extra={"month": month}) for asset in assets]
        session.add_all(events)
        session.flush()
        ids = [event.id for event in events]

    def consume(mapper: Any, connection: Any, run: Any) -> None:
        for each in ids:
            link = {"dag_run_id": run.id, "event_id": each}
            connection.execute(sa.insert(association_table).values(link))

    sa.event.listen(DagRun, "after_insert", consume)
    try:
        yield
    finally:
        sa.event.remove(DagRun, "after_insert", consume)


@pytest.fixture(scope="session", autouse=True)
def unpaused() -> None:
    """Airflow starts nothing that is paused, and a DAG that it sees for the first time is."""
    import sqlalchemy as sa
    from airflow.models.dag import DagModel

    sa.event.listen(DagModel, "before_insert", lambda *args: setattr(args[2], "is_paused", False))


@pytest.fixture(scope="session")
def stage(lesson: Lesson) -> Stage:
    return Stage(lesson)


@pytest.fixture(scope="session")
def january(stage: Stage) -> Published:
    stage.flights("built")
    return stage.publish(JANUARY)


@pytest.fixture(scope="session")
def february(stage: Stage, january: Published) -> Published:
    return stage.publish(FEBRUARY)


@pytest.fixture(scope="session")
def again(stage: Stage, february: Published) -> Published:
    told = f"the DAG `{BUILD}` with month='{FEBRUARY}' a second time"
    return stage.publish(FEBRUARY, fresh=True, told=told)


@pytest.fixture(scope="session")
def trained(stage: Stage) -> Run:
    """The second DAG over a lake in which one fact is ours."""
    from flightdelays import practice_lake

    stage.features("planted")
    practice_lake.plant(FEBRUARY, "DL", PLANTED, NINE)
    return stage.train("planted")


@pytest.fixture(scope="session")
def table(trained: Run) -> Any:
    """The training set of that run."""
    from flightdelays.errors import DataError
    from flightdelays.practice_lake import read_training_set

    path = trained.returned("training_set")
    try:
        return read_training_set(path)
    except DataError as error:
        raise Failed(
            ran=trained.told,
            expected="that `training_set` returns the path of a Parquet file, whose columns are "
            "those of the departures and of the features",
            happened=str(error),
            where="task training_set",
        ) from error
