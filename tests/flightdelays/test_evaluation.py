"""Metrics by hand, and plots that come out the same every time."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flightdelays import evaluation
from flightdelays.errors import DataError
from flightdelays.evaluation import Metrics
from flightdelays.settings import Settings

LABELS = [0, 0, 1, 1]
ANSWERS = np.array([0.1, 0.4, 0.35, 0.8])
PLOTS = ["calibration.svg", "monthly_auc.svg", "precision_recall.svg", "roc.svg"]


def test_metrics_are_as_one_reckons_by_hand() -> None:
    """Three of four pairs in order; precision 1 at recall 1/2 and 2/3 at recall 1."""
    found = evaluation.measure(LABELS, ANSWERS)
    assert found.auc == pytest.approx(3 / 4)
    assert found.pr_auc == pytest.approx((1 + 2 / 3) / 2)
    assert found.log_loss == pytest.approx(
        -np.mean([np.log(0.9), np.log(0.6), np.log(0.35), np.log(0.8)])
    )
    assert found.as_dict() == {
        "auc": found.auc, "pr_auc": found.pr_auc, "log_loss": found.log_loss,
    }  # fmt: skip


def test_a_perfect_model_has_an_auc_of_one() -> None:
    found = evaluation.measure(LABELS, np.array([0.0, 0.1, 0.9, 1.0]))
    assert (found.auc, found.pr_auc) == (1, 1)
    assert isinstance(found, Metrics)


@pytest.mark.parametrize("label", [0, 1])
def test_rows_of_one_label_cannot_be_judged(label: int) -> None:
    with pytest.raises(DataError, match="the same label"):
        evaluation.measure([label] * 4, ANSWERS)


def test_each_month_has_its_own_auc() -> None:
    rows = pd.DataFrame({"month": ["2013-01"] * 4 + ["2013-02"] * 4, "late": LABELS * 2})
    answers = np.concatenate([ANSWERS, 1 - ANSWERS])
    assert evaluation.monthly_auc(rows, answers) == pytest.approx(
        {"2013-01": 0.75, "2013-02": 0.25}
    )


def draw(folder: Path, name: str = "lightgbm") -> dict[str, bytes]:
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 500)
    answers = np.clip(0.3 * labels + random.random(500) * 0.7, 0, 1)
    curves = {name: (labels, answers), "champion v1": (labels, random.random(500))}
    drawn = evaluation.plot(
        curves, {"2013-01": 0.81, "2013-02": 0.76}, "2013-02", Settings(), folder
    )
    assert sorted(path.name for path in drawn) == PLOTS
    return {path.name: path.read_bytes() for path in drawn}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return draw(tmp_path_factory.mktemp("drawn"))


def test_drawing_twice_gives_the_same_bytes(drawn: dict[str, bytes], tmp_path: Path) -> None:
    assert draw(tmp_path) == drawn


@pytest.mark.parametrize("plot", PLOTS)
def test_a_plot_is_an_svg_with_a_drawing(plot: str, drawn: dict[str, bytes]) -> None:
    root = ET.fromstring(drawn[plot])  # noqa: S314
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 5


def test_another_name_is_text_in_another_plot(drawn: dict[str, bytes], tmp_path: Path) -> None:
    other = draw(tmp_path, "<script>alert(1)</script>")
    assert other["roc.svg"] != drawn["roc.svg"]
    assert other["monthly_auc.svg"] == drawn["monthly_auc.svg"]
    assert b"<script" not in other["roc.svg"]
    ET.fromstring(other["roc.svg"])  # noqa: S314
