"""The migration page: both sides of every row are run against the Airflow that is installed.

One fresh process does all that Airflow has to do (this file, run as a program), with a home and a
database of its own; the tests then look at what each side gave.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import re
import subprocess
import sys
import textwrap
import uuid
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from course.migration import IN_A_DAG_FILE, Row, rows
from course.migration import ROWS as DATA

ROWS = rows()
SIDES = ("old", "new")
HEAD = """\
from datetime import datetime, timedelta
from pathlib import Path

from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import (
    DAG,
    Asset,
    AssetOrTimeSchedule,
    AsyncCallback,
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    DeadlineAlert,
    DeadlineReference,
    task,
)

flights = Asset("s3://lake/flights")
path = Path("model.joblib")
"""


@dataclass
class Side:
    """What became of one side of a row."""

    error: str = ""
    warnings: list[str] = field(default_factory=list)
    value: str = ""
    """What it gave, as JSON."""


# What is run ---------------------------------------------------------------------------------


def dag_file(probe: str, code: str, dag_id: str = "row") -> str:
    """The DAG file in which an argument, an operator or the body of a task stands."""
    if probe == "import":
        return code
    if probe in {"task", "undated task", "worker"}:
        body = textwrap.indent(code, " " * 8)
        head = f'{HEAD}\nwith DAG("{dag_id}"):\n\n    @task\n    def t(**context):\n'
        return f"{head}{body}\n\n    t()\n"
    if probe in {"template", "undated template"}:
        probe, code = "operator", f"BashOperator(bash_command={code!r})"
    argument = f"    {code},\n" if probe == "dag argument" and code else ""
    if "start_date" not in code:
        argument += "    start_date=datetime(2024, 1, 1),\n"
    head = f'{HEAD}\nwith DAG(\n    "{dag_id}",\n{argument}):\n'
    if probe == "operator":
        name, rest = code.split("(", 1)
        named = "" if "task_id=" in rest else 'task_id="t", '
        return f"{head}    {name}({named}{rest}\n"
    argument = f"        {code},\n" if probe == "task argument" and code else ""
    return f'{head}    EmptyOperator(\n        task_id="t",\n{argument}    )\n'


# In the process of its own -------------------------------------------------------------------


@contextlib.contextmanager
def watched(side: Side) -> Iterator[None]:
    """Keep the warnings and the error of a block."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            yield
        except BaseException as error:
            side.error = f"{type(error).__name__}: {error}"
    side.warnings += [
        str(each.message)
        for each in seen
        if issubclass(each.category, DeprecationWarning | FutureWarning | UserWarning)
    ]


class Probes:
    """Every way in which a side is run; each takes all its sides at once."""

    def __init__(self, every: list[Row], folder: Path) -> None:
        self.folder = folder
        self.sides: dict[tuple[str, str], Side] = defaultdict(Side)
        self.work: dict[str, list[tuple[Row, str, str]]] = defaultdict(list)
        for row in every:
            for name in SIDES:
                if name == "new" and not row.code("new") and "argument" not in row.how("new"):
                    continue
                self.work[row.how(name)].append((row, name, row.code(name)))

    def run(self) -> dict[str, dict[str, Any]]:
        """All of them: those that fork before those that start threads."""
        for step in (
            self.imports,
            self.worker,
            self.parse,
            self.command_line,
            self.configuration,
            self.ignored,
            self.executors,
            self.plugins,
            self.tasks,
            self.web,
        ):
            step()
        done: dict[str, dict[str, Any]] = defaultdict(dict)
        for (row_id, name), side in self.sides.items():
            done[row_id][name] = asdict(side)
        return done

    def each(self, *probes: str) -> Iterator[tuple[Row, str, str, Side]]:
        for probe in probes:
            for row, name, code in self.work[probe]:
                yield row, name, code, self.sides[row.id, name]

    def imports(self) -> None:
        found: dict[tuple[str, str], list[Any]] = {}
        for row, name, code, side in self.each("import"):
            space: dict[str, Any] = {}
            with watched(side):
                exec(code, space)  # noqa: S102
            names = code.split(" import ")[1].split(", ")
            found[row.id, name] = [space.get(each) for each in names]
            if name == "new":
                pairs = zip(found[row.id, "old"], found[row.id, "new"], strict=True)
                side.value = json.dumps(all(old is new for old, new in pairs))

    def worker(self) -> None:
        """One task that tries all old bodies, in a process forked as a worker forks it."""
        import httpx
        from airflow.sdk.api import client
        from airflow.sdk.api.datamodels._generated import BundleInfo, TaskInstance
        from airflow.sdk.execution_time.supervisor import supervise_task

        out = self.folder / "worker.json"
        bodies = {row.id: code for row, _, code, _ in self.each("worker")}
        (self.folder / "dags" / "in_a_worker.py").write_text(
            f"""\
import json
from pathlib import Path
from airflow.sdk import DAG, task

with DAG("in_a_worker"):

    @task
    def attempts():
        errors = {{}}
        for name, body in {bodies!r}.items():
            try:
                exec(body, {{}})
                errors[name] = ""
            except BaseException as error:
                errors[name] = f"{{type(error).__name__}}: {{error}}"
        Path({str(out)!r}).write_text(json.dumps(errors))

    attempts()
""",
            "utf-8",
        )
        no_server = client.noop_handler

        def answer(request: httpx.Request) -> httpx.Response:
            # The answer that Airflow's dry run gives to the worker lacks what a run must have.
            known = no_server(request)
            if not request.url.path.endswith("/run"):
                return known
            content = known.json()
            for name in ("data_interval_start", "data_interval_end", "end_date", "partition_key"):
                content["dag_run"].setdefault(name, None)
            content["dag_run"].setdefault("state", "running")
            return httpx.Response(200, json=content)

        client.noop_handler = answer  # type: ignore[assignment]
        supervise_task(
            ti=TaskInstance(
                id=uuid.uuid4(),
                task_id="attempts",
                dag_id="in_a_worker",
                run_id="once",
                try_number=1,
                map_index=-1,
                dag_version_id=uuid.uuid4(),
                pool_slots=1,
                queue="default",
                priority_weight=1,
            ),
            bundle_info=BundleInfo(name="dags-folder", version=None),
            dag_rel_path="in_a_worker.py",
            token="",
            dry_run=True,
            log_path=str(self.folder / "worker.log"),
        )
        client.noop_handler = no_server
        errors = json.loads(out.read_text("utf-8"))
        for row, _, _, side in self.each("worker"):
            side.error = errors[row.id]

    def parse(self) -> None:
        for row, _, code, side in self.each("dag argument", "task argument", "operator"):
            bag = self._parsed(dag_file(row.how(_), code), side)
            if side.error:
                continue
            if row.look:
                side.value = str(eval(row.look, {"dag": bag.dags["row"]}))  # noqa: S307
            elif row.kind == "silent":
                bare = self._parsed(dag_file(row.how(_), ""), Side())
                side.value = json.dumps(_told(bag) == _told(bare))

    def _parsed(self, text: str, side: Side) -> Any:
        from airflow.dag_processing.dagbag import DagBag

        # The scheduler is told the name and the text of the file as well: always the same name.
        path = self.folder / "row.py"
        path.write_text(text, "utf-8")
        with watched(side):
            bag = DagBag(str(path))
        side.error = "\n".join([side.error, *bag.import_errors.values()]).strip()
        return bag

    def command_line(self) -> None:
        from airflow.cli.cli_parser import get_parser

        parser = get_parser()
        for _, _, code, side in self.each("cli"):
            said = io.StringIO()
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said), watched(side):
                parser.parse_args(code.split()[1:])
            if side.error:
                side.error = said.getvalue()

    def configuration(self) -> None:
        from airflow.cli.cli_parser import get_parser
        from airflow.configuration import conf

        for row, name, code, side in self.each("config"):
            look = (row.look or row.code("new").split("=")[0]).split(".", 1)
            key, _, value = code.partition("=")
            section, option = key.split(".", 1) if key else ("", "")
            before = conf.get(*look, fallback=None)
            patch = pytest.MonkeyPatch()
            if key:
                patch.setenv(f"AIRFLOW__{section.upper()}__{option.upper()}", value)
            with watched(side):
                side.value = str(conf.get(*look))
            if row.kind == "silent" and name == "old":
                side.value = json.dumps(side.value == before != value)
            if key and name == "old":
                said = io.StringIO()
                arguments = f"config lint --section {section} --option {option}".split()
                with contextlib.redirect_stdout(said):
                    found = get_parser().parse_args(arguments)
                    found.func(found)
                if option in said.getvalue():
                    side.warnings.append("config lint finds it")
            patch.undo()

    def ignored(self) -> None:
        from airflow.utils.file import list_py_file_paths

        for row, name, code, side in self.each("ignore"):
            place = self.folder / f"{row.id}_{name}"
            place.mkdir()
            (place / ".airflowignore").write_text(code + "\n", "utf-8")
            (place / "train_draft.py").write_text("from airflow.sdk import DAG  # dag\n", "utf-8")
            side.value = str(len(list_py_file_paths(str(place))))

    def executors(self) -> None:
        from airflow.executors import executor_loader

        for _, _, code, side in self.each("executor"):
            with pytest.MonkeyPatch().context() as patch:
                patch.setenv("AIRFLOW__CORE__EXECUTOR", code)
                _forget(executor_loader)
                with watched(side):
                    loaded = executor_loader.ExecutorLoader.init_executors()
                    side.value = ",".join(type(each).__name__ for each in loaded)
        _forget(executor_loader)

    def plugins(self) -> None:
        """What the API server does with old plugins when it starts."""
        from airflow import plugins_manager, settings
        from airflow.api_fastapi.core_api.app import init_flask_plugins
        from fastapi import FastAPI

        for row, name, code, side in self.each("plugin"):
            if name == "new":
                continue  # see `web`
            place = self.folder / row.id
            place.mkdir()
            (place / "plugin.py").write_text(PLUGIN.format(id=row.id, line=code), "utf-8")
            with pytest.MonkeyPatch().context() as patch:
                patch.setattr(settings, "PLUGINS_FOLDER", str(place))
                _uncached(plugins_manager)
                with watched(side):
                    init_flask_plugins(FastAPI())
                names = [each.name for each in plugins_manager._get_plugins()[0]]
                assert f"plugin of {row.id}" in names, plugins_manager.get_import_errors()
        _uncached(plugins_manager)

    def tasks(self) -> None:
        """Two runs, one with a logical date and one without, that hold all tasks and templates."""
        for prefix, date in (("", datetime(2024, 3, 5, tzinfo=UTC)), ("undated ", None)):
            sides = list(self.each(f"{prefix}task", f"{prefix}template"))
            if date:
                # The body that fails in a worker, once more, in `dag.test()`.
                sides += [
                    (row, "tested", code, self.sides[row.id, "tested"])
                    for row, _, code, _ in self.each("worker")
                    if row.id == "create-session"
                ]
            self._run_tasks(f"migration_{prefix.strip() or 'dated'}", sides, date)

    def _run_tasks(
        self, dag_id: str, sides: list[tuple[Row, str, str, Side]], date: datetime | None
    ) -> None:
        from airflow.dag_processing.dagbag import DagBag

        out = self.folder / dag_id
        out.mkdir()
        lines = [HEAD, BODIES.format(out=str(out), dag_id=dag_id)]
        for row, name, code, _ in sides:
            task_id = f"{row.id}__{name}"
            if row.how(name).endswith("template"):
                lines.append(f"    template({task_id!r}, {code!r})\n")
            else:
                function = task_id.replace("-", "_")
                body = textwrap.indent(code, " " * 8)
                lines.append(f"    def {function}(context):\n{body}\n")
                lines.append(f"    body({task_id!r}, {function})\n")
        path = self.folder / "dags" / f"{dag_id}.py"
        path.write_text("\n".join(lines), "utf-8")
        bag = DagBag(str(path))
        assert not bag.import_errors, bag.import_errors
        run = bag.dags[dag_id].test(logical_date=date)
        states = {each.task_id: str(each.state) for each in run.get_task_instances()}
        for row, name, _, side in sides:
            task_id = f"{row.id}__{name}"
            for file in out.glob(f"{task_id}.*"):
                content = json.loads(file.read_text("utf-8"))
                for key, value in content.items():
                    setattr(side, key, value)
            if (states[task_id] == "success") != (not side.error):
                side.error = f"the task is {states[task_id]}, its error {side.error!r}"

    def web(self) -> None:
        """The real API server's application, with a user who has a password, and two plugins."""
        from airflow.api_fastapi.app import create_app
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
        from fastapi.testclient import TestClient

        path = self.folder / "dags" / "train.py"
        path.write_text(f'{HEAD}\nwith DAG("train", schedule=None):\n    pass\n', "utf-8")
        sync_bag_to_db(DagBag(str(path)), "dags-folder", None)
        with TestClient(create_app(), raise_server_exceptions=False) as server:
            login = {"username": "ann", "password": "secret"}
            token = server.post("/auth/token", json=login).json()["access_token"]
            header = {"Authorization": f"Bearer {token}"}

            def ask(code: str, side: Side) -> None:
                method, url, body = [*code.split(" ", 2), ""][:3]
                if method == "BASIC":
                    answer = server.get(url, auth=("ann", "secret"))
                else:
                    content = json.loads(body) if body else None
                    answer = server.request(method, url, json=content, headers=header)
                if answer.status_code >= 400:
                    side.error = f"{answer.status_code} {_reason(answer.json())}"
                    return
                side.value = answer.text

            for row, _, code, side in self.each("http"):
                ask(code, side)
                if row.kind == "silent":
                    unfiltered = Side()
                    ask(code.split("?")[0], unfiltered)
                    side.value = json.dumps(_total(side) == _total(unfiltered) > 0)
            for row, name, code, side in self.each("plugin"):
                if name == "new":
                    page = server.get(f"/{row.id}/page").text
                    listed = server.get("/api/v2/plugins", headers=header).text
                    linked = f'"href":"/{row.id}/page"' in listed
                    side.value = json.dumps("our page" in page and linked is ("href" in code))


BODIES = """
import json
import os
import warnings


def told(task_id, ending, content):
    (Path({out!r}) / f"{{task_id}}.{{ending}}").write_text(json.dumps(content))


def failed(context):
    error = context["exception"]
    told(context["ti"].task_id, "error", {{"error": repr(error)}})


def body(task_id, function):
    def call(**context):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            try:
                value = function(context)
            finally:
                said = [str(each.message) for each in seen]
                told(task_id, "warnings", {{"warnings": said}})
        try:
            told(task_id, "value", {{"value": json.dumps(value)}})
        except TypeError:
            pass
        return value

    start >> PythonOperator(
        task_id=task_id, python_callable=call, inlets=[flights], outlets=[flights]
    )


def template(task_id, text):
    def call(rendered):
        told(task_id, "value", {{"value": json.dumps(rendered)}})

    start >> PythonOperator(task_id=task_id, python_callable=call, op_args=[text])


os.environ["AIRFLOW_CONN_LAKE"] = "s3://lake.example.org"
path = Path({out!r}) / "model.joblib"
with DAG({dag_id!r}, schedule=None, default_args={{"on_failure_callback": failed}}):

    @task
    def push(ti):
        ti.xcom_push(key="rows", value=27)
        return "pushed"

    start = push()
"""

PLUGIN = """
from airflow.plugins_manager import AirflowPlugin
from fastapi import FastAPI
from flask import Blueprint

blueprint = Blueprint("old", __name__)
view = object()
app = FastAPI()


@app.get("/page")
def page():
    return "our page"


class Plugin(AirflowPlugin):
    name = "plugin of {id}"
    {line}
"""


def _told(bag: Any) -> Any:
    """What the DAG processor tells the scheduler of a DAG."""
    from airflow.serialization.serialized_objects import DagSerialization

    told = DagSerialization.to_dict(bag.dags["row"])
    # What was written down is kept, and used when the file is parsed only.
    told["dag"].pop("default_args", None)
    return told


def _forget(module: Any) -> None:
    """Empty what a module keeps of the last time."""
    for name, value in vars(module).items():
        if name.startswith("_") and not name.startswith("__") and isinstance(value, dict | list):
            value.clear()


def _uncached(module: Any) -> None:
    """Forget what functions of a module remember."""
    for value in vars(module).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()


def _total(side: Side) -> int:
    return int(json.loads(side.value)["total_entries"])


def _reason(content: Any) -> str:
    """What an answer says is wrong."""
    detail = content.get("error") or content["detail"]
    return str(detail) if isinstance(detail, str) else str(detail[0]["msg"])


def main() -> None:
    """Run all sides; results go to a file."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("rows", type=Path)
    arguments.add_argument("folder", type=Path)
    given = arguments.parse_args()
    from airflow.utils.db import initdb

    logging.disable(logging.ERROR)
    initdb()
    every = [Row(**each) for each in json.loads(given.rows.read_text("utf-8"))]
    done = Probes(every, given.folder).run()
    (given.folder / "results.json").write_text(json.dumps(done), "utf-8")


# In the tests --------------------------------------------------------------------------------


def run(every: Iterable[Row], folder: Path) -> dict[str, dict[str, Side]]:
    """Both sides of all rows, in an Airflow that knows nothing else."""
    every = list(every)
    for name in ("dags", "plugins", "home"):
        (folder / name).mkdir()
    (folder / "rows.json").write_text(json.dumps([asdict(row) for row in every]), "utf-8")
    (folder / "passwords.json").write_text('{"ann": "secret"}', "utf-8")
    for row in every:
        if row.probe == "plugin":
            line = row.code("new").replace("/new", f"/{row.id}").replace("\n", "\n    ")
            text = PLUGIN.format(id=row.id, line=line)
            (folder / "plugins" / f"{row.id.replace('-', '_')}.py").write_text(text, "utf-8")
    environment = {name: value for name, value in os.environ.items() if "AIRFLOW" not in name}
    environment |= {
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "ann:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW__API_AUTH__JWT_SECRET": "for this test alone " * 4,
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    ended = subprocess.run(
        [sys.executable, __file__, folder / "rows.json", folder],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-4000:]
    (folder / "said.txt").write_text(ended.stdout + ended.stderr, "utf-8")
    results = json.loads((folder / "results.json").read_text("utf-8"))
    return {
        row_id: {name: Side(**side) for name, side in both.items()}
        for row_id, both in results.items()
    }


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Side]]:
    """What both sides of every row gave."""
    return run([*ROWS, *WRONG], tmp_path_factory.mktemp("migration"))


def checked(row: Row, sides: dict[str, Side]) -> None:
    """Fail unless both sides ended as the row says."""
    # One new side, that of a provider which is not installed, is shown only.
    assert set(SIDES) <= set(sides) or not row.code("new"), f"not run: {sides}"
    old, new = sides["old"], sides.get("new", Side())
    assert not new.error, f"the new side: {new.error}"
    assert not [each for each in new.warnings if _deprecated(each)], new.warnings
    deprecated = [each for each in old.warnings if _deprecated(each)]
    if row.kind == "error":
        assert row.message, "an error is quoted"
        first, _, rest = row.message.partition(" ")
        if row.probe == "http":
            assert old.error.startswith(f"{first} "), old.error
            assert rest in old.error
        else:
            assert row.message in old.error, old.error or f"no error, but {old.value!r}"
    else:
        assert not old.error, old.error
    if row.kind == "shim":
        assert row.message, "a warning is quoted"
        assert any(row.message in each for each in deprecated), old.warnings
    if row.kind == "unchanged":
        assert not deprecated, deprecated
        assert row.probe != "import" or json.loads(new.value), "not the same object"
    if row.kind in {"silent", "changed default"}:
        given(row, old, new)
        silent = [each for each in deprecated if "SLA" not in each]
        assert not silent, f"not so silent: {silent}"
    if row.kind == "silent" and row.message:
        assert any(row.message in each for each in old.warnings), old.warnings
    if row.probe == "import" and row.kind == "shim":
        assert json.loads(new.value) is row.same, "the two are not the same object"
    gives(row, old, new)


def given(row: Row, old: Side, new: Side) -> None:
    """Fail unless the old side asked for something that the new side alone does."""
    if row.probe in {"dag argument", "task argument"} and row.kind == "silent":
        assert old.value == "true", "the scheduler is told of it"
        if row.code("new"):
            assert new.value == "false", "the scheduler is not told of the new side either"
    elif row.probe in {"config", "http"} and row.kind == "silent":
        assert old.value == "true", f"it has an effect: {old.value}"
        assert row.probe != "http" or new.value == "false"
    elif row.probe != "cli":
        assert row.old_gives, "a row that ends in silence says what both sides give"
        assert row.new_gives or row.probe == "config"


def gives(row: Row, old: Side, new: Side) -> None:
    """Fail unless the sides gave what the row says, and, of an option, what was set."""
    if row.old_gives:
        assert old.value == row.old_gives
    if row.new_gives:
        assert new.value == row.new_gives
    if row.how("new") == "config":
        assert new.value == row.code("new").partition("=")[2]
    if row.probe == "config":
        if row.kind == "shim":
            assert old.value == row.code("old").partition("=")[2]
        found = "config lint finds it" in old.warnings
        assert found is row.lint, f"config lint finds it: {found}"
    if row.how("new") == "executor":
        assert new.value == row.new
    if row.how("new") == "plugin":
        assert new.value == "true", "the page is not there"


def _deprecated(warning: str) -> bool:
    return bool(re.search(r"deprecat|removed|moved to|renamed to|migrate to", warning, re.I))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_both_sides_of(row: Row, ran: dict[str, dict[str, Side]]) -> None:
    checked(row, ran[row.id])


# What ruff finds -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, str]]:
    """The AIR rules on migration that find each side in a DAG file, and what they say."""
    folder = tmp_path_factory.mktemp("ruff")
    begins: dict[str, int] = {}
    for row in ROWS:
        for name in SIDES:
            if row.how(name) in IN_A_DAG_FILE and row.code(name):
                text = dag_file(row.how(name), row.code(name))
                if row.how(name) == "import":
                    # An import is found where its name is used.
                    text += "".join(f"\n{each}()" for each in text.split(" import ")[1].split(", "))
                else:
                    begins[f"{row.id}__{name}"] = len(HEAD.splitlines())
                (folder / f"{row.id}__{name}.py").write_text(text + "\n", "utf-8")
    ended = subprocess.run(
        [
            Path(sys.executable).with_name("ruff"),
            *("check", "--isolated", "--no-cache", "--select", "AIR3"),
            *("--output-format", "json", folder),
        ],
        capture_output=True,
        text=True,
    )
    result: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for each in json.loads(ended.stdout):
        stem = Path(each["filename"]).stem
        assert each["location"]["row"] > begins.get(stem, 0), f"ruff finds something else: {each}"
        row_id, _, name = stem.partition("__")
        result[row_id, name][each["code"]] = each["message"]
    return result


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.probe in IN_A_DAG_FILE], ids=lambda row: row.id
)
def test_ruff_finds(row: Row, found: dict[tuple[str, str], dict[str, str]]) -> None:
    assert " ".join(sorted(found[row.id, "old"])) == row.ruff
    if row.new != row.old:
        assert not found[row.id, "new"], "ruff finds the new side"


@pytest.mark.parametrize("row_id", ["dataset", "sla"])
def test_ruff_says_of_what_is_gone_that_it_still_works(
    row_id: str, found: dict[tuple[str, str], dict[str, str]]
) -> None:
    assert _BY_ID[row_id].kind in {"error", "silent"}
    assert "It still works in Airflow 3.0" in found[row_id, "old"]["AIR311"]


def test_ruff_mends_imports(tmp_path: Path) -> None:
    row = next(row for row in ROWS if row.id == "bash-operator")
    path = tmp_path / "old_dag.py"
    path.write_text(f'{row.old}\n\nBashOperator(task_id="t", bash_command="date")\n', "utf-8")
    command = "check --isolated --no-cache --quiet --select AIR312 --fix --unsafe-fixes"
    ruff = Path(sys.executable).with_name("ruff")
    assert subprocess.run([ruff, *command.split(), path]).returncode == 0
    assert row.new in path.read_text("utf-8")
    assert row.old not in path.read_text("utf-8")


def test_dag_test_is_more_lenient_than_a_worker(ran: dict[str, dict[str, Side]]) -> None:
    assert "not allowed" in ran["create-session"]["old"].error
    assert ran["create-session"]["tested"] == Side(value="null")


# The page itself -----------------------------------------------------------------------------


def test_every_group_is_on_the_page_and_every_id_is_once() -> None:
    page = DATA.with_suffix(".md").read_text("utf-8")
    shown = re.findall(r'migration_table\("([^"]+)"\)', page)
    assert shown == list(dict.fromkeys(row.group for row in ROWS))
    assert len({row.id for row in ROWS}) == len(ROWS) >= 45


# Rows that are wrong, each in its own way; that they fail shows that a row can.
_BY_ID = {row.id: row for row in ROWS}


def _wrong(row_id: str, why: str, **changes: Any) -> Row:
    return replace(_BY_ID[row_id], id=f"wrong-{row_id}-{why}", **changes)


WRONG = [
    _wrong("schedule-interval", "is-no-shim", kind="shim"),
    _wrong("schedule-interval", "says-something-else", message="has no attribute"),
    _wrong("schedule-interval", "new-does-not-parse", new='schedul="@daily"'),
    _wrong("sla", "has-an-effect", old="max_active_tis_per_dag=1"),
    _wrong("sla", "is-an-error", kind="error"),
    _wrong("catchup", "old-default", old_gives="True"),
    _wrong("bash-operator", "is-an-error", kind="error", message="No module named"),
    _wrong("bash-operator", "is-unchanged", kind="unchanged"),
    _wrong("bash-operator", "new-warns", new="from airflow.operators.bash import BashOperator"),
    _wrong(
        "bash-operator",
        "is-another-class",
        new="from airflow.providers.standard.operators.python import PythonOperator",
    ),
    _wrong("dummy-operator", "exists", old="from airflow.operators.empty import EmptyOperator"),
    _wrong("context-execution-date", "exists", old='return str(context["logical_date"])'),
    _wrong("context-execution-date", "new-fails", new='return str(context["next_ds"])'),
    _wrong("template-next-ds", "new-fails", new="{{ prev_ds }}"),
    _wrong("undated-ds", "exists", old="{{ run_id }}"),
    _wrong("xcom-pull-without-task", "finds-it", old_gives="27"),
    _wrong("create-session", "no-database", old="pass"),
    _wrong("api-v1", "other-status", message="401 /api/v1 has been removed in Airflow 3"),
    _wrong("api-v1", "old-exists", old="GET /api/v2/version"),
    _wrong(
        "execution-date-filter",
        "filters",
        old_code="GET /api/v2/dags/~/dagRuns?logical_date_gte=2999-01-01T00:00:00Z",
    ),
    _wrong("db-init", "exists", old="airflow db migrate"),
    _wrong("webserver", "new-is-gone", new="airflow webserver"),
    _wrong("dag-dir-list-interval", "is-silent", kind="silent", message=""),
    _wrong("min-file-process-interval", "works", kind="shim", message="has been moved"),
    _wrong("parsing-processes", "new-has-no-effect", new="dag_processor.nonsense=1"),
    _wrong("core-sql-alchemy-conn", "lint-says-so", lint=not _BY_ID["core-sql-alchemy-conn"].lint),
    _wrong("airflowignore", "still-ignores", old_gives="0"),
    _wrong("sequential-executor", "exists", old="LocalExecutor"),
    _wrong("flask-blueprint", "is-silent", kind="silent", message=""),
    _wrong("flask-blueprint", "new-has-no-page", new="fastapi_apps = []"),
]


@pytest.mark.parametrize("row", WRONG, ids=lambda row: row.id)
def test_a_row_that_is_wrong_is_found(row: Row, ran: dict[str, dict[str, Side]]) -> None:
    with pytest.raises(AssertionError):
        checked(row, ran[row.id])


if __name__ == "__main__":
    main()
