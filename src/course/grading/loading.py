"""Imports a learner's file as Airflow would, watches what that does, and says what is wrong."""

import builtins
import itertools
import re
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType, TracebackType
from typing import Any

from pydantic import BaseModel

from course.grading.report import Finding

IMPORT_SECONDS = 15
"""Airflow gives up after 30 s; whoever waits for a verdict should not have to."""

_numbers = itertools.count()


class TooSlow(Exception):  # noqa: N818 - a signal, not an error of anybody's
    """The file was still being imported when its time was over."""


class Imported(BaseModel):
    """One module that the file imports while it is parsed."""

    name: str
    line: int


class Parse(BaseModel):
    """What happened while the file was imported, outside of all tasks."""

    seconds: float
    """Processor time, which other programs on the machine do not change."""
    imports: list[Imported]
    opened: list[str]
    """Files that were opened for writing."""
    connections: list[str]
    """Addresses that were connected to, databases included."""
    commands: list[str]
    """Programs that were started."""


class _Watch:
    """What the audit hook notes while it is on; a hook cannot be taken away again."""

    on = False
    opened: list[str]
    connections: list[str]
    commands: list[str]

    def hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
            self.opened.append(str(args[0]))
        elif event in {"socket.connect", "socket.getaddrinfo"}:
            self.connections.append(str(args[1] if event == "socket.connect" else args[0]))
        elif event == "sqlite3.connect":
            self.connections.append(str(args[0]))
        elif event in {"subprocess.Popen", "os.system"}:
            self.commands.append(str(args[0]))


_watch = _Watch()
sys.addaudithook(lambda event, args: _watch.hook(event, args))


class Source:
    """The text of the file, for places that a learner can find."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self.text = path.read_text(encoding="utf-8", errors="replace")
        self.lines = self.text.splitlines()

    def place(self, line: int) -> str:
        """``file.py:41 (TODO 3)``; without the marker when none stands above that line."""
        above = reversed(self.lines[:line])
        todo = next((found[1] for text in above if (found := re.search(r"TODO (\d+)", text))), "")
        return f"{self.name}:{line}" + (f" (TODO {todo})" if todo else "")

    def todo(self, number: int) -> str:
        """Where the marker of a task stands, or only the file when it was removed."""
        for line, text in enumerate(self.lines, start=1):
            if re.search(rf"TODO {number}\b", text):
                return f"{self.name}:{line} (TODO {number})"
        return self.name

    def last(self, trace: TracebackType | None) -> int:
        """The deepest line of this file in a traceback; 0 if it has none."""
        found = [
            frame.lineno or 0
            for frame in traceback.extract_tb(trace)
            if Path(frame.filename) == self.path
        ]
        return found[-1] if found else 0

    def words(self, line: int) -> str:
        """The statement on a line."""
        return self.lines[line - 1].strip() if 0 < line <= len(self.lines) else ""


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _watched(name: str, imports: list[Imported]) -> Iterator[None]:
    """Note every import statement of the module ``name`` and every effect on the outside."""
    original = builtins.__import__

    def noting(target: str, scope: Any = None, *args: Any, **kwargs: Any) -> Any:
        if scope and scope.get("__name__") == name:
            line = sys._getframe(1).f_lineno
            # `from package import module` imports a module as well.
            parts = args[1] if len(args) > 1 else kwargs.get("fromlist")
            names = [target, *(f"{target}.{part}" for part in parts or ())]
            imports.extend(Imported(name=each, line=line) for each in names)
        return original(target, scope, *args, **kwargs)

    _watch.opened, _watch.connections, _watch.commands = [], [], []
    builtins.__import__ = noting  # type: ignore[assignment]
    _watch.on = True
    try:
        yield
    finally:
        _watch.on = False
        builtins.__import__ = original


def load(source: Source) -> Parse | Finding:
    """Import the file in this process; a Finding says in a sentence why it cannot be."""
    imports: list[Imported] = []
    name = f"learner_{next(_numbers)}"
    begin = time.process_time()
    try:
        code = compile(source.text, str(source.path), "exec")
        module = ModuleType(name)
        module.__file__ = str(source.path)
        # As any import does it: classes look their own module up there.
        sys.modules[name] = module
        with _limited(IMPORT_SECONDS), _watched(name, imports):
            exec(code, module.__dict__)  # noqa: S102 - it is what an import does
    except SyntaxError as error:
        line = error.lineno or 1
        return _broken(source, f"Python cannot read it: {error.msg}", line)
    except TooSlow as error:
        line = source.last(error.__traceback__)
        return _broken(source, f"it was still being imported after {IMPORT_SECONDS} s", line)
    except SystemExit as error:
        line = source.last(error.__traceback__)
        return _broken(
            source, "it ends Python (`exit` or `sys.exit`): a DAG file only describes a DAG", line
        )
    except BaseException as error:
        line = source.last(error.__traceback__)
        return _broken(source, f"{type(error).__name__}: {error}", line)
    return Parse(
        seconds=time.process_time() - begin,
        imports=imports,
        opened=_watch.opened,
        connections=_watch.connections,
        commands=_watch.commands,
    )


def _broken(source: Source, happened: str, line: int) -> Finding:
    words = source.words(line)
    return Finding(
        ran=f"the import of {source.name}, as Airflow does it",
        expected="that it imports and defines the DAG",
        happened=happened + (f", at `{words}`" if words else ""),
        where=source.place(line) if line else source.name,
    )


def missing(source: Source, expected: tuple[str, ...], found: list[str]) -> Finding | None:
    """What is wrong with the DAGs that the file defines, if anything."""
    if set(expected) == set(found):
        return None
    wanted = " and ".join(f"`{name}`" for name in expected)
    if not found:
        happened = "no DAG at all. Is the function under `@dag` called at the end of the file?"
    else:
        there = ", ".join(f"`{name}`" for name in found)
        more = [name for name in found if name not in expected]
        lost = [name for name in expected if name not in found]
        happened = f"the file defines {there}"
        if lost and more:
            happened += f": was `{lost[0]}` renamed to `{more[0]}`? Its id is how it is found"
        elif more:
            happened += f": `{more[0]}` is one too many"
        else:
            happened += f": `{lost[0]}` is missing"
    number = "the DAG" if len(expected) == 1 else "the DAGs"
    return Finding(
        ran=f"the import of {source.name}",
        expected=f"{number} {wanted}, and no other",
        happened=happened,
        where=source.name,
    )
