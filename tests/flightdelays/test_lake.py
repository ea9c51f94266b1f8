"""The lake: files appear whole or not at all, months are found by their manifests."""

import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flightdelays import lake as lakes
from flightdelays.errors import DataError, LakeError
from flightdelays.lake import Lake
from flightdelays.settings import Settings

TABLE = pa.table({"origin": ["EWR", "JFK"], "delay": [11, -3]})


@pytest.fixture(params=["folder", "object store"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """A lake without a file, as a folder and as an address.

    The address is fsspec's ``memory://``: it takes the same way through our code as
    ``s3://`` does (nothing is renamed, DuckDB gets Arrow tables) and needs no server.
    """
    if request.param == "folder":
        return Lake(str(tmp_path / "lake"))
    return Lake(f"memory://{uuid.uuid4().hex}/lake")


def test_a_table_is_read_back_as_it_was_written(empty: Lake) -> None:
    path = empty.partition("raw/flights", "2013-01")
    empty.write_table(path, TABLE)
    assert path == f"{empty.root}/raw/flights/month=2013-01/part.parquet"
    assert empty.exists(path)
    assert empty.read_table(path).equals(TABLE)


def test_the_same_table_has_the_same_digest_and_another_has_not(empty: Lake) -> None:
    path = empty.partition("raw/flights", "2013-01")
    first = empty.write_table(path, TABLE)
    assert empty.write_table(path, TABLE) == first
    assert empty.write_table(path, TABLE.slice(1)) != first
    assert empty.read_table(path).num_rows == 1


def test_only_a_manifest_makes_a_month_count(empty: Lake) -> None:
    empty.write_table(empty.partition("raw", "2013-02"), TABLE)
    assert empty.months("raw") == []
    for month in ("2013-02", "2013-01"):
        empty.write_json(empty.manifest("raw", month), {"month": month})
    assert empty.months("raw") == ["2013-01", "2013-02"]
    assert empty.read_json(empty.manifest("raw", "2013-02")) == {"month": "2013-02"}
    assert empty.months("features/origin_delays") == []


def test_a_folder_is_removed_and_may_be_absent(empty: Lake) -> None:
    path = empty.path("runs", "one", "training_set.parquet")
    empty.write_table(path, TABLE)
    empty.remove_folder("runs", "one")
    assert not empty.exists(path)
    empty.remove_folder("runs", "one")


def test_looking_whether_it_is_writable_leaves_nothing(empty: Lake) -> None:
    empty.write_text(empty.path("note.txt"), "one")
    before = sorted(empty._fs.find(empty.root))
    empty.check_writable()
    assert sorted(empty._fs.find(empty.root)) == before


@pytest.mark.parametrize("reader", ["read_table", "read_json"])
def test_an_absent_file_is_named(empty: Lake, reader: str) -> None:
    path = empty.path("raw", "nothing")
    with pytest.raises(LakeError) as caught:
        getattr(empty, reader)(path)
    assert str(caught.value) == f"{path} is not in the lake"


@pytest.mark.parametrize("damage", ["cut", "overwritten", "text"])
def test_a_damaged_table_is_named(damage: str, lake: Lake, tmp_path: Path) -> None:
    content = Path(lake.partition("raw/flights", "2013-01")).read_bytes()
    middle = len(content) // 2
    damaged = {
        "cut": content[:middle],
        "overwritten": content[:100] + bytes(middle) + content[100 + middle :],
        "text": b"carrier,flight\nUA,1545\n",
    }[damage]
    path = tmp_path / "part.parquet"
    path.write_bytes(damaged)
    with pytest.raises(LakeError, match="is not a readable Parquet file") as caught:
        Lake(str(tmp_path)).read_table(str(path))
    assert str(caught.value).startswith(str(path))
    assert "land or build it again" in str(caught.value)


def _below_a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("a file, no folder")
    return tmp_path / "file" / "lake"


@pytest.mark.parametrize(
    "place", [_below_a_file, lambda _: Path("/proc/flightdelays")], ids=["below a file", "/proc"]
)
def test_a_place_that_cannot_be_written_is_named_with_what_to_do(
    place: Callable[[Path], Path], tmp_path: Path
) -> None:
    root = place(tmp_path)
    with pytest.raises(LakeError) as caught:
        Lake(str(root)).check_writable()
    message = str(caught.value)
    assert message.startswith(f"cannot write {root}/")
    assert "FLIGHTDELAYS_LAKE" in message
    assert not root.exists()


def test_a_write_that_fails_half_way_leaves_what_was_there(
    tmp_path: Path, digests: Callable[[Path], dict[str, str]]
) -> None:
    """The operating system itself ends the write: no file may grow beyond 20,000 bytes."""
    lake = Lake(str(tmp_path / "lake"))
    lake.write_text(lake.path("old.txt"), "old")
    before = digests(tmp_path)
    code = f"""
import os, resource
from flightdelays.errors import LakeError
from flightdelays.lake import Lake
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for name in ("old.txt", "new.txt"):
    try:
        Lake({lake.root!r}).write_text({lake.root!r} + "/" + name, "x" * 100_000)
    except LakeError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith(f"cannot write {lake.root}/old.txt: File too large.")
    assert second.startswith(f"cannot write {lake.root}/new.txt: File too large.")
    assert digests(tmp_path) == before


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """A file that was open before it was replaced is read to its old end."""
    lake = Lake(str(tmp_path))
    path = lake.partition("raw/flights", "2013-01")
    lake.write_table(path, TABLE)
    with Path(path).open("rb") as reader:
        lake.write_table(path, TABLE.slice(1))
        assert pq.read_table(reader).equals(TABLE)
    assert lake.read_table(path).num_rows == 1


@pytest.mark.parametrize("leftover", [".part.parquet.0a1b.tmp", "part.parquet.crc"])
def test_what_a_killed_writer_left_is_no_part_of_a_table(
    copied: Settings, leftover: str, settings: Settings
) -> None:
    from flightdelays import training_set
    from flightdelays.runs import Window

    folder = Path(Lake(copied.lake).partition("raw/flights", "2013-01")).parent
    (folder / leftover).write_bytes(b"half a fi")
    window = Window("2013-01", "2013-01", "2013-02")
    found = training_set.prediction_rows(window, copied)
    assert found.equals(training_set.prediction_rows(window, settings))


def test_a_month_without_a_manifest_is_not_landed(copied: Settings) -> None:
    """A process that dies between the tables and the manifest leaves this."""
    lake = Lake(copied.lake)
    Path(lake.manifest("raw", "2013-03")).unlink()
    assert lake.months("raw") == ["2013-01", "2013-02"]


def test_removing_a_lake_leaves_its_neighbours(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    lake.write_text(lake.path("runs", "a", "file"), "1")
    lake.write_text(lake.path("runs", "ab", "file"), "2")
    lake.remove_folder("runs", "a")
    assert [path.name for path in (tmp_path / "lake" / "runs").iterdir()] == ["ab"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("2013-09", "2013-09"),
        ("scheduled__2013-09-01T00:00:00+00:00", "scheduled__2013-09-01T00_00_00_00_00"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("a b\n<c>", "a_b__c_"),
        ("Grüße", "Gr__e"),
        (".", "_"),
        ("..", "__"),
        ("", "_"),
    ],
)
def test_any_text_becomes_a_name_that_stays_in_its_folder(text: str, name: str) -> None:
    assert lakes.file_name(text) == name
    assert (Path("/runs") / name).resolve().parent == Path("/runs")


@pytest.mark.parametrize(
    "text", ["", "2013", "2013-9", "2013-13", "2013-00", "13-09", "2013_09", "2013-09-01",
             " 2013-09", "２０１３-09", "abcd-09", "-013-09"],
)  # fmt: skip
def test_text_that_is_no_month_is_quoted_with_the_right_form(text: str) -> None:
    with pytest.raises(DataError) as caught:
        lakes.month_number(text)
    assert str(caught.value) == (
        f"{text!r} is not a month: write it as YYYY-MM, for example 2013-09"
    )


def test_a_partition_of_no_month_has_no_path() -> None:
    with pytest.raises(DataError, match="'2013-9' is not a month"):
        Lake("lake").partition("raw/flights", "2013-9")
    with pytest.raises(DataError, match=r"'\.\./\.\.' is not a month"):
        Lake("lake").manifest("raw", "../..")


def test_months_are_counted_across_the_turn_of_the_year() -> None:
    assert lakes.months_between("2012-11", "2013-02") == [
        "2012-11",
        "2012-12",
        "2013-01",
        "2013-02",
    ]
    assert lakes.months_between("2013-02", "2013-01") == []
    assert lakes.next_month("2013-12") == "2014-01"
    assert lakes.previous_month("2013-01") == "2012-12"


@pytest.mark.parametrize("months", [[], ["2013-05"], ["2013-03", "2013-02", "2013-01"]])
def test_months_without_a_gap_are_fine(months: list[str]) -> None:
    lakes.check_contiguous(months, "landed months")


def test_a_gap_is_named_with_the_command_that_fills_it() -> None:
    with pytest.raises(DataError) as caught:
        lakes.check_contiguous(["2013-01", "2013-02", "2013-05"], "landed months")
    message = str(caught.value)
    assert message.startswith(
        "landed months: 2013-03, 2013-04 missing between 2013-01 and 2013-05."
    )
    assert "--dag-id ingest_flights --from-date 2013-03-01 --to-date 2013-04-28" in message


def test_code_that_cannot_be_passed_settings_opens_the_lake_in_use(
    settings: Settings, copied: Settings
) -> None:
    with lakes.using(settings):
        assert lakes.open_lake().root == settings.lake
        assert lakes.open_lake(copied).root == copied.lake
    assert lakes.open_lake().root not in (settings.lake, copied.lake)
