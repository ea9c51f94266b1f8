import json
from pathlib import Path
from typing import Any

import pytest

from course.errors import CourseError
from course.verdict import Verdict, show


def content(**changes: Any) -> dict[str, Any]:
    return {
        "run_id": "manual__1",
        "model": "logistic",
        "train_from": "2013-01",
        "train_to": "2013-08",
        "validation_month": "2013-09",
        "train_rows": 221000,
        "validation_rows": 27000,
        "metrics": {"auc": 0.7191, "pr_auc": 0.3512, "log_loss": 0.36},
        "gate": {"auc": 0.74, "pr_auc": 0.40},
        "champion": None,
        "deployed": False,
        "aliases": [],
        "version": None,
        "reasons": ["AUC 0.719 is below 0.740"],
        "report_url": "http://127.0.0.1:8090/report.html",
        "data_docs_url": "http://127.0.0.1:8090/docs/index.html",
        **changes,
    }


def test_a_refused_model(capsys: pytest.CaptureFixture[str]) -> None:
    show(Verdict.model_validate(content()))
    text = capsys.readouterr().out
    assert "logistic not deployed" in text
    assert "because AUC 0.719 is below 0.740" in text
    assert "221,000 flights" in text
    assert "none yet" in text


def test_a_deployed_model_beside_the_champion(capsys: pytest.CaptureFixture[str]) -> None:
    champion = {"version": 3, "auc": 0.75, "pr_auc": 0.41, "log_loss": 0.34}
    changes = {
        "deployed": True,
        "aliases": ["staging"],
        "reasons": [],
        "version": 4,
        "champion": champion,
    }
    metrics = {"auc": 0.776, "pr_auc": 0.43, "log_loss": 0.33}
    show(Verdict.model_validate(content(metrics=metrics, **changes)))
    text = capsys.readouterr().out
    assert "deployed as version 4, alias staging" in text
    assert "because AUC 0.776 is at least 0.740" in text
    assert "better than the champion" in text
    assert "0.750" in text


def test_a_verdict_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="cannot be read"):
        Verdict.read(str(tmp_path / "verdict.json"))


def test_a_verdict_that_lacks_something(tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    incomplete = content()
    del incomplete["metrics"]
    path.write_text(json.dumps(incomplete))
    with pytest.raises(CourseError, match="metrics"):
        Verdict.read(str(path))
