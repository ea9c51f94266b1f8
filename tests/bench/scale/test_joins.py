"""Point-in-time joins of 10,000 to 10 million entity rows: Feast, an ASOF join, merge_asof.

The entity rows are flights of the course's nine months, drawn with replacement, each asked about
at a moment up to an hour before or after its own. All four views of the delay model are joined.
Each join has a process of its own, whose resident memory psutil watches from outside: what it
really occupies. memray, in a join of its own because it takes time, counts what was asked for. The
methods must return the same values, to the last bit, of every feature of every row.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from memray import FileReader

from flightdelays import features, source, store
from flightdelays.lake import months_between, open_lake
from flightdelays.runs import Window
from flightdelays.settings import Settings
from flightdelays.training_set import prediction_rows

from ..conftest import Record, Table
from .join_process import METHODS, MOMENT

WINDOW = Window("2013-01", "2013-08", "2013-09")
MONTHS = months_between(WINDOW.train_from, WINDOW.validation)
SIZES = [
    int(size) for size in os.environ.get("BENCH_JOIN_ROWS", "10000 100000 1000000 10000000").split()
]
ROUNDS, LARGE = 3, 10_000_000
"""From `LARGE` rows on one round has to do."""
MEMORY_ROWS = 1_000_000
LIMIT_MB, LIMIT_SECONDS = 10_000, 240
"""Past either a join is ended, and the table says which."""
WATCH = 0.02
PROCESS = Path(__file__).with_name("join_process.py")
FIGURES = {
    "Feast (DuckDB)": "join_feast_1m",
    "DuckDB ASOF join": "join_asof_1m",
    "pandas merge_asof": "join_merge_asof_1m",
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Nine months of features, of which each entity has one fact a moment."""
    root = tmp_path_factory.mktemp("joins")
    made = Settings(
        lake=str(root / "lake"),
        site=str(root / "site"),
        feast_registry=str(root / "feast" / "registry.db"),
        feast_online=str(root / "feast" / "online.db"),
    )
    for month in MONTHS:
        source.land(month, made)
    for view in features.views(made):
        for month in MONTHS:
            features.build(view, month, made)
        # Of two facts of one moment each method might take another one.
        lake = open_lake(made)
        paths = [lake.partition(features.table(view), month) for month in MONTHS]
        facts = lake.read_partitions(paths).select([0, 1]).to_pandas()
        assert not facts.duplicated().any()
    store.apply(made)
    return made


@pytest.fixture(scope="module")
def flights(settings: Settings) -> pd.DataFrame:
    """Moment and join keys of each flight that arrived."""
    keys = store.join_keys(store.open_store(settings))
    return prediction_rows(WINDOW, settings)[[MOMENT, *keys]]


def entity_rows(flights: pd.DataFrame, size: int, seed: int) -> pd.DataFrame:
    """Flights drawn with replacement, each up to an hour away from its own moment."""
    draw = np.random.default_rng(seed)
    rows = flights.iloc[draw.integers(len(flights), size=size)].reset_index(drop=True)
    moved = pd.to_timedelta(draw.integers(-3_600, 3_601, size=size), unit="s")
    return rows.assign(**{MOMENT: rows[MOMENT] + moved, "row": range(size)})


def join(
    method: str, entities: Path, settings: Settings, profiler: Sequence[str] = ()
) -> dict[str, Any]:
    """One join in a process of its own, with its ``outcome`` and its peak of resident memory.

    ``profiler`` stands between Python and the join: its module, as ``-m`` wants it, and arguments.
    """
    values = {f"FLIGHTDELAYS_{name.upper()}": str(v) for name, v in settings.model_dump().items()}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, *profiler, PROCESS, method, entities],
            env=os.environ | values,
            cwd=folder,  # where DuckDB puts what it has no memory for
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        try:
            outcome, peak = watch(process)
        finally:
            process.kill()
            process.wait()
        if outcome != "done":
            return {"outcome": outcome, "peak_mb": peak}
        log.seek(0)
        assert process.returncode == 0, log.read()[-2_000:]
        return json.loads(process.stdout.read()) | {"outcome": outcome, "peak_mb": peak}


def watch(process: subprocess.Popen[str]) -> tuple[str, float]:
    """Until the process ends or passes a limit: how that came, and its peak in MB (2^20 bytes)."""
    watched, peak = psutil.Process(process.pid), 0.0
    deadline = time.monotonic() + LIMIT_SECONDS
    while process.poll() is None:
        # Of a process that has ended and waits to be read the memory is 0.
        peak = max(peak, watched.memory_info().rss / 2**20)
        if peak > LIMIT_MB:
            return "memory", peak
        if time.monotonic() > deadline:
            return "time", peak
        time.sleep(WATCH)
    return "done", peak


def summary(method: str, size: int, found: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of one method and size; without seconds where a limit was passed."""
    seconds = [entry["seconds"] for entry in found if entry["outcome"] == "done"]
    finished = len(seconds) == len(found)
    starts = [entry["start_mb"] for entry in found if entry["outcome"] == "done"]
    return {
        "method": method,
        "rows": size,
        "seconds": round(median(seconds), 3) if finished else None,
        "seconds_low": round(min(seconds), 3) if finished else None,
        "seconds_high": round(max(seconds), 3) if finished else None,
        "peak_mb": round(max(entry["peak_mb"] for entry in found)),
        "start_mb": round(median(starts)) if finished else None,
        "rounds": len(found),
        "outcome": found[-1]["outcome"],
    }


def check_same(size: int, found: Mapping[str, list[dict[str, Any]]]) -> None:
    """Every join that was finished has the same values in every column, and has some."""
    done = [(m, e) for m, entries in found.items() for e in entries if e["outcome"] == "done"]
    if not done:
        return
    first, expected = done[0]
    for column, digest in expected["digests"].items():
        assert int(digest.split()[0]) < size, f"{first} found nothing for {column}"
    for method, entry in done:
        assert entry["rows"] == size, f"{method} returned {entry['rows']} of {size} rows"
        assert entry["digests"] == expected["digests"], f"{method} differs from {first}"


def test_joins(
    figure: Record, table: Table, settings: Settings, flights: pd.DataFrame, tmp_path: Path
) -> None:
    """Seconds from entity rows in memory to joined rows in memory, and the peak of the process."""
    rows = []
    for size in SIZES:
        path = tmp_path / "entities.parquet"
        entity_rows(flights, size, settings.seed).to_parquet(path, index=False)
        found: dict[str, list[dict[str, Any]]] = {method: [] for method in METHODS}
        for _ in range(1 if size >= LARGE else ROUNDS):
            for method, entries in found.items():
                # What passed a limit would pass it again.
                if not entries or entries[-1]["outcome"] == "done":
                    entries.append(join(method, path, settings))
        check_same(size, found)
        for method, entries in found.items():
            rows.append(summary(method, size, entries))
            if size == 1_000_000 and entries[-1]["outcome"] == "done":
                figure(FIGURES[method], [entry["seconds"] for entry in entries], "s", "-")
    table("joins", rows)


def test_joins_memory(
    table: Table, settings: Settings, flights: pd.DataFrame, tmp_path: Path
) -> None:
    """The most that a join has asked for at one time, beside the most that it occupied."""
    path = tmp_path / "entities.parquet"
    entity_rows(flights, MEMORY_ROWS, settings.seed).to_parquet(path, index=False)
    rows = []
    for method in METHODS:
        profile = tmp_path / f"{method}.bin"
        options = ("--aggregate", "--quiet", "--output", str(profile))
        done = join(method, path, settings, ("-m", "memray", "run", *options))
        assert done["outcome"] == "done"
        with FileReader(profile) as reader:
            asked_for = reader.metadata.peak_memory
        rows.append(
            {
                "method": method,
                "rows": MEMORY_ROWS,
                "asked_for_mb": round(asked_for / 2**20),
                "peak_mb": round(done["peak_mb"]),
            }
        )
    table("join_memory", rows)
