"""The DAG factory: one DAG a market, whatever is wrong with the others."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import REPOSITORY, states

Run = Callable[..., Any]
DAG_IDS = {
    "market_ewr_united",
    "market_ewr_expressjet",
    "market_jfk_jetblue",
    "market_jfk_delta",
    "market_jfk_american",
    "market_lga_delta",
    "market_lga_american",
    "market_lga_us_airways",
    "market_lga_united",
}


def markets(dagbag: Any) -> dict[str, Any]:
    return {dag_id: dag for dag_id, dag in dagbag.dags.items() if dag_id.startswith("market_")}


def bag(listed: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The DAG files of the factory, parsed with another list of markets."""
    from airflow.dag_processing.dagbag import DagBag

    from flightdelays.settings import get_settings

    monkeypatch.setenv("FLIGHTDELAYS_MARKETS", str(listed))
    get_settings.cache_clear()
    try:
        found = DagBag(str(REPOSITORY / "dags" / "market_models.py"))
        found.process_file(str(REPOSITORY / "dags" / "market_models_check.py"))
        return found
    finally:
        monkeypatch.undo()
        get_settings.cache_clear()


def test_each_market_has_its_dag_at_a_time_of_its_own(dagbag: Any) -> None:
    made = markets(dagbag)
    assert set(made) == DAG_IDS
    times = {dag.timetable.expression for dag in made.values()}
    assert len(times) == len(made)
    hours = {int(time.split()[1]) for time in times}
    assert hours <= {4, 5, 6, 7}
    assert len(hours) > 1


def test_ids_and_times_stay_when_the_list_is_reordered(
    dagbag: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import yaml

    listed = yaml.safe_load((REPOSITORY / "dags/market_models.yaml").read_text("utf-8"))
    path = tmp_path / "markets.yaml"
    path.write_text(yaml.safe_dump({"markets": listed["markets"][::-1]}), "utf-8")
    found = bag(path, monkeypatch)
    assert found.import_errors == {}

    def times(dags: dict[str, Any]) -> dict[str, Any]:
        return {dag_id: dag.timetable.expression for dag_id, dag in dags.items()}

    assert times(found.dags) == times(markets(dagbag))


def test_a_bad_entry_hides_no_other_and_is_an_import_error_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "markets.yaml"
    path.write_text(
        "markets:\n"
        "  - {origin: EWR, group: united, carriers: [UA]}\n"
        "  - {origin: EWR, group: nobody, carriers: [ZZ]}\n"
        "  - {origin: BOS, group: delta, carriers: [DL]}\n"
        "  - {origin: LGA, group: delta, carriers: [DL]}\n",
        "utf-8",
    )
    found = bag(path, monkeypatch)
    assert set(found.dags) == {"market_ewr_united", "market_lga_delta"}
    ((file, message),) = found.import_errors.items()
    assert file.endswith("market_models_check.py")
    assert str(path) in message
    assert "line 3, carriers: 'ZZ' is no carrier" in message
    assert "line 4, origin: 'BOS' is no airport" in message


def test_without_a_list_there_is_no_dag_and_one_import_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = bag(tmp_path / "absent.yaml", monkeypatch)
    assert found.dags == {}
    ((file, message),) = found.import_errors.items()
    assert file.endswith("market_models_check.py")
    assert "there is no such file" in message


def test_a_task_makes_the_dag_of_its_own_market_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "market_lga_delta")
    found = DagBag(str(REPOSITORY / "dags" / "market_models.py"))
    assert set(found.dags) == {"market_lga_delta"}


def test_a_market_is_trained_on_its_own_flights_and_judged_by_its_own_late_rate(
    lake_of_nine_months: Any, run: Run, workplace: Path
) -> None:
    wanted = {"model": "logistic", "train_from": "2013-08", "validation_month": "2013-09"}
    done = run("market_jfk_american", **wanted)
    assert done.state == "success", states(done)
    (path,) = (workplace / "site/market_jfk_american").glob("*/verdict.json")
    data = json.loads(path.read_text("utf-8"))["data"]
    # American and Envoy from JFK, flights that arrived, counted in the source of 2013.
    assert (data["candidate"]["rows"], data["rows"]) == (1_763, 1_647)
    assert data["late_rate"] == pytest.approx(0.1603, abs=1e-4)
    assert data["metrics"]["auc"] > 0.65
    assert data["base"]["auc"] == 0.5
    assert data["metrics"]["log_loss"] < data["base"]["log_loss"]
    from flightdelays import registry

    logged = registry.client().get_run(data["candidate"]["run_id"]).data
    assert logged.tags["course.market"] == "market_jfk_american"
    assert logged.metrics["base_log_loss"] == pytest.approx(data["base"]["log_loss"])
    assert list((workplace / "lake/runs").rglob("*")) == []


def test_a_wrong_option_stops_the_run_at_once(
    lake_of_nine_months: Any, run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    done = run("market_jfk_american", validation_month="2013-13")
    assert done.state == "failed"
    assert states(done)["check_availability"] == "failed"
    assert states(done)["build_training_set"] == "upstream_failed"
    assert "configuration of the run: validation_month" in "".join(capfd.readouterr())
