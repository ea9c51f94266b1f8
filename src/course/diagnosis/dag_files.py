"""DAG files whose DAGs do not show up in the UI, and why."""

import ast
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from course.api import Airflow
from course.config import Config
from course.diagnosis.bundles import Hidden, folders, scan
from course.finding import Finding
from course.state import State
from course.supervision import Supervisor

SETTLED = 120
"""Seconds after its last change, and after a start, by which Airflow has surely read a file."""

MAKERS = ("dag", "DAG", "asset")
"""Names of ``airflow.sdk`` by which a file makes DAGs."""


def check(config: Config, state: State, airflow: Airflow) -> Iterator[Finding]:
    """One finding for each file that seems to define a DAG and shows none."""
    errors = airflow.import_errors()
    shown = {(dag["bundle_name"], dag["relative_fileloc"]) for dag in _dags(airflow)}
    bundles = folders(config, state)
    scans = scan(config, state, bundles.values())
    started = next(s.start for s in Supervisor(state).statuses() if s.name == "dag-processor")
    for bundle, folder in bundles.items():
        failed = {e["filename"]: e["stack_trace"] for e in errors if e["bundle_name"] == bundle}
        # The files of dags/ are imported by another check of the doctor, which needs no stack.
        if folder != config.dags.resolve():
            yield from (_not_imported(folder / file, trace) for file, trace in failed.items())
        found = scans[folder]
        yield from (_hidden(hidden) for hidden in found.hidden if defines(Path(hidden.file)))
        yield from (_wordless(Path(file)) for file in found.wordless if _speaks_of_dags(Path(file)))
        for file in map(Path, found.read):
            name = str(file.relative_to(folder))
            settled = time.time() - max(started, file.stat().st_mtime) > SETTLED
            if settled and name not in failed and (bundle, name) not in shown and defines(file):
                yield _empty(file)


def _dags(airflow: Airflow) -> Iterator[dict[str, Any]]:
    """Every DAG that the UI lists."""
    offset = 0
    while page := airflow.request(
        "GET", "/api/v2/dags", params={"limit": 100, "offset": offset, "exclude_stale": True}
    )["dags"]:
        yield from page
        offset += len(page)


def _not_imported(file: Path, trace: str) -> Finding:
    last = trace.strip().splitlines()[-1]
    return Finding(
        text=f"{_short(file)} does not import, so its DAGs do not show up: {last}",
        fix=f"mend {_short(file)}; Airflow reads it again at once",
    )


def _hidden(hidden: Hidden) -> Finding:
    ignore = _short(Path(hidden.ignore_file))
    return Finding(
        text=f"{_short(Path(hidden.file))} defines {', '.join(defines(Path(hidden.file)))} and "
        f"does not show up: line {hidden.line} of {ignore}, {hidden.pattern}, hides it",
        fix=f"remove line {hidden.line} of {ignore} or make it narrower; "
        "Airflow finds the file within seconds",
    )


def _wordless(file: Path) -> Finding:
    return Finding(
        text=f"{_short(file)} is not read, so its DAGs do not show up: Airflow opens only files "
        "in which the words airflow and dag (or asset) stand",
        fix=f"echo '# airflow dag' >> {_short(file)}",
    )


def _empty(file: Path) -> Finding:
    names = ", ".join(defines(file))
    return Finding(
        text=f"{_short(file)} imports, but no DAG comes from it: {names} is never called, "
        "or another file has a DAG of the same id",
        fix=f"call {names}() at the end of {_short(file)}, or give it a dag_id of its own",
    )


def defines(file: Path) -> list[str]:
    """Names of the functions and variables of a file that are meant to be DAGs, not running it."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        # Airflow reports it as an import error, with the line.
        return []
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "airflow"
        for alias in node.names
        if alias.name in MAKERS
    }
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found += [node.name for call in node.decorator_list if _name(call) in imported]
        elif isinstance(node, ast.Assign) and _name(node.value) in imported:
            found += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.With):
            names = [_name(item.context_expr) for item in node.items]
            found += [name for name in names if name in imported]
    return found


def _name(node: ast.expr) -> str:
    """The name that is used or called, without what stands before a dot."""
    if isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _speaks_of_dags(file: Path) -> bool:
    """Whether a file that does not say airflow calls something of which the name holds dag."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return False
    calls = [node.value for node in tree.body if isinstance(node, ast.Expr | ast.Assign)]
    return any(isinstance(call, ast.Call) and "dag" in ast.unparse(call).lower() for call in calls)


def _short(path: Path) -> str:
    """A path as a person would type it here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
