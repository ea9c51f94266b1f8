"""The lake: tables as Parquet files in a folder or under an S3 address.

A file appears whole or not at all: in a folder it is written beside its place and moved there
once complete, and an object store shows an object only when its upload is complete. Writing a
partition again replaces it, so a task that runs twice leaves what it would have left after one run.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from flightdelays.errors import DataError, LakeError, ServiceError
from flightdelays.settings import Settings, get_settings


def months_between(first: str, last: str) -> list[str]:
    """Months from ``first`` to ``last``, both ``YYYY-MM`` and both included, in order."""
    start, end = month_number(first), month_number(last)
    return [_month(number) for number in range(start, end + 1)]


def month_number(month: str) -> int:
    """Months since year 0, so that neighbouring months differ by one.

    Raises DataError if ``month`` is not ``YYYY-MM``.
    """
    year, dash, number = month.partition("-")
    if dash and len(year) == 4 and year.isascii() and year.isdigit() and number in _MONTHS:
        return int(year) * 12 + int(number) - 1
    raise DataError(f"{month!r} is not a month: write it as YYYY-MM, for example 2013-09")


def previous_month(month: str) -> str:
    """The month before ``month``, both ``YYYY-MM``."""
    return _month(month_number(month) - 1)


def next_month(month: str) -> str:
    """The month after ``month``, both ``YYYY-MM``."""
    return _month(month_number(month) + 1)


def _month(number: int) -> str:
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


_MONTHS = {f"{number:02d}" for number in range(1, 13)}
_AT_ONCE = 8  # files that are read from an object store at the same time
_S3: dict[str, Any] = {
    # Other processes write as well: what they wrote must be seen at once.
    "use_listings_cache": False,
    # With more s3fs asks how large a file is before it reads it.
    "max_concurrency": 1,
    "config_kwargs": {
        "connect_timeout": 5,
        "read_timeout": 15,
        "retries": {"mode": "standard", "total_max_attempts": 2},
    },
}


def file_name(text: str) -> str:
    """Any text as a file name: letters, digits and ``-_.`` stay, the rest becomes ``_``.

    Dots alone would name this folder or the one above, and no letter at all the folder itself:
    they become ``_`` as well.
    """
    name = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in text)
    return name if name.strip(".") else "_" * max(len(name), 1)


@dataclass(frozen=True)
class Lake:
    """Paths, reads and atomic writes under one root (a folder, or ``s3://bucket/prefix``)."""

    root: str

    @cached_property
    def _fs(self) -> fsspec.AbstractFileSystem:
        if not self._is_s3:
            return fsspec.url_to_fs(self.root)[0]
        found = fsspec.url_to_fs(self.root, **_S3)[0]
        # Tried again by s3fs on top of the above: its own five times would take minutes.
        found.retries = 2
        return found

    @property
    def _is_s3(self) -> bool:
        return self.root.startswith(("s3://", "s3a://"))

    @cached_property
    def is_local(self) -> bool:
        """Whether the lake is a folder of this machine."""
        return isinstance(self._fs, LocalFileSystem)

    def path(self, *parts: str) -> str:
        """Full path or address of something in the lake."""
        return "/".join([self.root.rstrip("/"), *parts])

    def partition(self, table: str, month: str) -> str:
        """Path of the one Parquet file of a table's month."""
        month_number(month)
        return self.path(table, f"month={month}", "part.parquet")

    def partitions(self, table: str) -> str:
        """Glob over all months of a table."""
        return self.path(table, "month=*", "part.parquet")

    def manifest(self, table: str, month: str) -> str:
        """Path of the JSON file that says a table's month is complete; written last."""
        month_number(month)
        return self.path(table, "manifest", f"month={month}.json")

    def months(self, table: str) -> list[str]:
        """Months (``YYYY-MM``) of which the table has a manifest, in order."""
        found = self.files(self.path(table, "manifest", "month=*.json"))
        return [name.rsplit("month=", 1)[1].removesuffix(".json") for name in found]

    def exists(self, path: str) -> bool:
        """Whether a file is there."""
        with self._asking(path):
            return bool(self._fs.exists(path))

    def read_table(self, path: str) -> pa.Table:
        """A Parquet file as an Arrow table; LakeError if it is absent or not Parquet."""
        try:
            if not self.is_local:
                with self._asking(path):
                    content = self._fs.cat_file(path)
                return pq.read_table(pa.BufferReader(content))
            with self._fs.open(path, "rb") as file:
                return pq.read_table(file)
        except FileNotFoundError as error:
            raise LakeError(f"{path} is not in the lake") from error
        except (pa.ArrowInvalid, OSError) as error:
            raise LakeError(
                f"{path} is not a readable Parquet file ({error}): land or build it again"
            ) from error

    def read_partitions(self, paths: Sequence[str]) -> pa.Table:
        """Partitions as one Arrow table, read at the same time: an object store answers slowly.

        The column ``month`` is that of the path, as DuckDB has it that reads such files itself.
        """
        with ThreadPoolExecutor(_AT_ONCE) as readers:
            tables = readers.map(self._read_partition, paths)
            return pa.concat_tables(tables)

    def _read_partition(self, path: str) -> pa.Table:
        table = self.read_table(path)
        month = path.rsplit("month=", 1)[1].partition("/")[0]
        column = pa.repeat(pa.scalar(month), table.num_rows)
        if "month" in table.column_names:
            return table.set_column(table.column_names.index("month"), "month", column)
        return table.append_column("month", column)

    def read_json(self, path: str) -> Any:
        """A JSON file; LakeError if it is absent."""
        return json.loads(self.read_bytes(path))

    def read_bytes(self, path: str) -> bytes:
        """A file as it is; LakeError if it is absent."""
        try:
            with self._asking(path):
                return bytes(self._fs.cat_file(path))
        except FileNotFoundError as error:
            raise LakeError(f"{path} is not in the lake") from error

    def write_table(self, path: str, table: pa.Table) -> str:
        """Write an Arrow table as Parquet, whole or not at all; returns the sha256 of the file.

        The same table gives the same bytes, so the digest tells whether data changed.
        """
        content, digest = encode(table)
        self.write_bytes(path, content)
        return digest

    def write_bytes(self, path: str, content: bytes | pa.Buffer) -> None:
        """Write a file, whole or not at all."""
        self._write(path, content)

    def remove_file(self, path: str) -> None:
        """Remove a file; nothing happens if it is absent."""
        with self._asking(path):
            if self._fs.exists(path):
                self._fs.rm_file(path)

    def write_json(self, path: str, value: Any) -> None:
        """Write a JSON file, whole or not at all."""
        self._write(path, json.dumps(value, indent=2, sort_keys=True).encode())

    def create_json(self, path: str, value: Any) -> bool:
        """Write a JSON file unless it is there; of several that try at once one succeeds.

        Returns whether it was written. A folder decides it in one step, and so does S3 (by the
        header ``If-None-Match``); another object store looks first and then writes.
        """
        content = json.dumps(value, indent=2, sort_keys=True).encode()
        try:
            if self.is_local:
                _create_file(Path(path.removeprefix("file://")), content)
            else:
                with self._asking(path):
                    self._fs.pipe_file(path, content, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            if _code(error) == "PreconditionFailed":  # for s3fs an error like any other
                return False
            raise _cannot_write(path, error) from error
        return True

    def files(self, pattern: str) -> list[str]:
        """Paths of the files that match a glob, in order, in a form that ``read_json`` takes."""
        with self._asking(pattern):
            found = self._fs.glob(pattern)
            if not found and self._is_s3:
                # s3fs finds nothing in a bucket that does not exist, and says no word of it.
                self._fs.call_s3("head_bucket", Bucket=self._bucket)
        return sorted(self._fs.unstrip_protocol(name) for name in found)

    def write_text(self, path: str, text: str) -> None:
        """Write a text file, whole or not at all."""
        self._write(path, text.encode())

    def remove_folder(self, *parts: str) -> None:
        """Remove a folder of the lake with all in it; nothing happens if it is absent."""
        folder = self.path(*parts)
        with self._asking(folder):
            if self._fs.exists(folder):
                self._fs.rm(folder, recursive=True)

    def check_writable(self) -> None:
        """Write and remove a small file; LakeError with the path if that fails."""
        probe = self.path(f".probe-{uuid.uuid4().hex}")
        # Not empty: a full disk still takes names.
        self._write(probe, b"probe")
        self.remove_file(probe)

    def _write(self, path: str, content: bytes | pa.Buffer) -> None:
        try:
            if self.is_local:
                _replace_file(Path(path.removeprefix("file://")), content)
            else:
                with self._asking(path):
                    self._fs.pipe_file(path, bytes(content))
        except OSError as error:
            raise _cannot_write(path, error) from error

    @property
    def _bucket(self) -> str:
        return self.root.split("://", 1)[1].partition("/")[0]

    @contextmanager
    def _asking(self, path: str) -> Iterator[None]:
        """Within it an S3 that is away, or refuses, is an error in one sentence.

        What a folder knows as well passes: a file that is absent, or there already.
        """
        if not self._is_s3:
            yield
            return
        from botocore.exceptions import BotoCoreError, NoCredentialsError

        server = _s3_server()
        keys = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        try:
            yield
        except NoCredentialsError as error:
            raise LakeError(f"there is no key for {path} at {server}: set {keys}") from error
        except PermissionError as error:
            raise LakeError(
                f"{server} refuses {path} ({error}): look whether {keys} are right, and may use "
                f"the bucket {self._bucket}"
            ) from error
        except FileNotFoundError as error:
            if not _lacks_bucket(error):
                raise
            raise LakeError(
                f"there is no bucket {self._bucket} at {server}: create it, or set "
                "FLIGHTDELAYS_LAKE to another place"
            ) from error
        except (BotoCoreError, TimeoutError) as error:
            raise _away(path, server, error) from error
        except OSError as error:
            if _answer(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0) < 500:
                raise
            raise _away(path, server, error) from error


def encode(table: pa.Table) -> tuple[pa.Buffer, str]:
    """An Arrow table as the bytes of a Parquet file, and their sha256."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue()
    return content, hashlib.sha256(content).hexdigest()


def _cannot_write(path: str, error: OSError) -> LakeError:
    return LakeError(
        f"cannot write {path}: {error.strerror or error}. Give this user the right to write there, "
        "free disk space, or set FLIGHTDELAYS_LAKE to another place"
    )


def _away(path: str, server: str, error: Exception) -> ServiceError:
    reason = str(error) or type(error).__name__
    return ServiceError(
        f"{server} does not answer for {path} ({reason}): start it, or set AWS_ENDPOINT_URL to "
        "where it is"
    )


def _s3_server() -> str:
    address = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return f"S3 at {address}" if address else "S3 of Amazon"


def _answer(error: Exception) -> dict[str, Any]:
    """What S3 answered, if s3fs made the error of that."""
    found: dict[str, Any] = getattr(error.__cause__, "response", None) or {}
    return found


def _code(error: Exception) -> str | None:
    return _answer(error).get("Error", {}).get("Code")


def _lacks_bucket(error: Exception) -> bool:
    asked = getattr(error.__cause__, "operation_name", None)
    return _code(error) == "NoSuchBucket" or asked == "HeadBucket"


def _create_file(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(content)
        # A link appears with the whole content, and only where nothing stands yet.
        target.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)


# [START replace]
def _replace_file(target: Path, content: bytes | pa.Buffer) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


# [END replace]


def open_lake(settings: Settings | None = None) -> Lake:
    """The lake that the settings name."""
    return Lake((settings or _in_use.get() or get_settings()).lake)


@contextmanager
def using(settings: Settings) -> Iterator[None]:
    """Within it ``open_lake()`` opens the lake of these settings.

    For code that cannot be passed any: Feast's definitions are a module that is executed.
    """
    token = _in_use.set(settings)
    try:
        yield
    finally:
        _in_use.reset(token)


_in_use: ContextVar[Settings | None] = ContextVar("settings_in_use", default=None)


def check_contiguous(months: Iterable[str], what: str) -> None:
    """DataError naming the gaps unless ``months`` follow each other without one."""
    present = sorted(months)
    if present:
        missing = sorted(set(months_between(present[0], present[-1])) - set(present))
        if missing:
            raise DataError(
                f"{what}: {', '.join(missing)} missing between {present[0]} and {present[-1]}. "
                f'Land with: make airflow ARGS="backfill create --dag-id ingest_flights '
                f'--from-date {missing[0]}-01 --to-date {missing[-1]}-28"'
            )
