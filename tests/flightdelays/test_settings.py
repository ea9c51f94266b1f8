"""Settings: one place for every value that may differ, overridden by the environment."""

import pytest
from pydantic import ValidationError

from flightdelays import models, settings
from flightdelays.settings import Settings


def test_the_names_that_dag_files_read_are_those_of_the_heavy_modules() -> None:
    assert tuple(models.REGISTRY) == settings.MODELS


def test_the_environment_overrides_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTDELAYS_LAKE", "s3://lake/course")
    monkeypatch.setenv("FLIGHTDELAYS_GATE_AUC", "0.8")
    assert Settings().lake == "s3://lake/course"
    assert Settings().gate_auc == 0.8


@pytest.mark.parametrize(
    ("name", "value"), [("gate_auc", "1.5"), ("threads", "0"), ("late_minutes", "soon")]
)
def test_a_value_that_makes_no_sense_is_refused_by_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"FLIGHTDELAYS_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        Settings()


def test_settings_do_not_change_once_made() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().seed = 1  # type: ignore[misc]


def test_settings_are_read_from_the_environment_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = settings.get_settings()
    monkeypatch.setenv("FLIGHTDELAYS_SEED", str(first.seed + 1))
    assert settings.get_settings() is first


def test_a_password_in_an_address_is_not_shown() -> None:
    settings = Settings(optuna_storage="postgresql://optuna:secret@postgres/optuna")
    assert "secret" not in repr(settings)
    assert settings.optuna_storage.endswith("secret@postgres/optuna")
