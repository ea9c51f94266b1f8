"""The gate: good enough in itself, and better than the champion."""

import math

import pytest

from flightdelays.gate import Decision, gate
from flightdelays.settings import Settings

SETTINGS = Settings(gate_auc=0.74, gate_pr_auc=0.40)
GOOD = {"auc": 0.76, "pr_auc": 0.43, "log_loss": 0.35}


def decide(candidate: dict[str, float], champion: dict[str, float] | None = None) -> Decision:
    return gate(candidate, champion, SETTINGS)


@pytest.mark.parametrize("champion", [None, GOOD | {"pr_auc": 0.42}], ids=["none", "worse"])
def test_a_good_candidate_passes_without_a_reason_against_it(
    champion: dict[str, float] | None,
) -> None:
    assert decide(GOOD, champion) == Decision(deploy=True, reasons=[])


@pytest.mark.parametrize("value", [0.74, 0.7400001])
def test_the_floor_itself_passes(value: float) -> None:
    assert decide(GOOD | {"auc": value, "pr_auc": 0.40}).deploy


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"auc": 0.7399}, "AUC 0.7399 is below the gate of 0.74"),
        ({"pr_auc": 0.3999}, "PR-AUC 0.3999 is below the gate of 0.40"),
        ({"auc": math.nan}, "AUC nan is below the gate of 0.74"),
        ({"pr_auc": math.nan}, "PR-AUC nan is below the gate of 0.40"),
    ],
)
def test_a_candidate_below_a_floor_fails_for_that_reason(
    change: dict[str, float], reason: str
) -> None:
    assert decide(GOOD | change) == Decision(deploy=False, reasons=[reason])


def test_every_reason_is_given_at_once() -> None:
    decision = decide({"auc": 0.5, "pr_auc": 0.2, "log_loss": 0.7}, GOOD)
    assert not decision.deploy
    assert [reason.split()[0] for reason in decision.reasons] == ["AUC", "PR-AUC", "PR-AUC"]


@pytest.mark.parametrize(
    "champion", [GOOD, GOOD | {"pr_auc": 0.44}, GOOD | {"pr_auc": math.nan}],
    ids=["equal", "better", "not a number"],
)  # fmt: skip
def test_a_candidate_that_is_no_better_than_the_champion_fails(champion: dict[str, float]) -> None:
    (reason,) = decide(GOOD, champion).reasons
    assert reason == (
        f"PR-AUC 0.4300 is no better than the champion's {champion['pr_auc']:.4f} on the same rows"
    )


def test_a_champion_with_a_higher_auc_is_replaced_by_a_better_pr_auc() -> None:
    assert decide(GOOD, GOOD | {"auc": 0.8, "pr_auc": 0.42}).deploy


def test_the_floors_are_settings() -> None:
    assert not gate(GOOD, None, Settings(gate_auc=0.77)).deploy
    assert not gate(GOOD, None, Settings(gate_pr_auc=0.44)).deploy
