"""What exercise 2 asks for, found out by running the learner's DAG."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from course.grading import Failed, Lesson, Run, task

HEAVY = ("numpy", "pandas", "pyarrow", "sklearn", "flightdelays.practice_tournament")
LIMIT = 4096
"""Bytes that paths, names and the scores of some candidates need at most in XCom."""
MODELS = ["bayes", "balanced_logistic", "tree", "never_late"]
"""In the order of their start. The best by F1 is the second, the best by accuracy the third."""
OTHERS = ["tree", "never_late", "balanced_logistic"]
BEST = "compete[1]"
ALWAYS = 99
"""More tries than any task has."""


def _build(folder: Path) -> None:
    """The flights, and the scores of each model on this machine."""
    from flightdelays import practice_tournament
    from flightdelays.settings import Settings

    settings = Settings(lake=str(folder / "lake"))
    flights = practice_tournament.prepare(settings)
    scores = {
        name: {
            score: value
            for score, value in practice_tournament.compete(flights, name, settings).items()
            if score in {"f1", "accuracy"}
        }
        for name in MODELS
    }
    (folder / "scores.json").write_text(json.dumps(scores))


class Tournament:
    """Runs of the learner's DAG, each with a lake of its own in which the flights lie already."""

    def __init__(self, lesson: Lesson) -> None:
        self._lesson = lesson
        self._folder = lesson.shared("practice-tournament-v1", _build)
        self.scores: dict[str, dict[str, float]] = json.loads(
            (self._folder / "scores.json").read_text()
        )
        """F1 and accuracy of each model, from the same functions called without Airflow."""
        self.ranking = sorted(self.scores, key=lambda name: -self.scores[name]["f1"])
        """Names of the models, the best by F1 first."""

    def four(self) -> Run:
        """All of them, in an empty lake."""
        return self._lesson.run({"models": MODELS}, told=f"the DAG with models={MODELS}")

    def run(self, name: str, models: list[str], told: str, **fail: int) -> Run:
        """Some of them, with tries that fail by the label of the instance."""
        flights = self._lesson.lake(name) / "practice_tournament" / "flights.parquet"
        if not flights.exists():
            flights.parent.mkdir(parents=True)
            os.link(self._folder / "lake" / "practice_tournament" / flights.name, flights)
        told = f"the DAG with models={models}{told}"
        return self._lesson.run({"models": models}, fail=fail, lake=name, told=told)

    def others(self) -> Run:
        """Three of them, in another order."""
        return self.run("others", OTHERS, "")

    def without_best(self) -> Run:
        """All of them, of which the best fails."""
        told = f", where `{MODELS[1]}` is made to fail in each try"
        return self.run("without_best", MODELS, told, **{BEST: ALWAYS})


@pytest.fixture(scope="session")
def tournament(lesson: Lesson) -> Tournament:
    return Tournament(lesson)


def needs(run: Run, task_id: str, expected: str) -> None:
    """Failed, with what is expected of a task, if there is none of that name."""
    if task_id not in run.task_ids:
        raise Failed(
            ran=run.told, expected=expected, happened=f"the DAG has no task `{task_id}` yet"
        )


def competed(run: Run) -> list[str]:
    """Models of the results that the instances of `compete` returned, in their order."""
    run.succeeded("compete")
    names = []
    asked = "what `practice_tournament.compete` gives"
    for instance in run.of("compete"):
        result = instance.returned
        if not isinstance(result, dict) or not isinstance(result.get("model"), str):
            raise Failed(
                ran=run.told,
                expected=f"that `{instance.label}` returns {asked}",
                happened=f"it returned {result!r:.200}",
                where="task compete",
            )
        names.append(result["model"])
    return names


def compared(run: Run) -> dict[str, Any]:
    """What `compare` returned; Failed if that is not a dictionary."""
    value = run.returned("compare")
    if not isinstance(value, dict):
        raise Failed(
            ran=run.told,
            expected="that `compare` returns a dictionary",
            happened=f"it returned {value!r:.200}",
            where="task compare",
        )
    return value


def holds(run: Run, name: str, value: Any) -> None:
    """Failed unless `compare` returned ``value`` under ``name``."""
    got = compared(run).get(name)
    if type(got) is not type(value) or got != value:
        raise Failed(
            ran=run.told,
            expected=f"{name}={value!r} in what `compare` returns",
            happened=f"{name}={got!r:.200}",
            where="task compare",
        )


@task(1)
def test_prepare_returns_the_path_of_the_flights(tournament: Tournament) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    run = tournament.four()
    path = run.returned("prepare")
    rows = 0
    if isinstance(path, str) and Path(path).is_file():
        try:
            rows = pyarrow.parquet.read_metadata(path).num_rows
        except pa.ArrowInvalid:
            rows = -1
    if rows != 16_000:
        raise Failed(
            ran=run.told,
            expected="that `prepare` returns the path of a Parquet file with 16,000 flights",
            happened=f"it returned {path!r:.200}",
            where="task prepare",
        )


@task(1)
def test_nothing_heavy_is_imported_while_the_file_is_parsed(lesson: Lesson) -> None:
    for imported in lesson.parse.imports:
        if any(imported.name == heavy or imported.name.startswith(f"{heavy}.") for heavy in HEAVY):
            raise Failed(
                ran="the import of the file, which Airflow repeats for every task and every parse",
                expected="that what only a task needs is imported inside the task",
                happened=f"`{imported.name}` is imported at the top of the file",
                where=lesson.source.place(imported.line),
            )


@task(2)
def test_candidates_are_those_the_run_asks_for(tournament: Tournament) -> None:
    _candidates(tournament.four(), MODELS)


@task(2)
def test_another_run_has_other_candidates(tournament: Tournament) -> None:
    _candidates(tournament.others(), OTHERS)


def _candidates(run: Run, models: list[str]) -> None:
    got = run.returned("candidates")
    if not isinstance(got, list) or got != models:
        raise Failed(
            ran=run.told,
            expected="that `candidates` returns the names of these models",
            happened=f"it returned {got!r:.200}",
            where="task candidates",
        )


@task(3)
def test_each_candidate_has_an_instance(tournament: Tournament) -> None:
    _instances(tournament.four(), MODELS)


@task(3)
def test_another_list_gives_other_instances(tournament: Tournament) -> None:
    _instances(tournament.others(), OTHERS)


def _instances(run: Run, models: list[str]) -> None:
    found = run.of("compete")
    mapped = [instance for instance in found if instance.map_index >= 0]
    if len(mapped) != len(models):
        bad = [run.why(instance) for instance in found if instance.state != "success"]
        raise Failed(
            ran=run.told,
            expected=f"{len(models)} mapped instances of `compete`, one for each model",
            happened=f"{len(mapped)} of them"
            + ("" if mapped else ": `compete` is not mapped")
            + (f"; {bad[0]}" if bad else ""),
            where="task compete",
        )
    if competed(run) != models:
        raise Failed(
            ran=run.told,
            expected=f"results of {', '.join(models)}, one from each instance",
            happened=f"results of {', '.join(competed(run))}",
            where="task compete",
        )


@task(4)
def test_instances_carry_the_names_of_their_models(tournament: Tournament) -> None:
    run = tournament.four()
    needs(run, "compete", "instances of `compete` with the names of their models")
    run.succeeded("compete")
    names = [instance.name for instance in run.of("compete")]
    if names != MODELS:
        raise Failed(
            ran=run.told,
            expected=f"mapped instances with the names {', '.join(MODELS)}",
            happened=f"they are called {', '.join(names)}",
        )


@task(5)
def test_a_failed_candidate_does_not_stop_the_others(tournament: Tournament) -> None:
    run = tournament.without_best()
    run.of("compare")
    needs(run, "compete", "a mapped task `compete`, of which one instance fails")
    states = {instance.label: instance.state for instance in run.of("compete")}
    wanted = {f"compete[{place}]": "success" for place in range(len(MODELS))} | {BEST: "failed"}
    if states != wanted:
        raise Failed(
            ran=run.told,
            expected=f"that `{BEST}` alone fails",
            happened=", ".join(f"`{label}` ended as {state}" for label, state in states.items()),
            where="task compete",
        )
    run.ended("compare", "success", "three candidates finished")


@task(5)
def test_compare_waits_for_the_last_try(tournament: Tournament) -> None:
    told = f", where the first two tries of `{MODELS[0]}` are made to fail"
    # Two, as `dag.test` may start the second try and what waits for it in either order.
    run = tournament.run("retried", MODELS, told, **{"compete[0]": 2})
    run.succeeded("compete")
    run.ended("compare", "success", "every candidate finished")
    standings = compared(run).get("standings")
    if standings is not None and MODELS[0] not in str(standings):
        raise Failed(
            ran=run.told,
            expected=f"that `compare` waits for the last try of `{MODELS[0]}`, and counts it",
            happened=f"`compare` did not wait: `{MODELS[0]}` is not in its standings",
        )


@task(6)
def test_the_winner_has_the_best_f1(tournament: Tournament) -> None:
    run = tournament.four()
    needs(run, "compare", "a task `compare` that returns the winner")
    winner = compared(run).get("winner")
    if isinstance(winner, str) and winner == tournament.ranking[0]:
        return
    accurate = max(MODELS, key=lambda name: tournament.scores[name]["accuracy"])
    scores = tournament.scores[tournament.ranking[0]]
    raise Failed(
        ran=run.told,
        expected=f"winner={tournament.ranking[0]!r}, whose F1 of {scores['f1']:.3f} is the best",
        happened=f"winner={winner!r:.200}"
        + (", which has the best accuracy" if str(winner) == accurate else ""),
        where="task compare",
    )


@task(6)
def test_the_standings_begin_with_the_best(tournament: Tournament) -> None:
    run = tournament.four()
    _standings(run, tournament.ranking)
    holds(run, "missing", [])


@task(6)
def test_the_order_of_the_list_does_not_matter(tournament: Tournament) -> None:
    run = tournament.others()
    holds(run, "winner", tournament.ranking[0])
    _standings(run, [name for name in tournament.ranking if name in OTHERS])


@task(6)
def test_the_best_of_the_rest_wins_if_the_best_fails(tournament: Tournament) -> None:
    run = tournament.without_best()
    rest = [name for name in tournament.ranking if name != MODELS[1]]
    holds(run, "winner", rest[0])
    _standings(run, rest)
    holds(run, "missing", [MODELS[1]])


def _standings(run: Run, names: list[str]) -> None:
    standings = compared(run).get("standings")
    try:
        got = [str(result["model"]) for result in standings]
    except (TypeError, KeyError, IndexError) as error:
        raise Failed(
            ran=run.told,
            expected="standings: a list of what the instances of `compete` returned",
            happened=f"standings={standings!r:.200}",
            where="task compare",
        ) from error
    if got != names:
        raise Failed(
            ran=run.told,
            expected=f"standings with the best F1 first: {', '.join(names)}",
            happened=f"they are {', '.join(got) or 'empty'}",
            where="task compare",
        )


@task(7)
def test_the_table_is_a_file(tournament: Tournament) -> None:
    run = tournament.four()
    needs(run, "compare", "a task `compare` that returns the path of the table")
    path = compared(run).get("table")
    if not isinstance(path, str) or not path or not Path(path).is_file():
        raise Failed(
            ran=run.told,
            expected="the path of the table that `compare` wrote, under `table`",
            happened=f"table={path!r:.200}",
            where="task compare",
        )
    text = Path(path).read_text(encoding="utf-8", errors="replace").replace("\0", "")
    rows = [row.get("model") for row in csv.DictReader(text.splitlines())]
    if rows != tournament.ranking:
        raise Failed(
            ran=run.told,
            expected=f"a table with the best F1 on top: {', '.join(tournament.ranking)}",
            happened=f"the column `model` of {Path(path).name} holds {rows!r:.200}",
            where="task compare",
        )


@task(7)
def test_only_small_values_go_through_xcom(tournament: Tournament) -> None:
    run = tournament.four()
    run.succeeded("compete", "compare")
    for name, size in run.xcoms.items():
        if size > LIMIT:
            raise Failed(
                ran=run.told,
                expected=f"XComs of at most {LIMIT:,} bytes: paths, names and scores",
                happened=f"`{name}` has {size:,} bytes, which lie in Airflow's database now",
                where=f"task {name.split('.')[0]}",
            )


@task(8)
def test_without_candidates_nothing_is_trained_and_nothing_fails(tournament: Tournament) -> None:
    run = tournament.run("nobody", [], "")
    needs(run, "compete", "that `compete` and `compare` are skipped")
    run.ended("compete", "skipped", "there is nobody to compete")
    run.ended("compare", "skipped", "there is nothing to compare")
    if run.state != "success":
        raise Failed(
            ran=run.told,
            expected="a run that is a success",
            happened=f"the run ended as {run.state}",
        )


@task(8)
def test_a_run_in_which_nobody_finishes_fails(tournament: Tournament) -> None:
    told = ", where each of them is made to fail in each try"
    run = tournament.run("all_fail", OTHERS, told, compete=ALWAYS)
    state = run.one("compare").state
    if state == "success" or run.state != "failed":
        raise Failed(
            ran=run.told,
            expected="that the run fails, and `compare` does not succeed",
            happened=f"`compare` ended as {state}, the run as {run.state}",
        )
