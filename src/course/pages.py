"""Keeps the Markdown pages true: excerpts of files and measured figures are put in, never typed.

An excerpt stands between two comments that GitHub does not show, and is written by cog:

    <!-- [[[cog excerpt("dags/ingest_flights.py", "land") ]]] -->
    <!-- [[[end]]] -->

It is what the file has between ``[START land]`` and ``[END land]``. A figure follows a comment that
names it, and ends with the line, the cell of the table, or ``<!-- end -->``:

    a model in <!-- figure:drift_to_staging --> 41 s<!-- end --> after drift is found
"""

import contextlib
import io
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from cogapp import Cog

from course.config import REPOSITORY
from course.errors import CourseError
from course.files import write_atomic
from course.scale.plots import draw, is_drawn, measured

RESULTS = REPOSITORY / "tests" / "bench" / "results.json"
PICTURES = REPOSITORY / "images" / "scale"
FIGURE = re.compile(r"(<!-- figure:(\w+) -->)([^|\n]*?)(?=\s*(?:\||\n|<!-- end -->|$))")
MARKER = re.compile(r"\[(?:START|END) [\w-]+\]")
# What a page may call between `[[[cog` and `]]]`.
PROLOGUE = (
    "from course.pages import excerpt; from course.quiz import questions;"
    "from course.migration import migration_summary, migration_table;"
    "from course.scale import page as scale"
)
COUNTED = {
    *("requests", "workers", "runs", "files", "descriptors", "connections"),
    *("reads/s", "minutes", "Airflows", "pieces"),
}
"""Units of which a page gives whole numbers."""
LANGUAGES = {
    ".py": "python",
    ".sql": "sql",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".toml": "toml",
    ".json": "json",
    ".in": "text",
}


def tracked() -> list[str]:
    """The files that git knows or would add, as paths from the root, in order.

    CourseError if this is no clone.
    """
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CourseError(f"git cannot list {REPOSITORY}: {done.stderr.strip()}", "git clone it")
    return sorted(name for name in set(done.stdout.splitlines()) if (REPOSITORY / name).is_file())


def pages() -> list[Path]:
    """Every Markdown page that git knows or would add, in the order of their paths."""
    return [REPOSITORY / name for name in tracked() if name.endswith(".md")]


def excerpt(name: str, part: str = "") -> None:
    """Print a part of a file as a fenced block; the whole file if no part is named.

    CourseError if there is no such file, or not exactly one such part in it.
    """
    path = REPOSITORY / name
    if not path.is_file():
        raise CourseError(f"There is no file {name} to take an excerpt from.")
    lines = path.read_text("utf-8").splitlines()
    if part:
        begin = [n for n, line in enumerate(lines) if f"[START {part}]" in line]
        end = [n for n, line in enumerate(lines) if f"[END {part}]" in line]
        if len(begin) != 1 or len(end) != 1 or end[0] < begin[0]:
            raise CourseError(
                f"{name} has no part {part!r}.",
                f"put `# [START {part}]` above it and `# [END {part}]` below it",
            )
        lines = lines[begin[0] + 1 : end[0]]
    text = textwrap.dedent("\n".join(line for line in lines if not MARKER.search(line)))
    print(f"```{LANGUAGES.get(path.suffix, 'text')}\n{text.strip(chr(10))}\n```")


def spelt(entry: dict[str, Any]) -> str:
    """A figure of the results file as a page writes it."""
    value, unit = entry["value"], entry["unit"]
    if unit == "s":
        if value < 10:
            return f"{value:.1f} s"
        return f"{value:.0f} s" if value < 100 else f"{value // 60:.0f} min {value % 60:.0f} s"
    if unit == "MB":
        return f"{value / 1024:.1f} GB" if value >= 1024 else f"{value:.0f} MB"
    if unit in {"ms", "tasks/s"}:
        return f"{value:.1f} {unit}"
    if unit == "%":
        return f"{value:.0f} %"
    if unit.partition(" ")[0] in COUNTED:
        return f"{value:,.0f} {unit}"
    return f"{value:.3f}" if unit == "AUC" else f"{value:.2f}"


def with_figures(text: str, figures: dict[str, Any], page: str) -> str:
    """The text with every figure as it was measured; CourseError if one was never measured."""

    def with_value(found: re.Match[str]) -> str:
        name = found[2]
        if name not in figures:
            raise CourseError(f"{page}: no benchmark measures {name!r}.", "see tests/bench")
        return f"{found[1]} {spelt(figures[name])}"

    return FIGURE.sub(with_value, text)


def stale(*, mend: bool) -> list[str]:
    """The pages and pictures that were not those of the files; mended if asked."""
    results = json.loads(RESULTS.read_text("utf-8"))
    return stale_pictures(results, mend=mend) + stale_pages(results, mend=mend)


def stale_pages(results: dict[str, Any], *, mend: bool) -> list[str]:
    """The pages whose excerpts or figures were not those of the files."""
    figures, found = results["figures"], []
    for page in pages():
        before, name = page.read_text("utf-8"), str(page.relative_to(REPOSITORY))
        after = with_figures(_cogged(before, name), figures, name)
        if after != before:
            found.append(name)
            if mend:
                page.write_text(after, "utf-8")
    return found


def stale_pictures(results: dict[str, Any], *, mend: bool) -> list[str]:
    """The pictures that were not drawn from these results."""
    found = []
    for name in measured(results):
        path = PICTURES / f"{name}.svg"
        if not is_drawn(results, name, path):
            found.append(str(path.relative_to(REPOSITORY)))
            if mend:
                write_atomic(path, draw(results, name))
    return found


def _cogged(text: str, name: str) -> str:
    if "[[[cog" not in text:
        return text
    cog = Cog()
    cog.options.parse_args(["-P", "-p", PROLOGUE])
    result = io.StringIO()
    # cog says on the standard output which line a failure comes from.
    with contextlib.redirect_stderr(sys.stdout):
        cog.process_file(io.StringIO(text), result, fname=name)
    return result.getvalue()


if __name__ == "__main__":
    try:
        mended = stale(mend=True)
    except CourseError as error:
        sys.exit(f"✗ {error}")
    for each in mended:
        print(f"{each}: excerpts or figures brought up to date")
    print(f"{len(pages())} pages hold what the files and the benchmarks hold.")
