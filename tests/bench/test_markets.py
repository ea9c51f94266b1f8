"""What a DAG of the factory costs when a thousand markets are listed."""

import importlib.util
import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk.definitions._internal.contextmanager import DagContext

from flightdelays.markets import CARRIERS, ORIGINS

REPOSITORY = Path(__file__).resolve().parents[2]
COUNT = 1_000
ROUNDS = 3


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A list of markets: every airport with pairs and triples of the carriers."""
    from flightdelays.settings import get_settings

    groups = itertools.chain.from_iterable(
        itertools.combinations(CARRIERS, size) for size in (2, 3)
    )
    entries = [
        {"origin": origin, "group": "_".join(("g", *group)).lower(), "carriers": list(group)}
        for group in groups
        for origin in ORIGINS
    ]
    path = tmp_path_factory.mktemp("markets") / "markets.yaml"
    path.write_text(yaml.safe_dump({"markets": entries[:COUNT]}), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLIGHTDELAYS_MARKETS", str(path))
        patch.syspath_prepend(str(REPOSITORY / "plugins"))
        get_settings.cache_clear()
        yield path
    get_settings.cache_clear()


def execute(path: Path) -> None:
    """Run a DAG file as the dag-processor does."""
    spec = importlib.util.spec_from_file_location("measured_markets", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    DagContext.autoregistered_dags.clear()
    DagContext.current_autoregister_module_name = spec.name
    spec.loader.exec_module(module)


def test_a_dag_of_a_thousand(figure: Any, thousand: Path) -> None:
    from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG

    parse, serialize = [], []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        execute(REPOSITORY / "dags/market_models.py")
        parsed = time.perf_counter()
        made = [dag for dag, _ in DagContext.autoregistered_dags]
        assert len(made) == COUNT
        for dag in made:
            LazyDeserializedDAG(data=DagSerialization.to_dict(dag))
        parse.append(parsed - begin)
        serialize.append(time.perf_counter() - parsed)
    for name, seconds in (("parse", parse), ("serialize", serialize)):
        taken = [each / COUNT * 1000 for each in seconds]
        figure(f"market_{name}_per_dag", taken, "ms", "≤ 10")
