"""The files that the stack in containers is made of, without an engine: what they promise."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from course.components import WARM_IMPORTS
from course.config import REPOSITORY
from course.containers.seeds import connections
from course.containers.settings import PORTS, PROFILES, SECRETS
from course.containers.stack import ONCE
from course.kafka import TOPICS
from flightdelays.settings import Settings

TEXT = (REPOSITORY / "docker-compose.yaml").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text("utf-8")
TARGETS = ("training", "training-gpu", "airflow")

IMAGE = {"python_version": "3.11", "python_full_version": "3.11.9", "sys_platform": "linux"}
OTHER_VARIABLES = {"AIRFLOW_UID", "STACK_HOME", "WORKERS", "WORKER_CONCURRENCY", "WARM_IMPORTS"}
OWN_USER = {
    # The published images name a user who is not root.
    *("apache/kafka", "prom/statsd-exporter", "prom/prometheus", "prom/alertmanager"),
    *("prometheuscommunity/postgres-exporter", "grafana/grafana"),
}
BEGINS_AS_ROOT = {
    # Gives its volume to its own user and goes on as that one: needs these three, and no more.
    "s3": {"CHOWN", "SETGID", "SETUID"},
}


def each_service() -> list[Any]:
    return [pytest.param(service, id=name) for name, service in SERVICES.items()]


def image(service: dict[str, Any]) -> tuple[str, str]:
    name, _, tag = service["image"].rpartition(":")
    return name, tag


def environment(service: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = service.get("environment", {})
    return found


def secret_files() -> dict[str, dict[str, str]]:
    """The files of lines NAME=value that hold secrets."""
    return {
        name: dict(line.split("=", 1) for line in config["content"].splitlines())
        for name, config in COMPOSE["configs"].items()
        if name.endswith(".env")
    }


def variables(text: str) -> Iterator[tuple[str, str]]:
    """The variables of .env that a text uses, each with what follows its name."""
    yield from re.findall(r"(?<!\$)\$\{(\w+)([^}]*)\}", text)


def pinned(package: str) -> str:
    """The version of a package in requirements.in."""
    found = re.search(
        rf"(?m)^{re.escape(package)}(?:\[\w+\])?==(\S+)$",
        (REPOSITORY / "requirements.in").read_text(),
    )
    assert found, package
    return found[1]


# ---- docker-compose.yaml -----------------------------------------------------------------


def test_ports_are_open_on_this_machine_alone_and_can_be_moved() -> None:
    opened = {}
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            found = re.fullmatch(r"127\.0\.0\.1:\$\{(\w+):-(\d+)\}:\d+", port)
            assert found, f"{name}: {port}"
            opened[found[1]] = (set(service["profiles"]), int(found[2]))
    assert {name: default for name, (_, default) in opened.items()} == {
        name: default for name, (_, default) in PORTS.items()
    }
    for name, (profile, _) in PORTS.items():
        assert profile in opened[name][0], name
    for name, rest in variables(TEXT):
        if name in PORTS:
            assert rest == f":-{PORTS[name][1]}", f"another default of {name}"


def test_every_variable_is_one_that_the_settings_know() -> None:
    used = {name for name, _ in variables(TEXT)}
    assert used == {*PORTS, *SECRETS, *OTHER_VARIABLES}


@pytest.mark.parametrize("service", each_service())
def test_an_image_has_an_exact_version(service: dict[str, Any]) -> None:
    _, tag = image(service)
    assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?", tag)


@pytest.mark.parametrize("service", each_service())
def test_a_service_is_contained(service: dict[str, Any], request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.id
    assert service["profiles"]
    assert set(service["profiles"]) <= set(PROFILES)
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["logging"]["driver"] == "json-file"
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert ("healthcheck" in service) == (name not in ONCE)
    assert not {"privileged", "network_mode", "pid", "devices"} & service.keys()


@pytest.mark.parametrize("service", each_service())
def test_no_service_stays_root(service: dict[str, Any], request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.id
    assert set(service.get("cap_add", [])) == BEGINS_AS_ROOT.get(name, set())
    if name in BEGINS_AS_ROOT or image(service)[0] in OWN_USER:
        assert "user" not in service
        return
    assert service["user"].partition(":")[0] not in ("", "0", "root")


def test_what_is_written_of_root_is_still_so() -> None:
    assert BEGINS_AS_ROOT.keys() <= SERVICES.keys()
    assert {image(service)[0] for service in SERVICES.values()} >= OWN_USER


@pytest.mark.parametrize("service", each_service())
def test_no_secret_is_where_docker_inspect_shows_it(service: dict[str, Any]) -> None:
    shown = {name for name, _ in variables(json.dumps(service))}
    assert not shown & set(SECRETS)


def test_every_secret_is_used_and_asked_for() -> None:
    contents = "".join(config["content"] for config in COMPOSE["configs"].values())
    used = list(variables(contents))
    assert {name for name, _ in used} == set(SECRETS)
    # Without .env, Compose says so instead of starting with empty passwords.
    assert {name for name, rest in used if rest == ":?run make up"} == set(SECRETS)


def test_every_file_of_secrets_reaches_somebody() -> None:
    mounted = {
        config["source"] for service in SERVICES.values() for config in service.get("configs", [])
    }
    assert mounted == set(COMPOSE["configs"])


def test_tasks_get_neither_the_database_nor_the_key_to_its_secrets() -> None:
    held = secret_files()
    assert "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" in held["airflow.env"]
    withheld = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
        "AIRFLOW__CORE__FERNET_KEY",
        "AIRFLOW__API_AUTH__JWT_SECRET",
    }
    assert set(held["airflow.env"]) - set(held["worker.env"]) == withheld
    assert [config["source"] for config in SERVICES["worker"]["configs"]] == ["worker.env"]
    for name, value in held["worker.env"].items():
        assert value == re.sub(r":\?run make up", "", held["airflow.env"][name])


def test_code_is_mounted_read_only() -> None:
    kept = set()
    for name, service in SERVICES.items():
        for mount in service.get("volumes", []):
            source, target = re.match(r"(\$\{[^}]*\}[^:]*|[^:]+):([^:]+)", mount).groups()  # type: ignore[union-attr]
            if source in COMPOSE["volumes"]:
                continue
            if mount.endswith(":ro"):
                assert (REPOSITORY / source).exists(), f"{name}: {source}"
            else:
                kept.add((source, target))
    assert kept == {("${STACK_HOME:-./.stack}/incoming", "/opt/course/incoming")}
    assert "site:/opt/course/site:ro" in SERVICES["site"]["volumes"]


def test_whoever_is_waited_for_is_there() -> None:
    for name, service in SERVICES.items():
        for other, condition in service.get("depends_on", {}).items():
            assert other in SERVICES, f"{name} waits for {other}"
            finished = condition["condition"] == "service_completed_successfully"
            assert finished == (other in ONCE), f"{name} waits for {other}"
            if condition.get("required", True):
                # Core is always there; otherwise the same profile must bring both.
                theirs = set(SERVICES[other]["profiles"])
                assert "core" in theirs or set(service["profiles"]) <= theirs, f"{name}: {other}"


def test_the_images_carry_the_version_of_airflow() -> None:
    ours = {image(s) for s in SERVICES.values() if image(s)[0].startswith("airflow-ml-course/")}
    version = pinned("apache-airflow")
    assert ours == {
        ("airflow-ml-course/airflow", version),
        ("airflow-ml-course/training", version),
    }
    for service in SERVICES.values():
        name, _ = image(service)
        if name.startswith("airflow-ml-course/"):
            assert service["build"] == {"context": ".", "target": name.rpartition("/")[2]}


def airflow_options() -> Iterator[tuple[str, str]]:
    for service in SERVICES.values():
        yield from environment(service).items()
    for held in secret_files().values():
        yield from held.items()


def test_every_option_of_airflow_exists() -> None:
    from airflow.configuration import conf

    known = conf.configuration_description
    names = {name for name, _ in airflow_options() if name.startswith("AIRFLOW__")}
    assert len(names) > 30
    unknown = []
    for name in names:
        _, section, option = name.lower().split("__")
        if option not in known.get(section, {}).get("options", {}):
            unknown.append(name)
    assert unknown == []


def test_every_setting_of_the_ml_code_exists() -> None:
    names = {name for name, _ in airflow_options() if name.startswith("FLIGHTDELAYS_")}
    assert "FLIGHTDELAYS_LAKE" in names
    fields = {f"FLIGHTDELAYS_{name.upper()}" for name in Settings.model_fields}
    assert names <= fields
    feature_store = SERVICES["worker"]["environment"]["FLIGHTDELAYS_FEATURE_STORE"]
    assert (REPOSITORY / "feature_repo" / feature_store).exists()


def test_addresses_name_services() -> None:
    hosts = set()
    for service in SERVICES.values():
        for value in environment(service).values():
            hosts |= set(re.findall(r"(?:https?://)([a-z][\w-]*):\d", str(value)))
    for held in secret_files().values():
        for value in held.values():
            hosts |= set(re.findall(r"@([a-z][\w-]*)[:/]", value))
    assert hosts >= {"postgres", "redis", "s3", "mlflow", "api-server"}
    assert hosts <= SERVICES.keys()


def test_the_topics_are_those_of_the_course() -> None:
    found = re.search(r"for topic in (.*); do", SERVICES["topics"]["command"][0])
    assert found
    assert tuple(found[1].split()) == TOPICS


def test_workers_import_what_the_laptops_scheduler_imports() -> None:
    found = re.fullmatch(
        r"\$\{WARM_IMPORTS-(.*)\}", environment(SERVICES["worker"])["COURSE_WARM_IMPORTS"]
    )
    assert found
    assert found[1] == WARM_IMPORTS


# ---- what DAGs ask for -------------------------------------------------------------------


def code() -> Iterator[ast.AST]:
    for folder in ("dags", "plugins"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            yield from ast.walk(ast.parse(path.read_text("utf-8")))


def keywords(pattern: str) -> set[str]:
    """Strings that are given to arguments of such names."""
    return {
        str(node.value.value)
        for node in code()
        if isinstance(node, ast.keyword)
        and re.fullmatch(pattern, node.arg or "")
        and isinstance(node.value, ast.Constant)
    }


def test_every_pool_is_created() -> None:
    pools = json.loads(files("course").joinpath("pools.json").read_text())
    assert keywords("pool") == set(pools)


def test_every_connection_is_created() -> None:
    names = keywords(r"\w*(conn|config)_id")
    # Also those in constants: a Kafka connection is named kafka_….
    names |= {
        node.value
        for node in code()
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"kafka_(?!config_id)\w+", node.value)
    }
    assert {"fs_incoming", "kafka_default", "kafka_retrain_on_event"} <= names
    seeded = connections()
    assert names <= seeded.keys()
    assert "apprise_default" in seeded, "the notifier's default"
    for name, connection in seeded.items():
        for host in re.findall(r"//([\w-]+):", json.dumps(connection)):
            assert host in SERVICES, name
    assert (
        seeded["fs_incoming"]["extra"]["path"]
        == (environment(SERVICES["worker"])["FLIGHTDELAYS_INCOMING"])
    )


# ---- the images --------------------------------------------------------------------------


def stages() -> dict[str, tuple[str, list[str]]]:
    """The stages of the Dockerfile: what each is made from, and its instructions."""
    text = re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE).replace("\\\n", " ")
    found: dict[str, tuple[str, list[str]]] = {}
    for line in text.splitlines():
        if line.startswith("FROM "):
            _, base, _, name = line.split()
            found[name] = (base, [])
        elif line.strip():
            found[name][1].append(" ".join(line.split()))
    return found


def history(target: str) -> list[str]:
    """Every instruction that an image is made of, in order."""
    base, own = stages()[target]
    return [*(history(base) if base in stages() else []), *own]


def test_the_dockerfile_has_no_finding() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "hadolint", "Dockerfile"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_classic_builder_can_build_it() -> None:
    assert "--mount" not in DOCKERFILE
    assert "<<" not in DOCKERFILE
    assert "--link" not in DOCKERFILE
    assert not re.search(r"(?im)^#\s*syntax\s*=", DOCKERFILE)


def test_there_are_three_images_to_ask_for() -> None:
    described = re.findall(r"docker build --target (\S+) \.", DOCKERFILE)
    assert set(described) == set(TARGETS)
    assert stages().keys() >= set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_holds_no_tools_and_is_not_run_as_root(target: str) -> None:
    steps = history(target)
    users = [step.split()[1] for step in steps if step.startswith("USER ")]
    assert users
    assert users[-1].partition(":")[0] not in ("0", "root")
    run = " ".join(step for step in steps if step.startswith("RUN "))
    found = set(re.findall(r"\b(?:uv|pip|gcc|g\+\+|make|build-essential|curl|git)\b", run))
    # Airflow's DAGs may come out of a git repository.
    assert found == ({"git"} if target == "airflow" else set())
    assert any(step.startswith("ENTRYPOINT ") for step in steps)


def test_what_is_installed_is_checked_by_hashes() -> None:
    installs = re.findall(r"uv pip install (.*?)\n\n", DOCKERFILE, re.DOTALL)
    assert len(installs) == len(TARGETS)
    assert all("--require-hashes" in each for each in installs)


def test_the_images_are_built_with_the_locks_tools() -> None:
    assert f"uv=={pinned('uv')} " in DOCKERFILE
    lock = re.search(r"--python-version (\S+)", (REPOSITORY / "Makefile").read_text())
    assert lock
    assert f"FROM python:{lock[1]}-slim" in DOCKERFILE


def test_the_builder_gets_what_the_images_hold_and_nothing_else() -> None:
    sources = {
        source.rstrip("/")
        for _, steps in stages().values()
        for step in steps
        if step.startswith("COPY ") and "--from" not in step
        for source in step.split()[1:-1]
        if not source.startswith("--")
    }
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    allowed = {line[1:].removesuffix("/*.txt") for line in lines if line.startswith("!")}

    def inside(path: str, folders: set[str]) -> bool:
        return any(path == folder or path.startswith(f"{folder}/") for folder in folders)

    assert all(inside(source, allowed) for source in sources)
    assert all(inside(path, sources) for path in allowed)
    assert not inside(".env", allowed)
    assert all((REPOSITORY / source).exists() for source in sources)


# ---- requirements ------------------------------------------------------------------------


def locked(name: str) -> dict[str, tuple[str, frozenset[str], set[str]]]:
    """Packages of a lock that the images get: the version, its hashes, and who needs it."""
    text = (REPOSITORY / name).read_text()
    found = {}
    for block in re.split(r"(?m)^(?=\S)", text):
        if not re.match(r"[\w.-]+==", block):
            continue
        # The newer Pythons have some packages in other versions.
        requirement = Requirement(block.partition("\\")[0])
        if requirement.marker and not requirement.marker.evaluate(IMAGE):
            continue
        package, version = requirement.name, str(requirement.specifier).removeprefix("==")
        hashes = frozenset(re.findall(r"--hash=(\S+)", block))
        assert hashes, f"{name}: {package} has no hash"
        via = set(re.findall(r"#\s+(?:via\s+)?([\w.-]+)\s*$", block, re.MULTILINE)) - {"via"}
        assert package not in found, f"{name} has {package} twice"
        found[package] = (version, hashes, via)
    return found


@pytest.mark.parametrize("part", TARGETS)
def test_an_image_gets_the_versions_of_the_laptop(part: str) -> None:
    whole, mine = locked("requirements.txt"), locked(f"requirements/{part}.txt")
    assert len(mine) > 50
    other = {name for name in mine if mine[name][:2] != whole.get(name, ("", frozenset()))[:2]}
    if part == "training-gpu":
        # XGBoost for CUDA is no part of the laptop's lock, and what it alone needs neither.
        assert "xgboost" in other
        assert all(mine[name][2] == {"xgboost"} for name in other - {"xgboost"})
    else:
        assert other == set()


def test_xgboost_is_the_same_with_and_without_cuda() -> None:
    gpu, cpu = locked("requirements/training-gpu.txt"), locked("requirements/training.txt")
    assert (
        gpu["xgboost"][0] == cpu["xgboost-cpu"][0] == locked("requirements.txt")["xgboost-cpu"][0]
    )
    assert "xgboost-cpu" not in gpu
    assert set(cpu) - {"xgboost-cpu"} <= set(gpu)


def test_airflow_is_in_its_own_image_alone() -> None:
    airflow, training = locked("requirements/airflow.txt"), locked("requirements/training.txt")
    assert airflow["apache-airflow"][0] == pinned("apache-airflow")
    assert not [name for name in training if name.startswith("apache-airflow")]
    # It is installed over the packages of the other.
    assert set(training) <= set(airflow)


def test_the_images_ask_for_the_airflow_packages_of_the_laptop() -> None:
    def wanted(name: str) -> set[str]:
        text = (REPOSITORY / name).read_text()
        return set(re.findall(r"(?m)^(apache-airflow[\w-]*(?:\[\w+\])?)", text))

    assert wanted("requirements/airflow.in") == wanted("requirements.in")


def test_a_task_in_a_process_of_celery_may_start_processes(tmp_path: Path) -> None:
    script = tmp_path / "spawn.py"
    script.write_text(SPAWN)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "plugins")}
    for cured, said in (("", "refused"), ("cured", "spawned")):
        done = subprocess.run(
            [sys.executable, str(script), cured],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert said in done.stdout, done.stderr


SPAWN = """
import multiprocessing
import sys

import billiard


def work():
    print("spawned", flush=True)


def child():
    if sys.argv[1]:
        from course_celery import let_tasks_start_processes

        let_tasks_start_processes()
    started = multiprocessing.get_context("spawn").Process(target=work)
    try:
        started.start()
        started.join()
    except TypeError as error:
        print("refused:", error, flush=True)


if __name__ == "__main__":
    forked = billiard.Process(target=child)
    forked.start()
    forked.join()
"""
