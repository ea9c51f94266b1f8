"""Is a tweet meant well or badly? The small problem of exercise 1: functions from files to files.

Each step reads what the step before it wrote, writes a file of its own whole or not at all, and
returns its path. The data: 4,200 tweets rated by people (see ``course.tweets`` for their source).
"""

import csv
import json
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

from flightdelays.errors import CourseError
from flightdelays.settings import REPOSITORY, get_settings

TWEETS = REPOSITORY / ".course" / "data" / "tweets_GroundTruth.txt"
CLEAR = 0.5
"""Mean ratings nearer to 0 than this (of -4 to 4) are neither good nor bad."""
MODELS = ("plain", "balanced")


def folder() -> Path:
    """Where everything of this problem lies in the lake."""
    return Path(get_settings().lake) / "sentiment"


def fetch(model: str) -> str:
    """Copy the rated tweets into the lake for one model; return the path of the copy."""
    source = Path(os.environ.get("SENTIMENT_TWEETS", str(TWEETS)))
    if not source.exists():
        raise CourseError(f"The tweets are not at {source}: run `make setup`, which fetches them")
    return _write(folder() / model / "tweets.txt", source.read_bytes())


def preprocess(tweets: str) -> str:
    """Keep the 3,362 tweets whose rating is clear; return the path of a Parquet file.

    Columns: ``text``, and ``good`` (bool).
    """
    import pandas as pd

    table = pd.read_csv(
        tweets,
        sep="\t",
        names=["id", "rating", "text"],
        encoding="latin-1",
        quoting=csv.QUOTE_NONE,
    )
    clear = table[table["rating"].abs() > CLEAR]
    kept = pd.DataFrame({"text": clear["text"], "good": clear["rating"] > 0})
    return _write(Path(tweets).with_name("clear.parquet"), kept.to_parquet(index=False))


def split(clear: str) -> dict[str, str]:
    """Put every fifth tweet, drawn with a fixed seed, aside; return both paths by name."""
    import pandas as pd
    from sklearn.model_selection import train_test_split

    table = pd.read_parquet(clear)
    parts = train_test_split(table, test_size=0.2, random_state=0, stratify=table["good"])
    return {
        name: _write(Path(clear).with_name(f"{name}.parquet"), part.to_parquet(index=False))
        for name, part in zip(("train", "test"), parts, strict=True)
    }


def train(table: str, model: str) -> str:
    """Fit word counts and a logistic regression; return the path of the pickled model.

    ``plain`` takes the tweets as they are; ``balanced`` weighs the rarer bad ones up.
    """
    import pandas as pd
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    if model not in MODELS:
        raise CourseError(f"There is no model {model!r}; there are: {', '.join(MODELS)}")
    rows = pd.read_parquet(table)
    weights = "balanced" if model == "balanced" else None
    pipeline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(class_weight=weights)
    )
    pipeline.fit(rows["text"], rows["good"])
    return _write(Path(table).with_name("model.pickle"), pickle.dumps(pipeline))


def evaluate(model: str, table: str) -> float:
    """Share of the tweets of ``table`` that the model gets right, 0 to 1."""
    import pandas as pd

    rows = pd.read_parquet(table)
    pipeline = pickle.loads(Path(model).read_bytes())  # noqa: S301 - written by `train` above
    return float(pipeline.score(rows["text"], rows["good"]))


def deploy(model: str) -> str:
    """Make a model the one that is used; return where it lies."""
    return _write(folder() / "deployed" / "model.pickle", Path(model).read_bytes())


def _write(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as draft:
        draft.write(content)
    Path(draft.name).replace(path)
    return str(path)


def write_report(report: dict[str, Any]) -> str:
    """Write ``report.json``; return its path."""
    return _write(folder() / "report.json", json.dumps(report, indent=2).encode())
