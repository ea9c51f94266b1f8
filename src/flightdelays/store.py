"""The feature store: Feast, opened with the addresses of the settings."""

import fcntl
import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from string import Template
from types import ModuleType
from typing import Any

import yaml
from feast import Entity, FeatureService, FeatureStore, FeatureView
from feast.errors import FeatureServiceNotFoundException
from feast.infra.registry.sql import metadata
from feast.repo_config import RepoConfig
from redis.exceptions import RedisError
from sqlalchemy import NullPool, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, OperationalError

from flightdelays import features
from flightdelays.errors import CourseError, ServiceError
from flightdelays.lake import open_lake, using
from flightdelays.settings import Settings, get_settings

SERVICE = "delay_model"


def open_store(settings: Settings | None = None) -> FeatureStore:
    """Feast's FeatureStore as a file of the feature repository describes it.

    ``${FLIGHTDELAYS_…}`` in that file stands for a setting, any other ``${NAME}`` for an
    environment variable; CourseError names one that is not set.
    """
    config = _config(settings or get_settings())
    if config.registry.registry_type == "sql":
        with answering(settings):
            _create_tables(config.registry.path)
    return FeatureStore(config=config)


@contextmanager
def answering(settings: Settings | None = None) -> Iterator[None]:
    """Within it a registry or an online store that does not answer is a ServiceError."""
    try:
        yield
    except OperationalError as error:
        config = _config(settings or get_settings())
        place = make_url(config.registry.path).render_as_string(hide_password=True)
        raise ServiceError(
            f"the feature registry at {place} does not answer ({_reason(error.orig or error)}): "
            "start its database, or set FEAST_REGISTRY to where it is"
        ) from error
    except RedisError as error:
        config = _config(settings or get_settings())
        place = config.online_store.connection_string.partition(",")[0]
        raise ServiceError(
            f"the online store at {place} does not answer ({_reason(error)}): start Redis, or set "
            "FEAST_REDIS to where it is"
        ) from error


def apply(settings: Settings | None = None, view: str | None = None) -> list[str]:
    """Register what ``feature_repo/definitions.py`` defines; returns the names of the views.

    With ``view`` that view and its entity alone: no other registration is touched. CourseError
    names a view without a query, and a query without a view. In process this takes a fraction
    of a second; ``feast apply`` as a command about ten.
    """
    settings = settings or get_settings()
    check_complete(view, settings)
    defined = _definitions(settings)
    objects = [value for value in defined if view in (None, value.name)]
    if view is not None:
        entities = {name for value in _views(objects) for name in value.entities}
        objects += [v for v in defined if isinstance(v, Entity) and v.name in entities]
    with _alone(settings), answering(settings):
        open_store(settings).apply(objects)
    return sorted(value.name for value in _views(objects))


def check_complete(view: str | None = None, settings: Settings | None = None) -> None:
    """Whether each view has a definition and a query, or ``view`` alone has both.

    CourseError names the file at fault, DataError the known views if there is neither.
    """
    settings = settings or get_settings()
    folder = Path(settings.feature_repo)
    defined = {value.name for value in _views(_definitions(settings))}
    written = set(features.views(settings))
    if view is not None and view not in defined:
        features.check(view, settings)
    for name in sorted(defined ^ written):
        if view not in (None, name):
            continue
        if name in written:
            raise CourseError(
                f"{folder}/{name}.sql has no definition: add a view '{name}' to "
                f"{folder}/definitions.py"
            )
        raise CourseError(
            f"{folder}/definitions.py has a view '{name}' and no query of it: "
            f"write {folder}/{name}.sql"
        )


def check_columns(view: str, settings: Settings | None = None) -> None:
    """CourseError unless what was built of a view has the columns of its definition."""
    settings = settings or get_settings()
    lake = open_lake(settings)
    (defined,) = [value for value in _views(_definitions(settings)) if value.name == view]
    expected = {*defined.entities, "event_timestamp", *(f.name for f in defined.features)}
    month = lake.months(features.table(view))[-1]
    found = set(lake.read_table(lake.partition(features.table(view), month)).column_names)
    if found != expected:
        raise CourseError(
            f"{view}.sql and the view '{view}' in definitions.py (folder {settings.feature_repo}) "
            f"name different columns: {', '.join(sorted(found ^ expected))}"
        )


def service_views(settings: Settings | None = None) -> dict[str, list[str]]:
    """The views that the delay model reads, by the definitions, each with its features."""
    (service,) = [
        value
        for value in _definitions(settings or get_settings())
        if isinstance(value, FeatureService) and value.name == SERVICE
    ]
    return _selected(service)


def service_is_registered(settings: Settings | None = None) -> bool:
    """Whether the delay model reads from the registry what the definitions say it should."""
    settings = settings or get_settings()
    try:
        with answering(settings):
            registered = open_store(settings).get_feature_service(SERVICE)
    except FeatureServiceNotFoundException:
        return False
    return _selected(registered) == service_views(settings)


def materialize(until: datetime, settings: Settings | None = None, view: str | None = None) -> None:
    """Bring the online store to the latest facts known at ``until`` (timezone-aware).

    All views that are registered, or ``view`` alone. Reads back as far as the longest TTL:
    anything older is not served anyway.
    """
    settings = settings or get_settings()
    with _alone(settings), answering(settings):
        store = open_store(settings)
        views = [v for v in store.list_feature_views() if view in (None, v.name)]
        longest = max((v.ttl or timedelta(0) for v in views), default=timedelta(0))
        store.materialize(
            start_date=until - longest, end_date=until, feature_views=[v.name for v in views]
        )


def online_features(
    entities: Sequence[dict[str, Any]], settings: Settings | None = None
) -> dict[str, list[Any]]:
    """Latest materialised features of each entity: a dict of column to list, in order."""
    with answering(settings):
        store = open_store(settings)
        service = store.get_feature_service(SERVICE)
        return store.get_online_features(features=service, entity_rows=list(entities)).to_dict()


def end_of_month(month: str) -> datetime:
    """First moment after a month by New York's clock, in UTC, to the safe side (EST)."""
    year, number = (int(part) for part in month.split("-"))
    return datetime(year + number // 12, number % 12 + 1, 1, 5, tzinfo=UTC)


def join_keys(store: FeatureStore) -> list[str]:
    """Columns by which the features of the delay model are looked up, in order."""
    projections = store.get_feature_service(SERVICE).feature_view_projections
    found = [key for p in projections for key in store.get_feature_view(p.name).join_keys]
    return list(dict.fromkeys(found))


def _config(settings: Settings) -> RepoConfig:
    path = Path(settings.feature_repo) / settings.feature_store
    values = {f"FLIGHTDELAYS_{name.upper()}": str(v) for name, v in settings.model_dump().items()}
    try:
        described = yaml.safe_load(path.read_text("utf-8"))
        filled = _fill(described, os.environ | values)
    except FileNotFoundError as error:
        raise CourseError(
            f"{path} is missing: set FLIGHTDELAYS_FEATURE_REPO or FLIGHTDELAYS_FEATURE_STORE"
        ) from error
    except KeyError as error:
        raise CourseError(
            f"{path} names ${{{error.args[0]}}}: set it in the environment"
        ) from error
    config = RepoConfig(**filled, repo_path=Path(settings.feature_repo))
    if config.registry.registry_type == "file":
        Path(config.registry.path).parent.mkdir(parents=True, exist_ok=True)
    else:
        _check_url(path, config.registry.path)
    if config.online_store.type == "sqlite":
        Path(config.online_store.path).parent.mkdir(parents=True, exist_ok=True)
    return config


@cache
def _create_tables(url: str) -> None:
    """Create the tables of a registry unless they are there, one process after the other.

    Feast would do it whenever it opens one, and fail where two do so at once.
    """
    engine = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": 5})
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('feast'))"))
        metadata.create_all(connection)


def _check_url(file: Path, url: str) -> None:
    try:
        make_url(url)
    except ArgumentError as error:  # says nothing of what it could not read, as it may be a secret
        raise CourseError(
            f"the registry of {file} is no address of a database: write it as "
            "postgresql+psycopg2://USER:PASSWORD@HOST/DATABASE"
        ) from error


def _fill(described: Any, values: Mapping[str, str]) -> Any:
    """Every text of a YAML file with its ``${NAME}`` filled in, whatever stands in the value."""
    if isinstance(described, dict):
        return {key: _fill(value, values) for key, value in described.items()}
    if isinstance(described, list):
        return [_fill(value, values) for value in described]
    return Template(described).substitute(values) if isinstance(described, str) else described


def _reason(error: BaseException) -> str:
    """The error's words in one line."""
    return " ".join(str(error).split())


def _definitions(settings: Settings) -> list[Any]:
    """Entities, views and services of ``definitions.py``."""
    with using(settings):
        module = _load(Path(settings.feature_repo) / "definitions.py")
    return [
        value
        for value in vars(module).values()
        if isinstance(value, Entity | FeatureView | FeatureService)
    ]


def _views(objects: Sequence[Any]) -> list[FeatureView]:
    return [value for value in objects if isinstance(value, FeatureView)]


def _selected(service: FeatureService) -> dict[str, list[str]]:
    return {p.name: [field.name for field in p.features] for p in service.feature_view_projections}


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Wait until nobody else on this machine writes the registry file.

    Feast reads it, changes it and writes it back whole: of two writers the last one would win.
    A registry in a database needs no such care.
    """
    registry = _config(settings).registry
    if registry.registry_type != "file":
        yield
        return
    lock = Path(f"{registry.path}.lock")
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
        yield


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("feature_repo_definitions", path)
    if spec is None or spec.loader is None:
        raise CourseError(f"{path} cannot be loaded as a Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
