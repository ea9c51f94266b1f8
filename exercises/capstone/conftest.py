"""What stands around the checks of the capstone: lakes, a champion of before, a message file."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from course.grading import Failed, Lesson, Run

MONTH = "2013-02"
CLAIMED = 0.9
"""AUC on the card of the champion of before: of an easier month. On February it has 0.571."""


class Attempt(NamedTuple):
    """A finished run, with what it left."""

    run: Run
    lake: Path
    champion: dict[str, Any]
    """The champion's card after the run; empty if there is no champion."""
    model: bytes
    """The champion's file after the run."""
    tables: dict[str, str]
    """Digest of every table in the lake after the run."""
    left: list[str]
    """Working files of runs that are still there."""
    alerts: list[str]
    """Titles of the messages of the kind `failure`."""

    def failed(self, expected: str, happened: str, where: str = "") -> Failed:
        """The finding that this run gives."""
        return Failed(ran=self.run.told, expected=expected, happened=happened, where=where)

    def best(self) -> dict[str, Any]:
        """What `evaluate` returned: `model` and `auc` of the best."""
        got = self.run.returned("evaluate")
        if not isinstance(got, dict) or not {"model", "auc"} <= set(got):
            raise self.failed(
                "that `evaluate` returns `model` and `auc` of the best model, by name",
                f"it returned {got!r:.200}",
                "task evaluate",
            )
        return got

    def table(self) -> Any:
        """The training set whose path `training_set` returned."""
        from flightdelays.errors import DataError
        from flightdelays.practice_lake import read_training_set

        path = self.run.returned("training_set")
        try:
            return read_training_set(path)
        except DataError as error:
            raise self.failed(
                "that `training_set` returns the path of a Parquet file, whose columns are those "
                "of the departures and of the features",
                str(error),
                "task training_set",
            ) from error


class Laboratory:
    """Runs the DAG; every run is made once, whichever checks look at it."""

    def __init__(self, lesson: Lesson) -> None:
        self._lesson = lesson
        self._messages = lesson.folder / "alerts.jsonl"
        self._attempts: dict[str, Attempt] = {}
        config = {"path": f"jsonl://localhost{quote(str(self._messages))}", "tag": "all"}
        os.environ["AIRFLOW_CONN_APPRISE_DEFAULT"] = json.dumps(
            {"conn_type": "apprise", "extra": {"config": config}}
        )

    def lake(self, name: str) -> Path:
        """Make a lake the one in use."""
        return self._lesson.lake(name)

    def good(self) -> Attempt:
        """Two models, of which both pass the gate."""
        return self._attempt("good", "good", ["bayes", "logistic"])

    def again(self) -> Attempt:
        """The same once more, where the first try of `training_set` fails."""
        self.good()
        fail = {"training_set": 1}
        return self._attempt("again", "good", ["bayes", "logistic"], fail, "a second time")

    def poor(self) -> Attempt:
        """One model, which does not pass."""
        return self._attempt("poor", "poor", ["tree"])

    def one_fails(self) -> Attempt:
        """Three models, of which nobody knows one, and a champion with a doubtful fame."""
        if "one_fails" not in self._attempts:
            self._old_champion("one_fails")
        models = ["tree", "svm", "logistic"]
        return self._attempt("one_fails", "one_fails", models)

    def broken(self) -> Attempt:
        """A run that fails when its models are fitted and to be judged."""
        return self._attempt("broken", "broken", ["logistic"], {"evaluate": 99})

    def _attempt(
        self,
        name: str,
        lake: str,
        models: list[str],
        fail: Mapping[str, int] | None = None,
        told: str = "",
    ) -> Attempt:
        if name not in self._attempts:
            self._attempts[name] = self._run(lake, models, fail, told)
        return self._attempts[name]

    def _run(
        self, lake: str, models: list[str], fail: Mapping[str, int] | None, told: str
    ) -> Attempt:
        place = self.lake(lake)
        self._messages.unlink(missing_ok=True)
        conf = {"month": MONTH, "models": models}
        words = f"the DAG with month={MONTH!r}, models={models}"
        if told:
            words += f", {told}"
        for label, times in (fail or {}).items():
            tries = "the first try" if times == 1 else "each try"
            words += f", {tries} of `{label}` made to fail"
        run = self._lesson.run(conf, fail=fail, lake=lake, fresh=True, told=words)
        champion, model = _champion()
        lines = self._messages.read_text().splitlines() if self._messages.exists() else []
        messages = [json.loads(line) for line in lines]
        return Attempt(
            run=run,
            lake=place,
            champion=champion,
            model=model,
            tables={
                str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in place.rglob("*.parquet")
            },
            left=sorted(
                str(path.relative_to(place))
                for path in (place / "runs").rglob("*")
                if path.is_file()
            ),
            alerts=[each["title"] for each in messages if each["type"] == "failure"],
        )

    def _old_champion(self, lake: str) -> None:
        """A tree that was fitted on February is the champion, and its card says 0.9."""
        from flightdelays import practice_models

        # Another scikit-learn may not be able to read it.
        name = f"capstone-sklearn-{version('scikit-learn')}"
        kept = self._lesson.shared(name, self._fit_tree) / "tree.pkl"
        self.lake(lake)
        practice_models.deploy(str(kept), "tree", "2012-12", CLAIMED)

    def _fit_tree(self, folder: Path) -> None:
        from flightdelays import practice_features, practice_lake, practice_models, store

        lake = self.lake("old")
        practice_lake.land(lake, [MONTH])
        practice_lake.publish(MONTH)
        rows = practice_features.departures(MONTH)
        job = store.open_store().get_historical_features(
            entity_df=rows, features=practice_features.REFERENCES
        )
        table = practice_features.save(job.to_df(), MONTH)
        shutil.copy(practice_models.fit(table, "tree", "old"), folder / "tree.pkl")


def _champion() -> tuple[dict[str, Any], bytes]:
    """Card and file of the champion in the lake in use; empty where there is none to be read."""
    from flightdelays import practice_models

    try:
        card = practice_models.champion()
        return (card, Path(card["path"]).read_bytes()) if card else ({}, b"")
    except (OSError, TypeError, ValueError):
        return {}, b""


@pytest.fixture(scope="session")
def lab(lesson: Lesson) -> Laboratory:
    return Laboratory(lesson)
