"""Whether a measurement says the same as an earlier one: figures beside figures, with spread."""

import json
import subprocess
from typing import Any, NamedTuple

from course.config import REPOSITORY
from course.errors import CourseError
from course.scale.page import RESULTS

Entry = dict[str, Any]


class Comparison(NamedTuple):
    """A figure as it was and as it is."""

    name: str
    before: Entry
    now: Entry

    @property
    def ratio(self) -> float | None:
        """Now ÷ before; None if it was nothing."""
        return self.now["value"] / self.before["value"] if self.before["value"] else None

    @property
    def rounds(self) -> int:
        """Rounds of the one that has fewer: a single one has no spread."""
        return min(entry.get("n", 1) for entry in (self.before, self.now))

    @property
    def within(self) -> bool:
        """Whether the two ranges, from lowest to highest round, have a value in common."""
        (low, high), (now_low, now_high) = limits(self.before), limits(self.now)
        return low <= now_high and now_low <= high

    @property
    def verdict(self) -> str:
        """In words."""
        if self.rounds == 1:
            return "one round"
        if self.within:
            return "within the spread"
        return "higher" if self.now["value"] > self.before["value"] else "lower"


def limits(entry: Entry) -> tuple[float, float]:
    """The lowest and the highest round of a figure; of one round that one."""
    value: float = entry["value"]
    low: float = entry.get("low", value)
    high: float = entry.get("high", value)
    return low, high


def compared(before: dict[str, Entry], now: dict[str, Entry]) -> list[Comparison]:
    """Every figure that both have and that was measured anew, by name.

    One that names its machine is kept from that, as `replaced` says.
    """
    return [
        Comparison(name, before[name], now[name])
        for name in sorted(before.keys() & now.keys())
        if before[name] != now[name] and "machine" not in now[name]
    ]


def committed(revision: str) -> dict[str, Any]:
    """The results file as git has it; CourseError if there is no such revision or no such file."""
    name = RESULTS.relative_to(REPOSITORY).as_posix()
    # A revision is never taken for an option of git.
    command = ["git", "show", "--end-of-options", f"{revision}:{name}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CourseError(
            f"git has no {name} at {revision!r}: {done.stderr.strip().splitlines()[0]}",
            "git log --oneline tests/bench/results.json",
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found
