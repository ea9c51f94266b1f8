"""The ledger of training requests: which run has taken an event, and which training served it.

One JSON file an event, ``requests/<event_id>.json`` in the lake, created by whoever comes first.
So a request that arrives twice, or through two doors, is trained once; and who asks later what
became of it finds the answer here.
"""

from datetime import UTC, datetime

from pydantic import BaseModel

from flightdelays.lake import Lake, file_name, open_lake
from flightdelays.requests import Arrival, TrainingRequest
from flightdelays.settings import Settings

FOLDER = "requests"


class Entry(BaseModel):
    """A request that a run has taken."""

    request: TrainingRequest
    origin: str
    sent_at: datetime | None
    run: str
    """The run that took it, ``<dag_id>/<run_id>``."""
    claimed_at: datetime
    training: str | None = None
    """Run id of the training that serves it."""


class Training(BaseModel):
    """A training that a run has ordered."""

    run_id: str
    ordered_by: str
    ordered_at: datetime
    month: str
    train_from: str | None
    model: str


def claim(arrival: Arrival, run: str, settings: Settings | None = None) -> bool:
    """Take a request for ``run``; False if another run has it. The same run may ask again."""
    lake = open_lake(settings)
    path = _path(lake, arrival.request.event_id)
    entry = Entry(
        request=arrival.request,
        origin=arrival.origin,
        sent_at=arrival.sent_at,
        run=run,
        claimed_at=datetime.now(UTC),
    )
    if lake.create_json(path, entry.model_dump(mode="json")):
        return True
    return _read(lake, path).run == run


def entry(event_id: str, settings: Settings | None = None) -> Entry:
    """What the ledger holds on an event; LakeError if nobody has taken it."""
    lake = open_lake(settings)
    return _read(lake, _path(lake, event_id))


def turn_away(arrival: Arrival, run: str, settings: Settings | None = None) -> bool:
    """Note a second message with a known event id; False if another run has noted it before."""
    lake = open_lake(settings)
    name = f"{arrival.request.event_id}--{file_name(arrival.origin)}.json"
    path = lake.path(FOLDER, "duplicates", name)
    note = {"origin": arrival.origin, "run": run}
    return lake.create_json(path, note) or bool(lake.read_json(path)["run"] == run)


def serve(event_id: str, training: str, settings: Settings | None = None) -> None:
    """Record the run id of the training that serves an event; only who claimed it may do so."""
    lake = open_lake(settings)
    path = _path(lake, event_id)
    _write(lake, path, _read(lake, path).model_copy(update={"training": training}))


def order(training: Training, settings: Settings | None = None) -> Training:
    """Record a training before it is started; one that is recorded already is returned as it is."""
    lake = open_lake(settings)
    path = lake.path(FOLDER, "trainings", training.month, f"{file_name(training.run_id)}.json")
    if lake.create_json(path, training.model_dump(mode="json")):
        return training
    return Training.model_validate(lake.read_json(path))


def trainings(month: str, settings: Settings | None = None) -> list[Training]:
    """The trainings ordered for a month, the latest first."""
    lake = open_lake(settings)
    paths = lake.files(lake.path(FOLDER, "trainings", month, "*.json"))
    found = [Training.model_validate(lake.read_json(path)) for path in paths]
    return sorted(found, key=lambda training: training.ordered_at, reverse=True)


def _path(lake: Lake, event_id: str) -> str:
    return lake.path(FOLDER, f"{event_id}.json")


def _read(lake: Lake, path: str) -> Entry:
    return Entry.model_validate(lake.read_json(path))


def _write(lake: Lake, path: str, entry: Entry) -> None:
    lake.write_json(path, entry.model_dump(mode="json"))
