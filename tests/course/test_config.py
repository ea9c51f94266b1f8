from pathlib import Path

import pytest

from course.config import REPOSITORY, load_config
from course.errors import CourseError


def test_the_state_lives_in_the_repository() -> None:
    # Not in HOME, PLUGINS or another variable that happens to be called like a field.
    assert load_config().root == REPOSITORY / ".course"


def test_variables_of_other_programs_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGS", "/elsewhere")
    monkeypatch.setenv("PLUGINS", "/elsewhere")
    config = load_config()
    assert (config.dags, config.plugins) == (REPOSITORY / "dags", REPOSITORY / "plugins")


def test_empty_values_are_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    # The Makefile exports AIRFLOW_PORT whether or not somebody set it.
    monkeypatch.setenv("AIRFLOW_PORT", "")
    monkeypatch.setenv("COURSE_HOME", "")
    config = load_config()
    assert config.airflow_port is None
    assert config.root == REPOSITORY / ".course"


@pytest.mark.parametrize("value", ["eighty", "0", "70000"])
def test_a_bad_port_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_PORT", value)
    with pytest.raises(CourseError, match=f"AIRFLOW_PORT='{value}' is not usable") as caught:
        load_config()
    assert "unset AIRFLOW_PORT" in caught.value.fix


def test_a_relative_home_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_HOME", "here")
    assert load_config().root == tmp_path / "here"
