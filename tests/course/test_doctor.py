import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from course import doctor
from course.config import REPOSITORY, Config
from course.dagcheck import import_errors
from course.doctor import Finding
from course.lock import differences
from course.state import State

Check = Callable[[Config], Iterator[Finding]]


def faults(check: Check, config: Config) -> list[Finding]:
    return [finding for finding in check(config) if not finding.ok]


def test_this_machine_is_well_before_a_start(config: Config) -> None:
    for check in (doctor.python, doctor.disk, doctor.environment, doctor.stack):
        assert faults(check, config) == []


def test_another_version_than_the_lock(tmp_path: Path) -> None:
    lock, wanted = tmp_path / "requirements.txt", tmp_path / "requirements.in"
    lock.write_text(
        "pytest==0.0.1 \\\n    --hash=sha256:00\n    # via nobody\n"
        "no-such-package==1.0\n"
        "never==1 ; python_full_version < '3.0'\n"
    )
    wanted.write_text("# why\npytest==0.0.2\nno-such-package\nrich\n")
    wrong = differences(lock, wanted)
    assert len(wrong.installed) == 2
    assert wrong.installed[0].startswith("pytest ")
    assert wrong.installed[0].endswith("is installed, the lock has ==0.0.1")
    assert wrong.installed[1] == "no-such-package is not installed"
    assert wrong.lock == [
        "requirements.txt has pytest 0.0.1, requirements.in differs",
        "requirements.txt does not hold rich, requirements.in does",
    ]


def test_a_leftover_process(
    config: Config, state: State, marked: Callable[..., subprocess.Popen[str]]
) -> None:
    left = marked(state.id, "triggerer")
    (finding,) = faults(doctor.stack, config)
    assert finding.text == f"process {left.pid} (triggerer) is left of an earlier start"
    assert finding.fix == "make stop"


def test_a_taken_port_that_was_asked_for(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        monkeypatch.setenv("MLFLOW_PORT", str(port))
        (finding,) = faults(doctor.stack, Config())
    assert finding.text.startswith(f"port {port}, asked for by MLFLOW_PORT, is taken by")
    assert "MLFLOW_PORT" in finding.fix


def test_too_little_room(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DISK", 2**60)
    monkeypatch.setattr(doctor, "MEMORY_TO_START", 2**60)
    (disk,) = faults(doctor.disk, config)
    assert "COURSE_HOME" in disk.fix
    (memory,) = faults(doctor.memory, config)
    assert "are needed" in memory.text


def test_a_file_that_does_not_import_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "good.py").write_text(
        '"""good"""\nfrom airflow.sdk import DAG\ndag = DAG("good", schedule=None)\n'
    )
    (dags / "bad.py").write_text("import airflow\n# a dag\nraise ValueError('planted')\n")
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COURSE_DAGS_FOLDER", str(dags))
    found = import_errors(Config())
    assert found.dags == ["good"]
    assert found.errors == {"bad.py": "ValueError: planted"}
    # It looks, and leaves nothing.
    assert not (tmp_path / "home").exists()


def test_the_lock_belongs_to_the_requirements() -> None:
    assert differences(REPOSITORY / "requirements.txt", REPOSITORY / "requirements.in").lock == []
