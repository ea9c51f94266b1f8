"""What ``make logs`` shows: the logs of the components, together."""

import time
from pathlib import Path

from course.components import NAMES
from course.config import Config
from course.console import console
from course.errors import CourseError
from course.files import tail

OTHERS = ("supervisord", "migrate")


def show(config: Config, component: str, *, follow: bool, lines: int) -> None:
    """Print the last lines of one component's log or of all, and go on if asked to."""
    known = (*NAMES, *OTHERS)
    if component and component not in known:
        raise CourseError(
            f"There is no component {component!r}; there are {', '.join(known)}.",
            "make logs C=scheduler",
        )
    names = [component] if component else [*known]
    paths = {name: config.logs / f"{name}.log" for name in names}
    present = {name: path for name, path in paths.items() if path.exists()}
    if not present:
        raise CourseError(f"There are no logs in {config.logs} yet.", "make start")
    for name, path in present.items():
        for line in tail(path, lines):
            _print(name, line)
    if follow:
        try:
            _follow(present)
        except KeyboardInterrupt:
            # The way to end it.
            return


def _follow(paths: dict[str, Path]) -> None:
    positions = {name: path.stat().st_size for name, path in paths.items()}
    while True:
        for name, path in paths.items():
            size = path.stat().st_size if path.exists() else 0
            if size < positions[name]:
                # The supervisor has begun a new file.
                positions[name] = 0
            if size > positions[name]:
                with path.open("rb") as file:
                    file.seek(positions[name])
                    text = file.read(size - positions[name])
                # Half a line waits for its other half.
                whole = text[: text.rfind(b"\n") + 1]
                positions[name] += len(whole)
                for line in whole.decode(errors="replace").splitlines():
                    _print(name, line)
        time.sleep(0.5)


def _print(name: str, line: str) -> None:
    console.print(f"[cyan]{name:>13}[/] │ ", end="")
    console.print(line, markup=False, soft_wrap=True)
