"""Alert rules in small, for exercise 6: a floor for a number that each run reports. Light.

A rule has the three states that it would have in Prometheus; it counts runs where Prometheus
counts minutes (``for:``). What the runs reported lies in the lake.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from flightdelays.lake import file_name, open_lake
from flightdelays.settings import Settings

KEPT = 100
"""Runs that are remembered for each rule."""


class State(StrEnum):
    """What a rule says after a run."""

    INACTIVE = "inactive"  # the number is not below the floor
    PENDING = "pending"  # it is, but not yet for enough runs in a row
    FIRING = "firing"  # it is, for enough runs in a row


@dataclass(frozen=True)
class Rule:
    """Fires when a number is ``below`` a floor in at least ``runs`` runs in a row."""

    name: str
    below: float
    runs: int = 1

    def state(self, values: list[float]) -> State:
        """The state after these values, the newest last."""
        bad = 0
        for value in reversed(values):
            if value >= self.below:
                break
            bad += 1
        if not bad:
            return State.INACTIVE
        return State.FIRING if bad >= self.runs else State.PENDING


class Change(NamedTuple):
    """The state of a rule before a run and after it."""

    before: State
    now: State


def apply(rule: Rule, run: str, value: float, settings: Settings | None = None) -> Change:
    """Tell a rule what the run named ``run`` reported.

    Told again by the same run, as a task does that is tried again, it answers the same.
    """
    lake = open_lake(settings)
    path = lake.path("practice", "rules", f"{file_name(rule.name)}.json")
    told: list[tuple[str, float]] = lake.read_json(path) if lake.exists(path) else []
    names = [name for name, _ in told]
    earlier = told[: names.index(run)] if run in names else told
    values = [each for _, each in earlier]
    lake.write_json(path, [*earlier, (run, value)][-KEPT:])
    return Change(rule.state(values), rule.state([*values, value]))
