"""The rows of the migration page, and the tables that cog writes from them.

The rows stand in lecture-notes/migration.toml; tests/lectures/test_migration.py runs both sides of
each.
"""

import re
import tomllib
from collections import Counter
from dataclasses import dataclass

from course.config import REPOSITORY
from course.errors import CourseError

ROWS = REPOSITORY / "lecture-notes" / "migration.toml"
KINDS = {
    "error": "error",
    "silent": "**silent**",
    "shim": "warning",
    "changed default": "new default",
    "unchanged": "unchanged",
}
IN_A_DAG_FILE = {
    "dag argument",
    "task argument",
    "operator",
    "import",
    "task",
    "template",
    "undated task",
    "undated template",
    "worker",
}
"""The probes whose old side stands in a DAG file: what ruff reads."""


@dataclass(frozen=True)
class Row:
    """A construct of Airflow 2 beside that of Airflow 3, and how both are run."""

    id: str
    group: str
    probe: str
    """How both sides are run, see the test."""
    kind: str
    old: str = ""
    new: str = ""
    new_probe: str = ""
    """How the new side is run, if otherwise than the old one."""
    old_code: str | None = None
    """What is run, if it is more than the table shows."""
    new_code: str | None = None
    old_shown: str = ""
    """What the table shows, if the code says too little or too much; Markdown."""
    new_shown: str = ""
    message: str = ""
    """Words of the error or of the warning."""
    what: str = ""
    """What that means for a reader."""
    look: str = ""
    """An expression of the parsed DAG, or an option: what the next two speak of."""
    old_gives: str = ""
    new_gives: str = ""
    same: bool = True
    """Whether both imports give the same object."""
    ruff: str = ""
    """The AIR rule that finds the old side."""
    lint: bool = False
    """Whether ``airflow config lint`` finds the old side."""

    def code(self, side: str) -> str:
        """What is run for ``old`` or ``new``; nothing if that side is to leave something out."""
        code = self.old_code if side == "old" else self.new_code
        return (self.old if side == "old" else self.new) if code is None else code

    def how(self, side: str) -> str:
        """The probe of ``old`` or ``new``."""
        return (self.new_probe if side == "new" else "") or self.probe

    def shown(self, side: str) -> str:
        """The cell of the table."""
        text = self.old if side == "old" else self.new
        if self.how(side) == "config":
            text = re.sub(r"^(\w+)\.(\w+)=", r"[\1] \2 = ", text)
        return (self.old_shown if side == "old" else self.new_shown) or _span(text)


def _span(text: str) -> str:
    """Code as a cell of a table shows it."""
    if not text:
        return "leave it out"
    if found := re.fullmatch(r"from ([\w.]+) import ([\w, ]+)", text):
        return ", ".join(f"`{found[1]}.{name}`" for name in found[2].split(", "))
    lines = [re.sub(r"^return ", "", line) for line in text.splitlines()]
    lines = [re.sub(r"^str\((.*)\)$", r"\1", line) for line in lines]
    return "<br>".join(f"`{line.strip()}`" for line in lines).replace("|", "\\|")


def rows() -> list[Row]:
    """All rows, in their order."""
    return [Row(**each) for each in tomllib.loads(ROWS.read_text("utf-8"))["row"]]


def _last(row: Row) -> str:
    """What finds the old side."""
    if row.probe == "config":
        return "yes" if row.lint else "no"
    return row.ruff or "no"


def migration_table(group: str) -> None:
    """Print the table of a group."""
    chosen = [row for row in rows() if row.group == group]
    if not chosen:
        raise CourseError(f"No row of the migration table is in a group {group!r}.")
    head = ["Airflow 2", "Airflow 3.3", "ends in", "what happens"]
    if all(row.probe in IN_A_DAG_FILE for row in chosen):
        head.append("ruff finds it")
    elif any(row.probe == "config" for row in chosen):
        head.append("`config lint` finds it")
    print(f"\n| {' | '.join(head)} |")
    print("|" + "---|" * len(head))
    for row in chosen:
        message = f"`{row.message.replace('`', '')}`" if row.message else ""
        happens = ". ".join(part for part in (message, row.what) if part)
        cells = [row.shown("old"), row.shown("new"), KINDS[row.kind], happens, _last(row)]
        print(f"| {' | '.join(cells[: len(head)])} |")
    print()


def migration_summary() -> None:
    """Print how many rows end in what, and what ruff finds of them."""
    every = rows()
    counts = Counter(row.kind for row in every)
    files = [row for row in every if row.probe in IN_A_DAG_FILE and row.kind != "unchanged"]
    found = sum(1 for row in files if row.ruff)
    silent = [row for row in files if row.kind == "silent"]
    options = [row for row in every if row.probe == "config" and row.kind != "changed default"]
    print(
        f"\nOf {len(every)} rows, {counts['error']} end in an error, {counts['silent']} in "
        f"silence, {counts['shim']} in a warning; {counts['changed default']} mean something else "
        f"now, and {counts['unchanged']} did not change. Of the {len(files)} that stand in a DAG "
        f"file and need a change, ruff finds {found}, and of the {len(silent)} silent ones among "
        f"them {sum(1 for row in silent if row.ruff)}. Of {len(options)} old options, "
        f"`airflow config lint` finds {sum(1 for row in options if row.lint)}.\n"
    )
