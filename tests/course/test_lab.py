"""The command `course lab`, and what of the diagnosis needs no running stack."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from course import doctor, pitfalls
from course.cli import app
from course.config import Config
from course.diagnosis import diagnose
from course.diagnosis.bundles import folders, scan
from course.diagnosis.dag_files import defines
from course.labs import LABS
from course.labs.scene import SOURCE
from course.state import State

HEAD = "from airflow.sdk import DAG, asset, dag\n"


def lab(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["lab", *arguments])
    return done.exit_code, done.output


def test_without_a_name_all_are_listed() -> None:
    code, output = lab()
    assert code == 0
    listed = re.findall(r"^  make lab NAME=(\S+) +\S", output, re.MULTILINE)
    assert listed == [*LABS, *pitfalls.names()]
    assert len(LABS) == 4


def test_a_stack_that_does_not_run_is_one_sentence(config: Config) -> None:
    for name in LABS:
        for mend in ([], ["--mend"]):
            code, output = lab(name, *mend)
            assert code == 1
            assert output.strip() == "✗ The stack is not running.\n  → make start"
    assert not config.root.exists()


def test_what_cannot_be_meant_is_refused() -> None:
    code, output = lab("no-such-lab")
    assert (code, "There is no lab 'no-such-lab'." in output) == (1, True)
    code, output = lab("--mend")
    assert (code, "Which lab is to be undone?" in output) == (1, True)
    code, output = lab(pitfalls.names()[0], "--mend")
    assert (code, "there is nothing to undo" in output) == (1, True)


@pytest.mark.parametrize("name", LABS)
def test_each_lab_has_its_page_and_its_files(name: str) -> None:
    page = (SOURCE / name / "README.md").read_text("utf-8")
    assert f"make lab NAME={name}\n" in page
    assert f"make lab NAME={name} MEND=1" in page
    for part in ("Symptom", "How to look", "Cause", "The step that mends it", "How to make it imp"):
        assert f"**{part}" in page
    planted = "".join(path.read_text("utf-8") for path in (SOURCE / name / "planted").glob("*.py"))
    assert set(re.findall(r'dag_id="(\w+)"', planted)) == set(LABS[name].dag_ids)


def test_the_diagnosis_is_part_of_the_doctor_and_silent_without_a_stack(config: Config) -> None:
    assert diagnose in doctor.CHECKS
    assert list(diagnose(config)) == []


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("@dag\ndef one(): ...\n", ["one"]),
        ("@dag(schedule=None)\ndef two(): ...\ntwo()\n", ["two"]),
        ("three = DAG('three')\n", ["three"]),
        ("with DAG('four') as d: ...\n", ["DAG"]),
        ("@asset(schedule=None)\ndef five(): ...\n", ["five"]),
        ("def helper(dag): return dag\n", []),
        ("def broken(:\n", []),
    ],
)
def test_what_is_meant_to_be_a_dag(tmp_path: Path, code: str, names: list[str]) -> None:
    file = tmp_path / "file.py"
    file.write_text(HEAD + code)
    assert defines(file) == names


@pytest.mark.parametrize(("syntax", "pattern"), [("regexp", "test"), ("glob", "*test*")])
def test_what_airflow_reads_of_a_folder(
    tmp_path: Path,
    config: Config,
    state: State,
    monkeypatch: pytest.MonkeyPatch,
    syntax: str,
    pattern: str,
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX", syntax)
    deep = tmp_path / "dags" / "deep"
    deep.mkdir(parents=True)
    ignore = tmp_path / "dags" / ".airflowignore"
    ignore.write_text(f"# tests\n\n{pattern}  # anywhere\n")
    for name, code in (("latest", HEAD), ("first", HEAD), ("quiet", "pass\n")):
        (deep / f"{name}.py").write_text(code)
    found = scan(config, state, [tmp_path / "dags"])[tmp_path / "dags"]
    assert found.read == [str(deep / "first.py")]
    assert found.wordless == [str(deep / "quiet.py")]
    (hidden,) = found.hidden
    assert hidden.file == str(deep / "latest.py")
    assert (hidden.ignore_file, hidden.line, hidden.pattern) == (str(ignore), 3, pattern)


def test_the_bundles_that_exist_are_known(config: Config, state: State) -> None:
    assert "labs" not in folders(config, state)
    config.labs.mkdir(parents=True)
    assert folders(config, state)["labs"] == config.labs
    assert folders(config, state)["dags"] == config.dags
