"""What exercise 6 asks for, found out by running the learner's DAG and listening to it."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

from course.grading import Failed, task
from flightdelays.practice_receiver import count, quoted, series

DAG = "ex06_monitoring"
NAMES = ("training.rows", "training.auc", "training.duration")
GOOD = {"month": "2013-06", "model": "tree"}
POOR = {"month": "2013-01", "model": "tree"}
TOLD = "the DAG with month=2013-06, model=tree"
LATE = "manual__the_late_one"
LONG_AGO = datetime(2013, 6, 1, tzinfo=UTC)
WHY = {"pending": "not yet a reason to call anybody", "firing": "known already"}
"""Why nobody is called in a state of the rule."""


def good(watch: Any) -> Any:
    """A run that has nothing to complain of."""
    return watch.run(GOOD, told=TOLD)


def flaky(watch: Any) -> Any:
    """A run of another model whose first try of `train` fails."""
    conf = {"month": "2013-06", "model": "logistic", "plant": "flaky"}
    return watch.run(conf, told="the DAG with model=logistic, plant=flaky")


def failing(watch: Any) -> Any:
    """A run of which every try of `train` fails."""
    return watch.run(GOOD | {"plant": "failure"}, told="the DAG with plant=failure")


def without_data(watch: Any) -> Any:
    """A run of which every try of `sample` fails."""
    told = "the DAG, every try of `sample` made to fail"
    return watch.run(GOOD, fail={"sample": 99}, told=told)


def silent(watched: Any, because: str) -> None:
    """Failed if the run sent any message."""
    if watched.messages:
        raise Failed(
            ran=watched.run.told,
            expected=f"no message: {because}",
            happened=f"{count(watched.messages)}: {quoted(watched.messages[0])}",
        )


@task(1)
def test_rows_and_auc_arrive_as_gauges(watch: Any) -> None:
    watched = good(watch)
    values = watched.trained()
    for key in ("rows", "auc"):
        name = f"training.{key}"
        metric = watched.latest(name, "g", "gauge")
        if abs(metric.value - values[key]) > 1e-6 * max(1, abs(values[key])):
            raise Failed(
                ran=watched.run.told,
                expected=f"`{name}` = {values[key]}, as `train` returned",
                happened=f"{metric.value} arrived",
            )


@task(2)
def test_the_duration_arrives_in_milliseconds(watch: Any) -> None:
    watched = good(watch)
    seconds = watched.trained()["seconds"]
    metric = watched.latest("training.duration", "ms", "timer")
    whole = watched.run.one("train").seconds
    # A timer around the call measures a little more than the fit.
    if not 900 * seconds - 1 <= metric.value <= 1000 * max(seconds, whole) + 1:
        raise Failed(
            ran=watched.run.told,
            expected=f"the {seconds} s of the fit as {seconds * 1000:.0f} ms",
            happened=f"{metric.value:g} ms arrived",
        )


@task(3)
def test_every_metric_says_whose_it_is(watch: Any) -> None:
    good(watch).run.succeeded("train")
    for watched, model in ((good(watch), "tree"), (flaky(watch), "logistic")):
        sent = [each for each in watched.metrics if each.name.removeprefix("airflow.") in NAMES]
        if not sent and model == "tree":
            raise Failed(
                ran=watched.run.told,
                expected="metrics with the labels `dag_id` and `model`",
                happened="there is none that a label could stand at",
            )
        wanted = {"dag_id": DAG, "model": model}
        for metric in sent:
            got = {name: metric.labels.get(name) for name in wanted}
            if got != wanted:
                raise Failed(
                    ran=watched.run.told,
                    expected=f"`{metric.name.removeprefix('airflow.')}` with the labels {wanted}",
                    happened=f"its labels are {metric.labels}",
                )


@task(3)
def test_a_second_run_continues_the_same_series(watch: Any) -> None:
    first = good(watch)
    second = watch.run(GOOD, told=f"{TOLD}, a second time")
    second.run.succeeded("train")
    new = series(second.metrics) - series(first.metrics)
    if new:
        raise Failed(
            ran=second.run.told,
            expected="the same names and labels as in the first run, with new values",
            happened=f"{len(new)} new series, for example {min(new)}: whoever stores metrics "
            "keeps each one for good, and no graph shows both runs",
        )


@task(4)
def test_a_failed_training_says_what_where_and_why(watch: Any) -> None:
    watched = failing(watch)
    told_of(watched, "train", "planted fault 'failure'")


@task(4)
def test_any_other_task_does_so_too(watch: Any) -> None:
    told_of(without_data(watch), "sample", "planted by the check")


def told_of(watched: Any, task_id: str, error: str) -> None:
    """Failed unless the run failed, and a message says all that a person needs to act."""
    run = watched.run
    run.ended(task_id, "failed", "a task that swallows its exception hides it from everybody")
    if not watched.messages:
        raise Failed(
            ran=run.told,
            expected=f"a message about `{task_id}` from the connection `apprise_default`",
            happened=f"`{task_id}` failed, and nobody was told",
        )
    wanted = {
        f"the task (`{task_id}`)": task_id,
        f"the run (`{run.run_id}`)": run.run_id,
        f"the exception (`{error}`)": error,
        "the address of the log": f"/tasks/{task_id}",
    }
    best = min(
        watched.messages,
        key=lambda text: sum(part not in unquote(text) for part in wanted.values()),
    )
    lacking = [name for name, part in wanted.items() if part not in unquote(best)]
    if lacking:
        raise Failed(
            ran=run.told,
            expected="a message that names the task, the run, the exception and the log's address",
            happened=f"{' and '.join(lacking)} cannot be found in {quoted(best)}",
        )


@task(5)
def test_a_good_run_tells_nobody(watch: Any) -> None:
    watched = good(watch)
    watched.run.succeeded("train")
    silent(watched, "nothing is wrong")


@task(5)
def test_a_try_that_is_repeated_tells_nobody(watch: Any) -> None:
    watched = flaky(watch)
    instance = watched.run.one("train")
    if instance.tries < 2:
        raise Failed(
            ran=watched.run.told,
            expected="a second try of `train`, which succeeds",
            happened=f"`train` was tried once, and ended as {instance.state}",
        )
    watched.run.succeeded("train")
    silent(watched, "the second try has mended it")


@task(5)
def test_a_failed_run_tells_once(watch: Any) -> None:
    for watched, task_id in ((failing(watch), "train"), (without_data(watch), "sample")):
        tries = watched.run.one(task_id).tries
        if tries != 3:
            raise Failed(
                ran=watched.run.told,
                expected=f"three tries of `{task_id}`, then failed",
                happened=f"it was tried {tries} times" if tries != 1 else "it was tried once",
            )
        if len(watched.messages) != 1:
            raise Failed(
                ran=watched.run.told,
                expected="one message, after the third try",
                happened=": ".join([count(watched.messages), *map(quoted, watched.messages)]),
            )


@task(6)
def test_a_run_that_is_late_tells_once(clock: Any) -> None:
    queued = clock.queue(LATE, datetime.now(UTC))
    told = "a run that still runs eleven minutes after it was queued"
    early = clock.look(queued + timedelta(minutes=9))
    if early:
        raise Failed(
            ran="a run that still runs nine minutes after it was queued",
            expected="no message yet",
            happened=f"{count(early)}: {quoted(early[0])}",
        )
    messages = clock.look(queued + timedelta(minutes=11))
    messages += clock.look(queued + timedelta(minutes=30))
    if len(messages) != 1:
        raise Failed(
            ran=told,
            expected="one message, by way of a deadline of the DAG",
            happened=count(messages) if messages else f"none came: {why_none(clock, queued)}",
        )
    lacking = [part for part in (DAG, LATE) if part not in messages[0]]
    if lacking:
        raise Failed(
            ran=told,
            expected=f"a message that names the DAG and the run (`{DAG}`, `{LATE}`)",
            happened=f"`{lacking[0]}` cannot be found in {quoted(messages[0])}",
        )


def why_none(clock: Any, queued: datetime) -> str:
    """Why a late run told nobody."""
    if clock.errors:
        return f"the callback was called, and failed: {clock.errors[-1][:300]}"
    if not clock.due:
        return "the run has no deadline: the DAG has none, or its reference gives no moment"
    minutes = (min(clock.due) - queued).total_seconds() / 60
    if minutes > 30:
        return f"its deadline is {minutes:,.0f} minutes after it was queued"
    return "its deadline called the callback, which sent nothing"


@task(6)
def test_a_run_that_is_done_in_time_tells_nobody(clock: Any) -> None:
    queued = clock.queue("in_time", LONG_AGO)
    messages = clock.look(queued + timedelta(minutes=1))
    clock.finish("in_time")
    messages += clock.look(queued + timedelta(days=1))
    if messages:
        raise Failed(
            ran="a run for a day long past (as of a backfill), done after a minute",
            expected="no message: it was not late",
            happened=f"{count(messages)}: {quoted(messages[0])}",
        )


@task(7)
def test_a_poor_model_warns_when_it_is_poor_again(watch: Any) -> None:
    runs = [
        watch.run(POOR, lake="poor", told=f"the DAG with month=2013-01 (AUC 0.62), {time} time")
        for time in ("the first", "a second", "a third")
    ]
    states = ("pending", "firing", "firing")
    numbers = (0, 1, 0)
    for watched, state, number in zip(runs, states, numbers, strict=True):
        got = watched.run.returned("watch")
        if got != state:
            raise Failed(
                ran=watched.run.told,
                expected=f"that `watch` returns the state of the rule, {state!r}",
                happened=f"it returned {got!r:.100}",
                where="task watch",
            )
        if len(watched.messages) != number:
            raise Failed(
                ran=watched.run.told,
                expected="one warning, as the rule begins to fire"
                if number
                else f"no message: the rule is {state}, and that is " + WHY[state],
                happened=(count(watched.messages) if watched.messages else "none came")
                + "".join(f": {quoted(message)}" for message in watched.messages[:1]),
                where="task watch",
            )
    auc = runs[1].trained()["auc"]
    numbers_said = map(float, re.findall(r"\d+\.\d+", runs[1].messages[0]))
    if not any(abs(number - auc) < 0.006 for number in numbers_said):
        raise Failed(
            ran=runs[1].run.told,
            expected=f"a warning that says the AUC ({auc:.2f})",
            happened=f"it says {quoted(runs[1].messages[0])}",
            where="task watch",
        )


@task(7)
def test_a_good_model_does_not(watch: Any) -> None:
    watched = good(watch)
    got = watched.run.returned("watch")
    if got != "inactive":
        raise Failed(
            ran=watched.run.told,
            expected="that `watch` returns 'inactive': an AUC of 0.70 is above the floor",
            happened=f"it returned {got!r:.100}",
            where="task watch",
        )
