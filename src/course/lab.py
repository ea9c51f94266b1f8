"""The command ``course lab``: the pitfalls to watch, and the faults to find and mend."""

from typing import TYPE_CHECKING

from course.config import REPOSITORY, Config
from course.console import console, progress
from course.errors import CourseError
from course.stack import require_running

if TYPE_CHECKING:
    from course.labs.lab import Lab


def overview() -> None:
    """List the labs."""
    from course import pitfalls
    from course.labs import LABS

    console.print("Troubleshooting: a fault in your running stack. Find it, mend it.")
    for name, lab in LABS.items():
        console.print(f"  make lab NAME={name:<22} {lab.title}", markup=False, soft_wrap=True)
    console.print("Pitfalls: the damage beside what mends it.")
    for name in pitfalls.names():
        line = f"  make lab NAME={name:<22} {pitfalls.TITLES[name]}"
        console.print(line, markup=False, soft_wrap=True)


def run_lab(config: Config, name: str, *, mend: bool) -> None:
    """Plant a fault, or undo it; a pitfall is shown and needs no undoing.

    CourseError if there is no lab of that name, or if it needs a stack and none runs.
    """
    from course import pitfalls
    from course.labs import LABS

    if name in LABS:
        _play(config, LABS[name], mend=mend)
    elif name not in pitfalls.names():
        raise CourseError(f"There is no lab {name!r}.", "make lab, which lists them")
    elif mend:
        raise CourseError(
            f"The pitfall {name} leaves nothing behind, so there is nothing to undo.",
            f"make lab NAME={name}",
        )
    else:
        pitfalls.show(name)


def _play(config: Config, lab: "Lab", *, mend: bool) -> None:
    """Plant the fault of a troubleshooting lab or undo it, and say what to do next."""
    from course.labs.scene import SOURCE, Scene

    state = require_running(config)
    if mend:
        with progress(f"Undoing {lab.name}") as say:
            lab.mend(Scene(config, state, lab.name, say))
        console.print(f"Nothing of {lab.name} is left.")
        return
    with progress(f"Planting {lab.name}") as say:
        seen = lab.plant(Scene(config, state, lab.name, say))
    page = (SOURCE / lab.name / "README.md").relative_to(REPOSITORY)
    for line in (
        f"What you see: {seen}",
        "Find out why: make doctor",
        f"Read on:      {page}",
        f"Undo it all:  make lab NAME={lab.name} MEND=1",
    ):
        console.print(line, markup=False, soft_wrap=True)
