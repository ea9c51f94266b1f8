"""What exercise 1 asks for, found out by running the learner's DAG."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import pytest

from course.grading import Failed, Lesson, Run, spell, task

HEAVY = {"pandas", "sklearn", "sentiment", "numpy", "pyarrow"}
SMALL = 1024
"""Bytes that a path or a number needs at most in XCom."""


@pytest.fixture(scope="session")
def balanced(lesson: Lesson) -> Run:
    return lesson.run({"model": "balanced"}, told="the DAG with model=balanced (accuracy 0.853)")


@pytest.fixture(scope="session")
def plain(lesson: Lesson) -> Run:
    return lesson.run(
        {"model": "plain"}, lake="plain", told="the DAG with model=plain (accuracy 0.783)"
    )


class Again(NamedTuple):
    """A second run of the same model, whose first try of `fetch` is made to fail."""

    run: Run
    before: dict[str, str]
    after: dict[str, str]


@pytest.fixture(scope="session")
def first_report(balanced: Run) -> str | None:
    """What the report held after the first run, before another one wrote it."""
    found = [each for each in balanced.instances if each.task_id == "report"]
    path = found[0].returned if found else None
    return Path(path).read_text() if isinstance(path, str) and Path(path).is_file() else None


@pytest.fixture(scope="session")
def again(lesson: Lesson, balanced: Run, first_report: str | None) -> Again:
    lake = lesson.lake()
    before = _files(lake)
    run = lesson.run({"model": "balanced"}, fail={"fetch": 1})
    return Again(run, before, _files(lake))


def existing(run: Run, task_id: str, value: object) -> Path:
    """The file whose path a task returned; Failed if it did not return one."""
    if not isinstance(value, str) or not value or not Path(value).is_file():
        raise Failed(
            ran=run.told,
            expected=f"that `{task_id}` returns the path of the file it wrote",
            happened=f"it returned {spell(value)}",
            where=f"task {task_id}",
        )
    return Path(value)


@task(1)
def test_fetch_returns_the_path_of_the_tweets(lesson: Lesson, balanced: Run) -> None:
    path = existing(balanced, "fetch", balanced.returned("fetch"))
    if path.parent.name != "balanced":
        raise Failed(
            ran=balanced.told,
            expected="the tweets for the model that the run asks for, in a folder `balanced`",
            happened=f"they lie in the folder `{path.parent.name}`",
            where="task fetch",
        )


@task(1)
def test_nothing_heavy_is_imported_while_the_file_is_parsed(lesson: Lesson) -> None:
    for imported in lesson.parse.imports:
        if imported.name.split(".")[0] in HEAVY:
            raise Failed(
                ran="the import of the file, which Airflow repeats for every task and every parse",
                expected="that what only a task needs is imported inside the task",
                happened=f"`{imported.name}` is imported at the top of the file",
                where=lesson.source.place(imported.line),
            )


@task(2)
def test_a_fetch_that_fails_once_is_tried_again(again: Again) -> None:
    fetch = again.run.one("fetch")
    if fetch.tries < 2 or fetch.state != "success":
        raise Failed(
            ran=again.run.told,
            expected="a second try, which succeeds",
            happened=f"{fetch.tries} try, and `fetch` ended as {fetch.state}",
        )


@task(2)
def test_a_task_that_always_fails_fails_in_the_end(lesson: Lesson) -> None:
    run = lesson.run({"model": "plain"}, fail={"fetch": 99}, lake="fetch_failed")
    fetch = run.one("fetch")
    if fetch.tries != 3 or fetch.state != "failed":
        raise Failed(
            ran=run.told,
            expected="three tries, then failed",
            happened=f"{fetch.tries} tries, and `fetch` ended as {fetch.state}",
        )


@task(3)
def test_preprocess_keeps_the_clear_tweets(balanced: Run) -> None:
    import pyarrow.parquet

    path = existing(balanced, "preprocess", balanced.returned("preprocess"))
    rows = pyarrow.parquet.read_metadata(path).num_rows
    if rows != 3362:
        raise Failed(
            ran=balanced.told,
            expected="3,362 tweets with a clear rating",
            happened=f"`preprocess` left {rows:,}",
            where="task preprocess",
        )


@task(3)
def test_split_returns_both_parts(balanced: Run) -> None:
    parts = balanced.returned("split")
    if not isinstance(parts, dict) or set(parts) != {"train", "test"}:
        raise Failed(
            ran=balanced.told,
            expected="that `split` returns the paths of `train` and `test` by name",
            happened=f"it returned {spell(parts)}",
            where="task split",
        )
    for path in parts.values():
        existing(balanced, "split", path)


@task(3)
def test_only_paths_and_numbers_go_through_xcom(balanced: Run) -> None:
    balanced.succeeded("split")
    for name, size in balanced.xcoms.items():
        if size > SMALL:
            raise Failed(
                ran=balanced.told,
                expected=f"XComs of at most {SMALL:,} bytes: paths and numbers",
                happened=f"`{name}` has {size:,} bytes, which lie in Airflow's database now",
                where=f"task {name.split('.')[0]}",
            )


@task(4)
def test_the_balanced_model_is_measured(balanced: Run) -> None:
    existing(balanced, "train", balanced.returned("train"))
    _accuracy(balanced, 0.8529)


@task(4)
def test_the_plain_model_is_another_one(plain: Run) -> None:
    plain.succeeded("train")
    _accuracy(plain, 0.7831)


def _accuracy(run: Run, expected: float) -> None:
    got = run.returned("evaluate")
    if not isinstance(got, float) or abs(got - expected) > 0.005:
        raise Failed(
            ran=run.told,
            expected=f"that `evaluate` returns the accuracy on the held-out tweets, {expected:.3f}",
            happened=f"it returned {spell(got)}",
            where="task evaluate",
        )


@task(5)
def test_a_good_model_is_deployed(balanced: Run) -> None:
    balanced.ended("deploy", "success", "0.853 is above 0.85")
    balanced.ended("alert", "skipped", "there is nothing to be alarmed about")


@task(5)
def test_a_poor_model_is_not_deployed(plain: Run) -> None:
    plain.ended("deploy", "skipped", "0.783 is not above 0.85")
    plain.ended("alert", "success", "somebody must hear of it")


@task(6)
def test_the_report_says_what_was_deployed(balanced: Run, first_report: str | None) -> None:
    balanced.ended("report", "success", "`deploy` ran, `alert` was skipped")
    path = existing(balanced, "report", balanced.returned("report"))
    _report(balanced, first_report or path.read_text(), "balanced", deployed=True)


@task(6)
def test_the_report_says_what_was_not_deployed(plain: Run) -> None:
    plain.ended("report", "success", "`alert` ran, `deploy` was skipped")
    path = existing(plain, "report", plain.returned("report"))
    _report(plain, path.read_text(), "plain", deployed=False)


@task(6)
def test_a_failure_is_not_reported_as_a_result(lesson: Lesson) -> None:
    run = lesson.run(
        {"model": "balanced"},
        fail={"deploy": 99},
        lake="failed",
        told="the DAG with model=balanced, every try of `deploy` made to fail",
    )
    run.of("deploy")
    run.ended("report", "upstream_failed", "the deployment that it would report on failed")


def _report(run: Run, text: str, model: str, *, deployed: bool) -> None:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        content = error
    if not isinstance(content, dict):
        raise Failed(
            ran=run.told,
            expected="one JSON object in the report",
            happened=f"it holds {spell(text)}",
            where="task report",
        )
    got = {name: content.get(name) for name in ("model", "deployed")}
    if got != {"model": model, "deployed": deployed}:
        raise Failed(
            ran=run.told,
            expected=f"a report with model={model!r}, deployed={deployed}",
            happened=f"it holds {got}",
            where="task report",
        )


@task(7)
def test_a_second_run_leaves_the_same_files(balanced: Run, again: Again) -> None:
    if balanced.state != "success" or "report" not in balanced.states:
        raise Failed(
            ran="the DAG with model=balanced, twice",
            expected="a first run that ends with `report`, to compare the second with",
            happened=f"the first run ended as {balanced.state}, with the tasks "
            + ", ".join(f"`{label}`" for label in balanced.states),
        )
    names = again.before.keys() | again.after.keys()
    changed = sorted(name for name in names if again.before.get(name) != again.after.get(name))
    if changed:
        raise Failed(
            ran="the DAG with model=balanced, twice",
            expected="the same files with the same content after the second run",
            happened=f"the second run changed {', '.join(changed)}",
            where=changed[0],
        )


def _files(lake: Path) -> dict[str, str]:
    return {
        str(path.relative_to(lake)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(lake.rglob("*"))
        if path.is_file()
    }
