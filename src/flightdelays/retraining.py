"""From requests to trainings, the same for every door: take, put together, order by urgency.

Requests for the same month, first month and model are one training that serves them all. A
request also needs no training of its own if one for the same thing was ordered after the request
had been sent: whatever its sender had seen, that training has seen too.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from flightdelays import ledger, pages
from flightdelays.lake import Lake, file_name, open_lake
from flightdelays.ledger import Training
from flightdelays.pages import Table
from flightdelays.report import report_folder
from flightdelays.requests import Arrival
from flightdelays.settings import Settings, get_settings

log = logging.getLogger(__name__)

StateOf = Callable[[str], str | None]
"""State of a training by its run id, None while there is no such run."""

NOTE_LENGTH = 900
LATEST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Row:
    """What became of one message."""

    event_id: str
    month: str
    reason: str
    priority: str
    training: str | None
    outcome: str


def accept(
    arrivals: Sequence[Arrival], run: str, state_of: StateOf, settings: Settings | None = None
) -> list[dict[str, Any]]:
    """Take what is new and say which trainings to start, the most urgent first.

    ``run`` is ``<dag_id>/<run_id>``; the same run asking again gets the same answer. Each
    training has ``trigger_run_id``, ``conf`` (parameters of ``train_delay_model``) and ``note``.
    An empty list means that there is nothing to do; the log says why.
    """
    taken, rows = _take(arrivals, run, settings)
    waiting: dict[tuple[str, str | None, str], list[Arrival]] = {}
    serving: dict[str, list[Arrival]] = {}
    for arrival in sorted(taken, key=_urgency):
        training = ledger.entry(arrival.request.event_id, settings).training
        training = training or _under_way(arrival, run, state_of, settings)
        if training:
            serving.setdefault(training, []).append(arrival)
        else:
            waiting.setdefault(_wish(arrival), []).append(arrival)
    for (month, train_from, model), group in waiting.items():
        wanted = Training(
            run_id=f"request__{group[0].request.event_id}",
            ordered_by=run,
            ordered_at=datetime.now(UTC),
            month=month,
            train_from=train_from,
            model=model,
        )
        serving.setdefault(ledger.order(wanted, settings).run_id, []).extend(group)

    orders = []
    for training, group in sorted(serving.items(), key=lambda item: _urgency(item[1][0])):
        for arrival in group:
            ledger.serve(arrival.request.event_id, training, settings)
        own = training in _ordered_by(run, group[0].request.month, settings)
        outcome = f"trained by {training}" if own else f"served by {training}, ordered since"
        rows += [_row(arrival, training, outcome) for arrival in group]
        if own:
            orders.append(_order(training, group))
    for row in rows:
        log.info("request %s: %s", row.event_id, row.outcome)
    waits = [
        (datetime.now(UTC) - arrival.sent_at).total_seconds()
        for arrival in taken
        if arrival.sent_at
    ]
    if waits:
        log.info(
            "%d requests taken %.1f to %.1f s after they were sent",
            len(waits),
            min(waits),
            max(waits),
        )
    _write_sheet(run, rows, settings)
    return orders


def _take(
    arrivals: Sequence[Arrival], run: str, settings: Settings | None
) -> tuple[list[Arrival], list[Row]]:
    """What belongs to this run, and a row for each duplicate that it is the first to see."""
    taken: dict[str, Arrival] = {}
    duplicates = []
    for arrival in arrivals:
        event_id = arrival.request.event_id
        if event_id not in taken and ledger.claim(arrival, run, settings):
            taken[event_id] = arrival
            continue
        owner = ledger.entry(event_id, settings)
        # The same message read again is nothing new; another one with the same id is.
        if owner.origin != arrival.origin and ledger.turn_away(arrival, run, settings):
            duplicates.append(_row(arrival, owner.training, f"duplicate of {owner.origin}"))
    return list(taken.values()), duplicates


def _under_way(
    arrival: Arrival, run: str, state_of: StateOf, settings: Settings | None
) -> str | None:
    """Run id of a training for the same thing that has seen all that the sender had seen."""
    for training in ledger.trainings(arrival.request.month, settings):
        if (training.month, training.train_from, training.model) != _wish(arrival):
            continue
        state = state_of(training.run_id)
        if training.ordered_by == run and state is None:
            return training.run_id
        sent_before = arrival.sent_at is not None and arrival.sent_at <= training.ordered_at
        if sent_before and state not in (None, "failed"):
            return training.run_id
    return None


def _ordered_by(run: str, month: str, settings: Settings | None) -> set[str]:
    return {t.run_id for t in ledger.trainings(month, settings) if t.ordered_by == run}


def _wish(arrival: Arrival) -> tuple[str, str | None, str]:
    request = arrival.request
    return request.month, request.train_from, request.model


def _urgency(arrival: Arrival) -> tuple[int, datetime, str]:
    request = arrival.request
    return request.priority.rank, arrival.sent_at or LATEST, request.event_id


def _row(arrival: Arrival, training: str | None, outcome: str) -> Row:
    request = arrival.request
    return Row(
        request.event_id, request.month, request.reason, str(request.priority), training, outcome
    )


def _order(training: str, group: list[Arrival]) -> dict[str, Any]:
    month, train_from, model = _wish(group[0])
    events = ", ".join(arrival.request.event_id for arrival in group)
    note = f"{group[0].request.reason} (serves {len(group)}: {events})"
    return {
        "trigger_run_id": training,
        "conf": {"model": model, "train_from": train_from, "validation_month": month},
        "note": note if len(note) <= NOTE_LENGTH else f"{note[:NOTE_LENGTH]}…",
    }


def _sheet(run: str, settings: Settings | None) -> str:
    return open_lake(settings).path(ledger.FOLDER, "runs", f"{file_name(run)}.json")


def _write_sheet(run: str, rows: list[Row], settings: Settings | None) -> None:
    open_lake(settings).write_json(_sheet(run, settings), [asdict(row) for row in rows])


def accepted(run: str, settings: Settings | None = None) -> list[Row]:
    """What ``accept`` has made of the messages of a run; LakeError if it has not run."""
    return [Row(**row) for row in open_lake(settings).read_json(_sheet(run, settings))]


def report(run: str, settings: Settings | None = None) -> str:
    """Path of the verdict on a run: each request with what became of it, each training's outcome.

    To be called when the trainings that ``accept`` ordered have ended well.
    """
    settings = settings or get_settings()
    dag_id, _, run_id = run.partition("/")
    rows = accepted(run, settings)
    served = [row for row in rows if row.outcome.startswith("trained by")]
    trainings = list(dict.fromkeys(row.training for row in served if row.training))
    verdicts = {training: _verdict(training, settings) for training in trainings}
    duplicates = sum(row.outcome.startswith("duplicate") for row in rows)
    headline = f"{_count(len(trainings), 'training')} served {_count(len(served), 'request')}."
    facts = [
        f"{training}: {verdict['model']}, judged on {verdict['validation_month']}, "
        f"AUC {verdict['metrics']['auc']:.4f}: "
        + (f"deployed as version {verdict['version']}" if verdict["deployed"] else "not deployed")
        for training, verdict in verdicts.items()
    ]
    if duplicates:
        facts.append(f"{_count(duplicates, 'duplicate')} left out: each event is trained once.")
    if joined := len(rows) - len(served) - duplicates:
        facts.append(f"{_count(joined, 'request')} served by a training that was ordered since.")
    return pages.write(
        dag_id,
        run_id,
        headline=headline,
        facts=facts,
        tables={
            "Requests": Table(
                ["event", "month", "priority", "reason", "outcome"],
                [[r.event_id, r.month, r.priority, r.reason, r.outcome] for r in rows],
            ),
            "Trainings": Table(
                ["run", "model", "trained on", "judged on", "AUC", "deployed"],
                [
                    [
                        training,
                        verdict["model"],
                        f"{verdict['train_from']} to {verdict['train_to']}",
                        verdict["validation_month"],
                        verdict["metrics"]["auc"],
                        "yes" if verdict["deployed"] else "no",
                    ]
                    for training, verdict in verdicts.items()
                ],
            ),
        },
        data={"requests": [asdict(row) for row in rows], "trainings": trainings},
        settings=settings,
    )


def _verdict(training: str, settings: Settings) -> dict[str, Any]:
    site = Lake(str(report_folder(training, settings)))
    verdict: dict[str, Any] = site.read_json(site.path("verdict.json"))
    return verdict


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
