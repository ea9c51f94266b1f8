"""The model server: real models in a real MLflow, asked over HTTP while they change."""

import gc
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest
from starlette.types import ASGIApp

from course.ports import any_free
from flightdelays import models, registry
from flightdelays.dataset import LABEL, feature_columns
from flightdelays.registry import CHAMPION, STAGING
from flightdelays.settings import Settings
from serving import program, versions
from serving.models import HEADER, ServerSettings, make_app

Serve = Callable[[ASGIApp], AbstractContextManager[httpx.Client]]
Until = Callable[[Callable[[], object], str], None]
POLL = 0.1


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Flights of which the delay of the last ones, and a carrier, say how late they are."""
    dice = np.random.default_rng(2013)
    rows = pd.DataFrame(
        {
            "month": "2013-01",
            "carrier": dice.choice(["UA", "DL", "EV"], 300),
            "origin": dice.choice(["EWR", "JFK"], 300),
            "dest": "ORD",
            "distance": dice.uniform(100, 2500, 300),
            "carrier_delay": dice.normal(10, 20, 300),
        }
    )
    rows[LABEL] = rows["carrier_delay"] + 15 * (rows["carrier"] == "EV") > 18
    return rows


@pytest.fixture(scope="module")
def asked(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[feature_columns(list(rows.columns))].tail(7)


@pytest.fixture(scope="module")
def pipelines(rows: pd.DataFrame, asked: pd.DataFrame) -> list[Any]:
    """Two fitted models that answer differently."""
    return [
        models.make("logistic").fit(rows.head(n)[asked.columns], rows.head(n)[LABEL])
        for n in (100, 290)
    ]


@pytest.fixture(scope="module", autouse=True)
def mlflow_starting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an MLflow server that hands out models itself, as in the stack.

    It starts while other tests run, because it takes long.
    """
    folder = tmp_path_factory.mktemp("mlflow")
    port = str(any_free())
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--port", port, "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
            *("--artifacts-destination", str(folder / "artifacts"), "--serve-artifacts"),
        ],
        cwd=folder,
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # it starts processes of its own, which end with it
    )
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(120)


@pytest.fixture
def mlflow_server(mlflow_starting: str, until: Until) -> str:
    until(lambda: answers(f"{mlflow_starting}/health"), "MLflow answers")
    return mlflow_starting


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Settings:
    """One database for all, in which each test has a registered model of its own."""
    database = tmp_path_factory.getbasetemp() / "serving.db"
    name = request.node.name
    return Settings(mlflow_tracking_uri=f"sqlite:///{database}", model_name=name, experiment=name)


@pytest.fixture
def log(
    settings: Settings, pipelines: list[Any], rows: pd.DataFrame
) -> Callable[[int], tuple[str, str]]:
    """Log the first or the second model; gives the run's id and the model's address."""

    def act(which: int) -> tuple[str, str]:
        return registry.log_candidate(
            pipelines[which], "logistic", rows, {}, f"run {which}", settings
        )

    return act


@pytest.fixture
def deploy(
    log: Callable[[int], tuple[str, str]], settings: Settings, rows: pd.DataFrame
) -> Callable[[int], None]:
    """Log a model and deploy it: a new version, in staging, and champion if it is the first."""

    def act(which: int) -> None:
        registry.deploy(*log(which), rows.tail(5), settings)

    return act


def app(settings: Settings) -> ASGIApp:
    return make_app(ServerSettings(poll_seconds=POLL), settings)


def answers(address: str) -> bool:
    """Whether a server says yes."""
    try:
        return httpx.get(address, timeout=30).is_success
    except httpx.TransportError:
        return False


def question(rows: pd.DataFrame) -> dict[str, Any]:
    return {"dataframe_split": rows.to_dict(orient="split", index=False)}


def ask(client: httpx.Client, rows: pd.DataFrame, alias: str = CHAMPION) -> httpx.Response:
    return client.post(f"/{alias}/invocations", json=question(rows))


def version(client: httpx.Client, alias: str = CHAMPION) -> Any:
    return client.get("/").json()["aliases"][alias]["version"]


def metric(client: httpx.Client, line: str) -> float:
    """Value of one series, 0 if it is not there."""
    found = re.search(rf"^{re.escape(line)} (\S+)$", client.get("/metrics").text, re.M)
    return float(found[1]) if found else 0


def test_the_answer_is_that_of_the_model_that_was_trained(
    settings: Settings,
    deploy: Callable[[int], None],
    serve: Serve,
    until: Until,
    pipelines: list[Any],
    asked: pd.DataFrame,
) -> None:
    deploy(0)
    deploy(1)
    with serve(app(settings)) as client:
        until(lambda: version(client, STAGING), "staging answers")
        for alias, number in ((CHAMPION, 1), (STAGING, 2)):
            answer = ask(client, asked, alias)
            assert (answer.status_code, answer.headers[HEADER]) == (200, str(number))
            np.testing.assert_allclose(
                answer.json()["predictions"], pipelines[number - 1].predict_proba(asked)
            )
        assert client.get(f"/{CHAMPION}/ping").headers[HEADER] == "1"
        assert client.get(f"/{CHAMPION}/version").text == mlflow.__version__
        state = client.get("/").json()
        assert state["model"] == settings.model_name
        assert state["error"] is None
        assert [alias["error"] for alias in state["aliases"].values()] == [None, None]
        assert client.get("/health").json() == {"answers": {CHAMPION: True, STAGING: True}}
        assert client.get("/nobody/invocations").status_code == 404


def test_two_aliases_of_one_version_share_its_model(
    settings: Settings, deploy: Callable[[int], None]
) -> None:
    deploy(0)
    watcher = versions.Watcher((CHAMPION, STAGING), settings)
    watcher.look()
    assert watcher.aliases[CHAMPION].version == 1
    assert watcher.aliases[CHAMPION].current is watcher.aliases[STAGING].current


def test_without_a_model_it_is_healthy_and_says_what_to_run(
    settings: Settings,
    deploy: Callable[[int], None],
    serve: Serve,
    until: Until,
    asked: pd.DataFrame,
) -> None:
    with serve(app(settings)) as client:
        until(lambda: client.get("/health").is_success, "the registry was reached")
        assert client.get("/health").json() == {"answers": {CHAMPION: False, STAGING: False}}
        answer = ask(client, asked)
        assert answer.status_code == 503
        assert answer.json() == {
            "error_code": "TEMPORARILY_UNAVAILABLE",
            "message": f"{settings.model_name} has no alias champion: run the DAG "
            "train_delay_model, which deploys a model",
        }
        assert HEADER not in answer.headers
        deploy(0)
        until(lambda: version(client) == 1, "the first model answers")
        assert ask(client, asked).status_code == 200


def test_a_registry_that_was_never_reached_is_not_healthy(
    settings: Settings, serve: Serve, until: Until, asked: pd.DataFrame
) -> None:
    away = f"http://127.0.0.1:{any_free()}"
    with serve(app(settings.model_copy(update={"mlflow_tracking_uri": away}))) as client:
        until(lambda: client.get("/").json()["error"], "it was tried")
        assert client.get("/health").status_code == 503
        answer = ask(client, asked)
        assert answer.status_code == 503
        assert f"MLflow at {away} does not answer" in answer.json()["message"]
        assert metric(client, "model_server_registry_up") == 0


def test_a_change_over_under_load_fails_no_request(
    settings: Settings,
    deploy: Callable[[int], None],
    serve: Serve,
    until: Until,
    pipelines: list[Any],
    asked: pd.DataFrame,
) -> None:
    deploy(0)
    expected = [pipeline.predict_proba(asked) for pipeline in pipelines]
    body = json.dumps(question(asked)).encode()
    seen: list[list[tuple[int, str, Any]]] = [[] for _ in range(8)]
    stop = threading.Event()
    with serve(app(settings)) as client:
        until(lambda: version(client) == 1, "version 1 answers")
        series = f'model_server_requests_total{{alias="{CHAMPION}",code="200",version="2"}}'
        counted = metric(client, series)
        changes = metric(client, f'model_server_changes_total{{alias="{CHAMPION}"}}')

        def load(answers: list[tuple[int, str, Any]]) -> None:
            headers = {"Content-Type": "application/json"}
            with httpx.Client(base_url=client.base_url, headers=headers, timeout=30) as own:
                while not stop.is_set():
                    got = own.post(f"/{CHAMPION}/invocations", content=body)
                    answers.append((got.status_code, got.headers.get(HEADER, ""), got.json()))

        threads = [threading.Thread(target=load, args=(answers,)) for answers in seen]
        for thread in threads:
            thread.start()
        try:
            until(lambda: all(len(answers) > 3 for answers in seen), "all have asked")
            deploy(1)
            registry.promote(2, "a test", settings)
            until(lambda: all(a and a[-1][1] == "2" for a in seen), "all got version 2")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        after = metric(client, series)
        assert metric(client, f'model_server_version{{alias="{CHAMPION}"}}') == 2
        assert metric(client, f'model_server_changes_total{{alias="{CHAMPION}"}}') == changes + 1
    assert {status for answers in seen for status, _, _ in answers} == {200}
    for answers in seen:
        numbers = [number for _, number, _ in answers]
        assert (numbers[0], numbers[-1]) == ("1", "2")
        assert numbers == sorted(numbers)
        for _, number, got in answers:
            # The header tells the truth: it is the very model that it names that has answered.
            np.testing.assert_allclose(got["predictions"], expected[int(number) - 1])
    assert after - counted == sum(n == "2" for answers in seen for _, n, _ in answers)


def test_a_version_that_cannot_be_used_leaves_the_old_one_answering(
    settings: Settings,
    log: Callable[[int], tuple[str, str]],
    deploy: Callable[[int], None],
    serve: Serve,
    until: Until,
    asked: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(versions, "RETRY", 2 * POLL)
    deploy(0)
    failures = f'model_server_load_failures_total{{alias="{STAGING}"}}'
    with serve(app(settings)) as client:
        until(lambda: version(client, STAGING) == 1, "version 1 answers")
        before = metric(client, failures)
        _, address = log(1)
        folder = Path(mlflow.artifacts.download_artifacts(address))
        hidden = folder.rename(folder.with_name("hidden"))
        created = mlflow.register_model(address, settings.model_name)
        service = registry.client(settings)
        service.set_registered_model_alias(settings.model_name, STAGING, created.version)
        until(lambda: metric(client, failures) >= before + 2, "it was tried, and tried again")
        state = client.get("/").json()["aliases"][STAGING]
        assert state["version"] == 1
        assert re.search(
            rf"version {created.version} of {settings.model_name} cannot be used for staging "
            r"\(.+\), version 1 goes on: look at the model in MLflow, or run train_delay_model",
            state["error"],
        )
        answer = ask(client, asked, STAGING)
        assert (answer.status_code, answer.headers[HEADER]) == (200, "1")
        told = [record for record in caplog.records if "cannot be used" in record.getMessage()]
        assert len(told) == 1
        hidden.rename(folder)
        until(lambda: version(client, STAGING) == int(created.version), "mended, it answers")
        assert client.get("/").json()["aliases"][STAGING]["error"] is None


def test_an_alias_that_is_taken_away_answers_no_more(
    settings: Settings,
    deploy: Callable[[int], None],
    serve: Serve,
    until: Until,
    asked: pd.DataFrame,
) -> None:
    deploy(0)
    with serve(app(settings)) as client:
        until(lambda: version(client) == 1, "version 1 answers")
        service = registry.client(settings)
        service.delete_registered_model_alias(settings.model_name, CHAMPION)
        until(lambda: version(client) is None, "the alias is gone")
        answer = ask(client, asked)
        assert answer.status_code == 503
        assert "has no alias champion: run the DAG train_delay_model" in answer.json()["message"]
        assert metric(client, f'model_server_version{{alias="{CHAMPION}"}}') == 0
        assert ask(client, asked, STAGING).headers[HEADER] == "1"


def test_bad_input_is_refused_in_the_words_of_mlflow(
    settings: Settings,
    deploy: Callable[[int], None],
    serve: Serve,
    until: Until,
    asked: pd.DataFrame,
) -> None:
    deploy(0)
    series = f'model_server_requests_total{{alias="{CHAMPION}",code="400",version="1"}}'
    with serve(app(settings)) as client:
        until(lambda: version(client) == 1, "version 1 answers")
        before = metric(client, series)
        for question_, words in (
            (question(asked.drop(columns="distance")), "missing inputs ['distance']"),
            (question(asked.assign(distance="far")), "distance"),
            ({"rows": []}, "dataframe_split"),
        ):
            answer = client.post(f"/{CHAMPION}/invocations", json=question_)
            assert (answer.status_code, answer.headers[HEADER]) == (400, "1")
            assert words in answer.json()["message"]
        assert metric(client, series) == before + 3
        assert ask(client, asked).status_code == 200


def test_a_registry_that_goes_away_and_comes_back(
    settings: Settings, deploy: Callable[[int], None]
) -> None:
    deploy(0)
    watcher = versions.Watcher((CHAMPION,), settings)
    watcher.look()
    watcher._settings = settings.model_copy(
        update={"mlflow_tracking_uri": f"http://127.0.0.1:{any_free()}"}
    )
    watcher.look()
    assert "does not answer" in str(watcher.error)
    assert watcher.aliases[CHAMPION].version == 1
    watcher._settings = settings
    watcher.look()
    assert (watcher.error, watcher.aliases[CHAMPION].version) == (None, 1)


def test_the_files_of_a_model_go_with_it(
    settings: Settings,
    deploy: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    deploy(0)
    deploy(1)
    watcher = versions.Watcher((CHAMPION,), settings)
    watcher.look()
    first = list(tmp_path.glob("model-*"))
    assert len(first) == 1
    registry.promote(2, "a test", settings)
    watcher.look()
    assert watcher.aliases[CHAMPION].version == 2
    gc.collect()
    second = list(tmp_path.glob("model-*"))
    assert len(second) == 1
    assert second != first


def test_what_a_task_loads_from_a_server_leaves_no_copy(
    mlflow_server: str,
    settings: Settings,
    pipelines: list[Any],
    rows: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """MLflow tidies up at the end of Python, to which the process of a task never comes."""
    there = settings.model_copy(update={"mlflow_tracking_uri": mlflow_server})
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run_id, address = registry.log_candidate(pipelines[0], "logistic", rows, {}, "run", there)
    registry.deploy(run_id, address, rows.tail(5), there)
    assert registry.load_alias(CHAMPION, there) is not None
    assert registry.load_model(address, there) is not None
    assert list(tmp_path.rglob("MLmodel")) == []


def test_told_to_end_it_answers_what_it_was_asked(
    mlflow_server: str,
    settings: Settings,
    pipelines: list[Any],
    rows: pd.DataFrame,
    asked: pd.DataFrame,
    until: Until,
) -> None:
    """As a process of its own, with an MLflow server that hands out the model."""
    there = settings.model_copy(update={"mlflow_tracking_uri": mlflow_server})
    logged = registry.log_candidate(pipelines[0], "logistic", rows, {}, "run", there)
    registry.deploy(*logged, rows.tail(5), there)
    port = any_free()
    environment = {
        "FLIGHTDELAYS_MLFLOW_TRACKING_URI": mlflow_server,
        "FLIGHTDELAYS_MODEL_NAME": there.model_name,
        "MODEL_SERVER_ALIASES": CHAMPION,
        "MODEL_SERVER_PORT": str(port),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.models"], env=os.environ | environment
    )
    base = f"http://127.0.0.1:{port}"

    body = json.dumps(question(asked)).encode()
    half, rest = body[:50], body[50:]
    begun, go = threading.Barrier(5), threading.Event()
    got: list[httpx.Response] = []

    def parts() -> Iterator[bytes]:
        yield half
        begun.wait(30)
        go.wait(30)
        yield rest

    def send() -> None:
        headers = {"Content-Type": "application/json"}
        got.append(
            httpx.post(
                f"{base}/{CHAMPION}/invocations", content=parts(), headers=headers, timeout=30
            )
        )

    threads = [threading.Thread(target=send) for _ in range(4)]
    try:
        until(lambda: answers(f"{base}/{CHAMPION}/ping"), "the champion answers")
        for thread in threads:
            thread.start()
        begun.wait(30)
        # What was sent before this has reached the server when this is answered.
        assert httpx.get(f"{base}/health").is_success
        process.send_signal(signal.SIGTERM)
        until(lambda: not answers(f"{base}/health"), "it takes nothing new")
        assert process.poll() is None
        go.set()
        for thread in threads:
            thread.join(30)
        assert process.wait(30) == 0
    finally:
        go.set()
        process.kill()
        process.wait()
    assert [answer.status_code for answer in got] == [200] * 4
    for answer in got:
        np.testing.assert_allclose(answer.json()["predictions"], pipelines[0].predict_proba(asked))


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "http"), ("ALIASES", "champion,"), ("POLL_SECONDS", "0")]
)
def test_a_bad_setting_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"MODEL_SERVER_{name}", value)
    with pytest.raises(
        SystemExit, match=rf"error: MODEL_SERVER_{name}=.+ is not usable \(.+\): unset"
    ):
        program.read(ServerSettings)


def test_aliases_are_read_with_commas_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_SERVER_ALIASES", "champion, night-shift")
    assert program.read(ServerSettings).aliases == ("champion", "night-shift")
