"""`make watch`: checks a file at each save, from a process that stays warm."""

import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import watchfiles
from rich.markdown import Markdown

from course.config import Config
from course.console import console
from course.grading import hints, progress, workbook
from course.grading.catalogue import Exercise
from course.grading.grader import Grader
from course.grading.report import Report
from course.grading.view import bar, overview, show

REMOTE = {"nfs", "nfs4", "cifs", "smbfs", "smb3", "9p", "drvfs", "vboxsf", "fuse.sshfs", "virtiofs"}
"""File systems on which a save made elsewhere sends no event."""
KEYS = "h hint · l list · r reset · q quit"
LOOK = 0.1


def needs_polling(path: Path) -> bool:
    """Whether the folder must be looked at again and again, as no events arrive from it."""
    if "microsoft" in os.uname().release.lower() and path.is_relative_to("/mnt"):
        return True
    places = [
        part for part in psutil.disk_partitions(all=True) if path.is_relative_to(part.mountpoint)
    ]
    nearest = max(places, key=lambda part: len(part.mountpoint), default=None)
    return nearest is not None and nearest.fstype in REMOTE


class Watch:
    """One session over one exercise."""

    def __init__(self, config: Config, exercise: Exercise, grader: Grader, *, poll: bool) -> None:
        self._config = config
        self._exercise = exercise
        self._grader = grader
        self._poll = poll or needs_polling(exercise.folder.resolve())
        self._saved = threading.Event()
        self._ended = threading.Event()
        self._report: Report | None = None

    def run(self) -> None:
        """Until a person quits; the first check comes at once."""
        watcher = threading.Thread(target=self._follow, daemon=True)
        watcher.start()
        self._saved.set()
        checking: Future[Report] | None = None
        with _keys() as pressed, ThreadPoolExecutor(1) as pool:
            while not self._ended.is_set():
                if checking and checking.done():
                    self._take(checking.result())
                    checking = None
                if checking is None and self._saved.is_set():
                    self._saved.clear()
                    console.print("Checking …", style="dim")
                    checking = pool.submit(self._grader.check, self._exercise, self._exercise.file)
                for key in pressed():
                    self._press(key)
            # A check that is still running ends with the process that it runs in.
            self._grader.close()
        watcher.join()

    def _follow(self) -> None:
        changes = watchfiles.watch(
            self._exercise.folder,
            watch_filter=lambda change, path: Path(path).name == self._exercise.file_name,
            debounce=200,
            step=50,
            stop_event=self._ended,
            force_polling=self._poll,
            raise_interrupt=False,
        )
        before = self._content()
        for _ in changes:
            # An editor may touch a file several times for one save.
            if (now := self._content()) not in {before, b""}:
                before = now
                self._saved.set()

    def _content(self) -> bytes:
        try:
            return self._exercise.file.read_bytes()
        except FileNotFoundError:
            # Between the two halves of a save that replaces the file.
            return b""

    def _take(self, report: Report) -> None:
        self._report = report
        standing = progress.load(self._config)
        standing.note(report)
        progress.save(self._config, standing)
        console.clear()
        console.print(show(self._exercise, report))
        console.print()
        console.print(bar(standing))
        how = "looking for changes" if self._poll else "waiting for a save"
        console.print(f"{KEYS}   ({how} of {self._exercise.file_name})", style="dim")

    def _press(self, key: str) -> None:
        if key == "q":
            self._ended.set()
        elif key == "l":
            console.print(overview(progress.load(self._config)))
        elif key == "r":
            kept = workbook.reset(self._exercise)
            console.print(
                f"The starter is back; yours is {kept.name}." if kept else "It is the starter."
            )
        elif key == "h" and self._report and self._report.first:
            task = self._report.first.number
            standing = progress.load(self._config)
            level = hints.next_level(standing, self._exercise, task)
            progress.save(self._config, standing)
            console.print(f"Task {task}, hint {level} of {hints.LEVELS}:", style="bold")
            console.print(Markdown(hints.hint(self._exercise, task, level)))


@contextmanager
def _keys() -> Iterator[Callable[[], list[str]]]:
    """Yields a function that gives the keys pressed since it was last called."""
    if not sys.stdin.isatty():
        # Without a terminal there are no keys, and only a signal ends the session.
        def none() -> list[str]:
            threading.Event().wait(LOOK)
            return []

        yield none
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def pressed() -> list[str]:
        ready, _, _ = select.select([descriptor], [], [], LOOK)
        return list(os.read(descriptor, 32).decode(errors="replace").lower()) if ready else []

    try:
        tty.setcbreak(descriptor)
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def watch(config: Config, exercise: Exercise, *, poll: bool) -> None:
    """Check an exercise at each save until the person quits."""
    with console.status("Warming up Airflow (about 15 s, once)"):
        grader = Grader(config.root / "grader", exercise.warm)
        grader.wait()
    with grader:
        try:
            Watch(config, exercise, grader, poll=poll).run()
        except KeyboardInterrupt:
            console.print("Ended.")
