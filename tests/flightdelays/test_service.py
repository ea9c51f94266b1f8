"""Does MLflow answer? If not, the message names its address and what to do."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from flightdelays import service
from flightdelays.errors import CourseError, ServiceError
from flightdelays.runs import Window
from flightdelays.settings import Settings

WINDOW = Window("2013-01", "2013-02", "2013-03")


def _check(settings: Settings, source: str) -> Any:
    return service.check_mlflow(settings)


def _available(settings: Settings, source: str) -> Any:
    from flightdelays import availability

    return availability.check(settings=settings)


def _train(settings: Settings, source: str) -> Any:
    from flightdelays.train import train

    return train(source, WINDOW, "logistic", "down", settings)


def _evaluate(settings: Settings, source: str) -> Any:
    from flightdelays import assessment

    candidate = {"address": "models:/m-1", "model": "logistic", "run_id": "1", "rows": 1}
    return assessment.evaluate(source, WINDOW, candidate, "down", settings)


def _deploy(settings: Settings, source: str) -> Any:
    from flightdelays import registry

    return registry.deploy("1", "models:/m-1", pd.DataFrame(), settings)


@pytest.fixture(params=["free_address", "failing_server"], ids=["refused", "status 500"])
def address(request: pytest.FixtureRequest) -> str:
    """An address at which nothing listens, and one at which a server fails."""
    return str(request.getfixturevalue(request.param))


@pytest.mark.parametrize("use", [_check, _available, _train, _evaluate, _deploy])
def test_whoever_needs_mlflow_names_the_address_that_does_not_answer(
    use: Callable[[Settings, str], Any], address: str, settings: Settings, training_file: str
) -> None:
    down = settings.model_copy(update={"mlflow_tracking_uri": address})
    with pytest.raises(ServiceError) as caught:
        use(down, training_file)
    message = str(caught.value)
    assert message.startswith(f"MLflow at {address} does not answer (")
    assert "make start" in message


def test_a_failing_server_and_an_absent_one_are_told_apart(
    free_address: str, failing_server: str
) -> None:
    with pytest.raises(ServiceError, match="refused"):
        service.check_mlflow(Settings(mlflow_tracking_uri=free_address))
    with pytest.raises(ServiceError, match="500"):
        service.check_mlflow(Settings(mlflow_tracking_uri=failing_server))


def test_a_service_that_is_down_may_be_tried_again_and_a_mistake_may_not() -> None:
    """Airflow retries the one and not the other: the classes must stay apart."""
    assert not issubclass(ServiceError, CourseError)


def test_a_proxy_of_the_environment_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, free_address: str, failing_server: str
) -> None:
    monkeypatch.setenv("http_proxy", failing_server)
    with pytest.raises(ServiceError, match="refused"):
        service.check_mlflow(Settings(mlflow_tracking_uri=free_address))


def test_a_database_needs_no_server(settings: Settings) -> None:
    service.check_mlflow(settings)
    service.check_mlflow(Settings(mlflow_tracking_uri="postgresql://nowhere/mlflow"))
