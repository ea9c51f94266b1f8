"""What exercise 3 asks for, found out with a real broker, a real trigger and real runs."""

import json
from collections import Counter
from collections.abc import Callable

import pytest
from ex03_doors.broker import PATIENCE, Broker, called
from ex03_doors.inbox import SOON, Inbox, Wait
from ex03_doors.messages import (
    MALFORMED,
    describe,
    is_first,
    message,
    months,
    no_event,
    place,
    words,
)
from ex03_doors.starts import Airflow, Heard

from course.grading import Failed, Lesson, Run, task

WRONG_MONTHS = ("2013-13", "September 2013", 201302)
LONGEST = 600
"""Seconds from one run of `ex03_on_file` to the next."""


@task(1)
def test_a_wrong_month_is_refused(airflow: Airflow) -> None:
    for month in WRONG_MONTHS:
        status, _ = airflow.post("ex03_train", {"month": month})
        if status != 400:
            conf = json.dumps({"month": month})
            raise Failed(
                ran=f"POST /api/v2/dags/ex03_train/dagRuns with conf {conf}",
                expected="400 Bad Request: the params of the DAG say what a month is",
                happened=f"{status}: a run was made of it",
            )


@task(1)
def test_a_right_month_or_none_is_taken(airflow: Airflow) -> None:
    for conf in ({"month": "2013-02"}, {"month": "2013-12"}, {}):
        status, answer = airflow.post("ex03_train", conf)
        if status != 200:
            raise Failed(
                ran=f"POST /api/v2/dags/ex03_train/dagRuns with conf {json.dumps(conf)}",
                expected="200: the run is queued",
                happened=f"{status}: {str(answer.get('detail')).splitlines()[0]:.200}",
            )


@task(2)
def test_the_month_of_the_conf_is_trained(asked: Run) -> None:
    found = months(asked)
    if found != {"2013-02": 1}:
        raise Failed(
            ran=asked.told,
            expected="one training, of 2013-02",
            happened=f"trained: {words(found)}",
            where="task accept",
        )


@task(3)
def test_nobody_asks_kafka_while_the_file_is_parsed(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    with called(monkeypatch.setenv) as was_called:
        DagBag(str(lesson.source.path))
        asked = was_called()
    if asked:
        raise Failed(
            ran="the import of the file, which Airflow repeats for every task and every parse",
            expected="that only the triggerer reads the topic",
            happened="the file itself connected to the broker while it was imported",
            where=lesson.source.name,
        )


@task(3)
def test_a_valid_message_becomes_an_event(lesson: Lesson, first: tuple[Heard, int]) -> None:
    heard, passed = first
    if heard.silent:
        raise Failed(
            ran="the watcher, on a topic with four messages about something else and a request",
            expected=f"an event within {PATIENCE:.0f} s",
            happened=f"no event; {passed} of the 5 messages were passed by the group `ex03`",
        )
    if heard.error is not None or not heard.watched:
        raise Failed(
            ran="the watcher, on a topic with four messages about something else and a request",
            expected="an event",
            happened=describe(heard),
            where=place(lesson, heard),
        )
    if not is_first(heard):
        raise no_event(heard, "an event that holds the request: its `event_id`, its `month`")


@task(3)
def test_a_message_that_was_read_is_committed(first: tuple[Heard, int]) -> None:
    heard, passed = first
    if not is_first(heard):
        raise no_event(heard, "an event that holds the request: its `event_id`, its `month`")
    if passed != 5:
        raise Failed(
            ran="the watcher, on a topic with five messages, up to its event",
            expected="that the group `ex03` has committed 5 messages: the next life goes on there",
            happened=f"it has committed {passed}; the others would be read again, or by others",
        )


@task(4)
def test_a_malformed_message_does_not_end_the_trigger(
    lesson: Lesson, second: tuple[Heard, int, int]
) -> None:
    heard, passed, sent = second
    if heard.error is not None or heard.silent or not heard.watched:
        kinds = list(MALFORMED)
        at = passed - (sent - len(kinds) - 1)
        culprit = f", at {kinds[at]}" if sent and 0 <= at < len(kinds) else ""
        raise Failed(
            ran="the watcher, on a topic with five malformed messages and a valid one behind them",
            expected="that it passes them over, and makes an event of the valid one",
            happened=f"{describe(heard)}{culprit}",
            where=place(lesson, heard),
        )
    if not isinstance(heard.payload, dict) or heard.payload.get("event_id") != "second":
        raise Failed(
            ran="the watcher, on a topic with five malformed messages and a valid one behind them",
            expected="an event of the valid one",
            happened=describe(heard),
        )


@task(4)
def test_malformed_messages_lie_among_the_dead_letters(
    broker: Broker, second: tuple[Heard, int, int]
) -> None:
    letters = broker.dead(len(MALFORMED))
    for kind, value in MALFORMED.items():
        reasons = [reason for found, reason in letters if found == value]
        if not any(reasons):
            raise Failed(
                ran="the watcher, on a topic with five malformed messages",
                expected=f"{kind} in the topic `ml.training.requests.dead`, with the reason",
                happened="it lies there without a reason" if reasons else "it is not there",
            )


@task(5)
def test_every_event_of_a_burst_is_trained(first: tuple[Heard, int], burst: Run | None) -> None:
    if burst is None:
        raise no_event(first[0], "an event for 2013-03, for a run to train: see task 3")
    found = months(burst)
    if set(found) != {"2013-03", "2013-05"}:
        raise Failed(
            ran=burst.told,
            expected="trainings of 2013-03 and 2013-05, as the events say",
            happened=f"trained: {words(found)}",
        )


@task(6)
def test_an_event_that_comes_twice_is_trained_once(
    first: tuple[Heard, int], burst: Run | None
) -> None:
    if burst is None:
        raise no_event(first[0], "an event for 2013-03, to come a second time: see task 3")
    found = months(burst)
    if found["2013-03"] != 1:
        raise Failed(
            ran=burst.told,
            expected="one training of 2013-03: both events have the same `event_id`",
            happened=f"trained: {words(found)}",
        )


@task(6)
def test_an_event_of_an_earlier_run_is_not_trained_again(
    airflow: Airflow, first: tuple[Heard, int], burst: Run | None
) -> None:
    if burst is None:
        raise no_event(first[0], "an event for 2013-03, to come a second time: see task 3")
    months(burst)
    begun, *_ = airflow.fire(first[0].payload)
    told = "ex03_train, started by an event for 2013-03 that an earlier run has trained"
    run = airflow.run(None, told, lake="events", event=begun)
    found = months(run)
    if found or run.state != "success":
        raise Failed(
            ran=told,
            expected="that nothing is trained, and that the run ends well",
            happened=f"trained: {words(found)}; the run ended as {run.state}",
        )


@task(7)
def test_the_sensor_gives_up_gracefully(waited: Wait) -> None:
    waited.run.of("wait_for_file")
    if not 0 < waited.timeout <= LONGEST:
        raise Failed(
            ran="the import of the file, as Airflow does it",
            expected="a sensor that gives up before the next run begins, after ten minutes",
            happened=f"its timeout is {waited.timeout:,.0f} s"
            if waited.timeout
            else "`wait_for_file` is no sensor",
            where="task wait_for_file",
        )
    waited.run.ended("wait_for_file", "skipped", "no *.json came in time, and that is no failure")
    if waited.run.state != "success":
        raise Failed(
            ran=waited.run.told,
            expected="that a run without a file ends well",
            happened=f"it ended as {waited.run.state}",
        )


@task(7)
def test_the_sensor_waits_outside_of_the_worker(waited: Wait) -> None:
    waited.run.of("wait_for_file")
    if waited.held > SOON * 0.7:
        raise Failed(
            ran=f"{waited.run.told}, and a timeout of {SOON:.0f} s",
            expected="that the sensor leaves the worker while it waits",
            happened=f"it sat in the worker for {waited.held:.1f} s",
            where="task wait_for_file",
        )


@task(8)
def test_a_file_is_trained_and_moved(inbox: Callable[[str], Inbox], airflow: Airflow) -> None:
    box = inbox("events")
    box.put("request.json", message("from-a-file", "2013-06").decode())
    box.put("notes.txt", "not a request")
    mark = airflow.mark()
    done = box.run("ex03_on_file, with request.json and notes.txt in the folder").run
    told = "ex03_train, started by what ex03_on_file made of request.json"
    runs = airflow.follow(mark, told, lake="events")
    if not runs:
        states = ", ".join(f"`{label}` ended as {state}" for label, state in done.states.items())
        raise Failed(
            ran=done.told,
            expected="an event of the asset that starts `ex03_train`",
            happened=f"none was stored; {states}",
        )
    found = sum((months(run) for run in runs), Counter())
    if found["2013-06"] != 1:
        raise Failed(
            ran=told, expected="one training, of 2013-06", happened=f"trained: {words(found)}"
        )
    left = sorted(path.name for path in box.folder.glob("*") if path.is_file())
    if left != ["notes.txt"]:
        raise Failed(
            ran=done.told,
            expected="that request.json is gone from `incoming/ex03`, and notes.txt is still there",
            happened=f"there lies: {', '.join(left) or 'nothing'}; the next run finds that",
        )
    kept = box.holding("2013-06")
    if not kept or any("taken" in path.parts for path in kept):
        raise Failed(
            ran=done.told,
            expected="that the file is done with: it lies in `incoming/ex03/done`",
            happened="it is still in `taken`" if kept else "it was deleted, and nobody can ask why",
        )
