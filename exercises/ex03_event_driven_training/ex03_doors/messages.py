"""What is sent in the checks, and what became of it, in words."""

import json
from collections import Counter

from course.grading import Failed, Lesson, Run
from ex03_doors.broker import PATIENCE
from ex03_doors.starts import Heard

OTHER = b'{"event_type": "model.deployed", "model": "hist_gradient"}'
MALFORMED = {
    "text that is not JSON": b"please train September",
    "a request for the month 2013-13": b'{"month": "2013-13", "reason": "a typo"}',
    "a message without a value (a tombstone)": None,
    "JSON that is no object": b'["2013-09"]',
    "bytes that are no text": b"\xff\xfe\x00",
}


def message(event_id: str, month: str) -> bytes:
    """A valid request, as it lies in Kafka or in a file."""
    return json.dumps({"event_id": event_id, "month": month, "reason": "a new carrier"}).encode()


def months(run: Run) -> Counter[str]:
    """How often each month was trained in a run, by what `train` returned."""
    for instance in run.of("train"):
        if instance.state not in {"success", "skipped"}:
            run.succeeded("train")
    found: Counter[str] = Counter()
    for instance in run.of("train"):
        if instance.state == "success":
            result = instance.returned
            if not isinstance(result, dict) or not {"month", "auc"} <= result.keys():
                raise Failed(
                    ran=run.told,
                    expected=f"that `{instance.label}` returns what `events.train` returns",
                    happened=f"it returned {result!r:.200}",
                    where="task train",
                )
            found[str(result["month"])] += 1
    return found


def words(found: Counter[str]) -> str:
    return ", ".join(f"{month} ({times}×)" for month, times in sorted(found.items())) or "no month"


def is_first(heard: Heard) -> bool:
    """Whether the event is that of the valid message for 2013-03."""
    payload = heard.payload
    if not isinstance(payload, dict):
        return False
    return (payload.get("event_id"), payload.get("month")) == ("first", "2013-03")


def no_event(heard: Heard, expected: str) -> Failed:
    """What to say when the valid message for 2013-03 did not become an event."""
    return Failed(
        ran="the watcher, on a topic with a request for 2013-03",
        expected=expected,
        happened=describe(heard),
    )


def describe(heard: Heard) -> str:
    if not heard.watched:
        return "nothing watches a topic: `ex03_train` is on no asset that has a watcher"
    if heard.error is not None:
        text = str(heard.error).strip().split("\n")[0]
        return f"the trigger died of {type(heard.error).__name__}: {text:.200}"
    if heard.silent:
        return f"no event came within {PATIENCE:.0f} s"
    return f"the event holds {heard.payload!r:.200}"


def place(lesson: Lesson, heard: Heard) -> str:
    line = lesson.source.last(heard.error.__traceback__) if heard.error is not None else 0
    return lesson.source.place(line) if line else ""
