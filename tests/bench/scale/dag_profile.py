"""Where the time of a dag-processor goes: a py-spy profile, sorted into the parts of the work."""

import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from course.config import BIN

RATE = 50
"""Samples a second. More of them stop the processes too often on two cores."""
PARSER = "_parse_file_entrypoint"
FRAME = re.compile(r"^(?P<name>.*?) \((?P<file>[^()]*)\)$")

# The first part of which a function is on the stack is the one that a sample belongs to.
PARSER_PARTS = {
    "waiting for the manager": ("CommsDecoder._get_response",),
    "serialise the DAGs": ("_serialize_dags",),
    "check that the file is stable": ("check_dag_file_stability",),
    "execute the file": ("DagBag._load_modules_from_file", "DagBag.process_file"),
    "import modules": ("_find_and_load",),
    "build the message types": ("CommsDecoder.<lambda>", "TypeAdapter.__init__"),
    "send the result": ("CommsDecoder.send",),
}
MANAGER_PARTS = {
    "waiting for a parsing process": ("EpollSelector.select", "SelectSelector.select"),
    "start a parsing process": ("WatchedSubprocess.start",),
    "import for the parsing processes": ("_pre_import_airflow_modules",),
    "write to the database": ("DagFileProcessorManager.persist_parsing_result",),
    "receive results": ("DagFileProcessorManager._service_processor_sockets",),
    "look for files and requests": (
        "DagFileProcessorManager._queue_requested_files_for_parsing",
        "DagFileProcessorManager._refresh_dag_bundles",
        "DagFileProcessorManager.prepare_file_queue",
        "DagFileProcessorManager.fetch_callbacks",
    ),
}


def record(pid: int, seconds: int, output: Path) -> None:
    """Profile a process and its children for some seconds, waits included, as collapsed stacks."""
    command = [
        *(BIN / "py-spy", "record", "--pid", str(pid), "--subprocesses", "--idle"),
        *("--rate", str(RATE), "--duration", str(seconds)),
        *("--format", "raw", "--output", output),
    ]
    subprocess.run(command, check=True, capture_output=True)


def shares(stacks: Path) -> list[dict[str, Any]]:
    """Share (0 to 1) of the time of the manager, and of that of its parsing processes, by part.

    Only the main threads count. A parsing process is seen from when py-spy has found it, so the
    share of what it does first is too low where it lives but a fraction of a second.
    """
    samples: Counter[tuple[str, str]] = Counter()
    for line in stacks.read_text("utf-8").splitlines():
        stack, _, number = line.rpartition(" ")
        frames = [match["name"] for part in stack.split(";") if (match := FRAME.match(part))]
        if "Thread._bootstrap" in frames:
            continue
        if PARSER in frames:
            own = set(frames[frames.index(PARSER) :])
            samples["parsing process", part(own, PARSER_PARTS, "other")] += int(number)
        elif "_fork_main" in frames:
            samples["parsing process", "settle after the fork"] += int(number)
        else:
            own = set(frames)
            samples["manager", part(own, MANAGER_PARTS, "the rest of the loop")] += int(number)
    totals: Counter[str] = Counter()
    for (side, _), number in samples.items():
        totals[side] += number
    return [
        {"side": side, "part": name, "share": round(number / totals[side], 4)}
        for (side, name), number in samples.most_common()
    ]


def part(functions: set[str], parts: dict[str, tuple[str, ...]], otherwise: str) -> str:
    """The first of the parts that has one of its functions on the stack."""
    return next((name for name, own in parts.items() if functions.intersection(own)), otherwise)
