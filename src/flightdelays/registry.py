"""Experiment tracking and the model registry: MLflow.

A candidate is an MLflow run that holds the model, its parameters, metrics and plots. To
deploy it is to register that run's model and point the alias ``staging`` at the version.
The alias ``champion`` is the model in use: the first model to pass the gate becomes it,
every later one has to be promoted, which a person approves.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature

from flightdelays.dataset import feature_columns
from flightdelays.errors import CourseError
from flightdelays.runs import Window
from flightdelays.service import check_mlflow
from flightdelays.settings import Settings, get_settings

STAGING, CHAMPION = "staging", "champion"
APPROVED_BY = "approved_by"
# skops refuses to load types it does not know; these are the ones our pipelines contain.
_TRUSTED = {
    "logistic": ["numpy.dtype", "sklearn.compose._column_transformer.make_column_selector"],
    "hist_gradient": [
        "functools.partial",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.utils.validation.check_array",
    ],
    "random_forest": ["sklearn.tree._tree.Tree"],
    "xgboost": ["xgboost.core.Booster", "xgboost.sklearn.XGBClassifier"],
    "lightgbm": [
        "collections.OrderedDict",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
    ],
    "catboost": ["catboost.core.CatBoostClassifier"],
}
# XGBoost comes as either of two packages: with CUDA in an image for GPUs, without elsewhere.
_LIBRARY = {
    "xgboost": ("xgboost-cpu", "xgboost"),
    "lightgbm": ("lightgbm",),
    "catboost": ("catboost",),
}


@dataclass(frozen=True)
class Trained:
    """A version of the model: its kind, the months behind it, its metrics on the validation month.

    ``metrics`` holds ``auc``, ``pr_auc`` and ``log_loss`` as ``log_evaluation`` was given them.
    """

    version: int
    model: str
    window: Window
    metrics: dict[str, float]


def client(settings: Settings | None = None) -> MlflowClient:
    """A client of the settings' MLflow, after a check that it answers."""
    settings = settings or get_settings()
    check_mlflow(settings)
    # MLflow's own patience is seven tries of two minutes; a task has retries of its own.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(settings.mlflow_timeout))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Models go through the server: a client need neither reach the object store behind it nor
    # wait for minutes where it cannot.
    os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")
    os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "false")
    # It reports success on stderr, which Airflow shows as errors.
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    mlflow.set_tracking_uri(settings.mlflow_tracking_uri)
    return MlflowClient()


def log_candidate(
    model: Any,
    name: str,
    sample: pd.DataFrame,
    params: Mapping[str, Any],
    run: str,
    settings: Settings | None = None,
) -> tuple[str, str]:
    """Log a fitted model as an MLflow run; returns the run's id and the model's address.

    ``sample`` holds a few rows of the training set, for signature and input example. A run
    of the same name and model from an earlier try is replaced, so there is always one.
    """
    settings = settings or get_settings()
    service = client(settings)
    experiment = mlflow.set_experiment(settings.experiment)
    for earlier in _runs(service, experiment.experiment_id, run, name):
        service.delete_run(earlier.info.run_id)
    example = sample[feature_columns(list(sample.columns))]
    with mlflow.start_run(run_name=f"{name} {run}") as active:
        mlflow.set_tags({"course.run": run, "course.model": name})
        mlflow.log_params(dict(params) | {"model": name})
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(example, model.predict_proba(example)),
            input_example=example.head(3),
            pyfunc_predict_fn="predict_proba",
            # Named, because finding them out starts a process that imports everything again.
            pip_requirements=_requirements(name),
            skops_trusted_types=_TRUSTED.get(name),
        )
    return str(active.info.run_id), str(logged.model_uri)


def log_evaluation(
    run_id: str,
    metrics: Mapping[str, float],
    folder: Path,
    settings: Settings | None = None,
) -> None:
    """Add metrics and the files of a folder (plots, report) to a candidate's run."""
    service = client(settings)
    for key, value in metrics.items():
        service.log_metric(run_id, key, value)
    service.log_artifacts(run_id, str(folder), "evaluation")


def fetch_evaluation(run_id: str, folder: Path, settings: Settings | None = None) -> None:
    """Bring the files of ``log_evaluation`` into a folder.

    In a cluster the one who draws and the one who reports are different pods, with no common disk.
    """
    with tempfile.TemporaryDirectory() as place:
        client(settings).download_artifacts(run_id, "evaluation", place)
        shutil.copytree(Path(place) / "evaluation", folder, dirs_exist_ok=True)


def load_model(address: str, settings: Settings | None = None) -> Any:
    """The fitted pipeline at an address that ``log_candidate`` returned."""
    client(settings)
    # A folder of our own: MLflow removes its own when Python exits, and to that the process of a
    # task never comes.
    with tempfile.TemporaryDirectory() as folder:
        return mlflow.sklearn.load_model(address, dst_path=folder)


def load_alias(alias: str, settings: Settings | None = None) -> tuple[int, Any] | None:
    """Version number and fitted pipeline behind an alias, or None if nothing has it."""
    settings = settings or get_settings()
    number = alias_version(alias, settings)
    if number is None:
        return None
    return number, load_model(f"models:/{settings.model_name}/{number}", settings)


def alias_version(alias: str, settings: Settings | None = None) -> int | None:
    """Version that an alias names, or None if nothing has it."""
    settings = settings or get_settings()
    try:
        found = client(settings).get_model_version_by_alias(settings.model_name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return int(found.version)


def describe(number: int, settings: Settings | None = None) -> Trained:
    """What MLflow knows of a version; CourseError names what its run lacks."""
    settings = settings or get_settings()
    service = client(settings)
    run_id = service.get_model_version(settings.model_name, str(number)).run_id
    logged = service.get_run(str(run_id)).data
    try:
        return Trained(
            number,
            logged.params["model"],
            Window(*(logged.params[name] for name in ("train_from", "train_to", "validation"))),
            {name: logged.metrics[name] for name in ("auc", "pr_auc", "log_loss")},
        )
    except KeyError as error:
        raise CourseError(
            f"MLflow run {run_id} of {settings.model_name} version {number} has no "
            f"{error.args[0]}: train and deploy again with the DAG train_delay_model"
        ) from error


def deploy(
    run_id: str, address: str, sample: pd.DataFrame, settings: Settings | None = None
) -> tuple[int, list[str]]:
    """Register a candidate and point ``staging`` at it; returns version and aliases set.

    The model is then loaded through the alias and asked about ``sample``; if it does not
    answer with probabilities the alias goes back to where it was and CourseError is raised.
    Deploying the same candidate again keeps its version. Without a champion so far, this
    model becomes it.
    """
    settings = settings or get_settings()
    service = client(settings)
    before = alias_version(STAGING, settings)
    number = _version_of(service, run_id, address, settings)
    service.set_registered_model_alias(settings.model_name, STAGING, str(number))
    try:
        _smoke_test(sample, settings)
    except Exception:
        if before is None:
            service.delete_registered_model_alias(settings.model_name, STAGING)
        else:
            service.set_registered_model_alias(settings.model_name, STAGING, str(before))
        raise
    if alias_version(CHAMPION, settings) in (None, number):
        service.set_registered_model_alias(settings.model_name, CHAMPION, str(number))
        return number, [STAGING, CHAMPION]
    return number, [STAGING]


def promote(number: int, approved_by: str, settings: Settings | None = None) -> None:
    """Make a version that ``staging`` names the champion; who approved it becomes its tag.

    An approval is of one version: CourseError if ``staging`` names another by now. Promoting
    the champion again changes nothing, not even its tag.
    """
    settings = settings or get_settings()
    service = client(settings)
    if alias_version(CHAMPION, settings) == number:
        return
    staged = alias_version(STAGING, settings)
    if staged != number:
        found = f"names version {staged}" if staged else "is gone"
        raise CourseError(
            f"version {number} of {settings.model_name} was approved, but the alias {STAGING} "
            f"{found} by now: the champion stays; run promote_model to decide on what is staged"
        )
    # First, so that no champion is ever without it.
    service.set_model_version_tag(settings.model_name, str(number), APPROVED_BY, approved_by)
    service.set_registered_model_alias(settings.model_name, CHAMPION, str(number))


def _smoke_test(sample: pd.DataFrame, settings: Settings) -> None:
    address = f"models:/{settings.model_name}@{STAGING}"
    with tempfile.TemporaryDirectory() as folder:
        served = mlflow.pyfunc.load_model(address, dst_path=folder)
        answers = pd.DataFrame(served.predict(sample[feature_columns(list(sample.columns))]))
    if answers.shape != (len(sample), 2) or not ((answers >= 0) & (answers <= 1)).all(axis=None):
        raise CourseError(f"{address} answered {answers.shape} values that are no probabilities")


def _version_of(service: MlflowClient, run_id: str, address: str, settings: Settings) -> int:
    known = service.search_model_versions(f"name = '{settings.model_name}' and run_id = '{run_id}'")
    if known:
        return max(int(version.version) for version in known)
    registered = mlflow.register_model(address, settings.model_name)
    return int(registered.version)


def _runs(service: MlflowClient, experiment_id: str, run: str, name: str) -> list[Run]:
    # MLflow's filters have two kinds of quotes and no way to escape either.
    quote = '"' if "'" in run else "'"
    return list(
        service.search_runs(
            [experiment_id],
            f"tags.`course.run` = {quote}{run}{quote} and tags.`course.model` = '{name}'",
        )
    )


def _requirements(name: str) -> list[str]:
    packages = ["mlflow", "scikit-learn", "skops", "pandas", "numpy"]
    packages += [package for package in _LIBRARY.get(name, ()) if any(distributions(name=package))]
    return [f"{package}=={installed(package)}" for package in packages]
