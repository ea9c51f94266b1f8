"""Train one model on several workers: XGBoost on Dask.

The training set is written in parts and each worker reads its own straight from the lake; what
travels between the workers are sums of gradients, not rows. What comes out is the same pipeline
that one machine fits, so it is logged, loaded and asked like any other.

The workers are processes of this machine, or, given the address of a Dask scheduler, whatever
is connected to it: pods, for example, of an image with this package. They compute on the CPU.
"""

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import cycle
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import pandas as pd
import pyarrow as pa
import typer

from flightdelays import dataset, models
from flightdelays.dataset import CATEGORICAL, LABEL, feature_columns
from flightdelays.errors import CourseError, ServiceError
from flightdelays.lake import Lake, open_lake
from flightdelays.pages import Table
from flightdelays.runs import Window, run_folder
from flightdelays.settings import Settings, get_settings

ROWS_PER_PART = 5_000
MANIFEST = "parts.json"  # lists the parts; written last
# Every worker sketches the quantiles of its own rows before the sketches are merged, so the bins,
# and with them the trees, depend a little on the number of workers. Another number of bins moves
# the AUC of one machine as much: by 0.004 with one month of training rows, 0.002 with eight.
SAME_QUALITY = 0.01


def write_parts(
    rows: pd.DataFrame, window: Window, run: str, settings: Settings | None = None
) -> str:
    """Write a run's training rows in parts and its validation rows; returns their folder.

    The parts depend on the rows alone, not on the number of workers.
    """
    lake = open_lake(settings)
    training, validation = dataset.split(rows, window)
    lake.remove_folder(*run_folder(run), "parts")
    folder = lake.path(*run_folder(run), "parts")
    parts = []
    for number, start in enumerate(range(0, len(training), ROWS_PER_PART)):
        part = training.iloc[start : start + ROWS_PER_PART]
        parts.append(f"{folder}/train/part-{number:04d}.parquet")
        lake.write_table(parts[-1], pa.Table.from_pandas(part, preserve_index=False))
    lake.write_table(
        f"{folder}/validation.parquet", pa.Table.from_pandas(validation, preserve_index=False)
    )
    lake.write_json(f"{folder}/{MANIFEST}", parts)
    return folder


@contextmanager
def cluster(
    workers: int, scheduler_address: str | None = None, patience: float = 30
) -> Iterator[Any]:
    """A Dask client of ``workers`` workers with one thread each, closed in the end.

    Without an address the workers are processes started here. Dask's ports are then open to this
    machine only, and there is no dashboard; XGBoost's workers listen to each other on a port that
    is open to all for as long as the fit lasts. Raises ServiceError if no scheduler answers at
    the address, or one that has too few workers even after ``patience`` seconds.
    """
    import dask
    from dask.distributed import Client, LocalCluster

    if scheduler_address:
        try:
            client = Client(scheduler_address, timeout=min(5, patience))
        except (OSError, TimeoutError) as error:
            raise ServiceError(
                f"no Dask scheduler answers at {scheduler_address}: start one with `dask "
                "scheduler` and workers with `dask worker ADDRESS`, or leave the address empty"
            ) from error
        with client:
            try:
                client.wait_for_workers(workers, timeout=patience)
            except TimeoutError as error:
                there = len(client.scheduler_info()["workers"])
                raise ServiceError(
                    f"the Dask scheduler at {scheduler_address} has {there} of the {workers} "
                    f"workers asked for: start more with `dask worker {scheduler_address}`"
                ) from error
            yield client
        return
    with (
        _children_allowed(),
        _program_left_out(),
        tempfile.TemporaryDirectory(prefix="dask-") as folder,
        dask.config.set({"temporary-directory": folder}),
    ):
        local = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        )
        with local, Client(local) as client:
            yield client


@contextmanager
def _children_allowed() -> Iterator[None]:
    """Celery runs tasks in daemonic processes, which Python forbids to start processes.

    The ban keeps orphans from being left behind; these workers end with the one who started them.
    """
    process = multiprocessing.current_process()
    before = process.daemon
    process.daemon = False
    try:
        yield
    finally:
        process.daemon = before


@contextmanager
def _program_left_out() -> Iterator[None]:
    """Workers are fresh processes, and Python imports the program that started them into each.

    In a task that is Airflow, which takes seconds and refuses to be imported there: what a task
    may know of its database is not enough.
    """
    program = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program


def fit(
    client: Any, parts: Sequence[str], workers: int, rounds: int, settings: Settings
) -> tuple[Any, dict[str, Any]]:
    """Fit the pipeline ``xgboost`` on Parquet files.

    Returns it with the number of ``rows``, and the seconds of ``reading`` and preparing them and
    of the fit itself (``seconds``).
    """
    import dask.dataframe as dd
    from xgboost import dask as dxgb
    from xgboost.collective import Config

    begin = time.perf_counter()
    addresses = sorted(client.scheduler_info()["workers"])[:workers]
    # Named workers, so that each reads an equal share.
    places = [[address] for address, _ in zip(cycle(addresses), parts, strict=False)]
    frames = [
        client.submit(_read, part, workers=place, pure=False)
        for part, place in zip(parts, places, strict=True)
    ]
    # A few hundred rows hold every category; the encoder needs to see no more.
    known = pd.concat(client.gather(client.map(_categories, frames, pure=False)))
    pipeline = models.make("xgboost", settings)
    pipeline.set_params(model__n_estimators=rounds, model__device="cpu")
    prepare, model = pipeline.named_steps["prepare"], pipeline.named_steps["model"]
    prepare.fit(known)
    ready = [
        client.submit(_prepared, frame, prepare, workers=place, pure=False)
        for frame, place in zip(frames, places, strict=True)
    ]
    rows = sum(client.gather(client.map(len, ready, pure=False)))
    read = time.perf_counter()
    table = dd.from_delayed(ready, meta=client.submit(_head, ready[0], pure=False).result())
    features, labels = client.persist([table.drop(columns=LABEL), table[LABEL]], workers=addresses)
    matrix = dxgb.DaskQuantileDMatrix(client, features, labels)
    trained = dxgb.train(
        client,
        {name: value for name, value in model.get_xgb_params().items() if value is not None},
        matrix,
        num_boost_round=rounds,
        # Else the workers meet at an address of this machine that others can reach too. It is the
        # scheduler's own: that at which a client reaches it may be a Service in front of it.
        coll_cfg=Config(tracker_host_ip=_host(client.scheduler_info()["address"])),
    )
    model.load_model(trained["booster"].save_raw())
    fitted = time.perf_counter()
    return pipeline, {
        "rows": rows,
        "reading": round(read - begin, 2),
        "seconds": round(fitted - read, 2),
    }


def train(
    source: str,
    workers: int,
    run: str,
    rounds: int = 200,
    scheduler_address: str | None = None,
    settings: Settings | None = None,
    patience: float = 30,
) -> dict[str, Any]:
    """Fit on the parts below ``source`` with so many workers and log the model to MLflow.

    ``patience`` is how many seconds the workers of a scheduler may take to come.

    Returns what ``flightdelays.train.train`` returns, the number of ``workers``, and two times
    that ``seconds`` does not hold: ``startup`` until the workers were there, ``reading`` the data.
    """
    from flightdelays import registry  # not above: every worker imports this module

    settings = settings or get_settings()
    registry.client(settings)
    parts = open_lake(settings).read_json(f"{source}/{MANIFEST}")
    begin = time.perf_counter()
    with cluster(workers, scheduler_address, patience) as client:
        client.run(_warm_up, parts[0])
        startup = round(time.perf_counter() - begin, 2)
        pipeline, took = fit(client, parts, workers, rounds, settings)
    params = {"rows": took["rows"], "workers": workers, "rounds": rounds, "seed": settings.seed}
    run_id, address = registry.log_candidate(
        pipeline, "xgboost", _read(parts[0]).head(100), params, f"{run} workers={workers}", settings
    )
    return {
        "run_id": run_id,
        "model": "xgboost",
        "address": address,
        "workers": workers,
        "startup": startup,
        **took,
        "device": "cpu",
    }


def evaluate(
    source: str, candidates: Sequence[dict[str, Any]], settings: Settings | None = None
) -> list[dict[str, Any]]:
    """Metrics of what ``train`` returned, all on the validation rows below ``source``."""
    from flightdelays import evaluation, registry

    settings = settings or get_settings()
    rows = _read(f"{source}/validation.parquet")
    judged = []
    for candidate in candidates:
        model = registry.load_model(candidate["address"], settings)
        metrics = evaluation.measure(rows[LABEL], evaluation.predict(model, rows)).as_dict()
        service = registry.client(settings)
        for name, value in metrics.items():
            service.log_metric(candidate["run_id"], name, value)
        judged.append(candidate | metrics)
    return judged


def describe(judged: Sequence[dict[str, Any]], window: Mapping[str, str]) -> dict[str, Any]:
    """Headline, facts and table of two models that ``evaluate`` judged: one worker's comes first.

    Returns the arguments of ``flightdelays.pages.write`` that say it.
    """
    one, several = judged
    away = several["auc"] - one["auc"]
    alike = abs(away) <= SAME_QUALITY
    spent = {item["workers"]: item["reading"] + item["seconds"] for item in judged}
    return {
        "headline": f"{several['workers']} workers train "
        f"{'as good a model as one' if alike else 'another model than one worker'}: "
        f"AUC {several['auc']:.4f} against {one['auc']:.4f}.",
        "facts": [
            f"The AUC differs by {away:+.4f}; up to {SAME_QUALITY} counts as the same quality.",
            f"Reading and fitting took {spent[several['workers']]:.1f} s on {several['workers']} "
            f"workers, {spent[1]:.1f} s on one.",
            f"Trained on {window['train_from']} to {window['train_to']}, judged on "
            f"{window['validation']}.",
            f"The model of {several['workers']} workers is {several['address']} in MLflow.",
        ],
        "tables": {
            "Workers": Table(
                ["workers", "rows", "startup s", "reading s", "fit s", "AUC", "PR-AUC"],
                [
                    [item[key] for key in ("workers", "rows")]
                    + [f"{item[key]:.1f}" for key in ("startup", "reading", "seconds")]
                    + [item[key] for key in ("auc", "pr_auc")]
                    for item in judged
                ],
            )
        },
        "data": {"auc_difference": away, "same_quality": alike, "models": list(judged)},
    }


# What the workers do.


def _warm_up(part: str) -> None:
    """Import, and read once: a new worker needs seconds, which the first training is not to pay."""
    for module in ("dask.dataframe", "xgboost.dask"):
        import_module(module)
    _read(part)


def _read(path: str) -> pd.DataFrame:
    frame: pd.DataFrame = Lake(path).read_table(path).to_pandas()
    return frame


def _categories(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[feature_columns(list(frame.columns))].drop_duplicates(list(CATEGORICAL))


def _prepared(frame: pd.DataFrame, prepare: Any) -> pd.DataFrame:
    ready: pd.DataFrame = prepare.transform(frame[feature_columns(list(frame.columns))])
    return ready.assign(**{LABEL: frame[LABEL]})


def _head(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.head(0)


def _host(address: str) -> str:
    from distributed.comm import get_address_host

    return str(get_address_host(address))


def main(
    source: Annotated[str, typer.Option(help="folder that write_parts returned")],
    run: Annotated[str, typer.Option(help="name of the run; a run of that name is replaced")],
    workers: Annotated[int, typer.Option(min=1, help="number of workers")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="number of trees")] = 200,
    scheduler_address: Annotated[
        str | None, typer.Option(help="of a Dask scheduler; default: processes of this machine")
    ] = None,
    patience: Annotated[float, typer.Option(help="seconds that the workers may take")] = 30,
    result: Annotated[Path | None, typer.Option(help="file to write the result to")] = None,
) -> None:
    """Train XGBoost on several workers and log it to MLflow; prints the result as JSON."""
    from flightdelays.train import TRY_AGAIN, WRONG_INPUT, publish

    try:
        trained = train(source, workers, run, rounds, scheduler_address, patience=patience)
    except (CourseError, ServiceError) as error:
        typer.echo(f"error: {error}", err=True)
        code = WRONG_INPUT if isinstance(error, CourseError) else TRY_AGAIN
        raise typer.Exit(code) from error
    publish(trained, result)


if __name__ == "__main__":
    typer.run(main)
