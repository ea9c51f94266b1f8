"""Each alert once: whoever creates the alert's file in the lake sends it, all others keep silent.

One failure is noticed in several places (the worker that ran the task, the dag-processor that
sees the run fail, a triggerer that starts a trigger again), in other processes and on other
machines; they share the lake. The file of an alert that could not be delivered is removed, so
that the next one who notices tries again. A process killed between file and delivery loses the
alert: at most once, because an alert that repeats itself is soon ignored.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from flightdelays.lake import file_name, open_lake
from flightdelays.settings import Settings


def first(key: Sequence[str], about: str = "", settings: Settings | None = None) -> bool:
    """Whether this caller is the first for ``key`` (DAG, run, … name of the alert).

    ``about`` is kept with the claim, for ``sent``.
    """
    record = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "about": about}
    return open_lake(settings).create_json(_path(key, settings), record)


def withdraw(key: Sequence[str], settings: Settings | None = None) -> None:
    """Give a claim back; nothing happens if there is none."""
    open_lake(settings).remove_file(_path(key, settings))


@contextmanager
def once(key: Sequence[str], about: str = "", settings: Settings | None = None) -> Iterator[bool]:
    """Claim ``key`` for the time of sending: yields whether to send; an error gives it back."""
    mine = first(key, about, settings)
    try:
        yield mine
    except BaseException:
        if mine:
            withdraw(key, settings)
        raise


def sent(key: Sequence[str], settings: Settings | None = None) -> list[dict[str, Any]]:
    """Alerts below ``key`` (DAG and run), in the order of their times: ``at`` and ``about``."""
    lake = open_lake(settings)
    found = [lake.read_json(path) for path in lake.files(f"{_folder(key, settings)}/*.json")]
    return sorted(found, key=lambda record: str(record["at"]))


def _folder(key: Sequence[str], settings: Settings | None) -> str:
    return open_lake(settings).path("alerts", *(file_name(part) for part in key))


def _path(key: Sequence[str], settings: Settings | None) -> str:
    return _folder(key, settings) + ".json"
