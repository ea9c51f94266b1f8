"""Fit one candidate: called by a task, and as ``python -m flightdelays.train`` in a pod."""

import json
import logging
import os
import platform
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from threadpoolctl import threadpool_limits

from flightdelays import dataset, models, registry
from flightdelays.dataset import LABEL, feature_columns
from flightdelays.errors import CourseError, ServiceError
from flightdelays.runs import Window
from flightdelays.settings import Settings, get_settings

log = logging.getLogger(__name__)

# What a person must mend, a wrong option among it, has another exit code than what may pass.
WRONG_INPUT, TRY_AGAIN = 2, 1


def train(
    source: str,
    window: Window,
    model: str,
    run: str,
    settings: Settings | None = None,
    rounds: int = 0,
) -> dict[str, Any]:
    """Fit ``model`` on the training rows of the set at ``source`` and log it to MLflow.

    XGBoost goes on where an earlier try of the same run was cut short; ``rounds`` is its number of
    trees, 0 the usual one.

    Returns the MLflow ``run_id``, ``model`` name and ``address`` of the logged model, the
    number of ``rows``, the ``seconds`` of the fit, the ``device`` it ran on, and the number of
    trees that an earlier try had ``resumed`` (0 for a new start).
    """
    settings = settings or get_settings()
    registry.client(settings)
    training, _ = dataset.split(dataset.load(source, settings), window)
    columns = feature_columns(list(training.columns))
    pipeline = models.make(model, settings)
    if rounds and model != "xgboost":
        raise CourseError(f"rounds is the number of trees of xgboost: {model} takes none")
    params = {
        "train_from": window.train_from,
        "train_to": window.train_to,
        "validation": window.validation,
        "rows": len(training),
        "seed": settings.seed,
    }
    device = models.device(pipeline)
    log.info("training %s on %s flights, device %s", model, f"{len(training):,}", device)
    start = time.perf_counter()
    # Not every model takes a number of threads: hist_gradient would use all cores.
    with threadpool_limits(settings.threads):
        if model == "xgboost":
            if rounds:
                params["rounds"] = rounds
            resumed = _fit_xgboost(pipeline, training, run, params | {"source": source}, settings)
        else:
            resumed = 0
            pipeline.fit(training[columns], training[LABEL])
    seconds = round(time.perf_counter() - start, 2)
    run_id, address = registry.log_candidate(
        pipeline, model, training.head(100), params, run, settings
    )
    return {
        "run_id": run_id,
        "model": model,
        "address": address,
        "rows": len(training),
        "seconds": seconds,
        "device": device,
        "resumed": resumed,
    }


def _fit_xgboost(
    pipeline: Any, training: Any, run: str, made_with: dict[str, Any], settings: Settings
) -> int:
    """Fit with checkpoints; returns the number of trees that were there already."""
    from flightdelays.checkpoint import Checkpoints

    booster = pipeline.named_steps["model"]
    total = made_with.get("rounds", booster.n_estimators)
    checkpoints = Checkpoints(run, made_with, settings)
    before = checkpoints.load()
    there = before.num_boosted_rounds() if before else 0
    if there:
        log.info("going on after %d of %d trees, which an earlier try left", there, total)
    booster.set_params(n_estimators=total - there, callbacks=[checkpoints])
    pipeline.fit(
        training[feature_columns(list(training.columns))], training[LABEL], model__xgb_model=before
    )
    # The model that is logged is one of so many trees, however many tries they took.
    booster.set_params(n_estimators=total, callbacks=None)
    return there


def publish(result: dict[str, Any], file: Path | None) -> None:
    """Print a result with the node it came from as one line of JSON, and write it to ``file``.

    In a pod that file is what Airflow reads as the task's XCom. ``NODE_NAME`` names the node
    there; elsewhere it is this machine's name.
    """
    line = json.dumps(result | {"node": os.environ.get("NODE_NAME") or platform.node()})
    if file is not None:
        file.write_text(line, "utf-8")
    typer.echo(line)


def main(
    source: Annotated[str, typer.Option(help="path or S3 address of the training set")],
    train_from: Annotated[str, typer.Option(help="first month to train on, YYYY-MM")],
    train_to: Annotated[str, typer.Option(help="last month to train on, YYYY-MM")],
    validation: Annotated[str, typer.Option(help="later month to judge by, YYYY-MM")],
    model: Annotated[str, typer.Option(help=f"one of {', '.join(models.REGISTRY)}")],
    run: Annotated[str, typer.Option(help="name of the run; a run of that name is replaced")],
    result: Annotated[Path | None, typer.Option(help="file to write the result to")] = None,
    rounds: Annotated[int, typer.Option(min=0, help="trees of xgboost; 0: the usual 200")] = 0,
) -> None:
    """Train one model on a training set and log it to MLflow; prints the result as JSON."""
    # On standard error: standard output is the result.
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    try:
        window = Window(train_from, train_to, validation)
        fitted = train(source, window, model, run, rounds=rounds)
    except (CourseError, ServiceError) as error:
        typer.echo(f"error: {error}", err=True)
        code = WRONG_INPUT if isinstance(error, CourseError) else TRY_AGAIN
        raise typer.Exit(code) from error
    publish(fitted, result)


if __name__ == "__main__":
    typer.run(main)
