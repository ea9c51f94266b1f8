"""The reference pipelines run for real, task by task, on nine months of real flights."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from .conftest import MONTHS, states

Run = Callable[..., Any]


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every Parquet file below a folder, by its relative path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.parquet"))
    }


def xcom(dag_run: Any, task_id: str) -> Any:
    """What a task of a run returned."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.scalars(
            XComModel.get_many(
                run_id=dag_run.run_id,
                dag_ids=dag_run.dag_id,
                task_ids=task_id,
                key="return_value",
            )
        ).first()
        return XComModel.deserialize_value(found)


def asset_events(name: str) -> int:
    """How often an asset has been updated."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    with create_session() as session:
        return session.scalar(
            select(func.count())
            .select_from(AssetEvent)
            .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
            .where(AssetModel.name == name)
        )


@pytest.fixture(scope="module")
def deployed(lake_of_nine_months: Any, run: Run) -> Any:
    """A run of the boosting model, which passes the gate."""
    return run("train_delay_model", model="hist_gradient")


def test_a_run_lands_the_month_of_its_data_interval(run: Run, workplace: Path) -> None:
    # Triggered by hand on 1 March, the last complete interval is February.
    done = run("ingest_flights", logical_date=datetime(2013, 3, 1, tzinfo=UTC))
    assert done.state == "success"
    assert xcom(done, "land")["flights"] == 24_951
    assert (workplace / "lake/raw/manifest/month=2013-02.json").is_file()


def test_landing_and_building_twice_changes_no_byte(
    lake_of_nine_months: Any, run: Run, workplace: Path
) -> None:
    before = digests(workplace / "lake")
    assert len(before) == len(MONTHS) * (4 + 4)
    assert run("ingest_flights", month="2013-03").state == "success"
    from flightdelays import features

    assert features.stale_months() == []
    for view in features.views():
        features.build(view, "2013-03")
    assert digests(workplace / "lake") == before


def test_with_nothing_to_build_the_rest_is_skipped_and_no_training_starts(
    lake_of_nine_months: Any, run: Run
) -> None:
    before = asset_events("features")
    assert before >= 1
    done = run("build_features")
    assert done.state == "success"
    assert states(done)["publish"] == "skipped"
    assert asset_events("features") == before


def test_boosting_passes_the_gate_and_is_deployed(deployed: Any) -> None:
    assert deployed.state == "success"
    assert states(deployed)["deploy"] == "success"
    assert states(deployed)["alert"] == "skipped"
    verdict = json.loads(Path(xcom(deployed, "report")).read_text("utf-8"))
    assert (verdict["train_from"], verdict["train_to"]) == ("2013-01", "2013-08")
    assert verdict["validation_month"] == "2013-09"
    assert verdict["deployed"] is True
    assert verdict["metrics"]["auc"] > 0.74
    assert verdict["metrics"]["pr_auc"] > 0.40
    from flightdelays import registry

    assert registry.alias_version("staging") == verdict["version"]
    assert registry.alias_version("champion") == verdict["version"]


def test_logistic_regression_fails_the_gate_and_staging_stays(deployed: Any, run: Run) -> None:
    from flightdelays import registry

    before = registry.alias_version("staging"), registry.alias_version("champion")
    done = run("train_delay_model", model="logistic")
    assert done.state == "success"
    assert states(done)["deploy"] == "skipped"
    assert states(done)["alert"] == "success"
    reasons = xcom(done, "alert")
    assert any("AUC" in reason and "0.74" in reason for reason in reasons)
    assert any("champion" in reason for reason in reasons)
    assert (registry.alias_version("staging"), registry.alias_version("champion")) == before
    verdict = json.loads(Path(xcom(done, "report")).read_text("utf-8"))
    assert verdict["deployed"] is False
    assert verdict["champion"]["version"] == before[1]


def test_the_working_files_are_gone_whatever_the_outcome(deployed: Any, workplace: Path) -> None:
    assert states(deployed)["clean_up"] == "success"
    assert list((workplace / "lake/runs").rglob("*")) == []


def test_the_same_model_again_is_no_better_than_itself(deployed: Any, run: Run) -> None:
    done = run("train_delay_model", model="hist_gradient")
    first, second = (xcom(item, "evaluate")["metrics"] for item in (deployed, done))
    assert first == second
    assert states(done)["alert"] == "success"
    assert "no better than the champion" in xcom(done, "alert")[0]


def test_a_parameter_out_of_range_is_refused(run: Run) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError, match="crystal_ball"):
        run("train_delay_model", model="crystal_ball")
    with pytest.raises(ParamValidationError, match="2013-13"):
        run("ingest_flights", month="2013-13")


@pytest.fixture
def spoilt(lake_of_nine_months: Any, workplace: Path) -> Iterator[Any]:
    """The lake, put back as it was after the test has spoilt it."""
    kept = workplace / "kept"
    shutil.copytree(workplace / "lake", kept)
    yield lake_of_nine_months
    shutil.rmtree(workplace / "lake")
    kept.rename(workplace / "lake")


def test_wrong_data_stop_the_run_before_training_and_clean_up_does_not_make_it_green(
    deployed: Any, spoilt: Any, run: Run
) -> None:
    from flightdelays import registry

    path = spoilt.partition("raw/flights", "2013-08")
    flights = spoilt.read_table(path)
    column = flights.schema.get_field_index("distance")
    wrong = pc.if_else(pc.equal(flights["dest"], "IAH"), 17, flights["distance"])
    spoilt.write_table(path, flights.set_column(column, "distance", wrong.cast(pa.int32())))
    runs_before = len(registry.client().search_runs(["1"]))
    champion = registry.alias_version("champion")
    done = run("train_delay_model", train_from="2013-08")
    assert done.state == "failed"
    outcome = states(done)
    assert outcome["quality_gate"] == "failed"
    assert outcome["train"] == "upstream_failed"
    assert outcome["clean_up"] == "success"
    assert len(registry.client().search_runs(["1"])) == runs_before
    assert registry.alias_version("champion") == champion


def test_a_missing_month_stops_the_run_before_anything_expensive(
    deployed: Any, spoilt: Any, run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    Path(spoilt.manifest("raw", "2013-05")).unlink()
    done = run("train_delay_model")
    assert done.state == "failed"
    assert states(done)["check_availability"] == "failed"
    assert states(done)["build_training_set"] == "upstream_failed"
    assert "2013-05 missing between 2013-01 and 2013-09" in "".join(capfd.readouterr())
