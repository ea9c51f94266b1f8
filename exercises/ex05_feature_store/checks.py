"""What exercise 5 asks for, found out by running the learner's two DAGs on two real months."""

from pathlib import Path
from typing import Any

from course.grading import Failed, Run, task

TRAIN = "ex05_train"
JANUARY, FEBRUARY = "2013-01", "2013-02"
SMALL = 1024
"""Bytes that a path or a few numbers need at most in XCom."""
AUC = 0.611


def wrong(run: Run, expected: str, happened: str, where: str = "") -> Failed:
    return Failed(ran=run.told, expected=expected, happened=happened, where=where)


def said(number: float) -> str:
    """A feature in words."""
    return "unknown" if number != number else f"{number:.4g}"


@task(1)
def test_the_month_is_built(stage: Any, january: Any) -> None:
    import pyarrow.parquet

    from flightdelays.practice_lake import FACTS

    count = january.run.returned("build")
    built = stage.lake("built") / FACTS
    files = {path.parent.name: path for path in built.glob("month=*/part.parquet")}
    first = files.get(f"month={JANUARY}")
    rows = pyarrow.parquet.read_metadata(first).num_rows if first else 0
    if not rows or count != rows:
        expected = "the facts of 2013-01 in the lake, and their number from `build`"
        happened = f"there are {rows:,} facts of 2013-01, and `build` returned {count!r:.100}"
        raise wrong(january.run, expected, happened)


@task(1)
def test_only_the_month_that_was_asked_is_built(stage: Any, january: Any) -> None:
    """Looked at before the run for February: the facts of a run have its times."""
    from flightdelays.practice_lake import FACTS

    january.run.succeeded("build")
    stage.flights("alone")
    run = stage.publish(FEBRUARY, "alone").run
    run.succeeded("build")
    months = sorted(path.name for path in (stage.lake("alone") / FACTS).glob("month=*"))
    if months != [f"month={FEBRUARY}"]:
        expected = "the facts of 2013-02 and of no other month: the others have runs of their own"
        raise wrong(run, expected, f"the lake holds {', '.join(months) or 'none'}", "task build")


@task(1)
def test_what_is_built_is_not_built_again(again: Any) -> None:
    again.run.ended("build", "skipped", "the facts were made from the flights as they still are")


@task(2)
def test_the_online_store_knows_the_end_of_the_month(stage: Any, january: Any) -> None:
    from flightdelays import practice_lake

    january.run.succeeded("publish")
    stage.lake("built")
    _online(january, practice_lake.latest(JANUARY, "UA"), "2013-01")
    _ends(january, 0, JANUARY)


@task(2)
def test_the_next_month_goes_on_where_the_last_ended(stage: Any, february: Any) -> None:
    from flightdelays import practice_lake

    february.run.succeeded("publish")
    stage.lake("built")
    _online(february, practice_lake.latest(FEBRUARY, "UA"), "2013-02")
    _ends(february, 1, FEBRUARY)
    if february.intervals[1][0] < february.intervals[0][1]:
        raise wrong(
            february.run,
            f"a materialization that begins at {february.intervals[0][1]:%Y-%m-%d %H:%M} UTC, "
            "where the one of January ended",
            f"it began at {february.intervals[1][0]:%Y-%m-%d %H:%M} UTC, and read what was online",
            "task publish",
        )


def _online(got: Any, expected: dict[str, float], month: str) -> None:
    if not expected or got.online != expected:
        raise wrong(
            got.run,
            f"the last fact of {month} about UA in the online store: {expected}",
            f"there is {got.online or 'no such view in Feast'}",
            "task publish",
        )


def _ends(got: Any, number: int, month: str) -> None:
    from flightdelays.store import end_of_month

    end = got.intervals[-1][1]
    if end > end_of_month(month) or len(got.intervals) != number + 1:
        raise wrong(
            got.run,
            f"one materialization, up to the end of the month at {end_of_month(month)}",
            f"Feast notes {len(got.intervals) - number}, the last up to {end}: what is before "
            "that moment counts as published, and is not read again",
            "task publish",
        )


@task(3)
def test_the_asset_event_names_the_month(january: Any) -> None:
    january.run.succeeded("build")
    _events(january, [{"month": JANUARY}])


@task(3)
def test_nothing_built_is_no_news(again: Any) -> None:
    _events(again, [])


@task(3)
def test_a_month_that_is_not_published_is_no_news(stage: Any) -> None:
    stage.flights("unpublished")
    broken = stage.publish(JANUARY, "unpublished", fail={"publish": 99})
    broken.run.of("publish")
    _events(broken, [])


def _events(got: Any, expected: list[dict[str, str]]) -> None:
    if got.events != expected:
        raise wrong(
            got.run,
            f"an update of the asset with extra={expected[0]}" if expected else "no update",
            f"updates with extra: {', '.join(map(str, got.events))}" if got.events else "no update",
        )


@task(4)
def test_an_update_starts_the_training(january: Any) -> None:
    if not january.events or TRAIN not in january.due:
        raise wrong(
            january.run,
            f"that Airflow's scheduler has `{TRAIN}` to start, because its asset was updated",
            f"it has {', '.join(sorted(january.due)) or 'nothing'} to start, "
            f"after {len(january.events)} update of an asset",
        )


@task(4)
def test_the_training_is_for_the_month_of_the_update(stage: Any, january: Any) -> None:
    stage.features("event")
    _month(stage.train_on_event("event"))


@task(4)
def test_a_training_by_hand_is_for_the_month_asked(trained: Run) -> None:
    _month(trained)


def _month(run: Run) -> None:
    got = run.returned("month")
    if got != FEBRUARY:
        raise wrong(
            run, f"that `month` returns {FEBRUARY!r}", f"it returned {got!r:.100}", "task month"
        )


@task(5)
def test_each_departure_is_there_once(table: Any, trained: Run) -> None:
    from flightdelays.practice_features import departures

    expected = len(departures(FEBRUARY))
    if len(table) != expected:
        raise wrong(
            trained,
            f"one row for each of the {expected:,} departures",
            f"the training set has {len(table):,} rows",
            "task training_set",
        )


@task(5)
def test_no_row_knows_the_future(stage: Any, table: Any, trained: Run) -> None:
    from flightdelays import practice_lake
    from flightdelays.practice_features import COLUMNS

    stage.lake("planted")
    known = practice_lake.as_of(table, [JANUARY, FEBRUARY])
    for name in COLUMNS:
        differs = ~((table[name] == known[name]) | (table[name].isna() & known[name].isna()))
        if differs.any():
            ours = differs & (table[name] == stage.nine)
            row = table[ours if ours.any() else differs].iloc[0]
            raise wrong(
                trained,
                f"what was known of {row['carrier']} at {row['event_timestamp']}: "
                f"{name} was {said(known.loc[row.name, name])}",
                f"that row has {said(row[name])}"
                + (f", which became known at {stage.planted}" if ours.any() else "")
                + f"; {differs.sum():,} of {len(table):,} rows differ",
                "task training_set",
            )


@task(5)
def test_only_paths_and_numbers_go_through_xcom(trained: Run) -> None:
    trained.succeeded("training_set")
    for name, size in trained.xcoms.items():
        if size > SMALL:
            expected = f"XComs of at most {SMALL:,} bytes: paths and numbers"
            happened = f"`{name}` has {size:,} bytes, which lie in Airflow's database now"
            raise wrong(trained, expected, happened, f"task {name.split('.')[0]}")


@task(5)
def test_a_second_run_gives_the_same(stage: Any, table: Any, trained: Run) -> None:
    before = _files(stage.lake("planted"))
    run = stage.train("planted", fresh=True)
    run.succeeded("training_set")
    after = _files(stage.lake("planted"))
    changed = sorted(name for name in before | after if before.get(name) != after.get(name))
    if changed:
        raise wrong(
            run,
            "the same files with the same content as after the first run",
            f"the second run changed {', '.join(changed)}",
            "task training_set",
        )


def _files(lake: Path) -> dict[str, bytes]:
    found = (path for path in lake.rglob("*.*") if path.is_file())
    return {str(path.relative_to(lake)): path.read_bytes() for path in found}


@task(6)
def test_features_that_are_there_pass(trained: Run) -> None:
    trained.ended("check", "success", "none of the departures is without features")


@task(6)
def test_stale_features_end_the_run(stage: Any) -> None:
    from flightdelays import practice_lake

    stage.features("stale")
    practice_lake.forget(FEBRUARY, stage.planted)
    told = f"the DAG `{TRAIN}` over facts that end on {stage.planted:%d %B}, for month='{FEBRUARY}'"
    run = stage.train("stale", told)
    run.ended("check", "failed", "82 % of the departures are without features")
    if (tries := run.one("check").tries) != 1:
        expected = "one try: features do not get fresher by trying again"
        raise wrong(run, expected, f"{tries} tries", "task check")
    run.of("train")
    run.ended("train", "upstream_failed", "nothing is trained on features that are not there")


@task(7)
def test_the_model_sees_what_is_known_and_no_more(trained: Run) -> None:
    got = trained.returned("train")
    if not isinstance(got, float) or abs(got - AUC) > 0.012:
        raise wrong(
            trained,
            f"an AUC of about {AUC} from `train`: the columns KNOWN and the features of the view",
            f"it returned {got!r:.100}"
            + (", which is too good to be true" if isinstance(got, float) and got > AUC else ""),
            "task train",
        )


@task(8)
def test_serving_gives_what_training_saw(stage: Any, trained: Run) -> None:
    from flightdelays import practice_lake

    got = trained.returned("serve")
    stage.lake("planted")
    expected = practice_lake.latest(FEBRUARY, "UA")
    if got != expected:
        raise wrong(
            trained,
            f"that `serve` returns the features of UA: {expected}",
            f"it returned {got!r:.300}",
            "task serve",
        )


@task(8)
def test_an_online_store_that_lags_behind_is_noticed(stage: Any) -> None:
    stage.features("behind", until=JANUARY)
    told = f"the DAG `{TRAIN}` for month='{FEBRUARY}', with an online store of the end of January"
    run = stage.train("behind", told)
    run.ended("serve", "failed", "online and offline differ")
