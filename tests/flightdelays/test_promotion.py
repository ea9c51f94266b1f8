"""Promotion: the approved version and no other, the approver on record, the question's words."""

from collections.abc import Callable
from datetime import UTC, datetime

import pandas as pd
import pytest

from flightdelays import models, promotion, registry
from flightdelays.dataset import LABEL, feature_columns
from flightdelays.errors import CourseError
from flightdelays.promotion import Answer, Comparison
from flightdelays.registry import APPROVED_BY, CHAMPION, STAGING
from flightdelays.settings import Settings

METRICS = {"auc": 0.75, "pr_auc": 0.45, "log_loss": 0.4}


@pytest.fixture(scope="module")
def own(settings: Settings) -> Settings:
    return settings.model_copy(update={"model_name": "promoted", "experiment": "promoted"})


@pytest.fixture(scope="module")
def two_versions(own: Settings, rows: pd.DataFrame) -> list[str]:
    """Two versions, judged by different months; the MLflow runs behind them."""
    some = rows.head(3_000)
    fitted = models.make("lightgbm").fit(some[feature_columns(list(some.columns))], some[LABEL])
    runs = []
    for last, judged in (("2013-01", "2013-02"), ("2013-02", "2013-03")):
        params = {"train_from": "2013-01", "train_to": last, "validation": judged}
        run_id, address = registry.log_candidate(fitted, "lightgbm", some, params, judged, own)
        for name, value in METRICS.items():
            registry.client(own).log_metric(run_id, name, value)
        registry.deploy(run_id, address, some.tail(5), own)
        runs.append(run_id)
    return runs


@pytest.fixture
def set_aliases(own: Settings, two_versions: list[str]) -> Callable[..., None]:
    """Version 1 is champion, version 2 in staging, and nobody has approved anything."""
    service = registry.client(own)

    def act(champion: int = 1, staging: int = 2) -> None:
        service.set_registered_model_alias(own.model_name, CHAMPION, str(champion))
        service.set_registered_model_alias(own.model_name, STAGING, str(staging))

    for number in ("1", "2"):
        service.delete_model_version_tag(own.model_name, number, APPROVED_BY)
    act()
    return act


def approver(number: int, settings: Settings) -> str | None:
    version = registry.client(settings).get_model_version(settings.model_name, str(number))
    return version.tags.get(APPROVED_BY)


def answer(option: str, name: str | None) -> Answer:
    user = {"id": name, "name": name} if name else None
    moment = datetime(2013, 10, 1, 12, tzinfo=UTC)
    return Answer(chosen_options=[option], responded_by_user=user, responded_at=moment)


def test_the_approved_version_becomes_champion_and_names_its_approver(
    own: Settings, set_aliases: Callable[..., None]
) -> None:
    registry.promote(2, "ann", own)
    assert promotion.compare(own) == Comparison(challenger=2, champion=2)
    assert (approver(1, own), approver(2, own)) == (None, "ann")


def test_a_second_try_changes_nothing_even_when_staging_has_moved_on(
    own: Settings, set_aliases: Callable[..., None]
) -> None:
    registry.promote(2, "ann", own)
    set_aliases(champion=2, staging=1)
    registry.promote(2, "bob", own)
    assert promotion.compare(own) == Comparison(challenger=1, champion=2)
    assert approver(2, own) == "ann"


def test_of_two_approvals_only_that_of_the_staged_version_counts(
    own: Settings, set_aliases: Callable[..., None]
) -> None:
    service = registry.client(own)
    service.delete_registered_model_alias(own.model_name, CHAMPION)
    registry.promote(2, "ann", own)
    with pytest.raises(CourseError, match=r"version 1 of promoted was approved.* names version 2"):
        registry.promote(1, "bob", own)
    assert promotion.compare(own) == Comparison(challenger=2, champion=2)
    assert (approver(1, own), approver(2, own)) == (None, "ann")


def test_an_approval_is_refused_when_nothing_is_staged_any_more(
    own: Settings, set_aliases: Callable[..., None]
) -> None:
    registry.client(own).delete_registered_model_alias(own.model_name, STAGING)
    with pytest.raises(CourseError, match="alias staging is gone by now: the champion stays"):
        registry.promote(2, "ann", own)
    assert promotion.compare(own) == Comparison(challenger=None, champion=1)
    assert approver(2, own) is None


def test_the_question_is_a_markdown_table_that_says_what_cannot_be_compared(
    own: Settings, set_aliases: Callable[..., None]
) -> None:
    lines = promotion.question(promotion.compare(own), own).splitlines()
    assert lines[0] == "|  | champion v1 | challenger v2 |"
    assert "| trained on | 2013-01 to 2013-01 | 2013-01 to 2013-02 |" in lines
    assert "| AUC | 0.7500 | 0.7500 |" in lines
    assert lines[-1].startswith("They were judged by different months")
    alone = promotion.question(Comparison(challenger=2, champion=None), own)
    assert "champion" not in alone
    assert "different months" not in alone


@pytest.mark.parametrize(
    ("versions", "given", "expected"),
    [
        ((None, 1), None, "nothing to decide: no version is in staging"),
        ((1, 1), None, "nothing to decide: v1 is in staging and the champion already"),
        ((2, 1), answer("Approve", "ann"), "v2 is the champion now, approved by ann; before, v1"),
        ((2, None), answer("Approve", "ann"), "v2 is the champion now, approved by ann; before, t"),
        ((2, 1), answer("Reject", "ann"), "v1 stays the champion: ann rejected v2"),
        ((2, None), answer("Reject", "ann"), "there is still no champion: ann rejected v2"),
        ((2, 1), answer("Reject", None), "v1 stays the champion: nobody decided on v2 in time"),
        # Whatever the defaults of the request say: only a person promotes.
        ((2, 1), answer("Approve", None), "v1 stays the champion: nobody decided on v2 in time"),
    ],
)
def test_every_outcome_has_its_sentence(
    versions: tuple[int | None, int | None], given: Answer | None, expected: str
) -> None:
    compared = Comparison(challenger=versions[0], champion=versions[1])
    assert promotion.sentence(compared, given).startswith(expected)
    assert promotion.is_open(compared) is (given is not None)
