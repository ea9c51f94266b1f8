"""Which pods get another try, and with how much memory."""

from typing import Any

import pytest
from airflow.sdk import RetryAction

from course_pipelines import RETRIES
from flightdelays import train
from flightdelays.errors import DataError
from flightdelays.pod_trouble import Kind, PodError, Trouble
from pod_retries import MEMORY, WRONG_INPUT, PodRetries, twice

POLICY = PodRetries(rules=RETRIES.rules)


class Kept(dict[str, Any]):
    """The task's store: what is set outlives the try."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value


def decide(kept: Kept, kind: Kind, **figures: Any) -> Any:
    error = PodError(Trouble(kind, "something happened", "kubectl get pods", **figures))
    return POLICY.evaluate(error, 1, 3, {"task_state_store": kept})


def test_memory_is_raised_once_and_then_the_figure_is_told() -> None:
    kept = Kept()
    first = decide(kept, Kind.OUT_OF_MEMORY, memory="1500Mi")
    assert first.action is RetryAction.RETRY
    assert first.reason == "out of memory with 1500Mi: once more with 3000Mi"
    assert kept == {MEMORY: "3000Mi"}
    second = decide(kept, Kind.OUT_OF_MEMORY, memory="3000Mi")
    assert second.action is RetryAction.FAIL
    assert "out of memory with 3000Mi too" in second.reason
    assert kept == {MEMORY: "3000Mi"}


def test_without_a_limit_there_is_nothing_to_raise() -> None:
    assert decide(Kept(), Kind.OUT_OF_MEMORY).action is RetryAction.FAIL


@pytest.mark.parametrize(
    ("kind", "figures", "action"),
    [
        (Kind.TAKEN_AWAY, {}, RetryAction.RETRY),
        (Kind.IMAGE, {}, RetryAction.FAIL),
        (Kind.CONFIGURATION, {}, RetryAction.FAIL),
        (Kind.DEADLINE, {}, RetryAction.FAIL),
        (Kind.UNSCHEDULABLE, {}, RetryAction.DEFAULT),
        (Kind.FAILED, {"exit_code": WRONG_INPUT}, RetryAction.FAIL),
        (Kind.FAILED, {"exit_code": train.TRY_AGAIN}, RetryAction.DEFAULT),
    ],
)
def test_each_kind_of_trouble_has_its_decision(
    kind: Kind, figures: dict[str, Any], action: RetryAction
) -> None:
    assert decide(Kept(), kind, **figures).action is action


def test_what_is_no_pods_trouble_is_for_the_rules() -> None:
    assert POLICY.evaluate(DataError("wrong"), 1, 3).action is RetryAction.FAIL
    assert POLICY.evaluate(OSError("network"), 1, 3).action is RetryAction.DEFAULT
    # KubernetesPodOperator by itself.
    assert POLICY.evaluate(Exception("… OOMKilled …"), 1, 3).action is RetryAction.FAIL


def test_the_exit_code_is_that_of_the_command() -> None:
    assert train.WRONG_INPUT == WRONG_INPUT != train.TRY_AGAIN


@pytest.mark.parametrize(
    ("memory", "doubled"), [("4Gi", "8Gi"), ("1500Mi", "3000Mi"), ("64", "128")]
)
def test_a_quantity_keeps_its_unit(memory: str, doubled: str) -> None:
    assert twice(memory) == doubled
