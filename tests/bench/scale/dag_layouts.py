"""How many DAGs are measured, in how many files, and how often."""

import os
from typing import NamedTuple

SHRINK = int(os.environ.get("BENCH_DAG_SHRINK", "1"))
"""All numbers of DAGs are divided by it, for a trial of the benchmark itself."""
TRIAL = SHRINK > 1


class Layout(NamedTuple):
    """A number of DAGs, how many of them share a file, and how many passes are measured."""

    dags: int
    per_file: int
    rounds: int

    @property
    def name(self) -> str:
        return "one DAG a file" if self.per_file == 1 else f"{self.per_file} DAGs a file"

    @property
    def id(self) -> str:
        return f"dags_{self.dags}_by_{self.per_file}"


def layout(dags: int, per_file: int, rounds: int) -> Layout:
    return Layout(dags // SHRINK, per_file, 1 if TRIAL else rounds)


# 10,000 files are not measured: a single pass over them takes longer than all the rest.
LAYOUTS = [
    layout(100, 100, 5),
    layout(1_000, 100, 5),
    layout(10_000, 100, 2),
    layout(100, 1, 3),
    layout(1_000, 1, 2),
]
SPREAD = [layout(1_000, 100, 2), layout(100, 1, 2)]
PROFILES = [LAYOUTS[1], LAYOUTS[4]]
DUE = layout(1_000, 100, 2)
