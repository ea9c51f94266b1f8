"""What a whole pipeline run found, as one MLflow run beside those of its candidates."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow

from flightdelays import registry
from flightdelays.settings import Settings, get_settings

RUN, KIND = "course.run", "course.kind"


def log_run(
    kind: str,
    run: str,
    *,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str] | None = None,
    files: Sequence[Path] = (),
    settings: Settings | None = None,
) -> str:
    """Log one MLflow run with the files as artefacts; returns its id.

    There is one of each ``kind`` for a pipeline run: one from an earlier try is replaced.
    """
    settings = settings or get_settings()
    service = registry.client(settings)
    experiment = mlflow.set_experiment(settings.experiment).experiment_id
    # MLflow's filters have two kinds of quotes and no way to escape either.
    quote = '"' if "'" in run else "'"
    earlier = service.search_runs(
        [experiment], f"tags.`{RUN}` = {quote}{run}{quote} and tags.`{KIND}` = '{kind}'"
    )
    for found in earlier:
        service.delete_run(found.info.run_id)
    with mlflow.start_run(run_name=f"{kind} {run}") as active:
        mlflow.set_tags({RUN: run, KIND: kind} | dict(tags or {}))
        mlflow.log_params(dict(params))
        mlflow.log_metrics(dict(metrics))
        for file in files:
            mlflow.log_artifact(str(file))
    return str(active.info.run_id)
