"""What the capstone asks for, found out by five runs of the learner's DAG on a real month."""

import importlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from course.grading import Failed, Lesson, task

MONTH = "2013-02"
SMALL = 1024
"""Bytes that a path or a few numbers need at most in XCom."""
BAYES, LOGISTIC = 0.6101, 0.6079


def said(number: float) -> str:
    """A feature in words."""
    return "unknown" if number != number else f"{number:.4g}"


@task(1)
def test_the_month_lands_and_its_facts_are_built(lab: Any) -> None:
    good = lab.good()
    good.run.succeeded("land")
    lab.lake("good")
    for table in ("raw", "features/carrier_delays"):
        manifest = good.lake / table / "manifest" / f"month={MONTH}.json"
        months = sorted(path.stem for path in manifest.parent.glob("*.json"))
        if months != [manifest.stem]:
            raise good.failed(
                f"{MONTH} in `{table}`, and no other month",
                f"there is {', '.join(months) or 'none'}",
            )


@task(1)
def test_the_facts_are_online(lab: Any) -> None:
    from flightdelays import practice_lake

    good = lab.good()
    lab.lake("good")
    got, expected = practice_lake.online("UA"), practice_lake.latest(MONTH, "UA")
    if not expected or got != expected:
        raise good.failed(
            f"the last fact of {MONTH} about UA in Feast's online store: {expected}",
            f"there is {got or 'no such view in Feast'}",
        )


@task(2)
def test_each_departure_is_there_once(lab: Any) -> None:
    from flightdelays.practice_features import departures

    good = lab.good()
    rows = len(good.table())
    lab.lake("good")
    expected = len(departures(MONTH))
    if rows != expected:
        raise good.failed(
            f"one row for each of the {expected:,} departures",
            f"the training set has {rows:,} rows",
            "task training_set",
        )


@task(2)
def test_no_row_knows_the_future(lab: Any) -> None:
    from flightdelays import practice_lake
    from flightdelays.practice_features import COLUMNS

    good = lab.good()
    table = good.table()
    lab.lake("good")
    known = practice_lake.as_of(table, [MONTH])
    for name in COLUMNS:
        differs = ~((table[name] == known[name]) | (table[name].isna() & known[name].isna()))
        if differs.any():
            row = table[differs].iloc[0]
            raise good.failed(
                f"what was known of {row['carrier']} at {row['event_timestamp']}: "
                f"{name} was {said(known.loc[row.name, name])}",
                f"that row has {said(row[name])}; {differs.sum():,} of {len(table):,} rows differ",
                "task training_set",
            )


@task(2)
def test_only_paths_and_numbers_go_through_xcom(lab: Any) -> None:
    good = lab.good()
    good.run.succeeded("training_set")
    for name, size in good.run.xcoms.items():
        if size > SMALL:
            raise good.failed(
                f"XComs of at most {SMALL:,} bytes: paths and numbers",
                f"`{name}` has {size:,} bytes, which lie in Airflow's database now",
                f"task {name.split('.')[0]}",
            )


@task(3)
def test_there_are_as_many_trainings_as_models(lab: Any) -> None:
    for attempt, count in ((lab.good(), 2), (lab.poor(), 1)):
        found = attempt.run.of("train")
        if len(found) != count or any(each.map_index < 0 for each in found):
            labels = ", ".join(f"`{each.label}`" for each in found) or "none"
            raise attempt.failed(
                f"{count} mapped instance{'s' * (count > 1)} of `train`: one for each model",
                f"there is {labels}",
                "task train",
            )


@task(3)
def test_the_trainings_succeed(lab: Any) -> None:
    for attempt in (lab.good(), lab.poor()):
        attempt.run.succeeded("train")


@task(4)
def test_the_best_model_is_found(lab: Any) -> None:
    _best(lab.good(), "bayes", BAYES)


@task(4)
def test_the_others_compete_when_one_cannot_be_trained(lab: Any) -> None:
    attempt = lab.one_fails()
    states = [each.state for each in attempt.run.of("train")]
    if sorted(states) != ["failed", "success", "success"]:
        raise attempt.failed(
            "two trainings that succeed, beside the one of a model that does not exist",
            f"they ended as {', '.join(states) or 'none at all'}",
            "task train",
        )
    _best(attempt, "logistic", LOGISTIC)


def _best(attempt: Any, model: str, auc: float) -> None:
    got = attempt.best()
    value = got["auc"]
    if got["model"] != model or not isinstance(value, float) or abs(value - auc) > 0.001:
        raise attempt.failed(
            f"that `evaluate` finds {model!r} to be the best, with an AUC of {auc:.4f}",
            f"it returned model={got['model']!r:.60}, auc={value!r:.60}",
            "task evaluate",
        )


@task(5)
def test_a_model_that_passes_is_deployed(lab: Any) -> None:
    good = lab.good()
    good.run.ended("deploy", "success", "0.610 reaches the gate, and there is no champion")
    good.run.ended("alert", "skipped", "there is nothing to be alarmed about")
    _champion(good, "bayes")


@task(5)
def test_a_model_below_the_gate_is_not_deployed(lab: Any) -> None:
    poor = lab.poor()
    poor.run.ended("deploy", "skipped", "0.571 does not reach the gate of 0.60")
    poor.run.ended("alert", "success", "somebody must hear of it")
    if poor.champion:
        happened = f"the champion is {poor.champion.get('model')!r:.60}"
        raise poor.failed("no champion", happened, "task deploy")


@task(5)
def test_the_champion_is_judged_on_the_same_rows(lab: Any) -> None:
    attempt = lab.one_fails()
    because = (
        "the champion's 0.9 is of an easier month; on these rows it has 0.571, and `logistic` 0.608"
    )
    attempt.run.ended("deploy", "success", because)
    _champion(attempt, "logistic")


def _champion(attempt: Any, model: str) -> None:
    after = attempt.champion
    if after.get("model") != model or after.get("month") != MONTH:
        raise attempt.failed(
            f"that {model!r} of {MONTH} is the champion",
            f"it is {after.get('model')!r:.60} of {after.get('month')!r:.60}",
            "task deploy",
        )


@task(6)
def test_the_report_tells_either_outcome(lab: Any) -> None:
    _report(lab.good(), "bayes", deployed=True)
    _report(lab.poor(), "tree", deployed=False)


@task(6)
def test_a_failure_is_not_reported_as_a_result(lab: Any) -> None:
    broken = lab.broken()
    broken.run.of("report")
    broken.run.ended("report", "upstream_failed", "what it would report on did not happen")


def _report(attempt: Any, model: str, *, deployed: bool) -> None:
    path = attempt.run.returned("report")
    expected = f"a report with model={model!r}, deployed={deployed}"
    where = "task report"
    if not isinstance(path, str) or not Path(path).is_file():
        raise attempt.failed(
            "that `report` returns the path of the file it wrote",
            f"it returned {path!r:.200}",
            where,
        )
    try:
        content = json.loads(Path(path).read_text())
    except ValueError as error:
        raise attempt.failed(expected, f"{path} is no JSON: {error}", where) from error
    if not isinstance(content, dict) or content.get("model") != model:
        raise attempt.failed(expected, f"it holds {content!r:.200}", where)
    if content.get("deployed") is not deployed:
        raise attempt.failed(expected, f"it holds deployed={content.get('deployed')!r:.60}", where)


@task(7)
def test_no_working_file_stays(lab: Any) -> None:
    for attempt in (lab.good(), lab.broken()):
        attempt.run.ended("clean_up", "success", "it runs whatever happened before")
        if attempt.left:
            raise attempt.failed(
                "no working file of the run in the lake",
                f"there is {', '.join(attempt.left)}",
                "task clean_up",
            )


@task(7)
def test_a_failed_run_counts_as_failed(lab: Any) -> None:
    broken = lab.broken()
    broken.run.ended("evaluate", "failed", "it was made to")
    if broken.run.state != "failed":
        raise broken.failed(
            "that the run counts as failed, although it was cleaned up",
            f"it counts as {broken.run.state}",
            "task clean_up",
        )


@task(7)
def test_what_fails_once_is_tried_again(lab: Any) -> None:
    again = lab.again()
    instance = again.run.one("training_set")
    if instance.state != "success" or instance.tries < 2:
        raise again.failed(
            "a second try of `training_set`, which succeeds",
            f"{instance.tries} try, and it ended as {instance.state}",
        )


@task(8)
def test_a_failed_run_tells_people(lab: Any) -> None:
    broken = lab.broken()
    if not any("capstone" in title for title in broken.alerts):
        raise broken.failed(
            "a message about `capstone` where the connection `apprise_default` points",
            f"there came {', '.join(broken.alerts) or 'none'}",
        )


@task(8)
def test_a_try_that_is_repeated_alarms_nobody(lab: Any) -> None:
    again = lab.again()
    again.run.succeeded("training_set")
    if again.alerts:
        raise again.failed(
            "no alarm: the second try has mended it", f"there came {', '.join(again.alerts)}"
        )


@task(8)
def test_a_late_run_has_a_deadline(lesson: Lesson) -> None:
    from airflow.sdk import DeadlineReference
    from airflow.sdk.configuration import conf

    deadline = lesson.dag().deadline or []
    alerts = deadline if isinstance(deadline, list | tuple) else [deadline]
    ran = "the DAG as Airflow loads it"
    queued = DeadlineReference.DAGRUN_QUEUED_AT
    found = [
        alert
        for alert in alerts
        if alert.reference == queued and alert.interval == timedelta(minutes=30)
    ]
    if not found:
        told = ", ".join(f"{alert.interval} from {alert.reference}" for alert in alerts)
        raise Failed(
            ran=ran,
            expected="a deadline of 30 minutes from the moment that the run was queued",
            happened=f"the deadlines are {told}" if told else "it has no deadline",
        )
    plugins = Path(conf.get("core", "plugins_folder")).resolve()
    path = found[0].callback.path
    module, _, name = path.rpartition(".")
    try:
        place = Path(importlib.import_module(module).__file__ or "").resolve()
        there = callable(getattr(importlib.import_module(module), name, None))
    except (ImportError, ValueError):
        there, place = False, Path()
    if not there or not place.is_relative_to(plugins):
        raise Failed(
            ran=ran,
            expected="a callback in a module of plugins/, which the triggerer can import",
            happened=f"the callback is `{path}`, which it cannot: no alert would ever come",
        )


@task(9)
def test_a_second_run_leaves_the_champion(lab: Any) -> None:
    again, first = lab.again(), lab.good()
    if "report" not in again.run.states:
        tasks = ", ".join(f"`{label}`" for label in again.run.states)
        raise again.failed(
            "a pipeline from data to report, to be run twice", f"it has only {tasks}"
        )
    again.run.ended("report", "success", "that nothing was deployed is a result")
    again.run.ended("deploy", "skipped", "the model is no better than the champion, which it is")
    if (again.champion, again.model) != (first.champion, first.model):
        raise again.failed("the champion of the first run", "it was written anew", "task deploy")


@task(9)
def test_a_second_run_leaves_the_tables(lab: Any) -> None:
    again, first = lab.again(), lab.good()
    again.run.succeeded("training_set")
    changed = sorted(
        name
        for name in again.tables.keys() | first.tables.keys()
        if again.tables.get(name) != first.tables.get(name)
    )
    if changed:
        raise again.failed(
            "the same tables as after the first run",
            f"the second run changed {', '.join(changed)}",
        )
