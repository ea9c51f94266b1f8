"""Fit one candidate: called by a task, and as ``python -m flightdelays.train`` in a pod."""

import json
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


def train(
    source: str, window: Window, model: str, run: str, settings: Settings | None = None
) -> dict[str, Any]:
    """Fit ``model`` on the training rows of the set at ``source`` and log it to MLflow.

    Returns the MLflow ``run_id``, ``model`` name and ``address`` of the logged model, the
    number of ``rows``, the ``seconds`` of the fit and the ``device`` it ran on.
    """
    settings = settings or get_settings()
    registry.client(settings)
    training, _ = dataset.split(dataset.load(source, settings), window)
    columns = feature_columns(list(training.columns))
    pipeline = models.make(model, settings)
    start = time.perf_counter()
    # Not every model takes a number of threads: hist_gradient would use all cores.
    with threadpool_limits(settings.threads):
        pipeline.fit(training[columns], training[LABEL])
    seconds = round(time.perf_counter() - start, 2)
    params = {
        "train_from": window.train_from,
        "train_to": window.train_to,
        "validation": window.validation,
        "rows": len(training),
        "seed": settings.seed,
    }
    run_id, address = registry.log_candidate(
        pipeline, model, training.head(100), params, run, settings
    )
    return {
        "run_id": run_id,
        "model": model,
        "address": address,
        "rows": len(training),
        "seconds": seconds,
        "device": models.device(pipeline),
    }


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
) -> None:
    """Train one model on a training set and log it to MLflow; prints the result as JSON."""
    try:
        fitted = train(source, Window(train_from, train_to, validation), model, run)
    except (CourseError, ServiceError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    publish(fitted, result)


if __name__ == "__main__":
    typer.run(main)
