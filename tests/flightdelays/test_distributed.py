"""Training on several workers, here on threads of this process; pods do the same."""

import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
from dask.distributed import Client, LocalCluster

from flightdelays import dataset, distributed, evaluation, models
from flightdelays.dataset import LABEL, feature_columns
from flightdelays.errors import DataError, LakeError, ServiceError
from flightdelays.lake import open_lake
from flightdelays.runs import Window
from flightdelays.settings import Settings

ROUNDS = 30
FEBRUARY = Window("2013-02", "2013-02", "2013-03")


@pytest.fixture(scope="module")
def folder(rows: pd.DataFrame, window: Window, settings: Settings) -> str:
    return distributed.write_parts(rows, window, "in parts", settings)


@pytest.fixture(scope="module")
def parts(folder: str, settings: Settings) -> list[str]:
    found: list[str] = open_lake(settings).read_json(f"{folder}/{distributed.MANIFEST}")
    return found


@contextmanager
def threads(workers: int) -> Iterator[LocalCluster]:
    """A cluster of workers in threads of this process, which is quicker to start than processes."""
    with (
        TemporaryDirectory() as folder,
        dask.config.set({"temporary-directory": folder}),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=False,
            host="127.0.0.1",
            protocol="tcp",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
    ):
        yield cluster


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with threads(2) as cluster, Client(cluster) as connected:
        yield connected


def test_the_parts_are_the_training_rows_in_their_order(
    rows: pd.DataFrame, window: Window, parts: list[str], folder: str, settings: Settings
) -> None:
    training, validation = dataset.split(rows, window)
    read = [dataset.load(part, settings) for part in parts]
    assert {len(part) for part in read[:-1]} == {distributed.ROWS_PER_PART}
    pd.testing.assert_frame_equal(pd.concat(read, ignore_index=True), training)
    apart = dataset.load(f"{folder}/validation.parquet", settings)
    pd.testing.assert_frame_equal(apart, validation.reset_index(drop=True))


def test_writing_fewer_rows_leaves_no_part_of_the_run_before(
    rows: pd.DataFrame, settings: Settings
) -> None:
    for window, number in ((Window("2013-01", "2013-02", "2013-03"), 11), (FEBRUARY, 5)):
        folder = distributed.write_parts(rows, window, "again", settings)
        files = open_lake(settings).files(f"{folder}/train/*.parquet")
        assert len(files) == number


def test_one_worker_fits_the_model_that_a_plain_fit_gives(
    client: Client, parts: list[str], rows: pd.DataFrame, window: Window, settings: Settings
) -> None:
    """To the last digit, encoder included: so what several differ by is due to their number."""
    model, took = distributed.fit(client, parts, 1, ROUNDS, settings)
    training, validation = dataset.split(rows, window)
    columns = feature_columns(list(rows.columns))
    plain = models.make("xgboost", settings).set_params(model__n_estimators=ROUNDS)
    plain.fit(training[columns], training[LABEL])
    np.testing.assert_array_equal(
        evaluation.predict(model, validation), evaluation.predict(plain, validation)
    )
    assert took["rows"] == len(training)


def test_two_workers_share_the_rows_and_fit_as_good_a_model(
    client: Client, parts: list[str], rows: pd.DataFrame, window: Window, settings: Settings
) -> None:
    one, _ = distributed.fit(client, parts, 1, ROUNDS, settings)
    two, took = distributed.fit(client, parts, 2, ROUNDS, settings)
    training, validation = dataset.split(rows, window)
    assert took["rows"] == len(training)
    answers = [evaluation.predict(model, validation) for model in (one, two)]
    # They are two models: each worker sketched its own rows.
    assert np.abs(answers[0] - answers[1]).max() > 0
    auc = [evaluation.measure(validation[LABEL], answer).auc for answer in answers]
    assert min(auc) > 0.7
    assert abs(auc[0] - auc[1]) <= distributed.SAME_QUALITY


def test_an_airport_that_training_never_saw_is_a_gap(
    client: Client, parts: list[str], rows: pd.DataFrame, settings: Settings
) -> None:
    model, _ = distributed.fit(client, parts[:2], 2, 3, settings)
    asked = rows.tail(10).assign(dest="QQQ", carrier=None)
    assert np.isfinite(evaluation.predict(model, asked)).all()


def test_a_part_that_is_gone_is_named(client: Client, folder: str, settings: Settings) -> None:
    with pytest.raises(LakeError, match=r"/train/gone\.parquet is not in the lake"):
        distributed.fit(client, [f"{folder}/train/gone.parquet"], 1, 3, settings)


def test_a_window_without_rows_writes_nothing(rows: pd.DataFrame, settings: Settings) -> None:
    with pytest.raises(DataError, match="there are no validation rows"):
        distributed.write_parts(rows, Window("2013-01", "2013-02", "2013-12"), "no", settings)
    assert open_lake(settings).files(f"{settings.lake}/runs/no/**") == []


def test_an_address_without_a_scheduler_is_named(free_address: str) -> None:
    address = free_address.replace("http", "tcp")
    with (
        pytest.raises(ServiceError, match=f"no Dask scheduler answers at {address}: start one"),
        distributed.cluster(2, address, patience=1),
    ):
        pass


def test_a_scheduler_with_too_few_workers_is_named() -> None:
    with (
        threads(1) as there,
        pytest.raises(ServiceError, match=r"has 1 of the 2 workers asked for: start more with"),
        distributed.cluster(2, there.scheduler_address, patience=1),
    ):
        pass


def test_a_daemonic_process_may_start_workers_only_meanwhile() -> None:
    process = multiprocessing.current_process()
    process.daemon = True
    try:
        with distributed._children_allowed():
            assert process.daemon is False
        assert process.daemon is True
    finally:
        process.daemon = False


def judged(**changes: float) -> list[dict[str, Any]]:
    one = {"workers": 1, "rows": 10, "startup": 3.0, "reading": 2.0, "seconds": 6.04}
    one |= {"auc": 0.75, "pr_auc": 0.4, "address": "models:/one"}
    return [one, one | {"workers": 2, "address": "models:/two"} | changes]


@pytest.mark.parametrize(
    ("auc", "headline"),
    [
        (0.741, "2 workers train as good a model as one: AUC 0.7410 against 0.7500."),
        (0.739, "2 workers train another model than one worker: AUC 0.7390 against 0.7500."),
    ],
)
def test_the_headline_says_whether_the_quality_is_the_same(auc: float, headline: str) -> None:
    months = {"train_from": "2013-08", "train_to": "2013-08", "validation": "2013-09"}
    told = distributed.describe(judged(auc=auc, seconds=3.0), months)
    assert told["headline"] == headline
    assert told["facts"][1] == "Reading and fitting took 5.0 s on 2 workers, 8.0 s on one."
    assert [row[0] for row in told["tables"]["Workers"].rows] == [1, 2]


def test_workers_start_from_a_program_that_cannot_be_imported(tmp_path: Path) -> None:
    # As in a task of Airflow, whose own program fails when a worker imports it.
    program = tmp_path / "program.py"
    program.write_text(
        "if __name__ != '__main__':\n"
        "    raise SystemExit('imported by a worker')\n"
        "from flightdelays.distributed import cluster\n"
        "with cluster(2) as client:\n"
        "    print(client.submit(sum, [1, 2]).result(), flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "3"
