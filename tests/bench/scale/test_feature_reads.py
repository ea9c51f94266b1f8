"""How long a client waits for features, by online store, way of reading, batch and load.

Stores: SQLite, which the laptop has, and Redis, which the stack in containers has. Ways: Feast's
SDK in the client's own process; the same values read from the store without Feast, which is the
limit (one SELECT, or one pipeline of HMGETs; keys known, values left as bytes); and a request to
``feast serve``. Loads, all by Locust: one client alone; 50 that together ask `ARRIVALS` times a
second at random moments; 50 that ask again as soon as they have an answer (`saturated`). What the
clients cost stands beside what the service costs: they share the cores.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from flightdelays.settings import Settings

from .. import online
from ..conftest import Record, Table
from .clients import Clients, clients, feast_serve
from .redis_server import redis_server

SDK, PLAIN, SERVE = PATHS = ("Feast SDK", "plain", "feast serve")
STORES = ("SQLite", "Redis")
BATCHES = (1, 10, 100)
FLIGHTS = 1_000
CLIENTS, ARRIVALS = 50, 200.0
ROUNDS = 3
SECONDS = float(os.environ.get("BENCH_READ_SECONDS", "1"))
"""Of one round of a client alone or of a saturated load; one at a pace takes `PACED` of them."""
PACED = 5
PROCESSES = 2
"""Of ``feast serve``, and of the SDK where its load is shared."""


def redis_settings(root: Path, connection: str, patch: pytest.MonkeyPatch) -> Settings:
    """The laptop's feature store with the online store of the stack in containers."""
    repository = Path(Settings().feature_repo)
    laptop = yaml.safe_load((repository / "feature_store.yaml").read_text("utf-8"))
    stack = yaml.safe_load((repository / "feature_store.stack.yaml").read_text("utf-8"))
    path = root / "feature_store.redis.yaml"
    path.write_text(yaml.safe_dump(laptop | {"online_store": stack["online_store"]}), "utf-8")
    patch.setenv("FEAST_REDIS", connection)
    return online.settings_in(root, feature_store=str(path))


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Settings]]:
    """The settings of each store; both hold the same features."""
    root = tmp_path_factory.mktemp("reads")
    with redis_server() as connection, pytest.MonkeyPatch.context() as patch:
        sqlite = online.settings_in(root)
        online.build(sqlite)
        found = {"SQLite": sqlite, "Redis": redis_settings(root, connection, patch)}
        for settings in found.values():
            online.fill(settings)
        yield found


def percentiles(taken: list[float]) -> list[float]:
    """The 50th, 95th and 99th of the milliseconds of one round."""
    return [float(value) for value in np.percentile(taken, [50, 95, 99])]


class Bench:
    """One store under all loads; ``rows`` is what was found."""

    def __init__(self, store: str, settings: Settings, address: str, load: Clients) -> None:
        self.store, self.settings, self.address, self.clients = store, settings, address, load
        self.rows: list[dict[str, Any]] = []

    def measure(
        self, path: str, load: str, batch: int, processes: int = 1
    ) -> tuple[list[list[float]], list[float]]:
        """Percentiles and reads a second of each round of a load, which becomes a row."""
        users = 1 if load == "alone" else CLIENTS
        paced = load == "paced"
        found, rates = [], []
        for number in range(ROUNDS):
            taken, rate = self.clients.run(
                users,
                processes,
                path=path,
                batch=batch,
                seconds=SECONDS * (PACED if paced else 1),
                rate=ARRIVALS / CLIENTS if paced else None,
                address=self.address,
                seed=self.settings.seed + 100 * number,
            )
            found.append(percentiles(taken))
            rates.append(rate)
        p50, p95, p99 = (sorted(values) for values in zip(*found, strict=True))
        middle = ROUNDS // 2
        self.rows.append(
            {
                "store": self.store,
                "path": path,
                "load": load,
                "clients": users,
                "processes": PROCESSES if path == SERVE else processes,
                "batch": batch,
                "p50_ms": round(p50[middle], 3),
                "p95_ms": round(p95[middle], 3),
                "p99_ms": round(p99[middle], 3),
                "p99_low_ms": round(p99[0], 3),
                "p99_high_ms": round(p99[-1], 3),
                "rounds": ROUNDS,
                "reads_per_s": round(sorted(rates)[middle], 1),
            }
        )
        return found, rates


def test_feature_reads(
    figure: Record, table: Table, stores: dict[str, Settings], tmp_path: Path
) -> None:
    """Milliseconds of a read; of `paced` from the moment it was due, so that waiting counts.

    A row has the median of its rounds, and the lowest and highest 99th percentile.
    """
    flights = tmp_path / "flights.json"
    flights.write_text(json.dumps(online.asked(FLIGHTS, stores["SQLite"])), "utf-8")
    rows = []
    for store, settings in stores.items():
        with (
            feast_serve(PROCESSES, settings) as address,
            clients(PROCESSES, flights, settings) as load,
        ):
            bench = Bench(store, settings, address, load)
            for path in PATHS:
                for batch in BATCHES:
                    bench.measure(path, "alone", batch)
                    bench.measure(path, "saturated", batch)
            found = {path: bench.measure(path, "paced", 1)[0] for path in PATHS}
            shared = bench.measure(SDK, "paced", 1, PROCESSES)[0]
            _, most = bench.measure(SDK, "saturated", 1, PROCESSES)
        rows += bench.rows
        # The laptop's store has the short names.
        name = "feature_load" if store == "SQLite" else "feature_load_redis"
        for place, percentile in enumerate(("p50", "p95", "p99")):
            target = "< 5" if percentile == "p99" else "-"
            figure(f"{name}_{percentile}", [r[place] for r in found[SDK]], "ms", target)
        figure(f"{name}_p99_processes", [r[2] for r in shared], "ms", "< 5")
        figure(f"{name}_p99_plain", [r[2] for r in found[PLAIN]], "ms", "-")
        figure(f"{name}_p99_serve", [r[2] for r in found[SERVE]], "ms", "-")
        figure(f"{name}_most", most, "reads/s", "-")
    table("feature_reads", rows)
