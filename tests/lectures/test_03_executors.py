"""Lecture 3: which limit keeps a task waiting, what is found of a dead worker, and executors."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from course.config import REPOSITORY

SNIPPETS = REPOSITORY / "lecture-notes" / "snippets"
LIMITS, POOL = "l03_limits", "l03_cores"
# No file among the snippets: where one executor is configured, Airflow refuses it.
TWO_EXECUTORS = """
from airflow.sdk import dag, task


@dag(schedule=None, catchup=False, tags=["lecture"])
def l03_two_executors():
    # [START two_executors]
    @task  # the first executor of the list: LocalExecutor
    def prepare() -> str:
        return "2013-01"

    @task(executor="KubernetesExecutor")  # a pod for each try of this one task
    def train(month: str) -> str:
        return f"model of {month}"

    train(prepare())
    # [END two_executors]


l03_two_executors()
"""


@pytest.fixture(scope="module")
def limits_in_database(database: None) -> None:
    """The DAG of the snippet, as the dag processor writes it."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()
    bag = BundleDagBag(
        dag_folder=SNIPPETS / f"{LIMITS}.py", bundle_path=SNIPPETS, bundle_name="snippets"
    )
    assert not bag.import_errors
    sync_bag_to_db(bag, "snippets", None)


class Scheduler:
    """Airflow's scheduler at one decision: what it would queue now. Nothing is started."""

    def __init__(self, session: Any) -> None:
        from airflow.executors.local_executor import LocalExecutor
        from airflow.jobs.job import Job
        from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
        from airflow.models.dag import DagModel

        self.session = session
        self.executor = LocalExecutor(parallelism=32)
        self.executor.queue_workload = lambda *_, **__: None  # type: ignore[method-assign]
        self.job = Job()
        self.runner = SchedulerJobRunner(self.job, executors=[self.executor])
        self.job.state, self.job.latest_heartbeat = "running", datetime.now(UTC)
        session.add(self.job)
        session.query(DagModel).filter_by(dag_id=LIMITS).update({"is_paused": False})
        session.flush()

    def pool(self, slots: int) -> None:
        """Give the pool of the snippet this many slots."""
        from airflow.models.pool import Pool

        Pool.create_or_update_pool(
            POOL, slots=slots, description="", include_deferred=False, session=self.session
        )

    def start(self, *run_ids: str, state: str = "running") -> None:
        """Runs whose tasks are `scheduled` as far as nothing is upstream of them."""
        from airflow.models.serialized_dag import SerializedDagModel
        from airflow.utils.state import DagRunState
        from airflow.utils.types import DagRunTriggeredByType, DagRunType

        dag: Any = SerializedDagModel.get_dag(LIMITS, session=self.session)
        for number, run_id in enumerate(run_ids):
            run = dag.create_dagrun(
                run_id=run_id,
                logical_date=datetime(2013, 1, 1 + number, tzinfo=UTC),
                data_interval=(datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 1, 1, tzinfo=UTC)),
                run_after=datetime.now(UTC) - timedelta(minutes=1),
                run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.TEST,
                state=DagRunState(state),
                session=self.session,
            )
            run.dag = dag
            if state == "running":
                ready = run.task_instance_scheduling_decisions(session=self.session)
                run.schedule_tis(ready.schedulable_tis, session=self.session)
        self.session.flush()

    def queued(self, most: int = 32) -> list[Any]:
        """The task instances that it hands over, in their order."""
        return self.runner._executable_task_instances_to_queued(most, session=self.session)


@pytest.fixture
def scheduler(limits_in_database: None) -> Iterator[Scheduler]:
    """All it does is undone afterwards."""
    from airflow.settings import Session

    session = Session()
    try:
        yield Scheduler(session)
    finally:
        session.rollback()
        session.close()


def names(instances: list[Any]) -> Counter[str]:
    return Counter(each.task_id for each in instances)


def test_max_active_tasks_counts_in_one_run(scheduler: Scheduler) -> None:
    scheduler.pool(128)
    scheduler.start("one")
    assert names(scheduler.queued()) == {"train": 1, "search": 3}
    assert names(scheduler.queued()) == {}, "the rest waits"


def test_max_active_tis_per_dag_counts_over_all_runs(scheduler: Scheduler) -> None:
    scheduler.pool(128)
    scheduler.start("one", "two")
    found = names(scheduler.queued()) + names(scheduler.queued())
    # Five at a time, with max_active_tasks=4: that one counts in each run by itself.
    assert found == {"train": 2, "search": 3}


def test_free_slots_of_a_pool_go_to_the_highest_weight(scheduler: Scheduler) -> None:
    scheduler.pool(2)
    scheduler.start("one", "two")
    assert names(scheduler.queued()) == {"train": 2}


def test_a_task_that_runs_keeps_its_slot(scheduler: Scheduler) -> None:
    from airflow.models.taskinstance import TaskInstance

    scheduler.pool(2)
    scheduler.start("one")
    for each in scheduler.session.query(TaskInstance).filter_by(dag_id=LIMITS, task_id="search"):
        each.state = "running" if each.map_index < 2 else each.state
    scheduler.session.flush()
    assert scheduler.queued() == [], "train weighs more, and waits"


def test_a_pool_without_slots_leaves_tasks_scheduled(scheduler: Scheduler) -> None:
    from airflow.models.taskinstance import TaskInstance

    scheduler.pool(0)
    scheduler.start("one")
    assert scheduler.queued() == []
    waiting = scheduler.session.query(TaskInstance).filter_by(dag_id=LIMITS, state="scheduled")
    assert waiting.count() == 7


def test_nobody_sets_the_gauge_of_a_starving_pool_back(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lecture 8 says of `pool.starving_tasks`."""
    from airflow.jobs import scheduler_job_runner
    from airflow.models.taskinstance import TaskInstance

    sent: list[tuple[str, float]] = []
    monkeypatch.setattr(
        scheduler_job_runner.stats, "gauge", lambda name, value, **_: sent.append((name, value))
    )
    scheduler.pool(2)
    scheduler.start("one")
    scheduler.queued()
    assert ("pool.starving_tasks", 2) in sent
    sent.clear()
    scheduler.session.query(TaskInstance).filter_by(dag_id=LIMITS).update({"state": "success"})
    scheduler.pool(128)
    scheduler.queued()
    assert "scheduler.tasks.executable" in dict(sent), "the round was made"
    assert "pool.starving_tasks" not in dict(sent)


def test_celery_acknowledges_late_and_takes_no_more_than_it_has_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(REPOSITORY / "plugins")
    from course_celery import CONFIG

    assert CONFIG["task_acks_late"] is True
    assert CONFIG["worker_prefetch_multiplier"] == 1
    assert CONFIG["broker_transport_options"]["visibility_timeout"] == 24 * 60 * 60


def test_parallelism_is_the_limit_over_all_dags_and_executors(scheduler: Scheduler) -> None:
    scheduler.pool(128)
    scheduler.start("one")
    scheduler.runner._parallelism = 3
    scheduler.executor.running = {"another", "and another"}  # type: ignore[assignment]
    assert scheduler.runner._critical_section_enqueue_task_instances(scheduler.session) == 1


def test_runs_above_max_active_runs_stay_queued(scheduler: Scheduler) -> None:
    from airflow.models.dagrun import DagRun

    scheduler.start("one", "two", "three", state="queued")
    scheduler.runner._start_queued_dagruns(scheduler.session)
    scheduler.session.flush()
    runs = scheduler.session.query(DagRun).filter_by(dag_id=LIMITS)
    assert Counter(str(run.state) for run in runs) == {"running": 2, "queued": 1}


def left_behind(scheduler: Scheduler, seconds: int) -> None:
    """A task that another scheduler queued, whose last heartbeat was so long ago."""
    from airflow.jobs.job import Job

    gone = Job(job_type="SchedulerJob", state="running")
    gone.latest_heartbeat = datetime.now(UTC) - timedelta(seconds=seconds)
    scheduler.session.add(gone)
    scheduler.session.flush()
    scheduler.pool(128)
    scheduler.start("one")
    own, scheduler.job = scheduler.job, gone
    scheduler.runner.job = gone
    scheduler.queued(most=1)
    scheduler.runner.job = scheduler.job = own


def test_what_a_scheduler_left_is_found_once_it_counts_as_dead(scheduler: Scheduler) -> None:
    left_behind(scheduler, seconds=29)
    assert scheduler.runner.adopt_or_reset_orphaned_tasks(session=scheduler.session) == 0


def test_what_a_local_executor_ran_is_started_again_not_adopted(scheduler: Scheduler) -> None:
    from airflow.models.taskinstance import TaskInstance

    left_behind(scheduler, seconds=31)
    assert scheduler.runner.adopt_or_reset_orphaned_tasks(session=scheduler.session) == 1
    train = scheduler.session.query(TaskInstance).filter_by(dag_id=LIMITS, task_id="train").one()
    assert train.state is None


def test_a_scheduler_looks_for_orphans_at_its_start_and_each_five_minutes() -> None:
    import inspect

    from airflow.configuration import conf
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

    assert conf.getint("scheduler", "scheduler_health_check_threshold") == 30
    assert conf.getint("scheduler", "orphaned_tasks_check_interval") == 300
    loop = inspect.getsource(SchedulerJobRunner._run_scheduler_loop)
    assert loop.index("self.adopt_or_reset_orphaned_tasks()") < loop.index("call_regular_interval(")


@pytest.mark.parametrize(("seconds", "found"), [(290, 0), (310, 1)])
def test_a_task_without_heartbeat_for_five_minutes_is_found(
    scheduler: Scheduler, seconds: int, found: int
) -> None:
    scheduler.pool(128)
    scheduler.start("one")
    (running,) = scheduler.queued(most=1)
    from airflow.models.taskinstance import TaskInstance

    instance = scheduler.session.query(TaskInstance).filter_by(id=running.id).one()
    instance.state = "running"
    instance.last_heartbeat_at = datetime.now(UTC) - timedelta(seconds=seconds)
    scheduler.session.flush()
    dead = scheduler.runner._find_task_instances_without_heartbeats(session=scheduler.session)
    assert len(dead) == found


def test_three_failed_heartbeats_in_a_row_end_the_task() -> None:
    from airflow.sdk.execution_time import supervisor

    killed: list[Any] = []
    own: Any = SimpleNamespace(failed_heartbeats=0, id="x", kill=lambda *a, **_: killed.append(a))
    for _ in range(2):
        supervisor.ActivitySubprocess._handle_heartbeat_failures(own, OSError())
    assert not killed
    supervisor.ActivitySubprocess._handle_heartbeat_failures(own, OSError())
    assert len(killed) == 1
    assert supervisor.MIN_HEARTBEAT_INTERVAL == 5


def test_a_deferred_task_holds_no_slot_unless_its_pool_says_so(scheduler: Scheduler) -> None:
    from airflow.models.pool import Pool
    from airflow.models.taskinstance import TaskInstance

    scheduler.pool(2)
    scheduler.start("one")
    scheduler.session.query(TaskInstance).filter_by(dag_id=LIMITS, task_id="train").update(
        {"state": "deferred"}
    )
    assert Pool.slots_stats(session=scheduler.session)[POOL]["open"] == 2
    scheduler.session.query(Pool).filter_by(pool=POOL).update({"include_deferred": True})
    assert Pool.slots_stats(session=scheduler.session)[POOL]["open"] == 1


def test_the_defaults_are_those_of_the_table() -> None:
    from airflow.configuration import conf

    defaults = {
        ("core", "max_active_runs_per_dag"): 16,
        ("core", "default_pool_task_slot_count"): 128,
        ("core", "max_active_tasks_per_dag"): 16,
        ("core", "parallelism"): 32,
        ("scheduler", "task_queued_timeout"): 600,
        ("scheduler", "task_instance_heartbeat_timeout"): 300,
    }
    assert {name: conf.getfloat(*name) for name in defaults} == defaults


def test_not_every_executor_lets_go_of_a_queued_task(scheduler: Scheduler) -> None:
    from airflow.executors.base_executor import BaseExecutor
    from airflow.executors.local_executor import LocalExecutor
    from airflow.providers.cncf.kubernetes.executors.kubernetes_executor import KubernetesExecutor

    assert KubernetesExecutor.revoke_task is not BaseExecutor.revoke_task
    assert KubernetesExecutor.try_adopt_task_instances is not BaseExecutor.try_adopt_task_instances
    assert LocalExecutor.try_adopt_task_instances is BaseExecutor.try_adopt_task_instances
    nobody: Any = None
    with pytest.raises(NotImplementedError):
        scheduler.executor.revoke_task(ti=nobody)
    assert scheduler.runner._num_stuck_queued_retries == 2


@pytest.fixture
def executors(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """``executors("LocalExecutor")`` configures them; gives the names that Airflow understands."""
    from airflow.executors import executor_loader

    caches = ("_alias_to_executors_per_team", "_module_to_executors_per_team")
    caches += ("_classname_to_executors_per_team", "_team_name_to_executors", "_executor_names")

    def forget() -> None:
        for name in caches:
            getattr(executor_loader, name).clear()

    def configure(value: str) -> Any:
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", value)
        forget()
        return executor_loader.ExecutorLoader

    yield configure
    monkeypatch.delenv("AIRFLOW__CORE__EXECUTOR", raising=False)
    forget()


def test_an_executor_of_the_list_is_accepted(
    executors: Callable[[str], Any], parsing: Callable[[str], Any]
) -> None:
    loader = executors("LocalExecutor,KubernetesExecutor")
    assert loader.get_default_executor_name().alias == "LocalExecutor"
    bag = parsing(TWO_EXECUTORS)
    assert not bag.import_errors
    dag = bag.dags["l03_two_executors"]
    assert dag.get_task("prepare").executor is None
    assert dag.get_task("train").executor == "KubernetesExecutor"


def test_the_task_goes_to_the_executor_it_asks_for(executors: Callable[[str], Any]) -> None:
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

    class Pods:
        name = executors("LocalExecutor,KubernetesExecutor").lookup_executor_name_by_str(
            "KubernetesExecutor"
        )
        team_name = None

    class Forks(Pods):
        name = executors("LocalExecutor,KubernetesExecutor").get_default_executor_name()

    runner = SchedulerJobRunner(Job(), executors=[Forks(), Pods()])  # type: ignore[list-item]

    class Instance:
        def __init__(self, executor: str | None) -> None:
            self.get_executor_name = lambda: executor

    found = [
        runner._try_to_load_executor(Instance(name), None)  # type: ignore[arg-type]
        for name in (None, "KubernetesExecutor")
    ]
    assert [type(each).__name__ for each in found] == ["Forks", "Pods"]


def test_an_executor_that_is_not_in_the_list_is_an_import_error(
    executors: Callable[[str], Any], parsing: Callable[[str], Any]
) -> None:
    executors("LocalExecutor")
    bag = parsing(TWO_EXECUTORS)
    assert not bag.dags, "the whole DAG is refused, not only the task"
    (error,) = bag.import_errors.values()
    assert "Task 'train' specifies executor 'KubernetesExecutor', which is not available" in error


def test_the_pairs_of_airflow_2_are_gone(executors: Callable[[str], Any]) -> None:
    from airflow.exceptions import AirflowConfigException

    for pair in ("CeleryKubernetesExecutor", "LocalKubernetesExecutor", "SequentialExecutor"):
        with pytest.raises((AirflowConfigException, ImportError, ValueError)):
            executors(pair).load_executor(pair)


def test_the_search_of_the_course_lets_production_go_first() -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.task.priority_strategy import validate_and_load_priority_weight_strategy

    weights, pools = {}, set()
    for dag_id, task_id in (("tune_hyperparameters", "worker"), ("train_delay_model", "train")):
        dag = DagBag(str(REPOSITORY / "dags" / f"{dag_id}.py")).dags[dag_id]
        asked = dag.get_task(task_id)
        rule: Any = validate_and_load_priority_weight_strategy(asked.weight_rule)
        weights[task_id] = rule.get_weight(SimpleNamespace(task=asked))
        pools.add(asked.pool)
    assert pools == {"training"}
    # `train` and the six tasks behind it.
    assert weights == {"worker": 1, "train": 7}
