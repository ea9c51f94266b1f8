"""The folders from which Airflow reads DAG files, and which of their files it reads."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from course.config import Config
from course.environment import client_environment
from course.errors import CourseError
from course.state import State

BUNDLES = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"


class Hidden(BaseModel):
    """A file that a line of an ``.airflowignore`` hides."""

    file: str
    ignore_file: str
    line: int
    pattern: str


class Scan(BaseModel):
    """The Python files below one folder; all paths are absolute."""

    read: list[str]
    hidden: list[Hidden]
    wordless: list[str]


def folders(config: Config, state: State) -> dict[str, Path]:
    """The local bundles of the stack: name and folder of those that exist."""
    listed = json.loads(client_environment(config, state).get(BUNDLES, "[]"))
    found = {
        entry["name"]: Path(entry["kwargs"].get("path", config.dags)).resolve()
        for entry in listed
        if entry["classpath"].endswith("LocalDagBundle")
    } or {"dags-folder": config.dags.resolve()}
    return {name: folder for name, folder in found.items() if folder.is_dir()}


def scan(config: Config, state: State, places: Iterable[Path]) -> dict[Path, Scan]:
    """Which files of each folder Airflow reads, in Airflow's own opinion."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-m", "course.diagnosis.bundles", *map(str, places)],
            # The configuration file that Airflow writes belongs to nobody here.
            env={**client_environment(config, state), "AIRFLOW_HOME": home},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise CourseError(f"The DAG files could not be listed: {last}", "make setup")
    answer = json.loads(done.stdout.splitlines()[-1])
    return {Path(folder): Scan.model_validate(found) for folder, found in answer.items()}


def main(folder: Path) -> Scan:
    """Runs in the process of its own: only that one pays for these imports."""
    from airflow._shared.module_loading.file_discovery import find_path_from_directory
    from airflow.configuration import conf
    from airflow.utils.file import might_contain_dag

    syntax = conf.get_mandatory_value("core", "dag_ignore_file_syntax")
    safe = conf.getboolean("core", "dag_discovery_safe_mode")
    seen = {str(path) for path in find_path_from_directory(folder, ".airflowignore", syntax)}
    files = {str(path) for path in folder.rglob("*.py") if "__pycache__" not in path.parts}
    read = {path for path in files & seen if might_contain_dag(path, safe)}
    out_of_sight = [_hiding(Path(path), folder, syntax) for path in sorted(files - seen)]
    hidden = [found for found in out_of_sight if found]
    return Scan(read=sorted(read), hidden=hidden, wordless=sorted((files & seen) - read))


def _hiding(file: Path, folder: Path, syntax: str) -> Hidden | None:
    """The line that hides a file or a folder above it, by Airflow's own rules."""
    from airflow._shared.module_loading import file_discovery

    rule: Any = (
        file_discovery._RegexpIgnoreRule if syntax == "regexp" else file_discovery._GlobIgnoreRule
    )
    places = [place for place in (file, *file.parents) if place.is_relative_to(folder)]
    for depth, place in enumerate(places[1:], start=1):
        ignore = place / ".airflowignore"
        lines = ignore.read_text("utf-8").splitlines() if ignore.is_file() else []
        for number, line in enumerate(lines, start=1):
            pattern = line.partition("#")[0].rstrip()
            compiled = rule.compile(pattern, folder, ignore) if pattern else None
            # A file holds for what lies below it, not for its own folder.
            if compiled and any(rule.match(below, [compiled]) for below in places[:depth]):
                return Hidden(file=str(file), ignore_file=str(ignore), line=number, pattern=pattern)
    return None


if __name__ == "__main__":
    print(json.dumps({folder: main(Path(folder)).model_dump() for folder in sys.argv[1:]}))
