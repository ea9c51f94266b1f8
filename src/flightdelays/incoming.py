"""The folder in which training requests arrive as JSON files.

A file goes from ``incoming/`` to ``taken/<run>/`` and from there to ``done/``, or to
``rejected/`` with the reason beside it. Each step renames, which happens wholly or not at all:
of two runs that see the same file one gets it. Senders do the same: they write under a name that
ends in ``.tmp`` or starts with a dot, and rename it once complete.
"""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from glob import escape
from pathlib import Path

from flightdelays.errors import CourseError, DataError
from flightdelays.lake import file_name
from flightdelays.requests import LARGEST, Arrival, parse
from flightdelays.settings import Settings, get_settings

log = logging.getLogger(__name__)

PATTERN = "*.json"


def take(run: str, name: str | None = None, settings: Settings | None = None) -> list[Arrival]:
    """The requests in the files that wait, or in the one named; malformed ones are put aside.

    The files are this run's from now on, and a second call returns what the first returned.
    Empty if there is no file, or if other runs were quicker. Raises CourseError if ``name``
    names no file of the folder.
    """
    root = _root(settings)
    wanted = [root / _checked(name, root)] if name is not None else list(_waiting(root))
    mine = _folder(root, "taken", run)
    for path in wanted:
        place = mine / path.name
        if place.exists():
            # A second file of this name: the next run's.
            continue
        try:
            path.rename(place)
        except FileNotFoundError:
            log.info("%s was taken by another run", path.name)
    found = [_read(path, root, run) for path in _waiting(mine)]
    _remove_if_empty(mine)
    return [arrival for arrival in found if arrival is not None]


def settle(run: str, settings: Settings | None = None) -> list[str]:
    """Move the files that a run has taken to ``done/``; returns their new paths."""
    root = _root(settings)
    mine = _folder(root, "taken", run)
    moved = [_move(path, _folder(root, "done"), run) for path in _waiting(mine)]
    _remove_if_empty(mine)
    return [str(path) for path in moved]


def _root(settings: Settings | None) -> Path:
    root = Path((settings or get_settings()).incoming)
    root.mkdir(parents=True, exist_ok=True)
    return root


def _folder(root: Path, kind: str, run: str | None = None) -> Path:
    folder = root / kind / file_name(run) if run else root / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


def _waiting(folder: Path) -> Iterator[Path]:
    """Complete files, by name. Links are among them: they are put aside, not left for ever."""
    for path in sorted(folder.glob(PATTERN)):
        if not path.name.startswith(".") and (path.is_file() or path.is_symlink()):
            yield path


def _checked(name: str, root: Path) -> str:
    """The name of a file that lies, or has lain, in the folder."""
    if name != Path(name).name or "\\" in name or name.startswith("."):
        raise CourseError(
            f"path {name!r} is refused: give the name alone of a file that lies in {root}, "
            "such as request.json"
        )
    if not name.endswith(".json"):
        raise CourseError(f"path {name!r} is refused: a request is a file that ends in .json")
    if not (root / name).is_file() and not any(root.glob(f"*/**/{escape(name)}")):
        raise CourseError(f"there is no {name} in {root}: put it there, then start a run again")
    return name


def _read(path: Path, root: Path, run: str) -> Arrival | None:
    """The request in a file, or None and the file put aside with the reason."""
    origin = f"file {path.name}, run {run}"
    try:
        request = parse(_content(path), origin)
    except (DataError, PermissionError) as error:
        place = _move(path, _folder(root, "rejected"), run)
        place.with_name(f"{place.name}.reason.txt").write_text(f"{error}\n", "utf-8")
        log.warning("%s rejected: %s", path.name, error)
        return None
    sent_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return Arrival(request=request, origin=origin, sent_at=sent_at)


def _content(path: Path) -> bytes:
    if path.is_symlink():
        raise DataError("not a training request: a link, not a file")
    # One byte above the limit is enough to know that a file is too large.
    with path.open("rb") as file:
        return file.read(LARGEST + 1)


def _move(path: Path, folder: Path, run: str) -> Path:
    """Move a file; one that would replace another of its name gets the run into its own."""
    place = folder / path.name
    if place.exists():
        place = folder / f"{path.stem}.{file_name(run)}{path.suffix}"
    return path.rename(place)
