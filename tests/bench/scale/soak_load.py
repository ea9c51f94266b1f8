"""The mixed load of the soak: what is started when, and what must come of it."""

import json
from datetime import datetime, timedelta
from itertools import cycle
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from course.api import FINISHED
from course.kafka import send
from course.sandbox import Sandbox
from flightdelays.requests import DEAD_LETTERS, TOPIC

from ..runs import EVENT, TRAIN, YEAR, moment

SCHEDULED, FAILING = "bench_soak", "bench_soak_failures"
INGEST = "ingest_flights"
ALL = (SCHEDULED, FAILING, INGEST, EVENT, TRAIN)
EVERY = {SCHEDULED: timedelta(minutes=1), FAILING: timedelta(minutes=2)}
PATIENCE = 900
"""Seconds after which something is lost rather than late."""
PLANNED = {"flaky": ("success", 2), "killed": ("success", 2), "broken": ("failed", 1)}
"""How the three tasks that fail must end, and at which try."""


class Load:
    """Starts work on a stack and remembers what it started."""

    def __init__(self, stack: Sandbox, name: str) -> None:
        self.stack, self.name = stack, name
        self.valid: list[str] = []
        self.malformed = self.irrelevant = 0
        self.backfills: list[dict[str, Any]] = []
        self._months = cycle(YEAR[2:9])

    def request_training(self) -> None:
        """A message that must lead to one training."""
        event_id = f"{self.name}-{len(self.valid)}"
        content = {
            "event_id": event_id,
            "event_type": "training.requested",
            "month": next(self._months),
            "model": "logistic",
            "reason": "soak",
        }
        self._send(json.dumps(content))
        self.valid.append(event_id)

    def send_noise(self) -> None:
        """One message that belongs among the dead letters, and one of another type."""
        self._send("{")
        self.malformed += 1
        self._send(json.dumps({"event_type": "model.viewed"}))
        self.irrelevant += 1

    def _send(self, message: str) -> None:
        send(self.stack.state.bootstrap_servers, TOPIC, message)

    def backfill(self) -> None:
        """All months again, two at a time. The one before must have ended."""
        first, last = f"{YEAR[0]}-01T00:00:00Z", f"{YEAR[-1]}-01T00:00:00Z"
        self.backfills.append(
            self.stack.api.backfill(
                INGEST, first, last, max_active_runs=2, reprocess_behavior="completed"
            )
        )

    def backfilled(self) -> bool:
        """Whether the last backfill has ended."""
        wanted = self.backfills[-1]["id"]
        found = self.stack.api.request("GET", f"/api/v2/backfills/{wanted}")
        return found["completed_at"] is not None and self.quiet(INGEST)

    def quiet(self, *dag_ids: str) -> bool:
        """Whether no run of these DAGs is left to do."""
        return not any(
            self.stack.api.runs(dag_id, state=state)
            for dag_id in dag_ids or ALL
            for state in ("queued", "running")
        )


def dead_letters(servers: str) -> int:
    """Messages in the topic of the dead letters."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "bench-soak"})
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(DEAD_LETTERS, 0), timeout=10)
    finally:
        consumer.close()
    return int(high - low)


def scheduled_account(
    stack: Sandbox, dag_id: str, begin: datetime, end: datetime, expected: str
) -> dict[str, Any]:
    """Every tick of a schedule between two moments against the runs of that time."""
    runs = [
        run
        for run in stack.api.runs(dag_id, run_type="scheduled", order_by="run_after")
        if begin <= moment(run, "run_after") < end
    ]
    step, tick, ticks = EVERY[dag_id].total_seconds(), begin.timestamp(), 0
    tick = -(-tick // step) * step
    wanted = set()
    while tick < end.timestamp():
        wanted.add(tick)
        tick += step
        ticks += 1
    found = [moment(run, "run_after").timestamp() for run in runs]
    return {
        "what": f"runs of {dag_id}, by its schedule",
        "expected": ticks,
        "as_expected": sum(run["state"] == expected for run in runs),
        "lost": len(wanted - set(found)),
        "twice": len(found) - len(set(found)),
    }


def failures_account(stack: Sandbox, begin: datetime, end: datetime) -> dict[str, Any]:
    """The tasks that fail on purpose: final state and number of tries of each."""
    runs = [
        run
        for run in stack.api.runs(FAILING, run_type="scheduled")
        if begin <= moment(run, "run_after") < end
    ]
    tasks = [task for run in runs for task in stack.api.task_instances(FAILING, run["dag_run_id"])]
    right = sum((task["state"], task["try_number"]) == PLANNED[task["task_id"]] for task in tasks)
    expected = len(PLANNED) * len(runs)
    return {
        "what": "tasks that fail once, are killed once, fail for good",
        "expected": expected,
        "as_expected": right,
        "lost": max(0, expected - right),
        "twice": max(0, len(tasks) - expected),
    }


def events_account(load: Load, letters_before: int) -> list[dict[str, Any]]:
    """Each valid message has one training; each malformed one is a dead letter."""
    runs = [
        run
        for run in load.stack.api.runs(TRAIN)
        if run["dag_run_id"].startswith(f"request__{load.name}-")
    ]
    found = [run["dag_run_id"].removeprefix("request__") for run in runs]
    letters = dead_letters(load.stack.state.bootstrap_servers) - letters_before
    return [
        {
            "what": "messages that ask for a training",
            "expected": len(load.valid),
            "as_expected": sum(run["state"] == "success" for run in runs),
            "lost": len(set(load.valid) - set(found)),
            "twice": len(found) - len(set(found)),
        },
        {
            "what": "malformed messages, found among the dead letters",
            "expected": load.malformed,
            "as_expected": min(letters, load.malformed),
            "lost": max(0, load.malformed - letters),
            "twice": max(0, letters - load.malformed),
        },
    ]


def backfill_account(load: Load, ended: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """The months of all backfills; ``ended`` holds the runs as they were after each."""
    right = 0
    for backfill, runs in zip(load.backfills, ended, strict=True):
        created = moment(backfill, "created_at")
        right += sum(
            run["state"] == "success" and moment(run, "end_date") > created for run in runs
        )
    expected = len(YEAR) * len(load.backfills)
    return {
        "what": f"months in {len(load.backfills)} backfills",
        "expected": expected,
        "as_expected": right,
        "lost": expected - right,
        "twice": 0,
    }


def backfill_runs(stack: Sandbox) -> list[dict[str, Any]]:
    """The runs of the last backfill, as they are now."""
    return [run for run in stack.api.runs(INGEST, run_type="backfill") if run["state"] in FINISHED]
