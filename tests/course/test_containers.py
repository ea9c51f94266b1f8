"""The commands around the stack in containers, up to where an engine is needed.

Where Docker has to answer, a small script takes its place on PATH: it gives the answers of the
real one, and writes down what it was asked. The file ``.env``, ports and folders are real.
"""

import json
import os
import re
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from typer.testing import CliRunner, Result

from course.cli import app
from course.config import REPOSITORY
from course.containers.compose import GIB, NEEDED, Compose, check_engine
from course.containers.demo import COMMANDS, here
from course.containers.settings import PORTS, PROFILES, SECRETS, Settings, create, env_file, load
from course.containers.stack import (
    check_ports,
    chosen,
    down,
    existing,
    only_one,
    prepare_folders,
    remove_others,
    reset,
    scale,
    settings_of,
    start,
    wait_for_health,
)
from course.errors import CourseError
from course.ports import any_free

DOCKER = """#!/bin/sh
LC_ALL=C
echo "$*" >> "{folder}/asked"
for answer in "{folder}"/answers/*; do
    if echo "$*" | grep -qE -e "$(head -n 1 "$answer")"; then
        sed -n '4,$p' "$answer"
        sed -n 3p "$answer" >&2
        exit "$(sed -n 2p "$answer")"
    fi
done
"""


class Docker:
    """The script in Docker's place, with its answers by the words that they are given to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "answers").mkdir(parents=True)
        script = folder / "bin" / "docker"
        script.parent.mkdir()
        script.write_text(DOCKER.format(folder=folder))
        script.chmod(0o755)
        self.path = f"{script.parent}:/usr/bin:/bin"
        self.answers("^info", json.dumps({"ServerVersion": "28.2.2", "MemTotal": 8 * GIB}))
        self.answers("^compose version", "2.40.3")
        self.answers("config --services", "postgres\ntopics\nworker")
        self.answers("ps --all", "")

    def answers(self, words: str, output: str, code: int = 0, error: str = "") -> None:
        name = re.sub(r"\W", "_", words)
        text = f"{words}\n{code}\n{error}\n{output}" + ("\n" if output else "")
        (self._folder / "answers" / name).write_text(text)

    @property
    def asked(self) -> list[str]:
        file = self._folder / "asked"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name in ("PROFILES", "WORKERS") or name.startswith(("COMPOSE_", "DOCKER_")):
            monkeypatch.delenv(name)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the file with the settings will be."""
    file = tmp_path / "course" / ".env"
    monkeypatch.setenv("COURSE_STACK_ENV", str(file))
    return file


@pytest.fixture
def settings(path: Path) -> Settings:
    """The settings of a stack that was started before."""
    return create(path, {})


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    fake = Docker(tmp_path / "docker")
    monkeypatch.setenv("PATH", fake.path)
    return fake


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def course(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=answer)


def container(service: str, **values: Any) -> dict[str, Any]:
    return {
        "ID": f"id-{service}",
        "Name": f"project-{service}-1",
        "Service": service,
        "State": "running",
        "Health": "healthy",
        "ExitCode": 0,
        "Image": "image:1.0",
        "Publishers": [],
        **values,
    }


def lines(*containers: dict[str, Any]) -> str:
    return "\n".join(json.dumps(each) for each in containers)


def without(path: Path, *names: str) -> None:
    """Take lines out of the file."""
    text = path.read_text()
    for name in names:
        text, found = re.subn(rf"(?m)^{name}=.*\n", "", text)
        assert found
    path.write_text(text)


def put(path: Path, name: str, value: str) -> None:
    """Give a line of the file another value: the last one counts."""
    path.write_text(f"{path.read_text()}{name}={value}\n")


# ---- the file .env -----------------------------------------------------------------------


def test_the_file_is_written_once_for_its_owner_alone(path: Path) -> None:
    first, new = settings_of(path, {})
    assert new
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(SECRETS) | set(PORTS) < set(first.values)
    assert first.profiles == list(PROFILES)
    assert first.ports == {name: default for name, (_, default) in PORTS.items()}
    Fernet(first.values["FERNET_KEY"])
    text = path.read_text()
    again, new = settings_of(path, {})
    assert not new
    assert path.read_text() == text
    assert again.values == first.values


def test_secrets_are_generated_and_never_twice_the_same(tmp_path: Path) -> None:
    made = [create(tmp_path / name / ".env", {}) for name in ("one", "two")]
    secrets = [each.values[name] for each in made for name in SECRETS]
    assert len(set(secrets)) == 2 * len(SECRETS)


def test_what_the_command_asks_for_is_in_the_file_from_the_start(path: Path) -> None:
    made, _ = settings_of(path, {"COMPOSE_PROFILES": "core,ml", "MLFLOW_PORT": "15000"})
    assert made.profiles == ["core", "ml"]
    assert made.ports["MLFLOW_PORT"] == 15000
    assert "GRAFANA_PORT" not in made.ports
    assert made.url("MLFLOW_PORT") == "http://127.0.0.1:15000"


def test_a_change_keeps_everything_else(path: Path, settings: Settings) -> None:
    # The last line has no line end, as editors leave it; a comment and a line of the person's own.
    path.write_text(f"{path.read_text()}# mine\nWORKER_CONCURRENCY=4")
    without(path, "GRAFANA_PORT")
    before = path.read_text()
    changed = load(path).write(MLFLOW_PORT="15000", GRAFANA_PORT="13000")
    expected = before.replace("MLFLOW_PORT=5000\n", "MLFLOW_PORT=15000\n")
    assert path.read_text() == f"{expected}\nGRAFANA_PORT=13000\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load(path).values == changed.values
    assert changed.values["WORKER_CONCURRENCY"] == "4"
    assert changed.values["FERNET_KEY"] == settings.values["FERNET_KEY"]


WRONG = [
    ("COMPOSE_PROFILES", "core,gpu", "the stack has no gpu"),
    ("COMPOSE_PROFILES", "ml", "cannot do without core"),
    ("COMPOSE_PROFILES", "", "has no value for COMPOSE_PROFILES"),
    ("AIRFLOW_PORT", "eighty", "AIRFLOW_PORT"),
    ("AIRFLOW_PORT", "70000", "1 to 65535; '70000' is none"),
    ("AIRFLOW_PORT", "0", "1 to 65535; '0' is none"),
    ("AIRFLOW_PORT", "8²", "'8²' is none"),
    ("AIRFLOW_PORT", "5000", "AIRFLOW_PORT and MLFLOW_PORT"),
    ("AIRFLOW_PORT", "05000", "are both 5000"),
    ("COMPOSE_PROJECT_NAME", "My stack", "'My stack' is no name"),
    ("WORKERS", "0", "WORKERS"),
    ("WORKERS", "1000", "WORKERS"),
    ("AIRFLOW_UID", "me", "AIRFLOW_UID"),
    ("AIRFLOW_UID", "", "has no value for AIRFLOW_UID"),
    ("STACK_HOME", "", "has no value for STACK_HOME"),
    ("REDIS_PASSWORD", "", "has no value for REDIS_PASSWORD"),
    ("REDIS_PASSWORD", "tiny1", "REDIS_PASSWORD"),
    ("REDIS_PASSWORD", "with@and/and:1234567890", "REDIS_PASSWORD"),
    ("REDIS_PASSWORD", "schlüsselschlüsselschlüssel", "REDIS_PASSWORD"),
    ("FERNET_KEY", "tiny1", "FERNET_KEY"),
    ("FERNET_KEY", "0" * 44, "FERNET_KEY"),
    ("FERNET_KEY", "0" * 41, "FERNET_KEY"),
]


@pytest.mark.parametrize(("name", "value", "said"), WRONG)
def test_a_value_that_cannot_be_used_is_one_sentence(
    name: str, value: str, said: str, path: Path, settings: Settings
) -> None:
    put(path, name, value)
    with pytest.raises(CourseError) as caught:
        load(path)
    assert said in caught.value.problem
    assert str(path) in caught.value.problem
    assert caught.value.fix
    assert ".." not in caught.value.problem
    secret = [each for other, each in settings.values.items() if other in SECRETS]
    told = f"{caught.value} {caught.value!r}"
    assert not any(each in told for each in secret)
    assert name not in SECRETS or not value or value not in told


def test_what_is_printed_of_the_settings_holds_no_secret(settings: Settings) -> None:
    shown = f"{settings} {settings!r} {Compose(settings).command('up')}"
    assert str(settings.path) in shown
    assert not any(settings.values[name] in shown for name in SECRETS)


def test_a_missing_key_is_named_with_all_others(path: Path, settings: Settings) -> None:
    without(path, "JWT_SECRET", "FEAST_DB_PASSWORD")
    with pytest.raises(CourseError, match="no value for JWT_SECRET, FEAST_DB_PASSWORD"):
        load(path)


def test_a_file_that_cannot_be_read_is_one_sentence(path: Path, settings: Settings) -> None:
    path.write_bytes(b"FERNET_KEY=\xff\xfe")
    with pytest.raises(CourseError, match="cannot be read"):
        load(path)


@pytest.mark.parametrize("wanted", [{"AIRFLOW_PORT": "abc"}, {"COMPOSE_PROFILES": "core,gpu"}])
def test_a_wrong_wish_is_refused_and_not_written(path: Path, wanted: dict[str, str]) -> None:
    with pytest.raises(CourseError):
        settings_of(path, wanted)
    assert not path.exists(), "a file that cannot be used would stand in the way of the next try"
    settings_of(path, {})
    text = path.read_text()
    with pytest.raises(CourseError):
        settings_of(path, wanted)
    assert path.read_text() == text


def test_a_wish_mends_what_it_replaces(path: Path, settings: Settings) -> None:
    put(path, "AIRFLOW_PORT", "abc")
    mended, new = settings_of(path, {"AIRFLOW_PORT": "18080"})
    assert not new
    assert mended.ports["AIRFLOW_PORT"] == 18080
    assert load(path).ports["AIRFLOW_PORT"] == 18080


def test_what_is_chosen_comes_from_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen() == {}
    monkeypatch.setenv("PROFILES", "core, ml")
    monkeypatch.setenv("WORKERS", "3")
    monkeypatch.setenv("GRAFANA_PORT", "13000")
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "mine")
    monkeypatch.setenv("MLFLOW_PORT", "")  # as make exports what was not given
    monkeypatch.setenv("STATSD_PORT", "8125")  # the laptop's
    assert chosen() == {
        "COMPOSE_PROFILES": "core,ml",
        "COMPOSE_PROJECT_NAME": "mine",
        "WORKERS": "3",
        "GRAFANA_PORT": "13000",
    }


def test_the_file_is_the_repositorys_or_the_named_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert env_file() == path
    monkeypatch.delenv("COURSE_STACK_ENV")
    assert env_file() == REPOSITORY / ".env"


def test_compose_reads_the_file_and_no_variable_of_the_shell(
    path: Path, settings: Settings, docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(path, "GRAFANA_PORT")
    for name in ("COMPOSE_PROFILES", "WORKERS", "GRAFANA_PORT", "FERNET_KEY"):
        monkeypatch.setenv(name, "from-the-shell")
    monkeypatch.setenv("WORKER_CONCURRENCY", "7")
    script = tmp_path / "docker" / "bin" / "docker"
    script.write_text("#!/bin/sh\nenv\n")
    seen = Compose(load(path)).ask("config")
    assert "from-the-shell" not in seen
    assert "WORKER_CONCURRENCY=7" in seen


# ---- ports -------------------------------------------------------------------------------


def test_a_taken_port_is_named_with_its_holder_and_a_free_one(
    taken: int, path: Path, settings: Settings, docker: Docker
) -> None:
    moved = free_ports(settings).write(MLFLOW_PORT=str(taken))
    with pytest.raises(CourseError) as caught:
        check_ports(moved, Compose(moved))
    assert f"Port {taken} (MLFLOW_PORT)" in caught.value.problem
    assert f"process {os.getpid()}" in caught.value.problem
    advised = re.search(r"make up MLFLOW_PORT=(\d+)", caught.value.fix)
    assert advised
    moved = moved.write(MLFLOW_PORT=advised[1])
    check_ports(moved, Compose(moved))


@pytest.mark.parametrize("form", ["lines", "array"])
def test_a_port_that_the_stack_has_itself_is_not_taken(
    form: str, taken: int, settings: Settings, docker: Docker
) -> None:
    moved = free_ports(settings).write(MLFLOW_PORT=str(taken))
    publishers = [
        {"URL": "127.0.0.1", "TargetPort": 5000, "PublishedPort": taken, "Protocol": "tcp"},
        {"URL": "", "TargetPort": 9125, "PublishedPort": 0, "Protocol": "udp"},
    ]
    found = [container("mlflow", Publishers=publishers), container("worker", Publishers=None)]
    # Compose before 2.21 printed one array.
    docker.answers("ps --all", lines(*found) if form == "lines" else json.dumps(found))
    check_ports(moved, Compose(moved))
    docker.answers("ps --all", lines(found[1]))
    with pytest.raises(CourseError, match="is taken"):
        check_ports(moved, Compose(moved))


def test_the_port_of_a_profile_that_was_not_chosen_may_be_taken(
    taken: int, settings: Settings, docker: Docker
) -> None:
    moved = free_ports(settings).write(GRAFANA_PORT=str(taken), COMPOSE_PROFILES="core")
    check_ports(moved, Compose(moved))


def free_ports(settings: Settings) -> Settings:
    """The settings with ports that are free here, whatever runs beside."""
    ports: set[int] = set()
    while len(ports) < len(PORTS):
        ports.add(any_free())
    return settings.write(**dict(zip(PORTS, map(str, ports), strict=True)))


# ---- the engine --------------------------------------------------------------------------


def test_a_machine_without_docker(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for command in (["up"], ["down"], ["ps"], ["stack-logs"], ["scale", "2"], ["demo-stack"]):
        result = course(*command)
        assert result.exit_code == 1
        assert "There is no Docker on this machine" in result.output
        assert "make demo" in result.output


@pytest.mark.skipif(shutil.which("docker") is None, reason="the docker command is not installed")
def test_an_engine_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(CourseError) as caught:
        check_engine(None)
    assert "does not answer" in caught.value.problem
    assert "unix:///nonexistent/docker.sock" in caught.value.problem
    assert "sudo systemctl start docker" in caught.value.fix


def test_an_engine_that_others_may_use(docker: Docker) -> None:
    refused = "permission denied while trying to connect to the Docker daemon socket"
    docker.answers("^info", json.dumps({"ServerErrors": [refused]}), code=1)
    with pytest.raises(CourseError) as caught:
        check_engine(None)
    assert refused in caught.value.problem
    assert "usermod -aG docker" in caught.value.fix


def test_a_docker_that_only_says_how_to_get_it(docker: Docker) -> None:
    docker.answers("^info", "The command 'docker' could not be found in this WSL 2 distro.", 1)
    with pytest.raises(CourseError, match="could not be found in this WSL 2 distro"):
        check_engine(None)


def test_an_answer_of_another_program(docker: Docker) -> None:
    docker.answers("^info", json.dumps({"host": {"arch": "amd64"}, "version": {}}))
    with pytest.raises(CourseError, match="Podman"):
        check_engine(None)


@pytest.mark.parametrize(
    ("version", "accepted"),
    [("2.23.3", False), ("1.29.2", False), ("2.24.0", True), ("v2.40.3", True), ("5.0.1", True)],
)
def test_compose_has_to_know_configs_with_content(
    version: str, accepted: bool, docker: Docker
) -> None:
    docker.answers("^compose version", version)
    if accepted:
        check_engine(None)
        return
    with pytest.raises(CourseError, match=f"here it is {re.escape(version)}"):
        check_engine(None)


def test_docker_without_compose(docker: Docker) -> None:
    docker.answers("^compose version", "", 1, "docker: 'compose' is not a docker command.")
    with pytest.raises(CourseError, match="here it is absent"):
        check_engine(None)


def test_too_little_memory_is_said_before_anything_starts(
    docker: Docker, settings: Settings
) -> None:
    docker.answers("^info", json.dumps({"ServerVersion": "28", "MemTotal": 3 * GIB}))
    with pytest.raises(CourseError) as caught:
        check_engine(settings)
    assert "Docker has 3.0 GiB" in caught.value.problem
    assert f"{sum(NEEDED.values()):.1f} GiB" in caught.value.problem
    assert "make up PROFILES=core" in caught.value.fix
    core = settings.write(COMPOSE_PROFILES="core")
    check_engine(core)
    docker.answers("^info", json.dumps({"ServerVersion": "28", "MemTotal": GIB}))
    with pytest.raises(CourseError) as caught:
        check_engine(core)
    assert "PROFILES" not in caught.value.fix, "there is no less than core"


def test_every_profile_has_a_memory_estimate() -> None:
    assert set(NEEDED) == set(PROFILES)


# ---- commands ----------------------------------------------------------------------------


def test_a_stack_that_was_never_started(path: Path, docker: Docker) -> None:
    with pytest.raises(CourseError, match="never started"):
        existing()
    for command in (["down"], ["ps"], ["stack-logs"], ["scale", "2"], ["reset-stack", "--yes"]):
        result = course(*command)
        assert result.exit_code == 1
        assert "make up" in result.output
    assert docker.asked == []


def test_a_service_that_does_not_exist_is_named(settings: Settings, docker: Docker) -> None:
    result = course("stack-logs", "nosuch")
    assert result.exit_code == 1
    assert "no service 'nosuch'; there are postgres, topics, worker" in result.output
    assert not any(" logs " in asked for asked in docker.asked)
    assert course("stack-logs", "worker", "-n", "7").exit_code == 0
    assert docker.asked[-1].endswith("logs --tail 7 worker")


def test_reset_needs_a_yes(settings: Settings, docker: Docker) -> None:
    prepare_folders(settings)
    refused = course("reset-stack", answer="n\n")
    assert refused.exit_code == 1
    assert "make reset YES=1" in refused.output
    assert not any(" down" in asked for asked in docker.asked)
    assert (settings.home / "incoming").exists()
    assert course("reset-stack", answer="y\n").exit_code == 0
    assert docker.asked[-1] == (
        "compose --project-name airflow-ml-course down --remove-orphans --volumes"
    )
    assert not settings.home.exists()
    assert settings.path.exists()


def test_reset_deletes_nothing_that_is_not_the_stacks(settings: Settings, docker: Docker) -> None:
    prepare_folders(settings)
    for name in ("incoming/done/request.json", "demo.json", "thesis.md"):
        (settings.home / name).parent.mkdir(exist_ok=True)
        (settings.home / name).write_text("{}")
    reset(lambda _: None)
    assert [entry.name for entry in settings.home.iterdir()] == ["thesis.md"]


def test_reset_says_so_when_docker_could_not(settings: Settings, docker: Docker) -> None:
    prepare_folders(settings)
    docker.answers("down", "", code=1)
    with pytest.raises(CourseError, match="could not remove"):
        reset(lambda _: None)
    assert (settings.home / "incoming").exists()


def test_a_damaged_file_does_not_keep_the_stack_from_ending(
    path: Path,
    settings: Settings,
    docker: Docker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "incoming"
    mine.mkdir()
    # Without a value, the stack's folder is the usual one, and not the one that this runs in.
    path.write_text("COMPOSE_PROJECT_NAME=mine\nSTACK_HOME=\n")
    prepare_folders(settings)
    with pytest.raises(CourseError, match="make reset"):
        existing()
    down(lambda _: None)
    assert docker.asked[-1].startswith("compose --project-name mine down")
    assert "--volumes" not in docker.asked[-1]
    assert "--file" not in docker.asked[-1], "the file could not be read without the secrets"
    reset(lambda _: None)
    assert "--volumes" in docker.asked[-1]
    assert not settings.home.exists()
    assert mine.exists()


def test_two_commands_do_not_start_or_stop_at_once(settings: Settings, docker: Docker) -> None:
    with only_one(settings.path):
        for command in (["up"], ["down"], ["reset-stack", "--yes"]):
            result = course(*command)
            assert result.exit_code == 1
            assert "Another command is starting or stopping" in result.output
    assert not any(" down" in asked or " up " in asked for asked in docker.asked)
    assert course("down").exit_code == 0


def test_scaling_what_does_not_run_changes_nothing(settings: Settings, docker: Docker) -> None:
    text = settings.path.read_text()
    with pytest.raises(CourseError, match="not running"):
        scale(4, lambda _: None)
    assert settings.path.read_text() == text


def test_what_is_no_longer_chosen_is_stopped(settings: Settings, docker: Docker) -> None:
    docker.answers("ps --all", lines(container("kafka"), container("worker"), container("old")))
    docker.answers("^compose .*profile . config", "kafka\npostgres\ntopics\nworker")
    told: list[str] = []
    remove_others(Compose(settings), told.append)
    assert docker.asked[-1].endswith("--profile * rm --stop --force kafka")
    assert "kafka, old" in told[0]
    docker.answers("ps --all", lines(container("worker")))
    remove_others(Compose(settings), told.append)
    assert len(told) == 1


def test_the_folder_of_requests_can_be_written_by_you_and_your_group(settings: Settings) -> None:
    prepare_folders(settings)
    incoming = settings.home / "incoming"
    assert stat.S_IMODE(incoming.stat().st_mode) == 0o775
    assert incoming.stat().st_uid == int(settings.values["AIRFLOW_UID"])


# ---- services that fail ------------------------------------------------------------------


def test_the_stack_is_up_when_every_service_is(settings: Settings, docker: Docker) -> None:
    well = [
        container("postgres"),
        container("topics", State="exited", Health=""),
        container("worker", Health=""),
    ]
    docker.answers("ps --all", lines(*well))
    told: list[str] = []
    wait_for_health(Compose(settings), told.append, patience=0)
    assert told == ["postgres is healthy", "topics is done", "worker is healthy"]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"State": "exited", "ExitCode": 3, "Health": ""}, "worker ended with code 3"),
        ({"Health": "unhealthy"}, "worker is ill"),
        ({"Health": "starting"}, "worker not healthy after 0 s"),
    ],
)
def test_a_service_that_fails_is_named_with_the_end_of_its_log(
    found: dict[str, Any], said: str, settings: Settings, docker: Docker
) -> None:
    others = [container("postgres"), container("topics", State="exited", Health="")]
    docker.answers("ps --all", lines(*others, container("worker", **found)))
    docker.answers("logs .*worker", "worker-1  | ModuleNotFoundError: course_celery")
    with pytest.raises(CourseError) as caught:
        wait_for_health(Compose(settings), lambda _: None, patience=0)
    assert said in caught.value.problem
    assert "ModuleNotFoundError: course_celery" in caught.value.problem
    assert "make stack-logs C=worker" in caught.value.fix


def test_a_service_that_is_missing_is_waited_for(settings: Settings, docker: Docker) -> None:
    docker.answers("ps --all", lines(container("postgres"), container("worker")))
    with pytest.raises(CourseError, match="topics not healthy"):
        wait_for_health(Compose(settings), lambda _: None, patience=0)


def test_another_password_than_that_of_the_data(settings: Settings, docker: Docker) -> None:
    docker.answers("ps --all", lines(container("worker", State="exited", ExitCode=1)))
    docker.answers("logs .*worker", 'FATAL: password authentication failed for user "airflow"')
    with pytest.raises(CourseError) as caught:
        wait_for_health(Compose(settings), lambda _: None)
    assert "put the old .env back" in caught.value.fix
    assert "make reset" in caught.value.fix


def test_the_service_that_others_wait_for_is_named(settings: Settings, docker: Docker) -> None:
    # It was started again in the meantime, and does not look broken at this moment.
    docker.answers("ps --all", lines(container("postgres", Health="starting")))
    said = "dependency failed to start: container project-postgres-1 is unhealthy"
    docker.answers("up --detach", "", 1, said)
    docker.answers("logs .*postgres", "database files are incompatible with server")
    with pytest.raises(CourseError) as caught:
        start(Compose(settings), lambda _: None)
    assert "The service postgres" in caught.value.problem
    assert "incompatible with server" in caught.value.problem


def test_what_docker_says_is_shown_where_no_service_is_at_fault(
    settings: Settings, docker: Docker
) -> None:
    docker.answers("ps --all", lines(container("postgres")))
    docker.answers("up --detach", "", 1, "Error response from daemon: no space left on device")
    with pytest.raises(CourseError, match="no space left on device"):
        start(Compose(settings), lambda _: None)


# ---- what the messages advise ------------------------------------------------------------


def test_messages_name_commands_of_this_stack() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    sources = (REPOSITORY / "src" / "course" / "containers").glob("*.py")
    advised = {
        found
        for file in sources
        # That one turns the advice of the laptop's demos into this stack's; the next test looks.
        if file.name != "demo.py"
        for found in re.findall(r"\bmake ([a-z-]+)", file.read_text())
    }
    assert {"up", "reset", "stack-logs"} <= advised
    assert advised <= targets - {"logs", "status", "start", "doctor", "clean"}


def test_the_advice_of_the_demos_is_that_of_this_stack() -> None:
    assert here("make demo DAG=promote_model") == "make demo-stack DAG=promote_model"
    assert here("make clean, then: make demo") == "make reset, then: make demo-stack"
    assert here("make doctor, which names files") == (
        "make stack-logs C=dag-processor, which names files"
    )
    assert here("make demo-stack; make stop") == "make demo-stack; make stop"
    makefile = (REPOSITORY / "Makefile").read_text()
    for command in COMMANDS.values():
        assert re.search(rf"(?m)^{command.split()[1]}:", makefile)
