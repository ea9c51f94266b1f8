"""Lecture 4: what goes through XCom and as what, what stays there, and what goes beside it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from course.grading.runs import Failed


def test_a_path_goes_through_xcom_and_the_data_do_not(snippet: Any) -> None:
    lesson = snippet("l04_paths")
    run = lesson.run()
    path = Path(run.one("extract").returned)
    assert run.one("late_share").returned == 0.5
    assert sum(run.xcoms.values()) < 1000
    first = path.read_bytes()
    lesson.run(fresh=True)
    assert path.read_bytes() == first
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_what_may_be_returned_and_what_is_refused(snippet: Any) -> None:
    from datetime import date

    run = snippet("l04_types").run()
    values = ["2013-01", 0.76, None, date(2013, 1, 1), {"EWR", "JFK"}, (1, 2)]
    assert run.one("plain").returned == values
    assert run.one("read").state == run.one("score").state == "success"
    (unread,) = run.one("read_score").errors
    assert unread.type == "ImportError"
    assert "allowed_deserialization_classes" in unread.message
    (unwritten,) = run.one("fitted").errors
    assert unwritten.type == "TypeError"
    assert "Cannot serialize object" in unwritten.message


def test_a_class_that_is_allowed_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import serde

    from flightdelays.runs import Window

    window = Window("2013-01", "2013-02", "2013-03")
    written = serde.serialize(window)
    with pytest.raises(ImportError):
        serde.deserialize(written)
    monkeypatch.setenv("AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES", "flightdelays.*")
    for cached in (serde._get_patterns, serde._match_glob):
        cached.cache_clear()
    try:
        assert serde.deserialize(written) == window
    finally:
        monkeypatch.undo()
        for cached in (serde._get_patterns, serde._match_glob):
            cached.cache_clear()


def test_a_data_frame_is_twice_its_parquet_file(tmp_path: Path) -> None:
    import pandas as pd
    from airflow.sdk.serde import serialize

    frame = pd.DataFrame({"arr_delay": range(10_000), "carrier": ["UA", "AA"] * 5_000})
    frame.to_parquet(tmp_path / "frame.parquet", compression="snappy")
    file = (tmp_path / "frame.parquet").stat().st_size
    assert 1.9 < len(json.dumps(serialize(frame))) / file < 2.1


def test_an_annotated_dictionary_is_stored_whole_and_in_parts(snippet: Any) -> None:
    run = snippet("l04_dict").run()
    assert {name for name in run.xcoms if name.startswith("split.")} == {
        "split.return_value",
        "split.train",
        "split.test",
    }
    assert {name for name in run.xcoms if name.startswith("split_once.")} == {
        "split_once.return_value"
    }
    assert run.one("fit").returned == "lake/train.parquet"


def test_mapped_results_come_one_by_one(snippet: Any) -> None:
    assert snippet("l04_mapped").run().one("best").returned == ["LazyXComSequence", 3, 2]


def test_each_entry_is_a_question_and_a_slice_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from airflow.sdk.execution_time import comms, task_runner
    from airflow.sdk.execution_time.lazy_sequence import LazyXComSequence

    asked: list[str] = []

    def send(message: Any) -> Any:
        asked.append(type(message).__name__)
        if isinstance(message, comms.GetXComSequenceSlice):
            return comms.XComSequenceSliceResult(root=[10, 20, 30])
        if message.offset < 3:
            return comms.XComSequenceIndexResult(root=10 * (message.offset + 1))
        return comms.ErrorResponse()

    supervisor = SimpleNamespace(send=send)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    operator = SimpleNamespace(dag_id="d", task_id="t")
    results: Any = LazyXComSequence(
        xcom_arg=SimpleNamespace(operator=operator, key="return_value"),  # type: ignore[arg-type]
        ti=SimpleNamespace(run_id="r"),  # type: ignore[arg-type]
    )
    assert results[:] == [10, 20, 30]
    assert asked == ["GetXComSequenceSlice"]
    asked.clear()
    assert list(iter(results)) == [10, 20, 30]
    assert asked == ["GetXComSequenceItem"] * 4, "the last says that there is no more"


def test_a_list_to_map_over_has_at_most_1024_entries(snippet: Any) -> None:
    from airflow.configuration import conf

    run = snippet("l04_mapped").run({"models": 1025})
    assert run.one("models").state == "failed"
    assert conf.getint("core", "max_map_length") == 1024


def test_params_are_checked_before_anything_runs(snippet: Any) -> None:
    with pytest.raises(Failed, match="three"):
        snippet("l04_mapped").run({"models": "three"})


def test_a_new_try_finds_no_xcom_of_the_last_but_its_task_state(snippet: Any) -> None:
    run = snippet("l04_survives").run()
    assert run.one("train").tries == 2
    assert run.one("train").returned == {"xcom": None, "task state": 3}


def test_an_object_storage_path_goes_through_as_an_address(snippet: Any, tmp_path: Path) -> None:
    run = snippet("l04_object_storage").run({"base": f"file://{tmp_path}/models"})
    assert run.one("read").returned == '{"auc": 0.76}'
    assert str(run.one("write").returned) == f"file://{tmp_path}/models/metrics.json"
    assert run.xcoms["write.return_value"] < 500


def test_a_scheme_comes_from_a_provider() -> None:
    from importlib.util import find_spec

    from airflow.sdk.io.fs import get_fs, has_fs

    assert has_fs("file")
    assert has_fs("s3") == bool(find_spec("airflow.providers.amazon"))
    with pytest.raises(ValueError, match="No filesystem registered for scheme"):
        get_fs("nowhere")


@pytest.fixture
def in_object_storage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """XComs of 50 bytes or more go to a folder that stands for a bucket."""
    from airflow.providers.common.io.xcom import backend

    caches = (backend._get_base_path, backend._get_threshold, backend._get_compression)
    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH", f"file://{tmp_path}/xcom")
    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD", "50")
    monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom", backend.XComObjectStorageBackend)
    monkeypatch.setattr(
        "airflow.sdk.execution_time.task_runner.XCom", backend.XComObjectStorageBackend
    )
    for cached in caches:
        cached.cache_clear()
    yield tmp_path / "xcom"
    for cached in caches:
        cached.cache_clear()


def test_the_backend_keeps_large_values_in_files_and_leaves_them_there(
    snippet: Any, in_object_storage: Path
) -> None:
    run = snippet("l04_dict").run(fresh=True)
    assert run.one("fit").returned == "lake/train.parquet", "small: in the database"
    address = run.one("split").returned
    assert address.startswith(f"file://{in_object_storage}/l04_dict/")
    file = Path(address.removeprefix("file://"))
    assert json.loads(file.read_text())["test"] == "lake/test.parquet"
    delete(run)
    assert stored(run) == 0
    assert file.exists(), "nobody removes what a deleted run left in the bucket"


def test_a_worker_waits_five_seconds_for_an_answer_and_asks_five_times() -> None:
    from airflow.configuration import conf

    assert conf.getfloat("workers", "execution_api_timeout") == 5
    assert conf.getint("workers", "execution_api_retries") == 5


def test_without_a_threshold_the_backend_does_nothing() -> None:
    from airflow.configuration import conf

    assert conf.getint("common.io", "xcom_objectstorage_threshold") == -1


def stored(run: Any) -> int:
    """How many XComs of a run the database holds."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        return session.query(XComModel).filter_by(run_id=run.run_id).count()


def delete(run: Any) -> None:
    """Delete a run, as the UI does."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        session.delete(session.query(DagRun).filter_by(run_id=run.run_id).one())


def test_xcoms_go_with_their_run(snippet: Any) -> None:
    run = snippet("l04_dict").run(fresh=True)
    assert stored(run) > 0
    delete(run)
    assert stored(run) == 0


def test_db_clean_removes_xcoms_and_leaves_the_run(snippet: Any) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.db_cleanup import run_cleanup
    from airflow.utils.session import create_session

    run = snippet("l04_dict").run(fresh=True)
    run_cleanup(
        clean_before_timestamp=datetime.now(UTC),
        table_names=["xcom"],
        dag_ids=["l04_dict"],
        confirm=False,
        skip_archive=True,
    )
    assert stored(run) == 0
    with create_session() as session:
        assert session.query(DagRun).filter_by(run_id=run.run_id).one().state == "success"
