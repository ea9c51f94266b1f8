"""Real flights of January to March, landed and turned into features once for all tests here.

What is dear (landing, features, the join in Feast, a fit) happens once and is only read; a
test that changes something copies it first. Imports of Feast, Great Expectations and MLflow
stand in the fixtures, so that a test that needs none of them starts at once.
"""

import hashlib
import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from flightdelays import duck, features, source
from flightdelays.lake import Lake, open_lake
from flightdelays.runs import Window
from flightdelays.settings import Settings

MONTHS = ("2013-01", "2013-02", "2013-03")
# Said once more here, on purpose: the views come from a folder, and none of them may get lost.
ENTITY = {
    "carrier_delays": "carrier",
    "origin_delays": "origin",
    "origin_weather": "origin",
    "tailnum_delays": "tailnum",
}


@pytest.fixture(scope="package", autouse=True)
def _working_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """MLflow on a local database puts artefacts into the working folder: not the repository.

    Everything shared here has the scope of this folder, so that nothing starts before this.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("work"))
        yield


def settings_in(root: Path, **changes: Any) -> Settings:
    """Settings of which every writable place lies below ``root``."""
    places = {
        "lake": str(root / "lake"),
        "site": str(root / "site"),
        "feast_registry": str(root / "feast" / "registry.db"),
        "feast_online": str(root / "feast" / "online.db"),
        "mlflow_tracking_uri": f"sqlite:///{root / 'mlflow.db'}",
    }
    return Settings(**(places | changes))


def land_and_build(settings: Settings, months: tuple[str, ...] = MONTHS) -> None:
    """Bring months into the lake and compute every feature view of them."""
    for month in months:
        source.land(month, settings)
    for month in months:
        for view in features.views(settings):
            features.build(view, month, settings)


def digests_below(folder: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too, with the sha256 of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="package")
def make_settings() -> Callable[..., Settings]:
    return settings_in


@pytest.fixture(scope="package")
def prepare() -> Callable[..., None]:
    return land_and_build


@pytest.fixture(scope="package")
def digests() -> Callable[[Path], dict[str, str]]:
    return digests_below


@pytest.fixture(scope="package")
def originals() -> Path:
    """Folder of the source as its package brings it."""
    return Path(Settings().source)


@pytest.fixture(scope="package")
def three_months(
    originals: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, pd.DataFrame]:
    """The source's tables as text, flights and weather of January to March only.

    Text, because a test that edits one cell must leave all others as they are.
    """
    tables = {
        name: pd.read_csv(
            originals / f"{name}.csv{'.zip' if name == 'flights' else ''}",
            dtype=str,
            keep_default_na=False,
        )
        for name in source.SCHEMAS
    }
    for name in source.MONTHLY:
        tables[name] = tables[name][tables[name]["month"].isin(["1", "2", "3"])]
    return tables


@pytest.fixture(scope="package")
def january(
    three_months: dict[str, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A source folder of January alone: small enough to copy and spoil for each test."""
    folder = tmp_path_factory.mktemp("january")
    for name, table in three_months.items():
        rows = table[table["month"] == "1"] if name in source.MONTHLY else table
        rows.to_csv(folder / f"{name}.csv", index=False)
    return folder


@pytest.fixture
def spoiled(january: Path, tmp_path: Path) -> Path:
    """A copy of January's source that a test may change."""
    return Path(shutil.copytree(january, tmp_path / "source"))


@pytest.fixture(scope="package")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a place where January to March have landed with all features. Only read it."""
    settings = settings_in(tmp_path_factory.mktemp("place"))
    land_and_build(settings)
    return settings


@pytest.fixture(scope="package")
def lake(settings: Settings) -> Lake:
    return open_lake(settings)


@pytest.fixture
def copied(settings: Settings, tmp_path: Path) -> Settings:
    """Settings of a copy of the landed lake, with its features, that a test may change."""
    shutil.copytree(settings.lake, tmp_path / "lake")
    return settings_in(tmp_path)


@pytest.fixture
def own_repository(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with a copy of the feature repository that a test may change."""
    folder = shutil.copytree(settings.feature_repo, tmp_path / "feature_repo")
    return settings.model_copy(update={"feature_repo": str(folder)})


@pytest.fixture(scope="package")
def flights(lake: Lake, settings: Settings) -> pd.DataFrame:
    """The view ``flights`` of January to March: every flight with its moments in UTC."""
    return flights_of(settings, MONTHS)


def flights_of(settings: Settings, months: tuple[str, ...]) -> pd.DataFrame:
    lake = open_lake(settings)
    with duck.connect(lake, settings) as connection:
        duck.view_raw(connection, lake, months, settings)
        return connection.sql("FROM flights").df()


@pytest.fixture(scope="package")
def window() -> Window:
    return Window("2013-01", "2013-02", "2013-03")


@pytest.fixture(scope="package")
def build_training_set() -> Callable[..., pd.DataFrame]:
    """Register the feature views for a lake, then join its training set in Feast."""

    def build(settings: Settings, window: Window) -> pd.DataFrame:
        from flightdelays import store, training_set

        store.apply(settings)
        return training_set.build(window, settings)

    return build


@pytest.fixture(scope="package")
def rows(
    settings: Settings, window: Window, build_training_set: Callable[..., pd.DataFrame]
) -> pd.DataFrame:
    """The training set of January to March, as Feast joins it. Only read it."""
    return build_training_set(settings, window)


@pytest.fixture(scope="package")
def training_file(rows: pd.DataFrame, settings: Settings) -> str:
    """The training set in the lake."""
    from flightdelays import dataset

    return dataset.save(rows, "shared", settings)


class Pod:
    """What a pod that trains is given: settings as environment, the rest as options."""

    @staticmethod
    def environment(settings: Settings) -> dict[str, str]:
        return {f"FLIGHTDELAYS_{key.upper()}": str(v) for key, v in settings.model_dump().items()}

    @staticmethod
    def options(source: str, **changes: str) -> list[str]:
        values = {
            "source": source,
            "train-from": "2013-01",
            "train-to": "2013-02",
            "validation": "2013-03",
            "model": "lightgbm",
            "run": "in a pod",
        }
        return [f"--{name}={value}" for name, value in (values | changes).items()]


@pytest.fixture(scope="package")
def pod() -> type[Pod]:
    return Pod


@pytest.fixture(scope="package")
def commands(
    training_file: str, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """``python -m flightdelays.train`` with good and with bad input, by its source.

    Each with an MLflow of its own, and running while other tests do: they take long to start.
    """
    started = {}
    for source_file in (training_file, f"{settings.lake}/gone.parquet"):
        folder = tmp_path_factory.mktemp("pod")
        own = settings.model_copy(update={"mlflow_tracking_uri": f"sqlite:///{folder}/mlflow.db"})
        started[source_file] = subprocess.Popen(
            [sys.executable, "-m", "flightdelays.train", *Pod.options(source_file)],
            env=os.environ | Pod.environment(own),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    yield started
    for process in started.values():
        process.kill()
        process.communicate()


@pytest.fixture(scope="package")
def candidate(
    training_file: str,
    window: Window,
    settings: Settings,
    commands: dict[str, subprocess.Popen[str]],
) -> dict[str, Any]:
    """LightGBM fitted on January and February and logged to MLflow.

    Asks for the commands only so that they start early.
    """
    from flightdelays.train import train

    return train(training_file, window, "lightgbm", "shared", settings)


@pytest.fixture(scope="package")
def duckdb_utc() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@pytest.fixture(scope="package")
def free_address() -> str:
    """An address of this machine at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture(scope="package")
def failing_server() -> Iterator[str]:
    """Address of a server that answers every request with status 500."""

    class Failing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(500)

        def log_message(self, *_: Any) -> None:
            """Say nothing: the test's own message counts."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
