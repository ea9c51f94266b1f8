import pytest

from course.config import Config
from course.environment import client_environment, exports, stack_environment
from course.state import State


def test_a_person_may_move_the_lake_but_not_the_database(
    config: Config, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLIGHTDELAYS_LAKE", "s3://elsewhere")
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "2")
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "sqlite:///other.db")
    monkeypatch.setenv("AIRFLOW_HOME", "/elsewhere")
    environment = stack_environment(config, state)
    assert environment["FLIGHTDELAYS_LAKE"] == "s3://elsewhere"
    assert environment["AIRFLOW__CORE__PARALLELISM"] == "2"
    assert environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].startswith("postgresql+psycopg2:")
    assert environment["AIRFLOW_HOME"] == str(config.root / "airflow")


def test_every_place_of_the_ml_code_is_inside_the_stack(config: Config, state: State) -> None:
    environment = stack_environment(config, state)
    places = {name: value for name, value in environment.items() if name.startswith("FLIGHT")}
    assert set(places) == {
        "FLIGHTDELAYS_LAKE",
        "FLIGHTDELAYS_SITE",
        "FLIGHTDELAYS_SITE_URL",
        "FLIGHTDELAYS_FEAST_REGISTRY",
        "FLIGHTDELAYS_FEAST_ONLINE",
        "FLIGHTDELAYS_MLFLOW_TRACKING_URI",
        "FLIGHTDELAYS_OPTUNA_STORAGE",
        "FLIGHTDELAYS_INCOMING",
    }
    database = f"postgresql+psycopg2://postgres:@/optuna?host={state.runtime}"
    for value in places.values():
        assert value.startswith((str(config.root), "http://127.0.0.1:", database))


def test_own_commands_do_not_carry_the_marker(config: Config, state: State) -> None:
    # `stop` ends whatever carries it.
    assert stack_environment(config, state)["COURSE_STACK_ID"] == state.id
    assert "COURSE_STACK_ID" not in client_environment(config, state)
    assert "COURSE_STACK_ID" not in exports(config, state, secrets=True)


def test_proxies_do_not_get_requests_to_this_machine(
    config: Config, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    assert stack_environment(config, state)["NO_PROXY"] == "127.0.0.1,localhost,intranet.example"


def test_secrets_are_hidden_unless_asked_for(config: Config, state: State) -> None:
    secret = state.jwt_secret.get_secret_value()
    hidden = exports(config, state, secrets=False)
    assert set(hidden["AIRFLOW__API_AUTH__JWT_SECRET"]) == {"*"}
    for value in (state.fernet_key, state.jwt_secret, state.api_secret, state.password):
        assert value.get_secret_value() not in hidden.values()
    assert exports(config, state, secrets=True)["AIRFLOW__API_AUTH__JWT_SECRET"] == secret
