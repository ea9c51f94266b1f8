"""The environment of every process of the stack: it alone makes the stack isolated."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from course.config import BIN, REPOSITORY, Config
from course.files import write_atomic
from course.processes import STACK
from course.state import ADMIN, State
from flightdelays.settings import Settings

BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"
EXERCISES = REPOSITORY / "exercises"
# Its DAG file holds the function that a trigger finds by the name of its module.
IMPORTABLE = EXERCISES / "ex03_event_driven_training"
SECRET_WORDS = ("SECRET", "FERNET", "PASSWORD", "TOKEN", "KEY", "SQL_ALCHEMY_CONN", "CONN_")

# Values that a person may well want to change; theirs win.
TUNABLE = {
    # Two cores run about four tasks at a time; the stock 32 makes each of them crawl.
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__API__WORKERS": "1",
    # New files show after 5 s. A changed file is parsed at once whatever the second value is,
    # so that one only says how often unchanged files cost processor time.
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
    # Without this, idle OpenMP threads of one training spin on the cores of the others.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Workers are forks of the scheduler, and threads do not survive a fork.
    "OPENBLAS_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    # Of short tasks four in ten were noticed to have ended only at the next heartbeat, 5 s later.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    # A scheduler that is back at once takes the other for alive for 30 s more, and would look for
    # what that one left behind only 5 minutes later.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "20",
    # Airflow reads .airflowignore either way; the other one warns in the log of each task.
    "AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX": "regexp",
    # Nothing reports home.
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "False",
    "FEAST_USAGE": "False",
    "DO_NOT_TRACK": "1",
    # The job runner of MLflow serves its language-model features: 400 MB that nobody uses here.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def database_uri(state: State, database: str) -> str:
    """SQLAlchemy address of a database of the embedded PostgreSQL: a Unix socket, no port."""
    return f"postgresql+psycopg2://postgres:@/{database}?host={state.runtime}/pg"


def passwords_file(config: Config) -> Path:
    """Where Airflow's simple auth manager reads the password of the only user."""
    return config.root / "passwords.json"


def write_passwords(config: Config, state: State) -> None:
    """Write the generated password where Airflow reads it, for the owner only."""
    content = json.dumps({ADMIN: state.password.get_secret_value()}) + "\n"
    write_atomic(passwords_file(config), content, mode=0o600)


def kafka_connections(servers: str) -> dict[str, dict[str, object]]:
    """Airflow's connections to Kafka by id: one for each group of consumers, one to send."""
    kafka = {"bootstrap.servers": servers}

    def consumer(group: str) -> dict[str, object]:
        return {
            "conn_type": "kafka",
            "extra": {
                **kafka,
                "group.id": group,
                # Whoever reads commits, once what was read is safe.
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                # How long a group waits for a member that died without a word.
                "session.timeout.ms": 6000,
            },
        }

    return {
        "kafka_default": {"conn_type": "kafka", "extra": kafka},
        "kafka_retrain_on_event": consumer("retrain_on_event"),
        "kafka_await_training_request": consumer("await_training_request"),
        "kafka_ex03": consumer("ex03"),
    }


def connections(config: Config, state: State) -> dict[str, str]:
    """Airflow's connections as environment variables. A caller's own win."""
    # Another address here, and the alerts reach a webhook, Slack, e-mail, …
    alerts = config.root / "alerts.jsonl"
    found: dict[str, dict[str, object]] = {
        **kafka_connections(state.bootstrap_servers),
        "apprise_default": {
            "conn_type": "apprise",
            "extra": {"config": {"path": f"jsonl://localhost{quote(str(alerts))}", "tag": "all"}},
        },
        "fs_incoming": {"conn_type": "fs", "extra": {"path": str(config.incoming)}},
    }
    return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in found.items()}


def bundles(config: Config) -> str:
    """Where the DAG files lie: the pipelines, the exercises, and what a lab plants."""
    places = {"dags": {}, "exercises": {"path": EXERCISES}, "labs": {"path": config.labs}}
    return json.dumps(
        [
            {
                "name": name,
                "classpath": BUNDLE,
                "kwargs": {key: str(path) for key, path in kwargs.items()},
            }
            for name, kwargs in places.items()
        ]
    )


def _own(config: Config, state: State) -> dict[str, str]:
    """Values that make the stack this stack; they win over the environment of the caller."""
    airflow = state.url("airflow")
    home = config.root / "airflow"
    return {
        STACK: state.id,
        # Airflow renames its processes; without this the new name overwrites their environment,
        # and with it the marker by which leftovers are found.
        "SPT_NOENV": "1",
        "COURSE_HOME": str(config.root),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(config.dags.resolve()),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(config.plugins.resolve()),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__FERNET_KEY": state.fernet_key.get_secret_value(),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{airflow}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file(config)),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_uri(state, "airflow"),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(state.ports["airflow"]),
        "AIRFLOW__API__BASE_URL": airflow,
        "AIRFLOW__API__SECRET_KEY": state.api_secret.get_secret_value(),
        "AIRFLOW__API_AUTH__JWT_SECRET": state.jwt_secret.get_secret_value(),
        "KAFKA_BOOTSTRAP_SERVERS": state.bootstrap_servers,
        # Sent by UDP: nobody needs to listen, and whoever does gets them.
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(state.ports["statsd"]),
    }


def _places(config: Config, state: State) -> dict[str, str]:
    """Where code is read from and data are written; a value in the caller's environment wins."""
    root = config.root
    return {
        "FLIGHTDELAYS_LAKE": str(config.lake),
        "FLIGHTDELAYS_SITE": str(root / "site"),
        "FLIGHTDELAYS_SITE_URL": state.url("site"),
        "FLIGHTDELAYS_FEAST_REGISTRY": str(root / "feast" / "registry.db"),
        "FLIGHTDELAYS_FEAST_ONLINE": str(root / "feast" / "online.db"),
        "FLIGHTDELAYS_MLFLOW_TRACKING_URI": state.url("mlflow"),
        "FLIGHTDELAYS_OPTUNA_STORAGE": database_uri(state, "optuna"),
        "FLIGHTDELAYS_INCOMING": str(config.incoming),
        "SENTIMENT_TWEETS": str(config.tweets),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": bundles(config),
    }


def stack_environment(config: Config, state: State) -> dict[str, str]:
    """Complete environment for a process that the supervisor starts."""
    inherited = {name: value for name, value in os.environ.items() if name != "AIRFLOW_CONFIG"}
    loopback = ["127.0.0.1", "localhost", inherited.get("NO_PROXY", "")]
    no_proxy = ",".join(part for part in loopback if part)
    path = os.pathsep.join([str(BIN), inherited.get("PATH", os.defpath)])
    modules = [str(IMPORTABLE), inherited.get("PYTHONPATH", "")]
    return {
        **TUNABLE,
        **_places(config, state),
        **connections(config, state),
        **inherited,
        **_own(config, state),
        "PATH": path,
        "PYTHONPATH": os.pathsep.join(part for part in modules if part),
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
    }


def client_environment(config: Config, state: State) -> dict[str, str]:
    """Environment for a person's own commands: without the marker, or `stop` would end them."""
    environment = stack_environment(config, state)
    del environment[STACK]
    return environment


def ml_settings(config: Config, state: State) -> Settings:
    """The settings that the tasks of the stack have."""
    own: dict[str, Any] = {
        name.removeprefix("FLIGHTDELAYS_").lower(): value
        for name, value in client_environment(config, state).items()
        if name.startswith("FLIGHTDELAYS_")
    }
    return Settings(**own)


def exports(config: Config, state: State, *, secrets: bool) -> dict[str, str]:
    """The part of the environment that differs from the caller's, for ``course env``."""
    changed = {
        name: value
        for name, value in client_environment(config, state).items()
        if os.environ.get(name) != value
    }
    if secrets:
        return changed
    return {name: "***" if _is_secret(name) else value for name, value in changed.items()}


def _is_secret(name: str) -> bool:
    return any(word in name for word in SECRET_WORDS) and not name.endswith("_FILE")
