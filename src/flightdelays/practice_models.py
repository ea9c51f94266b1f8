"""Small models for the capstone, and a registry that is a folder: one champion, or none yet.

A model is fitted on the first three weeks of a training set of ``practice_features`` and judged
on the rest of its month. What a run fits lies in the run's working folder; what is deployed is
copied out of it.
"""

import json
import pickle
from pathlib import Path
from typing import Any

from flightdelays.errors import CourseError
from flightdelays.lake import file_name, open_lake
from flightdelays.practice_features import COLUMNS, KNOWN
from flightdelays.runs import run_folder

MODELS = ("bayes", "logistic", "tree")
INPUTS = [*KNOWN, *COLUMNS]


def fit(table: str, model: str, run: str) -> str:
    """Fit one of ``MODELS``; returns the path of its file in the working folder of the run.

    CourseError with the known names if there is no such model.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    from flightdelays.practice_features import split

    kinds = {
        "bayes": GaussianNB,
        "logistic": lambda: LogisticRegression(max_iter=300),
        "tree": lambda: DecisionTreeClassifier(max_depth=4, random_state=0),
    }
    if model not in kinds:
        raise CourseError(f"there is no model {model!r}: choose from {', '.join(MODELS)}")
    pipeline = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), kinds[model]())
    training, _ = split(table, INPUTS)
    pipeline.fit(training[INPUTS], training["late"])
    lake = open_lake()
    path = lake.path(*run_folder(run), "models", f"{file_name(model)}.pkl")
    lake.write_bytes(path, pickle.dumps(pipeline))
    return path


def evaluate(path: str, table: str) -> float:
    """ROC AUC of a fitted model on the last week of a training set: rows that it has not seen."""
    from sklearn.metrics import roc_auc_score

    from flightdelays.practice_features import split

    pipeline = pickle.loads(Path(path).read_bytes())  # noqa: S301 - we wrote it
    _, validation = split(table, INPUTS)
    late = pipeline.predict_proba(validation[INPUTS])[:, 1]
    return float(roc_auc_score(validation["late"], late))


def champion() -> dict[str, Any] | None:
    """The deployed model, or None: ``model``, ``month`` and ``auc`` of then, and its ``path``."""
    lake = open_lake()
    card = lake.path("practice", "champion", "champion.json")
    if not lake.exists(card):
        return None
    return lake.read_json(card) | {"path": lake.path("practice", "champion", "model.pkl")}


def deploy(path: str, model: str, month: str, auc: float) -> str:
    """Make a fitted model the champion, in place of the one before; returns the card's path."""
    lake = open_lake()
    lake.write_bytes(lake.path("practice", "champion", "model.pkl"), Path(path).read_bytes())
    card = lake.path("practice", "champion", "champion.json")
    lake.write_json(card, {"model": model, "month": month, "auc": auc})
    return card


def write_report(month: str, report: dict[str, Any]) -> str:
    """Write what became of a month's training as JSON; returns the path."""
    lake = open_lake()
    path = lake.path("practice", "reports", f"{file_name(month)}.json")
    lake.write_text(path, json.dumps(report, indent=2, sort_keys=True) + "\n")
    return path
