"""The feature store: Feast, opened with the addresses of the settings."""

import importlib.util
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template
from types import ModuleType
from typing import Any

import yaml
from feast import Entity, FeatureService, FeatureStore, FeatureView
from feast.repo_config import RepoConfig

from flightdelays.errors import CourseError
from flightdelays.lake import using
from flightdelays.settings import Settings, get_settings

SERVICE = "delay_model"


def open_store(settings: Settings | None = None) -> FeatureStore:
    """Feast's FeatureStore as ``feature_repo/feature_store.yaml`` describes it.

    ``${FLIGHTDELAYS_…}`` in that file stands for a setting, any other ``${NAME}`` for an
    environment variable; CourseError names one that is not set.
    """
    settings = settings or get_settings()
    path = Path(settings.feature_repo) / "feature_store.yaml"
    values = {f"FLIGHTDELAYS_{name.upper()}": str(v) for name, v in settings.model_dump().items()}
    try:
        text = Template(path.read_text("utf-8")).substitute(os.environ | values)
    except FileNotFoundError as error:
        raise CourseError(f"{path} is missing: set FLIGHTDELAYS_FEATURE_REPO") from error
    except KeyError as error:
        raise CourseError(
            f"{path} names ${{{error.args[0]}}}: set it in the environment"
        ) from error
    for file in (settings.feast_registry, settings.feast_online):
        if "://" not in file:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
    config = RepoConfig(**yaml.safe_load(text), repo_path=Path(settings.feature_repo))
    return FeatureStore(config=config)


def apply(settings: Settings | None = None) -> list[str]:
    """Register the definitions of ``feature_repo/definitions.py``; returns the view names.

    In process this takes a fraction of a second; ``feast apply`` as a command about ten.
    """
    settings = settings or get_settings()
    with using(settings):
        definitions = _load(Path(settings.feature_repo) / "definitions.py")
    objects: list[Any] = [
        value
        for value in vars(definitions).values()
        if isinstance(value, Entity | FeatureView | FeatureService)
    ]
    open_store(settings).apply(objects)
    return sorted(value.name for value in objects if isinstance(value, FeatureView))


def materialize(until: datetime, settings: Settings | None = None) -> None:
    """Bring the online store to the latest facts known at ``until`` (timezone-aware).

    Reads back as far as the longest TTL: anything older is not served anyway.
    """
    store = open_store(settings)
    views = store.list_feature_views()
    longest = max((view.ttl or timedelta(0) for view in views), default=timedelta(0))
    store.materialize(start_date=until - longest, end_date=until)


def online_features(
    entities: Sequence[dict[str, Any]], settings: Settings | None = None
) -> dict[str, list[Any]]:
    """Latest materialised features of each entity: a dict of column to list, in order."""
    store = open_store(settings)
    service = store.get_feature_service(SERVICE)
    return store.get_online_features(features=service, entity_rows=list(entities)).to_dict()


def end_of_month(month: str) -> datetime:
    """First moment after a month by New York's clock, in UTC, to the safe side (EST)."""
    year, number = (int(part) for part in month.split("-"))
    return datetime(year + number // 12, number % 12 + 1, 1, 5, tzinfo=UTC)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("feature_repo_definitions", path)
    if spec is None or spec.loader is None:
        raise CourseError(f"{path} cannot be loaded as a Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
